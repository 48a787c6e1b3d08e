import math
from collections.abc import Iterable
from statistics import fmean
from typing import Any

import pytest

from deconvbench.studies.claims import Context, Verdict
from deconvbench.studies.claims.training import (
    judge_change,
    judge_first_steps,
    judge_stacks,
    measure_change,
    measure_first_steps,
    measure_stacks,
)
from deconvbench.tables.frames import list_rows
from deconvbench.tables.trained import Trained
from tests.studies.claims.made_trained import Row, make_curve, make_result, make_trained

NAME = "reconstruction_none_tuned"
NOTHING = Context(tables=None, trained=Trained())


def make_context(results: list[Row], curves: list[Row] | None = None) -> Context:
    return Context(tables=None, trained=make_trained(results, curves or []))


def make_course(last: float, levels: tuple[float, ...] = (40.0, 30.0), seeds: int = 8, **changes: Any) -> Context:
    """Networks whose checkerboard goes from these levels, step by step, to a last one."""
    results = [
        make_result("transposed", 3, seed, **{**changes, "checkerboard_levels": last + 0.1 * seed})
        for seed in range(seeds)
    ]
    curves = [
        row
        for result in results
        for row in make_curve(
            result,
            {step: level + result["seed"] for step, level in enumerate(levels)}
            | {result["steps"]: result["checkerboard_levels"]},
        )
    ]
    return make_context(results, curves)


def find_root_mean_square(values: Iterable[float]) -> float:
    return math.sqrt(fmean(value**2 for value in values))


def test_a_checkerboard_at_the_first_steps_is_found() -> None:
    evidence = measure_first_steps(make_course(2.0))
    first, second = (find_root_mean_square(level + seed for seed in range(8)) for level in (40, 30))
    assert evidence[f"{NAME}_step0_checkerboard_levels"] == pytest.approx(first)
    assert evidence[f"{NAME}_step1_excess_levels"] == pytest.approx(second - 0.2)
    assert evidence[f"{NAME}_seeds"] == 8
    finding = judge_first_steps(evidence)
    assert finding.verdict is Verdict.SUPPORTED
    assert "reconstruction (8 seeds) step 1: 33.6 (" in finding.sentence
    assert finding.size == "8 seeds, 1 step"
    assert [effect.name for effect in finding.effects] == ["reconstruction, step 0", "reconstruction, step 1"]


def test_three_seeds_decide_nothing() -> None:
    finding = judge_first_steps(measure_first_steps(make_course(2.0, seeds=3)))
    assert finding.verdict is Verdict.UNDECIDED
    assert "with too few seeds to say whether it is there" in finding.sentence
    assert "detected at step 0 (reconstruction)" in finding.holds


def test_no_checkerboard_at_the_first_steps_is_no_checkerboard() -> None:
    finding = judge_first_steps(measure_first_steps(make_course(2.0, (-13.0, -15.0))))
    assert finding.verdict is Verdict.REFUTED
    assert "not detected (from 0.2 levels on it would have been)" in finding.sentence


def test_curves_without_their_first_steps_tell_nothing() -> None:
    finding = judge_first_steps(measure_first_steps(make_course(2.0, ())))
    assert finding.verdict is Verdict.UNDECIDED
    assert "lack their first two steps" in finding.sentence


def test_the_change_is_that_from_the_first_step_to_the_last() -> None:
    evidence = measure_change(make_course(3.0))
    first, last = (
        find_root_mean_square(level + step * seed for seed in range(8)) for level, step in ((30, 1), (3, 0.1))
    )
    assert evidence[f"{NAME}_first_checkerboard_levels"] == pytest.approx(first)
    assert evidence[f"{NAME}_last_checkerboard_levels"] == pytest.approx(last)
    assert evidence[f"{NAME}_last_over_first_ratio"] == pytest.approx(last / first)
    assert evidence[f"{NAME}_last_excess_levels"] == pytest.approx(last - 0.2)
    finding = judge_change(evidence)
    assert finding.verdict is Verdict.PARTLY
    assert "(8 seeds, 1000 steps) from 33.6 (" in finding.sentence
    assert finding.holds == (
        "Holds: what is left can be detected (reconstruction); does not hold: at least 0.5 of the first amplitude "
        "is left (reconstruction)."
    )


