"""Models made ready to be audited."""

import torch
from torch import Tensor, nn

from deconvbench.networks.inspection.preparation import list_unseen, name_dtype, widen


class _Half(nn.Module):
    """Cannot be run in single precision."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2).to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.to(torch.bfloat16))
        return y


def test_half_precision_is_copied_in_single_and_the_rest_is_the_same() -> None:
    model, example = nn.Linear(2, 2).half(), (torch.zeros(1, 2).half(), torch.tensor([1]))
    single, widened, problem = widen(nn.Sequential(model), example[0])
    assert (next(single.parameters()).dtype, widened.dtype, problem) == (torch.float32, torch.float32, "")
    assert next(model.parameters()).dtype == torch.float16
    plain = nn.Linear(2, 2)
    assert widen(plain, example[1])[0] is plain


def test_what_cannot_be_converted_is_named() -> None:
    model = _Half()
    same, _, problem = widen(model, torch.zeros(1, 2))
    assert same is model
    assert problem.startswith("single precision: RuntimeError")
    assert problem.endswith("the noise of rounding")


def test_the_dtype_is_that_of_most_parameters() -> None:
    assert name_dtype(nn.Sequential(nn.Linear(9, 9).half(), nn.Linear(2, 2))) == "float16"
    assert name_dtype(nn.ReLU()) == "float32"


def test_nothing_is_unseen_in_a_plain_model() -> None:
    assert list_unseen(nn.Sequential(nn.ReLU())) == []
