"""What the charts of a page draw: every timed case with its setting, cost, quality and place, as plain data.

Which case is dominated, how a number is written and what a chart finds are decided here; the script only picks,
places and shows. The titles are computed for every setting and metric from the same frames.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from deconvbench.analysis.selection import SETTING_FIELDS, add_layer_columns, choose_size, select_measured
from deconvbench.analysis.settings import resolve_setting
from deconvbench.analysis.tradeoff import join_tradeoff
from deconvbench.errors import DeconvbenchError
from deconvbench.records.layers import FAST_UPSAMPLERS, READING_ORDER, rank_upsampler
from deconvbench.records.metrics import METRICS, format_metric, is_zero
from deconvbench.records.schema import name_interval
from deconvbench.units import format_bytes, format_seconds

# more than that are in the files only, and a browser draws no more at a time anyway
MOST_CASES = 20_000
# what a reader switches by, in this order; the rest of a setting is offered where it differs
_FIRST = ("device", "size", "channels", "step", "dtype")
_LABELS = {"scale_factor": "scale", "memory_format": "memory format"}
# the metrics to begin with, the most telling first
_FAVOURITES = ("trained_checkerboard_levels", "phase_ripple", "checkerboard")
_FEWEST_TRAINED = 3
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
        (a value for each field, and titles), ``cases``, and with which setting and metric to ``start``. A number
        is a list of value, low, high and text. None where no case was timed.
    """
    try:
        measured = select_measured(summary, "latency_s")
    except DeconvbenchError:
        return None
    left_out = max(len(measured) - MOST_CASES, 0)
    joined, metrics = _join_metrics(measured.head(MOST_CASES), quality)
    joined = add_layer_columns(joined)
    names = _list_settings(joined)
    joined = joined.assign(
        **{f"_{name}": [_write_value(row, name) for row in joined.to_dict("records")] for name in names}
    )
    columns = [f"_{name}" for name in names]
    number = joined.groupby(columns, sort=False, dropna=False).ngroup()
    layers = _list_layers(joined)
    rows = joined.to_dict("records")
    places = {layer["name"]: index for index, layer in enumerate(layers)}
    start = _find_start(joined, number)
    settings = []
    for index in range(int(number.max()) + 1):
        frame = joined[number == index]
        first = frame.iloc[0]
        settings.append(
            {"values": [first[column] for column in columns], "titles": describe_setting(frame, metrics)}
        )
    return {
        "fields": [
            {"key": name, "label": _LABELS.get(name, name), "values": list(dict.fromkeys(joined[f"_{name}"]))}
            for name in names
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
        "cases": [
            _list_case(row, places[row["layer"]], int(setting), metrics)
            for row, setting in zip(rows, number, strict=True)
        ],
        "start": {"setting": start, "metric": _choose_metric(joined, metrics)},
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


def _list_layers(joined: pd.DataFrame) -> list[dict[str, Any]]:
    layers = joined.drop_duplicates("layer")
    rows = sorted(layers.to_dict("records"), key=lambda row: (rank_upsampler(row["upsampler"]), row["layer"]))
    return [{"name": row["layer"], "kind": name_kind(row["upsampler"])} for row in rows]


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


def _find_start(joined: pd.DataFrame, number: "pd.Series[int]") -> int:
    """Find the setting of the report's first sentence."""
    setting = resolve_setting(joined, {})
    kept = joined
    for field, value in setting.fields.items():
        kept = kept[kept[field] == value]
    height, width = choose_size(kept)
    return int(number[kept.index[(kept["height"] == height) & (kept["width"] == width)][0]])


def _choose_metric(joined: pd.DataFrame, metrics: Sequence[str]) -> str | None:
    """Choose the metric to begin with: after training, where enough layers were trained."""
    for metric in _FAVOURITES:
        known = joined.loc[joined[metric].notna(), "layer"].nunique() if metric in metrics else 0
        if known >= _FEWEST_TRAINED:
            return metric
    return next(iter(metrics), None)


def _list_case(row: _Row, layer: int, setting: int, metrics: Sequence[str]) -> dict[str, Any]:
    ratio = _read(row, "ratio", "ratio_low", "ratio_high", lambda value: f"{value:.3g} times")
    case = {
        "id": row["case_id"],
        "layer": layer,
        "setting": setting,
        "latency": _read(row, "latency_s", "latency_ci_low_s", "latency_ci_high_s", format_seconds),
        "ratio": ratio,
        "memory": _read(row, "peak_memory_bytes", None, None, format_bytes),
        "noisy": bool(row["noisy"]),
        "quality": [_read_metric(row, metric) for metric in metrics],
        "frontier": [index for index, metric in enumerate(metrics) if row[f"_frontier_{metric}"]],
    }
    if ratio and row.get("baseline_id") == row["case_id"]:
        case["isBaseline"] = True
    return case


def _read_metric(row: _Row, metric: str) -> list[Any] | None:
    low, high = name_interval(metric)
    if METRICS[metric].is_checkerboard:
        # below 0 there is no checkerboard either
        row = {**row, **{name: max(row[name], 0.0) for name in (metric, low, high) if not pd.isna(row.get(name))}}
    found = _read(row, metric, low, high, lambda value: format_metric(value, metric))
    if found and is_zero(found[0], metric):
        found[0] = 0.0
    return found


def _read(row: _Row, name: str, low: str | None, high: str | None, write: Any) -> list[Any] | None:
    value = row.get(name)
    if value is None or pd.isna(value):
        return None
    ends = [
        None if end is None or row.get(end) is None or pd.isna(row[end]) else float(row[end])
        for end in (low, high)
    ]
    text = write(value)
    if None not in ends and ends[0] != ends[1]:
        text += f" (95 %: {write(ends[0])} to {write(ends[1])})"
    return [float(value), *ends, text]


def describe_setting(frame: pd.DataFrame, metrics: Sequence[str]) -> dict[str, Any]:
    """Say what each chart of a setting finds, in one sentence with its numbers.

    Parameters
    ----------
    frame : DataFrame
        The rows of one setting at one size, with ``_frontier_<metric>`` for each metric.
    metrics : sequence of str
        Known in it.

    Returns
    -------
    dict
        ``latency``, ``memory``, and a mapping by metric each of ``tradeoff`` and ``artifact``.
    """
    return {
        "latency": _describe_latency(frame),
        "memory": _describe_ends(frame, "peak_memory_bytes", "Peak memory of a step goes", format_bytes),
        "tradeoff": {metric: _describe_tradeoff(frame, metric) for metric in metrics},
        "artifact": {metric: _describe_artifact(frame, metric) for metric in metrics},
    }


def _describe_latency(frame: pd.DataFrame) -> str:
    ordered = frame.sort_values("latency_s", kind="stable")
    first, last = ordered.iloc[0], ordered.iloc[-1]
    if len(ordered) < 2:
        return f"{first['layer']} takes {format_seconds(first['latency_s'])}"
    times = last["latency_s"] / first["latency_s"]
    return (
        f"{last['layer']} takes {times:.3g} times as long as {first['layer']}:"
        f" {format_seconds(last['latency_s'])} against {format_seconds(first['latency_s'])}"
    )


def _describe_ends(frame: pd.DataFrame, column: str, start: str, write: Any) -> str:
    known = frame[frame[column].notna()].sort_values(column, kind="stable")
    if known.empty:
        return ""
    first, last = known.iloc[0], known.iloc[-1]
    if len(known) < 2:
        return f"{start} to {write(first[column])} ({first['layer']})"
    return f"{start} from {write(first[column])} ({first['layer']}) to {write(last[column])} ({last['layer']})"


def _describe_tradeoff(frame: pd.DataFrame, metric: str) -> str:
    known = frame[frame[metric].notna()]
    if known.empty:
        return f"No layer of this setting has a {METRICS[metric].title}"
    frontier = known[known[f"_frontier_{metric}"]].sort_values("latency_s", kind="stable")
    if frontier.empty:
        return f"{len(known)} layers by latency and {METRICS[metric].title}"
    first, last = frontier.iloc[0], frontier.iloc[-1]

    def name(row: "pd.Series[Any]") -> str:
        value = max(row[metric], 0.0) if METRICS[metric].is_checkerboard else row[metric]
        unit = "" if METRICS[metric].unit == "ratio" else f" {METRICS[metric].unit.removeprefix('8-bit ')}"
        return f"{row['layer']} ({format_seconds(row['latency_s'])}, {format_metric(value, metric)}{unit})"

    title = METRICS[metric].title
    if len(frontier) == 1:
        return f"{name(first)} is not beaten by any of {len(known)} layers in latency and {title}"
    return (
        f"{len(frontier)} of {len(known)} layers are not beaten in both latency and {title}, from the fastest,"
        f" {name(first)}, to the best, {name(last)}"
    )


def _describe_artifact(frame: pd.DataFrame, metric: str) -> str:
    declared = METRICS[metric]
    known = frame[frame[metric].notna()].sort_values(metric, kind="stable", ascending=declared.best == "low")
    if known.empty:
        return ""
    first, last = known.iloc[0], known.iloc[-1]
    unit = "" if declared.unit == "ratio" else f" {declared.unit}"
    if len(known) < 2:
        return f"{first['layer']} has a {declared.title} of {format_metric(first[metric], metric)}{unit}"
    free = int((known[metric] <= declared.zero_below).sum()) if declared.best == "low" and unit != " dB" else 0
    start = f"{free} of {len(known)} layers have no {declared.title}" if free else f"Best: {first['layer']} with"
    if not free:
        start += f" {declared.title} {format_metric(first[metric], metric)}{unit}"
    return f"{start}; {last['layer']} has {format_metric(last[metric], metric)}{unit}"
