"""The conditions, and that torch's nearest neighbour is what they take it for."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from deconvbench.networks.fusion.calls import ConvolveCall, PadCall, UpsampleCall
from deconvbench.networks.fusion.expressions import (
    GREATEST_SCALE,
    LazyExpression,
    Match,
    Part,
    plan_convolution,
    read_scale,
)


def make_expression(*parts: tuple[int, int], **options: Any) -> LazyExpression[str]:
    return LazyExpression(
        parts=tuple(Part(source="", channels=channels, scale=scale) for channels, scale in parts), **options
    )


def make_convolution(**options: Any) -> ConvolveCall:
    values: dict[str, Any] = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, **options}
    return ConvolveCall(image=None, weight=None, bias=None, **values)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("scale", range(2, GREATEST_SCALE + 1), ids="s{}".format)
def test_torch_repeats_every_pixel(scale: int, mode: str) -> None:
    for size in (1, 2, 3, 7, 64, 333, 1024, 4099, 20000):
        rows = torch.arange(size, dtype=torch.float64).view(1, 1, size, 1)
        expected = rows.repeat_interleave(scale, 2)
        factors = (float(scale), 1.0)
        assert torch.equal(functional.interpolate(rows, scale_factor=factors, mode=mode), expected)
        assert torch.equal(functional.interpolate(rows, size=(size * scale, 1), mode=mode), expected)


@pytest.mark.parametrize(
    ("scale_factor", "size", "shape", "expected"),
    [
        (2, None, (1, 3, 4, 5), 2),
        ((3, 3.0), None, (1, 3, None, None), 3),
        ((2,), None, (1, 3, 4, 5), 2),
        (None, (8, 10), (1, 3, 4, 5), 2),
        (None, 12, (1, 3, 4, 4), 3),
        (None, 12, (1, 3, 4, 6), "rows and columns are upsampled differently, by 3 and 2"),
        (None, (8, 11), (1, 3, 4, 5), "size (8, 11) is not a multiple of (4, 5)"),
        (None, (8, 10), (1, 3, None, 5), "size (8, 10) is not known to be a multiple"),
        (None, (8, 10, 2), (1, 3, 4, 5), "size (8, 10, 2) is not known"),
        ("2", None, (1, 3, 4, 5), "scale_factor 2 is not a pair of numbers"),
        ((2, 2, 2), None, (1, 3, 4, 5), "scale_factor (2, 2, 2) is not a pair"),
        (33, None, (1, 3, 4, 5), "scale 33 is not between 2 and 32"),
        (float("inf"), None, (1, 3, 4, 5), "scale_factor inf is not whole"),
        (2, None, (1, 3, 4), "its input has 3 dimensions"),
    ],
)
def test_scales(scale_factor: Any, size: Any, shape: Any, expected: int | str) -> None:
    found = read_scale(UpsampleCall(image=None, size=size, scale_factor=scale_factor, mode="nearest"), shape)
    assert found == expected or (isinstance(expected, str) and str(found).startswith(expected))


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
        (make_expression((4, 2)), {}, (5, 4, 2, 2), "kernel 2 is even"),
        (make_expression((4, 2)), {}, (5, 3, 3, 3), "its input has 4 channels, its weight 3 in 1 groups"),
        (
            make_expression((4, 2)),
            {"padding": (2, 2)},
            (5, 4, 3, 3),
            "padding 2 does not keep the size; kernel 3 needs 1",
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
    expression = make_expression((4, 3), (1, 1), padding=2, padding_mode="reflect")
    convolution = make_convolution(padding=(0, 0))
    assert isinstance(plan_convolution(expression, convolution, (1, 5, 5, 5)), Match)
    expression = make_expression((4, 2), (1, 1), padding=2, padding_mode="reflect")
    assert "reflection by 2" in str(plan_convolution(expression, convolution, (1, 5, 5, 5)))


@pytest.mark.parametrize(
    ("amounts", "mode", "expected"),
    [
        ((1, 1, 1, 1), "zeros", 1),
        ((0, 0), "circular", 0),
        ((1, 1), "zeros", "padding (1, 1) is not the same on all sides"),
        ((1, 1, 1, "n"), "zeros", "its padding is not known"),
        ((-1,) * 4, "zeros", "padding -1 crops"),
        ((1,) * 4, "constant", "padding mode constant has no fast form"),
    ],
)
def test_paddings(amounts: tuple[Any, ...], mode: str, expected: int | str) -> None:
    found = make_expression((4, 2)).pad(PadCall(image=None, amounts=amounts, mode=mode))
    assert (found.padding if isinstance(found, LazyExpression) else found) == expected


def test_only_zeros_are_padded_twice() -> None:
    once = make_expression((4, 2), padding=1)
    twice = once.pad(PadCall(image=None, amounts=(2,) * 4, mode="zeros"))
    assert isinstance(twice, LazyExpression)
    assert twice.padding == 3
    assert once.pad(PadCall(image=None, amounts=(1,) * 4, mode="reflect")) == "it is padded twice"


def test_upsampling_again() -> None:
    expression = make_expression((4, 2), (1, 1)).upsample(3)
    assert isinstance(expression, LazyExpression)
    assert [part.scale for part in expression.parts] == [6, 3]
    assert make_expression((4, 20)).upsample(2) == "it is upsampled by more than 32"
    assert make_expression((4, 2), padding=1).upsample(2) == "it is padded before it is upsampled"
