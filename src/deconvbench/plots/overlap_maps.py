"""Overlap drawn as the article draws it: how often a kernel visits each output cell.

Geometry only, no measurement: Figures 4 and 6 for any kernel and stride.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deconvbench.errors import UsageError
from deconvbench.plots.heatmap import draw_cells, make_shades
from deconvbench.plots.style import FONT_PT, MUTED, figure_style, make_figure
from deconvbench.theory import overlap_cv, overlap_map

ARTICLE_LAYERS = ((3, 2), (4, 2), (5, 2), (2, 2))
_COLUMNS = 2


def draw_overlap_maps(layers: Sequence[tuple[int, int]] = ARTICLE_LAYERS, *, size: int = 3) -> Figure:
    """Draw the visit counts of transposed convolutions, one panel a layer.

    Parameters
    ----------
    layers : sequence of (kernel_size, stride)
        At least one; k3 s2 is the article's Figure 4, k4 s2 its Figure 6.
    size : int
        Input cells along each axis.

    Returns
    -------
    Figure

    Raises
    ------
    UsageError
        If there is no layer, or a number is below 1.

    References
    ----------
    The article's Figures 4 and 6; Odena et al., Distill 2016.
    """
    if not layers:
        raise UsageError("layers: an empty sequence has nothing to draw; give at least one (kernel_size, stride)")
    maps = [overlap_map(kernel, stride, size) for kernel, stride in layers]
    shades = make_shades(0, max(int(counts.max()) for counts in maps))
    with figure_style():
        columns = min(_COLUMNS, len(layers))
        rows = -(-len(layers) // columns)
        figure = make_figure(4.3 * rows + 0.3, width_in=4.4 * columns)
        axes_list: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes, (kernel, stride), counts in zip(axes_list, layers, maps, strict=False):
            draw_cells(axes, counts.astype(float), counts.astype(str), shades, font_pt=FONT_PT - 1)
            axes.set_aspect("equal")
            axes.set_xticks([])
            axes.set_yticks([])
            spread = overlap_cv(kernel, stride)
            verdict = "even inside" if spread == 0 else f"uneven, CV {spread:.2f}"
            axes.set_title(f"kernel {kernel}, stride {stride}: {verdict}")
            axes.set_xlabel(f"output columns ({counts.shape[1]} pixels)")
            axes.set_ylabel(f"output rows ({counts.shape[0]} pixels)")
        for axes in axes_list[len(layers) :]:
            axes.remove()
        figure.suptitle(
            f"Visits of the kernel to each output cell, {size}×{size} inputs", fontsize=FONT_PT, color=MUTED,
            ha="left", x=0.01,
        )  # fmt: skip
    return figure
