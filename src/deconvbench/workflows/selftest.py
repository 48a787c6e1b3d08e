"""The comparison tested on itself: identical code measured against itself, and once made slower."""

import json
from pathlib import Path

from deconvbench.analysis.intervals import MIN_REPLICATES
from deconvbench.analysis.selftest import (
    Run,
    SelftestResult,
    collect_run,
    format_selftest,
    judge_selftest,
    to_dict,
)
from deconvbench.errors import UsageError
from deconvbench.progress import JobObserver
from deconvbench.records.record import SCHEMA_VERSION
from deconvbench.runner.engine import PlannedRun, RunOutcome, run_tasks
from deconvbench.runner.folder import close_folder, open_folder
from deconvbench.runner.worker import WorkerOptions
from deconvbench.system.paths import check_contents, check_path, make_absolute
from deconvbench.system.writing import write_files
from deconvbench.workflows.run import make_run_folder, read_environment
from deconvbench.workflows.selection import Selection, make_plan

# what marks a folder as one of a selftest
_RESULT_NAME = "selftest.json"


def run_selftest(
    selection: Selection,
    slowdown: float,
    out: Path | None = None,
    observer: JobObserver = lambda _: None,
    *,
    force: bool = False,
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
    force : bool
        Take a folder that holds files of others too.

    Returns
    -------
    SelftestResult
        Also written into the folder, as Markdown and JSON.
    Path
        The folder.

    Raises
    ------
    UsageError
        If the selection is wrong, has too few replicates to compare, or another device than the CPU; or the folder
        holds files of others and `force` is false.
    """
    plan = make_plan(selection, ["deconvbench", "selftest"])
    if plan.grid.replicates < MIN_REPLICATES:
        raise UsageError(f"--replicates: {plan.grid.replicates} is too few to compare; at least {MIN_REPLICATES}")
    for device in dict.fromkeys(case.device for case in plan.cases):
        if device != "cpu":
            raise UsageError(f"--set device: {device!r} cannot be made slower by a busy loop; selftest takes cpu")
    environment = read_environment()
    if out is None:
        target = make_run_folder(plan)
    else:
        target = check_path(out, "--out")
        check_contents(target, [_RESULT_NAME], force=force)
    folders = make_absolute(target)
    tasks = {}
    for name in ("a", "b", "slowed", "c", "d"):
        folder = folders / name
        open_folder(plan, folder, environment)
        options = WorkerOptions(measures_memory=False, slowdown=slowdown if name == "slowed" else 0.0)
        tasks[name] = PlannedRun(plan=plan, folder=folder, options=options)
    runs: dict[str, Run] = {}
    for names in (("a", "b", "slowed"), ("c", "d")):
        outcomes = run_tasks([tasks[name] for name in names], observer=observer, finish=_finish)
        runs |= {name: collect_run(outcome.records) for name, outcome in zip(names, outcomes, strict=True)}
    result = judge_selftest((runs["a"], runs["b"]), (runs["c"], runs["d"]), runs["slowed"], slowdown)
    text = json.dumps({"schema_version": SCHEMA_VERSION, **to_dict(result)}, indent=1, allow_nan=False)
    pages = {"selftest.md": format_selftest(result), _RESULT_NAME: text}
    write_files(folders, {name: f"{page}\n".encode() for name, page in pages.items()})
    return result, target


def _finish(folder: Path, outcome: RunOutcome) -> None:
    close_folder(folder, outcome.measuring_share)
