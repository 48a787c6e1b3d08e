"""The article's Figures 4 and 6: how often the kernel visits each output cell, beside the windows that do it.

One drawing for any kernel and stride; the counts are those of `deconvbench.theory`.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deconvbench.errors import UsageError
from deconvbench.plots.article.pixel_layout import (
    LINE,
    MARGIN,
    WIDTH,
    fold,
    make_sheet,
    place_axes,
    write,
    write_heading,
)
from deconvbench.plots.heatmap import draw_cells, make_shades
from deconvbench.plots.style import INK, figure_style
from deconvbench.theory import overlap_cv, overlap_map, phase_counts

INPUT_SIZE = 4
_SIDE = 560
# the first window and its neighbours to the right and below: Okabe and Ito's vermilion, blue and green
_MARKED = (("#d55e00", (0, 0), "-"), ("#0072b2", (0, 1), (0, (4, 1.5))), ("#009e73", (1, 0), (0, (1.2, 1.2))))


def draw_figure_4() -> Figure:
    """Draw the overlap of a 3×3 kernel with stride 2.

    Returns
    -------
    Figure

    References
    ----------
    The article's Figure 4; Odena et al., Distill 2016.
    """
    return draw_overlap_counts(3, 2, "Figure 4: with kernel 3 and stride 2 the windows overlap unevenly")


def draw_figure_6() -> Figure:
    """Draw the overlap of a 4×4 kernel with stride 2.

    Returns
    -------
    Figure

    References
    ----------
    The article's Figure 6; Odena et al., Distill 2016.
    """
    return draw_overlap_counts(
        4, 2, "Figure 6: with kernel 4 and stride 2 the windows overlap evenly, but at the border"
    )


def draw_overlap_counts(kernel_size: int, stride: int, title: str, *, size: int = INPUT_SIZE) -> Figure:
    """Draw the windows of a transposed convolution and, beside them, how many reach each output cell.

    Parameters
    ----------
    kernel_size, stride : int
        Kernel size k and stride s, the same for both axes.
    title : str
        One line.
    size : int
        Input cells along each axis, at least 2.

    Returns
    -------
    Figure

    Raises
    ------
    UsageError
        If `size` is below 2, or another number below 1.
    """
    if size < 2:
        raise UsageError(f"size: {size} is below 2, and one window overlaps nothing")
    counts = overlap_map(kernel_size, stride, size)
    cell = _SIDE // len(counts)
    side = cell * len(counts)
    inside = phase_counts(kernel_size, stride)
    seen = sorted(set(map(int, np.multiply.outer(inside, inside).ravel())))
    spread = overlap_cv(kernel_size, stride)
    text, top = fold(
        f"Each of the {size}×{size} input cells writes one window of {kernel_size}×{kernel_size} output cells, "
        f"{stride} cells from the next. Away from the border a cell is visited {_list(seen)} times: coefficient "
        f"of variation {spread:.2g}. Geometry only: weights and inputs are all 1."
    )
    with figure_style():
        figure = make_sheet(top + side + 2 * LINE + 6)
        write_heading(figure, title, text)
        left = place_axes(figure, MARGIN + 40, top, side, side)
        right = place_axes(figure, WIDTH - MARGIN - side, top, side, side)
        write(figure, MARGIN + 40, top - LINE - 4, "the windows (darker: more of them)", weight="bold")
        write(figure, WIDTH - MARGIN - side, top - LINE - 4, "how many reach each cell", weight="bold")
        _draw_windows(left, kernel_size, stride, size, len(counts))
        draw_cells(right, counts.astype(float), counts.astype(str), make_shades(0, float(counts.max())))
        for axes in (left, right):
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_xlabel(f"output columns ({len(counts)} cells)")
            axes.set_ylabel(f"output rows ({len(counts)} cells)")
    return figure


def _list(numbers: list[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}" if most else last


def _draw_windows(axes: Axes, kernel_size: int, stride: int, size: int, length: int) -> None:
    axes.set_xlim(0, length)
    axes.set_ylim(length, 0)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for row in range(size):
        for column in range(size):
            axes.add_patch(
                Rectangle(
                    (column * stride, row * stride), kernel_size, kernel_size, facecolor=INK, alpha=0.17,
                    edgecolor="none",
                )
            )  # fmt: skip
    for line in range(length + 1):
        axes.axhline(line, color="white", linewidth=1)
        axes.axvline(line, color="white", linewidth=1)
    for inset, (colour, (row, column), dashes) in enumerate(_MARKED):
        # each a little smaller than the one before, so that common edges do not hide each other
        edge = 0.06 + 0.07 * inset
        axes.add_patch(
            Rectangle(
                (column * stride + edge, row * stride + edge), kernel_size - 2 * edge, kernel_size - 2 * edge,
                fill=False, edgecolor=colour, linewidth=2.2, linestyle=dashes,
            )
        )  # fmt: skip
