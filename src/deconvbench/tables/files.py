"""The frames of a run as files in its folder: written whole or not at all, read back, or rebuilt."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from deconvbench.errors import RunFolderError, UsageError, explain_os_error, quote
from deconvbench.records.finishing import STATUSES
from deconvbench.records.run_folder import JOURNAL_NAME, read_journal_bytes
from deconvbench.records.schema import (
    LATER_COLUMNS,
    QUALITY_DTYPES,
    SPEEDUP_DTYPES,
    TABLE_DTYPES,
)
from deconvbench.system.paths import check_path
from deconvbench.system.reading import read_file
from deconvbench.system.texts import escape_controls
from deconvbench.system.writing import write_files
from deconvbench.tables.bulk import Journal, read_bulk
from deconvbench.tables.frames import decode_parquet, encode_csv, encode_parquet, make_frame, tidy_texts
from deconvbench.tables.speedups import build_speedups
from deconvbench.tables.table import build_quality, lay_out_table, summarise, summarise_quality
from deconvbench.tables.trained import Trained, fill_qualities

TABLE_NAME = "table.parquet"
TABLE_CSV_NAME = "table.csv"
SUMMARY_CSV_NAME = "summary.csv"
QUALITY_NAME = "quality.parquet"
QUALITY_CSV_NAME = "quality.csv"
SPEEDUPS_NAME = "speedups.parquet"
SPEEDUPS_CSV_NAME = "speedups.csv"
# most runs have none, and no file of them
_SPEEDUP_LINE = re.compile(rb'"kind":\s*"speedup"')
# in the metadata of a Parquet file
_DIGEST_KEY = "deconvbench.journal"


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
    digest : str
        Of the journal that they were built from (`digest_journal`); empty where they have outlived it.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    quality: pd.DataFrame
    speedups: pd.DataFrame = field(default_factory=lambda: make_frame([], SPEEDUP_DTYPES))
    digest: str = ""


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
    content = read_journal_bytes(run_dir)
    return lay_out_tables(read_bulk(content, str(run_dir / JOURNAL_NAME)), digest_journal(content), trained)


def lay_out_tables(journal: Journal, digest: str, trained: Trained | None = None) -> Tables:
    """Lay out the frames of a run from what its journal holds.

    Parameters
    ----------
    journal : Journal
        From `read_bulk`.
    digest : str
        Of the journal (`digest_journal`).
    trained : Trained, optional
        As for `write_tables`.
    """
    table = lay_out_table(journal.measured, journal.others)
    return Tables(
        table=table,
        summary=summarise(table),
        quality=fill_qualities(build_quality(journal.others), table, trained),
        speedups=build_speedups(journal.others),
        digest=digest,
    )


def encode_tables(tables: Tables) -> dict[str, bytes]:
    """Encode the frames of a run as the files of its folder.

    Parameters
    ----------
    tables : Tables
        The frames.

    Returns
    -------
    dict of str to bytes
        By name. Each Parquet file names the journal that it was built from, so that one that was copied, or left
        behind by a newer journal, is known, whatever the clock says.
    """
    facts = {_DIGEST_KEY: tables.digest}
    files = {
        QUALITY_NAME: encode_parquet(tables.quality, facts),
        QUALITY_CSV_NAME: encode_csv(summarise_quality(tables.quality)),
    }
    # most runs have no interleaved timing, and no such files
    if len(tables.speedups):
        files[SPEEDUPS_NAME] = encode_parquet(tables.speedups, facts)
        files[SPEEDUPS_CSV_NAME] = encode_csv(tables.speedups)
    files[SUMMARY_CSV_NAME] = encode_csv(tables.summary)
    files[TABLE_CSV_NAME] = encode_csv(tables.table)
    files[TABLE_NAME] = encode_parquet(tables.table, facts)
    return files


def read_tables(run_dir: str | Path, trained: Trained | None = None) -> Tables:
    """Read the frames of a run, or build them where its files do not belong to its journal as it is now.

    Parameters
    ----------
    run_dir : str or Path
        The run folder; nothing is written into it.
    trained : Trained, optional
        As for `write_tables`; it replaces what the files hold of training. By default that is read as it stands.

    Raises
    ------
    RunFolderError
        As `read_journal`, or if there is no journal and a file that should be Parquet is not.
    """
    folder = Path(run_dir)
    journal = _read_bytes(folder)
    digest = None if journal is None else digest_journal(journal)
    table = read_frame(folder, TABLE_NAME, TABLE_DTYPES, digest)
    quality = read_frame(folder, QUALITY_NAME, QUALITY_DTYPES, digest)
    speedups = read_frame(folder, SPEEDUPS_NAME, SPEEDUP_DTYPES, digest)
    if speedups is None and (journal is None or _SPEEDUP_LINE.search(journal) is None):
        speedups = make_frame([], SPEEDUP_DTYPES)
    if table is None or quality is None or speedups is None:
        return build_tables(folder, trained)
    quality = fill_qualities(quality, table, trained)
    return Tables(table=table, summary=summarise(table), quality=quality, speedups=speedups, digest=digest or "")


def digest_journal(content: bytes) -> str:
    """Name the finished lines of a journal, so that a table can say which it was built from.

    Parameters
    ----------
    content : bytes
        The whole file; a torn last line does not count.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return hashlib.blake2b(memoryview(content)[: content.rfind(b"\n") + 1], digest_size=16).hexdigest()


