"""Cells with texts."""

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from deconvbench.plots.heatmap import draw_cells, make_shades, pick_shade
from deconvbench.plots.style import HATCH, NOT_MEASURED, make_figure, measure_contrast


def test_each_cell_has_its_shade_its_text_and_ink_that_can_be_read() -> None:
    axes = make_figure(2.0).subplots()
    values = np.array([[0.0, 0.5, 1.0], [np.nan, 0.2, 0.8]])
    texts = np.array([["a", "b", "c"], ["–", "d", "e"]])
    shades = make_shades(0, 1)
    draw_cells(axes, values, texts, shades)
    cells = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [cell.get_xy() for cell in cells] == [(c, r) for r in range(2) for c in range(3)]
    assert [text.get_text() for text in axes.texts] == ["a", "b", "c", "–", "d", "e"]
    assert to_hex(cells[2].get_facecolor()) == pick_shade(shades, 1.0)
    assert to_hex(cells[3].get_facecolor()) == NOT_MEASURED
    assert [cell.get_hatch() for cell in cells] == [None, None, None, HATCH, None, None]
    for cell, text in zip(cells, axes.texts, strict=True):
        white = text.get_color() == "white"
        assert white is (measure_contrast(to_hex(cell.get_facecolor())) >= 4.5)
    # the first row is on top
    assert axes.get_ylim() == (2, 0)


def test_dark_is_high() -> None:
    shades = make_shades(0, 4)
    contrasts = [measure_contrast(pick_shade(shades, float(value))) for value in range(5)]
    assert contrasts == sorted(contrasts)
