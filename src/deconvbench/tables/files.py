"""The frames of a run as files in its folder: written whole or not at all, read back, or rebuilt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from deconvbench.errors import RunFolderError, UsageError, explain_os_error
from deconvbench.paths import check_path
from deconvbench.records.run_folder import JOURNAL_NAME, read_journal
from deconvbench.records.schema import (
    LATER_COLUMNS,
    QUALITY_DTYPES,
    SPEEDUP_DTYPES,
    TABLE_DTYPES,
)
from deconvbench.tables.frames import encode_parquet, make_frame
from deconvbench.tables.speedups import build_speedups
from deconvbench.tables.table import build_quality, build_table, summarise, summarise_quality
from deconvbench.tables.trained import Trained, fill_qualities
from deconvbench.writing import write_files

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


def write_tables(run_dir: str | Path, trained: Trained | None = None) -> Tables:
    """Build the frames of a run from its journal and write them into its folder, all files together.

    Parameters
    ----------
    run_dir : str or Path
        The run folder.
    trained : Trained, optional
        What belongs into the quality table beside the artifacts: `deconvbench.tables.trained.fill_qualities`.

    Returns
    -------
    Tables
        What was written.

    Raises
    ------
    RunFolderError
        As `read_journal`.
    SurroundingsError
        If a file cannot be written.
    """
    folder = Path(run_dir)
    tables = build_tables(folder, trained)
    write_files(folder, encode_tables(tables))
    return tables


def build_tables(run_dir: Path, trained: Trained | None = None) -> Tables:
    """Build the frames of a run from its journal; nothing is written.

    Parameters
    ----------
    run_dir : Path
        The run folder.
    trained : Trained, optional
        As for `write_tables`.

    Raises
    ------
    RunFolderError
        As `read_journal`.
    """
    records = read_journal(run_dir)
    table = build_table(records)
    quality = fill_qualities(build_quality(records), table, trained)
    return Tables(table=table, summary=summarise(table), quality=quality, speedups=build_speedups(records))


def encode_tables(tables: Tables) -> dict[str, bytes]:
    """Encode the frames of a run as the files of its folder.

    Parameters
    ----------
    tables : Tables
        The frames.

    Returns
    -------
    dict of str to bytes
        By name; `TABLE_NAME` last, so that where it is fresh, all are.
    """
    files = {
        QUALITY_NAME: encode_parquet(tables.quality),
        QUALITY_CSV_NAME: summarise_quality(tables.quality).to_csv(index=False).encode(),
    }
    # most runs have no interleaved timing, and no such files
    if len(tables.speedups):
        files[SPEEDUPS_NAME] = encode_parquet(tables.speedups)
        files[SPEEDUPS_CSV_NAME] = tables.speedups.to_csv(index=False).encode()
    files[SUMMARY_CSV_NAME] = tables.summary.to_csv(index=False).encode()
    files[TABLE_CSV_NAME] = tables.table.to_csv(index=False).encode()
    files[TABLE_NAME] = encode_parquet(tables.table)
    return files


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
        return build_tables(folder, trained)
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
        Run folders. A run that was interrupted, or is not finished, gives what it has.

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
        stored = _read_stored(check_path(run, "run"), TABLE_NAME, TABLE_DTYPES)
        return build_table(read_journal(run)) if stored is None else stored
    folders = [check_path(folder, "run").resolve() for folder in run]
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
