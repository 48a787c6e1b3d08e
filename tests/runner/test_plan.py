from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest

from deconvbench.errors import UsageError
from deconvbench.records.case import name_group
from deconvbench.records.record import NumericsRecord, QualityRecord, Record, SpeedupRecord
from deconvbench.runner.plan import Plan, guess_case_seconds, list_jobs, list_replicate, list_speedups
from tests.builders import make_grid, make_plan, make_speedup_grid


def test_jobs_are_quality_and_numerics_once_then_every_case_per_replicate() -> None:
    plan = make_plan()
    first, *replicates = list_jobs(plan)
    assert [type(job) for job in first] == [QualityRecord, NumericsRecord]
    assert len(replicates) == 2
    for number, jobs in enumerate(replicates):
        assert {job.key for job in jobs} == {("record", case.case_id, number) for case in plan.cases}
        assert [job.order for job in jobs if isinstance(job, Record)] == [0, 1, 2]
    keys = [job.key for batch in list_jobs(plan) for job in batch]
    assert len(set(keys)) == len(keys)


def test_a_keyword_filters_the_layers_whose_artifacts_alone_are_measured() -> None:
    quality = {"upsampler": ["transposed"], "kernel_size": [3], "scale_factor": [2], "seeds": 2}
    grid = make_grid(quality=quality)
    counts = []
    for keyword in ("", "nearest"):
        plan = Plan.from_dict(make_plan(grid, keyword=keyword).to_dict())
        assert plan.keyword == keyword
        counts.append(sum(isinstance(job, QualityRecord) for job in list_jobs(plan)[0]))
    assert counts == [4, 2]


def test_numerics_do_not_depend_on_the_size() -> None:
    plan = make_plan(make_grid(axes={"dtype": ["float32", "bfloat16"], "step": ["forward", "train"]}))
    numerics = [job for job in list_jobs(plan)[0] if isinstance(job, NumericsRecord)]
    assert [job.dtype for job in numerics] == ["float32", "bfloat16"]


def test_orders_are_fresh_in_each_replicate_and_follow_the_seed() -> None:
    grid = make_grid(axes={"height": list(range(1, 30))}, replicates=3)
    orders = [[job.key[1] for job in jobs] for jobs in list_jobs(make_plan(grid))[1:]]
    assert orders[0] != orders[1] != orders[2]
    assert orders == [[job.key[1] for job in jobs] for jobs in list_jobs(make_plan(grid))[1:]]
    assert orders != [[job.key[1] for job in jobs] for jobs in list_jobs(make_plan(grid, seed=8))[1:]]


def test_a_further_replicate_lists_some_cases_in_an_order_of_its_own() -> None:
    plan = make_plan(make_grid(axes={"height": list(range(1, 30))}))
    cases = plan.cases[:20]
    jobs = list_replicate(plan, 5, cases)
    assert {job.key for job in jobs} == {("record", case.case_id, 5) for case in cases}
    assert [job.order for job in jobs if isinstance(job, Record)] == list(range(20))
    assert [job.key for job in jobs] != [("record", case.case_id, 5) for case in cases]
    assert jobs == list_replicate(plan, 5, cases)


LAYERS = {"upsampler": ["nearest_conv", "transposed", "subpixel"], "kernel_size": [3, 4]}


def list_groups(plan: Plan, replicate: int = 0) -> list[list[Record]]:
    jobs = [job for job in list_replicate(plan, replicate) if isinstance(job, Record)]
    return [list(members) for _, members in groupby(jobs, lambda job: name_group(job.case))]


def test_the_cases_of_a_group_are_neighbours_and_the_baseline_is_the_first() -> None:
    plan = make_plan(make_grid(axes={**LAYERS, "step": ["forward", "train"]}))
    orders = []
    for replicate in (0, 1):
        groups = list_groups(plan, replicate)
        assert len(groups) == len({name_group(case) for case in plan.cases}) == 6
        for members in groups:
            assert len({job.case.case_id for job in members}) == 6
            assert members[0].case.layer_name == "transposed k3 s2"
            assert {job.baseline_id for job in members} == {members[0].case.case_id}
        orders.append([[job.case for job in members] for members in groups])
    assert [{*members} for members in orders[0]] != [{*members} for members in orders[1]]
    assert [case.layer_name for case in orders[0][0]] != [case.layer_name for case in orders[0][1]]


