"""What a call makes of an image that is known by its expression, in an interpreter without pixels."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.fusion import fuse
from deconvbench.networks.fusion.expressions import LazyExpression
from deconvbench.networks.fusion.functions import BINARY_FUNCTIONS
from deconvbench.networks.fusion.matching import Match
from deconvbench.networks.fusion.rules import find_match, follow
from tests.networks.fusion.comparing import run_both
from tests.networks.fusion.interpreters import NamedInterpreter, describe, upsampled
from tests.networks.fusion.networks import ExcitedBlock, PreActivationBlock

SHAPES = {"x": (1, 4, 3, 5), "skip": (1, 2, 6, 10), "w": (8, 4, 3, 3), "b": (8,), "signal": (1, 4, 6)}
UP = upsampled(("x", 4, 2), upsamplings=("here",))


def make_interpreter(**expressions: LazyExpression[str]) -> NamedInterpreter:
    return NamedInterpreter(SHAPES, {"up": UP, **expressions}, {"half": torch.float16})


def run(function: Any, *args: Any, interpreter: NamedInterpreter | None = None, **kwargs: Any) -> Any:
    return follow(function, args, kwargs, interpreter or make_interpreter())


def test_an_image_is_upsampled_and_once_more() -> None:
    assert describe(run(functional.interpolate, "x", scale_factor=2)) == [("x", 2)]
    assert describe(run(functional.interpolate, "up", size=(18, 30))) == [("x", 6)]
    assert run(functional.interpolate, "up", scale_factor=2).upsamplings == ("here",)


def test_reasons_against_an_upsampling() -> None:
    assert run(functional.interpolate, "x", scale_factor=1.5) == "scale_factor 1.5 is not whole"
    assert run(functional.interpolate, 3, scale_factor=2) == (
        "its input is not an ordinary tensor of floating-point numbers"
    )


def test_padding_is_noted() -> None:
    padded = run(functional.pad, "up", (1, 1, 1, 1), mode="reflect")
    assert (padded.padding, padded.padding_mode) == ((1,) * 4, "reflect")
    copied = run(functional.pad, "up", (0, 0, 0, 0))
    assert copied == UP
    assert copied is not UP
    assert run(functional.pad, "up", (1, 0, 1, 0)).padding == (1, 0, 1, 0)
    assert (
        run(functional.pad, "up", (1, 0, 1, 0, 0, 0))
        == "padding (1, 0, 1, 0, 0, 0) is not that of rows and columns"
    )
    assert run(functional.pad, "up", (10, 0, 0, 0), mode="reflect") == "there are not 10 pixels to reflect"
    assert run(functional.pad, "up", (0, 0, 7, 0), mode="circular") == "there are not 7 pixels to repeat"
    assert run(functional.pad, "up", (10, 0, 6, 0), mode="circular").padding == (10, 0, 6, 0)
    assert run(functional.pad, "x", (1, 1, 1, 1)) is None


def test_channels_are_joined() -> None:
    joined = run(torch.cat, ["skip", "up", "skip"], 1)
    assert describe(joined) == [("skip", 1), ("x", 2), ("skip", 1)]
    assert (joined.channels, joined.upsamplings) == (8, ("here",))
    assert run(torch.cat, ["skip", "skip"], 1) is None
    assert run(torch.cat, ["skip", "up"], 2) is None
    assert run(torch.cat, ["up", "signal"], 1) == "it is joined with something that is not an ordinary image"


def test_joined_precisions_are_made_one() -> None:
    interpreter = NamedInterpreter(SHAPES, {"up": UP}, {"skip": torch.float16})
    assert describe(run(torch.cat, ["up", "skip"], 1, interpreter=interpreter)) == [
        ("x", 2),
        ("to(skip, torch.float32)", 1),
    ]


def test_unknown_channels_are_not_joined() -> None:
    interpreter = make_interpreter(unknown=upsampled(("x", None, 2)))  # type: ignore[arg-type] # as a symbol would be
    assert (
        run(torch.cat, ["unknown", "skip"], 1, interpreter=interpreter)
        == "the number of joined channels is not known"
    )


def test_what_acts_on_each_pixel_acts_before() -> None:
    assert describe(run(functional.leaky_relu, "up", 0.2)) == [("leaky_relu(x, 0.2)", 2)]
    padded = upsampled(("x", 4, 2), padding=(1,) * 4)
    assert run(torch.sigmoid, "p", interpreter=make_interpreter(p=padded)) == "sigmoid comes after the padding"
    assert run(functional.softplus, "up", torch.ones(1)) is None
    assert run(torch.relu) is None
    assert run(torch.relu, "x") is None


def test_dropout_passes_in_evaluation_only() -> None:
    assert run(functional.dropout, "up", 0.5, False) is UP
    assert run(functional.dropout, "up", 0.5, training=False) is UP
    assert run(functional.dropout, "up", 0.5) is None
    assert run(functional.dropout, "up", training=True) is None


def test_casts_and_layouts_are_those_of_the_sources() -> None:
    assert run(Tensor.float, "up") is UP
    assert describe(run(Tensor.to, "up", torch.float64)) == [("to(x, torch.float64)", 2)]
    assert run(Tensor.to, "up", torch.int64) is None
    assert describe(run(Tensor.contiguous, "up")) == [("contiguous(x)", 2)]


def test_what_is_none_of_ours_is_not_followed() -> None:
    assert run(torch.softmax, "up", 1) is None
    assert run(torch.conv2d, "up", "w") is None


def find(*args: Any, **kwargs: Any) -> Any:
    return find_match(args, kwargs, make_interpreter(), lambda value: value in SHAPES)


def test_a_convolution_of_an_expression_has_a_match() -> None:
    call, expression, match = find("up", "w", "b", padding=1)
    assert (call.weight, call.bias) == ("w", "b")
    assert expression is UP
    assert isinstance(match, Match)
    assert (match.kernel_size, match.out_channels, match.groups) == (3, 8, 1)


def test_or_a_reason() -> None:
    assert find("up", "w", None, 2, 1)[2] == "stride (2, 2) is not 1"


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [(("x", "w"), {}), (("up", "?"), {}), (("up", "w", "?"), {}), (("up", "w"), {"unknown": 1})],
    ids=["plain image", "strange weight", "strange bias", "strange call"],
)
def test_other_convolutions_are_none_of_ours(args: Any, kwargs: Any) -> None:
    assert find(*args, **kwargs) is None


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


def test_what_torch_refuses_is_left_to_torch() -> None:
    interpreter = NamedInterpreter(
        {**SHAPES, "up": (1, 4, 6, 10), "other": (1, 2, 6, 9), "two": (2, 2, 6, 10)}, {"up": UP}, {}
    )
    for image in ("other", "two"):
        reason = run(torch.cat, ["up", image], 1, interpreter=interpreter)
        assert reason == "it is joined with an image of another size"
    assert run(functional.pad, "up", (6,) * 4, mode="reflect", interpreter=interpreter) == (
        "there are not 6 pixels to reflect"
    )
    assert run(functional.interpolate, "up", size=(12, 20), scale_factor=2) is None
    assert run(functional.dropout, "up", 2.0, training=False) is None
    assert run(functional.dropout, "up", 0.5, training=False) == UP


@pytest.mark.parametrize(
    "forward",
    [
        pytest.param(lambda x, a: torch.cat([a, functional.pad(x, (0, 3, 0, 3))], 1), id="join"),
        pytest.param(
            lambda x, a: torch.cat([functional.interpolate(x[:, :, 1:], scale_factor=2), a], 1), id="two"
        ),
        pytest.param(lambda _, a: functional.pad(a, (10,) * 4, mode="reflect"), id="reflection"),
        pytest.param(lambda _, a: functional.dropout(a, 2.0, training=False), id="dropout"),
        pytest.param(lambda x, _: functional.interpolate(x, size=(10, 10), scale_factor=2), id="two sizes"),
    ],
)
@pytest.mark.parametrize("is_training", [False, True])
def test_an_error_of_torch_is_not_lost_with_a_result_that_nobody_reads(
    forward: Callable[[Tensor, Tensor], Tensor], is_training: bool
) -> None:
    class Careless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Any:
            up = functional.interpolate(x, scale_factor=2)
            y = self.conv(up)
            forward(x, up)
            return y

    model = Careless().train(is_training)
    fused = fuse(model).model
    for network in (model, fused):
        with pytest.raises((RuntimeError, ValueError)):
            network(torch.ones(1, 2, 5, 5))
