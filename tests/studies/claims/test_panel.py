import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from deconvbench.studies.claims.panel import Ended, Panel, divide, subtract
from tests.studies.claims.made_trained import make_curve, make_images, make_result


def end(
    seed: int = 0,
    levels: Mapping[str, float] | None = None,
    curve: Mapping[int, float] | None = None,
    **changes: Any,
) -> Ended:
    """A run that has ended, with its levels by image and by step."""
    row = make_result("transposed", 3, seed, **changes)
    images = (
        {} if levels is None else {row["steps"]: {image["image"]: image for image in make_images(row, levels)}}
    )
    return Ended(row=row, curve=make_curve(row, curve or {}), images=images)


def test_powers_are_averaged_over_seeds_and_images() -> None:
    panel = Panel(seeds=[(end(0, {"a": 3.0, "b": -1.0}),), (end(1, {"a": 2.0, "b": 0.0}),)])
    found = panel.find_levels()
    assert found is not None
    assert found.value == pytest.approx(math.sqrt((9 - 1 + 4 + 0) / 4))
    assert panel.images == ("a", "b")
    panel.put("x", panel.find_floor())
    assert panel.drawn == {0}
    panel.put("y", found)
    assert panel.drawn == {0, 2}


def test_only_images_that_every_run_was_scored_on_count() -> None:
    panel = Panel(seeds=[(end(0, {"a": 3.0, "b": 1.0}),), (end(1, {"b": 1.0, "c": 9.0}),)])
    assert panel.images == ("b",)
    found = panel.find_levels()
    assert found is not None
    assert found.value == pytest.approx(1.0)


@pytest.mark.parametrize("levels", [None, {"a": 9.0}], ids=["none", "of_one_run"])
def test_without_images_the_runs_own_score_counts(levels: Mapping[str, float] | None) -> None:
    runs = [end(0, levels, checkerboard_levels=1.0), end(1, checkerboard_levels=2.0)]
    panel = Panel(seeds=[(run,) for run in runs])
    found = panel.find_levels()
    assert panel.images == ()
    assert found is not None
    assert found.value == pytest.approx(math.sqrt(2.5))


def test_a_step_of_the_curve_is_read_where_images_do_not_say() -> None:
    panel = Panel(seeds=[(end(0, {"a": 1.0}, {0: 9.0, 1: 8.0}),)])
    first, missing = panel.find_levels(step=1), panel.find_levels(step=5)
    assert first is not None
    assert (first.value, missing) == (8.0, None)


