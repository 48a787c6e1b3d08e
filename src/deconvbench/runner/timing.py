"""Where the time of a run goes: how long a job of each kind takes, and which share of the run is measuring."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from deconvbench.grid.grid import Grid
from deconvbench.records.record import AnyRecord, Record, SpeedupRecord
from deconvbench.runner.batch_process import StartWorker
from deconvbench.runner.estimate import guess_job_seconds
from deconvbench.runner.worker import MeasuringProcess, WorkerOptions

# nothing is said of the time that is left before so many jobs, and this share of the work that was expected, are
# done: the first ones warm caches up, and a few are not like the others
_FEWEST_JOBS = 3
_LEAST_SHARE = 0.02


@dataclass(slots=True)
class _Kind:
    """Jobs of one kind: how many are to be measured, and seconds as guessed and as they were."""

    waiting: int = 0
    waiting_guess_s: float = 0.0
    done_guess_s: float = 0.0
    spent_s: float = 0.0

    def estimate_s(self) -> float:
        """Estimate the seconds of those that are to be measured."""
        if not self.waiting:
            return 0.0
        return self.waiting_guess_s * (self.spent_s / self.done_guess_s if self.done_guess_s else 1.0)


class Timing:
    """Counts the time of jobs while they are measured.

    Parameters
    ----------
    clock : callable
        Seconds.
    pending : iterable of (Grid, record)
        What is to be measured, and of which grid it is a part.
    start : callable
        Starts what measures.
    """

    def __init__(
        self, clock: Callable[[], float], pending: Iterable[tuple[Grid, AnyRecord]], start: StartWorker
    ) -> None:
        self._clock = clock
        self._start = start
        self._started = clock()
        self._start_up_s = 0.0
        self._measuring_s = 0.0
        self._measured = 0
        self._kinds: defaultdict[str, _Kind] = defaultdict(_Kind)
        for grid, job in pending:
            self.expect(grid, [job])

    @property
    def waiting(self) -> int:
        """Jobs that are still to be measured."""
        return sum(kind.waiting for kind in self._kinds.values())

    def expect(self, grid: Grid, pending: Iterable[AnyRecord]) -> None:
        """Count further jobs of a grid that are to be measured."""
        for job in pending:
            kind = self._kinds[job.KIND]
            kind.waiting += 1
            kind.waiting_guess_s += guess_job_seconds(grid, job)

    def start_worker(self, options: WorkerOptions) -> MeasuringProcess:
        """Start what measures; the time that it takes counts as start-up."""
        before = self._clock()
        worker = self._start(options)
        self._start_up_s += self._clock() - before
        return worker

    def learn(self, grid: Grid, measured: Iterable[AnyRecord], rest: Iterable[Record] = ()) -> None:
        """Learn how long jobs take, from all that were measured together.

        The first of a group is not like the others, and what it is compared with takes its time once.

        Parameters
        ----------
        grid : Grid
            What they are a part of.
        measured : iterable of record
            The jobs, before they are counted as done.
        rest : iterable of Record
            What was measured only to compare them with it.
        """
        for record in measured:
            kind = self._kinds[record.KIND]
            kind.done_guess_s += guess_job_seconds(grid, record)
            kind.spent_s += record.total_s
            self._measured += 1
        for record in rest:
            self._kinds[record.KIND].spent_s += record.total_s
            self._measuring_s += record.latency_pass_s + record.memory_pass_s

    def add(self, grid: Grid, record: AnyRecord) -> None:
        """Count a job as done."""
        kind = self._kinds[record.KIND]
        kind.waiting -= 1
        kind.waiting_guess_s -= guess_job_seconds(grid, record)
        if isinstance(record, Record):
            self._measuring_s += record.latency_pass_s + record.memory_pass_s
        elif isinstance(record, SpeedupRecord):
            self._measuring_s += record.measuring_s

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

    def remaining_s(self) -> float | None:
        """Estimate the seconds that the waiting jobs will take, by what was measured so far.

        Jobs differ by orders of magnitude, and those of a group are neighbours, so the first ones are not a fair
        sample of those to come. Each job is guessed at by its work, and the guesses of each kind are multiplied by
        what those done took over their own guesses.

        Returns
        -------
        float or None
            None where too little was measured to tell.
        """
        if not self.waiting:
            return 0.0
        done_s = sum(kind.done_guess_s for kind in self._kinds.values())
        all_s = done_s + sum(kind.waiting_guess_s for kind in self._kinds.values())
        if self._measured < _FEWEST_JOBS or done_s < _LEAST_SHARE * all_s:
            return None
        return sum(kind.estimate_s() for kind in self._kinds.values())
