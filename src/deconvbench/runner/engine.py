"""The one engine: pending jobs, a worker, the journal, replicate by replicate.

`run_plan` reads as the story of a run: which jobs there are, which are still to be measured, measure them group
after group, have each on disk before the next. It draws no tables and prints nothing; progress
is reported to an observer.
"""

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deconvbench.progress import JobDone, JobObserver
from deconvbench.records.journal import Journal
from deconvbench.records.layers import NATIVE_UPSAMPLER
from deconvbench.records.record import AnyRecord, Record, SpeedupRecord
from deconvbench.runner.estimate import guess_speedup_seconds
from deconvbench.runner.grouping import measure_group, split_groups
from deconvbench.runner.messages import Breakdown
from deconvbench.runner.plan import Plan, guess_case_seconds, list_jobs, list_replicate, list_speedups
from deconvbench.runner.precision import list_imprecise
from deconvbench.runner.worker import MeasuringProcess, Worker, WorkerOptions
from deconvbench.system.scratch import sweep_scratch_folders
from deconvbench.units import format_now
from deconvbench.upsamplers.fast.native import ensure_native

LOG_NAME = "worker.log"
# a case that is still imprecise after this many times the planned replicates stays so
REFINEMENT_LIMIT = 3


StartWorker = Callable[[WorkerOptions], MeasuringProcess]
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
        batches = [
            [[job for job in batch if job.key not in journal] for batch in list_jobs(task.plan)]
            for task, journal in zip(tasks, journals, strict=True)
        ]
        timing = _Timing(clock, [job for of_task in batches for batch in of_task for job in batch], start_worker)
        guesses = _guess_seconds([task.plan for task in tasks])
        done = sum(len(journal.records) for journal in journals)

        def measure(index: int, batch: Sequence[AnyRecord]) -> None:
            nonlocal done
            task = tasks[index]
            for record in _measure_batch(batch, journals[index], task, timing):
                done += 1
                remaining_s = timing.remaining_s(guesses)
                total = done + timing.waiting
                observer(JobDone(done=done, total=total, record=record, remaining_s=remaining_s))

        for number in range(max(len(of_task) for of_task in batches)):
            order = range(len(tasks)) if number % 2 == 0 else reversed(range(len(tasks)))
            for index in order:
                measure(index, batches[index][number] if number < len(batches[index]) else [])
        for index, task in enumerate(tasks):
            for batch in _list_refinements(task.plan, journals[index]):
                timing.expect(batch)
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


def _guess_seconds(plans: Sequence[Plan]) -> dict[str, float]:
    """Guess how long a job of each kind takes, before any was measured."""
    jobs = [(plan.grid, job) for plan in plans for job in list_speedups(plan, 0)]
    speedups_s = sum(guess_speedup_seconds(grid, [job]) for grid, job in jobs)
    return {
        Record.KIND: max(guess_case_seconds(plan.grid) for plan in plans),
        SpeedupRecord.KIND: speedups_s / max(len(jobs), 1),
    }


def _list_refinements(plan: Plan, journal: Journal) -> Iterator[list[AnyRecord]]:
    """List further replicates of the cases that are not precise yet, until all are or the budget is used up."""
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
    pending: Sequence[AnyRecord], journal: Journal, task: PlannedRun, timing: "_Timing"
) -> Iterator[AnyRecord]:
    """Measure jobs group after group in a fresh process, and in another one each time that process ends."""
    with _Process(task, timing, journal.records) as process:
        for jobs in split_groups(pending):
            cases = [job for job in jobs if isinstance(job, Record)]
            measured = measure_group(cases, process.measure_together) if cases else process.measure(jobs)
            timing.count_rest(process.take_unreported(measured))
            for record in measured:
                journal.append(record)
                timing.add(record)
                yield record


