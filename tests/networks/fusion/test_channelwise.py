"""What treats each channel in its own way acts before the enlargement, and is cut where channels are joined."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.fusion import fuse
from deconvbench.networks.fusion.calls import BINARY_FUNCTIONS
from deconvbench.networks.fusion.channelwise import follow_channelwise
from deconvbench.networks.fusion.expressions import LazyExpression
from tests.networks.fusion.comparing import run_both
from tests.networks.fusion.interpreters import NamedInterpreter, describe, enlarged
from tests.networks.fusion.networks import ExcitedBlock, PreActivationBlock

SHAPES: dict[str, tuple[Any, ...]] = {
    "x": (2, 4, 3, 5),
    "skip": (2, 2, 6, 10),
    "number": (),
    "four": (4,),
    "six": (6,),
    "factors": (2, 6, 1, 1),
    "own": (6, 1, 1),
    "common": (2, 1, 1, 1),
    "row": (10,),
    "rows": (6, 1),
    "others": (3, 6, 1, 1),
    "image": (2, 6, 6, 10),
    "few": (5, 1, 1),
    "unknown": (None, 6, 1, 1),
}
UP = enlarged(("x", 4, 2))
JOINED = enlarged(("x", 4, 2), ("skip", 2, 1))
PADDED = enlarged(("x", 4, 2), padding=1)


def run(function: Any, *args: Any, **kwargs: Any) -> Any:
    interpreter = NamedInterpreter(SHAPES, {"up": UP, "joined": JOINED, "padded": PADDED})
    return follow_channelwise(function, args, kwargs, interpreter)


def test_numbers_are_the_same_for_all() -> None:
    assert describe(run(torch.mul, "joined", 3)) == [("mul(x, 3)", 2), ("mul(skip, 3)", 1)]
    assert describe(run(torch.sub, 1.5, "up")) == [("sub(1.5, x)", 2)]
    assert describe(run(torch.add, "up", "number", alpha=2)) == [("add(x, number, alpha=2)", 2)]


def test_factors_of_channels_are_cut_where_channels_are_joined() -> None:
    assert describe(run(torch.mul, "joined", "factors")) == [
        ("mul(x, narrow(factors, 1, 0, 4))", 2),
        ("mul(skip, narrow(factors, 1, 4, 2))", 1),
    ]
    assert describe(run(operator.mul, "own", "joined"))[1] == ("mul(narrow(own, 0, 4, 2), skip)", 1)
    assert describe(run(torch.div, "joined", "common"))[1] == ("div(skip, common)", 1)


@pytest.mark.parametrize("operand", ["row", "rows", "others", "image", "few", "unknown", "?", None, 2j])
def test_what_differs_between_pixels_is_not_followed(operand: Any) -> None:
    assert run(torch.mul, "joined", operand) is None


def test_padding_and_two_expressions_are_in_the_way() -> None:
    assert run(torch.mul, "padded", 2) == "mul comes after the padding"
    assert run(torch.mul, "up", "up") is None
    assert run(torch.mul, "x", 2) is None
    assert run(torch.mul, "up") is None
    assert run(torch.div, "up", 2, rounding_mode="floor") is None


def test_slopes_of_channels() -> None:
    assert describe(run(functional.prelu, "joined", "six"))[1] == ("prelu(skip, narrow(six, 0, 4, 2))", 1)
    assert describe(run(functional.prelu, "up", "four")) == [("prelu(x, four)", 2)]
    assert run(functional.prelu, "joined", "four") is None
    assert run(functional.prelu, "joined", "factors") is None


def test_kept_statistics_of_channels() -> None:
    assert describe(run(functional.batch_norm, "up", "four", "four", eps=0.5)) == [
        ("batch_norm(x, four, four, None, None, False, 0.1, 0.5)", 2)
    ]
    assert describe(run(functional.batch_norm, "joined", "six", "six", "six", "six", False))[1][0].startswith(
        "batch_norm(skip, narrow(six, 0, 4, 2), narrow(six, 0, 4, 2), narrow(six, 0, 4, 2), narrow("
    )


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("up", "four", "four"), {"training": True}),
        (("up", None, None), {}),
        (("up", "four"), {}),
        (("up", "four", "four", None, None, False, 0.1, 1e-5, "more"), {}),
        (("up", "six", "six"), {}),
    ],
    ids=["of the batch", "none", "half of them", "more than there are", "of other channels"],
)
def test_other_normalisations_are_not_followed(args: Any, kwargs: Any) -> None:
    assert run(functional.batch_norm, *args, **kwargs) is None


def test_torch_agrees_to_the_bit() -> None:
    x = torch.randn(2, 4, 3, 5)
    y = functional.interpolate(x, scale_factor=2)
    for operand in (2, torch.rand(2, 4, 1, 1) + 1, torch.rand(4, 1, 1) + 1, torch.tensor(3.0)):
        for function in BINARY_FUNCTIONS:
            expected = function(y, operand)
            assert torch.equal(functional.interpolate(function(x, operand), scale_factor=2), expected), function
    slopes = torch.rand(4)
    assert torch.equal(
        functional.interpolate(functional.prelu(x, slopes), scale_factor=2), functional.prelu(y, slopes)
    )


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "excited": lambda: ExcitedBlock(6, 4, 5),
    "pre-activated": lambda: PreActivationBlock(6, 4, 5),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_decoders_are_fused(name: str, fast_calls: list[tuple[int, ...]]) -> None:
    torch.manual_seed(0)
    block = BLOCKS[name]().double().eval()
    x, skip = torch.randn(2, 6, 3, 4, dtype=torch.float64), torch.randn(2, 4, 6, 8, dtype=torch.float64)
    report = fuse(block, (x, skip), verify_gradients=True)
    assert len(report.changed) == 1
    assert report.left == ()
    fast_calls.clear()
    assert run_both(block, report.model, x, skip) <= 1e-10
    assert len(fast_calls) == 1


def test_an_expression_stays_what_it_is_otherwise() -> None:
    expression = run(torch.mul, "joined", 2)
    assert isinstance(expression, LazyExpression)
    assert [part.channels for part in expression.parts] == [4, 2]


def test_gradients_reach_the_factors() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factors = nn.Parameter(torch.rand(4, 1, 1))
            self.conv = nn.Conv2d(4, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Any:
            return self.conv(functional.interpolate(x, scale_factor=2) * self.factors)

    report = fuse(Scaled(), torch.randn(1, 4, 3, 3), verify_gradients=True)
    assert len(report.changed) == 1
    assert report.max_relative_gradient_error is not None
    assert report.max_relative_gradient_error <= 1e-12
