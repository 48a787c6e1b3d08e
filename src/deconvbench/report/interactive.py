"""What the charts of a page draw: every timed case with its setting, cost, quality and place, as plain data.

Which case is dominated, how a number is written and what a chart finds are decided here; the script only picks,
places and shows. The titles are computed for every setting and metric from the same frames.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from deconvbench.analysis.selection import SETTING_FIELDS, add_layer_columns, choose_size, select_measured
from deconvbench.analysis.settings import resolve_setting
from deconvbench.analysis.tradeoff import join_tradeoff
from deconvbench.errors import DeconvbenchError
from deconvbench.records.decoding import make_strict
from deconvbench.records.layers import FAST_UPSAMPLERS, READING_ORDER, rank_upsampler
from deconvbench.records.metrics import METRICS, format_metric, is_zero
from deconvbench.records.schema import name_interval
from deconvbench.system.texts import tidy_line
from deconvbench.units import format_bytes, format_seconds

# more than that are in the files only, and a browser draws no more at a time anyway
MOST_CASES = 5_000
# what a reader switches by, in this order; the rest of a setting is offered where it differs
_FIRST = ("device", "size", "channels", "step", "dtype")
_LABELS = {"scale_factor": "scale", "memory_format": "memory format"}
# the metrics to begin with, the most telling first
_FAVOURITES = ("trained_checkerboard_levels", "phase_ripple", "checkerboard")
_FEWEST_TRAINED = 3
_MEMORY = "peak_memory_bytes"
# in a sentence; a stranger may have named a layer
_LONGEST_NAME = 60
_Row = Mapping[Any, Any]


def describe_charts(summary: pd.DataFrame, quality: pd.DataFrame) -> dict[str, Any] | None:
    """Lay out the charts' data.

    Parameters
    ----------
    summary : DataFrame
        One row per case; may be empty.
    quality : DataFrame
        One row per layer, with intervals (`summarise_quality`).

    Returns
    -------
    dict or None
        ``fields`` (name, label and values of each switch), ``metrics``, ``layers`` (name and kind), ``settings``
        (a value for each field, and titles), ``cases``, their ``qualities``, and with which setting and metric to
        ``start``. A number is a list of value, low, high and text. None where no case was timed.
    """
    try:
        measured = select_measured(summary, "latency_s")
    except DeconvbenchError:
        return None
    left_out = max(len(measured) - MOST_CASES, 0)
    joined, metrics = _join_metrics(measured.head(MOST_CASES), quality)
    names = _list_settings(joined)
    rows = add_layer_columns(joined).to_dict("records")
    layers = _list_layers(rows)
    places = {layer["name"]: index for index, layer in enumerate(layers)}
    groups: dict[tuple[str, ...], list[_Row]] = {}
    for row in rows:
        groups.setdefault(tuple(_write_value(row, name) for name in names), []).append(row)
    numbers = {values: number for number, values in enumerate(groups)}
    keys = [tuple(_write_value(row, name) for name in names) for row in rows]
    settings = [
        {"values": list(values), "titles": describe_setting(members, metrics)}
        for values, members in groups.items()
    ]
    # most cases of a layer have the same quality
    qualities: dict[str, int] = {}
    cases = [
        _list_case(row, places[row["layer"]], numbers[key], metrics, qualities)
        for row, key in zip(rows, keys, strict=True)
    ]
    return {
        "fields": [
            {
                "key": name,
                "label": _LABELS.get(name, name),
                "values": list(dict.fromkeys(values[index] for values in groups)),
            }
            for index, name in enumerate(names)
        ],
        "metrics": [
            {
                "key": name,
                "label": METRICS[name].axis,
                "best": METRICS[name].best,
                "how": f"{METRICS[name].heading_of_tradeoff}. {METRICS[name].how_to_read}",
            }
            for name in metrics
        ],
        "layers": layers,
        "settings": settings,
        "cases": cases,
        "qualities": [json.loads(text) for text in qualities],
        "start": {
            "setting": numbers[keys[_find_start(joined)]],
            "metric": _choose_metric(rows, metrics),
        },
        "leftOut": left_out,
    }


def _join_metrics(measured: pd.DataFrame, quality: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Join every metric that has a value, with its interval and whether nothing is better and cheaper."""
    joined, metrics = measured.reset_index(drop=True), []
    for metric in METRICS:
        low_high = name_interval(metric)
        kept = measured.drop(columns=[name for name in low_high if name in measured])
        if metric not in kept and metric not in quality:
            continue
        found = join_tradeoff(kept, metric, quality_table=quality)
        if len(found) != len(joined) or not found[metric].notna().any():
            continue
        metrics.append(metric)
        new = found[[metric, *(name for name in low_high if name in found)]].assign(
            **{f"_frontier_{metric}": found["on_frontier"]}
        )
        joined = pd.concat([joined.drop(columns=[name for name in new if name in joined]), new], axis="columns")
    return joined, metrics


