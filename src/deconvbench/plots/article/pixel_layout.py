"""Placing panels and photographs dot by dot.

A checkerboard is one or two pixels wide: a picture that is resampled by a fraction makes or hides one. So pictures
stand on whole dots, each of their pixels a whole number of dots, and the figures that hold them are laid out by
hand, in dots from the upper left corner.
"""

import textwrap
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from deconvbench.plots.style import DPI, FONT_PT, INK, MUTED, WIDTH_IN, make_figure

WIDTH = round(WIDTH_IN * DPI)
MARGIN = 18
# a line of text of the figures' size, with its leading
LINE = round(1.45 * FONT_PT * DPI / 72)
_FIRST_LINE = 12
# in one line of a heading: 9 pt over the whole width
_LINE_CHARACTERS = 124
_OUTLINE_PT = 1.2

Pixels = npt.NDArray[np.uint8]
Window = tuple[slice, slice]


def make_sheet(height: int) -> Figure:
    """Make an empty figure of the usual width whose parts are placed by hand.

    Parameters
    ----------
    height : int
        In dots.
    """
    figure = make_figure(height / DPI)
    figure.set_layout_engine("none")
    return figure


def place_axes(figure: Figure, left: int, top: int, width: int, height: int) -> Axes:
    """Add axes.

    Parameters
    ----------
    figure : Figure
        From `make_sheet`.
    left, top : int
        Of the upper left corner, in dots from the figure's.
    width, height : int
        In dots.
    """
    across, down = _measure(figure)
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def place_picture(figure: Figure, left: int, top: int, pixels: Pixels, dots: int) -> Axes:
    """Show a picture.

    Parameters
    ----------
    figure : Figure
        From `make_sheet`.
    left, top : int
        As in `place_axes`.
    pixels : ndarray, shape (H, W, 3), uint8
        The picture.
    dots : int
        Side of a pixel.

    Returns
    -------
    Axes
        Without ticks, in pixels: pixel (0, 0) reaches from 0 to 1.
    """
    height, width = pixels.shape[:2]
    axes = place_axes(figure, left, top, width * dots, height * dots)
    axes.imshow(pixels, interpolation="nearest", extent=(0, width, height, 0), aspect="auto")
    axes.set_axis_off()
    return axes


def outline_window(axes: Axes, window: Window) -> None:
    """Outline a part of a picture.

    Parameters
    ----------
    axes : Axes
        From `place_picture`.
    window : (slice, slice)
        Rows and columns.
    """
    rows, columns = window
    for colour, width in (("white", 3 * _OUTLINE_PT), (INK, _OUTLINE_PT)):
        axes.add_patch(
            Rectangle(
                (columns.start, rows.start), columns.stop - columns.start, rows.stop - rows.start,
                fill=False, edgecolor=colour, linewidth=width,
            )
        )  # fmt: skip


def write(figure: Figure, left: float, top: float, text: str, **looks: Any) -> Text:
    """Write a text, its upper left corner at a place.

    Parameters
    ----------
    figure : Figure
        From `make_sheet`.
    left, top : float
        As in `place_axes`.
    text : str
        One line or several.
    **looks
        As in ``Figure.text``.
    """
    across, down = _measure(figure)
    settings = {"ha": "left", "va": "top", "fontsize": FONT_PT, "color": INK, **looks}
    return figure.text(left / across, 1 - top / down, text, **settings)


def fold(text: str) -> tuple[str, int]:
    """Fold the text of a heading into lines, and say where the figure below it may begin.

    Parameters
    ----------
    text : str
        Sentences on how to read the figure.

    Returns
    -------
    folded : str
        In lines as wide as the figure.
    top : int
        In dots from the figure's upper edge, with room for a line above what is placed there.
    """
    lines = textwrap.wrap(text, _LINE_CHARACTERS, break_on_hyphens=False)
    return "\n".join(lines), _FIRST_LINE + (2 + len(lines)) * LINE + 20


def write_heading(figure: Figure, title: str, folded: str) -> None:
    """Write the figure's title and, below it, how to read it.

    Parameters
    ----------
    figure : Figure
        From `make_sheet`.
    title : str
        One line.
    folded : str
        From `fold`.
    """
    write(figure, MARGIN, _FIRST_LINE, title, fontsize=FONT_PT + 1, weight="bold")
    write(figure, MARGIN, _FIRST_LINE + LINE + 4, folded, color=MUTED)


def _measure(figure: Figure) -> tuple[float, float]:
    """Width and height in dots."""
    width, height = map(float, figure.get_size_inches())
    return width * DPI, height * DPI
