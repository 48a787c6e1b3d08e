"""Figures 4 and 6."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deconvbench.errors import UsageError
from deconvbench.plots.article.overlap_counts import draw_figure_4, draw_figure_6, draw_overlap_counts
from deconvbench.theory import overlap_map
from tests.plots.article.conftest import list_outlines

Legible = Callable[[Figure], list[tuple[str, Any]]]


@pytest.mark.parametrize(
    ("draw", "kernel_size", "visits"),
    [
        pytest.param(draw_figure_4, 3, "visited 1, 2 or 4 times: coefficient of variation 0.48", id="figure_4"),
        pytest.param(draw_figure_6, 4, "visited 4 times: coefficient of variation 0", id="figure_6"),
    ],
)
def test_counts_are_those_of_the_theory(
    draw: Callable[[], Figure], kernel_size: int, visits: str, assert_legible: Legible
) -> None:
    figure = draw()
    texts = [text for text, _ in assert_legible(figure)]
    # a line may be folded anywhere
    assert any(visits in text.replace("\n", " ") for text in texts)
    windows, counts = figure.axes
    expected = overlap_map(kernel_size, 2, 4)
    assert [text.get_text() for text in counts.texts] == list(map(str, expected.ravel()))
    assert texts.count(f"output columns ({len(expected)} cells)") == 2
    filled = [patch for patch in windows.patches if isinstance(patch, Rectangle) and patch.get_fill()]
    drawn = np.zeros_like(expected)
    for patch in filled:
        left, top = map(int, patch.get_xy())
        drawn[top : top + int(patch.get_height()), left : left + int(patch.get_width())] += 1
    np.testing.assert_array_equal(drawn, expected)


def test_three_windows_are_outlined_within_their_cells() -> None:
    outlines = list_outlines(draw_figure_4().axes[0])
    starts = [(int(left), int(top)) for left, top, *_ in outlines]
    assert starts == [(0, 0), (2, 0), (0, 2)]
    for left, top, width, height in outlines:
        assert left + width < int(left) + 3
        assert top + height < int(top) + 3


def test_any_kernel_and_stride_can_be_drawn(assert_legible: Legible) -> None:
    assert_legible(draw_overlap_counts(5, 3, "five by three", size=2))
    texts = [text for text, _ in assert_legible(draw_overlap_counts(1, 2, "holes", size=4))]
    assert any("visited 0 or 1 times" in text.replace("\n", " ") for text in texts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((3, 2, "", 1), "size: 1 is below 2"), ((0, 2, "", 4), "kernel_size"), ((3, 0, "", 4), "stride")],
)
def test_numbers_that_make_no_figure_are_wrong_use(arguments: tuple[int, int, str, int], message: str) -> None:
    *others, size = arguments
    with pytest.raises(UsageError, match=message):
        draw_overlap_counts(*others, size=size)  # type: ignore[arg-type] # two numbers and a title
