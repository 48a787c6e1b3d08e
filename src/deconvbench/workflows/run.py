"""The main job from end to end: choose, measure, tabulate, report.

The one place where the measuring half and the tabulating half meet; they exchange files in the run folder.
The command line, the pytest front and `deconvbench.run` are thin wrappers of these functions.
"""

import json
import secrets
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deconvbench.analysis.comparison import MIN_REPLICATES
from deconvbench.analysis.selftest import SelftestResult, collect_run, format_selftest, judge_selftest, to_dict
from deconvbench.errors import UsageError
from deconvbench.grid.grid import Grid, load_grid, load_preset, select_all
from deconvbench.measure.accelerator import check_device, describe_accelerator
from deconvbench.progress import JobObserver
from deconvbench.records.case import Case
from deconvbench.records.record import SCHEMA_VERSION, Record, SpeedupRecord
from deconvbench.records.run_folder import find_newest_run, write_whole
from deconvbench.runner.engine import PlannedRun, RunOutcome, run_plan, run_tasks
from deconvbench.runner.environment import collect_environment
from deconvbench.runner.folder import close_folder, open_folder, reopen_folder
from deconvbench.runner.plan import Plan
from deconvbench.runner.precision import list_imprecise
from deconvbench.runner.worker import WorkerOptions
from deconvbench.tables.files import write_tables
from deconvbench.units import parse_fraction
from deconvbench.upsamplers import list_sources, load_upsampler

RESULTS = Path("results")
_MAX_NOISE_LINES = 8


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
    precision : str or None
        Measure further replicates of the cases whose interval is wider, such as ``2%``.
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
    precision: str | None = None
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
        raise UsageError(
            f"--preset: {selection.preset!r} and --grid {str(selection.grid)!r} are mutually exclusive"
        )
    names = load_upsamplers(selection.upsamplers)
    grid = load_grid(selection.grid) if selection.grid else load_preset(selection.preset or "quick")
    grid = _adapt(grid, selection, names)
    cases, speedups = select_all(grid.expand(), grid.list_settings(), selection.keyword)
    return Plan(
        grid=grid,
        cases=tuple(cases),
        seed=secrets.randbelow(2**31) if selection.seed is None else selection.seed,
        upsamplers=tuple(dict.fromkeys((*selection.upsamplers, *_find_sources(grid, cases)))),
        command=tuple(command),
        precision=None if selection.precision is None else parse_fraction(selection.precision, "--precision"),
        settings=tuple(speedups),
    )


def _find_sources(grid: Grid, cases: Sequence[Case]) -> tuple[str, ...]:
    """Say where workers find the upsamplers that a script registered in this process."""
    interleaved = grid.speedup.list_upsamplers() if grid.speedup is not None else ()
    return list_sources((*(name for name, _, _ in grid.list_layers(cases)), *interleaved))


def load_upsamplers(paths: Sequence[str]) -> tuple[str, ...]:
    """Load upsamplers of the user's own; the current folder is searched too, as ``python -m`` would.

    Parameters
    ----------
    paths : sequence of str
        Each ``pkg.mod:factory``.

    Returns
    -------
    tuple of str
        Their names.
    """
    here = str(Path.cwd())
    if paths and here not in sys.path:
        sys.path.insert(0, here)
    return tuple(load_upsampler(path) for path in paths)


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
    load_upsamplers(plan.upsamplers)
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
    for device in dict.fromkeys(case.device for case in (*plan.cases, *plan.settings)):
        check_device(device)
    target = folder or name_folder(plan)
    open_folder(plan, target, read_environment())
    return target


def measure(plan: Plan, folder: Path, observer: JobObserver = lambda _: None) -> RunOutcome:
    """Measure what is left to measure in a run folder, and write its tables.

    Parameters
    ----------
    plan : Plan
        From `make_plan` or `resume_plan`.
    folder : Path
        From `start_folder` or `resume_plan`.
    observer : callable
        Receives each job done.
    """
    outcome = run_plan(plan, folder, observer=observer)
    close_folder(folder, outcome.measuring_share)
    write_tables(folder)
    return outcome


