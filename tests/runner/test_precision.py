"""Cases whose interval is wide get further replicates."""

from dataclasses import replace

import pytest

from deconvbench.records.record import Latency, Record
from deconvbench.runner.plan import list_jobs
from deconvbench.runner.precision import list_imprecise
from tests.builders import make_case, make_plan, make_record


def measured(height: int, *medians: float | None) -> list[Record]:
    """Records of one case, one replicate for each median; None is one that failed."""
    records = []
    for replicate, median in enumerate(medians):
        case = make_case(height=height, width=height, out_channels=4)
        if median is None:
            records.append(make_record(case=case, replicate=replicate, status="oom"))
            continue
        latency = Latency(
            samples_s=(median / 2, median, median * 2), calls_per_sample=1, first_call_s=1, stop_reason="precision"
        )
        records.append(make_record(case=case, replicate=replicate, latency=latency))
    return records


QUIET = {height: measured(height, 1.0, 1.001, 0.999) for height in (4, 16)}


@pytest.mark.parametrize(
    ("medians", "is_wide"),
    [
        ((1.0, 1.0, 1.001), False),
        ((1.0, 1.5, 0.7), True),
        ((1.0,), False),
        ((None, None), False),
        ((1.0, None, 1.5), True),
        ((), False),
    ],
    ids=["narrow", "wide", "single replicate", "failed", "wide where it did not fail", "not measured"],
)
def test_imprecise_cases_are_those_with_a_wide_interval(medians: tuple[float | None, ...], is_wide: bool) -> None:
    plan = make_plan(precision=0.05)
    records = [*QUIET[4], *measured(8, *medians), *QUIET[16]]
    assert [case.height for case in list_imprecise(plan, records)] == ([8] if is_wide else [])


def test_what_is_imprecise_depends_on_the_precision() -> None:
    records = [*QUIET[4], *measured(8, 1.0, 1.5, 0.7), *QUIET[16]]
    assert list_imprecise(make_plan(precision=None), records) == []
    assert list_imprecise(make_plan(precision=100.0), records) == []
    assert len(list_imprecise(make_plan(precision=1e-9), records)) == 3


def test_records_of_other_cases_and_kinds_do_not_matter() -> None:
    plan = make_plan(precision=0.05)
    others = [*list_jobs(plan)[0], *measured(99, 1.0, 2.0)]
    records = [*QUIET[4], *measured(8, 1.0, 1.5, 0.7), *QUIET[16]]
    assert list_imprecise(plan, [*others, *records]) == list_imprecise(plan, records)


def compared(height: int, latencies: list[float], ratios: list[float]) -> list[Record]:
    """Records of a case that was timed with a baseline, one replicate for each ratio."""
    baseline_id = make_case(upsampler="transposed", height=height, width=height, out_channels=4).case_id
    return [
        replace(record, baseline_id=baseline_id, ratios=(ratio / 2, ratio, ratio * 2))
        for record, ratio in zip(measured(height, *latencies), ratios, strict=True)
    ]


def test_a_case_is_judged_by_its_ratio_where_it_has_one() -> None:
    plan = make_plan(precision=0.05)
    steady, wide = [1.0, 1.001, 0.999], [1.0, 1.5, 0.7]
    # what drifts in all is precise, what wanders against the baseline is not
    records = [*compared(4, wide, steady), *compared(8, steady, wide), *compared(16, wide, steady)]
    assert [case.height for case in list_imprecise(plan, records)] == [8]


def test_a_baseline_is_judged_by_its_latency() -> None:
    plan = make_plan(precision=0.05)
    own = [
        replace(record, baseline_id=record.case.case_id, ratios=(1.0,)) for record in measured(8, 1.0, 1.5, 0.7)
    ]
    assert [case.height for case in list_imprecise(plan, [*QUIET[4], *own, *QUIET[16]])] == [8]
