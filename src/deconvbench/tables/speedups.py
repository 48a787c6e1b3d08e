"""Interleaved timings as a frame: how many times faster each is than the baseline, and what follows from it.

A ratio is taken within each round, its median within each replicate; an interval is one over replicates, as for
latencies. What is said of many shapes together is a geometric mean. Works on records and rows; draws nothing. No
torch.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from deconvbench.records.case import CASE_FIELDS, Case, format_layer
from deconvbench.records.record import AnyRecord, SpeedupRecord
from deconvbench.records.schema import LAYER_COLUMNS, SPEEDUP_DTYPES
from deconvbench.statistics import pool_replicates, shrink_variances
from deconvbench.tables.frames import list_rows, make_frame

# what differs between the shapes that a geometric mean is taken over
SHAPE_FIELDS = ("in_channels", "out_channels", "height", "width")
# what must be equal for speed-ups to be of one kind
SETTING_FIELDS = (
    *(name for name in CASE_FIELDS if name not in {*LAYER_COLUMNS, *SHAPE_FIELDS}),
    "scale_factor",
    "is_frozen",
)
# a layer may take this many times the memory of the baseline
MEMORY_LIMIT = 1.1
# a choice this near to the best is as good as any: less than what two runs differ by
CHOICE_MARGIN = 0.02
MEAN_DTYPES: Mapping[str, str] = {
    **{name: SPEEDUP_DTYPES[name] for name in ("upsampler", "kernel_size", *SETTING_FIELDS, "is_twin")},
    "layer": "str",
    "shapes": "int64",
    "speedup": "float64",
    "speedup_ci_low": "float64",
    "speedup_ci_high": "float64",
    "least_speedup": "float64",
    "ceiling_share": "float64",
    "most_memory_ratio": "float64",
}
CHOICE_DTYPES: Mapping[str, str] = {
    **{name: SPEEDUP_DTYPES[name] for name in (*SHAPE_FIELDS, *SETTING_FIELDS)},
    "layer": "str",
    "implementation": "str",
    "speedup": "float64",
    "best_layer": "str",
    "best_speedup": "float64",
    "share_of_best": "float64",
    "is_within_noise": "bool",
    "memory_ratio": "float64",
    "takes_too_much_memory": "bool",
}

_Row = Mapping[str, Any]


def build_speedups(records: Iterable[AnyRecord]) -> pd.DataFrame:
    """Lay out how much faster each layer is than the baseline of its setting.

    Parameters
    ----------
    records : iterable of record
        Of any kind, in any order; of two that measured the same, the later counts.

    Returns
    -------
    DataFrame
        Columns and dtypes of `SPEEDUP_DTYPES`: one row per setting, layer and whether it was frozen, in order of
        the baseline's case, then as the grid lists the layers. `speedup` is the median over the replicates that
        are `ok`, with an interval over them whose variance is drawn towards that of all others
        (`shrink_variances`); a single replicate has none. `ceiling_share` is the share of the rate of a large
        matrix product that was measured beside it. Where no replicate is `ok`, `status` and `message` say what
        happened.
    """
    latest = {record.key: record for record in records if isinstance(record, SpeedupRecord)}
    groups: dict[tuple[Any, ...], list[SpeedupRecord]] = {}
    for record in sorted(latest.values(), key=_order_record):
        groups.setdefault((record.case.case_id, record.is_frozen), []).append(record)
    rows, ratios = [], []
    for group in groups.values():
        first = group[0]
        for case_id in (first.case.case_id, *first.twins, *first.rivals):
            good = [record for record in group if record.status == "ok" and case_id in record.samples_s]
            rows.append(_describe_layer(case_id, group, good))
            ratios.append([_median_ratio(record, case_id) for record in good])
    pooled = _pool_ratios(rows, ratios)
    return make_frame([row | ratio for row, ratio in zip(rows, pooled, strict=True)], SPEEDUP_DTYPES)


def _order_record(record: SpeedupRecord) -> tuple[Any, ...]:
    fields = tuple(
        getattr(record.case, name) or 0 for name in CASE_FIELDS if name in {*SHAPE_FIELDS, "scale_factor"}
    )
    return (*fields, record.case.case_id, record.is_frozen, record.replicate)


def _median_ratio(record: SpeedupRecord, case_id: str) -> float:
    pairs = zip(record.samples_s[record.case.case_id], record.samples_s[case_id], strict=True)
    return median(ours / theirs for ours, theirs in pairs)


def _describe_layer(case_id: str, group: Sequence[SpeedupRecord], good: Sequence[SpeedupRecord]) -> dict[str, Any]:
    first, case = group[0], Case.from_id(case_id)
    row: dict[str, Any] = {name: getattr(case, name) for name in ("case_id", *CASE_FIELDS)}
    row |= {"baseline_id": first.case.case_id, "is_twin": case_id in first.twins, "is_frozen": first.is_frozen}
    told = good[0] if good else group[0]
    row |= {"status": told.status, "message": told.message, "implementation": told.implementations.get(case_id)}
    row |= {"replicates": len(good), "rounds": sum(len(record.samples_s[case_id]) for record in good)}
    row["macs"] = told.macs.get(case_id)
    if good:
        row["latency_s"] = median(median(record.samples_s[case_id]) for record in good)
        row["ceiling_share"] = _find_share(case_id, good)
    # one replicate measures the memory
    peaks = [(r.peak_memory_bytes.get(case_id), r.peak_memory_bytes.get(first.case.case_id)) for r in good]
    for peak, plain in peaks:
        if peak is not None:
            row |= {"peak_memory_bytes": peak, "memory_ratio": peak / plain if plain else None}
    return row


def _find_share(case_id: str, good: Sequence[SpeedupRecord]) -> float | None:
    """Find the median share of the ceiling, each round's against the ceiling of that round."""
    shares = [
        2 * record.macs[case_id] / sample / ceiling
        for record in good
        if case_id in record.macs
        for sample, ceiling in zip(record.samples_s[case_id], record.ceiling_flops_per_s, strict=True)
    ]
    return median(shares) if shares else None