def _list_settings(frame: pd.DataFrame) -> list[str]:
    rest = [name for name in SETTING_FIELDS if name not in {*_FIRST, "in_channels", "out_channels"}]
    return [*_FIRST, *(name for name in rest if len(frame[name].unique()) > 1)]


def _write_value(row: _Row, name: str) -> str:
    if name == "size":
        return f"{row['height']}×{row['width']}"
    if name == "channels":
        return f"{row['in_channels']} → {row['out_channels']}"
    return str(row[name])


def _list_layers(rows: Sequence[_Row]) -> list[dict[str, Any]]:
    upsamplers = {row["layer"]: row["upsampler"] for row in rows}
    ordered = sorted(upsamplers, key=lambda layer: (rank_upsampler(upsamplers[layer]), layer))
    return [{"name": layer, "kind": name_kind(upsamplers[layer])} for layer in ordered]


def name_kind(upsampler: str) -> str:
    """Sort an upsampler into the kinds that a chart tells apart by shape.

    Parameters
    ----------
    upsampler : str
        Name in the registry.

    Returns
    -------
    str
        ``own``, ``today``, ``fast`` or ``other``.
    """
    if upsampler not in READING_ORDER:
        return "own"
    return "today" if upsampler == "transposed" else "fast" if upsampler in FAST_UPSAMPLERS else "other"


def _find_start(joined: pd.DataFrame) -> int:
    """Find a case in the setting of the report's first sentence, by its place."""
    kept = joined.reset_index(drop=True)
    for field, value in resolve_setting(joined, {}).fields.items():
        kept = kept[kept[field] == value]
    height, width = choose_size(kept)
    return int(kept.index[(kept["height"] == height) & (kept["width"] == width)][0])


def _choose_metric(rows: Sequence[_Row], metrics: Sequence[str]) -> str | None:
    """Choose the metric to begin with: after training, where enough layers were trained."""
    favourites = [metric for metric in _FAVOURITES if metric in metrics]
    enough = min(_FEWEST_TRAINED, len({row["layer"] for row in rows}))
    for metric in favourites:
        if len({row["layer"] for row in rows if not _is_missing(row[metric])}) >= enough:
            return metric
    return next(iter([*favourites, *metrics]), None)


def _list_case(
    row: _Row, layer: int, setting: int, metrics: Sequence[str], qualities: dict[str, int]
) -> dict[str, Any]:
    quality = json.dumps(make_strict([_read_metric(row, metric) for metric in metrics]))
    return {
        "id": row["case_id"],
        "layer": layer,
        "setting": setting,
        "latency": _read(row, "latency_s", "latency_ci_low_s", "latency_ci_high_s", format_seconds),
        "ratio": _read(row, "ratio", "ratio_low", "ratio_high", lambda value: f"{value:.3g} times"),
        "memory": _read(row, "peak_memory_bytes", None, None, format_bytes),
        "noisy": bool(row["noisy"]),
        "quality": qualities.setdefault(quality, len(qualities)),
        "frontier": [index for index, metric in enumerate(metrics) if row[f"_frontier_{metric}"]],
    }


def _read_metric(row: _Row, metric: str) -> list[Any] | None:
    low, high = name_interval(metric)
    if METRICS[metric].is_checkerboard:
        # below 0 there is no checkerboard either
        row = {
            **row,
            **{name: max(row[name], 0.0) for name in (metric, low, high) if not _is_missing(row.get(name))},
        }
    found = _read(row, metric, low, high, lambda value: format_metric(value, metric))
    if found and is_zero(found[0], metric):
        found[0] = 0.0
    return found


def _read(row: _Row, name: str, low: str | None, high: str | None, write: Any) -> list[Any] | None:
    value: Any = row.get(name)
    if _is_missing(value):
        return None
    known: list[Any] = [None if end is None else row.get(end) for end in (low, high)]
    ends = [None if _is_missing(end) else float(end) for end in known]
    text = write(value)
    if None not in ends and ends[0] != ends[1]:
        text += f" (95 %: {write(ends[0])} to {write(ends[1])})"
    return [float(value), *ends, text]


