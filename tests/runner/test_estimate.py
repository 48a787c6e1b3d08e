from dataclasses import replace

import pytest

from deconvbench.records.record import QualityRecord, SpeedupRecord
from deconvbench.runner.estimate import describe_extent, guess_job_seconds, guess_speedup_seconds
from deconvbench.runner.plan import list_speedups
from tests.builders import make_case, make_plan, make_record, make_speedup_grid


def test_long_speedups_are_guessed_by_their_work_and_short_ones_by_the_cap() -> None:
    plan = make_plan(make_speedup_grid())
    jobs = [job for job in list_speedups(plan, 0) if isinstance(job, SpeedupRecord)]
    short = guess_speedup_seconds(plan.grid, jobs[:1])
    assert plan.grid.time_cap_s < short < plan.grid.time_cap_s + 2
    assert guess_speedup_seconds(plan.grid, jobs) == pytest.approx(len(jobs) * short, rel=0.01)
    large = replace(jobs[0], case=make_case(in_channels=512, out_channels=256, height=64, width=64))
    assert guess_speedup_seconds(plan.grid, [large]) > 5 * short
    two = replace(large, case=replace(large.case, threads=2))
    assert guess_speedup_seconds(plan.grid, [two]) < guess_speedup_seconds(plan.grid, [large])
    # other kinds are none of its business
    assert guess_speedup_seconds(plan.grid, [make_record()]) == 0


def test_a_case_is_guessed_by_its_share_of_the_rounds_or_by_its_work() -> None:
    grid = make_plan().grid
    small, large = (
        make_record(),
        make_record(case=make_case(in_channels=512, out_channels=256, height=128, width=128)),
    )
    assert guess_job_seconds(grid, small) == grid.time_cap_s + 0.25
    assert guess_job_seconds(grid, large) > 5 * guess_job_seconds(grid, small)
    trained = replace(large, case=replace(large.case, step="train"))
    assert guess_job_seconds(grid, trained) > 2 * guess_job_seconds(grid, large)
    # what accelerators take is not known, and what cannot fit into memory is refused at once
    for changes in ({"device": "cuda"}, {"height": 10**6, "width": 10**6}):
        other = replace(large, case=replace(large.case, **changes))
        assert guess_job_seconds(grid, other) == guess_job_seconds(grid, small)
    (setting, *_) = list_speedups(make_plan(make_speedup_grid()), 0)
    assert guess_job_seconds(grid, setting) == guess_speedup_seconds(grid, [setting])
    untimed = QualityRecord(upsampler="a", kernel_size=None, scale_factor=2, seed=0, channels=1, status="ok")
    assert 0 < guess_job_seconds(grid, untimed) < 1


def test_the_extent_counts_cases_and_settings() -> None:
    assert describe_extent(make_plan()) == "3 cases × 2 replicates, about 8 s"
    # a baseline that is timed along takes its time too
    assert describe_extent(make_plan(baseline=("transposed", 3))) == "3 cases × 2 replicates, about 15 s"
    assert describe_extent(make_plan(baseline=("nearest_conv", 3))) == "3 cases × 2 replicates, about 8 s"
    text = describe_extent(make_plan(make_speedup_grid()))
    assert text.startswith("1 cases and 6 settings with interleaved timing × 2 replicates, about ")