def _pool_ratios(rows: Sequence[_Row], ratios: Sequence[Sequence[float]]) -> list[dict[str, float]]:
    """Pool the replicates of every row; the baseline's ratio to itself is 1 and has no variance."""
    told = [index for index, row in enumerate(rows) if row["case_id"] != row["baseline_id"] and ratios[index]]
    several = [np.log(ratios[index]) for index in told]
    variances = [float(np.var(logs, ddof=1)) if len(logs) > 1 else math.nan for logs in several]
    shrunk = shrink_variances(variances, [len(logs) - 1 for logs in several])
    pooled: list[dict[str, float]] = [{} for _ in rows]
    for index, variance, dof in zip(told, shrunk.variances, shrunk.dof, strict=True):
        found = pool_replicates(ratios[index], variance=float(variance), dof=float(dof))
        ends = {"speedup_ci_low": found.low, "speedup_ci_high": found.high}
        pooled[index] = {"speedup": found.value, **ends}
    for index, row in enumerate(rows):
        if row["case_id"] == row["baseline_id"] and ratios[index]:
            pooled[index] = {"speedup": 1.0, "speedup_ci_low": 1.0, "speedup_ci_high": 1.0}
    return pooled


def average_speedups(speedups: pd.DataFrame) -> pd.DataFrame:
    """Take geometric means over the shapes of each setting.

    Parameters
    ----------
    speedups : DataFrame
        From `build_speedups`.

    Returns
    -------
    DataFrame
        Columns and dtypes of `MEAN_DTYPES`: one row per setting and layer, the baseline left out. Only shapes at
        which every layer of the setting that was measured anywhere was measured count. The interval adds those of
        the shapes as independent ones.
    """
    rows = []
    for members in _group(_list_measured(speedups), lambda row: tuple(row[name] for name in SETTING_FIELDS)):
        by_shape = _group(members, _name_shape)
        layers = {(row["upsampler"], row["kernel_size"]) for row in members}
        whole = [
            shape for shape in by_shape if {(row["upsampler"], row["kernel_size"]) for row in shape} == layers
        ]
        alike = _group([row for shape in whole for row in shape], lambda r: (r["upsampler"], r["kernel_size"]))
        rows += [_average_layer(shapes) for shapes in alike if shapes[0]["case_id"] != shapes[0]["baseline_id"]]
    return make_frame(rows, MEAN_DTYPES)


