"""A grid of coloured cells with a text in each.

In place of seaborn's heat map, which draws the whole figure anew for each one that is added to it.
"""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.patches import Rectangle

from deconvbench.plots.style import FONT_PT, HATCH, INK, NOT_MEASURED, measure_contrast

# seaborn's, from pale to dark in even steps, readable without colours
_SHADES = "rocket_r"
# below this contrast against white, dark ink is easier to read than white
_WHITE_FROM = 4.5


def make_shades(low: float, high: float) -> ScalarMappable:
    """Make the scale of shades from pale (`low`) to dark (`high`), for cells and for a colour bar.

    Parameters
    ----------
    low, high : float
        Values of the two ends.
    """
    return ScalarMappable(norm=Normalize(low, high), cmap=colormaps[_SHADES])


def pick_shade(shades: ScalarMappable, value: float) -> str:
    """Look up the colour of a value, ``#rrggbb``.

    Parameters
    ----------
    shades : ScalarMappable
        From `make_shades`.
    value : float
        Not NaN.
    """
    red, green, blue, _ = map(float, shades.to_rgba(np.array([value]))[0])
    return to_hex((red, green, blue))


def draw_cells(
    axes: Axes, values: np.ndarray, texts: np.ndarray, shades: ScalarMappable, *, font_pt: float = FONT_PT
) -> None:
    """Fill the axes with cells, the first row on top.

    Parameters
    ----------
    axes : Axes
        Empty.
    values : ndarray, shape (rows, columns)
        Decide the shades; a NaN is a hatched grey cell.
    texts : ndarray of str, shape (rows, columns)
        Written into the cells.
    shades : ScalarMappable
        From `make_shades`.
    font_pt : float
        Size of the texts.
    """
    rows, columns = values.shape
    for (row, column), value in np.ndenumerate(values):
        known = not np.isnan(value)
        colour = pick_shade(shades, float(value)) if known else NOT_MEASURED
        axes.add_patch(
            Rectangle(
                (column, row), 1, 1, facecolor=colour, edgecolor="white" if known else "#bdbdbd",
                linewidth=1.5 if known else 0, hatch=None if known else HATCH,
            )
        )  # fmt: skip
        axes.text(
            column + 0.5, row + 0.5, str(texts[row, column]), ha="center", va="center", fontsize=font_pt,
            color="white" if known and measure_contrast(colour) >= _WHITE_FROM else INK,
            # so that the hatching does not strike the text through
            bbox=None if known else {"facecolor": NOT_MEASURED, "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
