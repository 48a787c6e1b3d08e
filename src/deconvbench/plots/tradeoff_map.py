"""Cost against quality: what a cleaner picture costs, and which layers nothing else beats.

Chooses the layers and settings to show of the tradeoff that
`deconvbench.analysis.tradeoff` computes; decides no frontier.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deconvbench.analysis.selection import (
    EmptyFigureError,
    Panel,
    at_size,
    choose_layers,
    choose_size,
    describe_common,
    describe_rest,
    name_some,
    select_measured,
    split_panels,
)
from deconvbench.analysis.tradeoff import join_tradeoff
from deconvbench.plots.labels import freeze_layout
from deconvbench.plots.style import FONT_PT, MUTED, figure_style, make_figure
from deconvbench.plots.tradeoff_panel import choose_scale, draw_panel, is_changed_by_fast, label_panel
from deconvbench.records.metrics import get_metric
from deconvbench.records.schema import name_interval

FAST_NOTE = "dotted: the frontier without the exact fast forms of nearest_conv"
INTERVAL_NOTE = "bars: 95 % intervals over seeds"


def draw_tradeoff(
    summary: pd.DataFrame,
    *,
    metric: str = "phase_ripple",
    quality: pd.DataFrame | None = None,
    size: tuple[int, int] | None = None,
    max_layers: int = 26,
    max_panels: int = 6,
) -> Figure:
    """Draw latency against a metric of quality, one point a layer, the Pareto frontier marked.

    Values that are zero but for rounding stand on a line of their own, labelled so. Every point is labelled.
    Layers that have no such number (a phase ripple needs a linear layer) are named above the panels.

    Parameters
    ----------
    summary : DataFrame
        One row per case, as in ``summary.csv``.
    metric : str
        Column of the metric.
    quality : DataFrame, optional
        The quality table of the same run, or its summary: where it is given, a vertical bar is the metric's 95 %
        interval over seeds. What is known after training is there only.
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
        If no case has both numbers.
    UsageError
        If `metric` is not a metric.
    """
    label = get_metric(metric)
    timed = join_quality(summary, metric, quality)
    measured = timed[timed[metric].notna()]
    if measured.empty:
        raise EmptyFigureError(f"summary: no measured case has a {metric}")
    size = size or choose_size(measured)
    panels, settings_left = split_panels(at_size(measured, size), max_panels)
    panels = [_thin(panel, max_layers) for panel in panels]
    drawn = pd.concat([panel.frame for panel in panels])
    scale = choose_scale(drawn, metric)
    with figure_style():
        heights = [2.3 + 0.13 * len(panel.frame) for panel in panels]
        figure = make_figure(sum(heights) + 0.7)
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        axes_list: list[Axes] = list(grid.flat)
        lines = [draw_panel(a, p.frame, metric, scale) for a, p in zip(axes_list, panels, strict=True)]
        for axes, panel in zip(axes_list, panels, strict=True):
            axes.set_title(panel.title)
        axes_list[-1].set_xlabel("latency per call (ms, logarithmic)")
        notes = [describe_common(drawn)]
        if drawn[name_interval(metric)[0]].notna().any():
            notes.append(INTERVAL_NOTE)
        lacking = {*timed["upsampler"]} - {*measured["upsampler"]}
        if lacking:
            notes.append(f"without {label.title}: {name_some(lacking)}")
        if any(is_changed_by_fast(panel.frame) for panel in panels):
            notes.append(FAST_NOTE)
        title = (
            f"{label.heading} against latency, input {size[0]}×{size[1]}{describe_rest(settings_left, 'settings')}"
        )
        figure.suptitle("\n".join([title, *notes]), fontsize=FONT_PT, color=MUTED, ha="left", x=0.01)
        freeze_layout(figure)
        for axes, panel, segments in zip(axes_list, panels, lines, strict=True):
            label_panel(axes, panel.frame, metric, scale, segments)
    return figure


def join_quality(summary: pd.DataFrame, metric: str, quality: pd.DataFrame | None) -> pd.DataFrame:
    """Set latency against a metric, for every measured case.

    Parameters
    ----------
    summary : DataFrame
        One row per case.
    metric : str
        Name of the column.
    quality : DataFrame or None
        The quality table or its summary; without it, no case has an interval, and what only it holds is null.

    Returns
    -------
    DataFrame
        With the columns of `selection.add_layer_columns` and those of
        `deconvbench.analysis.tradeoff.join_tradeoff`, intervals among them; cases without the metric have null.

    Raises
    ------
    EmptyFigureError
        If no case has a latency.
    """
    timed = select_measured(summary, "latency_s")
    if metric not in timed and quality is None:
        timed = timed.assign(**{metric: np.nan})
    joined = join_tradeoff(timed, quality=metric, quality_table=quality)
    return joined.assign(**dict.fromkeys(name_interval(metric), np.nan)) if quality is None else joined


def _thin(panel: Panel, max_layers: int) -> Panel:
    frame = panel.frame
    on_either = frame["on_frontier"].astype(bool) | frame["on_frontier_without_fast"].astype(bool)
    layers = choose_layers(frame, max_layers, keep=list(frame.loc[on_either, "layer"]))
    left_out = frame["layer"].nunique() - len(layers)
    kept = frame[frame["layer"].isin(layers)]
    return Panel(title=panel.title + describe_rest(left_out, "layers"), frame=kept)
