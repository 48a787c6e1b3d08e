import math

import pytest

from deconvbench.studies.claims import Context, Verdict
from deconvbench.studies.claims.training import (
    judge_change,
    judge_colours,
    judge_first_steps,
    judge_interpolations,
    judge_stacks,
    measure_change,
    measure_colours,
    measure_first_steps,
    measure_interpolations,
    measure_stacks,
)
from deconvbench.tables.trained import Trained
from tests.studies.claims.made_trained import Row, make_curve, make_result, make_trained

NAME = "reconstruction_instance"
NOTHING = Context(tables=None, trained=Trained())


def make_context(results: list[Row], curves: list[Row] | None = None) -> Context:
    return Context(tables=None, trained=make_trained(results, curves or []))


def make_course(last: float, levels: tuple[float, ...] = (40.0, 30.0), seeds: int = 3) -> Context:
    """Networks whose checkerboard goes from these levels, step by step, to a last one."""
    results = [make_result("transposed", 3, seed, checkerboard_levels=last + 0.1 * seed) for seed in range(seeds)]
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


def test_a_checkerboard_at_the_first_steps_is_found() -> None:
    evidence = measure_first_steps(make_course(2.0))
    assert evidence[f"{NAME}_step0_checkerboard_levels"] == pytest.approx(41)
    # the detection level of these curves is below half a level
    assert evidence[f"{NAME}_step1_excess_levels"] == pytest.approx(31 - 0.5)
    assert evidence[f"{NAME}_seeds"] == 3
    finding = judge_first_steps(evidence)
    assert finding.verdict is Verdict.SUPPORTED
    assert "reconstruction (3 seeds) step 1: 31 (28.5 to 33.5) levels, detected" in finding.sentence


def test_no_checkerboard_at_the_first_steps_is_no_checkerboard() -> None:
    finding = judge_first_steps(measure_first_steps(make_course(2.0, (-3.0, -5.0))))
    assert finding.verdict is Verdict.REFUTED
    assert "not detected" in finding.sentence


def test_curves_without_their_first_steps_tell_nothing() -> None:
    finding = judge_first_steps(measure_first_steps(make_course(2.0, ())))
    assert finding.verdict is Verdict.UNDECIDED
    assert "lack their first two steps" in finding.sentence


def test_the_change_is_that_from_the_first_step_to_the_last() -> None:
    evidence = measure_change(make_course(3.0))
    assert evidence[f"{NAME}_first_checkerboard_levels"] == pytest.approx(31)
    assert evidence[f"{NAME}_last_checkerboard_levels"] == pytest.approx(3.1)
    ratios = [(3 + 0.1 * seed) / (30 + seed) for seed in range(3)]
    assert evidence[f"{NAME}_last_over_first_ratio"] == pytest.approx(sum(ratios) / 3)
    assert evidence[f"{NAME}_last_excess_levels"] == pytest.approx(3.1 - 0.5)
    finding = judge_change(evidence)
    assert finding.verdict is Verdict.PARTLY
    assert "(3 seeds, 1000 steps) from 31 (28.5 to 33.5) to 3.1" in finding.sentence


@pytest.mark.parametrize(
    ("last", "verdict"),
    [(25.0, Verdict.SUPPORTED), (-0.2, Verdict.REFUTED), (90.0, Verdict.REFUTED)],
    ids=["as_before", "gone", "more"],
)
def test_what_training_does_decides(last: float, verdict: Verdict) -> None:
    assert judge_change(measure_change(make_course(last))).verdict is verdict


def test_without_a_checkerboard_at_first_there_is_no_change() -> None:
    for levels in ((40.0, 0.1 - 2), ()):
        finding = judge_change(measure_change(make_course(3.0, levels)))
        assert finding.verdict is Verdict.UNDECIDED
        assert "lack a checkerboard at their first logged step" in finding.sentence


def test_stacks_overlap_more_and_earlier_layers_are_told_apart() -> None:
    results = [
        make_result("transposed", 3, seed, checkerboard_scale2_levels=2.0 + 0.1 * seed) for seed in range(3)
    ]
    evidence = measure_stacks(make_context(results))
    overlaps = [evidence[f"stack_of_{depth}_overlap_cv"] for depth in (1, 2, 3)]
    assert overlaps == pytest.approx([0.4843, 0.5386, 0.5725], abs=1e-4)
    assert evidence[f"{NAME}_earlier_layer_checkerboard_levels"] == pytest.approx(2.1)
    assert evidence[f"{NAME}_earlier_layer_excess_levels"] == pytest.approx(1.6)
    assert judge_stacks(evidence).verdict is Verdict.SUPPORTED


def test_a_network_with_one_upsampler_has_no_earlier_layer() -> None:
    results = [
        make_result("transposed", 3, seed, task="super-resolution", checkerboard_scale2_levels=None)
        for seed in range(3)
    ]
    finding = judge_stacks(measure_stacks(make_context(results)))
    assert finding.verdict is Verdict.UNDECIDED
    assert judge_stacks(measure_stacks(NOTHING)).verdict is Verdict.UNDECIDED


def test_interpolations_are_compared_seed_by_seed() -> None:
    results = [
        make_result("nearest_conv", 3, seed, psnr_db=26.5 + seed, checkerboard_levels=-0.3) for seed in range(3)
    ] + [
        make_result(
            "bilinear_conv", 3, seed, psnr_db=26.0 + seed + 0.01 * seed, checkerboard_levels=0.2, ssim=None
        )
        for seed in range(3)
    ]
    evidence = measure_interpolations(make_context(results))
    # seeds differ by a dB, but the pairs hardly
    assert evidence[f"{NAME}_nearest_less_bilinear_psnr_db"] == pytest.approx(0.49)
    assert (evidence[f"{NAME}_nearest_less_bilinear_psnr_db_ci_low"] or 0) > 0.4
    # below 0 there is no checkerboard
    assert evidence[f"{NAME}_nearest_less_bilinear_checkerboard_levels"] == pytest.approx(-0.2)
    assert f"{NAME}_nearest_less_bilinear_ssim" not in evidence
    assert judge_interpolations(evidence).verdict is Verdict.SUPPORTED


def test_correlations_are_averaged_over_seeds() -> None:
    results = [
        make_result("transposed", 3, seed, colour_distance_correlation=0.3 + 0.01 * seed) for seed in range(3)
    ]
    results.append(make_result("transposed", 3, 3, colour_distance_correlation=math.nan))
    evidence = measure_colours(make_context(results))
    assert evidence[f"{NAME}_rank_correlation"] == pytest.approx(0.31)
    finding = judge_colours(evidence)
    assert finding.verdict is Verdict.SUPPORTED
    assert "0.31 (" in finding.sentence


@pytest.mark.parametrize(
    "measure",
    [measure_first_steps, measure_change, measure_interpolations, measure_colours],
    ids=lambda measure: measure.__name__,
)
def test_nothing_trained_is_no_evidence(measure: object) -> None:
    assert callable(measure)
    assert measure(NOTHING) == {}
