"""The one engine: pending jobs, a worker, the journal, replicate by replicate.

`run_plan` reads as the story of a run: which jobs there are, which are still to be measured, measure them group
after group, have each on disk before the next. It draws no tables and prints nothing; progress
is reported to an observer.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deconvbench.progress import JobDone, JobObserver
from deconvbench.records.journal import Journal
from deconvbench.records.layers import NATIVE_UPSAMPLER
from deconvbench.records.record import AnyRecord, Record, SpeedupRecord
from deconvbench.runner.batch_process import BatchProcess, StartWorker, find_next_index
from deconvbench.runner.grouping import split_groups
from deconvbench.runner.plan import Plan, list_jobs, list_replicate
from deconvbench.runner.precision import list_imprecise
from deconvbench.runner.timing import Timing
from deconvbench.runner.worker import Worker, WorkerOptions
from deconvbench.system.scratch import sweep_scratch_folders
from deconvbench.upsamplers.fast.native import ensure_native

LOG_NAME = "worker.log"
# a case that is still imprecise after this many times the planned replicates stays so
REFINEMENT_LIMIT = 3


# receives each folder with what came of it
Finish = Callable[[Path, "RunOutcome"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run ended.

    Parameters
    ----------
    records : tuple of record
        All that the journal holds.
    measuring_share : float or None
        Share of the wall time, start-up of workers left out, spent in latency and memory passes; None when this
        run measured no case.
    """

    records: tuple[AnyRecord, ...]
    measuring_share: float | None

    @property
    def is_failure(self) -> bool:
        """Whether nothing was measured of any case, although something could have been built."""
        statuses = {record.status for record in self.records if isinstance(record, Record | SpeedupRecord)}
        return "ok" not in statuses and bool(statuses - {"unsupported"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A plan, where its records go, and how the workers that measure it are started.

    Parameters
    ----------
    plan : Plan
        What to measure.
    folder : Path
        The run folder; it must exist. What it holds already is kept and not measured again.
    options : WorkerOptions
        Policies, upsamplers and log are taken from plan and folder.
    """

    plan: Plan
    folder: Path
    options: WorkerOptions = field(default_factory=WorkerOptions)

    def complete_options(self) -> WorkerOptions:
        """Return the options with what plan and folder say."""
        policy = {"time_cap_s": self.plan.grid.time_cap_s, **dict(self.options.policy)}
        return replace(
            self.options,
            upsamplers=self.plan.upsamplers,
            upsampler_digests=self.plan.upsampler_digests,
            policy=tuple(policy.items()),
            conditions=self.plan.conditions,
            log=self.folder / LOG_NAME,
        )


def run_plan(
    plan: Plan,
    folder: Path,
    *,
    observer: JobObserver = lambda _: None,
    finish: Finish = lambda *_: None,
    start_worker: StartWorker = Worker,
    clock: Callable[[], float] = time.monotonic,
) -> RunOutcome:
    """Measure what the plan lists and the folder's journal does not hold yet; see `run_tasks`."""
    task = PlannedRun(plan=plan, folder=folder)
    return run_tasks([task], observer=observer, finish=finish, start_worker=start_worker, clock=clock)[0]


def run_tasks(
    tasks: Sequence[PlannedRun],
    *,
    observer: JobObserver = lambda _: None,
    finish: Finish = lambda *_: None,
    start_worker: StartWorker = Worker,
    clock: Callable[[], float] = time.monotonic,
) -> list[RunOutcome]:
    """Measure several plans, interleaved replicate by replicate: A B, B A, A B …, so that drift hits all alike.

    Parameters
    ----------
    tasks : sequence of PlannedRun
        What to measure; each with a folder of its own.
    observer : callable
        Receives each job done.
    finish : callable
        Receives each folder and its outcome once all is measured, while the folders are still locked.
    start_worker : callable
        Starts what measures.
    clock : callable
        Seconds, for the share of time spent measuring.

    Returns
    -------
    list of RunOutcome
        For each task the records and the share of time spent measuring.

    Raises
    ------
    SurroundingsError
        If a folder cannot be written or another run holds it.
    WorkerError
        If no worker can be started.
    """
    sweep_scratch_folders()
    _compile_native(task.plan for task in tasks)
    with contextlib.ExitStack() as stack:
        journals = [stack.enter_context(Journal(task.folder)) for task in tasks]
        batches = [list_pending(task.plan, journal) for task, journal in zip(tasks, journals, strict=True)]
        pending = (
            (task.plan.grid, job)
            for task, of_task in zip(tasks, batches, strict=True)
            for batch in of_task
            for job in batch
        )
        timing = Timing(clock, pending, start_worker)
        done = sum(len(journal.records) for journal in journals)

        def measure(index: int, batch: Sequence[AnyRecord]) -> None:
            nonlocal done
            task = tasks[index]
            for record in _measure_batch(batch, journals[index], task, timing):
                done += 1
                total = done + timing.waiting
                observer(JobDone(done=done, total=total, record=record, remaining_s=timing.remaining_s()))

        for number in range(max(len(of_task) for of_task in batches)):
            order = range(len(tasks)) if number % 2 == 0 else reversed(range(len(tasks)))
            for index in order:
                measure(index, batches[index][number] if number < len(batches[index]) else [])
        for index, task in enumerate(tasks):
            for batch in list_refinements(task.plan, journals[index]):
                timing.expect(task.plan.grid, batch)
                measure(index, batch)
        share = timing.measuring_share()
        outcomes = [RunOutcome(records=tuple(journal.records), measuring_share=share) for journal in journals]
        for task, journal, outcome in zip(tasks, journals, outcomes, strict=True):
            journal.check_place()
            finish(task.folder, outcome)
        return outcomes


def _compile_native(plans: Iterable[Plan]) -> None:
    """Compile the layer that must be compiled, where a plan has it, lest a worker does so between two cases."""
    if any(case.upsampler == NATIVE_UPSAMPLER for plan in plans for case in plan.cases):
        # a reason why not becomes the status of its cases
        ensure_native()


def list_pending(plan: Plan, journal: Journal) -> list[list[AnyRecord]]:
    """List what a plan measures whatever is found, in batches that each want a fresh process, less what is done.

    Parameters
    ----------
    plan : Plan
        What to measure.
    journal : Journal
        What was measured.
    """
    return [[job for job in batch if job.key not in journal] for batch in list_jobs(plan)]


def list_refinements(plan: Plan, journal: Journal) -> Iterator[list[AnyRecord]]:
    """List further replicates of the cases that are not precise yet, until all are or the budget is used up.

    Parameters
    ----------
    plan : Plan
        With a precision; without one there are none.
    journal : Journal
        What was measured; it must hold a batch before the next is asked for.

    Yields
    ------
    list of record
        Not filled in yet.
    """
    if plan.precision is None:
        return
    first, last = plan.grid.replicates, plan.grid.replicates * REFINEMENT_LIMIT
    for replicate in range(first, last):
        # judged by what came before it alone: a run that was interrupted within it chooses the same cases again
        earlier = [r for r in journal.records if isinstance(r, Record) and r.replicate < replicate]
        wide = list_imprecise(plan, earlier)
        if not wide:
            return
        yield [job for job in list_replicate(plan, replicate, wide) if job.key not in journal]


def _measure_batch(
    pending: Sequence[AnyRecord], journal: Journal, task: PlannedRun, timing: Timing
) -> Iterator[AnyRecord]:
    """Measure jobs group after group in a fresh process, and in another one each time that process ends."""

    def find_first_index(replicate: int) -> int:
        return find_next_index(journal.records, replicate)

    timeout_s = task.plan.grid.timeout_s
    with BatchProcess(timing.start_worker, task.complete_options(), timeout_s, find_first_index) as process:
        for jobs in split_groups(pending):
            measured = process.measure_group(jobs)
            timing.learn(task.plan.grid, measured, process.take_unreported(measured))
            for record in measured:
                journal.append(record)
                timing.add(task.plan.grid, record)
                yield record
