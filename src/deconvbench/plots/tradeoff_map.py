"""Cost against quality: what a cleaner picture costs, and which layers nothing else beats.

Draws the tradeoff that `deconvbench.tradeoff` computes; decides no frontier of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from deconvbench.columns import ARTIFACT_COLUMNS, SIGNED_COLUMNS, name_interval
from deconvbench.plots.labels import Point, Segment, freeze_layout, label_points
from deconvbench.plots.metrics import get_metric_label, is_zero
from deconvbench.plots.panels import (
    EmptyFigureError,
    Panel,
    at_size,
    choose_layers,
    choose_size,
    describe_common,
    describe_rest,
    select_measured,
    split_panels,
)
from deconvbench.plots.style import FONT_PT, GRID_COLOUR, INK, MUTED, figure_style, make_figure, style_layer
from deconvbench.tradeoff import FAST_UPSAMPLERS, join_tradeoff

_DECADES_FOR_LOG = 2.5
# an artifact of less than 1e-4 of the largest is far below what 8 bits hold: one line stands for all of these
_MOST_DECADES = 4
# labels of upsamplers that have no such number, before the rest are counted
_MOST_NAMED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
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
        """Find the heights at which values are drawn."""
        numbers = np.asarray(values, dtype=np.float64)
        if self.floor is None:
            return numbers
        if self.logarithmic:
            return np.maximum(numbers, self.floor)
        zero = np.array([is_zero(float(value), metric) for value in numbers], dtype=bool)
        return np.where(zero, self.floor, numbers)


def draw_tradeoff(
    summary: pd.DataFrame,
    *,
    metric: str = "phase_ripple",
    quality: pd.DataFrame | None = None,
    size: tuple[int, int] | None = None,
    max_layers: int = 26,
    max_panels: int = 6,
) -> Figure:
    """Draw latency against an artifact metric, one point a layer, the Pareto frontier marked.

    Values that are zero but for rounding stand on a line of their own, labelled so. Every point is labelled.
    Layers that have no such number (a phase ripple needs a linear layer) are named above the panels.

    Parameters
    ----------
    summary : DataFrame
        One row per case, as in ``summary.csv``.
    metric : str
        Column of the artifact, low is best.
    quality : DataFrame, optional
        The quality table of the same run: where it is given, a vertical bar is the metric's 95 % interval over
        seeds.
    size : (int, int), optional
        Height and width of the input; the largest common one by default.
    max_layers : int
        Most points in a panel; those on the frontier are always among them.
    max_panels : int
        Most settings.

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If no cell has both numbers.
    UsageError
        If `metric` is no metric.
    """
    label = get_metric_label(metric)
    timed = select_measured(summary, "latency_s")
    measured = timed[timed[metric].notna()]
    if measured.empty:
        raise EmptyFigureError(f"summary: no measured cell has a {metric}")
    size = size or choose_size(measured)
    joined = join_tradeoff(at_size(measured, size), quality=metric, quality_table=quality)
    if quality is None:
        joined = joined.assign(**dict.fromkeys(name_interval(metric), np.nan))
    panels, settings_left = split_panels(joined, max_panels)
    panels = [_thin(panel, max_layers) for panel in panels]
    drawn = pd.concat([panel.frame for panel in panels])
    scale = _choose_scale(drawn, metric)
    with figure_style():
        heights = [2.3 + 0.13 * len(panel.frame) for panel in panels]
        figure = make_figure(sum(heights) + 0.7)
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        axes_list: list[Axes] = list(grid.flat)
        lines = [_draw_panel(a, p, metric, scale) for a, p in zip(axes_list, panels, strict=True)]
        for axes in axes_list:
            axes.set_ylabel(label.axis)
        axes_list[-1].set_xlabel("latency per call (ms, logarithmic)")
        notes = [describe_common(drawn)]
        if drawn[name_interval(metric)[0]].notna().any():
            notes.append("bars: 95 % intervals over seeds")
        lacking = sorted({*timed["upsampler"]} - {*measured["upsampler"]})
        if lacking:
            rest = f" and {len(lacking) - _MOST_NAMED} more" if len(lacking) > _MOST_NAMED else ""
            notes.append(f"without {label.title}: {', '.join(lacking[:_MOST_NAMED])}{rest}")
        if any(_is_changed_by_fast(panel.frame) for panel in panels):
            notes.append("dotted: the frontier without the exact fast forms of nearest_conv")
        title = (
            f"{label.heading} against latency, input {size[0]}×{size[1]}{describe_rest(settings_left, 'settings')}"
        )
        figure.suptitle("\n".join([title, *notes]), fontsize=FONT_PT, color=MUTED, ha="left", x=0.01)
        freeze_layout(figure)
        for axes, panel, segments in zip(axes_list, panels, lines, strict=True):
            _label_panel(axes, panel, metric, scale, segments)
    return figure


def _thin(panel: Panel, max_layers: int) -> Panel:
    frame = panel.frame
    on_either = frame["on_frontier"].astype(bool) | frame["on_frontier_without_fast"].astype(bool)
    layers = choose_layers(frame, max_layers, keep=list(frame.loc[on_either, "layer"]))
    left_out = frame["layer"].nunique() - len(layers)
    kept = frame[frame["layer"].isin(layers)]
    return Panel(title=panel.title + describe_rest(left_out, "layers"), frame=kept)


def _is_changed_by_fast(frame: pd.DataFrame) -> bool:
    """Say whether a fast form is on the frontier: then there is another without them."""
    return bool((frame["on_frontier"] & frame["upsampler"].isin(FAST_UPSAMPLERS)).any()) and bool(
        frame["on_frontier_without_fast"].any()
    )


def _choose_scale(drawn: pd.DataFrame, metric: str) -> _Scale:
    """Linear with a line at zero, unless the values span decades; decibels have no zero to mark."""
    ends = drawn[[metric, *name_interval(metric)]].to_numpy(float)
    highest, lowest = float(np.nanmax(ends)), float(np.nanmin(ends))
    if get_metric_label(metric).unit == "dB":
        span = max(highest - lowest, 1.0)
        return _Scale(floor=None, low=lowest - 0.15 * span, high=highest + 0.25 * span)
    if metric in SIGNED_COLUMNS:
        # as much room below zero as labels need, even where nothing is negative
        span = max(highest, 0.0) - min(lowest, 0.0) or 1.0
        low, high = min(lowest, 0.0) - 0.22 * span, max(highest, 0.0) + 0.3 * span
        return _Scale(floor=0.0, floor_label="0 (none)", signed=True, low=low, high=high)
    values = drawn[metric].to_numpy(float)
    positive = np.array([value for value in values if not is_zero(float(value), metric)])
    if positive.size == 0:
        return _Scale(floor=0.0, floor_label="0 (to rounding)", low=-0.4, high=1.0)
    largest, smallest = float(positive.max()), float(positive.min())
    if np.log10(largest / smallest) <= _DECADES_FOR_LOG:
        return _Scale(
            floor=0.0, floor_label="0 (to rounding)", low=-0.22 * largest, high=1.1 * highest + 0.2 * largest
        )
    floor = float(10 ** (np.floor(np.log10(smallest)) - 1))
    label = "0 (to rounding)"
    lowest_drawn = float(10 ** np.floor(np.log10(largest) - _MOST_DECADES + 1))
    if metric in ARTIFACT_COLUMNS and floor < lowest_drawn / 10:
        floor, label = lowest_drawn / 10, f"below {lowest_drawn:g}"
    return _Scale(floor=floor, floor_label=label, logarithmic=True, low=floor / 12, high=highest * 6)


def _draw_panel(axes: Axes, panel: Panel, metric: str, scale: _Scale) -> list[Segment]:
    """Draw points and frontier; return the lines that no label should cover."""
    frame = panel.frame
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
    segments = _draw_frontier(axes, x[front][order], y[front][order])
    if _is_changed_by_fast(frame):
        slow = frame["on_frontier_without_fast"].to_numpy(bool)
        order = np.argsort(x[slow])
        segments += _draw_frontier(axes, x[slow][order], y[slow][order], is_main=False)
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
    axes.set_title(panel.title)
    axes.grid(visible=True, color=GRID_COLOUR)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if spread > 300 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    if scale.floor is not None:
        _mark_zero(axes, scale)
    return segments


def _draw_intervals(axes: Axes, frame: pd.DataFrame, metric: str, scale: _Scale) -> list[Segment]:
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


def _draw_frontier(axes: Axes, x: np.ndarray, y: np.ndarray, *, is_main: bool = True) -> list[Segment]:
    """Draw a step line: what is the cleanest that so much time buys."""
    right = axes.get_xlim()[1]
    corners: list[Point] = [(float(x[0]), axes.get_ylim()[1])]
    for x_i, y_i in zip(x, y, strict=True):
        corners += [(float(x_i), corners[-1][1]), (float(x_i), float(y_i))]
    corners.append((right, corners[-1][1]))
    look: dict[str, Any] = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 2}
    if not is_main:
        look |= {"linewidth": 0.7, "linestyle": (0, (1, 1.6)), "zorder": 1.5}
    axes.plot(*zip(*corners, strict=True), **look)
    return list(pairwise(corners))


def _mark_zero(axes: Axes, scale: _Scale) -> None:
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


def _label_panel(axes: Axes, panel: Panel, metric: str, scale: _Scale, segments: list[Segment]) -> None:
    frame = panel.frame
    heights = scale.place(frame[metric].to_numpy(float), metric)
    label_points(
        axes,
        [(float(x), float(y)) for x, y in zip(frame["latency_s"] * 1e3, heights, strict=True)],
        list(frame["layer"]),
        [style_layer(upsampler).text_colour for upsampler in frame["upsampler"]],
        lines=segments,
    )
