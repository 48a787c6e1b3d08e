"""Placing things by dots."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deconvbench.plots.article.pixel_layout import (
    LINE,
    MARGIN,
    WIDTH,
    fold,
    make_sheet,
    outline_window,
    place_axes,
    place_picture,
    write,
    write_heading,
)
from deconvbench.plots.style import figure_style
from tests.plots.article.conftest import list_outlines

Legible = Callable[[Figure], list[tuple[str, Any]]]


def draw(figure: Figure) -> np.ndarray:
    canvas = cast(FigureCanvasAgg, figure.canvas)
    canvas.draw()  # type: ignore[no-untyped-call] # matplotlib has no type here
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call] # nor here


@pytest.mark.parametrize("dots", [1, 2, 3, 4, 12])
@pytest.mark.parametrize(("left", "top"), [(0, 0), (MARGIN, 97), (501, 233)])
def test_every_pixel_is_a_square_of_dots(dots: int, left: int, top: int) -> None:
    pixels = np.random.default_rng(dots).integers(0, 256, (30, 24, 3)).astype(np.uint8)
    figure = make_sheet(700)
    place_picture(figure, left, top, pixels, dots)
    drawn = draw(figure)
    assert drawn.shape == (700, WIDTH, 3)
    expected = np.full_like(drawn, 255)
    expected[top : top + 30 * dots, left : left + 24 * dots] = pixels.repeat(dots, 0).repeat(dots, 1)
    np.testing.assert_array_equal(drawn, expected)


def test_a_checkerboard_of_one_level_survives() -> None:
    rows, columns = np.mgrid[:16, :16]
    pixels = (100 + (rows + columns) % 2)[..., None].repeat(3, 2).astype(np.uint8)
    figure = make_sheet(100)
    place_picture(figure, 40, 20, pixels, 3)
    part = draw(figure)[20:68, 40:88]
    assert set(np.unique(part)) == {100, 101}
    np.testing.assert_array_equal(part[1::3, 1::3], pixels)


def test_a_window_is_outlined_in_pixels() -> None:
    axes = place_picture(make_sheet(200), 0, 0, np.zeros((32, 40, 3), np.uint8), 2)
    outline_window(axes, (slice(4, 12), slice(8, 28)))
    assert set(list_outlines(axes)) == {(8, 4, 20, 8)}
    # rows count from the top
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 40), (32, 0))


def test_axes_lie_where_they_are_placed() -> None:
    box = place_axes(make_sheet(400), 100, 50, 300, 200).get_window_extent()
    assert (box.x0, box.x1, box.y0, box.y1) == pytest.approx((100, 400, 150, 350))


def test_a_heading_ends_above_what_is_below_it(assert_legible: Legible) -> None:
    text, top = fold("many words that are read from left to right and " * 12)
    assert text.count("\n") >= 3
    with figure_style():
        figure = make_sheet(top + 100)
        write_heading(figure, "A title", text)
        # where a panel's title stands, without touching the heading
        write(figure, MARGIN, top - LINE - 4, "a panel")
        texts = assert_legible(figure)
    assert [written for written, _ in texts] == ["A title", text, "a panel"]


def test_short_headings_take_less_room() -> None:
    assert fold("one line")[1] == fold("word " * 40)[1] - LINE
