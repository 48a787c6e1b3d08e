"""The article's Figure 3: a transposed convolution as a direct one over a padded, spread-out input.

The numbers in the cells are computed (zero insertion, padding, convolution with the flipped kernel), so that a
reader can add up what lies under the kernel and a test can hold them against the transposed convolution itself.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

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
from deconvbench.plots.heatmap import draw_cells
from deconvbench.plots.style import HATCH, MUTED, NOT_MEASURED, figure_style
from deconvbench.theory import convolve, flip_kernel, pad_or_crop, zero_insert

INPUT = ((1.0, 2.0), (3.0, 4.0))
KERNEL_SIZE = 3
# the output cell whose kernel position is marked
MARKED = (1, 2)
_CELL = 46
_GAP = 86
_PADDING_COLOUR, _INPUT_COLOUR, _OUTPUT_COLOUR = "#f4f4f4", "#8cc4e6", "#f5c99b"
_KERNEL_COLOUR = "#b84f00"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spreading:
    """One panel: the input on its way through zero insertion, padding and a direct convolution.

    Parameters
    ----------
    stride : int
        Of the transposed convolution.
    spread : ndarray, shape (H, H), float64
        The input with its inserted zeros and its padding.
    kinds : ndarray of str, shape (H, H)
        ``input``, ``inserted`` or ``padding``.
    output : ndarray, shape (L, L), float64
        What the direct convolution with a kernel of ones gives.
    """

    stride: int
    spread: Floats
    kinds: npt.NDArray[np.str_]
    output: Floats


def spread_input(stride: int) -> Spreading:
    """Compute one panel.

    Parameters
    ----------
    stride : int
        Stride s of the transposed convolution: s - 1 zeros between the inputs.

    Returns
    -------
    Spreading
        The padding is k - 1 on each side, so nothing is cropped.
    """
    data = np.array(INPUT)
    rim = (KERNEL_SIZE - 1, KERNEL_SIZE - 1)
    # where a one arrives, an input cell does; what is left of the inner square are zeros inserted
    inner = zero_insert(np.ones_like(data), stride)
    kinds = np.where(pad_or_crop(np.ones_like(inner), rim, rim) == 0, "padding", "inserted")
    kinds[pad_or_crop(inner, rim, rim) == 1] = "input"
    spread = pad_or_crop(zero_insert(data, stride), rim, rim)
    kernel = flip_kernel(np.ones((1, 1, KERNEL_SIZE, KERNEL_SIZE)))
    return Spreading(stride=stride, spread=spread, kinds=kinds, output=convolve(spread[None, None], kernel)[0, 0])


def draw_figure_3() -> Figure:
    """Draw 2×2 → 4×4 through a padded 6×6 input, and 2×2 → 5×5 with zeros between the inputs.

    Returns
    -------
    Figure

    References
    ----------
    The article's Figure 3; Dumoulin & Visin, 1603.07285, sections 4.3 and 4.5.
    """
    panels = [spread_input(1), spread_input(2)]
    text, top = fold(
        "A 2×2 input is spread out and padded with 2 zeros on each side; a direct 3×3 convolution of stride 1 "
        "then gives the transposed one. All weights are 1, so each output cell is the sum of what lies under the "
        "kernel. All sizes are in cells."
    )
    top += LINE
    height = top + max(len(panel.spread) for panel in panels) * _CELL + 2 * LINE + 12
    widths = [(len(panel.spread) + len(panel.output)) * _CELL + _GAP for panel in panels]
    lefts = (MARGIN, WIDTH - MARGIN - widths[1])
    with figure_style():
        figure = make_sheet(height)
        write_heading(figure, "Figure 3: every transposed convolution is a direct convolution over zeros", text)
        for panel, left in zip(panels, lefts, strict=True):
            _draw_panel(figure, panel, left, top)
        figure.legend(
            handles=[
                Patch(facecolor=_INPUT_COLOUR, label="input cell"),
                Patch(facecolor=NOT_MEASURED, edgecolor="#bdbdbd", hatch=HATCH, label="zero inserted between"),
                Patch(facecolor=_PADDING_COLOUR, edgecolor="#bdbdbd", label="zero of the padding"),
                Patch(facecolor=_OUTPUT_COLOUR, label="output cell"),
                Patch(facecolor="none", edgecolor=_KERNEL_COLOUR, linewidth=2, label="one position of the kernel"),
            ],
            loc="lower center", ncols=5, frameon=False,
        )  # fmt: skip
    return figure


def _draw_panel(figure: Figure, panel: Spreading, left: int, top: int) -> None:
    size, out_size = len(panel.spread), len(panel.output)
    carrying = int((panel.kinds == "input").sum())
    title = f"2×2 → {out_size}×{out_size}, stride {panel.stride}"
    if panel.stride > 1:
        title += f", a step of 1/{panel.stride} input cell"
    write(figure, left, top - 2 * LINE - 8, title, weight="bold")
    write(figure, left, top - LINE - 4, f"{carrying} of {size**2} cells carry data", color=MUTED)
    source = place_axes(figure, left, top, size * _CELL, size * _CELL)
    _draw_spread(source, panel)
    # beside the middle of the input
    offset = (size - out_size) * _CELL // 2
    target = place_axes(figure, left + size * _CELL + _GAP, top + offset, out_size * _CELL, out_size * _CELL)
    _draw_flat(target, panel.output, _OUTPUT_COLOUR)
    _outline(source, *MARKED, KERNEL_SIZE)
    _outline(target, *MARKED, 1)
    write(
        figure, left + size * _CELL + _GAP / 2, top + size * _CELL / 2, "→", ha="center", va="center", fontsize=16,
        color=_KERNEL_COLOUR,
    )  # fmt: skip


def _draw_spread(axes: Axes, panel: Spreading) -> None:
    # inserted zeros are the cells without a shade, which are hatched
    values = np.select([panel.kinds == "input", panel.kinds == "padding"], [1.0, 0.0], np.nan)
    texts = np.array([[f"{value:.0f}" for value in row] for row in panel.spread])
    shades = ScalarMappable(norm=Normalize(0, 1), cmap=ListedColormap([_PADDING_COLOUR, _INPUT_COLOUR]))
    draw_cells(axes, values, texts, shades)
    for text, kind in zip(axes.texts, panel.kinds.ravel(), strict=True):
        if kind == "input":
            text.set_fontweight("bold")
        else:
            text.set_color(MUTED)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_flat(axes: Axes, values: Floats, colour: str) -> None:
    texts = np.array([[f"{value:.0f}" for value in row] for row in values])
    draw_cells(axes, np.zeros_like(values), texts, ScalarMappable(cmap=ListedColormap([colour])))
    axes.set_xticks([])
    axes.set_yticks([])


def _outline(axes: Axes, row: int, column: int, side: int) -> None:
    axes.add_patch(
        Rectangle(
            (column, row), side, side, fill=False, edgecolor=_KERNEL_COLOUR, linewidth=2.4, clip_on=False, zorder=5
        )
    )
