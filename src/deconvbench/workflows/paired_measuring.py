"""The measuring of two commits: once what is not timed, then replicates of pairs until enough is known.

Everything goes into one folder: ``base`` and ``head`` are run folders, beside the journal of the pairs. A
comparison that was interrupted goes on where it was.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deconvbench.analysis.paired_comparison import MOST_FAILURES, count_failures, list_open
from deconvbench.analysis.pairing import PairedPlan
from deconvbench.progress import JobDone, JobObserver
from deconvbench.records.case import Case
from deconvbench.records.journal import Journal
from deconvbench.records.pairs import PairRecord
from deconvbench.records.run_folder import RUN_NAME
from deconvbench.runner.engine import PlannedRun, run_tasks
from deconvbench.runner.folder import open_folder
from deconvbench.runner.pair_jobs import draw_control, list_pair_jobs
from deconvbench.runner.pairing import PairProcess, PairSetup, StartSide, measure_pairs
from deconvbench.runner.plan import Plan
from deconvbench.runner.worker import WorkerOptions
from deconvbench.workflows.run import finish_folder, read_environment

# the run folders of what is found once on each side
SIDES = ("base", "head")
# part of the cases in which BASE is measured against itself too
_CONTROL_SHARE, _FEWEST_CONTROLS = 0.25, 4
# what is found once needs no precise latency beside it
_HASTY = (("time_cap_s", 0.0), ("min_time_s", 0.0), ("warmup_s", 0.0))


def measure_values(plan: Plan, options: Sequence[WorkerOptions], folder: Path, observer: JobObserver) -> None:
    """Find once on each side what is not timed: memory, multiply-accumulates and artifacts.

    Parameters
    ----------
    plan : Plan
        Of one replicate.
    options : sequence of WorkerOptions
        Of BASE and HEAD.
    folder : Path
        Gets a run folder for each; what these hold already is kept.
    observer : callable
        Receives each job done.
    """
    environment = read_environment()
    tasks = []
    for name, chosen in zip(SIDES, options, strict=True):
        target = folder / name
        if not (target / RUN_NAME).exists():
            open_folder(plan, target, {**environment, "code_version": chosen.code_version})
        tasks.append(PlannedRun(plan=plan, folder=target, options=replace(chosen, policy=_HASTY)))
    run_tasks(tasks, observer=observer, finish=finish_folder)


def measure_replicates(
    setup: PairSetup,
    cases: Sequence[Case],
    folder: Path,
    *,
    plan: PairedPlan,
    margin: float,
    seed: int,
    observer: JobObserver = lambda _: None,
    start: StartSide = PairProcess,
) -> list[PairRecord]:
    """Measure replicates until every case is decided, or has had as many as the plan allows.

    Parameters
    ----------
    setup : PairSetup
        What is compared.
    cases : sequence of Case
        What is timed on both sides; a part of them with BASE on both sides too.
    folder : Path
        Holds the journal; what is in it already is not measured again.
    plan : PairedPlan
        When the rule looks.
    margin : float
        Largest relative change to ignore.
    seed : int
        Of weights, inputs, orders and the choice of the control.
    observer : callable
        Receives each job done.
    start : callable
        Starts a process of a pair.

    Returns
    -------
    list of PairRecord
        All of them, also those measured before.
    """
    control = draw_control(cases, _CONTROL_SHARE, _FEWEST_CONTROLS, seed)
    with Journal(folder) as journal:
        progress = _Progress(observer, plan.first * (len(cases) + len(control)))
        due: Sequence[Case] = cases
        done = 0
        for look in plan.looks:
            for replicate in range(done, look):
                jobs = _list_due(journal, due, control, seed, replicate)
                for record in measure_pairs(setup, jobs, start=start):
                    journal.append(record)
                    progress.add(record, journal)
            done = look
            # judged by what came before the look alone: what was interrupted behind it chooses the same again
            wanted = set(list_open(_list_pairs(journal, look), margin, plan))
            due = [case for case in cases if case.case_id in wanted]
            if not due:
                break
            progress.expect(len(due) + len(control))
        journal.check_place()
        return _list_pairs(journal, plan.most)


def _list_pairs(journal: Journal, before: int) -> list[PairRecord]:
    return [r for r in journal.records if isinstance(r, PairRecord) and r.replicate < before]


def _list_due(
    journal: Journal, due: Sequence[Case], control: Sequence[Case], seed: int, replicate: int
) -> list[PairRecord]:
    """List the jobs of a replicate that are not in the journal, without those that failed too often before."""
    earlier = _list_pairs(journal, replicate)
    failed = {pair: count_failures(earlier, pair) for pair in ("head", "control")}
    jobs = list_pair_jobs(due, control, seed=seed, replicate=replicate)
    return [
        job for job in jobs if job.key not in journal and failed[job.pair].get(job.case.case_id, 0) < MOST_FAILURES
    ]


class _Progress:
    """Tells how many pairs are done, and how long those that are left will take."""

    def __init__(self, observer: JobObserver, expected: int) -> None:
        self._observer = observer
        self._expected = expected
        self._spent_s = 0.0
        self._measured = 0

    def expect(self, in_each: int) -> None:
        """Expect further replicates, of so many jobs each; how many there will be is not known."""
        self._expected = max(self._expected, self._measured) + in_each

    def add(self, record: PairRecord, journal: Journal) -> None:
        self._measured += 1
        self._spent_s += record.total_s
        done = len(journal.records)
        total = max(done, self._expected)
        left = (total - done) * self._spent_s / self._measured
        self._observer(JobDone(done=done, total=total, record=record, remaining_s=left))