class _Process:
    """The process that measures a batch: started when there is something to measure, and when it has ended."""

    def __init__(self, task: PlannedRun, timing: "_Timing", earlier: Sequence[AnyRecord]) -> None:
        self._task = task
        self._timing = timing
        self._earlier = earlier
        self._worker: MeasuringProcess | None = None
        # by replicate, of the next process that measures cases of it
        self._next_indices: dict[int, int] = {}
        self._index: int | None = None
        self._unreported: list[Record] = []

    def measure(self, jobs: Sequence[AnyRecord]) -> list[AnyRecord]:
        """Have jobs measured by themselves."""
        return [self._find_worker().measure(job, self._task.plan.grid.timeout_s) for job in jobs]

    def measure_together(self, jobs: Sequence[Record]) -> list[Record] | Breakdown:
        """Have cases measured together."""
        worker, replicate = self._find_worker(), jobs[0].replicate
        if self._index is None:
            self._index = self._next_indices.get(replicate, self._find_next_index(replicate))
            self._next_indices[replicate] = self._index + 1
        dated = [replace(job, process_index=self._index, started_at=format_now()) for job in jobs]
        found = worker.measure_together(dated, self._task.plan.grid.timeout_s)
        if isinstance(found, Breakdown):
            return replace(found, process_index=self._index, started_at=dated[0].started_at)
        self._unreported += found
        return found

    def take_unreported(self, measured: Sequence[AnyRecord]) -> list[Record]:
        """Return what was measured beside these records since the last call."""
        keys = {id(record) for record in measured}
        rest = [record for record in self._unreported if id(record) not in keys]
        self._unreported = []
        return rest

    def _find_worker(self) -> MeasuringProcess:
        if self._worker is None or not self._worker.alive:
            if self._worker is not None:
                self._worker.kill()
            self._worker = self._timing.start_worker(self._task.complete_options())
            self._index = None
        return self._worker

    def _find_next_index(self, replicate: int) -> int:
        """One more than any process that measured this replicate before, 0 for the first."""
        earlier = [r.process_index for r in self._earlier if isinstance(r, Record) and r.replicate == replicate]
        return max(earlier, default=-1) + 1

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.kill()


class _Timing:
    """Where the time goes: how long a job of each kind takes, and which share of the run is measuring."""

    def __init__(
        self,
        clock: Callable[[], float],
        pending: Sequence[AnyRecord],
        start: StartWorker,
    ) -> None:
        self._clock = clock
        self._start = start
        self._started = clock()
        self._start_up_s = 0.0
        self._measuring_s = 0.0
        self._waiting: Counter[str] = Counter()
        self.expect(pending)
        self._done: Counter[str] = Counter()
        self._spent_s: defaultdict[str, float] = defaultdict(float)

    @property
    def waiting(self) -> int:
        return self._waiting.total()

    def expect(self, pending: Sequence[AnyRecord]) -> None:
        self._waiting.update(job.KIND for job in pending)

    def start_worker(self, options: WorkerOptions) -> MeasuringProcess:
        before = self._clock()
        worker = self._start(options)
        self._start_up_s += self._clock() - before
        return worker

    def add(self, record: AnyRecord) -> None:
        self._waiting[record.KIND] -= 1
        self._done[record.KIND] += 1
        self._spent_s[record.KIND] += record.total_s
        if isinstance(record, Record):
            self._measuring_s += record.latency_pass_s + record.memory_pass_s
        elif isinstance(record, SpeedupRecord):
            self._measuring_s += record.measuring_s

    def count_rest(self, records: Sequence[Record]) -> None:
        """Count the time of what was measured only to compare others with it."""
        for record in records:
            self._spent_s[record.KIND] += record.total_s
            self._measuring_s += record.latency_pass_s + record.memory_pass_s

    def measuring_share(self) -> float | None:
        after_start_up = self._clock() - self._started - self._start_up_s
        return self._measuring_s / after_start_up if self._measuring_s else None

    def remaining_s(self, guesses: Mapping[str, float]) -> float:
        """Seconds that the waiting jobs will take, each as long as the mean of its kind so far.

        The order is random, so the jobs done are a fair sample of those to come; kinds that none has been
        measured of yet are guessed at.
        """
        remaining = 0.0
        for kind, count in self._waiting.items():
            mean = self._spent_s[kind] / self._done[kind] if self._done[kind] else guesses.get(kind, 0.0)
            remaining += count * mean
        return remaining
