"""The main job from end to end: choose, measure, tabulate, report.

The one place where the measuring half and the tabulating half meet; they exchange files in the run folder.
The command line, the pytest front and `deconvbench.run` are thin wrappers of these functions.
"""

import secrets
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deconvbench.errors import UsageError
from deconvbench.grid.grid import Grid, select_all
from deconvbench.measure.accelerator import check_device, describe_accelerator
from deconvbench.progress import JobObserver
from deconvbench.records.record import Record, SpeedupRecord
from deconvbench.records.run_folder import find_newest_run
from deconvbench.runner.engine import RunOutcome, run_plan
from deconvbench.runner.environment import collect_environment
from deconvbench.runner.folder import close_folder, open_folder, reopen_folder
from deconvbench.runner.plan import Plan
from deconvbench.runner.precision import list_imprecise
from deconvbench.tables.files import write_tables
from deconvbench.upsamplers.sources import identify_sources, name_changed_sources
from deconvbench.workflows.selection import Selection, find_sources, load_upsamplers, make_plan

RESULTS = Path("results")
_MAX_NOISE_LINES = 8


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
    plan = reopen_folder(target, read_environment(), find_changes=_find_changed_sources, anyway=anyway)
    return replace(plan, upsampler_digests=identify_sources(plan.upsamplers)), target


def _find_changed_sources(plan: Plan) -> list[str]:
    load_upsamplers(plan.upsamplers)
    return name_changed_sources(plan.upsamplers, plan.upsampler_digests)


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
        sources = find_sources(grid, cases)
        plan = Plan(
            grid=grid,
            cases=tuple(cases),
            seed=drawn,
            upsamplers=sources,
            upsampler_digests=identify_sources(sources),
            settings=tuple(settings),
        )
    else:
        where = {"grid": grid} if isinstance(grid, Path) else {"preset": grid}
        plan = make_plan(Selection(**where, keyword=keyword, seed=seed))
    folder = start_folder(plan, out)
    measure(plan, folder, observer)
    return folder
