"""The process that measures a batch: started when there is something to measure, and again when it has ended.

It is the same on this machine and on a worker of a cluster. Knows no journal: what it returns are records.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from deconvbench.records.record import AnyRecord, Record
from deconvbench.runner.grouping import measure_group
from deconvbench.runner.messages import Breakdown
from deconvbench.runner.worker import MeasuringProcess, WorkerOptions
from deconvbench.units import format_moment

StartWorker = Callable[[WorkerOptions], MeasuringProcess]


def find_next_index(records: Sequence[AnyRecord], replicate: int) -> int:
    """Find the index of the next process that measures a replicate: one more than any before, 0 for the first.

    Parameters
    ----------
    records : sequence of record
        What was measured so far.
    replicate : int
        From 0.
    """
    earlier = [r.process_index for r in records if isinstance(r, Record) and r.replicate == replicate]
    return max(earlier, default=-1) + 1


class BatchProcess:
    """The process that measures a batch.

    Parameters
    ----------
    start : callable
        Starts a worker.
    options : WorkerOptions
        How to start it.
    timeout_s : float
        Seconds after which a job counts as hanging.
    find_first_index : callable
        Gives the index of the first process that measures a replicate here.
    """

    def __init__(
        self,
        start: StartWorker,
        options: WorkerOptions,
        timeout_s: float,
        find_first_index: Callable[[int], int] = lambda _: 0,
    ) -> None:
        self._start = start
        self._options = options
        self._timeout_s = timeout_s
        self._find_first_index = find_first_index
        self._worker: MeasuringProcess | None = None
        # by replicate, of the next process that measures cases of it
        self._next_indices: dict[int, int] = {}
        self._index: int | None = None
        self._unreported: list[Record] = []

    def measure_group(self, jobs: Sequence[AnyRecord]) -> list[AnyRecord]:
        """Have one group measured, as `split_groups` makes them.

        Parameters
        ----------
        jobs : sequence of record
            Not filled in yet.

        Returns
        -------
        list of record
            In the order of the jobs, each with the status that it earned.
        """
        cases = [job for job in jobs if isinstance(job, Record)]
        if cases:
            return [*measure_group(cases, self._measure_together)]
        return [self._find_worker().measure(job, self._timeout_s) for job in jobs]

    def _measure_together(self, jobs: Sequence[Record]) -> list[Record] | Breakdown:
        """Have cases measured together, and say when and in which process."""
        worker, replicate = self._find_worker(), jobs[0].replicate
        if self._index is None:
            self._index = self._next_indices.get(replicate, self._find_first_index(replicate))
            self._next_indices[replicate] = self._index + 1
        began_at = format_moment()  # of all of them
        dated = [replace(job, process_index=self._index, started_at=began_at) for job in jobs]
        found = worker.measure_together(dated, self._timeout_s)
        ended_at = format_moment()
        if isinstance(found, Breakdown):
            return replace(found, process_index=self._index, started_at=began_at, ended_at=ended_at)
        found = [replace(record, ended_at=ended_at) for record in found]
        self._unreported += found
        return found

    def take_unreported(self, measured: Sequence[AnyRecord]) -> list[Record]:
        """Return what was measured beside some records, to compare them with it, since the last call.

        Parameters
        ----------
        measured : sequence of record
            What `measure_group` returned.
        """
        keys = {id(record) for record in measured}
        rest = [record for record in self._unreported if id(record) not in keys]
        self._unreported = []
        return rest

    def _find_worker(self) -> MeasuringProcess:
        if self._worker is None or not self._worker.alive:
            self.kill()
            self._worker = self._start(self._options)
            self._index = None
        return self._worker

    def kill(self) -> None:
        """End the process, if there is one."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def __enter__(self) -> "BatchProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
