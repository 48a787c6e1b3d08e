"""The report's tables: rows of the data frames as texts, with the number to sort by beside each.

Units are made readable here and nowhere earlier. Knows no HTML; escaping is the template's.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from deconvbench.analysis.selection import add_layer_columns
from deconvbench.records.case import CASE_DEFAULTS, format_layer
from deconvbench.records.metrics import METRICS, format_metric
from deconvbench.records.schema import name_interval
from deconvbench.units import format_bytes, format_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a table.

    Parameters
    ----------
    text : str
        What a reader sees.
    sort : str
        What sorting compares: a number as text, or the text itself.
    kind : str
        ``number``, ``text``, ``noisy`` or ``failed``.
    """

    text: str
    sort: str
    kind: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    """A table as it is shown.

    Parameters
    ----------
    headings : tuple of str
        With units.
    rows : tuple of tuple of Cell
        As many cells as headings in each.
    left_out : int
        Rows beyond the limit.
    keys : tuple of str
        Name of each column in the data; empty where a column has none.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: int = 0
    keys: tuple[str, ...] = ()


_Writer = Callable[[Any], Cell]


def write_text(value: Any) -> Cell:
    """Write a name, a flag or a whole number; nothing becomes a dash."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return Cell(text="–", sort="")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(text=str(value), sort=str(value), kind="number" if is_number else "text")


def _write_number(formatter: Callable[[float], str]) -> _Writer:
    def write(value: Any) -> Cell:
        number = math.nan if value is None or pd.isna(value) else float(value)
        return Cell(text=formatter(number), sort="" if math.isnan(number) else repr(number), kind="number")

    return write


def _format_count(value: float) -> str:
    if math.isnan(value):
        return "–"
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.0f}"


