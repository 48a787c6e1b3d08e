"""Why this score and not those: every score on the same images, each changed in one way and all by as much.

Draws the readings of the validation, with the changes as small pictures beside them. Which reading is
right is in the frame: a checkerboard is to be read as itself, everything else as nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.style import DPI, FONT_PT, GRID_COLOUR, INK, MUTED, figure_style, make_figure

# name in the frame, heading, and what it needs
SCORES = (
    ("cba", "checkerboard score", "needs no reference"),
    ("phase_means", "phase means", "needs no reference"),
    ("spectrum", "azimuthal spectrum", "given the clean image"),
    ("psnr", "PSNR, as RMS error", "given the clean image"),
)
_CHANGES = {
    "checkerboard": "checkerboard",
    "sign_flips": "checkerboard whose\nsign flips by region",
    "clean": "no change",
    "blur": "blur",
    "noise": "white noise",
    "texture": "fine texture",
    "bars": "bars and edges",
    "ramp": "ramp of brightness",
}
# Okabe and Ito's blue and vermilion; the wrong one is hatched as well
_RIGHT, _WRONG = "#0072b2", "#e8905a"
_WRONG_HATCH = "////"
# a reading within this of what it should be is right
_TOLERANCE = 0.25
_SHOWN = (-0.62, 1.62)
# inches
_ROW_IN, _HEAD_IN, _FOOT_IN = 0.68, 1.12, 0.82
# of the two pictures, as shares of their column
_PLACES = (0.62, 0.89)
_WHITE = 2.5  # deviations from grey to white
PICTURE_DOTS = 92  # height of a picture, of the 102 dots of a row
_AXIS = "mean reading, % of the score's own on the plain checkerboard (whisker: single images)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """One changed image to look at.

    Parameters
    ----------
    image : ndarray, shape (H, W), float64
        A piece of it, deviation about 1.
    change : ndarray, shape (h, w), float64
        A smaller piece of the change, as a share of the RMS of all changes.
    """

    image: npt.NDArray[np.float64]
    change: npt.NDArray[np.float64]


def draw_scores(summary: pd.DataFrame, pictures: Mapping[str, Pictures], about: str) -> Figure:
    """Draw what each score reads on each change, a row a change and a column a score.

    Parameters
    ----------
    summary : DataFrame
        ``change, has_checkerboard, score, reading, low, high``: readings as shares of what the score reads on the
        plain checkerboard.
    pictures : mapping of str to Pictures
        By change.
    about : str
        What the images are and how large the change, for the heading.

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If there is no reading.
    """
    changes = [change for change in _CHANGES if change in set(summary["change"])]
    if not changes:
        raise EmptyFigureError("summary: no score was read on any change")
    with figure_style():
        height = _ROW_IN * len(changes) + _HEAD_IN + _FOOT_IN
        figure = make_figure(height)
        # by hand: pictures and texts have sizes of their own, which constraints would squeeze the axes for
        figure.set_layout_engine("none")
        axes_list = figure.subplots(
            1, 1 + len(SCORES),
            gridspec_kw={
                "left": 0.012, "right": 0.992, "top": 1 - _HEAD_IN / height, "bottom": _FOOT_IN / height,
                "width_ratios": (1.95, *[1.0] * len(SCORES)), "wspace": 0.07,
            },
        )  # fmt: skip
        _draw_pictures(axes_list[0], changes, pictures)
        for axes, (score, heading, needs) in zip(axes_list[1:], SCORES, strict=True):
            rows = summary[summary["score"] == score].set_index("change").loc[changes]
            _draw_readings(axes, rows)
            _head(axes, heading, [needs, *_sum_up(rows)])
        figure.text(0.012, 1 - 0.1 / height, about, va="top", fontsize=FONT_PT + 1, weight="bold")
        figure.text(
            (axes_list[1].get_position().x0 + 0.992) / 2, 0.45 / height, _AXIS, ha="center", va="center",
            fontsize=FONT_PT,
        )  # fmt: skip
        figure.legend(handles=_make_handles(), loc="lower center", ncols=3, frameon=False)
    return figure


def _make_handles() -> list[Patch | Line2D]:
    return [
        Line2D([], [], color="none", marker="v", markersize=4, markerfacecolor=INK, label="what it should read"),
        Patch(facecolor=_RIGHT, label=f"reads so, within {_write(_TOLERANCE)} %"),
        Patch(facecolor=_WRONG, hatch=_WRONG_HATCH, edgecolor="white", label="misses it, or mistakes it"),
    ]


def _head(axes: Axes, heading: str, lines: list[str]) -> None:
    """Write a heading and smaller lines above the axes."""
    axes.text(
        0, 1.012, "\n".join(lines), transform=axes.transAxes, va="bottom", fontsize=FONT_PT - 1.5, color=MUTED,
        linespacing=1.3,
    )  # fmt: skip
    axes.annotate(
        heading, (0, 1.012), (0, 13 * len(lines)), xycoords="axes fraction", textcoords="offset points",
        va="bottom", fontsize=FONT_PT - 0.5, weight="bold",
    )  # fmt: skip


def _sum_up(rows: pd.DataFrame) -> tuple[str, str]:
    board = rows["has_checkerboard"].astype(bool)
    found = rows.loc[board, "reading"].min()
    others = rows.loc[~board, "reading"]
    return (
        f"checkerboards: ≥ {_write(found)} %",
        f"others: {_write(others.min())} to {_write(others.max())} %",
    )


def _set_rows(axes: Axes, count: int) -> None:
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_yticks([])
    axes.axhline(1.5, color=GRID_COLOUR, linewidth=1, zorder=0)


def _draw_pictures(axes: Axes, changes: list[str], pictures: Mapping[str, Pictures]) -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    _set_rows(axes, len(changes))
    for place, word in zip(_PLACES, ("image", "change,\namplified"), strict=True):
        axes.text(
            place, 1.012, word, transform=axes.transAxes, ha="center", va="bottom", fontsize=FONT_PT - 1.5,
            color=MUTED,
        )  # fmt: skip
    for row, change in enumerate(changes):
        axes.text(0, row, _CHANGES[change], va="center", fontsize=FONT_PT, color=INK)
        shown = pictures[change]
        for place, pixels in zip(_PLACES, (shown.image, shown.change), strict=True):
            # a pixel is a whole number of dots, so that no checkerboard is made or lost in drawing
            dots = max(1, PICTURE_DOTS // pixels.shape[0])
            greys = np.rint(127.5 + 127.5 * np.clip(pixels / _WHITE, -1, 1)).astype(np.uint8)
            colours = np.repeat(greys[:, :, None], 3, axis=2)
            picture = OffsetImage(colours, zoom=dots * 72 / DPI, interpolation="nearest")
            axes.add_artist(AnnotationBbox(picture, (place, row), frameon=False, pad=0))


def _draw_readings(axes: Axes, rows: pd.DataFrame) -> None:
    _set_rows(axes, len(rows))
    axes.set_xlim(*_SHOWN)
    axes.axvline(0, color=MUTED, linewidth=1, zorder=1)
    for edge in (0.5, 1.0, 1.5):
        axes.axvline(edge, color=GRID_COLOUR, linewidth=0.6, zorder=0)
    for row, (reading, low, high, expected) in enumerate(
        zip(rows["reading"], rows["low"], rows["high"], rows["has_checkerboard"].astype(float), strict=True)
    ):
        is_right = abs(reading - expected) <= _TOLERANCE
        shown = float(np.clip(reading, *_SHOWN))
        axes.barh(
            row, shown, height=0.42, color=_RIGHT if is_right else _WRONG, edgecolor="white", linewidth=0,
            hatch=None if is_right else _WRONG_HATCH, zorder=2,
        )  # fmt: skip
        axes.hlines(row, *np.clip((low, high), *_SHOWN), color=INK, linewidth=1, zorder=3)
        axes.plot([expected], [row - 0.33], marker="v", markersize=4, color=INK, zorder=4)
        cut = "◂ " if reading < _SHOWN[0] else "▸ " if reading > _SHOWN[1] else ""
        right = max(shown, float(np.clip(high, *_SHOWN)), 0.0)
        axes.text(
            right + 0.05, row, f"{cut}{_write(reading)}", va="center", fontsize=FONT_PT - 0.5, color=INK, zorder=5
        )
    axes.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _write(x)))
    axes.spines[["left", "right", "top"]].set_visible(False)


def _write(share: float) -> str:
    # adding 0 takes the sign from a rounded nothing
    return f"{round(100 * share) + 0:.0f}".replace("-", "−")
