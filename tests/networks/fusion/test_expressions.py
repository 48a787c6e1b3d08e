"""The conditions, and that torch's nearest neighbour is what they take it for."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from deconvbench.networks.fusion.calls import PadCall, UpsampleCall
from deconvbench.networks.fusion.expressions import (
    GREATEST_SCALE,
    LazyExpression,
    Part,
    divide,
    read_scale,
    read_scales,
)


def make_expression(*parts: tuple[int, int], **options: Any) -> LazyExpression[str]:
    return LazyExpression(
        parts=tuple(Part(source="", channels=channels, scale=scale) for channels, scale in parts), **options
    )


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
        ((2,), None, (1, 3, 4, 5), "scale_factor (2,) is not a pair of numbers"),
        (2, None, (1, 3, 2, 4, 5), 2),
        ((2, 2, 2.5), None, (1, 3, 2, 4, 5), "scale_factor (2, 2, 2.5) is not whole"),
        ((2, 2), None, (1, 3, 2, 4, 5), "scale_factor (2, 2) is not three numbers"),
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
        ((2, 2), None, (1, 3, 4), "scale_factor (2, 2) is not one number"),
        (2, None, (3, 4), "its input has 2 dimensions, not 3 (N, C, L), 4 (N, C, H, W) or 5"),
    ],
)
def test_scales(scale_factor: Any, size: Any, shape: Any, expected: int | str) -> None:
    found = read_scale(UpsampleCall(image=None, size=size, scale_factor=scale_factor, mode="nearest"), shape)
    assert found == expected or (isinstance(expected, str) and str(found).startswith(expected))


@pytest.mark.parametrize(
    ("amounts", "mode", "expected"),
    [
        ((1, 1, 1, 1), "zeros", (1, 1, 1, 1)),
        ((1, 0, 2, 3), "circular", (1, 0, 2, 3)),
        ((0, 0), "circular", ()),
        ((1, 2), "zeros", (1, 2, 0, 0)),
        ((1, 1), "replicate", "padding (1, 1) is not that of rows and columns"),
        ((1, 1, 1, "n"), "zeros", "its padding is not known"),
        ((-1,) * 4, "zeros", "padding (-1, -1, -1, -1) crops"),
        ((1,) * 4, "constant", "padding mode constant has no fast form"),
    ],
)
def test_paddings(amounts: tuple[Any, ...], mode: str, expected: tuple[int, ...] | str) -> None:
    found = make_expression((4, 2)).pad(PadCall(image=None, amounts=amounts, mode=mode))
    assert (found.padding if isinstance(found, LazyExpression) else found) == expected


@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_some_paddings_twice_are_one(mode: str) -> None:
    once = make_expression((4, 2), padding=(1,) * 4, padding_mode=mode)
    twice = once.pad(PadCall(image=None, amounts=(2, 0, 1, 1), mode=mode))
    assert isinstance(twice, LazyExpression)
    assert twice.padding == (3, 1, 2, 2)
    assert once.pad(PadCall(image=None, amounts=(1,) * 4, mode="reflect")) == "it is padded twice"
    circular = make_expression((4, 2), padding=(1,) * 4, padding_mode="circular")
    assert circular.pad(PadCall(image=None, amounts=(1,) * 4, mode="circular")) == "it is padded twice"


def test_upsampling_again() -> None:
    expression = make_expression((4, 2), (1, 1)).upsample((3, 3))
    assert isinstance(expression, LazyExpression)
    assert [part.scale for part in expression.parts] == [6, 3]
    assert make_expression((4, 20)).upsample((2, 2)) == "it is upsampled by more than 32"
    assert make_expression((4, 2), padding=(1,) * 4).upsample((2, 2)) == "it is padded before it is upsampled"


def test_rows_and_columns_by_themselves_are_stretched_before() -> None:
    expression = make_expression((4, 1)).upsample((4, 1))
    assert isinstance(expression, LazyExpression)
    assert [(part.scale, part.stretch) for part in expression.parts] == [(1, (4, 1))]
    whole = expression.upsample((1, 2))
    assert isinstance(whole, LazyExpression)
    assert [(part.scale, part.stretch, part.scales) for part in whole.parts] == [(2, (2, 1), (4, 2))]


def test_scales_beside_a_size_are_those_that_it_means() -> None:
    def read(*ratios: float) -> Any:
        call = UpsampleCall(image=None, size=(8, 10), scale_factor=None, mode="nearest", ratios=ratios)
        return read_scales(call, (1, 3, 4, 5))

    assert read() == read(2.0, 2.0) == (2, 2)
    assert read(2.0, 1.9) == "size (8, 10) and scales (2.0, 1.9) are not the same"


def test_division() -> None:
    assert (divide(6, 3), divide(7, 3), divide(6, 0), divide(0, 3)) == (2, None, None, 0)
