"""How long a run will still take, and which share of it was measuring."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from deconvbench.records.record import AnyRecord, QualityRecord, Record
from deconvbench.runner.estimate import guess_job_seconds
from deconvbench.runner.timing import Timing
from deconvbench.runner.worker import WorkerOptions
from tests.builders import make_case, make_grid, make_record

GRID = make_grid()
GUESS_S = guess_job_seconds(GRID, make_record())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make_jobs(count: int, **case: Any) -> list[Record]:
    return [make_record(replicate=number, case=make_case(**case)) for number in range(count)]


def make_timing(*jobs: AnyRecord, clock: Clock | None = None) -> Timing:
    def refuse(_: WorkerOptions) -> Any:
        raise AssertionError

    return Timing(clock or Clock(), [(GRID, job) for job in jobs], refuse)


def measure(
    timing: Timing, jobs: Sequence[AnyRecord], seconds: float, rest: Sequence[Record] = ()
) -> float | None:
    """Count jobs that took so long each, as one group, and estimate after the first of them."""
    done = [replace(job, total_s=seconds) for job in jobs]
    timing.learn(GRID, done, rest)
    timing.add(GRID, done[0])
    first = timing.remaining_s()
    for job in done[1:]:
        timing.add(GRID, job)
    return first


def test_nothing_is_said_before_a_few_jobs_and_some_of_the_work_are_done() -> None:
    jobs = make_jobs(400)
    timing = make_timing(*jobs)
    assert timing.remaining_s() is None
    assert measure(timing, jobs[:2], 5.0) is None
    # three jobs, but less than one in fifty
    assert measure(timing, jobs[2:4], 5.0) is None
    assert measure(timing, jobs[4:10], 5.0) == pytest.approx(395 * 5.0)
    assert timing.waiting == 390


def test_nothing_is_left_at_the_end_however_little_there_was() -> None:
    (job,) = make_jobs(1)
    timing = make_timing(job)
    assert measure(timing, [job], 1.0) == 0
    assert timing.waiting == 0


def test_a_group_counts_as_a_whole_from_its_first_job_on() -> None:
    jobs = make_jobs(20)
    timing = make_timing(*jobs)
    slow = replace(jobs[0], total_s=40.0)
    fast = [replace(job, total_s=1.0) for job in jobs[1:5]]
    timing.learn(GRID, [slow, *fast])
    timing.add(GRID, slow)
    assert timing.remaining_s() == pytest.approx(19 * 44 / 5)


def test_a_baseline_that_is_measured_along_is_shared_out_among_its_group() -> None:
    jobs = make_jobs(20)
    timing = make_timing(*jobs)
    rest = [make_record(total_s=8.0, latency_pass_s=1.0, memory_pass_s=1.0)]
    assert measure(timing, jobs[:4], 1.0, rest) == pytest.approx(19 * (4 * 1.0 + 8.0) / 4)


def test_jobs_of_another_size_are_estimated_by_their_work() -> None:
    small, large = make_jobs(10), make_jobs(10, in_channels=512, out_channels=512, width=512)
    assert guess_job_seconds(GRID, large[0]) > 3 * GUESS_S
    timing = make_timing(*small, *large)
    assert measure(timing, large[:5], 2 * guess_job_seconds(GRID, large[0])) is not None
    rest_s = sum(2 * guess_job_seconds(GRID, job) for job in [*small, *large[5:]])
    assert timing.remaining_s() == pytest.approx(rest_s)


def test_a_kind_that_was_not_measured_yet_is_guessed_at() -> None:
    qualities = [
        QualityRecord(upsampler="a", kernel_size=None, scale_factor=2, seed=seed, channels=1, status="ok")
        for seed in range(4)
    ]
    jobs = make_jobs(3)
    timing = make_timing(*qualities, *jobs)
    measure(timing, qualities, 7.0)
    assert timing.remaining_s() == pytest.approx(3 * GUESS_S)
    measure(timing, jobs[:1], 7.0)
    assert timing.remaining_s() == pytest.approx(2 * 7.0)


def test_what_is_added_later_counts_as_well() -> None:
    jobs = make_jobs(8)
    timing = make_timing(*jobs[:4])
    measure(timing, jobs[:4], 2.0)
    assert timing.remaining_s() == 0
    timing.expect(GRID, jobs[4:])
    assert timing.waiting == 4
    assert timing.remaining_s() == pytest.approx(8.0)


def test_the_share_of_measuring_leaves_start_up_out_and_counts_the_rest() -> None:
    clock = Clock()
    jobs = make_jobs(2)

    def start(_: WorkerOptions) -> Any:
        clock.now += 10.0

    timing = Timing(clock, [(GRID, job) for job in jobs], start)
    assert timing.measuring_share() is None
    timing.start_worker(WorkerOptions())
    clock.now += 8.0
    for job in jobs:
        timing.add(GRID, replace(job, latency_pass_s=1.0, memory_pass_s=0.5))
    timing.learn(GRID, [], [make_record(latency_pass_s=1.0)])
    assert timing.measuring_share() == pytest.approx(4.0 / 8.0)
    assert timing.measuring_share(16.0) == pytest.approx(4.0 / 16.0)