def _read_bytes(folder: Path) -> bytes | None:
    """Read the journal; None where there is none."""
    return read_journal_bytes(folder) if os.path.lexists(folder / JOURNAL_NAME) else None


def read_frame(
    folder: Path, name: str, dtypes: Mapping[str, str], digest: str | None = None
) -> pd.DataFrame | None:
    """Read one stored frame of a run.

    Parameters
    ----------
    folder : Path
        The run folder.
    name : str
        The file's name.
    dtypes : mapping of str to str
        The columns that it should have.
    digest : str or None
        Of the run's journal, from `digest_journal`; None where it has none.

    Returns
    -------
    DataFrame or None
        None where there is no such file, or the journal knows better: the file was built from another journal or
        by another version, or is damaged.

    Raises
    ------
    RunFolderError
        If there is no journal, and the file is not such a frame.
    """
    path = folder / name
    try:
        frame, facts = decode_parquet(read_file(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        if digest is not None:
            return None
        reason = explain_os_error(error) if isinstance(error, OSError) else str(error)
        raise RunFolderError(f"run folder: cannot read {str(path)!r}: {reason}") from error
    if digest is None:
        return tidy_texts(_complete(frame, dtypes, path))
    is_whole = facts.get(_DIGEST_KEY) == digest and _find_misfit(frame, dtypes) is None
    return tidy_texts(frame) if is_whole else None


def _find_misfit(frame: pd.DataFrame, dtypes: Mapping[str, str]) -> str | None:
    """Name what makes a frame that was read another one than was written; None where nothing does."""
    expected = make_frame([], dtypes).dtypes
    if list(frame.columns) != list(dtypes):
        return "other columns"
    misfit = next((name for name in dtypes if frame[name].dtype != expected[name]), None)
    if misfit is not None:
        return f"{misfit} is {frame[misfit].dtype}, not {dtypes[misfit]}"
    unknown = frame["status"][~frame["status"].isin(STATUSES)]
    return f"status: {unknown.iloc[0]!r} is not one of {', '.join(STATUSES)}" if len(unknown) else None


def _complete(frame: pd.DataFrame, dtypes: Mapping[str, str], path: Path) -> pd.DataFrame:
    """Give a frame, which has outlived its journal, the columns that came later, and check the others."""
    lacking = [name for name in dtypes if name not in frame]
    if not {*lacking} <= {*LATER_COLUMNS}:
        raise RunFolderError(
            f"run folder: {str(path)!r} was written by another version: it lacks {', '.join(lacking)}, and there"
            f" is no {JOURNAL_NAME} to build it anew from"
        )
    whole = frame.reindex(columns=list(dtypes)).astype({name: dtypes[name] for name in lacking})
    # numbers that need more than 64 bits
    large = {n: "float64" for n, d in dtypes.items() if d.lower() == "int64" and whole[n].dtype == "float64"}
    misfit = _find_misfit(whole, {**dtypes, **large})
    if misfit is not None:
        raise RunFolderError(f"run folder: {str(path)!r} is not a table of this package: {misfit}")
    return whole


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
        return _load(check_path(run, "run"))
    if not isinstance(run, Iterable):
        raise UsageError(f"run: {quote(run)} is not a run folder or a list of them")
    folders = [check_path(folder, "run").resolve() for folder in run]
    if not folders or len(set(folders)) < len(folders):
        raise UsageError(
            f"run: {quote([str(folder) for folder in folders])} is not a list of different run folders"
        )
    unique = len({folder.name for folder in folders}) == len(folders)
    tables = []
    for folder in folders:
        table = _load(folder)
        # a name that is not text is no text for a column either
        name = escape_controls(folder.name if unique else str(folder))
        table.insert(0, "run", pd.Series([name] * len(table), dtype="str"))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _load(folder: Path) -> pd.DataFrame:
    content = _read_bytes(folder)
    stored = read_frame(folder, TABLE_NAME, TABLE_DTYPES, None if content is None else digest_journal(content))
    if stored is not None:
        return stored
    journal = read_bulk(read_journal_bytes(folder) if content is None else content, str(folder / JOURNAL_NAME))
    return lay_out_table(journal.measured, journal.others)
