"""What is concluded from interleaved timing: means over shapes, and choices beside the best."""

import numpy as np
import pytest

from deconvbench.analysis.speedups import CHOICE_DTYPES, MEAN_DTYPES, average_speedups, compare_choices
from deconvbench.tables.speedups import build_speedups
from tests.builders import make_case
from tests.made_speedups import CASE, FAST, RIVAL, TILED, make_record_of


def test_means_are_geometric_over_shapes_and_add_their_intervals() -> None:
    settings = [make_case(height=8), make_case(height=16)]
    records = [
        make_record_of({FAST: ratio * noise}, case=case, replicate=n)
        for case, ratio in zip(settings, (2.0, 8.0), strict=True)
        for n, noise in enumerate((0.99, 1.01))
    ]
    means = average_speedups(build_speedups(records))
    assert means.dtypes.astype(str).to_dict() == dict(MEAN_DTYPES)
    (row,) = means.to_dict("records")
    assert (row["layer"], row["shapes"], row["is_twin"]) == ("nearest_conv_fast k3 s2", 2, True)
    assert row["speedup"] == pytest.approx(4, rel=1e-3)
    assert row["least_speedup"] == pytest.approx(2, rel=1e-3)
    frame = build_speedups(records)
    half = np.log(frame["speedup_ci_high"] / frame["speedup_ci_low"])[frame["case_id"] != frame["baseline_id"]] / 2
    assert np.log(row["speedup_ci_high"] / row["speedup"]) == pytest.approx(np.hypot(*half) / 2)


def test_a_shape_that_not_all_layers_have_counts_for_none() -> None:
    whole = make_record_of({FAST: 2.0, RIVAL: 3.0})
    partial = make_record_of({FAST: 100.0}, case=make_case(height=16))
    means = average_speedups(build_speedups([whole, partial])).set_index("layer")
    assert means.loc["nearest_conv_fast k3 s2", "speedup"] == pytest.approx(2)
    assert set(means["shapes"]) == {1}


@pytest.mark.parametrize(
    ("ratios", "best", "within"),
    [
        ({FAST: 3.0, TILED: 3.0}, "nearest_conv_tiled k3 s2", True),
        ({FAST: 2.95, TILED: 3.0}, "nearest_conv_tiled k3 s2", True),
        ({FAST: 2.5, TILED: 3.0}, "nearest_conv_tiled k3 s2", False),
        ({FAST: 0.5, TILED: 0.7}, "nearest_conv k3 s2", False),
        ({FAST: 3.0, TILED: 2.0, RIVAL: 9.0}, "nearest_conv_tiled k3 s2", True),
    ],
    ids=["equal", "two per cent", "worse", "plain is best", "rivals are none of the forms"],
)
def test_a_choice_is_compared_with_the_best_fixed_form(ratios: dict[str, float], best: str, within: bool) -> None:
    choices = compare_choices(build_speedups([make_record_of(ratios)]))
    assert choices.dtypes.astype(str).to_dict() == dict(CHOICE_DTYPES)
    (row,) = choices.to_dict("records")
    assert (row["layer"], row["implementation"]) == ("nearest_conv_fast k3 s2", "tiled")
    assert (row["best_layer"], row["is_within_noise"]) == (best, within)


def test_a_difference_that_noise_explains_is_none() -> None:
    records = [make_record_of({FAST: fast, TILED: 3.0}, replicate=n) for n, fast in enumerate((2.2, 3.2, 2.7))]
    (row,) = compare_choices(build_speedups(records)).to_dict("records")
    assert row["share_of_best"] < 0.95
    assert row["is_within_noise"]


def test_kernels_of_the_baseline_are_averaged_apart() -> None:
    alike = make_record_of({FAST: 2.0, RIVAL: 3.0})
    larger = make_case(kernel_size=5)
    other = make_record_of({FAST.replace("k3", "k5"): 5.0, RIVAL: 7.0}, case=larger)
    means = average_speedups(build_speedups([alike, other])).set_index(["baseline_kernel_size", "layer"])
    assert means["speedup"].to_dict() == pytest.approx(
        {
            (3, "nearest_conv_fast k3 s2"): 2,
            (3, "transposed k3 s2"): 3,
            (5, "nearest_conv_fast k5 s2"): 5,
            (5, "transposed k3 s2"): 7,
        }
    )
    choices = compare_choices(build_speedups([alike, other])).set_index("baseline_kernel_size")
    assert choices["best_layer"].to_dict() == {3: "nearest_conv k3 s2", 5: "nearest_conv k5 s2"}


def test_an_alternative_that_chooses_is_not_set_beside_the_forms_of_another_layer() -> None:
    record = make_record_of({FAST: 3.0, RIVAL: 2.0}, implementations={FAST: "tiled", RIVAL: "minimal"})
    choices = compare_choices(build_speedups([record]))
    assert list(choices["layer"]) == ["nearest_conv_fast k3 s2"]


def test_a_baseline_of_another_program_has_no_kernel_that_is_known() -> None:
    frame = build_speedups([make_record_of({FAST: 2.0})])
    means = average_speedups(frame.assign(baseline_id="what others wrote"))
    assert len(means)
    assert means["baseline_kernel_size"].isna().all()


@pytest.mark.parametrize(("peak", "flagged"), [(1100, False), (1101, True), (None, False)])
def test_too_much_memory_is_flagged(peak: int | None, flagged: bool) -> None:
    record = make_record_of({FAST: 3.0}, peak_memory_bytes={CASE.case_id: 1000, FAST: peak})
    (row,) = compare_choices(build_speedups([record])).to_dict("records")
    assert row["takes_too_much_memory"] is flagged
