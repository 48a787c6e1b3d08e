"""False alarms and detections of the checkerboard score, by period, on photographs and on drawn images.

Draws the counted frame of the validation. What rates are good enough is handed in.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.style import FONT_PT, GRID_COLOUR, MUTED, figure_style, make_figure

# name, colour and marker of each kind of image, as in the calibration curve
_LOOKS = {
    "photographs": ("photographs", "#009e73", "^"),
    "1/f": ("1/f images", "#0072b2", "o"),
    "discs": ("random discs", "#d55e00", "s"),
}
_BAND = "#e4e4e4"
# between neighbouring kinds at one period, in periods
_DODGE = 0.29
# least height of the axis of false alarms
_MOST_ALARMS = 0.12
_ALARM_TICKS, _FOUND_TICKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1), (0, 0.25, 0.5, 0.75, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What rates are asked for, 0..1.

    Parameters
    ----------
    nominal : float
        Of images without a pattern that are read above the level.
    factor : float
        By which the rate on photographs may differ from it.
    least_found : float
        Share of the patterns of `multiple` levels that must be found.
    multiple : int
        In detection levels.
    """

    nominal: float
    factor: float
    least_found: float
    multiple: int


def draw_rates(summary: pd.DataFrame, limits: RateLimits) -> Figure:
    """Draw false alarms on the left and, beside them, detections at each multiple of the level, by period.

    Parameters
    ----------
    summary : DataFrame
        ``kind, period, multiple, images, found, found_by_noise_level``; multiple 0 are images without a pattern;
        ``photographs``, ``1/f`` and ``discs`` are the kinds.
    limits : RateLimits
        Drawn as a band and a line.

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If nothing was counted.
    """
    if summary.empty:
        raise EmptyFigureError("rates: nothing was counted")
    periods = sorted(summary["period"].unique())
    multiples = sorted(multiple for multiple in summary["multiple"].unique() if multiple > 0)
    kinds = [kind for kind in _LOOKS if kind in set(summary["kind"])]
    rates = summary.assign(
        rate=summary["found"] / summary["images"], by_noise=summary["found_by_noise_level"] / summary["images"]
    )
    with figure_style():
        figure = make_figure(3.8)
        first, *others = figure.subplots(
            1, 1 + len(multiples), squeeze=False, width_ratios=(1.5, *[1.0] * len(multiples))
        )[0]
        clean = rates[rates["multiple"] == 0]
        first.axhspan(
            limits.nominal / limits.factor, limits.nominal * limits.factor, color=_BAND, linewidth=0, zorder=0
        )
        first.axhline(limits.nominal, color=MUTED, linewidth=1, zorder=1)
        _draw_points(first, clean, "by_noise", periods, kinds, is_hollow=True)
        _draw_points(first, clean, "rate", periods, kinds)
        # a few percent and nearly all are both to be seen
        first.set_yscale("function", functions=(np.sqrt, np.square))
        first.set_ylim(0, max(_MOST_ALARMS, float(clean[["rate", "by_noise"]].max().max()) * 1.15))
        first.set_title("no pattern: false alarms")
        for axes, multiple in zip(others, multiples, strict=True):
            _draw_points(axes, rates[rates["multiple"] == multiple], "rate", periods, kinds)
            axes.set_ylim(-0.04, 1.04)
            axes.set_title(f"{multiple} level{'s' if multiple > 1 else ''}: found")
            if multiple == limits.multiple:
                axes.axhspan(limits.least_found, 1.04, color=_BAND, linewidth=0, zorder=0)
        for axes in (first, *others):
            _finish(axes, periods, _ALARM_TICKS if axes is first else _FOUND_TICKS)
        for axes in others[1:]:
            axes.tick_params(labelleft=False)
        first.set_ylabel("share of images")
        figure.supxlabel("period (pixels); levels are detection levels", fontsize=FONT_PT)
        figure.legend(
            handles=_make_handles(kinds, limits),
            loc="outside upper center",
            ncols=3,
            frameon=False,
            handlelength=1.6,
        )
    return figure


def _draw_points(
    axes: Axes, rates: pd.DataFrame, column: str, periods: list[int], kinds: list[str], *, is_hollow: bool = False
) -> None:
    for index, kind in enumerate(kinds):
        _, colour, marker = _LOOKS[kind]
        rows = rates[rates["kind"] == kind]
        places = [periods.index(period) + (index - (len(kinds) - 1) / 2) * _DODGE for period in rows["period"]]
        axes.plot(
            places, rows[column].to_numpy(float), marker, markersize=6.5 if is_hollow else 4, linestyle="none",
            markerfacecolor="none" if is_hollow else colour, markeredgecolor=colour, clip_on=False, zorder=3,
        )  # fmt: skip


def _finish(axes: Axes, periods: list[int], ticks: tuple[float, ...]) -> None:
    axes.set_xlim(-0.5, len(periods) - 0.5)
    axes.xaxis.set_major_locator(FixedLocator(range(len(periods))))
    axes.set_xticklabels([str(period) for period in periods])
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(True, axis="y", color=GRID_COLOUR)
    axes.set_axisbelow(True)


def _make_handles(kinds: list[str], limits: RateLimits) -> list[Line2D | Patch]:
    looks = [_LOOKS[kind] for kind in kinds]
    points = [
        Line2D([], [], color=colour, marker=marker, markersize=4, linestyle="none", label=name)
        for name, colour, marker in looks
    ]
    low, high = 100 * limits.nominal / limits.factor, 100 * limits.nominal * limits.factor
    asked = f"asked for: {low:.3g} to {high:.3g} % on photographs; from {100 * limits.least_found:.0f} %"
    return [
        *points,
        Line2D([], [], color=MUTED, linewidth=1, label=f"nominal, {100 * limits.nominal:.1f} %"),
        Line2D(
            [], [], color="none", marker="o", markersize=6.5, markerfacecolor="none", markeredgecolor=MUTED,
            label="by the noise level",
        ),
        Patch(facecolor=_BAND, linewidth=0, label=asked),
    ]  # fmt: skip
