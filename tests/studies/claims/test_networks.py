from collections.abc import Sequence
from typing import Any

import pytest

from deconvbench.studies.claims import Evidence, Finding, Verdict
from deconvbench.studies.claims.networks import (
    HALF_LEVEL,
    NEAREST,
    TRANSPOSED,
    Ended,
    describe_missing,
    gather_networks,
    tell_few_steps,
    view_networks,
)
from deconvbench.tables.trained import Trained
from tests.studies.claims.made_trained import make_curve, make_result, make_trained


def gather_levels(trained: Trained, *layers: tuple[str, int | None]) -> Evidence:
    """The levels of each layer and seed, by their place."""

    def describe(seeds: Sequence[tuple[Ended, ...]]) -> Evidence:
        return {
            f"levels_{number}_{place}": run.row["checkerboard_levels"]
            for number, runs in enumerate(seeds)
            for place, run in enumerate(runs)
        }

    return gather_networks(trained, layers or [TRANSPOSED], describe)


def test_layers_are_put_side_by_side_seed_by_seed() -> None:
    trained = make_trained(
        [
            make_result("nearest_conv", 3, 1, checkerboard_levels=1.0),
            make_result("transposed", 3, 0, checkerboard_levels=2.0),
            make_result("transposed", 3, 1, checkerboard_levels=3.0),
            make_result("transposed", 4, 1, checkerboard_levels=4.0),
        ]
    )
    assert gather_levels(trained, TRANSPOSED, NEAREST) == {
        "reconstruction_instance_seeds": 1,
        "reconstruction_instance_steps": 1000,
        "reconstruction_instance_levels_0_0": 3.0,
        "reconstruction_instance_levels_0_1": 1.0,
    }


