"""Figure 3."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deconvbench.plots.article.fractional_strides import INPUT, KERNEL_SIZE, MARKED, draw_figure_3, spread_input
from deconvbench.theory import transposed_conv_matrix, transposed_convolve
from tests.plots.article.conftest import list_outlines

Legible = Callable[[Figure], list[tuple[str, Any]]]


@pytest.mark.parametrize(("stride", "size", "spread", "inserted"), [(1, 4, 6, 0), (2, 5, 7, 5), (3, 6, 8, 12)])
def test_the_panel_is_the_transposed_convolution(stride: int, size: int, spread: int, inserted: int) -> None:
    panel = spread_input(stride)
    assert (panel.spread.shape, panel.output.shape) == ((spread, spread), (size, size))
    ones, data = np.ones((1, 1, KERNEL_SIZE, KERNEL_SIZE)), np.array(INPUT)
    np.testing.assert_allclose(panel.output, transposed_convolve(data[None, None], ones, stride=stride)[0, 0])
    matrix = transposed_conv_matrix(ones[0, 0], (2, 2), stride=stride)
    np.testing.assert_allclose(panel.output.ravel(), matrix @ data.ravel())
    kinds = {kind: int((panel.kinds == kind).sum()) for kind in ("input", "inserted", "padding")}
    assert kinds == {"input": 4, "inserted": inserted, "padding": spread**2 - 4 - inserted}
    np.testing.assert_array_equal(panel.spread[panel.kinds == "input"], data.ravel())
    assert not panel.spread[panel.kinds != "input"].any()


def test_both_panels_show_their_numbers(assert_legible: Legible) -> None:
    figure = draw_figure_3()
    texts = [text for text, _ in assert_legible(figure)]
    assert {"2×2 → 4×4, stride 1", "2×2 → 5×5, stride 2, a step of 1/2 input cell"} <= set(texts)
    assert {"4 of 36 cells carry data", "4 of 49 cells carry data"} <= set(texts)
    assert len(figure.axes) == 4
    for stride, axes_pair in ((1, figure.axes[:2]), (2, figure.axes[2:])):
        panel = spread_input(stride)
        for axes, values in zip(axes_pair, (panel.spread, panel.output), strict=True):
            drawn = np.array([float(text.get_text()) for text in axes.texts]).reshape(values.shape)
            np.testing.assert_array_equal(drawn, values)


def test_what_lies_under_the_outlined_kernel_adds_up() -> None:
    figure = draw_figure_3()
    for stride, (source, target) in ((1, figure.axes[:2]), (2, figure.axes[2:])):
        panel = spread_input(stride)
        row, column = MARKED
        assert list_outlines(source) == [(column, row, KERNEL_SIZE, KERNEL_SIZE)]
        assert list_outlines(target) == [(column, row, 1, 1)]
        covered = panel.spread[row : row + KERNEL_SIZE, column : column + KERNEL_SIZE]
        assert covered.sum() == panel.output[MARKED] > 0


def test_kinds_of_cells_look_different() -> None:
    axes = draw_figure_3().axes[2]
    panel = spread_input(2)
    cells = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_fill()]
    looks: dict[str, set[Any]] = {}
    for patch, kind in zip(cells, panel.kinds.ravel(), strict=True):
        looks.setdefault(str(kind), set()).add((patch.get_facecolor(), patch.get_hatch()))
    assert all(len(found) == 1 for found in looks.values())
    assert len(set.union(*looks.values())) == 3
    # inserted zeros can be told from padding without colours
    assert [hatch for _, hatch in looks["inserted"]] != [hatch for _, hatch in looks["padding"]]


def test_the_legend_names_every_kind(assert_legible: Legible) -> None:
    texts = {text for text, _ in assert_legible(draw_figure_3())}
    assert {
        "input cell", "zero inserted between", "zero of the padding", "output cell", "one position of the kernel",
    } <= texts  # fmt: skip
