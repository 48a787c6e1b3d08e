"""The main job from end to end: choose, measure, tabulate, report.

The one place where the measuring half and the tabulating half meet; they exchange files in the run folder.
The command line, the pytest front and `deconvbench.run` are thin wrappers of these functions.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from deconvbench.arguments import check_callable, check_kind
from deconvbench.errors import UsageError, quote, suggest
from deconvbench.grid.grid import PRESETS, Grid, select_all
from deconvbench.measure.accelerator import check_device, describe_accelerator
from deconvbench.measure.capacity import count_host_bytes, explain_size
from deconvbench.progress import JobObserver
from deconvbench.records.record import Record, SpeedupRecord
from deconvbench.records.run_folder import find_newest_run
from deconvbench.runner.conditions import choose_policy
from deconvbench.runner.engine import RunOutcome, run_plan
from deconvbench.runner.environment import collect_environment
from deconvbench.runner.folder import close_folder, make_new_folder, open_folder, reopen_folder
from deconvbench.runner.plan import Plan
from deconvbench.runner.precision import list_imprecise
from deconvbench.system.paths import check_path, make_absolute
from deconvbench.tables.files import write_tables
from deconvbench.upsamplers.sources import identify_sources, name_changed_sources
from deconvbench.workflows.selection import (
    Selection,
    choose_baseline,
    choose_seed,
    find_sources,
    load_upsamplers,
    make_plan,
)

RESULTS = Path("results")
_MAX_NOISE_LINES = 8


def make_run_folder(plan: Plan, results: Path = RESULTS) -> Path:
    """Make a new run folder: ``results/runs/<UTC time>-<preset>``.

    Parameters
    ----------
    plan : Plan
        Whose grid gives the name.
    results : Path
        The folder that holds ``runs``.
    """
    return make_new_folder(plan.grid.name, results / "runs")


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
    target = find_resumed(folder, selection)
    plan = reopen_folder(target, read_environment(), find_changes=find_changed_sources, anyway=anyway)
    return replace(plan, upsampler_digests=identify_sources(plan.upsamplers)), target


def find_resumed(folder: Path | None, selection: Selection) -> Path:
    """Find the folder of the run to be resumed.

    Parameters
    ----------
    folder : Path or None
        As given; None takes the newest.
    selection : Selection
        Must be empty, as grid and seed come from the folder.

    Raises
    ------
    UsageError
        If there is no run, or the selection says something.
    """
    if not selection.is_default:
        raise UsageError("--resume: takes grid, seed and settings from the run folder; give none of them")
    return find_newest_run(RESULTS) if folder is None else check_path(folder, "--out")


def find_changed_sources(plan: Plan) -> list[str]:
    """Name the upsamplers of a plan whose source is not what it was when the run began, a line each.

    Parameters
    ----------
    plan : Plan
        As read from the run folder.
    """
    load_upsamplers(plan.upsamplers)
    return name_changed_sources(plan.upsamplers, plan.upsampler_digests)


def check_sizes(plan: Plan) -> None:
    """Refuse a plan of which nothing can fit into this machine's memory.

    Where some of its cases fit, the others become records with status `oom`, and are not tried.

    Parameters
    ----------
    plan : Plan
        What would be measured.

    Raises
    ------
    UsageError
        Naming the smallest case, what it needs and what there is.
    """
    cases = (*plan.cases, *plan.settings)
    smallest = min(cases, key=count_host_bytes)
    reason = explain_size(smallest)
    if reason is not None:
        which = smallest.case_id if len(cases) == 1 else f"the smallest of {len(cases)} cases, {smallest.case_id}"
        raise UsageError(f"{plan.grid.source}: {which}: {reason}")


def start_folder(plan: Plan, folder: str | Path | None, *, force: bool = False) -> Path:
    """Check that the devices exist and make the run folder.

    Parameters
    ----------
    plan : Plan
        What will be measured.
    folder : str, Path or None
        None makes a new one below `RESULTS`.
    force : bool
        Take a folder that holds files of others too.

    Raises
    ------
    UsageError
        If a device is absent, no case can fit into memory, the folder holds a run, or it holds files of others and
        `force` is false.
    SurroundingsError
        If it cannot be written.
    """
    for device in dict.fromkeys(case.device for case in (*plan.cases, *plan.settings)):
        check_device(device)
    check_sizes(plan)
    environment = read_environment()
    target = make_run_folder(plan) if folder is None else check_path(folder, "--out")
    open_folder(plan, target, environment, force=force)
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
    # wherever an observer, or what a layer is imported from, moves this process to
    return run_plan(plan, make_absolute(folder), observer=observer, finish=finish_folder)


def finish_folder(folder: Path, outcome: RunOutcome) -> None:
    """Describe a run folder as finished, and write its tables.

    Parameters
    ----------
    folder : Path
        Where everything is measured; it is still held.
    outcome : RunOutcome
        How the run ended.
    """
    close_folder(folder, outcome.measuring_share)
    write_tables(folder)


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


def run(
    grid: Grid | str | Path = "quick",
    *,
    out: str | Path | None = None,
    keyword: str = "",
    seed: int | None = None,
    baseline: str | None = None,
    conditions: str | None = None,
    force: bool = False,
    observer: JobObserver = lambda _: None,
) -> Path:
    """Measure a grid; read the result with `deconvbench.load`.

    Parameters
    ----------
    grid : Grid, str or Path
        A grid, the name of a preset, or a TOML file.
    out : str or Path, optional
        The run folder; a new one below ``results/runs`` by default.
    keyword : str
        As pytest's ``-k``.
    seed : int, optional
        From 0 to 2**63 - 1; drawn, and recorded, by default.
    baseline : str, optional
        ``NAME`` or ``NAME-kK`` of the layer that all others are compared with, in the grid or not; by default
        `transposed` with a kernel of 3 where the grid has it, and else the first layer.
    conditions : str, optional
        ``settled``: malloc keeps large buffers, and a thread that computes alone gets an idle core; or ``system``.
        By default ``settled`` on Linux with glibc.
    force : bool
        Take a folder that holds files of others too.
    observer : callable
        Receives each job done; nothing is printed.

    Returns
    -------
    Path
        The run folder.

    Raises
    ------
    UsageError
        If the grid or another argument is wrong, or the folder is not one to measure into; the message names it.
    SurroundingsError
        If the folder cannot be written.
    """
    target = None if out is None else check_path(out, "out")
    check_kind("keyword", keyword, str, "text")
    check_callable("observer", observer)
    seed = choose_seed(seed, "seed")
    policy = choose_policy(conditions, "conditions")
    if isinstance(grid, Grid):
        cases, settings = select_all(grid.expand(), grid.list_settings(), keyword)
        compared = None if baseline is None else choose_baseline(baseline, cases, "baseline")
        sources = find_sources(grid, cases, compared)
        plan = Plan(
            grid=grid,
            cases=tuple(cases),
            seed=seed,
            upsamplers=sources,
            upsampler_digests=identify_sources(sources),
            settings=tuple(settings),
            keyword=keyword,
            baseline=compared,
            conditions=policy,
        )
    else:
        named = _name_grid(grid)
        plan = make_plan(Selection(**named, keyword=keyword, seed=seed, baseline=baseline, conditions=policy))
    folder = start_folder(plan, target, force=force)
    measure(plan, folder, observer)
    return folder


def _name_grid(grid: object) -> dict[str, Any]:
    """Which part of a selection names a grid: text is a preset, or a file where it ends as one does."""
    if isinstance(grid, str) and grid in PRESETS:
        return {"preset": grid}
    if isinstance(grid, Path) or (isinstance(grid, str) and grid.endswith(".toml")):
        return {"grid": check_path(grid, "grid")}
    hint = suggest(grid, PRESETS)
    raise UsageError(f"grid: {quote(grid)} is not one of {', '.join(PRESETS)}, a TOML file or a Grid{hint}")
