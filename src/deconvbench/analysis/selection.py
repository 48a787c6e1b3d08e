"""Choosing what a figure shows: which settings become panels, which size stands for all, which layers fit.

A grid may have hundreds of settings and layers; a figure has room for a few. What is left out is counted, so
that a title can say so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deconvbench.errors import UsageError
from deconvbench.records.case import CASE_DEFAULTS, CASE_FIELDS, format_layer
from deconvbench.records.layers import rank_upsampler
from deconvbench.tables.frames import require_columns

LAYER_FIELDS = ("upsampler", "kernel_size", "scale_factor")
SIZE_FIELDS = ("height", "width")
# everything that must be equal for two layers, or two sizes of one layer, to be compared
SETTING_FIELDS = tuple(f for f in CASE_FIELDS if f not in {"upsampler", "kernel_size", *SIZE_FIELDS})
# before the rest are counted
_MOST_NAMED = 6


class EmptyFigureError(UsageError):
    """There is nothing to draw: the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One setting of a figure.

    Parameters
    ----------
    title : str
        Step, device and scale, and whatever else differs between the panels.
    frame : DataFrame
        The rows of the summary that belong to it.
    """

    title: str
    frame: pd.DataFrame


def add_layer_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Add `layer`, as a reader calls it, and `size`, the side of a square with as many pixels.

    Parameters
    ----------
    frame : DataFrame
        With the case's columns; kernel sizes may be null.

    Returns
    -------
    DataFrame
        A copy.
    """
    names = [
        format_layer(upsampler, None if pd.isna(kernel) else int(kernel), int(scale))
        for upsampler, kernel, scale in zip(*(frame[field] for field in LAYER_FIELDS), strict=True)
    ]
    sides = (frame["height"].astype(float) * frame["width"].astype(float)) ** 0.5
    return frame.assign(layer=names, size=sides)