def _average_layer(shapes: Sequence[_Row]) -> dict[str, Any]:
    logs = [math.log(row["speedup"]) for row in shapes]
    halves = [_find_half_width(row) for row in shapes]
    mean, half = sum(logs) / len(logs), math.hypot(*halves) / len(halves)
    shares = [row["ceiling_share"] for row in shapes if row["ceiling_share"] is not None]
    memory = [row["memory_ratio"] for row in shapes if row["memory_ratio"] is not None]
    return {
        **{name: shapes[0][name] for name in MEAN_DTYPES if name in SPEEDUP_DTYPES},
        "layer": _name_layer(shapes[0]),
        "shapes": len(shapes),
        "speedup": math.exp(mean),
        "speedup_ci_low": math.exp(mean - half),
        "speedup_ci_high": math.exp(mean + half),
        "least_speedup": min(row["speedup"] for row in shapes),
        "ceiling_share": math.exp(sum(map(math.log, shares)) / len(shares)) if shares else None,
        "most_memory_ratio": max(memory, default=None),
    }


def compare_choices(speedups: pd.DataFrame) -> pd.DataFrame:
    """Compare each layer that chooses its implementation with the best fixed one, shape by shape.

    Parameters
    ----------
    speedups : DataFrame
        From `build_speedups`.

    Returns
    -------
    DataFrame
        Columns and dtypes of `CHOICE_DTYPES`: one row per setting and shape. The baseline is one of the fixed
        forms. A choice is within noise of the best if it is at most 2 % slower, or if the intervals allow that the
        two are equal.
    """
    rows = []
    for members in _group(
        _list_measured(speedups), lambda row: (*_name_shape(row), *(row[name] for name in SETTING_FIELDS))
    ):
        fixed = [
            row
            for row in members
            if row["implementation"] is None and (row["is_twin"] or row["case_id"] == row["baseline_id"])
        ]
        rows += [_compare_choice(row, fixed) for row in members if row["implementation"] is not None and fixed]
    return make_frame(rows, CHOICE_DTYPES)


def _compare_choice(row: _Row, fixed: Sequence[_Row]) -> dict[str, Any]:
    best = max(fixed, key=lambda other: other["speedup"])
    share = row["speedup"] / best["speedup"]
    reach = math.hypot(_find_half_width(row), _find_half_width(best))
    memory = row["memory_ratio"]
    return {
        **{name: row[name] for name in CHOICE_DTYPES if name in row},
        "layer": _name_layer(row),
        "best_layer": _name_layer(best),
        "best_speedup": best["speedup"],
        "share_of_best": share,
        "is_within_noise": share >= 1 - CHOICE_MARGIN or (not math.isnan(reach) and -math.log(share) <= reach),
        "takes_too_much_memory": memory is not None and memory > MEMORY_LIMIT,
    }


def _list_measured(speedups: pd.DataFrame) -> list[dict[str, Any]]:
    return [row for row in list_rows(speedups, "speedups", SPEEDUP_DTYPES) if row["speedup"] is not None]


def _group(rows: Iterable[_Row], key: Callable[[_Row], Any]) -> list[list[_Row]]:
    groups: dict[Any, list[_Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def _name_shape(row: _Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in SHAPE_FIELDS)


def _name_layer(row: _Row) -> str:
    return format_layer(row["upsampler"], row["kernel_size"], row["scale_factor"])


def _find_half_width(row: _Row) -> float:
    """Find half the width of an interval of logarithms; NaN where there is none."""
    low, high = row["speedup_ci_low"], row["speedup_ci_high"]
    return math.nan if low is None or high is None else math.log(high / low) / 2
