"""One benchmark for each case of the grid; what it replays was measured by the engine (see conftest.py)."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.conftest import MeasuredGrid
from deconvbench.workflows.replay import ReplayClock


def bench_case(
    case_id: str, benchmark: BenchmarkFixture, measured_grid: MeasuredGrid, replay_clock: ReplayClock
) -> None:
    """Replay the samples of one case into pytest-benchmark, or run it once where nothing is measured."""
    if benchmark.disabled:
        benchmark.pedantic(measured_grid.run_once, args=(case_id,))  # type: ignore[no-untyped-call] # it has no types
        return
    result = measured_grid.find(case_id)
    benchmark.group = result.group
    benchmark.extra_info.update(result.extra_info)
    if not result.samples_s:
        pytest.skip(f"{result.status}: {result.message}")
    replay_clock.load(result.samples_s)
    benchmark.pedantic(replay_clock.advance, rounds=len(result.samples_s))  # type: ignore[no-untyped-call] # as above