def select_measured(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Keep the cases that are `ok` and have a number in `column`.

    Parameters
    ----------
    frame : DataFrame
        A summary.
    column : str
        Name of the number.

    Returns
    -------
    DataFrame
        With the columns of `add_layer_columns`.

    Raises
    ------
    EmptyFigureError
        If no case is left.
    UsageError
        If it is not a summary.
    """
    require_columns(frame, "summary", (*CASE_FIELDS, "status"), (column,))
    if len(frame):
        kept = frame[(frame["status"] == "ok") & frame[column].notna()]
        if len(kept):
            return add_layer_columns(kept)
    raise EmptyFigureError(f"summary: none of its {len(frame)} cases is ok and has a {column}")


def split_panels(frame: pd.DataFrame, limit: int) -> tuple[list[Panel], int]:
    """Split a summary by setting, the common settings first.

    Parameters
    ----------
    frame : DataFrame
        Not empty, with the case's columns.
    limit : int
        Most panels to return.

    Returns
    -------
    panels : list of Panel
        Ordered by scale, then forward before train, the rest as their defaults stand.
    left_out : int
        Settings beyond `limit`.
    """
    varying = [f for f in SETTING_FIELDS if len(frame[f].unique()) > 1]
    if not varying:
        return [Panel(title=_name_setting(frame.iloc[0], varying), frame=frame)], 0
    groups = [group for _, group in frame.groupby(varying, dropna=False, sort=True)]
    # the settings nearest to the defaults, and of those the fullest, are what most readers ask about
    groups.sort(key=lambda group: (_count_departures(group.iloc[0]), -len(group)))
    kept = sorted(groups[:limit], key=lambda group: _sort_key(group.iloc[0]))
    return [Panel(title=_name_setting(g.iloc[0], varying), frame=g) for g in kept], len(groups) - len(kept)


def _count_departures(row: "pd.Series[Any]") -> int:
    # both steps are wanted, so train does not count as a departure
    return sum(row[field] != default for field, default in CASE_DEFAULTS.items() if field != "step")


def _sort_key(row: "pd.Series[Any]") -> tuple[Any, ...]:
    other = tuple((row[f] != default, str(row[f])) for f, default in CASE_DEFAULTS.items() if f != "step")
    return (int(row["scale_factor"]), int(row["in_channels"]), int(row["out_channels"]), other, row["step"])


def _name_setting(row: "pd.Series[Any]", varying: Sequence[str]) -> str:
    named = ["step", "device", *(field for field in varying if field not in {"step", "device"})]
    return ", ".join(dict.fromkeys(_write_field(row, field) for field in named))


def _write_field(row: "pd.Series[Any]", field: str) -> str:
    if field == "scale_factor":
        return f"scale ×{row[field]}"
    if field in {"in_channels", "out_channels"}:
        return f"{row['in_channels']} → {row['out_channels']} channels"
    if field == "batch":
        return f"batch {row[field]}"
    if field == "threads":
        return f"{row[field]} thread{'' if row[field] == 1 else 's'}"
    return str(row[field])


def describe_common(frame: pd.DataFrame) -> str:
    """Say which settings all rows share, apart from step and device, which every panel names.

    Parameters
    ----------
    frame : DataFrame
        Not empty, with the case's columns.
    """
    shared = [f for f in SETTING_FIELDS if f not in {"step", "device"} and len(frame[f].unique()) == 1]
    if "out_channels" not in shared or "in_channels" not in shared:
        shared = [f for f in shared if f not in {"in_channels", "out_channels"}]
    return ", ".join(dict.fromkeys(_write_field(frame.iloc[0], field) for field in shared))


def choose_size(frame: pd.DataFrame) -> tuple[int, int]:
    """Find the size that stands for all: the largest at which as many cases as at any other were measured.

    Parameters
    ----------
    frame : DataFrame
        Measured cases, not empty.

    Returns
    -------
    height, width : int
        Of the input.
    """
    counts = frame.groupby(list(SIZE_FIELDS)).size()
    full = counts[counts == counts.max()]
    height, width = max(full.index, key=lambda size: (size[0] * size[1], size))
    return int(height), int(width)


def at_size(frame: pd.DataFrame, size: tuple[int, int]) -> pd.DataFrame:
    """Keep one size.

    Parameters
    ----------
    frame : DataFrame
        With `height` and `width`.
    size : (int, int)
        Height and width of the input.

    Raises
    ------
    EmptyFigureError
        If no row has it.
    """
    kept = frame[(frame["height"] == size[0]) & (frame["width"] == size[1])]
    if kept.empty:
        raise EmptyFigureError(f"size: no measured case has {size[0]}×{size[1]}")
    return kept


def choose_layers(frame: pd.DataFrame, limit: int, keep: Sequence[str] = ()) -> list[str]:
    """Choose the layers that a panel has room for.

    Every upsampler comes once, with kernel 3 if it was measured (else the nearest). Then come the other kernels
    of `transposed`, which the article is about, and then the rest.

    Parameters
    ----------
    frame : DataFrame
        With the columns of `add_layer_columns`.
    limit : int
        Most layers to return; `keep` may exceed it.
    keep : sequence of str
        Layers that must be among them.

    Returns
    -------
    list of str
        Layers, relatives side by side.
    """
    layers = frame.drop_duplicates("layer")[[*LAYER_FIELDS, "layer"]]
    rows = [
        (rank_upsampler(u), 3 if pd.isna(k) else int(k), int(s), layer)
        for u, k, s, layer in layers.itertuples(index=False)
    ]
    first: dict[tuple[Any, int], tuple[int, int, str]] = {}
    for rank, kernel, scale, layer in rows:
        candidate = (abs(kernel - 3), kernel, layer)
        first[rank, scale] = min(candidate, first.get((rank, scale), candidate))
    leading = {layer for _, _, layer in first.values()}
    wanted = sorted(rows, key=lambda r: (r[3] not in keep, r[3] not in leading, r[0], r[1], r[2]))
    chosen = {row[3] for row in wanted[: max(limit, len(set(keep)))]}
    return [row[3] for row in sorted(rows) if row[3] in chosen]


def describe_rest(left_out: int, thing: str) -> str:
    """Say what a figure leaves out, or nothing.

    Parameters
    ----------
    left_out : int
        How many.
    thing : str
        Of what, in the plural.
    """
    return f" ({left_out} more {thing} are in the table)" if left_out else ""


def name_some(names: Iterable[str]) -> str:
    """List names by alphabet, and count those that are too many.

    Parameters
    ----------
    names : iterable of str
        Any number.
    """
    known = sorted(names)
    rest = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    return ", ".join(known[:_MOST_NAMED]) + rest
