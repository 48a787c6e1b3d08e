"""A run folder: the names of its files, and its description ``run.json``.

What the measuring half finds reaches the report only as files in such a folder, so both halves read this
module. Standard library and the file lock only.
"""

import contextlib
import errno
import json
import os
import stat
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from deconvbench.errors import RunFolderError, SurroundingsError, UsageError, explain_os_error, quote
from deconvbench.records.decoding import DecodingError, build, make_strict, parse_json
from deconvbench.records.documents import RunInfo, Versioned
from deconvbench.records.record import (
    SCHEMA_VERSION,
    AnyRecord,
    decode_journal,
)
from deconvbench.system.paths import explain_no_folder
from deconvbench.system.reading import read_file
from deconvbench.system.writing import remove_abandoned_drafts, write_whole
from deconvbench.units import format_bytes

JOURNAL_NAME = "journal.jsonl"
RUN_NAME = "run.json"
# what was found of the article's claims, for the report
CLAIMS_NAME = "claims.json"
REPORT_NAME = "report.html"
_LOCK_NAME = ".lock"
_NO_LOCKS = "its file system has no locks, so two runs could write it at once; name a folder on another one"
_NO_LOCK_ERRORS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Keep every other run out of a folder while the block lasts; the system lets go of it when the process ends.

    Parameters
    ----------
    folder : Path
        The run folder; it must exist.

    Raises
    ------
    SurroundingsError
        If another run holds it, it cannot be written, or its file system has no locks.
    """
    path = folder / _LOCK_NAME
    lock = FileLock(path, timeout=0)
    try:
        # some versions of the lock would empty what it is another name of, or wait for a pipe
        if os.path.lexists(path) and not _is_plain(path.lstat()):
            raise SurroundingsError(f"cannot write to {folder}: {_LOCK_NAME} in it is not a file of its own")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a lock that is none, which is refused below
            held = lock.acquire()
    except Timeout as error:
        message = f"{folder}: another run is writing this folder; wait for it or name another"
        raise SurroundingsError(message) from error
    except NotImplementedError as error:
        raise SurroundingsError(f"cannot write to {folder}: {_NO_LOCKS}") from error
    except OSError as error:
        reason = _NO_LOCKS if error.errno in _NO_LOCK_ERRORS else explain_os_error(error)
        raise SurroundingsError(f"cannot write to {folder}: {reason}") from error
    with held:
        if _is_soft(lock):
            raise SurroundingsError(f"cannot write to {folder}: {_NO_LOCKS}")
        remove_abandoned_drafts(folder)
        yield


def _is_plain(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _is_soft(lock: BaseFileLock) -> bool:
    """Whether the lock turned itself, for want of a real one, into a file that outlives a killed process."""
    return isinstance(lock, SoftFileLock)


def write_run_info(folder: Path, info: Mapping[str, Any]) -> None:
    """Write ``run.json`` whole or not at all.

    Parameters
    ----------
    folder : Path
        The run folder.
    info : mapping
        Plain data; the schema version is added.

    Raises
    ------
    SurroundingsError
        If it cannot be written.
    """
    write_whole(folder / RUN_NAME, encode_run_info(info))


def encode_run_info(info: Mapping[str, Any]) -> bytes:
    """Encode what ``run.json`` holds.

    Parameters
    ----------
    info : mapping
        As `write_run_info`. Numbers that are not finite, for which JSON has no word, become null.
    """
    text = json.dumps(make_strict({"schema_version": SCHEMA_VERSION, **info}), indent=1, allow_nan=False)
    return f"{text}\n".encode()


def read_run_info(folder: Path) -> dict[str, Any]:
    """Read ``run.json``.

    Parameters
    ----------
    folder : Path
        The run folder.

    Raises
    ------
    RunFolderError
        If the folder is missing, has no readable ``run.json``, or one of a newer schema.
    """
    path = folder / RUN_NAME
    _check_folder(folder)
    try:
        document = parse_json(read_file(path))
        # what a later version wrote may differ in everything else
        version = build(Versioned, document).get("schema_version", SCHEMA_VERSION)
        info = build(RunInfo, document) if version <= SCHEMA_VERSION else None
    except FileNotFoundError as error:
        raise RunFolderError(
            f"run folder: {str(folder)!r} has no {RUN_NAME}, so it is not one of deconvbench"
        ) from error
    except OSError as error:
        raise RunFolderError(f"run folder: cannot read {str(path)!r}: {explain_os_error(error)}") from error
    except DecodingError as error:
        raise RunFolderError(f"run folder: {str(path)!r} is not a description of a run: {error}") from error
    if info is None:
        raise RunFolderError(
            f"run folder: {str(path)!r} has schema {version}; this version reads up to {SCHEMA_VERSION}"
        )
    return dict(info)


def _check_folder(folder: Path) -> None:
    try:
        problem = explain_no_folder(folder)
    except OSError as error:  # a name that is too long, a folder above it that may not be entered
        raise RunFolderError(f"run folder: cannot read {quote(str(folder))}: {explain_os_error(error)}") from error
    if problem:
        raise RunFolderError(f"run folder: {quote(str(folder))} {problem}")


def list_hardware(environment: Mapping[str, Any]) -> list[str]:
    """Name the machine that a recorded environment describes, in the words of a reader.

    Parameters
    ----------
    environment : mapping
        As in ``run.json``; every key may be missing.

    Returns
    -------
    list of str
        Processor (or the machine's id), cores, memory, and each accelerator; how many machines, where a run was
        merged from several.
    """
    machines = environment.get("machines")
    if isinstance(machines, int) and machines > 1:
        return [f"{machines} machines"]
    cores, memory = environment.get("cores"), environment.get("memory_bytes")
    parts = [
        environment.get("cpu") or environment.get("machine_id"),
        f"{cores} core{'' if cores == 1 else 's'}" if cores else None,
        format_bytes(memory) if isinstance(memory, int | float) else None,
        *_name_accelerators(environment.get("gpus") or environment.get("accelerator") or []),
    ]
    return [str(part) for part in parts if part]


def _name_accelerators(found: Any) -> list[Any]:
    if isinstance(found, Mapping) and "devices" in found:
        found = found["devices"]
    devices = found if isinstance(found, list) else [found]
    return [device.get("name") if isinstance(device, Mapping) else device for device in devices]


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
    return decode_journal(read_journal_bytes(run_dir), str(Path(run_dir) / JOURNAL_NAME))


def read_journal_bytes(run_dir: str | Path) -> bytes:
    """Read the journal of a run as it is on disk, for `decode_journal` or a digest.

    Parameters
    ----------
    run_dir : str or Path
        The run folder.

    Raises
    ------
    RunFolderError
        If the folder or its journal is missing or cannot be read.
    """
    folder = Path(run_dir)
    path = folder / JOURNAL_NAME
    _check_folder(folder)
    try:
        return read_file(path)
    except FileNotFoundError as error:
        raise RunFolderError(f"run folder: {_explain_no_journal(folder)}") from error
    except OSError as error:
        raise RunFolderError(f"run folder: cannot read {str(path)!r}: {explain_os_error(error)}") from error


def _explain_no_journal(folder: Path) -> str:
    """Say of a folder without a journal whether nothing was measured in it, or only tables of it were kept."""
    tables = sorted(path.name for path in folder.glob("*.parquet"))
    if not tables:
        return f"{str(folder)!r} has no {JOURNAL_NAME}: nothing was measured in it"
    return (
        f"{str(folder)!r} has no {JOURNAL_NAME}, only what was made of it ({', '.join(tables)}), which is not"
        f" enough here; name the folder that was measured, or copy its {JOURNAL_NAME} there"
    )


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
    journals = []
    for path in runs.glob(f"*/{JOURNAL_NAME}"):
        with contextlib.suppress(OSError):  # removed since it was listed
            journals.append((path.stat().st_mtime_ns, path.parent.name, path.parent))
    if not journals:
        raise UsageError(f"RUN: no run folder in {str(runs)!r}; name one, or measure with: deconvbench run")
    return max(journals)[2]