def _is_missing(value: Any) -> bool:
    return bool(pd.isna(value))


def describe_setting(rows: Sequence[_Row], metrics: Sequence[str]) -> dict[str, Any]:
    """Say what each chart of a setting finds, in one sentence with its numbers.

    Parameters
    ----------
    rows : sequence of mapping
        Of one setting at one size, at least one, with ``_frontier_<metric>`` for each metric.
    metrics : sequence of str
        Known in it.

    Returns
    -------
    dict
        ``latency``, ``memory``, and a mapping by metric each of ``tradeoff`` and ``artifact``.
    """
    ordered = sorted(rows, key=lambda row: row["latency_s"])
    return {
        "latency": _describe_latency(ordered),
        "memory": _describe_memory(ordered),
        "tradeoff": {metric: _describe_tradeoff(ordered, metric) for metric in metrics},
        "artifact": {metric: _describe_artifact(ordered, metric) for metric in metrics},
    }


def _describe_latency(ordered: Sequence[_Row]) -> str:
    first, last = ordered[0], ordered[-1]
    if len(ordered) < 2:
        return f"{_shorten(first)} takes {format_seconds(first['latency_s'])}"
    return (
        f"{_shorten(last)} takes {last['latency_s'] / first['latency_s']:.3g} times as long as {_shorten(first)}:"
        f" {format_seconds(last['latency_s'])} against {format_seconds(first['latency_s'])}"
    )


def _shorten(row: _Row) -> str:
    return tidy_line(str(row["layer"]), _LONGEST_NAME)


def _keep_known(rows: Sequence[_Row], column: str) -> list[_Row]:
    return [row for row in rows if not _is_missing(row.get(column))]


def _describe_memory(rows: Sequence[_Row]) -> str:
    known = sorted(_keep_known(rows, _MEMORY), key=lambda row: row[_MEMORY])
    if not known:
        return ""
    first, last = ((format_bytes(row[_MEMORY]), _shorten(row)) for row in (known[0], known[-1]))
    if len(known) < 2:
        return f"Peak memory of a step: {first[0]} ({first[1]})"
    return f"Peak memory of a step goes from {first[0]} ({first[1]}) to {last[0]} ({last[1]})"


def _write_metric(row: _Row, metric: str) -> str:
    declared = METRICS[metric]
    value = max(row[metric], 0.0) if declared.is_checkerboard else row[metric]
    unit = "" if declared.unit == "ratio" else f" {declared.unit.removeprefix('8-bit ')}"
    return f"{format_metric(value, metric)}{unit}"


def _describe_tradeoff(ordered: Sequence[_Row], metric: str) -> str:
    title = METRICS[metric].title
    known = _keep_known(ordered, metric)
    frontier = [row for row in known if row[f"_frontier_{metric}"]]
    if not frontier:
        return f"No layer of this setting has a {title}"
    names = [
        f"{_shorten(row)} ({format_seconds(row['latency_s'])}, {_write_metric(row, metric)})"
        for row in (frontier[0], frontier[-1])
    ]
    if len(known) == 1:
        return f"{names[0]} is the only layer here with a {title}"
    if len(frontier) == 1:
        return f"{names[0]} is not beaten by any of {len(known)} layers in latency and {title}"
    return (
        f"{len(frontier)} of {len(known)} layers are not beaten in both latency and {title}, from the fastest,"
        f" {names[0]}, to the best, {names[1]}"
    )


def _describe_artifact(rows: Sequence[_Row], metric: str) -> str:
    declared = METRICS[metric]
    sign = 1 if declared.best == "low" else -1
    known = sorted(_keep_known(rows, metric), key=lambda row: sign * row[metric])
    if not known:
        return ""
    first, last = known[0], known[-1]
    best = f"{_shorten(first)} has a {declared.title} of {_write_metric(first, metric)}"
    if len(known) < 2:
        return best
    can_be_zero = declared.best == "low" and declared.unit != "dB"
    free = sum(row[metric] <= declared.zero_below for row in known) if can_be_zero else 0
    start = f"{free} of {len(known)} layers have no {declared.title}" if free else best
    return start if free == len(known) else f"{start}; {_shorten(last)} has {_write_metric(last, metric)}"
