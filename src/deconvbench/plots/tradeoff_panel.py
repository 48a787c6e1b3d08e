"""One panel of cost against quality: points, frontier, intervals, labels, and the vertical axis that suits.

Draws what `deconvbench.analysis.tradeoff` computed; decides no frontier, and not which layers or
settings are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from deconvbench.plots.labels import Point, Segment, label_points
from deconvbench.plots.style import GRID_COLOUR, INK, MUTED, style_layer
from deconvbench.records.layers import FAST_UPSAMPLERS
from deconvbench.records.metrics import get_best, get_metric, is_zero
from deconvbench.records.schema import ARTIFACT_COLUMNS, name_interval

_DECADES_FOR_LOG = 2.5
# an artifact of less than 1e-4 of the largest is far below what 8 bits hold: one line stands for all of these
_MOST_DECADES = 4
# least height of an axis without a zero: closer values are drawn as close as they are
_LEAST_SPAN = {"dB": 1.0, "ratio": 0.02}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The vertical axis.

    Parameters
    ----------
    floor : float or None
        Where zero is drawn; None where there is no zero (decibels).
    floor_label : str
        What the line there is called.
    logarithmic : bool
        Above the floor.
    signed : bool
        Whether there are values below the floor; otherwise the room there is for labels only.
    low, high : float
        Ends of the axis.
    """

    floor: float | None
    floor_label: str = ""
    logarithmic: bool = False
    signed: bool = False
    low: float
    high: float

    def place(self, values: Sequence[float] | np.ndarray, metric: str) -> np.ndarray:
        """Find the heights at which values are drawn.

        Parameters
        ----------
        values : sequence of float
            NaN where there is none.
        metric : str
            Their column.
        """
        numbers = np.asarray(values, dtype=np.float64)
        if self.floor is None:
            return numbers
        if self.logarithmic:
            return np.maximum(numbers, self.floor)
        zero = np.array([is_zero(float(value), metric) for value in numbers], dtype=bool)
        return np.where(zero, self.floor, numbers)


def is_changed_by_fast(frame: pd.DataFrame) -> bool:
    """Say whether a fast form is on the frontier: then there is another without them.

    Parameters
    ----------
    frame : DataFrame
        With the columns of `deconvbench.analysis.tradeoff.join_tradeoff`.
    """
    return bool((frame["on_frontier"] & frame["upsampler"].isin(FAST_UPSAMPLERS)).any()) and bool(
        frame["on_frontier_without_fast"].any()
    )


def choose_scale(drawn: pd.DataFrame, metric: str, others: Sequence[float] = ()) -> Scale:
    """Linear with a line at zero, unless the values span decades; where there is no zero to mark, without it.

    Parameters
    ----------
    drawn : DataFrame
        With the metric, and the ends of its intervals.
    metric : str
        Name of the column.
    others : sequence of float
        Further values that must fit in.
    """
    ends = np.concatenate([drawn[[metric, *name_interval(metric)]].to_numpy(float).ravel(), [*others]])
    highest, lowest = float(np.nanmax(ends)), float(np.nanmin(ends))
    unit = get_metric(metric).unit
    # decibels have no zero, and where high is best the zero is far from everything
    if unit == "dB" or get_best(metric) == "high":
        span = max(highest - lowest, _LEAST_SPAN[unit])
        return Scale(floor=None, low=lowest - 0.15 * span, high=highest + 0.25 * span)
    if get_metric(metric).is_checkerboard:
        # as much room below zero as labels need, even where nothing is negative
        span = max(highest, 0.0) - min(lowest, 0.0) or 1.0
        low, high = min(lowest, 0.0) - 0.22 * span, max(highest, 0.0) + 0.3 * span
        return Scale(floor=0.0, floor_label="0 (none)", signed=True, low=low, high=high)
    values = drawn[metric].to_numpy(float)
    positive = np.array([value for value in values if not is_zero(float(value), metric)])
    if positive.size == 0:
        return Scale(floor=0.0, floor_label="0 (to rounding)", low=-0.4, high=1.0)
    largest, smallest = float(positive.max()), float(positive.min())
    if np.log10(largest / smallest) <= _DECADES_FOR_LOG:
        return Scale(
            floor=0.0, floor_label="0 (to rounding)", low=-0.22 * largest, high=1.1 * highest + 0.2 * largest
        )
    floor = float(10 ** (np.floor(np.log10(smallest)) - 1))
    label = "0 (to rounding)"
    lowest_drawn = float(10 ** np.floor(np.log10(largest) - _MOST_DECADES + 1))
    if metric in ARTIFACT_COLUMNS and floor < lowest_drawn / 10:
        floor, label = lowest_drawn / 10, f"below {lowest_drawn:g}"
    return Scale(floor=floor, floor_label=label, logarithmic=True, low=floor / 12, high=highest * 6)


