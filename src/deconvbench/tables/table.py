"""Records as data frames: the table, the quality table and the summary of a run, and their files.

The table has one row per case and replicate and invents nothing: what was not measured is null. The summary pools
the replicates. Both follow from the journal alone, so a run that was cut off has them too. What training found is
no part of a run: whoever wants it in the quality table hands it in. No torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from deconvbench.errors import RunFolderError, UsageError, explain_os_error
from deconvbench.records.case import CASE_FIELDS, Case
from deconvbench.records.record import (
    RECORD_FIELDS,
    AnyRecord,
    NumericsRecord,
    QualityRecord,
    Record,
    decode_journal,
)
from deconvbench.records.run_folder import JOURNAL_NAME, write_whole
from deconvbench.records.schema import (
    ARTIFACT_COLUMNS,
    BYTE_COLUMNS,
    LATER_COLUMNS,
    QUALITY_DTYPES,
    QUALITY_SUMMARY_DTYPES,
    SPEEDUP_DTYPES,
    SUMMARY_DTYPES,
    TABLE_DTYPES,
)
from deconvbench.statistics import median_interval
from deconvbench.tables.frames import encode_parquet, list_rows, make_frame
from deconvbench.tables.pooling import pool_rows, pool_seeds
from deconvbench.tables.speedups import build_speedups
from deconvbench.tables.trained import Trained, fill_qualities

TABLE_NAME = "table.parquet"
TABLE_CSV_NAME = "table.csv"
SUMMARY_CSV_NAME = "summary.csv"
QUALITY_NAME = "quality.parquet"
QUALITY_CSV_NAME = "quality.csv"
SPEEDUPS_NAME = "speedups.parquet"
SPEEDUPS_CSV_NAME = "speedups.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The frames of one run.

    Parameters
    ----------
    table : DataFrame
        One row per case and replicate, with the columns of `TABLE_DTYPES`.
    summary : DataFrame
        One row per case, with the columns of `SUMMARY_DTYPES`.
    quality : DataFrame
        One row per layer and seed, with the columns of `QUALITY_DTYPES`.
    speedups : DataFrame
        One row per setting, layer and whether it was frozen, with the columns of `SPEEDUP_DTYPES`.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    quality: pd.DataFrame
    speedups: pd.DataFrame = field(default_factory=lambda: make_frame([], SPEEDUP_DTYPES))


def read_journal(run_dir: str | Path) -> list[AnyRecord]:
    """Read every record of a run, as far as it got.

    Parameters
    ----------
    run_dir : str or Path
        The run folder.

    Raises
    ------
    RunFolderError
        If the folder or its journal is missing or cannot be read, or a finished line is not a record.
    """
    folder = Path(run_dir)
    path = folder / JOURNAL_NAME
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "does not exist"
        raise RunFolderError(f"run folder: {str(folder)!r} {problem}")
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise RunFolderError(
            f"run folder: {str(folder)!r} has no {JOURNAL_NAME}: nothing was measured in it"
        ) from error
    except OSError as error:
        raise RunFolderError(f"run folder: cannot read {str(path)!r}: {explain_os_error(error)}") from error
    return decode_journal(content, str(path))


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
    latency, memory = record.latency, record.memory
    if latency is not None and latency.samples_s:
        middle, low, high = median_interval(latency.samples_s)
        row |= {"latency_s": middle, "latency_ci_low_s": low, "latency_ci_high_s": high}
        row["latency_floor_s"] = min(latency.samples_s)
        row |= {"samples": len(latency.samples_s), "stop_reason": latency.stop_reason}
        row |= {"host_latency_s": latency.host_latency_s, "launch_bound": latency.launch_bound}
    if memory is not None:
        row |= {name: getattr(memory, name) for name in BYTE_COLUMNS}
        if memory.peak_memory_bytes is not None:
            row["workspace_bytes"] = memory.peak_memory_bytes - memory.output_bytes - memory.gradient_bytes
    return row


def _average(seeds: Sequence[QualityRecord]) -> dict[str, float | None]:
    """Average the metrics of one layer over its seeds, each over those that have it."""
    known = {n: [v for s in seeds if (v := s.metrics.get(n)) is not None] for n in ARTIFACT_COLUMNS}
    return {name: fmean(values) if values else None for name, values in known.items()}


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Pool the replicates of each case.

    Latency is the median over the replicates that are `ok`, with an interval over them (`pool_replicates`), whose
    variance is drawn towards that of the other cases on the same device (`shrink_variances`). A case with a
    single replicate has no interval. Other numbers are medians, whole ones rounded; `samples` is a sum.

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


def write_tables(run_dir: str | Path, trained: Trained | None = None) -> Tables:
    """Build the frames of a run from its journal and write them into its folder, each file whole or not at all.

    Parameters
    ----------
    run_dir : str or Path
        The run folder.
    trained : Trained, optional
        What belongs into the quality table beside the artifacts: `deconvbench.tables.trained.fill_qualities`.

    Returns
    -------
    Tables
        What was written; `TABLE_NAME` last, so that where it is fresh, all are.

    Raises
    ------
    RunFolderError
        As `read_journal`.
    SurroundingsError
        If a file cannot be written.
    """
    folder = Path(run_dir)
    tables = _build_tables(read_journal(folder), trained)
    write_whole(folder / QUALITY_NAME, encode_parquet(tables.quality))
    write_whole(folder / QUALITY_CSV_NAME, summarise_quality(tables.quality).to_csv(index=False).encode())
    # most runs have no interleaved timing, and no such files
    if len(tables.speedups):
        write_whole(folder / SPEEDUPS_NAME, encode_parquet(tables.speedups))
        write_whole(folder / SPEEDUPS_CSV_NAME, tables.speedups.to_csv(index=False).encode())
    write_whole(folder / SUMMARY_CSV_NAME, tables.summary.to_csv(index=False).encode())
    write_whole(folder / TABLE_CSV_NAME, tables.table.to_csv(index=False).encode())
    write_whole(folder / TABLE_NAME, encode_parquet(tables.table))
    return tables


def _build_tables(records: Sequence[AnyRecord], trained: Trained | None) -> Tables:
    table = build_table(records)
    quality = fill_qualities(build_quality(records), table, trained)
    return Tables(table=table, summary=summarise(table), quality=quality, speedups=build_speedups(records))


def read_tables(run_dir: str | Path, trained: Trained | None = None) -> Tables:
    """Read the frames of a run, or build them where its files are missing or older than its journal.

    Parameters
    ----------
    run_dir : str or Path
        The run folder; nothing is written into it.
    trained : Trained, optional
        As for `write_tables`; it replaces what the files hold of training. By default that is read as it stands.

    Raises
    ------
    RunFolderError
        As `read_journal`, or if a file that should be Parquet is not.
    """
    folder = Path(run_dir)
    table = _read_stored(folder, TABLE_NAME, TABLE_DTYPES)
    quality = _read_stored(folder, QUALITY_NAME, QUALITY_DTYPES)
    speedups: pd.DataFrame | None = make_frame([], SPEEDUP_DTYPES)
    if (folder / SPEEDUPS_NAME).exists():
        speedups = _read_stored(folder, SPEEDUPS_NAME, SPEEDUP_DTYPES)
    if table is None or quality is None or speedups is None:
        return _build_tables(read_journal(folder), trained)
    quality = fill_qualities(quality, table, trained)
    return Tables(table=table, summary=summarise(table), quality=quality, speedups=speedups)


def _read_stored(folder: Path, name: str, dtypes: Mapping[str, str]) -> pd.DataFrame | None:
    """Read a stored frame; None where it is absent, or the journal can tell better."""
    path, journal = folder / name, folder / JOURNAL_NAME
    try:
        if not path.exists() or (journal.exists() and path.stat().st_mtime_ns < journal.stat().st_mtime_ns):
            return None
        frame = pd.read_parquet(path)
    # pyarrow's errors are of these two kinds
    except (OSError, ValueError) as error:
        reason = explain_os_error(error) if isinstance(error, OSError) else str(error)
        raise RunFolderError(f"run folder: cannot read {str(path)!r}: {reason}") from error
    if list(frame.columns) == list(dtypes):
        return frame
    return None if journal.exists() else _complete(frame, dtypes, path)


def _complete(frame: pd.DataFrame, dtypes: Mapping[str, str], path: Path) -> pd.DataFrame:
    """Give a frame of another version, which has outlived its journal, the columns that came later."""
    lacking = [name for name in dtypes if name not in frame]
    if not {*lacking} <= {*LATER_COLUMNS}:
        raise RunFolderError(
            f"run folder: {str(path)!r} was written by another version: it lacks {', '.join(lacking)}, and there"
            f" is no {JOURNAL_NAME} to build it anew from"
        )
    return frame.reindex(columns=list(dtypes)).astype({name: dtypes[name] for name in lacking})


def load(run: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Load the table of a run, or of several.

    Parameters
    ----------
    run : str, Path, or sequence of them
        Run folders. A run that was cut off, or is still going on, gives what it has.

    Returns
    -------
    DataFrame
        Columns and dtypes of `TABLE_DTYPES`. For a sequence, the tables one below another, with the name of the
        folder in a first column, `run` (its path where two have one name).

    Raises
    ------
    RunFolderError
        If a folder holds no run.
    UsageError
        If the sequence is empty or names a folder twice.
    """
    if isinstance(run, str | Path):
        stored = _read_stored(Path(run), TABLE_NAME, TABLE_DTYPES)
        return build_table(read_journal(run)) if stored is None else stored
    folders = [Path(folder).resolve() for folder in run]
    if not folders or len(set(folders)) < len(folders):
        raise UsageError(f"run: {[str(folder) for folder in run]} is not a list of different run folders")
    unique = len({folder.name for folder in folders}) == len(folders)
    tables = []
    for folder in folders:
        table = load(folder)
        name = folder.name if unique else str(folder)
        table.insert(0, "run", pd.Series([name] * len(table), dtype="str"))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def find_newest_run(results_dir: str | Path) -> Path:
    """Find the run that was measured last.

    Parameters
    ----------
    results_dir : str or Path
        The folder that holds ``runs``.

    Returns
    -------
    Path
        The folder in ``runs`` whose journal was written to last; of two at the same moment, the later name.

    Raises
    ------
    UsageError
        If there is none.
    """
    runs = Path(results_dir) / "runs"
    journals = [
        (path.stat().st_mtime_ns, path.parent.name, path.parent) for path in runs.glob(f"*/{JOURNAL_NAME}")
    ]
    if not journals:
        raise UsageError(f"RUN: no run folder in {str(runs)!r}; name one, or measure with: deconvbench run")
    return max(journals)[2]
