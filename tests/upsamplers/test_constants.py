"""Constants of layers: in the layer's type, in no state_dict, and right again where memory comes later."""

import pytest
import torch
from torch import Tensor, nn

from deconvbench.upsamplers.constants import ConstantLayer


class Scaled(ConstantLayer, nn.Conv2d):
    """A convolution whose output is scaled."""

    factor: Tensor
    index: Tensor

    def __init__(self, device: str | None = None, dtype: torch.dtype | None = None) -> None:
        super().__init__(1, 1, 1, device=device, dtype=dtype)
        self.register_constants(device, dtype)

    def compute_constants(self) -> dict[str, Tensor]:
        return {"factor": torch.tensor([0.5, 2.0], dtype=torch.float64), "index": torch.tensor([1, 0])}


def test_real_constants_have_the_type_of_the_parameters_and_indices_their_own() -> None:
    layer = Scaled(dtype=torch.bfloat16)
    assert (layer.factor.dtype, layer.index.dtype) == (torch.bfloat16, torch.int64)
    assert Scaled().factor.dtype == torch.float32
    layer.double()
    assert (layer.factor.dtype, layer.index.dtype) == (torch.float64, torch.int64)


def test_they_are_not_saved() -> None:
    assert set(Scaled().state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_memory_that_comes_later_holds_them(dtype: torch.dtype) -> None:
    with torch.device("meta"):
        layer = Scaled(dtype=dtype)
    assert layer.factor.is_meta
    layer.to_empty(device="cpu")
    assert layer.factor.tolist() == [0.5, 2.0]
    assert layer.index.tolist() == [1, 0]
    assert layer.factor.dtype == dtype


def test_what_stays_without_memory_stays_so() -> None:
    layer = Scaled(device="meta").half()
    assert layer.factor.is_meta
    assert layer.factor.dtype == torch.float16
