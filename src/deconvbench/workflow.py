"""The main job from end to end: choose, measure, tabulate, report.

The one place where the measuring half and the tabulating half meet; they exchange files in the run folder.
The command line, the pytest front and `deconvbench.run` are thin wrappers of these functions.
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deconvbench.engine import Observer, Outcome, run_plan
from deconvbench.environment import collect_environment
from deconvbench.errors import UsageError
from deconvbench.grid import Grid, load_grid, load_preset, select_cases
from deconvbench.measure.accelerator import check_device, describe_accelerator
from deconvbench.plan import Plan, close_folder, open_folder, reopen_folder
from deconvbench.record import Record
from deconvbench.table import find_newest_run, write_tables
from deconvbench.upsamplers import load_upsampler

RESULTS = Path("results")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a user asked to have measured, on whichever front.

    Parameters
    ----------
    preset : str or None
        One of the presets; `quick` where neither preset nor grid is given.
    grid : Path or None
        A grid file instead.
    settings : tuple of str
        ``AXIS=V,V``, each replacing an axis.
    keyword : str
        As pytest's ``-k``.
    upsamplers : tuple of str
        ``pkg.mod:factory`` of further upsamplers; they join the grid's.
    device : str
        Devices with commas between, replacing the axis; empty keeps the grid's.
    replicates : int or None
        Passes over the cases; None keeps the grid's.
    timeout_s : float or None
        Seconds after which a case counts as hanging; None keeps the grid's.
    seed : int or None
        Of orders, weights and inputs; None draws one, and records it.
    """

    preset: str | None = None
    grid: Path | None = None
    settings: tuple[str, ...] = ()
    keyword: str = ""
    upsamplers: tuple[str, ...] = ()
    device: str = ""
    replicates: int | None = None
    timeout_s: float | None = None
    seed: int | None = None

    @property
    def is_default(self) -> bool:
        """True where the user chose nothing."""
        return self == Selection()


def make_plan(selection: Selection, command: Sequence[str] = ()) -> Plan:
    """Turn a selection into the cases that would run.

    Parameters
    ----------
    selection : Selection
        What the user asked for.
    command : sequence of str
        What the user typed, for the report.

    Raises
    ------
    UsageError
        If anything in it is wrong; the message names it.
    """
    if selection.preset is not None and selection.grid is not None:
        raise UsageError(f"--preset: {selection.preset!r} and --grid {str(selection.grid)!r} exclude each other")
    names = tuple(load_upsampler(path) for path in selection.upsamplers)
    grid = load_grid(selection.grid) if selection.grid else load_preset(selection.preset or "quick")
    grid = _adapt(grid, selection, names)
    cases = select_cases(grid.expand(), selection.keyword)
    seed = secrets.randbelow(2**31) if selection.seed is None else selection.seed
    return Plan(grid=grid, cases=tuple(cases), seed=seed, upsamplers=selection.upsamplers, command=tuple(command))


def _adapt(grid: Grid, selection: Selection, names: tuple[str, ...]) -> Grid:
    settings = [*selection.settings, *([f"device={selection.device}"] if selection.device else [])]
    grid = grid.override(settings)
    if names and not any(setting.startswith("upsampler=") for setting in settings):
        grid = replace(
            grid, axes={**grid.axes, "upsampler": tuple(dict.fromkeys((*grid.axes["upsampler"], *names)))}
        )
    if selection.replicates is not None:
        if selection.replicates < 1:
            raise UsageError(f"--replicates: {selection.replicates} is not a whole number of at least 1")
        grid = replace(grid, replicates=selection.replicates)
    if selection.timeout_s is not None:
        if not 0 < selection.timeout_s < float("inf"):
            raise UsageError(f"--timeout: {selection.timeout_s} is not a number of seconds above 0")
        grid = replace(grid, timeout_s=selection.timeout_s)
    return grid


