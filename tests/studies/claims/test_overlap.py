import math

import pytest

from deconvbench.studies.claims import Context, Verdict
from deconvbench.studies.claims.overlap import (
    NOTABLE,
    judge_dimensions,
    judge_gradients,
    judge_ripple,
    judge_visits,
    measure_dimensions,
    measure_gradients,
    measure_ripple,
    measure_visits,
)
from deconvbench.tables.trained import Trained

CONTEXT = Context(tables=None, trained=Trained())


def test_a_kernel_of_three_visits_one_two_and_four_times() -> None:
    evidence = measure_visits(CONTEXT)
    assert (evidence["least_visits"], evidence["most_visits"]) == (1, 4)
    assert [evidence[f"visited_{count}_times_share"] for count in range(1, 5)] == [0.25, 0.5, 0.0, 0.25]
    assert judge_visits(evidence).verdict is Verdict.SUPPORTED


def test_ripple_follows_the_overlap_only_where_weights_have_a_mean() -> None:
    evidence = measure_ripple(CONTEXT)
    for kernel in range(2, 9):
        assert evidence[f"k{kernel}_mean_0_phase_ripple"] == pytest.approx(0.75, abs=0.03)
    # per channel pair, [m²Var(n) + (1 − 1/s²)σ²n̄] / [m²E(n²) + σ²n̄] at m = 2, σ = 1
    assert evidence["k3_mean_2_phase_ripple"] == pytest.approx(
        (4 * 1.1875 + 0.75 * 2.25) / (4 * 6.25 + 2.25), abs=0.01
    )
    assert evidence["k4_mean_2_phase_ripple"] == pytest.approx(0.75 * 4 / (4 * 16 + 4), abs=0.01)
    assert evidence["k4_overlap_cv"] == 0
    assert evidence["even_overlap_zero_mean_phase_ripple"] == pytest.approx(evidence["k4_mean_0_phase_ripple"])
    assert (evidence["largest_distance_from_1_minus_1_over_s2"] or 1) < 0.02
    finding = judge_ripple(evidence)
    assert finding.verdict is Verdict.PARTLY
    assert "raises the ripple" in finding.sentence
    assert "there is a ripple without it" in finding.sentence


def test_counts_and_one_plus_cv_squared_are_squared() -> None:
    evidence = measure_dimensions(CONTEXT)
    assert evidence["squared_counts"] == evidence["combinations"] == 18
    assert (
        evidence["most_over_least_visits_2d_ratio"] == (evidence["most_over_least_visits_1d_ratio"] or 0) ** 2 == 4
    )
    assert evidence["overlap_cv_1d"] == pytest.approx(1 / 3)
    assert evidence["overlap_cv_2d"] == pytest.approx(math.sqrt((1 + 1 / 9) ** 2 - 1))
    assert (evidence["one_plus_cv2_largest_distance_from_square"] or 0) < 1e-12
    assert (evidence["overlap_cv_largest_distance_from_square"] or 0) > 0.1
    finding = judge_dimensions(evidence)
    assert finding.verdict is Verdict.SUPPORTED
    assert "the coefficient of variation itself is not: 0.333 becomes 0.484" in finding.sentence


def test_strided_convolutions_checkerboard_gradients_and_pooling_leaves_holes() -> None:
    evidence = measure_gradients(CONTEXT)
    assert evidence["conv_k3_s2_gradient_cv"] == pytest.approx(0.4843, abs=1e-4)
    # counts 9, 12 and 16
    assert evidence["conv_k7_s2_gradient_cv"] == pytest.approx(0.2031, abs=1e-4)
    assert evidence["conv_k4_s2_gradient_cv"] == evidence["average_pool_k2_s2_gradient_cv"] == 0
    assert evidence["average_pool_k3_s2_gradient_cv"] == pytest.approx(0.4843, abs=1e-4)
    assert (evidence["max_pool_k2_s2_gradient_cv_ci_high"] or 1) < NOTABLE
    assert (evidence["max_pool_k3_s2_gradient_cv_ci_low"] or 0) > NOTABLE
    assert evidence["max_pool_k2_s2_no_gradient_share"] == 0.75
    finding = judge_gradients(evidence)
    assert finding.verdict is Verdict.PARTLY
    assert "75% of the pixels getting none" in finding.sentence
