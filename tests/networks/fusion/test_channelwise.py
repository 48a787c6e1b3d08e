"""What has other operands beside an image, in an interpreter without pixels."""

import operator
from typing import Any

import pytest
import torch
from torch.nn import functional

from deconvbench.networks.fusion.channelwise import follow_channelwise
from deconvbench.networks.fusion.expressions import LazyExpression
from tests.networks.fusion.interpreters import NamedInterpreter, describe, upsampled

OPERANDS: dict[str, tuple[Any, ...]] = {
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
FOUR = upsampled(("x", 4, 2))
JOINED = upsampled(("x", 4, 2), ("skip", 2, 1))
PADDED = upsampled(("x", 4, 2), padding=(1,) * 4)


def act(function: Any, *args: Any, **kwargs: Any) -> Any:
    interpreter = NamedInterpreter(OPERANDS, {"up": FOUR, "joined": JOINED, "padded": PADDED})
    return follow_channelwise(function, args, kwargs, interpreter)


def test_numbers_are_the_same_for_all() -> None:
    assert describe(act(torch.mul, "joined", 3)) == [("mul(x, 3)", 2), ("mul(skip, 3)", 1)]
    assert describe(act(torch.sub, 1.5, "up")) == [("sub(1.5, x)", 2)]
    assert describe(act(torch.add, "up", "number", alpha=2)) == [("add(x, number, alpha=2)", 2)]


def test_factors_of_channels_are_cut_where_channels_are_joined() -> None:
    assert describe(act(torch.mul, "joined", "factors")) == [
        ("mul(x, narrow(factors, 1, 0, 4))", 2),
        ("mul(skip, narrow(factors, 1, 4, 2))", 1),
    ]
    assert describe(act(operator.mul, "own", "joined"))[1] == ("mul(narrow(own, 0, 4, 2), skip)", 1)
    assert describe(act(torch.div, "joined", "common"))[1] == ("div(skip, common)", 1)


@pytest.mark.parametrize("operand", ["row", "rows", "others", "image", "few", "unknown", "?", None, 2j])
def test_what_differs_between_pixels_is_not_followed(operand: Any) -> None:
    assert act(torch.mul, "joined", operand) is None


def test_padding_and_two_expressions_are_in_the_way() -> None:
    assert act(torch.mul, "padded", 2) == "mul comes after the padding"
    assert act(torch.mul, "x", 2) is None
    assert act(torch.mul, "up") is None
    assert act(torch.div, "up", 2, rounding_mode="floor") is None


def test_slopes_of_channels() -> None:
    assert describe(act(functional.prelu, "joined", "six"))[1] == (
        "prelu(skip, narrow(six, 0, 4, 2))",
        1,
    )
    assert describe(act(functional.prelu, "up", "four")) == [("prelu(x, four)", 2)]
    assert act(functional.prelu, "joined", "four") is None
    assert act(functional.prelu, "joined", "factors") is None


def test_kept_statistics_of_channels() -> None:
    assert describe(act(functional.batch_norm, "up", "four", "four", eps=0.5)) == [
        ("batch_norm(x, four, four, None, None, False, 0.1, 0.5)", 2)
    ]
    assert describe(act(functional.batch_norm, "joined", "six", "six", "six", "six", False))[1][0].startswith(
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
    assert act(functional.batch_norm, *args, **kwargs) is None


TWO = {"x": (1, 4, 3, 5), "z": (1, 4, 3, 5), "w": (1, 4, 6, 10), "skip": (1, 2, 6, 10)}


def act_on_two(function: Any, *args: Any, **options: Any) -> Any:
    expressions = {
        "up": upsampled(("x", 4, 2), upsamplings=("one",)),
        "other": upsampled(("z", 4, 2), upsamplings=("two",)),
        "twice": upsampled(("x", 4, 4)),
        "larger": upsampled(("w", 4, 2)),
        "joined": upsampled(("x", 4, 2), ("skip", 2, 1)),
        "padded": upsampled(("x", 4, 2), padding=(1,) * 4),
    }
    return follow_channelwise(function, args, options, NamedInterpreter(TWO, expressions))


def test_images_that_are_upsampled_alike_meet_before() -> None:
    assert describe(act_on_two(torch.mul, "up", "up")) == [("mul(x, x)", 2)]
    found = act_on_two(torch.add, "up", "other", alpha=2)
    assert describe(found) == [("add(x, z, alpha=2)", 2)]
    assert found.upsamplings == ("one", "two")
    assert describe(act_on_two(operator.mul, "joined", "joined")) == [("mul(x, x)", 2), ("mul(skip, skip)", 1)]


@pytest.mark.parametrize("other", ["twice", "larger", "joined", "padded"])
def test_others_do_not(other: str) -> None:
    assert act_on_two(torch.mul, "up", other) is None


def test_two_images_that_are_padded_have_met_too_late() -> None:
    assert act_on_two(torch.mul, "padded", "padded") is None


def test_slopes_are_no_images() -> None:
    assert act_on_two(functional.prelu, "up", "other") is None


def test_operands_of_videos() -> None:
    shapes = {
        "x": (2, 4, 3, 5, 5),
        "factors": (2, 4, 1, 1, 1),
        "frames": (3, 1, 1),
        "rows": (5, 1),
        "six": (6, 1, 1, 1),
    }

    def act_on_video(operand: str) -> Any:
        interpreter = NamedInterpreter(shapes, {"up": upsampled(("x", 4, 2))})
        return follow_channelwise(torch.mul, ("up", operand), {}, interpreter)

    assert describe(act_on_video("factors")) == [("mul(x, factors)", 2)]
    assert describe(act_on_video("frames")) == [("mul(x, frames)", 2)]
    assert act_on_video("rows") is None
    assert act_on_video("six") is None


def test_an_expression_stays_what_it_is_otherwise() -> None:
    expression = act(torch.mul, "joined", 2)
    assert isinstance(expression, LazyExpression)
    assert [part.channels for part in expression.parts] == [4, 2]
