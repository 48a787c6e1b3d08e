"""Where in a picture its grid is: the picture in grey, with the local amplitude over it.

Draws numbers that were measured already, and decides nothing but what is shown of them.
"""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deconvbench.plots.style import FONT_PT, INK, figure_style, make_figure
from deconvbench.system.texts import tidy_line

TITLE = "deconvbench score"
# inches: of the picture's longer side, and beside and above it for bar and titles
_LONGER_IN, _BESIDE_IN, _ABOVE_IN = 7.0, 1.2, 0.9
_NARROWEST_IN, _LOWEST_IN = 4.2, 2.4
_MOST_CHARACTERS = 48
# of the overlay, so that the picture is seen through it; and its shades, none of them dark for the same reason
_OPACITY, _SHADES = 0.6, "YlOrRd"
# pixels of a side that are drawn, at most
_MOST_PIXELS = 1600
# the picture is drawn this pale, so that the overlay stands out
_PALEST, _DARKEST = 255, 250


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
    is_found: bool = True,
) -> Figure:
    """Draw the local amplitude of a grid over its picture.

    Cells at or below their own detection level are left clear; the others are shaded by amplitude. Where all are
    clear, the title says from which amplitude on they would not be.

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
    is_found : bool
        Whether there is a grid in the picture as a whole.

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
    shades = ScalarMappable(norm=Normalize(0.0, highest), cmap=colormaps[_SHADES])
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
        if stands_out.any():
            bar = figure.colorbar(shades, ax=axes, fraction=0.05, pad=0.02, alpha=_OPACITY)
            bar.set_label(f"amplitude of period {period} (8-bit levels)")
        text = _describe(stands_out, detection_levels, period, window, is_found=is_found)
        figure.suptitle(
            f"{tidy_line(name, _MOST_CHARACTERS)}\n{text}",
            fontsize=FONT_PT, color=INK, ha="left", x=0.02,
        )  # fmt: skip
    return figure


def _describe(
    stands_out: npt.NDArray[np.bool_],
    detection_levels: npt.NDArray[np.float64],
    period: int,
    window: int,
    *,
    is_found: bool,
) -> str:
    """Two lines that say how much of the picture is shaded."""
    windows = f"windows of {window} pixels"
    if not stands_out.any():
        known = detection_levels[np.isfinite(detection_levels)]
        if not known.size:
            return f"no grid of period {period} can be seen: {windows}\nhave too few patches for a detection level"
        least, most = f"{known.min():.2g}", f"{known.max():.2g}"
        levels = f"{least} levels" if least == most else f"{least} to {most} levels"
        return f"nothing to show: no window of {window} pixels is above\nits level for period {period} ({levels})"
    share = f"{stands_out.sum()} of {stands_out.size}"
    if is_found:
        return f"{share} {windows} are above their\ndetection level, the others are clear"
    return f"no grid of period {period} found in the whole; {share}\n{windows} are above their level"


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