def name_folder(plan: Plan, results: Path = RESULTS) -> Path:
    """Name a new run folder: ``results/runs/<UTC time>-<preset>``.

    Parameters
    ----------
    plan : Plan
        Whose grid gives the name.
    results : Path
        The folder that holds ``runs``.
    """
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{plan.grid.name}"
    folder = results / "runs" / stem
    attempt = 1
    while folder.exists():
        attempt += 1
        folder = results / "runs" / f"{stem}-{attempt}"
    return folder


def read_environment() -> dict[str, Any]:
    """Record machine, software and accelerators."""
    return {**collect_environment(), "accelerator": describe_accelerator()}


def resume_plan(folder: Path | None, selection: Selection, *, anyway: bool = False) -> tuple[Plan, Path]:
    """Take up an interrupted run.

    Parameters
    ----------
    folder : Path or None
        The run folder; None takes the newest.
    selection : Selection
        Must be empty but for what its grid says already: grid and seed come from the folder.
    anyway : bool
        Go on although machine or software changed.

    Raises
    ------
    UsageError
        If there is no such run, it does not fit, or the selection says something.
    """
    if not selection.is_default:
        raise UsageError("--resume: takes grid, seed and settings from the run folder; give none of them")
    target = folder or find_newest_run(RESULTS)
    plan = reopen_folder(target, read_environment(), anyway=anyway)
    for path in plan.upsamplers:
        load_upsampler(path)
    return plan, target


def start_folder(plan: Plan, folder: Path | None) -> Path:
    """Check that the devices exist and make the run folder.

    Parameters
    ----------
    plan : Plan
        What will be measured.
    folder : Path or None
        None names a new one below `RESULTS`.

    Raises
    ------
    UsageError
        If a device is absent or the folder holds a run.
    SurroundingsError
        If it cannot be written.
    """
    for device in dict.fromkeys(case.device for case in plan.cases):
        check_device(device)
    target = folder or name_folder(plan)
    open_folder(plan, target, read_environment())
    return target


def measure(plan: Plan, folder: Path, observer: Observer = lambda _: None) -> Outcome:
    """Measure what is left to measure in a run folder, and write its tables.

    Parameters
    ----------
    plan : Plan
        From `make_plan` or `resume_plan`.
    folder : Path
        From `start_folder` or `resume_plan`.
    observer : callable
        Told of each job done.
    """
    outcome = run_plan(plan, folder, observer=observer)
    close_folder(folder, outcome.measuring_share)
    write_tables(folder)
    return outcome


def summarise_outcome(outcome: Outcome) -> str:
    """Say in one line how a run went.

    Parameters
    ----------
    outcome : Outcome
        What `measure` returned.
    """
    statuses = Counter(record.status for record in outcome.records if isinstance(record, Record))
    counted = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    share = outcome.measuring_share
    measuring = (
        "" if share is None else f"; {share:.0%} of the time after start-up went into latency and memory passes"
    )
    return f"{sum(statuses.values())} records: {counted}{measuring}"


def run(
    grid: Grid | str | Path = "quick",
    *,
    out: Path | None = None,
    keyword: str = "",
    seed: int | None = None,
    observer: Observer = lambda _: None,
) -> Path:
    """Measure a grid; read the result with `deconvbench.load`.

    Parameters
    ----------
    grid : Grid, str or Path
        A grid, the name of a preset, or a TOML file.
    out : Path, optional
        The run folder; a new one below ``results/runs`` by default.
    keyword : str
        As pytest's ``-k``.
    seed : int, optional
        Drawn, and recorded, by default.
    observer : callable
        Told of each job done; nothing is printed.

    Returns
    -------
    Path
        The run folder.

    Raises
    ------
    UsageError
        If the grid is wrong.
    SurroundingsError
        If the folder cannot be written.
    """
    if isinstance(grid, Grid):
        cases = select_cases(grid.expand(), keyword)
        drawn = secrets.randbelow(2**31) if seed is None else seed
        plan = Plan(grid=grid, cases=tuple(cases), seed=drawn)
    else:
        where = {"grid": grid} if isinstance(grid, Path) else {"preset": grid}
        plan = make_plan(Selection(**where, keyword=keyword, seed=seed))
    folder = start_folder(plan, out)
    measure(plan, folder, observer)
    return folder
