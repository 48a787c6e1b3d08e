"""Where the time of a run goes: how long a job of each kind takes, and which share of the run is measuring."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from deconvbench.records.record import AnyRecord, Record, SpeedupRecord
from deconvbench.runner.batch_process import StartWorker
from deconvbench.runner.estimate import guess_speedup_seconds
from deconvbench.runner.plan import Plan, guess_case_seconds, list_speedups
from deconvbench.runner.worker import MeasuringProcess, WorkerOptions


def guess_seconds(plans: Sequence[Plan]) -> dict[str, float]:
    """Guess how long a job of each kind takes, before any was measured.

    Parameters
    ----------
    plans : sequence of Plan
        What will be measured.

    Returns
    -------
    dict of str to float
        Seconds, by the kind of its record.
    """
    jobs = [(plan.grid, job) for plan in plans for job in list_speedups(plan, 0)]
    speedups_s = sum(guess_speedup_seconds(grid, [job]) for grid, job in jobs)
    return {
        Record.KIND: max(guess_case_seconds(plan.grid) for plan in plans),
        SpeedupRecord.KIND: speedups_s / max(len(jobs), 1),
    }


class Timing:
    """Counts the time of jobs while they are measured.

    Parameters
    ----------
    clock : callable
        Seconds.
    pending : sequence of record
        What is to be measured.
    start : callable
        Starts what measures.
    """

    def __init__(self, clock: Callable[[], float], pending: Sequence[AnyRecord], start: StartWorker) -> None:
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
        """Jobs that are still to be measured."""
        return self._waiting.total()

    def expect(self, pending: Sequence[AnyRecord]) -> None:
        """Count further jobs that are to be measured."""
        self._waiting.update(job.KIND for job in pending)

    def start_worker(self, options: WorkerOptions) -> MeasuringProcess:
        """Start what measures; the time that it takes counts as start-up."""
        before = self._clock()
        worker = self._start(options)
        self._start_up_s += self._clock() - before
        return worker

    def add(self, record: AnyRecord) -> None:
        """Count a job as done."""
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

    def measuring_share(self, busy_s: float | None = None) -> float | None:
        """Return the share of the time that went into latency and memory passes.

        Parameters
        ----------
        busy_s : float, optional
            Seconds that it is a share of; by default the time since the beginning, less that of starts.

        Returns
        -------
        float or None
            None where no case was measured.
        """
        after_start_up = self._clock() - self._started - self._start_up_s if busy_s is None else busy_s
        return self._measuring_s / after_start_up if self._measuring_s else None

    def remaining_s(self, guesses: Mapping[str, float]) -> float:
        """Estimate the seconds that the waiting jobs will take, each as long as the mean of its kind so far.

        The order is random, so the jobs done are a fair sample of those to come; kinds that none has been
        measured of yet are guessed at.

        Parameters
        ----------
        guesses : mapping of str to float
            From `guess_seconds`.
        """
        remaining = 0.0
        for kind, count in self._waiting.items():
            mean = self._spent_s[kind] / self._done[kind] if self._done[kind] else guesses.get(kind, 0.0)
            remaining += count * mean
        return remaining
