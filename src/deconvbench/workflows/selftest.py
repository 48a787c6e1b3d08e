"""The comparison tested on itself: identical code measured against itself in pairs, and once made slower."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from deconvbench.analysis.intervals import MIN_REPLICATES
from deconvbench.analysis.selftest import SelftestResult, judge_selftest
from deconvbench.errors import UsageError
from deconvbench.progress import JobDone, JobObserver
from deconvbench.records.journal import Journal
from deconvbench.records.pairs import PairRecord
from deconvbench.records.record import SCHEMA_VERSION
from deconvbench.records.run_folder import JOURNAL_NAME
from deconvbench.report.selftest import format_selftest, to_dict
from deconvbench.runner.pair_jobs import draw_control, list_pair_jobs
from deconvbench.runner.pairing import WAITING_VARIABLES, PairProcess, PairSetup, StartSide, measure_pairs
from deconvbench.runner.plan import Plan
from deconvbench.runner.worker import WorkerOptions
from deconvbench.system.paths import check_contents, check_path, make_absolute, make_folder
from deconvbench.system.writing import write_files
from deconvbench.workflows.run import make_run_folder, read_environment
from deconvbench.workflows.selection import Selection, make_plan

# what marks a folder as one of a selftest
_RESULT_NAME = "selftest.json"
# below the folder, so that it is not taken for a run
_PAIRS_NAME = "pairs"
_SLOWED_SHARE, _FEWEST_SLOWED = 0.2, 4


def run_selftest(
    selection: Selection,
    slowdown: float,
    out: Path | None = None,
    observer: JobObserver = lambda _: None,
    *,
    force: bool = False,
    start: StartSide = PairProcess,
) -> tuple[SelftestResult, Path]:
    """Measure the same code in pairs of processes, a part of it made slower too, and judge what each rule says.

    Parameters
    ----------
    selection : Selection
        What to measure; its replicates are pairs of fresh processes.
    slowdown : float
        Share by which a fifth of the cases are made slower in a third process.
    out : Path, optional
        Gets what was measured and the result; a new folder below ``results/runs`` by default.
    observer : callable
        Receives each job done.
    force : bool
        Take a folder that holds files of others too.
    start : callable
        Starts a process of a pair.

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
        holds a selftest already, or files of others and `force` is false.
    """
    plan = make_plan(selection, ["deconvbench", "selftest"])
    if plan.grid.replicates < MIN_REPLICATES:
        raise UsageError(f"--replicates: {plan.grid.replicates} is too few to compare; at least {MIN_REPLICATES}")
    for device in dict.fromkeys(case.device for case in plan.cases):
        if device != "cpu":
            raise UsageError(f"--set device: {device!r} cannot be made slower by a busy loop; selftest takes cpu")
    if out is None:
        target = make_run_folder(plan)
    else:
        target = check_path(out, "--out")
        check_contents(target, [_RESULT_NAME, f"{_PAIRS_NAME}/{JOURNAL_NAME}"], force=force)
        if (target / _PAIRS_NAME / JOURNAL_NAME).exists():
            raise UsageError(f"--out: {str(target)!r} holds a selftest already; name another folder")
    folder = make_absolute(target)
    make_folder(folder / _PAIRS_NAME, "--out")
    environment, started = read_environment(), time.monotonic()
    with Journal(folder / _PAIRS_NAME) as journal:
        records = []
        for record in _measure(plan, slowdown, folder / _PAIRS_NAME, observer, start):
            journal.append(record)
            records.append(record)
    result = judge_selftest(records, slowdown)
    facts = {"schema_version": SCHEMA_VERSION, "conditions": plan.conditions, "environment": environment}
    facts["total_s"] = time.monotonic() - started
    text = json.dumps({**facts, **to_dict(result)}, indent=1, allow_nan=False)
    pages = {"selftest.md": format_selftest(result), _RESULT_NAME: text}
    write_files(folder, {name: f"{page}\n".encode() for name, page in pages.items()})
    return result, target


def _measure(
    plan: Plan, slowdown: float, logs: Path, observer: JobObserver, start: StartSide
) -> Iterator[PairRecord]:
    """Measure all replicates: every case against itself, and some against themselves made slower."""
    options = WorkerOptions(upsamplers=plan.upsamplers, environment=WAITING_VARIABLES, conditions=plan.conditions)
    slowdowns = tuple((name, slowdown) for name in dict.fromkeys(case.upsampler for case in plan.cases))
    setup = PairSetup(
        base=options,
        head=replace(options, slowdowns=slowdowns),
        timeout_s=plan.grid.timeout_s,
        logs=logs,
    )
    slowed = draw_control(plan.cases, _SLOWED_SHARE, _FEWEST_SLOWED, plan.seed)
    total = plan.grid.replicates * (len(plan.cases) + len(slowed))
    done, spent_s = 0, 0.0
    for replicate in range(plan.grid.replicates):
        jobs = list_pair_jobs(slowed, plan.cases, seed=plan.seed, replicate=replicate)
        for record in measure_pairs(setup, jobs, start=start):
            done += 1
            spent_s += record.total_s
            yield record
            observer(JobDone(done=done, total=total, record=record, remaining_s=(total - done) * spent_s / done))
