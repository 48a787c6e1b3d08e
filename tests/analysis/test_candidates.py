"""What is known of each layer in a setting: measured, estimated, failed, or not there."""

import math
from typing import Any

import pandas as pd
import pytest

from deconvbench.analysis.candidates import Candidate, Field, list_candidates
from deconvbench.analysis.settings import resolve_setting
from deconvbench.errors import UsageError
from deconvbench.records.layers import READING_ORDER
from tests.analysis.made_choices import make_layers, make_quality, make_row, make_summary
from tests.builders import make_case


def take(
    summary: pd.DataFrame, size: tuple[int, int] | None = None, quality: pd.DataFrame | None = None, **options: Any
) -> Field:
    setting = resolve_setting(summary, {}, size)
    return list_candidates(summary, make_quality() if quality is None else quality, setting, **options)


def find(found: Field, upsampler: str) -> Candidate:
    (each,) = [each for each in found.candidates if each.upsampler == upsampler]
    return each


def get_reasons(found: Field) -> dict[str, str]:
    return {each.layer: each.reason for each in found.missing if each.layer not in READING_ORDER}


def make_sizes(upsampler: str, ratios: dict[int, float], **changes: Any) -> list[dict[str, Any]]:
    return [make_row(make_case(upsampler=upsampler, height=s, width=s), r, **changes) for s, r in ratios.items()]


def test_measured_layers_come_by_cost_with_their_ratio() -> None:
    found = take(make_layers({"subpixel": 2.0, "transposed": 1.0, "nearest_conv": 0.5}))
    assert [each.layer for each in found.candidates] == [
        "nearest_conv k3 s2",
        "transposed k3 s2",
        "subpixel k3 s2",
    ]
    assert found.baseline == "transposed k3 s2"
    nearest = found.candidates[0]
    assert (nearest.cost.value, nearest.cost.high) == (0.5, 0.525)
    assert nearest.cost.low == pytest.approx(0.475)
    assert nearest.latency is not None
    assert nearest.latency.value == pytest.approx(0.5e-3)
    assert (nearest.is_estimated, nearest.is_beyond, nearest.noisy) == (False, False, False)
    assert nearest.qualities["memory"].value == 64000


@pytest.mark.parametrize(
    "changes", [{"ratio": math.nan}, {"baseline_id": None}, {"baseline_id": "subpixel-k3-s2-c4x2-8x8"}]
)
def test_without_one_baseline_the_cost_is_the_latency(changes: dict[str, Any]) -> None:
    summary = make_layers({"transposed": 1.0, "nearest_conv": 0.5})
    for name, value in changes.items():
        summary.loc[summary["upsampler"] == "nearest_conv", name] = value
    found = take(summary)
    assert found.baseline is None
    assert find(found, "nearest_conv").cost.value == pytest.approx(0.5e-3)


def test_a_baseline_of_another_program_keeps_its_name() -> None:
    assert take(make_layers({"subpixel": 1.0}, baseline_id="theirs")).baseline == "theirs"


def test_a_single_replicate_has_no_interval() -> None:
    summary = make_layers({"subpixel": 1.0}, ratio_low=None, ratio_high=None)
    assert (take(summary).candidates[0].cost.low, take(summary).candidates[0].cost.high) == (None, None)


def test_quality_is_that_of_the_layer() -> None:
    quality = make_quality(
        subpixel={"phase_ripple": 0.7, "phase_ripple_ci_low": 0.6, "phase_ripple_ci_high": 0.8},
        nearest_conv={"trained_checkerboard_levels": -0.2, "trained_psnr_db": 15.0},
        carafe={"flat_field_ripple": 0.5, "flat_field_ripple_ci_high": 0.6, "flat_field_ripple_ci_low": 1e-17},
    )
    summary = make_layers({"subpixel": 1.0, "nearest_conv": 1.0, "carafe": 1.0}, phase_ripple=math.nan)
    found = take(summary, quality=quality)
    ripple = find(found, "subpixel").qualities["ripple"]
    assert (ripple.value, ripple.low, ripple.high) == (0.7, 0.6, 0.8)
    assert find(found, "nearest_conv").qualities["checkerboard"].value == -0.2
    assert find(found, "nearest_conv").qualities["psnr"].value == 15.0
    assert "ripple" not in find(found, "nearest_conv").qualities
    # an amplitude over the RMS; its square is a share of power
    ripple = find(found, "carafe").qualities["ripple"]
    assert (ripple.value, ripple.low) == (0.25, 0.0)
    assert ripple.high == pytest.approx(0.36)
    # of another scale nothing is known
    other = make_layers({"nearest_conv": 1.0}, scale_factor=4)
    assert "psnr" not in take(other, quality=quality).candidates[0].qualities


def test_rounding_is_no_ripple() -> None:
    assert take(make_layers({"subpixel": 1.0}, phase_ripple=3e-32)).candidates[0].qualities["ripple"].value == 0.0


def test_failures_and_what_was_not_measured_are_listed() -> None:
    rows = [make_row(make_case(upsampler="transposed")), make_row(make_case(), status="oom", message="3 GiB")]
    rows.append(make_row(make_case(upsampler="subpixel", step="train")))
    rows.append(make_row(make_case(upsampler="carafe", kernel_size=None), latency_s=None))
    found = take(make_summary(*rows))
    assert get_reasons(found) == {
        "nearest_conv k3 s2": "oom: 3 GiB",
        "carafe s2": "not timed",
        "subpixel k3 s2": "not measured in this setting",
    }
    absent = [each.layer for each in found.missing if each.reason == "not in this run"]
    assert absent == [n for n in READING_ORDER if n not in {"transposed", "nearest_conv", "subpixel", "carafe"}]


