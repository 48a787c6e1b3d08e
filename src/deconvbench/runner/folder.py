"""The life of a run folder: made when a run starts, taken up again on resume, closed when all is measured."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deconvbench.errors import RunFolderError, SurroundingsError, explain_os_error
from deconvbench.records.record import (
    decode_journal,
)
from deconvbench.records.run_folder import JOURNAL_NAME, RUN_NAME, hold_folder, read_run_info, write_run_info
from deconvbench.runner.environment import name_differences
from deconvbench.runner.limits import check_threads
from deconvbench.runner.plan import Plan, format_now


def open_folder(plan: Plan, folder: Path, environment: Mapping[str, Any]) -> None:
    """Make a run folder and describe in it what will be measured, and where.

    Parameters
    ----------
    plan : Plan
        What will be measured.
    folder : Path
        Must not hold a run yet.
    environment : mapping
        From `collect_environment`.

    Raises
    ------
    RunFolderError
        If the folder holds a run already, is a file, or may not be written.
    UsageError
        If the plan asks for more threads than this machine may be asked for.
    SurroundingsError
        If the disk is full.
    """
    check_threads((*plan.cases, *plan.settings))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise RunFolderError(f"--out: {str(folder)!r} is a file, not a folder") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise SurroundingsError(f"cannot write to {folder}: {explain_os_error(error)}") from error
        raise RunFolderError(f"--out: cannot make {str(folder)!r}: {explain_os_error(error)}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RunFolderError(f"--out: {str(folder)!r} cannot be written: permission denied")
    if (folder / JOURNAL_NAME).exists() or (folder / RUN_NAME).exists():
        raise RunFolderError(
            f"--out: {str(folder)!r} holds a run already; continue it with --resume or name another"
        )
    info: dict[str, Any] = {
        "created_at": format_now(),
        "finished_at": None,
        "measuring_share": None,
        "resumed": [],
    }
    write_run_info(folder, {**info, **plan.to_dict(), "environment": dict(environment)})


def reopen_folder(
    folder: Path,
    environment: Mapping[str, Any],
    *,
    find_changes: Callable[[Plan], list[str]] = lambda _: [],
    anyway: bool = False,
) -> Plan:
    """Take grid, cases and seed of an interrupted run from its folder.

    Parameters
    ----------
    folder : Path
        The run folder.
    environment : mapping
        From `collect_environment`, now.
    find_changes : callable
        Names what else is not what it was, a line each.
    anyway : bool
        Go on although machine or software changed; the change is recorded in ``run.json``.

    Raises
    ------
    RunFolderError
        If the folder holds no run that this version can read, or machine or software changed and `anyway` is
        false.
    SurroundingsError
        If another run holds the folder, or it cannot be written.
    """
    info = read_run_info(folder)
    try:
        plan = Plan.from_dict(info)
        differences = name_differences(info["environment"], environment)
        resumptions = list(info["resumed"])
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(f"--resume: {folder / RUN_NAME} does not describe a run: {error!r}") from error
    check_threads((*plan.cases, *plan.settings))
    differences += find_changes(plan)
    if differences and not anyway:
        raise RunFolderError(
            f"--resume: {folder} was measured on another machine or version ({'; '.join(differences)});"
            " pass --resume-anyway to continue"
        )
    with hold_folder(folder):  # nothing is written into a folder that another run holds
        _check_journal(folder / JOURNAL_NAME)
        resumed = [*resumptions, {"at": format_now(), "differences": differences}]
        write_run_info(folder, {**info, "resumed": resumed})
    return plan


def _check_journal(path: Path) -> None:
    """Refuse a journal that this version cannot go on with, before anything in its folder is changed."""
    try:
        decode_journal(path.read_bytes(), str(path))
    except FileNotFoundError:
        return  # interrupted before the first record
    except OSError as error:
        raise SurroundingsError(f"cannot read {path}: {explain_os_error(error)}") from error


def close_folder(folder: Path, measuring_share: float | None) -> None:
    """Note in ``run.json`` that everything was measured, and the share of time it took.

    Parameters
    ----------
    folder : Path
        The run folder.
    measuring_share : float or None
        Share of the wall time after start-up that went into latency and memory passes; None keeps the earlier.
    """
    info = {**read_run_info(folder), "finished_at": format_now()}
    if measuring_share is not None:
        info["measuring_share"] = measuring_share
    write_run_info(folder, info)
