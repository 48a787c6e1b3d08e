"""Where in a picture its grid is: the picture in grey, with the local amplitude over it.

Draws numbers that were measured already, and decides nothing but what is shown of them.
"""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deconvbench.plots.heatmap import make_shades
from deconvbench.plots.style import FONT_PT, INK, figure_style, make_figure
from deconvbench.system.texts import tidy_line

TITLE = "deconvbench score"
# inches: of the picture's longer side, and beside and above it for bar and titles
_LONGER_IN, _BESIDE_IN, _ABOVE_IN = 7.0, 1.2, 0.9
_NARROWEST_IN, _LOWEST_IN = 4.2, 2.4
_MOST_CHARACTERS = 48
# of the overlay, so that the picture is seen through it
_OPACITY = 0.62
# pixels of a side that are drawn, at most
_MOST_PIXELS = 1600
# the picture is drawn this pale, so that the overlay stands out
_PALEST, _DARKEST = 255, 60


def draw_score_map(
    picture: npt.NDArray[np.floating | np.uint8],
    amplitudes: npt.NDArray[np.float64],
    detection_levels: npt.NDArray[np.float64],
    rows: Sequence[float],
    columns: Sequence[float],
    *,
    name: str,
    period: int,
    window: int,
) -> Figure:
    """Draw the local amplitude of a grid over its picture.

    Cells at or below their own detection level are left clear; the others are shaded by amplitude, and outlined
    where a neighbour is clear.

    Parameters
    ----------
    picture : ndarray, shape (C, H, W)
        8-bit levels.
    amplitudes, detection_levels : ndarray, shape (R, C)
        Of the cells, in 8-bit levels; a NaN level counts as not exceeded.
    rows, columns : sequence of float
        Edges of the cells in pixels: R + 1 and C + 1 numbers.
    name : str
        Of the picture.
    period, window : int
        Of the grid, and the side of what each amplitude was measured on, in pixels.

    Returns
    -------
    Figure
    """
    height, width = picture.shape[1:]
    step = max(1, -(-max(height, width) // _MOST_PIXELS))
    grey = picture[:, ::step, ::step].astype(np.float64).mean(0)
    scale = _LONGER_IN / max(height, width)
    stands_out = amplitudes > detection_levels
    highest = float(amplitudes[stands_out].max()) if stands_out.any() else 1.0
    shades = make_shades(0.0, highest)
    with figure_style():
        figure = make_figure(
            max(_LOWEST_IN, height * scale) + _ABOVE_IN, max(_NARROWEST_IN, width * scale) + _BESIDE_IN
        )
        axes = figure.subplots()
        axes.imshow(
            grey, cmap="gray", vmin=-_DARKEST, vmax=_PALEST, extent=(0, width, height, 0), interpolation="nearest"
        )
        for row, column in np.argwhere(stands_out):
            axes.add_patch(
                Rectangle(
                    (columns[column], rows[row]),
                    columns[column + 1] - columns[column],
                    rows[row + 1] - rows[row],
                    facecolor=shades.to_rgba(np.array([amplitudes[row, column]]))[0],
                    edgecolor="none",
                    alpha=_OPACITY,
                )
            )
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_xlabel("pixels")
        axes.set_ylabel("pixels")
        figure.colorbar(shades, ax=axes, fraction=0.05, pad=0.02).set_label(
            f"amplitude of period {period} (8-bit levels)"
        )
        share = f"{stands_out.mean():.0%}".replace("%", " %")
        figure.suptitle(
            f"{tidy_line(name, _MOST_CHARACTERS)}\n{share} of the windows of {window} pixels are above their\n"
            "detection level, the others are clear",
            fontsize=FONT_PT, color=INK, ha="left", x=0.02,
        )  # fmt: skip
    return figure


def encode_score_map(figure: Figure) -> bytes:
    """Encode a map as PNG that is known again as one.

    Parameters
    ----------
    figure : Figure
        From `draw_score_map`.
    """
    buffer = BytesIO()
    with figure_style():
        figure.savefig(buffer, format="png", metadata={"Title": TITLE, "Software": None})
    return buffer.getvalue()
