"""The calibration curve of the checkerboard score: what was planted against what it reads.

Draws the pooled frame of the validation. The limits are those in the frame.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETDOWNBASE, CARETUPBASE
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.style import FONT_PT, GRID_COLOUR, MUTED, figure_style, make_figure

# name, colour and marker of each kind of content; Okabe and Ito's blue, vermilion and green
_LOOKS = {
    "1/f": ("1/f images", "#0072b2", "o"),
    "discs": ("random discs", "#d55e00", "s"),
    "photographs": ("photographs", "#009e73", "^"),
}
_LIMIT_COLOUR = "#e4e4e4"
# where a planted 0 stands on the logarithmic axis, and the lowest reading drawn: a third of the least
_BELOW_LEAST = 3.0
_MOST_BIAS = 0.22
_DOTS = (0, (1.2, 1.6))
# factor between neighbouring kinds, so that their whiskers stand beside each other
_DODGE = 1.16


def draw_calibration(summary: pd.DataFrame) -> Figure:
    """Draw planted amplitude against measured, and below it the relative error, one column a period.

    Parameters
    ----------
    summary : DataFrame
        ``kind, period, planted, pooled, low, high, detection_level, limit``: amplitudes in σ, the limit a share
        or NaN; ``1/f``, ``discs`` and ``photographs`` are the kinds.

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If nothing was planted.
    """
    planted = summary.loc[summary["planted"] > 0, "planted"]
    if planted.empty:
        raise EmptyFigureError("calibration: nothing was planted")
    floor = float(planted.min()) / _BELOW_LEAST
    periods = sorted(summary["period"].unique())
    kinds = list(dict.fromkeys(summary["kind"]))
    with figure_style():
        figure = make_figure(5.7)
        grid = figure.subplots(2, len(periods), squeeze=False, height_ratios=(1.6, 1), sharex="row", sharey="row")
        for column, period in enumerate(periods):
            rows = summary[summary["period"] == period]
            _draw_curve(grid[0, column], rows, kinds, floor)
            _draw_bias(grid[1, column], rows, kinds)
            grid[0, column].set_title(f"period {period}")
        grid[0, 0].set_ylabel("measured (RMS, σ)")
        grid[1, 0].set_ylabel("error of the pooled\nreading (%)")
        figure.supxlabel("RMS of the planted checkerboard (σ of the content, logarithmic)", fontsize=FONT_PT)
        figure.legend(
            handles=_make_handles(kinds), loc="outside upper center", ncols=4, frameon=False, handlelength=2.2,
        )  # fmt: skip
    return figure


def _draw_curve(axes: Axes, rows: pd.DataFrame, kinds: list[str], floor: float) -> None:
    amplitudes = sorted(rows["planted"].unique())
    ticks = [max(amplitude, floor) for amplitude in amplitudes]
    top = max(rows["high"].max(), ticks[-1]) * 1.3
    axes.set_xscale("log")
    axes.set_yscale("log")
    least = next(amplitude for amplitude in amplitudes if amplitude > 0)
    axes.plot([least, top], [least, top], color=MUTED, linewidth=1, zorder=1)
    for kind in kinds:
        _, colour, marker = _LOOKS[kind]
        found = rows[rows["kind"] == kind].sort_values("planted")
        x = found["planted"].clip(lower=floor).to_numpy(float)
        low, middle, high = (found[name].clip(lower=floor).to_numpy(float) for name in ("low", "pooled", "high"))
        level = float(found["detection_level"].mean())
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.axhline(level, color=colour, linewidth=1, linestyle=_DOTS)
        axes.plot(x, middle, color=colour, linewidth=1)
        seen = found["pooled"].to_numpy(float) > level
        for chosen, fill in ((seen, colour), (~seen, "white")):
            if not chosen.any():
                continue  # an empty line that is not clipped would count in the layout
            axes.plot(
                x[chosen], middle[chosen], marker, markersize=4.5, markerfacecolor=fill, markeredgecolor=colour,
                clip_on=False, zorder=3,
            )  # fmt: skip
    axes.set_xlim(floor / 1.15, amplitudes[-1] * 1.3)
    axes.set_ylim(floor, top)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "0" if x <= floor else f"{x:g}".lstrip("0")))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda y, _: _name_floor(y) if y <= floor else f"{y:g}".lstrip("0"))
    )
    axes.grid(True, color=GRID_COLOUR)
    axes.set_axisbelow(True)


def _name_floor(floor: float) -> str:
    return f"≤{floor:.3g}".replace("0.", ".")


def _draw_bias(axes: Axes, rows: pd.DataFrame, kinds: list[str]) -> None:
    rows = rows[rows["planted"] > 0]
    amplitudes = sorted(rows["planted"].unique())
    axes.set_xscale("log")
    axes.axhline(0, color=MUTED, linewidth=1, zorder=1)
    half = np.sqrt(amplitudes[1] / amplitudes[0]) if len(amplitudes) > 1 else 2.0
    for place in amplitudes:
        limit = rows.loc[rows["planted"] == place, "limit"].max()
        if np.isfinite(limit):
            axes.fill_between(
                [place / half, place * half], -limit, limit, color=_LIMIT_COLOUR, linewidth=0, zorder=0
            )
    for index, kind in enumerate(kinds):
        _, colour, marker = _LOOKS[kind]
        found = rows[rows["kind"] == kind].sort_values("planted")
        planted = found["planted"].to_numpy(float)
        low, bias, high = (found[name].to_numpy(float) / planted - 1 for name in ("low", "pooled", "high"))
        x = planted * _DODGE ** (index - (len(kinds) - 1) / 2)
        shown = np.abs(bias) <= _MOST_BIAS
        axes.vlines(x[shown], low[shown], high[shown], color=colour, linewidth=1)
        axes.plot(x[shown], bias[shown], marker, markersize=4, color=colour)
        for beyond, edge, caret in (
            (bias > _MOST_BIAS, _MOST_BIAS, CARETUPBASE),
            (bias < -_MOST_BIAS, -_MOST_BIAS, CARETDOWNBASE),
        ):
            if not beyond.any():
                continue
            (carets,) = axes.plot(
                x[beyond], np.full(int(beyond.sum()), edge), linestyle="none", marker=caret, markersize=4,
                color=colour, clip_on=False,
            )  # fmt: skip
            carets.set_in_layout(False)
    axes.set_ylim(-_MOST_BIAS, _MOST_BIAS)
    axes.set_xlim(amplitudes[0] / half, amplitudes[-1] * half)
    axes.xaxis.set_major_locator(FixedLocator(amplitudes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}".lstrip("0")))
    axes.yaxis.set_major_locator(FixedLocator([-0.2, -0.1, 0, 0.1, 0.2]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:+.0f}" if y else "0"))


def _make_handles(kinds: list[str]) -> list[Line2D | Patch]:
    contents = [
        Line2D([], [], color=colour, marker=marker, markersize=4.5, linewidth=1, label=name)
        for name, colour, marker in (_LOOKS[kind] for kind in kinds)
    ]
    return [
        *contents,
        Line2D([], [], color=MUTED, linewidth=1, label="identity"),
        Line2D([], [], color=MUTED, linewidth=1, linestyle=_DOTS, label="detection level of one image"),
        Line2D([], [], color="none", marker="o", markersize=4.5, markeredgecolor=MUTED, label="below that level"),
        Patch(facecolor=MUTED, alpha=0.25, linewidth=0, label="range of single images"),
        Patch(facecolor=_LIMIT_COLOUR, linewidth=0, label="error allowed (1/f images, discs)"),
    ]
