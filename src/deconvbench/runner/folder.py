"""The life of a run folder: made when a run starts, taken up again on resume, closed when all is measured."""

import itertools
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deconvbench.errors import RunFolderError, SurroundingsError, explain_os_error
from deconvbench.records.record import (
    decode_journal,
)
from deconvbench.records.run_folder import JOURNAL_NAME, RUN_NAME, hold_folder, read_run_info, write_run_info
from deconvbench.runner.conditions import list_variables
from deconvbench.runner.environment import name_differences
from deconvbench.runner.limits import check_threads
from deconvbench.runner.plan import Plan
from deconvbench.system.paths import check_contents, make_file_name, make_folder
from deconvbench.system.reading import read_file
from deconvbench.units import format_now

# what marks a folder as one of a run
_OWN_NAMES = (RUN_NAME, JOURNAL_NAME)


def make_new_folder(name: str, parent: Path) -> Path:
    """Make a folder that nothing else has or gets, called after the time and a name.

    Parameters
    ----------
    name : str
        Any text, such as a grid's name; what would have a meaning in a path is replaced.
    parent : Path
        The folder that it is made in.

    Returns
    -------
    Path
        ``PARENT/<UTC time>-<name>``, with a number behind it where another run took that.

    Raises
    ------
    RunFolderError, SurroundingsError
        As `make_folder`.
    """
    make_folder(parent, "--out")
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{make_file_name(name)}"
    for attempt in itertools.count(1):
        folder = parent / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise SurroundingsError(f"cannot write to {folder}: {explain_os_error(error)}") from error
        break
    return folder


def open_folder(
    plan: Plan,
    folder: Path,
    environment: Mapping[str, Any],
    *,
    force: bool = False,
    cluster: Mapping[str, Any] | None = None,
) -> None:
    """Make a run folder and describe in it what will be measured, and where.

    It is locked before it is looked into, so of two runs that begin in one folder at once one is refused.

    Parameters
    ----------
    plan : Plan
        What will be measured.
    folder : Path
        Must not hold a run yet.
    environment : mapping
        From `collect_environment`.
    force : bool
        Take a folder that holds files of others too.
    cluster : mapping or None
        How the run is shared among machines; `environment` is then that of a process that measures there.

    Raises
    ------
    RunFolderError
        If the folder holds a run already, is a file, may not be written, or holds files of others and `force` is
        false.
    UsageError
        If the plan asks for more threads than this machine may be asked for.
    SurroundingsError
        If the disk is full, or another run holds the folder.
    """
    check_threads((*plan.cases, *plan.settings), cores=environment.get("cores"))
    check_contents(folder, _OWN_NAMES, force=force)
    _refuse_run(folder)
    make_folder(folder, "--out")
    with hold_folder(folder):
        _refuse_run(folder)  # another run may have come first
        info: dict[str, Any] = {
            "created_at": format_now(),
            "finished_at": None,
            "measuring_share": None,
            "resumed": [],
        }
        timed_in = environment if cluster is not None else describe_children(environment, plan.conditions)
        shared = {"cluster": None if cluster is None else dict(cluster)}
        write_run_info(folder, {**info, **plan.to_dict(), **shared, "environment": timed_in})


def describe_children(environment: Mapping[str, Any], policy: str) -> dict[str, Any]:
    """Describe the environment of the processes that measure, which get variables that this one has not.

    Parameters
    ----------
    environment : mapping
        From `collect_environment`.
    policy : str
        One of `POLICIES`.
    """
    given = environment.get("variables") or {}
    return {**environment, "variables": {**given, **list_variables(policy)}}


def _refuse_run(folder: Path) -> None:
    if any(os.path.lexists(folder / name) for name in _OWN_NAMES):
        raise RunFolderError(
            f"--out: {str(folder)!r} holds a run already; continue it with --resume or name another"
        )


def reopen_folder(
    folder: Path,
    environment: Mapping[str, Any],
    *,
    find_changes: Callable[[Plan], list[str]] = lambda _: [],
    anyway: bool = False,
    is_child: bool = False,
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
    is_child : bool
        Whether the environment is that of a process that measures.

    Raises
    ------
    RunFolderError
        If the folder holds no run that this version can read, or machine or software changed and `anyway` is
        false.
    SurroundingsError
        If another run holds the folder, or it cannot be written.
    """
    info = read_run_info(folder)
    if info.get("merged"):
        raise RunFolderError(f"--resume: {folder} was merged from other runs; resume those, and merge them again")
    try:
        plan = Plan.from_dict(info)
        present = environment if is_child else describe_children(environment, plan.conditions)
        differences = name_differences(info["environment"], present)
        resumptions = list(info["resumed"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _explain_foreign(folder, error) from error
    check_threads((*plan.cases, *plan.settings), cores=environment.get("cores"))
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


def read_plan(folder: Path) -> Plan:
    """Read the plan of a run, to see what it needs before it is resumed.

    Parameters
    ----------
    folder : Path
        The run folder.

    Raises
    ------
    RunFolderError
        If the folder holds no run that this version can read.
    """
    info = read_run_info(folder)
    try:
        return Plan.from_dict(info)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _explain_foreign(folder, error) from error


def _explain_foreign(folder: Path, error: Exception) -> RunFolderError:
    return RunFolderError(f"--resume: {folder / RUN_NAME} does not describe a run: {error!r}")


def _check_journal(path: Path) -> None:
    """Refuse a journal that this version cannot go on with, before anything in its folder is changed."""
    try:
        decode_journal(read_file(path), str(path))
    except FileNotFoundError:
        return  # interrupted before the first record
    except OSError as error:
        raise SurroundingsError(f"cannot read {path}: {explain_os_error(error)}") from error


def close_folder(folder: Path, measuring_share: float | None) -> None:
    """Note in ``run.json`` that everything was measured, and the share of time it took.

    Call it while the folder is held, so that no other run changes it meanwhile.

    Parameters
    ----------
    folder : Path
        The run folder.
    measuring_share : float or None
        Share of the wall time after start-up that went into latency and memory passes; None keeps the earlier.

    Raises
    ------
    SurroundingsError
        If the description is gone, or cannot be written.
    """
    try:
        info = {**read_run_info(folder), "finished_at": format_now()}
    except RunFolderError as error:
        raise SurroundingsError(
            f"{folder} was changed or removed while the run was writing it: {error}"
        ) from error
    if measuring_share is not None:
        info["measuring_share"] = measuring_share
    write_run_info(folder, info)
