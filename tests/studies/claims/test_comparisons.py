from typing import Any

import pytest

from deconvbench.studies.claims import Context, Verdict
from deconvbench.studies.claims.comparisons import (
    judge_colours,
    judge_interpolations,
    measure_colours,
    measure_interpolations,
)
from deconvbench.tables.trained import Trained
from tests.studies.claims.made_trained import Row, make_images, make_result, make_trained

NAME = "reconstruction_none_tuned"
NOTHING = Context(tables=None, trained=Trained())


def make_pairs(nearest: Row, bilinear: Row, **changes: Any) -> list[Row]:
    """Twelve seeds of both layers; seeds differ by decibels, pairs hardly."""
    return [
        make_result(
            upsampler, 3, seed, **{**row, **changes, "psnr_db": row["psnr_db"] + seed + 0.01 * seed * sign}
        )
        for seed in range(12)
        for upsampler, row, sign in (("nearest_conv", nearest, 1), ("bilinear_conv", bilinear, -1))
    ]


def test_interpolations_are_compared_seed_by_seed_and_image_by_image() -> None:
    rows = make_pairs({"psnr_db": 26.5}, {"psnr_db": 26.0, "ssim": None})
    levels = {"nearest_conv": 0.2, "bilinear_conv": 0.1}
    images = [
        image
        for row in rows
        for image in make_images(
            row, {name: levels[row["upsampler"]] * size for size, name in enumerate("abc", 1)}
        )
    ]
    evidence = measure_interpolations(Context(tables=None, trained=make_trained(rows, images=images)))
    assert evidence[f"{NAME}_images"] == 3
    assert evidence[f"{NAME}_nearest_psnr_db"] == pytest.approx(26.5 + 5.5 * 1.01 + 0.1)
    assert evidence[f"{NAME}_nearest_less_bilinear_psnr_db"] == pytest.approx(0.5 + 5.5 * 0.02)
    assert (evidence[f"{NAME}_nearest_less_bilinear_psnr_db_ci_low"] or 0) > 0.5
    root = ((1 + 4 + 9) / 3) ** 0.5
    assert evidence[f"{NAME}_nearest_less_bilinear_checkerboard_levels"] == pytest.approx(0.1 * root)
    assert f"{NAME}_nearest_less_bilinear_ssim" not in evidence
    finding = judge_interpolations(evidence)
    assert finding.verdict is Verdict.SUPPORTED
    assert finding.size == "12 seeds × 3 images, 1000 steps"
    assert [effect.unit for effect in finding.effects] == ["dB", "levels"]


@pytest.mark.parametrize(
    ("psnr", "levels", "verdict"),
    [
        (26.5, 0.1, Verdict.SUPPORTED),
        (26.0, 0.1, Verdict.REFUTED),
        (25.0, 0.1, Verdict.REFUTED),
        (26.5, 2.0, Verdict.PARTLY),
    ],
    ids=["better", "equal", "worse", "sharper_and_dirtier"],
)
def test_what_is_gained_and_lost_decides(psnr: float, levels: float, verdict: Verdict) -> None:
    rows = make_pairs(
        {"psnr_db": psnr, "checkerboard_levels": levels}, {"psnr_db": 26.0, "checkerboard_levels": 0.1}
    )
    evidence = measure_interpolations(Context(tables=None, trained=make_trained(rows)))
    assert judge_interpolations(evidence).verdict is verdict


def test_what_stays_open_says_what_is_excluded() -> None:
    rows = [
        make_result(upsampler, 3, seed, psnr_db=26.0 + (seed % 3 - 1) * sign)
        for seed in range(12)
        for upsampler, sign in (("nearest_conv", 1), ("bilinear_conv", -1))
    ]
    finding = judge_interpolations(measure_interpolations(Context(tables=None, trained=make_trained(rows))))
    assert finding.verdict is Verdict.UNDECIDED
    assert "(undecided: only differences beyond 1 are excluded) dB" in finding.sentence


def make_colours(transposed: float, nearest: float, **changes: Any) -> Context:
    rows = [
        make_result(upsampler, 3, seed, grid_colour_correlation=value + 0.01 * seed, **changes)
        for seed in range(12)
        for upsampler, value in (("transposed", transposed), ("nearest_conv", nearest))
    ]
    # a column of results that were scored by a later version
    return Context(tables=None, trained=make_trained(rows, grid_colour_correlation="float64"))


@pytest.mark.parametrize(
    ("transposed", "nearest", "verdict"),
    [
        (0.6, 0.05, Verdict.SUPPORTED),
        # what texture does by itself does not count
        (0.6, 0.6, Verdict.REFUTED),
        # as strong everywhere, which hides texture
        (-0.1, -0.5, Verdict.REFUTED),
        (0.15, 0.05, Verdict.PARTLY),
    ],
    ids=["clear", "texture_alone", "uniform", "weak"],
)
def test_a_grid_is_compared_with_a_network_without_one(
    transposed: float, nearest: float, verdict: Verdict
) -> None:
    evidence = measure_colours(make_colours(transposed, nearest))
    assert evidence[f"{NAME}_transposed_rank_correlation"] == pytest.approx(transposed + 0.055)
    assert evidence[f"{NAME}_transposed_less_nearest_rank_correlation"] == pytest.approx(transposed - nearest)
    finding = judge_colours(evidence)
    assert finding.verdict is verdict
    assert "with nearest_conv k3" in finding.sentence


def test_results_that_were_not_scored_for_it_tell_nothing() -> None:
    rows = [make_result(upsampler, 3, seed) for upsampler in ("transposed", "nearest_conv") for seed in range(12)]
    evidence = measure_colours(Context(tables=None, trained=make_trained(rows)))
    assert evidence == {}
    finding = judge_colours(evidence)
    assert finding.verdict is Verdict.UNDECIDED
    assert "how their grid follows the colour; run: deconvbench train" in finding.sentence


@pytest.mark.parametrize(
    "measure", [measure_interpolations, measure_colours], ids=lambda measure: measure.__name__
)
def test_nothing_trained_is_no_evidence(measure: Any) -> None:
    assert measure(NOTHING) == {}
