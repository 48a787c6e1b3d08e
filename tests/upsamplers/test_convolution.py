"""The size-keeping convolution: where the zeros go."""

import pytest
import torch
from torch.nn import functional

from deconvbench.upsamplers.convolution import SameConv2d


@pytest.mark.parametrize("kernel_size", range(1, 8), ids="k{}".format)
@pytest.mark.parametrize("size", [(1, 1), (4, 7)], ids=["1x1", "4x7"])
def test_pads_the_smaller_half_before(kernel_size: int, size: tuple[int, int]) -> None:
    layer = SameConv2d(2, 3, kernel_size).double()
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    before, after = (kernel_size - 1) // 2, kernel_size // 2
    padded = functional.pad(x, (before, after, before, after))
    expected = functional.conv2d(padded, layer.weight, layer.bias)
    assert expected.shape == (2, 3, *size)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kernel_size", [1, 3, 5], ids="k{}".format)
def test_odd_kernels_need_no_padded_copy(kernel_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = SameConv2d(1, 1, kernel_size)
    monkeypatch.delattr(functional, "pad")
    assert layer(torch.zeros(1, 1, 4, 4)).shape == (1, 1, 4, 4)
