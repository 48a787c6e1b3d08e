"""The one engine: pending jobs, a worker, the journal, replicate by replicate.

`run_plan` reads as the story of a run: which jobs there are, which are still to be measured, measure them one
after another, have each on disk before the next. It draws no tables and prints nothing; whoever wants to show
progress passes an observer.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deconvbench.journal import Journal
from deconvbench.plan import Plan, format_now, guess_case_seconds, list_jobs
from deconvbench.record import AnyRecord, Record
from deconvbench.worker import MeasuringProcess, Worker, WorkerOptions

LOG_NAME = "worker.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One job was done.

    Parameters
    ----------
    done, total : int
        Jobs so far, and in all.
    record : record
        The one just measured.
    remaining_s : float
        Estimated seconds until the end.
    """

    done: int
    total: int
    record: AnyRecord
    remaining_s: float


Observer = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
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


def run_plan(
    plan: Plan,
    folder: Path,
    *,
    observer: Observer = lambda _: None,
    options: WorkerOptions | None = None,
    start_worker: Callable[[WorkerOptions], MeasuringProcess] = Worker,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Measure what the plan lists and the folder's journal does not hold yet.

    Parameters
    ----------
    plan : Plan
        What to measure.
    folder : Path
        The run folder; it must exist. What it holds already is kept and not measured again.
    observer : callable
        Told of each job done.
    options : WorkerOptions, optional
        How workers are started; policy, upsamplers and log are taken from plan and folder.
    start_worker : callable
        Starts what measures.
    clock : callable
        Seconds, for the share of time spent measuring.

    Returns
    -------
    Outcome
        The records and the share of time spent measuring.

    Raises
    ------
    SurroundingsError
        If the folder cannot be written or another run holds it.
    WorkerError
        If no worker can be started.
    """
    options = replace(
        options or WorkerOptions(),
        upsamplers=plan.upsamplers,
        policy=(("time_cap_s", plan.grid.time_cap_s),),
        log=folder / LOG_NAME,
    )
    with Journal(folder) as journal:
        batches = [[job for job in batch if job.key not in journal] for batch in list_jobs(plan)]
        pending = [job for batch in batches for job in batch]
        timing = _Timing(clock, pending, start_worker)
        done = len(journal.records)
        total = done + len(pending)
        for batch in batches:
            for record in _measure_batch(batch, journal, options, plan.grid.timeout_s, timing):
                done += 1
                remaining_s = timing.remaining_s(guess_case_seconds(plan.grid))
                observer(Progress(done=done, total=total, record=record, remaining_s=remaining_s))
        return Outcome(records=tuple(journal.records), measuring_share=timing.measuring_share())


def _measure_batch(
    pending: Sequence[AnyRecord], journal: Journal, options: WorkerOptions, timeout_s: float, timing: "_Timing"
) -> Iterator[AnyRecord]:
    """Measure jobs one after another in a fresh process, and in another one each time that process ends."""
    worker: MeasuringProcess | None = None
    process_index = 0
    try:
        for job in pending:
            if worker is None or not worker.alive:
                if worker is not None:
                    worker.kill()
                worker = timing.start_worker(options)
                process_index = _next_process_index(job, journal.records)
            if isinstance(job, Record):
                job = replace(job, process_index=process_index, started_at=format_now())  # noqa: PLW2901 -- the same job, dated
            record = worker.measure(job, timeout_s)
            journal.append(record)
            timing.add(record)
            yield record
    finally:
        if worker is not None:
            worker.kill()


def _next_process_index(job: AnyRecord, records: Sequence[AnyRecord]) -> int:
    """One more than any process that measured this replicate before, 0 for the first."""
    if not isinstance(job, Record):
        return 0
    earlier = [r.process_index for r in records if isinstance(r, Record) and r.replicate == job.replicate]
    return max(earlier, default=-1) + 1


class _Timing:
    """Where the time goes: how long a job of each kind takes, and which share of the run is measuring."""

    def __init__(
        self,
        clock: Callable[[], float],
        pending: Sequence[AnyRecord],
        start: Callable[[WorkerOptions], MeasuringProcess],
    ) -> None:
        self._clock = clock
        self._start = start
        self._started = clock()
        self._start_up_s = 0.0
        self._measuring_s = 0.0
        self._waiting = Counter(job.KIND for job in pending)
        self._done: Counter[str] = Counter()
        self._spent_s: defaultdict[str, float] = defaultdict(float)

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

    def measuring_share(self) -> float | None:
        after_start_up = self._clock() - self._started - self._start_up_s
        return self._measuring_s / after_start_up if self._measuring_s else None

    def remaining_s(self, guess_s: float) -> float:
        """Seconds that the waiting jobs will take, each as long as the mean of its kind so far.

        The order is random, so the jobs done are a fair sample of those to come; cases that none has been
        measured of yet are guessed at.
        """
        remaining = 0.0
        for kind, count in self._waiting.items():
            mean = self._spent_s[kind] / self._done[kind] if self._done[kind] else guess_s * (kind == Record.KIND)
            remaining += count * mean
        return remaining
