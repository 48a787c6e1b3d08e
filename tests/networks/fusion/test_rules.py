"""What a call makes of an image that is known by its expression, in an interpreter without pixels."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.expressions import LazyExpression, Match
from deconvbench.networks.fusion.rules import find_match, follow
from tests.networks.fusion.interpreters import NamedInterpreter, describe, enlarged

SHAPES = {"x": (1, 4, 3, 5), "skip": (1, 2, 6, 10), "w": (8, 4, 3, 3), "b": (8,), "signal": (1, 4, 6)}
UP = enlarged(("x", 4, 2), enlargements=("here",))


def make_interpreter(**expressions: LazyExpression[str]) -> NamedInterpreter:
    return NamedInterpreter(SHAPES, {"up": UP, **expressions}, {"half": torch.float16})


def run(function: Any, *args: Any, interpreter: NamedInterpreter | None = None, **kwargs: Any) -> Any:
    return follow(function, args, kwargs, interpreter or make_interpreter())


def test_an_image_is_enlarged_and_once_more() -> None:
    assert describe(run(functional.interpolate, "x", scale_factor=2)) == [("x", 2)]
    assert describe(run(functional.interpolate, "up", size=(18, 30))) == [("x", 6)]
    assert run(functional.interpolate, "up", scale_factor=2).enlargements == ("here",)


def test_reasons_against_an_enlargement() -> None:
    assert run(functional.interpolate, "x", scale_factor=1.5) == "scale_factor 1.5 is not whole"
    assert (
        run(functional.interpolate, "signal", scale_factor=2) == "its input has 3 dimensions, not 4 (N, C, H, W)"
    )
    assert run(functional.interpolate, 3, scale_factor=2) == (
        "its input is not an ordinary tensor of floating-point numbers"
    )


def test_padding_is_noted() -> None:
    padded = run(functional.pad, "up", (1, 1, 1, 1), mode="reflect")
    assert (padded.padding, padded.padding_mode) == (1, "reflect")
    assert run(functional.pad, "up", (0, 0, 0, 0)) is UP
    assert run(functional.pad, "up", (1, 0, 1, 0)) == "padding (1, 0, 1, 0) is not the same on all sides"
    assert run(functional.pad, "x", (1, 1, 1, 1)) is None


def test_channels_are_joined() -> None:
    joined = run(torch.cat, ["skip", "up", "skip"], 1)
    assert describe(joined) == [("skip", 1), ("x", 2), ("skip", 1)]
    assert (joined.channels, joined.enlargements) == (8, ("here",))
    assert run(torch.cat, ["skip", "skip"], 1) is None
    assert run(torch.cat, ["skip", "up"], 2) is None
    assert run(torch.cat, ["up", "signal"], 1) == "it is joined with something that is not an ordinary image"


def test_joined_precisions_are_made_one() -> None:
    interpreter = NamedInterpreter(SHAPES, {"up": UP}, {"skip": torch.float16})
    assert describe(run(torch.cat, ["up", "skip"], 1, interpreter=interpreter)) == [
        ("x", 2),
        ("to(skip, torch.float32)", 1),
    ]


def test_channels_that_nobody_knows_are_not_joined() -> None:
    interpreter = make_interpreter(unknown=enlarged(("x", None, 2)))  # type: ignore[arg-type] # as a symbol would be
    assert (
        run(torch.cat, ["unknown", "skip"], 1, interpreter=interpreter)
        == "the number of joined channels is not known"
    )


def test_what_acts_on_each_pixel_acts_before() -> None:
    assert describe(run(functional.leaky_relu, "up", 0.2)) == [("leaky_relu(x, 0.2)", 2)]
    padded = enlarged(("x", 4, 2), padding=1)
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