def _format_ratio(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _write_metric(metric: str) -> _Writer:
    return _write_number(lambda value: format_metric(value, metric))


def _write_status(value: Any) -> Cell:
    return Cell(text=str(value), sort=str(value), kind="text" if value == "ok" else "failed")


_METRIC_COLUMNS = tuple((name, label.axis, _write_metric(name)) for name, label in METRICS.items())
_SUMMARY_COLUMNS: tuple[tuple[str, str, _Writer], ...] = (
    ("status", "status", _write_status),
    ("latency_s", "latency (median)", _write_number(format_seconds)),
    ("latency_ci_low_s", "latency, 95 % from", _write_number(format_seconds)),
    ("latency_ci_high_s", "latency, 95 % to", _write_number(format_seconds)),
    ("ratio", "ratio to the baseline", _write_number(_format_ratio)),
    ("ratio_low", "ratio, 95 % from", _write_number(_format_ratio)),
    ("ratio_high", "ratio, 95 % to", _write_number(_format_ratio)),
    ("peak_memory_bytes", "peak memory", _write_number(format_bytes)),
    ("workspace_bytes", "hidden workspace", _write_number(format_bytes)),
    ("parameter_bytes", "parameters", _write_number(format_bytes)),
    ("macs", "MACs", _write_number(_format_count)),
    ("kernel", "spends its time in", write_text),
    *_METRIC_COLUMNS,
    ("replicates", "replicates", write_text),
)
_SETTING_COLUMNS = tuple((name, name.replace("_", " "), write_text) for name in CASE_DEFAULTS)
_TRAINING_COLUMNS: tuple[tuple[str, str, _Writer], ...] = (("steps", "training steps", write_text),)


def view_summary(summary: pd.DataFrame, limit: int = 5000) -> TableView:
    """Show the summary: one row per case.

    Parameters
    ----------
    summary : DataFrame
        As in ``summary.csv``.
    limit : int
        Most rows; the rest stay in the file.

    Returns
    -------
    TableView
        Settings that never differ from their default, and columns without any value, are left out.
    """
    frame = add_layer_columns(summary)
    columns: list[tuple[str, str, _Writer]] = [
        c for c in _SETTING_COLUMNS if c[0] == "step" or (frame[c[0]] != CASE_DEFAULTS[c[0]]).any()
    ]
    columns += [c for c in _SUMMARY_COLUMNS if c[0] in frame and (c[0] == "status" or frame[c[0]].notna().any())]
    rows = []
    for record in frame.head(limit).to_dict("records"):
        pixels = record["height"] * record["width"]
        cells = [
            Cell(text=record["layer"], sort=record["layer"]),
            Cell(text=f"{record['height']}×{record['width']}", sort=str(pixels), kind="number"),
            Cell(text=f"{record['in_channels']} → {record['out_channels']}", sort=str(record["in_channels"])),
        ]
        for name, _, write in columns:
            cell = write(record[name])
            if name == "latency_s" and record["noisy"]:
                cell = Cell(text=f"{cell.text} (noisy)", sort=cell.sort, kind="noisy")
            cells.append(cell)
        rows.append(tuple(cells))
    headings = ("layer", "input (pixels)", "channels", *(heading for _, heading, _ in columns))
    keys = ("layer", "size", "channels", *(name for name, _, _ in columns))
    return TableView(headings=headings, rows=tuple(rows), left_out=max(len(frame) - limit, 0), keys=keys)


def view_quality(quality_summary: pd.DataFrame) -> TableView:
    """Show the quality table: one row per layer, metrics averaged over seeds, with their intervals.

    Parameters
    ----------
    quality_summary : DataFrame
        One row per layer (`summarise_quality`).

    Returns
    -------
    TableView
        A number is followed by half the width of its 95 % interval over seeds, where that shows in the digits
        given. Columns without any value are left out.
    """
    columns = [
        c
        for c in (*_METRIC_COLUMNS, *_TRAINING_COLUMNS)
        if c[0] in quality_summary and quality_summary[c[0]].notna().any()
    ]
    rows = []
    for row in quality_summary.to_dict("records"):
        layer = _name_layer(row)
        cells = [Cell(text=layer, sort=layer), _write_status(row["status"]), write_text(row["seeds"])]
        cells += [_add_interval(write(row[name]), row, name) for name, _, write in columns]
        rows.append(tuple(cells))
    return TableView(
        headings=("layer", "status", "seeds", *(heading for _, heading, _ in columns)), rows=tuple(rows)
    )


def _add_interval(cell: Cell, row: Mapping[Any, Any], name: str) -> Cell:
    """Put half the width of the interval behind a mean, in its digits; nothing where that would be 0."""
    # the lower half may be cut off at 0
    high = row.get(name_interval(name)[1])
    digits = len(cell.text.partition(".")[2])
    # a mean that is written with a power of ten, or as 0, has no digits to compare with
    if pd.isna(high) or "e" in cell.text or not digits:
        return cell
    half = f"{high - row[name]:.{digits}f}"
    return replace(cell, text=f"{cell.text} ± {half}") if float(half) else cell


def view_failures(tables: Sequence[pd.DataFrame], limit: int = 500) -> TableView:
    """List what is not `ok`, with its message, each case once.

    Parameters
    ----------
    tables : sequence of DataFrame
        The table, then the quality table; each may be empty.
    limit : int
        Most rows; the rest stay in the file.
    """
    seen: dict[tuple[str, str, str], int] = {}
    for frame in tables:
        for row in frame[frame["status"] != "ok"].to_dict("records") if len(frame) else ():
            name = row["case_id"] if "case_id" in row else f"quality of {_name_layer(row)}"
            key = (str(name), str(row["status"]), str(row["message"]))
            seen[key] = seen.get(key, 0) + 1
    rows = tuple(
        (Cell(text=name, sort=name), _write_status(status), write_text(count), Cell(text=message, sort=message))
        for (name, status, message), count in seen.items()
    )
    headings = ("case", "status", "times", "message")
    return TableView(headings=headings, rows=rows[:limit], left_out=max(len(rows) - limit, 0))


def _name_layer(row: Mapping[Any, Any]) -> str:
    kernel = row["kernel_size"]
    return format_layer(row["upsampler"], None if pd.isna(kernel) else int(kernel), int(row["scale_factor"]))


def view_noisy(table: pd.DataFrame, limit: int = 500) -> TableView:
    """List the measurements that something disturbed, with the reason.

    Parameters
    ----------
    table : DataFrame
        One row per case and replicate.
    limit : int
        Most rows; the rest stay in the file.
    """
    noisy = table[table["noisy"].fillna(value=False).astype(bool)] if len(table) else table
    rows = tuple(
        tuple(write_text(row[name]) for name in ("case_id", "replicate", "noise_reason"))
        for row in noisy.head(limit).to_dict("records")
    )
    left_out = max(len(noisy) - limit, 0)
    return TableView(headings=("case", "replicate", "reason"), rows=rows, left_out=left_out)


def flatten_environment(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Turn nested mappings into pairs of a dotted name and a text.

    Parameters
    ----------
    values : mapping
        As recorded; bytes get a readable unit, nothing becomes a dash.
    prefix : str
        Name of the mapping itself, with a dot behind.

    Yields
    ------
    name, text : str
    """
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten_environment(value, f"{name}.")
        elif isinstance(value, list | tuple):
            if any(isinstance(item, Mapping) for item in value):
                yield from flatten_environment({str(i): item for i, item in enumerate(value)}, f"{name}.")
            else:
                yield name, ", ".join(map(str, value)) or "–"
        elif value is None or value == "":
            yield name, "–"
        elif name.endswith("_bytes") and isinstance(value, int | float):
            yield name, format_bytes(value)
        else:
            yield name, str(value)
