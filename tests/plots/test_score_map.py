"""The map of where a grid is: what is shaded, what is clear, and that its texts can be read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deconvbench.plots.score_map import TITLE, draw_score_map, encode_score_map

Legible = Callable[[Figure], list[tuple[str, Any]]]
PICTURE = np.linspace(0, 255, 3 * 96 * 128).reshape(3, 96, 128).astype(np.uint8)
ROWS, COLUMNS = (0.0, 48.0, 96.0), (0.0, 40.0, 80.0, 128.0)


def draw(amplitudes: list[list[float]], level: float = 1.0, **changes: Any) -> Figure:
    values = np.array(amplitudes)
    given: dict[str, Any] = {"name": "a.png", "period": 2, "window": 64, **changes}
    return draw_score_map(PICTURE, values, np.full(values.shape, level), ROWS, COLUMNS, **given)


def list_cells(figure: Figure) -> list[tuple[float, float, float, float]]:
    return [
        (*patch.get_xy(), patch.get_width(), patch.get_height())
        for patch in figure.axes[0].patches
        if isinstance(patch, Rectangle)
    ]


def test_only_what_exceeds_its_level_is_shaded() -> None:
    figure = draw([[2.0, 0.5, 1.0], [-3.0, np.nan, 4.0]])
    assert list_cells(figure) == [(0.0, 0.0, 40.0, 48.0), (80.0, 48.0, 48.0, 48.0)]


def test_stronger_cells_are_darker() -> None:
    weak, strong = (
        float(np.sum(to_rgb(patch.get_facecolor()))) for patch in draw([[2.0, 0, 0], [0, 0, 4.0]]).axes[0].patches
    )
    assert strong < weak


def test_without_a_level_nothing_is_shaded() -> None:
    assert list_cells(draw([[2.0] * 3] * 2, level=np.nan)) == []


@pytest.mark.parametrize("shape", [(1, 40, 400), (1, 400, 40), (3, 96, 128)], ids=str)
def test_texts_are_legible_at_every_shape(shape: tuple[int, int, int], assert_legible: Legible) -> None:
    height, width = shape[1:]
    figure = draw_score_map(
        np.zeros(shape, np.uint8), np.full((1, 1), 3.0), np.ones((1, 1)), (0.0, height), (0.0, width),
        name="a photograph with a long name.png", period=2, window=64,
    )  # fmt: skip
    texts = " ".join(text for text, _ in assert_legible(figure))
    assert "1 of 1 windows of 64 pixels are above their" in texts
    assert "amplitude of period 2 (8-bit levels)" in texts


@pytest.mark.parametrize(
    ("level", "is_found", "said"),
    [
        (5.0, True, "nothing to show: no window of 64 pixels is above\nits level for period 2 (5 levels)"),
        (np.nan, True, "no grid of period 2 can be seen: windows of 64 pixels\nhave too few patches"),
        (1.0, False, "no grid of period 2 found in the whole; 1 of 6\nwindows of 64 pixels are above their level"),
        (1.0, True, "1 of 6 windows of 64 pixels are above their\ndetection level, the others are clear"),
    ],
)
def test_the_title_says_what_is_shown_or_why_nothing_is(
    level: float, is_found: bool, said: str, assert_legible: Legible
) -> None:
    figure = draw([[2.0, 0.5, 1.0], [-3.0, 0.0, 0.0]], level, is_found=is_found)
    assert_legible(figure)
    assert said in figure.get_suptitle()
    # a scale of colours that are not there would say that something is shown
    assert len(figure.axes) == (2 if list_cells(figure) else 1)


def test_no_shade_hides_the_picture() -> None:
    figure = draw([[4.0, 4.0, 4.0], [4.0, 4.0, 4.0]])
    shades = [np.array(to_rgb(patch.get_facecolor())) for patch in figure.axes[0].patches]
    opacity = float(figure.axes[0].patches[0].get_alpha() or 1)
    (image,) = figure.axes[0].images
    black, white = (float(image.to_rgba(np.array([[value]]))[0, 0, 0]) for value in (0.0, 255.0))
    for shade in shades:
        seen = [opacity * shade + (1 - opacity) * grey for grey in (black, white)]
        assert np.abs(seen[1] - seen[0]).mean() > 0.15
        assert seen[0].mean() > 0.3


def test_files_are_known_again() -> None:
    data = encode_score_map(draw([[2.0, 0, 0], [0, 0, 4.0]]))
    assert data.startswith(b"\x89PNG\r\n")
    assert TITLE.encode() in data[:200]