def draw_panel(axes: Axes, frame: pd.DataFrame, metric: str, scale: Scale) -> list[Segment]:
    """Draw points, intervals and frontier.

    Parameters
    ----------
    axes : Axes
        Empty.
    frame : DataFrame
        One setting at one size, with the columns of `deconvbench.analysis.tradeoff.join_tradeoff` and
        its intervals.
    metric : str
        Name of the column, known for every row.
    scale : Scale
        From `choose_scale`.

    Returns
    -------
    list of (start, end)
        The lines that no label should cover, in data coordinates.
    """
    x = frame["latency_s"].to_numpy(float) * 1e3
    y = scale.place(frame[metric].to_numpy(float), metric)
    axes.set_xscale("log")
    if scale.logarithmic:
        axes.set_yscale("log")
    axes.set_ylim(scale.low, scale.high)
    # room at the sides for labels
    spread = max(float(x.max() / x.min()), 1.5)
    axes.set_xlim(x.min() / spread**0.14, x.max() * spread**0.14)
    if scale.floor is not None:
        axes.axhline(scale.floor, color=MUTED, linewidth=0.8, zorder=1)
    front = frame["on_frontier"].to_numpy(bool)
    order = np.argsort(x[front])
    upward = get_best(metric) == "high"
    segments = _draw_frontier(axes, x[front][order], y[front][order], upward=upward)
    if is_changed_by_fast(frame):
        slow = frame["on_frontier_without_fast"].to_numpy(bool)
        order = np.argsort(x[slow])
        segments += _draw_frontier(axes, x[slow][order], y[slow][order], upward=upward, is_main=False)
    if scale.floor is not None:
        left, right = axes.get_xlim()
        segments.append(((left, scale.floor), (right, scale.floor)))
    segments += _draw_intervals(axes, frame, metric, scale)
    for x_i, y_i, upsampler, noisy, ringed in zip(x, y, frame["upsampler"], frame["noisy"], front, strict=True):
        look = style_layer(upsampler)
        face = "white" if noisy else look.colour
        if ringed:
            axes.plot(
                [x_i], [y_i], "o", markersize=12, markerfacecolor="none", color=INK, markeredgewidth=1, zorder=3
            )
        axes.plot([x_i], [y_i], look.marker, color=look.colour, markerfacecolor=face, markersize=6, zorder=4)
    axes.set_ylabel(get_metric(metric).axis + (", high is best" if upward else ""))
    axes.grid(visible=True, color=GRID_COLOUR)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if spread > 300 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    if scale.floor is not None:
        _mark_zero(axes, scale)
    return segments


def _draw_intervals(axes: Axes, frame: pd.DataFrame, metric: str, scale: Scale) -> list[Segment]:
    """Draw a bar over each interval that has a width; the marker in front hides those that are shorter."""
    low, high = (scale.place(frame[name].to_numpy(float), metric) for name in name_interval(metric))
    segments: list[Segment] = []
    for latency_s, upsampler, bottom, top in zip(frame["latency_s"], frame["upsampler"], low, high, strict=True):
        # false for NaN as well
        if top > bottom:
            x = float(latency_s) * 1e3
            axes.plot([x, x], [bottom, top], color=style_layer(upsampler).colour, linewidth=1.8, zorder=3)
            segments.append(((x, float(bottom)), (x, float(top))))
    return segments


def _draw_frontier(
    axes: Axes, x: np.ndarray, y: np.ndarray, *, upward: bool, is_main: bool = True
) -> list[Segment]:
    """Draw a step line: what is the best that so much time buys."""
    right = axes.get_xlim()[1]
    corners: list[Point] = [(float(x[0]), axes.get_ylim()[0 if upward else 1])]
    for x_i, y_i in zip(x, y, strict=True):
        corners += [(float(x_i), corners[-1][1]), (float(x_i), float(y_i))]
    corners.append((right, corners[-1][1]))
    look: dict[str, Any] = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 2}
    if not is_main:
        look |= {"linewidth": 0.7, "linestyle": (0, (1, 1.6)), "zorder": 1.5}
    axes.plot(*zip(*corners, strict=True), **look)
    return list(pairwise(corners))


def _mark_zero(axes: Axes, scale: Scale) -> None:
    floor = scale.floor or 0.0
    if scale.logarithmic:
        # between the line and the first power of ten there is nothing
        ticks = [t for t in axes.yaxis.get_major_locator().tick_values(floor * 3, scale.high) if t > floor * 3]
    else:
        # not so near to the line that the two labels meet
        near = 0.06 * (scale.high - scale.low)
        ticks = [t for t in axes.get_yticks() if (abs(t) if scale.signed else t) > near]
    ticks = [t for t in ticks if scale.low < t <= scale.high]
    axes.set_yticks([floor, *ticks], labels=[scale.floor_label, *(f"{t:g}" for t in ticks)])
    axes.yaxis.set_minor_locator(NullLocator())


def label_panel(axes: Axes, frame: pd.DataFrame, metric: str, scale: Scale, lines: Sequence[Segment]) -> None:
    """Write the name of each layer beside its point; the layout must be final (`labels.freeze_layout`).

    Parameters
    ----------
    axes, frame, metric, scale
        As for `draw_panel`.
    lines : sequence of (start, end)
        What `draw_panel` returned.
    """
    heights = scale.place(frame[metric].to_numpy(float), metric)
    label_points(
        axes,
        [(float(x), float(y)) for x, y in zip(frame["latency_s"] * 1e3, heights, strict=True)],
        list(frame["layer"]),
        [style_layer(upsampler).text_colour for upsampler in frame["upsampler"]],
        lines=lines,
    )
