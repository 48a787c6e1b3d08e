"""Where the time of a run goes, with a clock that is set by hand."""

from dataclasses import replace
from typing import Any

import pytest

from deconvbench.records.record import QualityRecord, Record, SpeedupRecord
from deconvbench.runner.timing import Timing, guess_seconds
from deconvbench.runner.worker import MeasuringProcess, WorkerOptions
from tests.builders import make_case, make_grid, make_plan, make_record, make_speedup_grid
from tests.made_speedups import make_speedup_record

QUALITY = QualityRecord(upsampler="a", kernel_size=3, scale_factor=2, seed=0, channels=1, status="ok", total_s=0.5)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def refuse_to_start(options: WorkerOptions) -> MeasuringProcess:
    raise AssertionError("nothing is to be started")


def test_jobs_that_wait_take_the_mean_of_their_kind() -> None:
    case = make_record(total_s=2.0)
    timing = Timing(Clock(), [case] * 4 + [QUALITY] * 2, refuse_to_start)
    guesses = {Record.KIND: 10.0}
    # nothing is known yet, and of quality not even a guess
    assert (timing.waiting, timing.remaining_s(guesses)) == (6, 40.0)
    timing.add(case)
    timing.add(replace(case, total_s=4.0))
    assert (timing.waiting, timing.remaining_s(guesses)) == (4, 2 * 3.0)
    timing.add(QUALITY)
    assert timing.remaining_s(guesses) == 2 * 3.0 + 0.5
    timing.expect([case, case])
    assert (timing.waiting, timing.remaining_s(guesses)) == (5, 4 * 3.0 + 0.5)


def test_the_share_of_measuring_is_of_the_time_without_starts() -> None:
    clock = Clock()

    worker: Any = object()

    def start(options: WorkerOptions) -> MeasuringProcess:
        clock.now += 5.0
        return worker  # type: ignore[no-any-return]

    timing = Timing(clock, [], start)
    assert timing.measuring_share() is None
    clock.now += 20.0
    timing.add(make_record(latency_pass_s=6.0, memory_pass_s=1.0, total_s=8.0))
    timing.count_rest([make_record(latency_pass_s=1.0, memory_pass_s=0.0, total_s=2.0)])
    timing.add(replace(make_speedup_record(make_case()), measuring_s=2.0))
    assert timing.measuring_share() == pytest.approx(10 / 20)
    assert timing.measuring_share(busy_s=40.0) == pytest.approx(10 / 40)
    assert timing.start_worker(WorkerOptions()) is worker
    clock.now += 20.0
    assert timing.measuring_share() == pytest.approx(10 / 40)


def test_what_others_are_compared_with_counts_beside_what_waits() -> None:
    timing = Timing(Clock(), [make_record()] * 2, refuse_to_start)
    timing.add(make_record(total_s=1.0))
    timing.count_rest([make_record(total_s=3.0)])
    assert timing.waiting == 1
    assert timing.remaining_s({}) == 4.0


def test_guesses_are_of_the_slowest_grid_and_of_every_kind() -> None:
    plain, interleaved = make_plan(make_grid()), make_plan(make_speedup_grid())
    guesses = guess_seconds([plain])
    assert guesses[Record.KIND] > 0
    assert guesses[SpeedupRecord.KIND] == 0
    both = guess_seconds([plain, interleaved])
    assert both[SpeedupRecord.KIND] > 0
    assert both[Record.KIND] >= guesses[Record.KIND]