@pytest.mark.parametrize(
    ("axes", "baseline", "expected"),
    [
        ({}, None, "transposed-k3"),
        ({"upsampler": ["subpixel", "nearest_conv"], "kernel_size": [5, 3]}, None, "subpixel-k5"),
        ({"kernel_size": [4, 5]}, None, "nearest_conv-k4"),
        ({}, ("subpixel", 4), "subpixel-k4"),
        ({}, ("bilinear_conv", 3), "bilinear_conv-k3"),
        ({}, ("sinc_conv", None), "sinc_conv"),
    ],
    ids=[
        "deconvolution",
        "first of the group",
        "another kernel",
        "asked for",
        "not in the grid",
        "without a kernel",
    ],
)
def test_what_a_group_is_compared_with(
    axes: dict[str, Any], baseline: tuple[str, int | None] | None, expected: str
) -> None:
    plan = make_plan(make_grid(axes={**LAYERS, **axes}), baseline=baseline)
    assert {job.baseline_id.partition("-s2-")[0] for members in list_groups(plan) for job in members} == {expected}
    assert Plan.from_dict(plan.to_dict()) == plan
    # a part of the plan is compared with the same
    part = list_replicate(plan, 3, plan.cases[-2:])
    assert {job.baseline_id.partition("-s2-")[0] for job in part if isinstance(job, Record)} == {expected}


def test_a_plan_of_before_baselines_is_read() -> None:
    info = {name: value for name, value in make_plan().to_dict().items() if name != "baseline"}
    assert Plan.from_dict(info) == make_plan()


def test_the_guess_grows_with_the_cap() -> None:
    assert guess_case_seconds(make_grid(time_cap_s=3)) > guess_case_seconds(make_grid(time_cap_s=1))


def test_speedups_follow_the_cases_of_each_replicate_frozen_ones_forward_only() -> None:
    plan = make_plan(make_speedup_grid())
    for number, jobs in enumerate(list_jobs(plan)[1:]):
        assert isinstance(jobs[0], Record)
        found = [job for job in jobs[1:] if isinstance(job, SpeedupRecord)]
        assert len(found) == len(jobs) - 1
        kinds = sorted((job.case.height, job.case.step, job.is_frozen) for job in found)
        assert kinds == [
            (side, step, frozen)
            for side in (4, 6)
            for step, frozen in (("forward", False), ("forward", True), ("train", False))
        ]
        assert {job.replicate for job in found} == {number}
        assert found[0].twins == (found[0].case.case_id.replace("nearest_conv", "nearest_conv_transposed"),)
        assert found[0].rivals == (found[0].case.case_id.replace("nearest_conv", "transposed"),)


def test_orders_of_speedups_follow_seed_and_replicate() -> None:
    plan = make_plan(make_speedup_grid())
    orders = [[job.key[:3] for job in list_speedups(plan, number)] for number in (0, 1, 0)]
    assert orders[0] != orders[1]
    assert orders[0] == orders[2]


def test_a_grid_without_speedups_has_none() -> None:
    assert list_speedups(make_plan(), 0) == []


def test_a_plan_of_before_speedups_is_read() -> None:
    info = {name: value for name, value in make_plan().to_dict().items() if name != "setting_ids"}
    assert Plan.from_dict(info) == make_plan()
    plan = make_plan(make_speedup_grid())
    assert Plan.from_dict(plan.to_dict()) == plan


def test_a_plan_of_before_policies_is_of_the_system() -> None:
    settled = make_plan(conditions="settled").to_dict()
    assert Plan.from_dict(settled).conditions == "settled"
    for earlier in (
        {name: settled[name] for name in settled if name != "conditions"},
        {**settled, "conditions": None},
    ):
        assert Plan.from_dict(earlier).conditions == "system"
    with pytest.raises(UsageError, match="conditions: 'quiet' is not one of settled, system"):
        make_plan(conditions="quiet")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"replicates": 100_000}, r"5,000,0\d\d measurements \(50 cases × 100,000 replicates and 1 layers"),
        (
            {"quality_seeds": 100_000, "replicates": 50_000},
            "measurements .* are too many; at most 2,000,000 are allowed",
        ),
    ],
    ids=["replicates", "seeds"],
)
def test_a_plan_of_months_is_refused_by_multiplication(changes: dict[str, Any], said: str) -> None:
    grid = make_grid(axes={"height": list(range(1, 51))})
    with pytest.raises(UsageError, match=said):
        make_plan(replace(grid, **changes))


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "x", True, None])
def test_a_seed_is_a_number_that_every_file_can_hold(seed: Any) -> None:
    assert make_plan(seed=2**63 - 1).seed == 2**63 - 1
    with pytest.raises(UsageError, match="seed: "):
        replace(make_plan(), seed=seed)
