"""Records as data frames: the table, the quality table and the summary of a run, and their files.

The table has one row per case and replicate and invents nothing: what was not measured is null. The summary pools
the replicates. Both follow from the journal alone, so an interrupted run has them too. What training found is
not part of a run: the caller hands it in where the quality table is to have it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, TypeGuard

import numpy as np
import pandas as pd

from deconvbench.records.case import CASE_FIELDS, Case
from deconvbench.records.record import AnyRecord, NumericsRecord, QualityRecord
from deconvbench.records.schema import (
    ARTIFACT_COLUMNS,
    NUMERICAL_COLUMNS,
    QUALITY_DTYPES,
    QUALITY_SUMMARY_DTYPES,
    SUMMARY_DTYPES,
    TABLE_DTYPES,
)
from deconvbench.statistics import median_intervals
from deconvbench.tables.bulk import sort_records
from deconvbench.tables.frames import list_columns, list_rows, make_columns, make_frame
from deconvbench.tables.measured import LATENCY_FIELDS, Measured
from deconvbench.tables.pooling import pool_columns, pool_seeds
from deconvbench.tables.ragged import Ragged, are_times

# what does not differ between the replicates of a case
_CASE_COLUMNS = ("case_id", *CASE_FIELDS, *ARTIFACT_COLUMNS, *NUMERICAL_COLUMNS)
_NO_ARTIFACTS: Mapping[str, float | None] = dict.fromkeys(ARTIFACT_COLUMNS)
_WORKSPACE_FIELDS = ("peak_memory_bytes", "output_bytes", "gradient_bytes")


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
    journal = sort_records(records)
    return lay_out_table(journal.measured, journal.others)


def lay_out_table(measured: Measured, others: Iterable[AnyRecord]) -> pd.DataFrame:
    """Lay out the table of a journal that was taken apart (`deconvbench.tables.bulk`).

    Parameters
    ----------
    measured : Measured
        Its records of cases; of two of the same case and replicate, the later counts.
    others : iterable of record
        Those of other kinds.

    Returns
    -------
    DataFrame
        As `build_table`.
    """
    layers: dict[tuple[Any, ...], list[QualityRecord]] = {}
    errors: dict[tuple[Any, ...], float | None] = {}
    for record in {record.key: record for record in others}.values():
        if isinstance(record, QualityRecord) and record.status == "ok":
            layers.setdefault((record.upsampler, record.kernel_size, record.scale_factor), []).append(record)
        elif isinstance(record, NumericsRecord) and record.status == "ok":
            errors[record.key[1:]] = record.numerical_error
    averages = {layer: _average(seeds) for layer, seeds in layers.items()}
    # what belongs to the case is laid out once for each, not once for each record
    used = sorted({*measured.case}, key=lambda place: _order_case(measured.cases[place]))
    rows = [_describe_case(measured.cases[place], averages, errors) for place in used]
    ranks = {place: rank for rank, place in enumerate(used)}
    keys = zip((ranks[place] for place in measured.case), measured.columns["replicate"], strict=True)
    latest = {key: place for place, key in enumerate(keys)}
    order = sorted(latest)
    of_cases = make_frame(rows, {name: TABLE_DTYPES[name] for name in _CASE_COLUMNS})
    of_cases = of_cases.take(np.array([rank for rank, _ in order], dtype=np.int64)).reset_index(drop=True)
    of_records = make_columns(
        _describe_measured(measured.take([latest[key] for key in order])),
        {name: dtype for name, dtype in TABLE_DTYPES.items() if name not in _CASE_COLUMNS},
    )
    return pd.concat([of_cases, of_records], axis="columns")[[*TABLE_DTYPES]]


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


def _describe_case(
    case: Case,
    averages: Mapping[tuple[Any, ...], Mapping[str, float | None]],
    errors: Mapping[tuple[Any, ...], float | None],
) -> dict[str, Any]:
    """Say of a case what does not differ between its replicates."""
    layer = (case.upsampler, case.kernel_size, case.scale_factor)
    row: dict[str, Any] = {name: getattr(case, name) for name in ("case_id", *CASE_FIELDS)}
    row |= averages.get(layer, _NO_ARTIFACTS)
    row["numerical_error"] = errors.get((*layer, case.in_channels, case.out_channels, case.dtype, case.device))
    return row


def _describe_measured(measured: Measured) -> dict[str, Sequence[Any]]:
    """Say of each record what was measured, column by column."""
    columns = measured.columns
    described: dict[str, Sequence[Any]] = {**columns}
    for name in ("baseline_id", "kernel", "ended_at"):
        described[name] = [text or None for text in columns[name]]
    # what is not a time was not measured, whatever program wrote it
    samples_s = measured.samples_s.keep(are_times(measured.samples_s.values))
    described |= _summarise_samples(samples_s)
    counts = samples_s.lengths.tolist()
    described["samples"] = [count or None for count in counts]
    for name in LATENCY_FIELDS:
        described[name] = [v if count else None for v, count in zip(columns[name], counts, strict=True)]
    parts = zip(*(columns[name] for name in _WORKSPACE_FIELDS), strict=True)
    described["workspace_bytes"] = [None if peak is None else peak - output - own for peak, output, own in parts]
    return described


def _summarise_samples(samples_s: Ragged) -> dict[str, Sequence[Any]]:
    """Find median, interval and least sample of each record; NaN where it has none."""
    found = np.full((4, len(samples_s)), math.nan)
    for places, rows in samples_s.group():
        found[:3, places] = median_intervals(rows)
        found[3, places] = rows.min(axis=1)
    names = ("latency_s", "latency_ci_low_s", "latency_ci_high_s", "latency_floor_s")
    return dict(zip(names, found, strict=True))


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _average(seeds: Sequence[QualityRecord]) -> dict[str, float | None]:
    """Average the metrics of one layer over its seeds, each over those that have it."""
    known = {n: [v for s in seeds if _is_number(v := s.metrics.get(n))] for n in ARTIFACT_COLUMNS}
    return {name: fmean(values) if values else None for name, values in known.items()}


def summarise(table: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Pool the replicates of each case.

    Latency is the median over the replicates that are `ok`, with an interval over them (`pool_replicates`), whose
    variance is drawn towards that of the other cases on the same device (`shrink_variances`). So is the ratio to
    the baseline, of the replicates that were timed with it. A case with a single replicate has no interval. What
    was measured on several machines (or with several versions of torch, or policies of memory and cores) is pooled
    on each first, and then over them. Other numbers are medians, whole ones rounded; `samples` is a sum.

    Parameters
    ----------
    table : DataFrame
        From `build_table` or `load`; with a column `run`, each run is pooled by itself.
    level : float
        Of the intervals.

    Returns
    -------
    DataFrame
        Columns and dtypes of `SUMMARY_DTYPES` (and `run`), one row per case in the table's order. `status` is
        `ok` if any replicate is; otherwise the most telling failure. `message` keeps what every failed replicate
        said, `noise_reason` what disturbed each. `replicates` counts those whose latency was pooled, or machines
        where there are several.

    Raises
    ------
    UsageError
        If `table` lacks a column.
    """
    rows = pool_columns(list_columns(table, "table", TABLE_DTYPES), level)
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
