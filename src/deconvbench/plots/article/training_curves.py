"""The checkerboard against the training step, a line for each upsampler and its name at the line's end.

Draws into axes that it is given; chooses no rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from deconvbench.plots.article.crops import format_levels
from deconvbench.plots.style import FONT_PT, GRID_COLOUR, MUTED, style_layer

_BAND_COLOUR = "#dedede"
_TARGET_DASHES: Any = (0, (6, 2, 1.5, 2))
# where the linear parts of the axes end: steps 0, 1 and 2 stand apart, and so do levels around 0
_LINEAR_STEPS, _LINEAR_LEVELS = 2.0, 1.0
_MOST_TICKS = 12
# where names begin, as a share of the axes' width, and room for a line, in points
_NAMES_AT, _NAME_PT = 1.022, 1.4 * FONT_PT

# share of the axes' width and height where a line ends, its name and colour
_End = tuple[float, float, str, str]


def draw_courses(axes: Axes, curves: pd.DataFrame, target: float | None) -> None:
    """Draw means over seeds with the range of single seeds, the detection level and the level of the targets.

    Parameters
    ----------
    axes : Axes
        Empty, of its final size, with room at the right for the names.
    curves : DataFrame
        Rows of `columns.CURVE_DTYPES` with a checkerboard, not empty; ``place`` tells the lines apart.
    target : float or None
        Checkerboard of the target images themselves, in levels.
    """
    levels = curves["checkerboard_levels"].to_numpy(float)
    axes.set_xscale("symlog", linthresh=_LINEAR_STEPS)
    axes.set_yscale("symlog", linthresh=_LINEAR_LEVELS)
    detection = curves.groupby("step")["detection_levels"].mean()
    axes.fill_between(
        detection.index.to_numpy(float), -detection, detection, color=_BAND_COLOUR, linewidth=0, zorder=0
    )
    axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
    if target is not None:
        axes.axhline(target, color=MUTED, linewidth=1.3, linestyle=_TARGET_DASHES, zorder=2)
    # before places in the axes are asked for
    _set_steps(axes, int(curves["step"].max()))
    _set_levels(axes, float(levels.min()), float(levels.max()))
    _name_ends(axes, [_draw_course(axes, rows) for _, rows in curves.groupby("place")])
    axes.grid(visible=True, color=GRID_COLOUR)
    axes.set_axisbelow(True)


def _draw_course(axes: Axes, rows: pd.DataFrame) -> _End:
    by_step = rows.groupby("step")["checkerboard_levels"]
    mean, low, high = by_step.mean(), by_step.min(), by_step.max()
    first = rows.iloc[0]
    kernel = None if pd.isna(first["kernel_size"]) else int(first["kernel_size"])
    look = style_layer(str(first["upsampler"]), kernel)
    steps = mean.index.to_numpy(float)
    axes.fill_between(steps, low, high, color=look.colour, alpha=0.16, linewidth=0, zorder=2)
    axes.plot(
        steps, mean, color=look.colour, linestyle=look.dashes, marker=look.marker, markersize=4, linewidth=1.4,
        zorder=3,
    )  # fmt: skip
    last = float(mean.iloc[-1])
    x, y = (axes.transScale + axes.transLimits).transform((steps[-1], last))
    name = str(first["upsampler"]) + ("" if kernel is None else f" k{kernel}")
    return float(x), float(y), f"{name}: {format_levels(last)}", look.text_colour


def _set_steps(axes: Axes, last: int) -> None:
    # half a step where nothing but the untrained network was logged
    axes.set_xlim(0, max(1.06 * last, 0.5))
    ticks = [0, *(b * 10**e for e in range(len(str(last))) for b in (1, 2, 5) if b * 10**e <= last)]
    if len(ticks) > _MOST_TICKS:
        ticks = [tick for tick in ticks if str(tick)[0] in "01"]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_xlabel(f"training step (iterations; logarithmic from {_LINEAR_STEPS:g} on)")


def _set_levels(axes: Axes, least: float, most: float) -> None:
    bottom, top = 1.15 * min(least, -_LINEAR_LEVELS / 2), 1.15 * max(most, _LINEAR_LEVELS)
    axes.set_ylim(bottom, top)
    sizes = [0.5, *(b * 10.0**e for e in range(4) for b in (1, 2, 5))]
    ticks = [0.0, *(sign * size for size in sizes for sign in (1, -1))]
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if bottom <= tick <= top]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}".replace("-", "−")))
    axes.set_ylabel(f"CBA (8-bit levels; logarithmic beyond ±{_LINEAR_LEVELS:g})")


def _name_ends(axes: Axes, ends: Sequence[_End]) -> None:
    """Write the names at the right, in the order of the lines' ends, a thin line to each."""
    ordered = sorted(ends, key=lambda end: end[1])
    gap = _NAME_PT / 72 * axes.figure.dpi / axes.bbox.height
    places = spread_evenly([y for _, y, *_ in ordered], gap)
    for (x, y, text, colour), place in zip(ordered, places, strict=True):
        axes.plot(
            [x, 1, _NAMES_AT], [y, y if x < 1 else place, place], color=colour, linewidth=0.7, clip_on=False,
            transform=axes.transAxes,
        )  # fmt: skip
        axes.text(
            _NAMES_AT + 0.006, place, text, transform=axes.transAxes, va="center", ha="left", color=colour,
            fontsize=FONT_PT - 0.5,
        )  # fmt: skip


def spread_evenly(places: Sequence[float], gap: float) -> list[float]:
    """Move places on a line from 0 to 1 apart, as little as possible.

    Parameters
    ----------
    places : sequence of float
        In ascending order.
    gap : float
        Least distance of two.

    Returns
    -------
    list of float
        In ascending order, at least `gap` apart; beyond 1 only where there is no room.
    """
    # with the gaps taken out, "apart" means "in order": the nearest such places are pooled means
    groups: list[list[float]] = []
    for index, place in enumerate(places):
        groups.append([place - index * gap])
        while len(groups) > 1 and np.mean(groups[-2]) >= np.mean(groups[-1]):
            groups[-2].extend(groups.pop())
    flat = [float(np.mean(group)) for group in groups for _ in group]
    room = max(1 - (len(flat) - 1) * gap, 0.0)
    return [min(max(value, 0.0), room) + index * gap for index, value in enumerate(flat)]


def make_handles() -> list[Line2D | Patch]:
    """Make the entries of a legend for `draw_courses`, but for the lines, which bear their names."""
    return [
        Patch(facecolor=_BAND_COLOUR, label="below the detection level (mean over the runs)"),
        Line2D([], [], color=MUTED, linestyle=_TARGET_DASHES, linewidth=1.3, label="the test images themselves"),
    ]
