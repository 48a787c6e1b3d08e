"""Many commits in one figure: a small panel for each case, with its points, their intervals and its levels."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deconvbench.analysis.history import MOST_CASES, History
from deconvbench.plots.style import FONT_PT, GRID_COLOUR, MUTED, figure_style, make_figure

_POINT, _LEVEL = "#0072b2", "#222222"
_COLOURS = {"slower": "#a3123a", "faster": "#14683a"}
_COLUMNS = 3
_PANEL_HEIGHT_IN = 1.5
# of a panel's title
_LONGEST_TITLE = 44
# shares of the points within which the axis lies, so that one outlier does not flatten all
_SHOWN = (0.01, 0.99)


def choose_series(found: History, count: int) -> list[tuple[str, str]]:
    """Choose the cases to show: those that changed, the largest change first, then the others in their order.

    Parameters
    ----------
    found : History
        From `deconvbench.analysis.history.find_history`.
    count : int
        Most of them.

    Returns
    -------
    list of (str, str)
        Case and machine.
    """
    points = found.points.drop_duplicates(["case_id", "machine_id"])
    every = list(zip(points["case_id"], points["machine_id"], strict=True))
    changes = found.changes[
        found.changes["verdict"].isin([*_COLOURS])
        & found.changes["ratio"].notna()
        & (found.changes["case_id"] != MOST_CASES)
    ]
    size = np.abs(np.log(changes["ratio"].astype(float)))
    ordered = changes.assign(_size=size).sort_values("_size", ascending=False, kind="stable")
    changed = list(zip(ordered["case_id"], ordered["machine_id"], strict=True))
    return [key for key in dict.fromkeys([*changed, *every]) if key in set(every)][:count]


def draw_history(found: History, *, max_panels: int = 12) -> Figure:
    """Draw the cost of each case over the commits, relative to its level at the beginning.

    Parameters
    ----------
    found : History
        From `deconvbench.analysis.history.find_history`.
    max_panels : int
        Most cases; those that changed come first.

    Returns
    -------
    Figure
        Points are commits, with 95 % intervals where there are replicates; lines are levels, bands the commits
        among which a change lies.
    """
    chosen = choose_series(found, max_panels)
    total = len(found.points.drop_duplicates(["case_id", "machine_id"]))
    machines = found.points["machine_id"].nunique()
    columns = min(_COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    with figure_style():
        figure = make_figure(_PANEL_HEIGHT_IN * rows + 0.7)
        panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
        for axes, (case, machine) in zip(panels, chosen, strict=False):
            own = found.points[(found.points["case_id"] == case) & (found.points["machine_id"] == machine)]
            changes = found.changes[(found.changes["case_id"] == case) & (found.changes["machine_id"] == machine)]
            title = case if machines == 1 else f"{case}, {machine}"
            _draw_panel(axes, own, changes, list(found.commits), title)
        for axes in panels[len(chosen) :]:
            axes.set_visible(False)
        rest = f"; {total - len(chosen)} more are in the page" if total > len(chosen) else ""
        span = f"{found.commits[0]} to {found.commits[-1]}, {len(found.commits)} commits"
        figure.suptitle(
            f"Cost of each case over its first level; {span}{rest}",
            fontsize=FONT_PT,
            color=MUTED,
            ha="left",
            x=0.01,
        )
    return figure


def _draw_panel(axes: Axes, points: pd.DataFrame, changes: pd.DataFrame, commits: list[str], title: str) -> None:
    x, y, value = (points[name].to_numpy(float) for name in ("position", "relative", "value"))
    halves = np.vstack([value - points["low"].to_numpy(float), points["high"].to_numpy(float) - value])
    reach = np.nan_to_num(halves * (y / value)).clip(min=0)
    axes.errorbar(x, y, yerr=reach, fmt="none", ecolor=_POINT, elinewidth=0.6, alpha=0.35)
    axes.plot(x, y, ".", color=_POINT, markersize=2.5)
    axes.step(x, points["level"].to_numpy(float), where="mid", color=_LEVEL, linewidth=1.1)
    for verdict, before, after in zip(
        changes["verdict"], changes["last_before"], changes["first_after"], strict=True
    ):
        if verdict in _COLOURS and before and after:
            axes.axvspan(
                commits.index(before), commits.index(after), color=_COLOURS[verdict], alpha=0.25, linewidth=0
            )
    low, high = np.quantile(y, _SHOWN)
    room = max(0.1 * (high - low), 0.02 * high)
    axes.set_ylim(low - room, high + room)
    axes.grid(visible=True, axis="y", color=GRID_COLOUR)
    axes.axhline(1, color=MUTED, linewidth=0.6, zorder=0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda place, _: commits[int(place)] if 0 <= place < len(commits) else "")
    )
    shown = title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"
    axes.set_title(shown, fontsize=FONT_PT - 1)
