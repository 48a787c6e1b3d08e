"""How much faster than the baseline: each layer with interleaved timing, shape by shape, in every setting.

Draws what `deconvbench.tables.speedups` computes; takes no means of its own.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from deconvbench.analysis.selection import EmptyFigureError, describe_rest
from deconvbench.analysis.speedups import BASELINE_KERNEL, MEAN_DTYPES, SETTING_FIELDS
from deconvbench.plots.style import FONT_PT, GRID_COLOUR, INK, MUTED, figure_style, make_figure, style_layer
from deconvbench.records.layers import rank_upsampler
from deconvbench.records.schema import SPEEDUP_DTYPES
from deconvbench.tables.frames import require_columns
from deconvbench.tables.speedups import SHAPE_FIELDS

# panels stand in rows of one kind of step, and in columns of one layout and number of threads
_ROW_FIELDS = ("step", "is_frozen")
_COLUMN_FIELDS = ("memory_format", "threads")
# those of the first list that fits: the spread of the axis up to which there is room for all their labels
_TICKS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (16.0, (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)),
    (60.0, (0.0625, 0.25, 1.0, 4.0, 16.0)),
    (math.inf, (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)),
)
_ROW_IN = 0.36
# share of a layer's row that its shapes are spread over
_SPREAD = 0.62
# characters of the smaller text that fit beside each other
_LINE = 118


def draw_speedups(
    speedups: pd.DataFrame, means: pd.DataFrame, *, max_columns: int = 4, max_rows: int = 4
) -> Figure:
    """Draw how many times faster than the baseline each layer is.

    A dot is a shape, from the smallest at the top to the largest, with its 95 % interval; a bar across the dots is
    the geometric mean over shapes, written at the right. Vertical lines are the means of alternatives, which
    compute something else. Of several kernels and scales one is drawn, the one with the most layers measured.

    Parameters
    ----------
    speedups : DataFrame
        As in ``speedups.csv``.
    means : DataFrame
        Their geometric means (`average_speedups`).
    max_columns, max_rows : int
        Most settings; those with the most layers measured stay.

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If there is no interleaved timing.
    UsageError
        If they are not such frames.
    """
    require_columns(speedups, "speedups", SPEEDUP_DTYPES, ("speedup",))
    require_columns(means, "means", MEAN_DTYPES, ("speedup",))
    measured = speedups[speedups["speedup"].notna() & (speedups["case_id"] != speedups["baseline_id"])]
    equivalents = measured[measured["is_twin"]]
    if equivalents.empty:
        raise EmptyFigureError(f"speedups: none of the {len(speedups)} rows compares a layer with its baseline")
    shown = _choose_setting(equivalents)
    layers = sorted(set(shown["upsampler"]), key=rank_upsampler)
    means = _select_alike(means, shown)
    rows, rows_left = _limit(shown, _ROW_FIELDS, max_rows)
    columns, columns_left = _limit(shown, _COLUMN_FIELDS, max_columns)
    shapes = sorted(
        {tuple(shape) for shape in shown[list(SHAPE_FIELDS)].itertuples(index=False)}, key=_weigh_shape
    )
    with figure_style():
        figure = make_figure((_ROW_IN * len(layers) + 0.62) * len(rows) + 1.4)
        grid = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                _draw_panel(
                    grid[i][j],
                    _select(shown, row, column),
                    _select(means, row, column),
                    layers,
                    shapes,
                )
                grid[i][j].set_title(_name_panel(row, column), fontsize=FONT_PT - 0.5)
        baseline = shown["baseline_id"].iloc[0].partition("-s")[0].replace("-", " ")
        _set_axes(grid[0][0], shown, means, layers)
        figure.supxlabel(f"times faster than {baseline} (ratio, logarithmic)", fontsize=FONT_PT)
        rest = describe_rest(
            len(shown.groupby(list(_ROW_FIELDS + _COLUMN_FIELDS))) - len(rows) * len(columns), "settings"
        )
        title = f"Speed-up over {baseline}{rest if rows_left or columns_left else ''}"
        figure.suptitle(f"{title}\n{_describe(means, shapes)}", fontsize=FONT_PT, color=MUTED, ha="left", x=0.01)
    return figure


def _list_common() -> list[str]:
    return [name for name in SETTING_FIELDS if name not in {*_ROW_FIELDS, *_COLUMN_FIELDS}]


def _choose_setting(equivalents: pd.DataFrame) -> pd.DataFrame:
    """Keep the fullest of the settings that panels do not tell apart (dtype, batch, device, kernel, scale)."""
    fields = [*_list_common(), "kernel_size"]
    return max((group for _, group in equivalents.groupby(fields, dropna=False, sort=False)), key=len)


def _select_alike(means: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """Keep the means of what is shown; of what computes something else, one upsampler in all its kernels."""
    means = means[np.logical_and.reduce([means[name] == shown[name].iloc[0] for name in _list_common()])]
    kernel = shown["kernel_size"].iloc[0]
    means = means[means[BASELINE_KERNEL].isna() if pd.isna(kernel) else means[BASELINE_KERNEL] == kernel]
    others = sorted(set(means.loc[~means["is_twin"], "upsampler"]), key=rank_upsampler)
    return means[means["is_twin"] | means["upsampler"].isin(others[:1])]


def _limit(frame: pd.DataFrame, fields: Sequence[str], limit: int) -> tuple[list[dict[str, object]], int]:
    """List the combinations of fields, forward before train and frozen before live, as far as there is room."""
    found = [dict(zip(fields, values, strict=True)) for values, _ in frame.groupby(list(fields), sort=True)]
    order = {"forward": 0, "train": 1, "contiguous": 0, "channels_last": 1, True: 0, False: 1}
    # threads are numbers, of which True is one to Python
    found.sort(key=lambda values: tuple(v if n == "threads" else order.get(v, 2) for n, v in values.items()))
    return found[:limit], max(len(found) - limit, 0)


def _select(frame: pd.DataFrame, row: dict[str, object], column: dict[str, object]) -> pd.DataFrame:
    return frame[np.logical_and.reduce([frame[name] == value for name, value in (row | column).items()])]


def _name_panel(row: dict[str, object], column: dict[str, object]) -> str:
    weights = "" if row["step"] == "train" else ", frozen" if row["is_frozen"] else ", live"
    threads = column["threads"]
    return f"{row['step']}{weights}\n{column['memory_format']}, {threads} thread{'' if threads == 1 else 's'}"


def _weigh_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0] * shape[1] * shape[2] * shape[3], *shape)


def _draw_panel(
    axes: Axes,
    frame: pd.DataFrame,
    means: pd.DataFrame,
    layers: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
) -> None:
    axes.axvline(1.0, color=MUTED, linewidth=0.8, zorder=1)
    alternatives = means[~means["is_twin"]].sort_values("speedup")
    for rank, (_, alternative) in enumerate(alternatives.iterrows()):
        look = style_layer(alternative["upsampler"], _as_kernel(alternative["kernel_size"]))
        axes.axvline(alternative["speedup"], color=look.colour, linewidth=1.2, linestyle=look.dashes, zorder=1)
        # above the first layer; two lines may be near, so the first is named at its left
        axes.text(
            alternative["speedup"], 0.985, f" {_name_short(alternative)} ", va="top",
            transform=axes.get_xaxis_transform(),
            ha="left" if rank else "right", fontsize=FONT_PT - 2, color=look.text_colour,
        )  # fmt: skip
    offsets = np.linspace(-_SPREAD / 2, _SPREAD / 2, len(shapes)) if len(shapes) > 1 else np.zeros(1)
    places = dict(zip(shapes, offsets, strict=True))
    for y, layer in enumerate(layers):
        look = style_layer(layer)
        rows = frame[frame["upsampler"] == layer]
        heights = [y + places[tuple(s)] for s in rows[list(SHAPE_FIELDS)].itertuples(index=False)]
        x, low, high = (rows[name].to_numpy(float) for name in ("speedup", "speedup_ci_low", "speedup_ci_high"))
        # an interval that was not computed is drawn as none
        reach = np.nan_to_num(np.vstack([x - low, high - x])).clip(min=0)
        axes.errorbar(
            x, heights, xerr=reach, fmt=look.marker, color=look.colour, markersize=3.2, elinewidth=0.9, zorder=3
        )
        for mean in means.loc[means["upsampler"] == layer, "speedup"]:
            ends = [y - _SPREAD / 2 - 0.1, y + _SPREAD / 2 + 0.1]
            axes.plot([mean, mean], ends, color=INK, linewidth=1.6, zorder=4)
            axes.text(
                1.0, y, f"{mean:.2f} ", transform=axes.get_yaxis_transform(), va="center", ha="right",
                fontsize=FONT_PT - 1, color=INK,
            )  # fmt: skip
    axes.grid(visible=True, axis="x", color=GRID_COLOUR)
    axes.tick_params(axis="y", length=0)


def _as_kernel(value: object) -> int | None:
    return int(value) if isinstance(value, int | np.integer) else None


def _name_short(alternative: "pd.Series[Any]") -> str:
    kernel = _as_kernel(alternative["kernel_size"])
    return str(alternative["upsampler"]) if kernel is None else f"k{kernel}"


def _describe(means: pd.DataFrame, shapes: Sequence[tuple[int, ...]]) -> str:
    """Say what dots and lines are."""
    named = ", ".join(f"{shape[0]}→{shape[1]} {shape[2]}×{shape[3]}" for shape in shapes)
    text = f"dots, from top to bottom (channels, input): {named}; bars and numbers: geometric means"
    alternatives = means[~means["is_twin"]].drop_duplicates("layer")["layer"]
    if len(alternatives):
        text += f"; vertical lines: those of {', '.join(alternatives)}, which compute another function"
    return "\n".join(textwrap.wrap(text, _LINE))


def _set_axes(axes: Axes, shown: pd.DataFrame, means: pd.DataFrame, layers: Sequence[str]) -> None:
    axes.set_xscale("log")
    ends = [*shown["speedup"], *means["speedup"], 1.0]
    low, high = min(ends) / 1.15, max(ends)
    # room at the right for the means, which are written there
    axes.set_xlim(low, high * (high / low) ** 0.28)
    ticks = next(ticks for spread, ticks in _TICKS if high / low <= spread)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= 1.05 * high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    # the first layer on top, and room above it for the names of the lines
    axes.set_ylim(len(layers) - 0.45, -0.95)
    axes.set_yticks(range(len(layers)), labels=list(layers))
