"""Cost against quality: what a cleaner picture costs, and which layers nothing else beats.

Draws the tradeoff that `deconvbench.tradeoff` computes; decides no frontier of its own.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from deconvbench.columns import ZERO_BELOW
from deconvbench.plots.labels import Point, freeze_layout, label_points
from deconvbench.plots.metrics import get_metric_label
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
from deconvbench.tradeoff import join_tradeoff

_DECADES_FOR_LOG = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """The vertical axis: where zero is drawn, and whether it is logarithmic above it."""

    floor: float | None
    logarithmic: bool
    low: float
    high: float


def draw_tradeoff(
    summary: pd.DataFrame,
    *,
    metric: str = "phase_ripple",
    size: tuple[int, int] | None = None,
    max_layers: int = 20,
    max_panels: int = 6,
) -> Figure:
    """Draw latency against an artifact metric, one point a layer, the Pareto frontier marked.

    Values that are zero but for rounding stand on a line of their own, labelled so. Every point is labelled.

    Parameters
    ----------
    summary : DataFrame
        One row per case, as in ``summary.csv``.
    metric : str
        Column of the artifact, low is best.
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
    measured = select_measured(summary, "latency_s")
    measured = measured[measured[metric].notna()]
    if measured.empty:
        raise EmptyFigureError(f"summary: no measured cell has a {metric}")
    size = size or choose_size(measured)
    joined = join_tradeoff(at_size(measured, size), quality=metric)
    panels, settings_left = split_panels(joined, max_panels)
    panels = [_thin(panel, max_layers) for panel in panels]
    scale = _choose_scale(np.concatenate([panel.frame[metric].to_numpy(float) for panel in panels]))
    with figure_style():
        heights = [2.1 + 0.17 * len(panel.frame) for panel in panels]
        figure = make_figure(sum(heights) + 0.6)
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        axes_list: list[Axes] = list(grid.flat)
        lines = [_draw_panel(a, p, metric, scale) for a, p in zip(axes_list, panels, strict=True)]
        for axes in axes_list:
            axes.set_ylabel(label.axis)
        axes_list[-1].set_xlabel("latency per call (ms, logarithmic)")
        rest = describe_rest(settings_left, "settings")
        common = describe_common(pd.concat([panel.frame for panel in panels]))
        figure.suptitle(
            f"{label.heading} against latency, input {size[0]}×{size[1]}{rest}\n{common}",
            fontsize=FONT_PT, color=MUTED, ha="left", x=0.01,
        )  # fmt: skip
        freeze_layout(figure)
        for axes, panel, segments in zip(axes_list, panels, lines, strict=True):
            _label_panel(axes, panel, metric, scale, segments)
    return figure


def _thin(panel: Panel, max_layers: int) -> Panel:
    frame = panel.frame
    layers = choose_layers(frame, max_layers, keep=list(frame.loc[frame["on_frontier"].astype(bool), "layer"]))
    left_out = frame["layer"].nunique() - len(layers)
    kept = frame[frame["layer"].isin(layers)]
    return Panel(title=panel.title + describe_rest(left_out, "layers"), frame=kept)


def _choose_scale(values: np.ndarray) -> _Scale:
    """Linear with zero at the foot, unless the values span decades; dB have no zero to mark."""
    if values.min() < -ZERO_BELOW:
        span = max(float(values.max() - values.min()), 1.0)
        low, high = float(values.min()) - 0.15 * span, float(values.max()) + 0.25 * span
        return _Scale(floor=None, logarithmic=False, low=low, high=high)
    positive = values[values >= ZERO_BELOW]
    if positive.size == 0:
        return _Scale(floor=0.0, logarithmic=False, low=-0.4, high=1.0)
    largest, smallest = float(positive.max()), float(positive.min())
    if np.log10(largest / smallest) <= _DECADES_FOR_LOG:
        return _Scale(floor=0.0, logarithmic=False, low=-0.22 * largest, high=1.3 * largest)
    floor = 10 ** (np.floor(np.log10(smallest)) - 1)
    return _Scale(floor=float(floor), logarithmic=True, low=float(floor) / 12, high=largest * 6)


def _heights(values: pd.Series, scale: _Scale) -> np.ndarray:
    numbers = values.to_numpy(float)
    return numbers if scale.floor is None else np.where(numbers < ZERO_BELOW, scale.floor, numbers)


def _draw_panel(axes: Axes, panel: Panel, metric: str, scale: _Scale) -> list[tuple[Point, Point]]:
    """Draw points and frontier; return the lines that no label should cover."""
    frame = panel.frame
    x = frame["latency_s"].to_numpy(float) * 1e3
    y = _heights(frame[metric], scale)
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
    if scale.floor is not None:
        left, right = axes.get_xlim()
        segments.append(((left, scale.floor), (right, scale.floor)))
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


def _draw_frontier(axes: Axes, x: np.ndarray, y: np.ndarray) -> list[tuple[Point, Point]]:
    """Draw a step line: what is the cleanest that so much time buys."""
    right = axes.get_xlim()[1]
    corners: list[Point] = [(float(x[0]), axes.get_ylim()[1])]
    for x_i, y_i in zip(x, y, strict=True):
        corners += [(float(x_i), corners[-1][1]), (float(x_i), float(y_i))]
    corners.append((right, corners[-1][1]))
    axes.plot(*zip(*corners, strict=True), color=INK, linewidth=1.0, linestyle=(0, (4, 2)), zorder=2)
    return list(pairwise(corners))


def _mark_zero(axes: Axes, scale: _Scale) -> None:
    floor = scale.floor or 0.0
    low, high = (floor * 3 if scale.logarithmic else 1e-12), scale.high
    if scale.logarithmic:
        ticks = [t for t in axes.yaxis.get_major_locator().tick_values(low, high) if low < t <= high]
    else:
        ticks = [t for t in axes.get_yticks() if low < t <= high]
    names = [f"{t:g}" for t in ticks]
    axes.set_yticks([floor, *ticks], labels=["0 (to rounding)", *names])
    axes.yaxis.set_minor_locator(NullLocator())


def _label_panel(
    axes: Axes, panel: Panel, metric: str, scale: _Scale, segments: list[tuple[Point, Point]]
) -> None:
    frame = panel.frame
    points = list(zip(frame["latency_s"] * 1e3, _heights(frame[metric], scale), strict=True))
    label_points(
        axes,
        [(float(x), float(y)) for x, y in points],
        list(frame["layer"]),
        [style_layer(upsampler).text_colour for upsampler in frame["upsampler"]],
        lines=segments,
    )
