import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvbench.records.effects import Interval
from deconvbench.records.metrics import ARTIFACT_ZERO_BELOW
from deconvbench.studies.claims import Context, Verdict
from deconvbench.studies.claims.remedies import (
    is_reduced,
    judge_divisibility,
    judge_resizing,
    judge_subpixel,
    measure_divisibility,
    measure_resizing,
    measure_subpixel,
)
from deconvbench.tables.trained import Trained
from tests.studies.claims.made_trained import Row, make_curve, make_images, make_result, make_trained

NAME = "reconstruction_none_tuned"
NOTHING = Context(tables=None, trained=Trained())


def make_context(*layers: tuple[str, int, float], curves: list[Row] | None = None, **changes: Any) -> Context:
    """Eight seeds of each layer, whose checkerboards are about these."""
    results = [
        make_result(upsampler, kernel, seed, **{**changes, "checkerboard_levels": levels + 0.01 * seed})
        for upsampler, kernel, levels in layers
        for seed in range(8)
    ]
    return Context(tables=None, trained=make_trained(results, curves or []))


def test_divisible_kernels_even_the_noise_but_not_the_ripple() -> None:
    context = make_context(("transposed", 4, 2.0), ("transposed", 3, 5.0))
    evidence = measure_divisibility(context)
    assert (evidence["init_noise_gain_cv_ratio_ci_high"] or 1) < 0.5
    assert evidence["init_phase_ripple_ratio"] == pytest.approx(1, abs=0.06)
    assert evidence["init_phase_ripple_other"] == pytest.approx(1, abs=0.06)
    assert evidence[f"{NAME}_remedied_over_plain_ratio"] == pytest.approx(0.4, abs=0.01)
    assert evidence[f"{NAME}_remedied_less_plain_levels"] == pytest.approx(-3.0, abs=0.001)
    finding = judge_divisibility(evidence)
    assert finding.verdict is Verdict.PARTLY
    assert re.search(
        r" 2\.04 \(2\.0.* to 2\.0.*\) levels with k4, 5\.04 \(5.* with k3, a difference of -3", finding.sentence
    )
    # the largest of each network's upsamplers, over eight seeds
    assert evidence[f"{NAME}_plain_effective_ripple"] == pytest.approx(9e-6)
    assert evidence[f"{NAME}_remedied_effective_ripple"] == pytest.approx(9e-6)
    assert "where the upsamplers' effective ripple is 9e-06 (" in finding.sentence
    # results from before it was measured have no such evidence
    earlier = {name: value for name, value in evidence.items() if "effective_ripple" not in name}
    assert "effective ripple" not in judge_divisibility(earlier).sentence


def test_kernels_are_paired_by_seed() -> None:
    """Seeds differ by levels, pairs by a tenth: k4 does not help by half a level, and that is certain."""
    results = [
        make_result("transposed", kernel, seed, checkerboard_levels=1.0 + seed + 0.1 * (kernel == 3))
        for seed in range(8)
        for kernel in (3, 4)
    ]
    evidence = measure_divisibility(Context(tables=None, trained=make_trained(results)))
    finding = judge_divisibility(evidence)
    assert "so it takes away less than 0.5 levels, if any" in finding.sentence
    assert (
        "does not hold: ripple of random weights reduced, a smaller checkerboard (reconstruction)" in finding.holds
    )


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.9, -0.6, True),
        (-0.51, -0.01, None),
        (-0.49, -0.1, False),
        (-0.9, 0.2, None),
        (-0.2, 0.9, False),
        (0.6, 0.9, False),
        (None, None, None),
    ],
    ids=["all_of_it", "may_be_little", "little", "may_be_none", "none", "more", "few_seeds"],
)
def test_a_reduction_counts_from_half_a_level(
    low: float | None, high: float | None, expected: bool | None
) -> None:
    assert is_reduced(Interval(value=0.0, low=low, high=high)) is expected


@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4))
def test_what_is_decided_of_a_reduction_stays_so_at_a_lower_level(numbers: list[float]) -> None:
    low, inner_low, inner_high, high = sorted(numbers)
    wide, narrow = Interval(value=0.0, low=low, high=high), Interval(value=0.0, low=inner_low, high=inner_high)
    assert is_reduced(wide) in (None, is_reduced(narrow))


