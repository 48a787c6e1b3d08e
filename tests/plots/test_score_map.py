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
    assert "100 % of the windows" in texts
    assert "amplitude of period 2 (8-bit levels)" in texts


def test_files_are_known_again() -> None:
    data = encode_score_map(draw([[2.0, 0, 0], [0, 0, 4.0]]))
    assert data.startswith(b"\x89PNG\r\n")
    assert TITLE.encode() in data[:200]