def test_layers_are_paired_by_seed_and_image() -> None:
    seeds = [
        (end(seed, {"a": 2.0 + seed, "b": 7.0 + seed}), end(seed, {"a": 1.0 + seed / 2, "b": 3.5 + seed / 2}))
        for seed in range(6)
    ]
    panel = Panel(seeds=seeds)
    ratio = divide(panel.find_levels(0), panel.find_levels(1))
    assert ratio is not None
    # seeds and images differ a lot, the two layers always twice
    assert ratio.find_interval() == pytest.approx((2.0, 2.0))
    difference = subtract(panel.find_psnr(0), panel.find_psnr(1))
    assert difference is not None
    assert (difference.value, *difference.find_interval()) == pytest.approx((0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("changes", "floor"),
    [
        ({}, 0.2),
        ({"detection_levels": 0.8}, 0.8),
        ({"target_checkerboard_levels": 1.5}, 1.5),
        ({"detection_levels": None}, None),
    ],
    ids=["as_made", "detection", "targets", "unknown"],
)
def test_a_checkerboard_must_stand_out(changes: dict[str, Any], floor: float | None) -> None:
    panel = Panel(seeds=[(end(seed, {"a": 2.0}, **changes),) for seed in range(6)])
    excess, found = panel.find_excess(), panel.find_floor()
    if floor is None:
        assert excess is found is None
        assert "x_excess_levels" not in panel.put_presence("x")
        return
    assert excess is not None
    assert excess.value == pytest.approx(2.0 - floor)
    evidence = panel.put_presence("x")
    assert evidence["x_floor_levels"] == pytest.approx(floor)
    assert evidence["x_excess_levels"] == pytest.approx(2.0 - floor)
    assert evidence["x_excess_levels_ci_low"] == pytest.approx(2.0 - floor)


def test_a_row_of_the_curve_has_a_floor_of_its_own() -> None:
    row = make_result("transposed", 3, target_checkerboard_levels=0.7)
    run = Ended(row=row, curve=make_curve(row, {1: 5.0}, detection_levels=2.0))
    assert (run.find_floor(1), run.find_floor(), run.find_floor(7)) == (2.0, 0.7, None)


def test_the_upsampler_that_ripples_most_speaks_for_the_network() -> None:
    def find(last: float | None, other: float | None) -> float | None:
        return end(effective_ripple_scale1=last, effective_ripple_scale2=other).find_effective_ripple()

    assert find(0.1, 0.2) == 0.2
    assert find(0.1, None) == 0.1
    assert find(None, None) is None


def test_parts_and_columns_are_those_of_seeds() -> None:
    panel = Panel(
        seeds=[
            (end(seed, {"a": 1.0}, checkerboard_scale2_levels=value),) for seed, value in enumerate((3.0, -1.0))
        ]
    )
    part, column = (find(0, "checkerboard_scale2_levels") for find in (panel.find_part, panel.find_column))
    assert part is not None
    assert column is not None
    assert (part.value, column.value) == pytest.approx((2.0, 1.0))
    assert (part.images, column.images) == (0, 0)
    assert (
        panel.estimate_mean([1.0, None]) is panel.estimate_mean([1.0, math.nan]) is panel.estimate_mean([]) is None
    )


def test_few_seeds_have_a_number_but_no_interval() -> None:
    panel = Panel(seeds=[(end(seed, {"a": 2.0}),) for seed in range(3)])
    assert panel.put("x", panel.find_levels()) == {"x": pytest.approx(2.0), "x_ci_low": None, "x_ci_high": None}
    assert panel.put("x", None) == {}


def test_intervals_have_the_level_of_the_panel() -> None:
    seeds = [(end(seed, {"a": 2.0 + seed, "b": 1.0}),) for seed in range(12)]

    def find_width(panel: Panel, confidence: float | None = None) -> float:
        evidence = panel.put("x", panel.find_levels(), confidence)
        return (evidence["x_ci_high"] or 0) - (evidence["x_ci_low"] or 0)

    strict, loose = Panel(seeds=seeds, confidence=0.99), Panel(seeds=seeds, confidence=0.8)
    assert find_width(strict) > find_width(loose)
    # of as many resamples or more
    assert find_width(strict, 0.8) == pytest.approx(find_width(loose), rel=0.05)


def test_an_interval_of_a_family_rests_on_enough_resamples() -> None:
    level = 1 - 0.05 / 9
    panel = Panel(
        seeds=[(end(seed, {"a": 2.0 + seed, "b": 1.0 + seed / 3}),) for seed in range(12)], confidence=level
    )
    found = panel.find_levels()
    assert found is not None
    low, high = found.find_interval(level)
    assert min((found.draws < low).sum(), (found.draws > high).sum()) >= 40


def test_a_ratio_to_what_may_be_nothing_is_not_told() -> None:
    seeds = [(end(seed, {"a": 1.0}), end(seed, {"a": value})) for seed, value in enumerate((1.0, -1.0) * 3)]
    panel = Panel(seeds=seeds)
    assert divide(panel.find_levels(0), panel.find_levels(1)) is None
    assert divide(None, panel.find_levels(0)) is divide(panel.find_levels(0), None) is None
    assert subtract(None, panel.find_levels(0)) is None
    assert np.isfinite(panel.find_levels(1).draws).all()  # type: ignore[union-attr]
