"""Several runs in one figure: a row for each layer, a mark for each run, on one axis of ratios to the baseline."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from deconvbench.analysis.selection import (
    at_size,
    choose_layers,
    choose_size,
    describe_common,
    describe_rest,
    split_panels,
)
from deconvbench.plots.style import FONT_PT, GRID_COLOUR, MUTED, figure_style, make_figure

# runs differ in colour and in mark; the palette is Okabe and Ito's
_LOOKS = (
    ("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#332288", "v"), ("#e69f00", "P"),
    ("#56b4e9", "X"), ("#444444", "p"),
)  # fmt: skip
MOST_RUNS = len(_LOOKS)


def draw_overlay(overlaid: pd.DataFrame, runs: list[str], *, max_layers: int = 26, max_panels: int = 2) -> Figure:
    """Draw the ratio to the baseline of each layer in each run.

    Parameters
    ----------
    overlaid : DataFrame
        From `deconvbench.analysis.overlay.overlay_runs`.
    runs : list of str
        Names, at most `MOST_RUNS` of which are drawn.
    max_layers : int
        Most rows of a panel.
    max_panels : int
        Most settings.

    Returns
    -------
    Figure
        The size is the largest at which most cases were measured. Bars are 95 % intervals; hollow marks are noisy.
    """
    shown = runs[:MOST_RUNS]
    kept = overlaid[overlaid["run"].isin(shown)]
    counts = kept.groupby("case_id")["run"].nunique()
    shared = kept[kept["case_id"].isin(counts[counts > 1].index)]
    size = choose_size(shared)
    panels, settings_left = split_panels(at_size(shared, size), max_panels)
    layers = [choose_layers(panel.frame, max_layers) for panel in panels]
    left = max(panel.frame["layer"].nunique() - len(names) for panel, names in zip(panels, layers, strict=True))
    with figure_style():
        rows = max(map(len, layers))
        figure = make_figure(0.24 * rows + 1.3)
        axes_list: list[Axes] = list(figure.subplots(1, len(panels), squeeze=False).flat)
        for axes, panel, names in zip(axes_list, panels, layers, strict=True):
            _draw_panel(axes, panel.frame, panel.title, names, shown)
        handles, labels = axes_list[0].get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True))
        figure.legend(
            [named[run] for run in shown if run in named], [run for run in shown if run in named],
            loc="outside lower center", ncols=min(len(shown), 4), frameon=False,
        )  # fmt: skip
        title = f"Latency over that of the baseline, input {size[0]}×{size[1]}"
        rest = describe_rest(left, "layers") + describe_rest(settings_left, "settings")
        rest += describe_rest(len(runs) - len(shown), "runs")
        figure.suptitle(
            f"{title}{rest}\n{describe_common(shared)}", fontsize=FONT_PT, color=MUTED, ha="left", x=0.01
        )
    return figure


def _draw_panel(axes: Axes, frame: pd.DataFrame, title: str, layers: list[str], runs: list[str]) -> None:
    middles = frame.groupby("layer")["ratio"].median()
    ordered = sorted(layers, key=lambda layer: middles[layer])
    rows = {layer: index for index, layer in enumerate(ordered)}
    step = 0.6 / max(len(runs), 2)
    axes.set_xscale("log")
    for index, run in enumerate(runs):
        own = frame[(frame["run"] == run) & frame["layer"].isin(ordered)]
        if own.empty:
            continue
        colour, marker = _LOOKS[index]
        y = np.array([rows[layer] for layer in own["layer"]]) + (index - (len(runs) - 1) / 2) * step
        x, low, high = (own[name].to_numpy(float) for name in ("ratio", "ratio_low", "ratio_high"))
        # an interval that was not computed is drawn as none
        reach = np.nan_to_num(np.vstack([x - low, high - x])).clip(min=0)
        axes.errorbar(x, y, xerr=reach, fmt="none", ecolor=colour, elinewidth=1.0, capsize=1.5)
        noisy = own["noisy"].to_numpy(bool)
        axes.plot(x[~noisy], y[~noisy], marker, color=colour, markersize=4.5, label=run)
        axes.plot(
            x[noisy], y[noisy], marker, color=colour, markerfacecolor="white", markersize=4.5,
            label=run if noisy.all() else None,
        )  # fmt: skip
    axes.axvline(1, color=MUTED, linewidth=0.9, zorder=0)
    axes.set_yticks(range(len(ordered)), ordered)
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    axes.grid(visible=True, axis="both", color=GRID_COLOUR)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.set_title(title)
