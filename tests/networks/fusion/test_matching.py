"""The conditions under which a convolution of what is not computed is exact."""

from typing import Any

import pytest

from deconvbench.networks.fusion.calls import ConvolveCall
from deconvbench.networks.fusion.expressions import LazyExpression
from deconvbench.networks.fusion.matching import Match, has_pixels, plan_convolution, read_padding
from tests.networks.fusion.test_expressions import make_expression


def make_convolution(**options: Any) -> ConvolveCall:
    values: dict[str, Any] = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, **options}
    return ConvolveCall(image=None, weight=None, bias=None, **values)


def test_a_plain_match() -> None:
    match = plan_convolution(make_expression((4, 2)), make_convolution(), (5, 4, 3, 3))
    assert isinstance(match, Match)
    assert (match.kernel_size, match.out_channels, match.padding_mode, match.groups) == (3, 5, "zeros", 1)
    assert len(match.pieces) == 1


def test_neighbours_of_one_scale_are_one_piece() -> None:
    expression = make_expression((4, 2), (2, 2), (3, 1), (1, 1), (2, 4), (1, 2))
    match = plan_convolution(expression, make_convolution(), (5, 13, 3, 3))
    assert isinstance(match, Match)
    assert [(piece.first, piece.last, piece.start, piece.length, piece.scale) for piece in match.pieces] == [
        (0, 2, 0, 6, 2),
        (2, 4, 6, 4, 1),
        (4, 5, 10, 2, 4),
        (5, 6, 12, 1, 2),
    ]


@pytest.mark.parametrize(
    ("expression", "options", "shape", "reason"),
    [
        (make_expression((4, 2)), {}, (5, 4, 3), "kernel (3,) is not square"),
        (make_expression((4, 2)), {}, (5, 3, 3, 3), "its input has 4 channels, its weight 3 in 1 groups"),
        (
            make_expression((4, 2)),
            {"padding": (1, 1)},
            (5, 4, 1, 1),
            "padding (1, 1, 1, 1) does not keep the size; kernel 1 needs 0",
        ),
        (make_expression((2, 2), (2, 1)), {"groups": 2}, (4, 2, 3, 3), "2 groups of joined channels"),
        (make_expression((1, 2), (4, 1)), {}, (4, 5, 3, 3), "only 1 of its 5 channels are upsampled"),
    ],
)
def test_reasons(
    expression: LazyExpression[str], options: dict[str, Any], shape: tuple[int, ...], reason: str
) -> None:
    assert str(plan_convolution(expression, make_convolution(**options), shape)).startswith(reason)


def test_reflection_of_what_is_not_upsampled_may_reach_further() -> None:
    expression = make_expression((4, 3), (1, 1), padding=(2,) * 4, padding_mode="reflect")
    convolution = make_convolution(padding=(0, 0))
    assert isinstance(plan_convolution(expression, convolution, (1, 5, 5, 5)), Match)
    expression = make_expression((4, 2), (1, 1), padding=(2,) * 4, padding_mode="reflect")
    assert "reflection by 2" in str(plan_convolution(expression, convolution, (1, 5, 5, 5)))


@pytest.mark.parametrize(
    ("padding", "size", "mode", "expected"),
    [
        ((1, 1), 3, "zeros", ()),
        ((0, 0), 1, "zeros", ()),
        ((0, 0), 3, "zeros", (0, 0, 0, 0)),
        ((2, 1), 3, "zeros", (1, 1, 2, 2)),
        ("same", 3, "zeros", ()),
        ("same", 2, "zeros", (0, 1, 0, 1)),
        ("same", 4, "zeros", (1, 2, 1, 2)),
        ("valid", 2, "zeros", (0, 0, 0, 0)),
    ],
)
def test_any_padding_is_matched(padding: Any, size: int, mode: str, expected: tuple[int, ...]) -> None:
    match = plan_convolution(make_expression((4, 2)), make_convolution(padding=padding), (5, 4, size, size))
    assert isinstance(match, Match)
    assert (match.padding, match.padding_mode) == (expected, mode)


def test_padding_by_its_own_pixels_is_never_that_of_a_form() -> None:
    expression = make_expression((4, 2), padding=(1,) * 4, padding_mode="circular")
    match = plan_convolution(expression, make_convolution(padding=(0, 0)), (5, 4, 3, 3))
    assert isinstance(match, Match)
    assert (match.padding, match.padding_mode) == ((1, 1, 1, 1), "circular")
    assert plan_convolution(expression, make_convolution(), (5, 4, 3, 3)) == "it is padded twice"


def test_paddings_are_left_right_above_and_below() -> None:
    assert read_padding(make_convolution(padding=(2, 1)), 3) == (1, 1, 2, 2)
    assert read_padding(make_convolution(padding="same"), 4) == (1, 2, 1, 2)


def test_a_result_has_pixels() -> None:
    match = plan_convolution(make_expression((4, 2)), make_convolution(padding=(0, 1)), (5, 4, 5, 5))
    assert isinstance(match, Match)
    assert has_pixels(match, (5, 3))
    assert not has_pixels(match, (4, 3))
    assert not has_pixels(match, (5, 2))
    assert not has_pixels(match, (5, None))
