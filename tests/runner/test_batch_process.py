"""A batch's process starts late, is started again when it has ended, and dates what it measures."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

import pytest

from deconvbench.records.record import Record
from deconvbench.runner import batch_process
from deconvbench.runner.batch_process import BatchProcess, find_next_index
from deconvbench.runner.messages import Breakdown
from deconvbench.runner.worker import R, WorkerOptions
from tests.builders import make_case, make_record


class MortalWorker:
    """Fills cases in, and ends at the calls it is told to."""

    def __init__(self, fatal: set[int], calls: Iterator[int]) -> None:
        self.alive = True
        self.killed = False
        self._fatal, self._calls = fatal, calls

    def measure(self, job: R, timeout_s: float) -> R:
        return replace(job, status="ok", message="")

    def measure_together(self, jobs: Sequence[Record], timeout_s: float) -> list[Record] | Breakdown:
        if next(self._calls) in self._fatal:
            self.alive = False
            suspect = jobs[0].case.case_id
            return Breakdown(status="crashed", message="died", suspect=suspect, is_fatal=True, total_s=1.0)
        return [replace(job, status="ok", message="") for job in jobs]

    def kill(self) -> None:
        self.killed = True


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is later by a second whenever it is read."""
    seconds = count()
    monkeypatch.setattr(batch_process, "format_moment", lambda: f"2026-01-01T00:00:{next(seconds):02}.000+00:00")


def make_process(*fatal: int) -> tuple[BatchProcess, list[MortalWorker]]:
    started: list[MortalWorker] = []
    calls = count()

    def start(_: WorkerOptions) -> MortalWorker:
        started.append(MortalWorker({*fatal}, calls))
        return started[-1]

    return BatchProcess(start, WorkerOptions(), 10.0), started


def make_jobs(*heights: int, replicate: int = 0) -> list[Record]:
    return [
        make_record(
            case=make_case(height=height), replicate=replicate, process_index=0, started_at="", ended_at=""
        )
        for height in heights
    ]


@pytest.mark.usefixtures("moments")
def test_cases_of_a_group_begin_and_end_at_one_moment() -> None:
    process, _ = make_process()
    first, second = (process.measure_group(make_jobs(8, 16, 32)) for _ in range(2))
    spans = [{(r.started_at, r.ended_at) for r in group if isinstance(r, Record)} for group in (first, second)]
    assert [len(span) for span in spans] == [1, 1]
    ((began, ended),), ((later, _),) = spans
    assert began < ended < later


def test_a_process_is_started_when_there_is_something_to_measure_and_once() -> None:
    process, started = make_process()
    assert started == []
    for _ in range(3):
        process.measure_group(make_jobs(8))
    assert len(started) == 1
    process.kill()
    process.kill()
    assert started[0].killed


@pytest.mark.usefixtures("moments")
def test_a_new_process_of_a_replicate_has_the_next_index() -> None:
    process, started = make_process(1)
    records = [*process.measure_group(make_jobs(8)), *process.measure_group(make_jobs(16))]
    records += process.measure_group(make_jobs(32))
    records += process.measure_group(make_jobs(8, replicate=1))
    cases = [record for record in records if isinstance(record, Record)]
    # the second took its process with it; another replicate counts anew, in a process that is still there
    assert [case.status for case in cases] == ["ok", "crashed", "ok", "ok"]
    assert [case.process_index for case in cases][:3] == [0, 0, 1]
    assert len(started) == 2
    assert find_next_index(cases, 0) == 2
    assert find_next_index([], 0) == 0


def test_what_was_measured_beside_the_records_is_told_once() -> None:
    process, _ = make_process()
    measured = process.measure_group(make_jobs(8, 16))
    assert [record.case.height for record in process.take_unreported(measured[:1])] == [16]
    assert process.take_unreported([]) == []
