"""Interleaved timings as a frame: how many times faster each layer is than the baseline.

A ratio is taken within each round, its median within each replicate; an interval is one over replicates, as for
latencies. What follows from the frame is computed in `deconvbench.analysis.speedups`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import pandas as pd

from deconvbench.records.case import CASE_FIELDS, Case
from deconvbench.records.record import AnyRecord, SpeedupRecord
from deconvbench.records.schema import SPEEDUP_DTYPES
from deconvbench.replicates import pool_cases
from deconvbench.tables.frames import make_frame
from deconvbench.units import to_float

# what differs between the shapes that a geometric mean is taken over
SHAPE_FIELDS = ("in_channels", "out_channels", "height", "width")

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
    latest = {record.key: _keep_whole_rounds(record) for record in records if isinstance(record, SpeedupRecord)}
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


def _keep_whole_rounds(record: SpeedupRecord) -> SpeedupRecord:
    """Leave out rounds in which a layer has no time, or one that is none: whatever program wrote them."""
    if record.status != "ok":
        return record
    layers = (record.case.case_id, *record.samples_s)
    rounds = zip(*(record.samples_s.get(case_id, ()) for case_id in layers), strict=False)
    whole = [number for number, times in enumerate(rounds) if all(0 < time < math.inf for time in times)]
    if not whole:
        return replace(record, status="error", message="no round has a time of each layer")
    ceilings = [record.ceiling_flops_per_s[number] for number in whole if number < len(record.ceiling_flops_per_s)]
    return replace(
        record,
        samples_s={name: tuple(times[number] for number in whole) for name, times in record.samples_s.items()},
        ceiling_flops_per_s=tuple(ceilings) if all(0 < ceiling < math.inf for ceiling in ceilings) else (),
    )


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
            row |= {"peak_memory_bytes": peak, "memory_ratio": to_float(peak) / to_float(plain) if plain else None}
    return row


def _find_share(case_id: str, good: Sequence[SpeedupRecord]) -> float | None:
    """Find the median share of the ceiling, each round's against the ceiling of that round."""
    shares = [
        to_float(2 * record.macs[case_id]) / sample / ceiling
        for record in good
        if case_id in record.macs
        for sample, ceiling in zip(record.samples_s[case_id], record.ceiling_flops_per_s, strict=False)
    ]
    return median(shares) if shares else None


def _pool_ratios(rows: Sequence[_Row], ratios: Sequence[Sequence[float]]) -> list[dict[str, float]]:
    """Pool the replicates of every row; the baseline's ratio to itself is 1 and has no variance."""
    told = [index for index, row in enumerate(rows) if row["case_id"] != row["baseline_id"] and ratios[index]]
    pooled: list[dict[str, float]] = [{} for _ in rows]
    for index, found in zip(told, pool_cases([ratios[index] for index in told]), strict=True):
        assert found is not None
        ends = {"speedup_ci_low": found.low, "speedup_ci_high": found.high}
        pooled[index] = {"speedup": found.value, **ends}
    for index, row in enumerate(rows):
        if row["case_id"] == row["baseline_id"] and ratios[index]:
            pooled[index] = {"speedup": 1.0, "speedup_ci_low": 1.0, "speedup_ci_high": 1.0}
    return pooled