def test_networks_stand_apart_with_the_articles_own_first() -> None:
    trained = make_trained(
        [
            make_result("transposed", 3, task="super-resolution"),
            make_result("transposed", 3, norm="none"),
            make_result("transposed", 3),
            make_result("transposed", 3, task="super-resolution", norm="none"),
        ]
    )
    seeds = [name for name in gather_levels(trained) if name.endswith("_seeds")]
    assert seeds == [
        "reconstruction_instance_seeds",
        "reconstruction_none_seeds",
        "super_resolution_instance_seeds",
        "super_resolution_none_seeds",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 999},
        {"width": 32},
        {"batch": 1},
        {"learning_rate": 1e-2},
        {"autocast": True},
        {"seed": 7},
        {"scale_factor": 4},
        {"norm": "none"},
        {"checkerboard_levels": None},
        {"psnr_db": float("inf")},
        {"target_checkerboard_levels": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_was_not_trained_alike_or_diverged_is_not_compared(changes: dict[str, Any]) -> None:
    trained = make_trained([make_result("transposed", 3), make_result("nearest_conv", 3, **changes)])
    assert gather_levels(trained, TRANSPOSED, NEAREST) == {}


def test_of_two_rows_of_one_run_the_later_counts() -> None:
    rows = [make_result("transposed", 3, checkerboard_levels=levels) for levels in (1.0, 2.0)]
    evidence = gather_levels(make_trained(rows))
    assert evidence["reconstruction_instance_levels_0_0"] == 2.0
    assert evidence["reconstruction_instance_seeds"] == 1


def test_a_curve_is_in_order_and_belongs_to_its_run() -> None:
    first, other = make_result("transposed", 3, 0), make_result("transposed", 3, 1)
    rows = [*make_curve(first, {5: 3.0, 0: 9.0, 1: 8.0}), *make_curve(other, {0: 1.0})]
    found: list[list[float]] = []

    def describe(seeds: Sequence[tuple[Ended, ...]]) -> Evidence:
        found.extend([row["checkerboard_levels"] for row in run.curve] for (run,) in seeds)
        return {}

    gather_networks(make_trained([first, other], rows), [TRANSPOSED], describe)
    assert found == [[9.0, 8.0, 3.0], [1.0]]


@pytest.mark.parametrize(
    ("changes", "excess"),
    [
        ({"checkerboard_levels": 2.0}, 2.0 - HALF_LEVEL),
        ({"checkerboard_levels": 2.0, "detection_levels": 0.8}, 1.2),
        ({"checkerboard_levels": 2.0, "target_checkerboard_levels": 1.5}, 0.5),
        ({"checkerboard_levels": -0.3}, -0.3 - HALF_LEVEL),
    ],
    ids=["half_level", "detection", "targets", "below_the_floor"],
)
def test_a_checkerboard_must_stand_out(changes: dict[str, Any], excess: float) -> None:
    run = Ended(row=make_result("transposed", 3, **changes), curve=())
    assert run.find_excess() == pytest.approx(excess)


def test_a_row_of_the_curve_has_a_floor_of_its_own() -> None:
    run = Ended(row=make_result("transposed", 3, target_checkerboard_levels=0.7), curve=())
    early = {"checkerboard_levels": 5.0, "detection_levels": 2.0}
    assert run.find_excess(early) == 3.0
    assert run.find_excess({**early, "detection_levels": 0.1}) == pytest.approx(4.3)
    assert run.find_excess({**early, "detection_levels": None}) is None
    assert run.find_excess({**early, "checkerboard_levels": None}) is None


def test_the_upsampler_that_ripples_most_speaks_for_the_network() -> None:
    def find(last: float | None, other: float | None) -> float | None:
        row = make_result("transposed", 3, effective_ripple_scale1=last, effective_ripple_scale2=other)
        return Ended(row=row, curve=()).find_effective_ripple()

    assert find(0.1, 0.2) == 0.2
    assert find(0.1, None) == 0.1
    assert find(None, None) is None


def test_views_name_the_network_and_drop_its_name() -> None:
    evidence: Evidence = {
        "overlap_cv": 0.5,
        "seeds": 12,
        "reconstruction_instance_seeds": 3,
        "reconstruction_instance_steps": 1,
        "reconstruction_instance_levels": 2.0,
        "super_resolution_none_seeds": 2,
        "super_resolution_none_steps": 700,
        "reconstruction_none_seeds": 1,
        "reconstruction_none_steps": 700,
    }
    first, second = view_networks(evidence)
    assert first.title == "reconstruction (3 seeds, 1 step)"
    assert first.evidence == {"seeds": 3, "steps": 1, "levels": 2.0}
    assert second.title == "super-resolution without norm (2 seeds, 700 steps)"


def test_another_norm_is_named() -> None:
    (view,) = view_networks({"reconstruction_batch_seeds": 2, "reconstruction_batch_steps": 700})
    assert view.title == "reconstruction with norm batch (2 seeds, 700 steps)"


def test_what_is_missing_is_named_with_what_to_run() -> None:
    assert describe_missing({}, [TRANSPOSED, ("carafe", None)]) == (
        "no networks with transposed k3 s2 and carafe s2 were trained alike; run: deconvbench train"
    )
    one: Evidence = {"reconstruction_instance_seeds": 1, "reconstruction_instance_steps": 10}
    assert describe_missing(one, [TRANSPOSED]).endswith("run: deconvbench train --seeds 3")
    three: Evidence = {**one, "reconstruction_instance_seeds": 3}
    assert describe_missing(three, [TRANSPOSED], "curves").startswith("the networks that were trained lack curves")


def test_a_single_step_is_told_in_the_singular() -> None:
    judge = tell_few_steps(lambda evidence: Finding(verdict=Verdict.PARTLY, sentence="So."))
    evidence: Evidence = {"reconstruction_instance_seeds": 3, "reconstruction_instance_steps": 1}
    assert judge(evidence).sentence == "So; it rests on only 1 training step, fewer than 500."
    assert judge({}).sentence == "So."
