"""The comparison tested on itself: identical code measured against itself, and once made slower."""

import json
from pathlib import Path

from deconvbench.analysis.comparison import MIN_REPLICATES
from deconvbench.analysis.selftest import SelftestResult, collect_run, format_selftest, judge_selftest, to_dict
from deconvbench.errors import UsageError
from deconvbench.progress import JobObserver
from deconvbench.records.record import SCHEMA_VERSION
from deconvbench.records.run_folder import write_whole
from deconvbench.runner.engine import PlannedRun, run_tasks
from deconvbench.runner.folder import close_folder, open_folder
from deconvbench.runner.worker import WorkerOptions
from deconvbench.workflows.run import name_folder, read_environment
from deconvbench.workflows.selection import Selection, make_plan


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