def test_resizing_has_no_ripple_but_images_and_borders() -> None:
    context = make_context(("nearest_conv", 3, 0.1), ("transposed", 3, 5.0), border_residual_levels=30.0)
    evidence = measure_resizing(context)
    assert (evidence["init_largest_phase_ripple"] or 0) <= ARTIFACT_ZERO_BELOW
    # 20·log10 tan(πf/2) at f = 0.1, with the convolution behind it
    assert evidence["init_image_rejection_db"] == pytest.approx(-16, abs=1.5)
    assert evidence["init_border_error"] == pytest.approx(0.44, abs=0.12)
    assert evidence[f"{NAME}_nearest_border_over_interior_ratio"] == 3
    assert evidence[f"{NAME}_nearest_excess_levels"] == pytest.approx(0.14 - 0.2, abs=0.01)
    finding = judge_resizing(evidence)
    assert finding.verdict is Verdict.PARTLY
    assert "levels of checkerboard, not detected (from 0.2 levels on it would have been) (5.04" in finding.sentence
    assert "at the border 3 times the residual inside" in finding.sentence


def test_a_network_that_lacks_what_nearest_is_compared_with_is_passed_over() -> None:
    evidence = measure_resizing(make_context(("nearest_conv", 3, 0.1), ("transposed", 3, 5.0)))
    assert "reconstruction (8 seeds" in judge_resizing(evidence).sentence
    lacking = {name: value for name, value in evidence.items() if "transposed_checkerboard" not in name}
    assert "the networks that were trained lack" in judge_resizing(lacking).sentence


def test_an_image_without_a_score_leaves_out_its_seed_alone() -> None:
    rows = [make_result(name, 3, seed) for name in ("nearest_conv", "transposed") for seed in range(8)]
    images = [image for row in rows for image in make_images(row, {"a": 1.0, "b": 2.0})]
    images[-1]["checkerboard_levels"] = math.nan
    evidence = measure_resizing(Context(tables=None, trained=make_trained(rows, images=images)))
    assert (evidence[f"{NAME}_seeds"], evidence[f"{NAME}_images"]) == (7, 2)
    assert evidence[f"{NAME}_transposed_checkerboard_levels"] == pytest.approx(2.5**0.5)
    assert judge_resizing(evidence).verdict is Verdict.PARTLY


def test_a_network_without_a_residual_inside_has_no_ratio() -> None:
    context = make_context(("nearest_conv", 3, 0.1), ("transposed", 3, 5.0), interior_residual_levels=None)
    evidence = measure_resizing(context)
    assert f"{NAME}_nearest_border_over_interior_ratio" not in evidence
    assert judge_resizing(evidence).verdict is Verdict.PARTLY


def test_icnr_is_flat_at_first_and_what_training_makes_of_it_decides() -> None:
    runs = [make_result("subpixel_icnr", 3, seed) for seed in range(8)]
    curves = [
        {**row, "flat_field_ripple_levels": 0.0} for run in runs for row in make_curve(run, {0: 0.0, 1: 0.1})
    ]
    context = make_context(
        ("subpixel", 3, 4.0), ("subpixel_icnr", 3, 2.0), curves=curves, flat_field_ripple_levels=1.5
    )
    evidence = measure_subpixel(context)
    assert evidence["init_subpixel_phase_ripple"] == pytest.approx(0.75, abs=0.06)
    assert (evidence["init_icnr_largest_phase_ripple"] or 0) <= ARTIFACT_ZERO_BELOW
    assert evidence[f"{NAME}_icnr_step0_flat_field_ripple_levels"] == 0
    assert evidence[f"{NAME}_icnr_last_flat_field_ripple_levels"] == 1.5
    finding = judge_subpixel(evidence)
    assert finding.verdict is Verdict.PARTLY
    assert "its ripple of plain colours goes from 0 to 1.5 levels" in finding.sentence
    cured = measure_subpixel(make_context(("subpixel", 3, 4.0), ("subpixel_icnr", 3, 0.1)))
    assert f"{NAME}_icnr_step0_flat_field_ripple_levels" not in cured
    assert judge_subpixel(cured).verdict is Verdict.SUPPORTED
