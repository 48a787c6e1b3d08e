"""Records as data frames: the table, the quality table and the summary of a run, and their files.

The table has one row per case and replicate and invents nothing: what was not measured is null. The summary pools
the replicates. Both follow from the journal alone, so an interrupted run has them too. What training found is
not part of a run: the caller hands it in where the quality table is to have it.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any, TypeGuard

import pandas as pd

from deconvbench.records.case import CASE_FIELDS, Case
from deconvbench.records.conditions import describe_conditions
from deconvbench.records.ratio import find_ratio
from deconvbench.records.record import (
    RECORD_FIELDS,
    AnyRecord,
    NumericsRecord,
    QualityRecord,
    Record,
)
from deconvbench.records.schema import (
    ARTIFACT_COLUMNS,
    BYTE_COLUMNS,
    QUALITY_DTYPES,
    QUALITY_SUMMARY_DTYPES,
    SUMMARY_DTYPES,
    TABLE_DTYPES,
)
from deconvbench.statistics import median_interval
from deconvbench.tables.frames import list_rows, make_frame
from deconvbench.tables.pooling import pool_rows, pool_seeds


def build_table(records: Iterable[AnyRecord]) -> pd.DataFrame:
    """Lay out what each case cost in each replicate, with the artifacts of its layer beside it.

    Parameters
    ----------
    records : iterable of record
        Of any kind, in any order; of two that measured the same, the later counts.

    Returns
    -------
    DataFrame
        Columns and dtypes of `TABLE_DTYPES`; ordered by the case's columns, then by replicate, whatever the
        order of measuring was.
    """
    latest = {record.key: record for record in records}.values()
    layers: dict[tuple[Any, ...], list[QualityRecord]] = {}
    errors: dict[tuple[Any, ...], float | None] = {}
    for record in latest:
        if isinstance(record, QualityRecord) and record.status == "ok":
            layers.setdefault((record.upsampler, record.kernel_size, record.scale_factor), []).append(record)
        elif isinstance(record, NumericsRecord) and record.status == "ok":
            errors[record.key[1:]] = record.numerical_error
    measured = sorted(
        (record for record in latest if isinstance(record, Record)),
        key=lambda record: (_order_case(record.case), record.replicate),
    )
    rows = []
    for record in measured:
        case = record.case
        layer = (case.upsampler, case.kernel_size, case.scale_factor)
        error = errors.get((*layer, case.in_channels, case.out_channels, case.dtype, case.device))
        rows.append({**_describe_record(record), **_average(layers.get(layer, [])), "numerical_error": error})
    return make_frame(rows, TABLE_DTYPES)


def build_quality(records: Iterable[AnyRecord]) -> pd.DataFrame:
    """Lay out the artifact metrics of each layer with each seed.

    Parameters
    ----------
    records : iterable of record
        Of any kind, in any order.

    Returns
    -------
    DataFrame
        Columns and dtypes of `QUALITY_DTYPES`, ordered by layer and seed; what training would tell is null, until
        `deconvbench.tables.trained.fill_qualities`.
    """
    found = {record.key: record for record in records if isinstance(record, QualityRecord)}
    rows = [
        {name: getattr(record, name, None) for name in QUALITY_DTYPES}
        | {name: record.metrics.get(name) for name in ARTIFACT_COLUMNS}
        for record in found.values()
    ]
    rows.sort(key=lambda row: (row["upsampler"], row["kernel_size"] or 0, row["scale_factor"], row["seed"]))
    return make_frame(rows, QUALITY_DTYPES)


def _order_case(case: Case) -> tuple[Any, ...]:
    # a missing kernel sorts before any
    return tuple(
        getattr(case, name) or 0 if name == "kernel_size" else getattr(case, name) for name in CASE_FIELDS
    )


def _describe_record(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(record.case, name) for name in ("case_id", *CASE_FIELDS)}
    row |= {name: getattr(record, name) for name in RECORD_FIELDS if name in TABLE_DTYPES}
    row["conditions"] = describe_conditions(record.conditions) or None
    row["kernel"] = record.kernel or None
    latency, memory = record.latency, record.memory
    # what is not a time was not measured, whatever program wrote it
    samples_s = [] if latency is None else [sample for sample in latency.samples_s if 0 < sample < math.inf]
    if latency is not None and samples_s:
        middle, low, high = median_interval(samples_s)
        row |= {"latency_s": middle, "latency_ci_low_s": low, "latency_ci_high_s": high}
        row["latency_floor_s"] = min(samples_s)
        row |= {"samples": len(samples_s), "stop_reason": latency.stop_reason}
        row |= {"host_latency_s": latency.host_latency_s, "launch_bound": latency.launch_bound}
    row |= {"baseline_id": record.baseline_id or None, "ratio": find_ratio(record)}
    if memory is not None:
        row |= {name: getattr(memory, name) for name in BYTE_COLUMNS}
        if memory.peak_memory_bytes is not None:
            row["workspace_bytes"] = memory.peak_memory_bytes - memory.output_bytes - memory.gradient_bytes
    return row


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _average(seeds: Sequence[QualityRecord]) -> dict[str, float | None]:
    """Average the metrics of one layer over its seeds, each over those that have it."""
    known = {n: [v for s in seeds if _is_number(v := s.metrics.get(n))] for n in ARTIFACT_COLUMNS}
    return {name: fmean(values) if values else None for name, values in known.items()}


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Pool the replicates of each case.

    Latency is the median over the replicates that are `ok`, with an interval over them (`pool_replicates`), whose
    variance is drawn towards that of the other cases on the same device (`shrink_variances`). So is the ratio to
    the baseline, of the replicates that were timed with it. A case with a single replicate has no interval. Other
    numbers are medians, whole ones rounded; `samples` is a sum.

    Parameters
    ----------
    table : DataFrame
        From `build_table` or `load`; with a column `run`, each run is pooled by itself.

    Returns
    -------
    DataFrame
        Columns and dtypes of `SUMMARY_DTYPES` (and `run`), one row per case in the table's order. `status` is
        `ok` if any replicate is; otherwise the most telling failure. `message` keeps what every failed replicate
        said, `noise_reason` what disturbed each. `replicates` counts those whose latency was pooled.

    Raises
    ------
    UsageError
        If `table` lacks a column.
    """
    rows = pool_rows(list_rows(table, "table", TABLE_DTYPES))
    return make_frame(rows, {"run": "str", **SUMMARY_DTYPES} if "run" in table else SUMMARY_DTYPES)


def summarise_quality(quality: pd.DataFrame) -> pd.DataFrame:
    """Pool the seeds of each layer: how clean it is, and how much of that is the luck of its weights.

    Parameters
    ----------
    quality : DataFrame
        From `build_quality`: one row per layer and seed.

    Returns
    -------
    DataFrame
        Columns and dtypes of `QUALITY_SUMMARY_DTYPES`, one row per upsampler, kernel and scale in the order given.
        For each metric its mean over the seeds that are `ok` and have it, as in the table, and Student's 95 %
        interval of that mean in ``<metric>_ci_low`` and ``<metric>_ci_high``: null for a single seed, of no width
        where the seeds agree, cut at 0 for what cannot be negative. `seeds` counts those that are `ok`; `status`
        and `message` as in `summarise`. What training found counts whether or not the artifacts of that seed
        could be measured.

    Raises
    ------
    UsageError
        If `quality` lacks a column.
    """
    return make_frame(pool_seeds(list_rows(quality, "quality", QUALITY_DTYPES)), QUALITY_SUMMARY_DTYPES)
