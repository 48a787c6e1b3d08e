"""Latency against the size of the feature map: how each layer's price grows.

Draws what the summary holds; computes no statistic of its own.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from deconvbench.analysis.selection import (
    SETTING_FIELDS,
    Panel,
    add_layer_columns,
    choose_layers,
    describe_common,
    describe_rest,
    select_measured,
    split_panels,
)
from deconvbench.plots.style import (
    FONT_PT,
    GRID_COLOUR,
    INK,
    MUTED,
    LayerStyle,
    figure_style,
    make_figure,
    style_layer,
)
from deconvbench.records.layers import rank_upsampler
from deconvbench.tables.frames import require_columns

# statuses that mean: it was tried, and there is not a number
_FAILED = ("oom", "crashed", "timeout", "error")
_COLUMNS = 2


def draw_latency(summary: pd.DataFrame, *, max_layers: int = 26, max_panels: int = 8) -> Figure:
    """Draw latency against feature-map size, one line a layer, one panel a setting.

    Both axes are logarithmic. Bars are the 95 % intervals over replicates. Hollow markers are noisy cases. A
    cross at the upper edge is a case that failed.

    Parameters
    ----------
    summary : DataFrame
        One row per case, as in ``summary.csv``.
    max_layers : int
        Most lines in a panel.
    max_panels : int
        Most settings (step, device, threads, dtype, scale, ...).

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If no case has a latency.
    UsageError
        If it is not a summary.
    """
    measured = select_measured(summary, "latency_s")
    require_columns(summary, "summary", ("noisy",), ("latency_ci_low_s", "latency_ci_high_s"))
    # where the panels name the scale, lines do not: one entry in the legend serves all panels
    single = len(measured["scale_factor"].unique()) == 1
    measured = measured.assign(line=measured["layer"] if single else measured["layer"].str.rsplit(" ", n=1).str[0])
    failed = add_layer_columns(summary[summary["status"].isin(_FAILED)])
    panels, settings_left = split_panels(measured, max_panels)
    panels = [_thin(panel, max_layers) for panel in panels]
    drawn = pd.concat([panel.frame for panel in panels])
    looks = _list_lines(drawn)
    with figure_style():
        columns = min(_COLUMNS, len(panels))
        rows = -(-len(panels) // columns)
        figure = make_figure(max(3.7 * rows, 0.21 * (len(looks) + 2)) + 0.6)
        axes_list: list[Axes] = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
        for axes, panel in zip(axes_list, panels, strict=False):
            _draw_panel(axes, panel, looks, failed)
        for axes in axes_list[len(panels) :]:
            axes.remove()
        # where the last row is not full, the panel above the gap carries the ticks
        for index, axes in enumerate(axes_list[: len(panels)]):
            low, left = index + columns >= len(panels), index % columns == 0
            axes.tick_params(bottom=low, labelbottom=low, left=left, labelleft=left)
        _set_ticks(axes_list[0], drawn)
        if len(failed):
            # room for the crosses above the slowest case
            axes_list[0].set_ylim(top=drawn["latency_s"].max() * 1e3 * 3)
        squares = bool((drawn["height"] == drawn["width"]).all())
        side = "height = width" if squares else "√(height × width)"
        figure.supxlabel(f"size of the input feature map: {side} (pixels)", fontsize=FONT_PT)
        figure.supylabel("latency per call (ms)", fontsize=FONT_PT)
        rest = describe_rest(measured["layer"].nunique() - drawn["layer"].nunique(), "layers")
        title = "Latency against feature-map size" + rest + describe_rest(settings_left, "settings")
        figure.suptitle(f"{title}\n{describe_common(drawn)}", fontsize=FONT_PT, color=MUTED, ha="left", x=0.01)
        _add_legend(figure, looks, has_noisy=bool(drawn["noisy"].any()), has_failed=bool(len(failed)))
    return figure


def _thin(panel: Panel, max_layers: int) -> Panel:
    layers = choose_layers(panel.frame, max_layers)
    return Panel(title=panel.title, frame=panel.frame[panel.frame["layer"].isin(layers)])


def _list_lines(drawn: pd.DataFrame) -> dict[str, LayerStyle]:
    """Collect the looks of each line, relatives side by side."""
    lines = drawn.drop_duplicates("line")[["upsampler", "kernel_size", "line"]]
    rows = [
        (rank_upsampler(upsampler), -1 if pd.isna(kernel) else int(kernel), line)
        for upsampler, kernel, line in lines.itertuples(index=False)
    ]
    return {line: style_layer(rank[1], None if k < 0 else k) for rank, k, line in sorted(rows)}


def _draw_panel(axes: Axes, panel: Panel, looks: Mapping[str, LayerStyle], failed: pd.DataFrame) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for line, look in looks.items():
        rows = panel.frame[panel.frame["line"] == line].sort_values("size")
        if rows.empty:
            continue
        x = rows["size"].to_numpy(float)
        y, low, high = (
            rows[name].to_numpy(float) * 1e3 for name in ("latency_s", "latency_ci_low_s", "latency_ci_high_s")
        )
        # an interval that was not computed is drawn as none
        reach = np.nan_to_num(np.vstack([y - low, high - y])).clip(min=0)
        axes.errorbar(
            x, y, yerr=reach, color=look.colour, linestyle=look.dashes, linewidth=1.3, elinewidth=1.0, capsize=2.5,
            label=line,
        )  # fmt: skip
        noisy = rows["noisy"].to_numpy(bool)
        for part, face, height in ((~noisy, look.colour, 3), (noisy, "white", 4)):
            axes.plot(
                x[part], y[part], look.marker, color=look.colour, markerfacecolor=face, markersize=5, zorder=height
            )
    _mark_failures(axes, panel, failed)
    axes.set_title(panel.title)
    axes.grid(visible=True, which="major", color=GRID_COLOUR)


def _mark_failures(axes: Axes, panel: Panel, failed: pd.DataFrame) -> None:
    """Put a cross at the upper edge for each failed case of a drawn layer, those of one size below each other."""
    setting = panel.frame.iloc[0]
    same = failed[failed["layer"].isin(set(panel.frame["layer"]))]
    for field in SETTING_FIELDS:
        same = same[same[field] == setting[field]]
    for _, group in same.groupby("size"):
        for depth, (upsampler, size) in enumerate(zip(group["upsampler"], group["size"], strict=True)):
            axes.plot(
                [size], [0.97 - 0.035 * depth], "x", color=style_layer(upsampler).colour, markersize=5,
                markeredgewidth=1.6, transform=axes.get_xaxis_transform(), clip_on=False,
            )  # fmt: skip


def _set_ticks(axes: Axes, drawn: pd.DataFrame) -> None:
    sizes = np.unique(drawn["size"].to_numpy(float))
    axes.xaxis.set_major_locator(FixedLocator(list(sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    margin = 1.15
    axes.set_xlim(sizes[0] / margin, sizes[-1] * margin)
    spread = drawn["latency_s"].max() / drawn["latency_s"].min()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if spread > 300 else (1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def _add_legend(figure: Figure, looks: Mapping[str, LayerStyle], *, has_noisy: bool, has_failed: bool) -> None:
    handles = [
        Line2D([], [], color=look.colour, linestyle=look.dashes, marker=look.marker, markersize=5, label=line)
        for line, look in looks.items()
    ]
    if has_noisy:
        handles.append(
            Line2D([], [], color=INK, marker="o", markerfacecolor="white", linestyle="", label="hollow: noisy")
        )
    if has_failed:
        handles.append(Line2D([], [], color=INK, marker="x", linestyle="", label="cross: failed"))
    figure.legend(handles=handles, loc="outside right center", frameon=False, handlelength=3.2, labelspacing=0.55)