def summarise_outcome(plan: Plan, outcome: RunOutcome) -> str:
    """Say how a run went: a line of counts, then which cases cannot be trusted, and why.

    Parameters
    ----------
    plan : Plan
        What was measured.
    outcome : RunOutcome
        What `measure` returned.
    """
    statuses = Counter(record.status for record in outcome.records if isinstance(record, Record))
    counted = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    share = outcome.measuring_share
    line = f"{sum(statuses.values())} records: {counted}"
    interleaved = Counter(record.status for record in outcome.records if isinstance(record, SpeedupRecord))
    if interleaved:
        counted = ", ".join(f"{count} {status}" for status, count in interleaved.most_common())
        line += f"; {interleaved.total()} settings with interleaved timing: {counted}"
    if share is not None:
        line += f"; {share:.0%} of the time after start-up went into latency and memory passes"
    return "\n".join([line, *_describe_noise(plan, outcome)])


def _describe_noise(plan: Plan, outcome: RunOutcome) -> list[str]:
    noisy = {
        record.case.case_id: f"replicate {record.replicate}: {record.noise_reason}"
        for record in outcome.records
        if isinstance(record, Record) and record.noisy
    }
    lines = [f"noisy: {case_id}: {reason}" for case_id, reason in noisy.items()]
    if plan.precision is not None:
        wide = [case.case_id for case in list_imprecise(plan, outcome.records)]
        lines = [f"still wider than ±{plan.precision:.1%}: {case_id}" for case_id in wide] + lines
    rest = len(lines) - _MAX_NOISE_LINES
    return [*lines[:_MAX_NOISE_LINES], *([f"and {rest} more, all marked in table and report"] if rest > 0 else [])]


def run_selftest(
    selection: Selection, slowdown: float, out: Path | None = None, observer: JobObserver = lambda _: None
) -> tuple[SelftestResult, Path]:
    """Measure the same code five times, the fifth made slower, and judge what each rule says of it.

    The first two runs and the slowed one are interleaved; the other two, interleaved with each other, follow.

    Parameters
    ----------
    selection : Selection
        What to measure.
    slowdown : float
        Share by which the fifth run is made slower.
    out : Path, optional
        Gets a run folder for each; a new folder below ``results/runs`` by default.
    observer : callable
        Receives each job done.

    Returns
    -------
    SelftestResult
        Also written into the folder, as Markdown and JSON.
    Path
        The folder.

    Raises
    ------
    UsageError
        If the selection is wrong, has too few replicates to compare, or another device than the CPU.
    """
    plan = make_plan(selection, ["deconvbench", "selftest"])
    if plan.grid.replicates < MIN_REPLICATES:
        raise UsageError(f"--replicates: {plan.grid.replicates} is too few to compare; at least {MIN_REPLICATES}")
    for device in dict.fromkeys(case.device for case in plan.cases):
        if device != "cpu":
            raise UsageError(f"--set device: {device!r} cannot be made slower by a busy loop; selftest takes cpu")
    target = out or name_folder(plan)
    environment = read_environment()
    tasks = {}
    for name in ("a", "b", "slowed", "c", "d"):
        folder = target / name
        open_folder(plan, folder, environment)
        options = WorkerOptions(measures_memory=False, slowdown=slowdown if name == "slowed" else 0.0)
        tasks[name] = PlannedRun(plan=plan, folder=folder, options=options)
    runs = {}
    for names in (("a", "b", "slowed"), ("c", "d")):
        for name, outcome in zip(names, run_tasks([tasks[n] for n in names], observer=observer), strict=True):
            close_folder(tasks[name].folder, outcome.measuring_share)
            runs[name] = collect_run(outcome.records)
    result = judge_selftest((runs["a"], runs["b"]), (runs["c"], runs["d"]), runs["slowed"], slowdown)
    write_whole(target / "selftest.md", f"{format_selftest(result)}\n".encode())
    text = json.dumps({"schema_version": SCHEMA_VERSION, **to_dict(result)}, indent=1, allow_nan=False)
    write_whole(target / "selftest.json", f"{text}\n".encode())
    return result, target


def run(
    grid: Grid | str | Path = "quick",
    *,
    out: Path | None = None,
    keyword: str = "",
    seed: int | None = None,
    observer: JobObserver = lambda _: None,
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
        Receives each job done; nothing is printed.

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
        cases, settings = select_all(grid.expand(), grid.list_settings(), keyword)
        drawn = secrets.randbelow(2**31) if seed is None else seed
        plan = Plan(
            grid=grid,
            cases=tuple(cases),
            seed=drawn,
            upsamplers=_find_sources(grid, cases),
            settings=tuple(settings),
        )
    else:
        where = {"grid": grid} if isinstance(grid, Path) else {"preset": grid}
        plan = make_plan(Selection(**where, keyword=keyword, seed=seed))
    folder = start_folder(plan, out)
    measure(plan, folder, observer)
    return folder