def test_between_sizes_it_is_read_off_a_line() -> None:
    ratios = {8: 2.0, 16: 1.8, 32: 1.62}
    rows = [*make_sizes("transposed", dict.fromkeys(ratios, 1.0)), *make_sizes("nearest_conv", ratios)]
    found = take(make_summary(*rows), (16, 24))
    nearest = find(found, "nearest_conv")
    exact = 2.0 * 0.9 ** math.log((16 * 24) / 64, 4)
    assert nearest.cost.value == pytest.approx(exact)
    assert nearest.latency is not None
    assert nearest.latency.value == pytest.approx(1e-3 * exact * 16 * 24 / 64)
    assert nearest.qualities["memory"].value == pytest.approx(1000 * 16 * 24)
    assert (nearest.is_estimated, nearest.is_beyond) == (True, False)
    # by definition
    baseline = find(found, "transposed").cost
    assert (baseline.value, baseline.low, baseline.high) == (1.0, 1.0, 1.0)


def test_latencies_are_read_off_where_there_is_no_baseline() -> None:
    rows = [make_row(make_case(height=s, width=s), None) for s in (8, 16, 32)]
    found = take(make_summary(*rows), (16, 24))
    assert found.baseline is None
    assert find(found, "nearest_conv").cost.value == pytest.approx(6e-3)


def test_one_layer_may_be_estimated_beside_measured_ones() -> None:
    rows = [*make_sizes("transposed", dict.fromkeys((8, 16, 32, 64), 1.0))]
    rows += make_sizes("nearest_conv", {8: 2.0, 16: 2.0, 64: 2.0})
    rows += make_sizes("subpixel", {8: 3.0, 16: 3.0})
    rows += make_sizes("bilinear_conv", {8: 3.0, 16: 4.0, 64: 3.0})
    found = take(make_summary(*rows), (32, 32))
    assert not find(found, "transposed").is_estimated
    assert find(found, "nearest_conv").is_estimated
    reasons = get_reasons(found)
    assert reasons["subpixel k3 s2"] == "measured from 8×8 to 16×16 only"
    assert reasons["bilinear_conv k3 s2"].startswith("does not scale as a power of the pixels: off by")
    assert get_reasons(take(make_summary(*rows), (32, 32), extrapolate=True))["subpixel k3 s2"] == (
        "measured at 2 sizes; an estimate needs 3"
    )


def test_a_layer_of_unknown_memory_has_a_cost_all_the_same() -> None:
    rows = make_sizes("transposed", dict.fromkeys((8, 16, 32), 1.0), peak_memory_bytes=None)
    assert "memory" not in take(make_summary(*rows), (16, 24)).candidates[0].qualities


def test_beyond_the_sizes_only_where_asked() -> None:
    summary = make_summary(*make_sizes("nearest_conv", {8: 2.0, 16: 1.8, 32: 1.62}))
    with pytest.raises(UsageError, match=r"size: 64×64 is beyond the sizes that were measured: 8×8, 16×16, 32×32"):
        take(summary, (64, 64))
    found = take(summary, (64, 64), extrapolate=True).candidates[0]
    assert found.cost.value == pytest.approx(2.0 * 0.9**3)
    assert found.is_beyond
    assert found.beyond_factor == 4
    assert take(summary, (4, 4), extrapolate=True).candidates[0].beyond_factor == 0.25
    assert take(summary, (12, 12)).candidates[0].beyond_factor == 1


def test_it_is_not_estimated_far_beyond_the_sizes() -> None:
    near = make_sizes("nearest_conv", {8: 2.0, 16: 1.8, 32: 1.62})
    summary = make_summary(*near)
    assert take(summary, (128, 128), extrapolate=True).candidates
    for size, message in (
        ((129, 128), "16.1 times the pixels of 32×32"),
        ((1, 3), "0.0469 times the pixels of 8×8"),
    ):
        with pytest.raises(
            UsageError, match=f"{message}, the nearest that was measured; an estimate reaches 16 times"
        ):
            take(summary, size, extrapolate=True)
    # one layer was measured near enough, another was not
    far = make_sizes("subpixel", {2: 2.0, 4: 1.8, 8: 1.62})
    found = take(make_summary(*near, *far), (64, 64), extrapolate=True)
    assert [each.upsampler for each in found.candidates] == ["nearest_conv"]
    assert [each.reason for each in found.missing if each.layer == "subpixel k3 s2"] == [
        "measured from 2×2 to 8×8, too far away"
    ]


def test_a_size_that_nothing_tells_of_is_refused() -> None:
    summary = make_summary(*make_sizes("nearest_conv", {8: 2.0, 16: 1.8}))
    with pytest.raises(
        UsageError, match=r"size: 12×12 was not measured, and an estimate needs 3 sizes .measured: 8"
    ):
        take(summary, (12, 12), extrapolate=True)


def test_a_table_of_before_has_what_it_has() -> None:
    old = make_layers({"nearest_conv": 2.0}).drop(
        columns=["ratio", "ratio_low", "ratio_high", "baseline_id", "flat_field_ripple", "peak_memory_bytes"]
    )
    (found,) = take(old).candidates
    assert found.cost.value == pytest.approx(2e-3)
    assert set(found.qualities) == {"ripple"}