@pytest.mark.parametrize(
    ("lasts", "exponent"), [((3.0, 3.0), -1.0), ((0.75, 12.0), 0.0)], ids=["what_is_left_is_the_same", "share_is"]
)
def test_the_share_that_is_left_is_set_beside_the_first_weights(
    lasts: tuple[float, float], exponent: float
) -> None:
    courses = [
        make_course(last, (0.0, first), variant=variant)
        for last, first, variant in (
            (lasts[0], 10.0, "gain-0.5"),
            (3.0, 40.0, "standard"),
            (lasts[1], 160.0, "gain-2"),
        )
    ]
    context = make_context(
        [row for course in courses for row in list_rows(course.trained.results, "results", ())],
        [row for course in courses for row in list_rows(course.trained.curves, "curves", ())],
    )
    evidence = measure_change(context)
    assert evidence[f"{NAME}_gains_seed_count"] == 8
    assert evidence[f"{NAME}_gains_exponent"] == pytest.approx(exponent, abs=0.15)
    assert evidence[f"{NAME}_gains_exponent_ci_low"] is not None
    finding = judge_change(evidence)
    # it stands beside the verdict and does not change it
    assert finding.verdict is judge_change(measure_change(make_course(3.0))).verdict
    assert "the share goes as the first amplitude to the power " in finding.sentence


@pytest.mark.parametrize(
    ("last", "verdict"),
    [(25.0, Verdict.SUPPORTED), (-0.7, Verdict.REFUTED), (90.0, Verdict.REFUTED)],
    ids=["as_before", "gone", "more"],
)
def test_what_training_does_decides(last: float, verdict: Verdict) -> None:
    assert judge_change(measure_change(make_course(last))).verdict is verdict


def test_without_a_checkerboard_at_first_there_is_no_change() -> None:
    for levels in ((40.0, 0.1 - 2), ()):
        finding = judge_change(measure_change(make_course(3.0, levels)))
        assert finding.verdict is Verdict.UNDECIDED
        assert "lack a checkerboard at their first logged step" in finding.sentence


def make_stacks(scale1: float, scale2: float, **changes: Any) -> list[Row]:
    return [
        make_result(
            "transposed",
            3,
            seed,
            checkerboard_levels=math.hypot(scale1, scale2),
            checkerboard_scale1_levels=scale1 + 0.01 * seed,
            checkerboard_scale2_levels=scale2,
            **changes,
        )
        for seed in range(8)
    ]


def test_two_grids_of_like_strength_compound() -> None:
    assert judge_stacks(measure_stacks(make_context(make_stacks(2.4, 2.5)))).verdict is Verdict.SUPPORTED


def test_stacks_overlap_more_and_a_grid_that_is_much_stronger_hides_the_other() -> None:
    evidence = measure_stacks(make_context(make_stacks(0.7, 1.6)))
    overlaps = [evidence[f"stack_of_{depth}_overlap_cv"] for depth in (1, 2, 3)]
    assert overlaps == pytest.approx([0.4843, 0.5386, 0.5725], abs=1e-4)
    assert evidence[f"{NAME}_earlier_layer_checkerboard_levels"] == pytest.approx(1.6)
    assert evidence[f"{NAME}_both_less_larger_part_levels"] == pytest.approx(math.hypot(0.7, 1.6) - 1.6, abs=0.01)
    assert judge_stacks(evidence).verdict is Verdict.PARTLY


def test_an_earlier_layer_that_is_merely_there_does_not_compound() -> None:
    finding = judge_stacks(measure_stacks(make_context(make_stacks(1.6, 0.7))))
    assert finding.verdict is Verdict.PARTLY
    assert (
        "does not hold: two trained layers leave 0.5 levels more than the stronger of their grids" in finding.holds
    )


def test_a_network_with_one_upsampler_has_no_earlier_layer() -> None:
    results = [
        make_result("transposed", 3, seed, task="super-resolution", checkerboard_scale2_levels=None)
        for seed in range(8)
    ]
    finding = judge_stacks(measure_stacks(make_context(results)))
    assert finding.verdict is Verdict.UNDECIDED
    assert judge_stacks(measure_stacks(NOTHING)).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    "measure",
    [measure_first_steps, measure_change],
    ids=lambda measure: measure.__name__,
)
def test_nothing_trained_is_no_evidence(measure: object) -> None:
    assert callable(measure)
    assert measure(NOTHING) == {}
