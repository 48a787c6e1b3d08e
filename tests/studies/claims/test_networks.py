import math
from dataclasses import replace
from typing import Any

import pytest

from deconvbench.studies.claims import Context, Evidence, Finding, Verdict
from deconvbench.studies.claims.networks import (
    NEAREST,
    TRANSPOSED,
    View,
    count_votes,
    describe_missing,
    describe_presence,
    describe_size,
    gather_networks,
    tell_few_steps,
    view_networks,
)
from deconvbench.studies.claims.panel import Panel
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import Network
from tests.studies.claims.made_trained import make_curve, make_images, make_result, make_trained

NAME = "reconstruction_none_tuned"


def gather_levels(trained: Trained, *layers: tuple[str, int | None], **choices: Any) -> Evidence:
    """The levels of each layer and seed, by their place."""

    def describe(panel: Panel) -> Evidence:
        return {
            f"levels_{number}_{place}": run.row["checkerboard_levels"]
            for number, runs in enumerate(panel.seeds)
            for place, run in enumerate(runs)
        }

    return gather_networks(Context(tables=None, trained=trained), layers or [TRANSPOSED], describe, **choices)


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
        f"{NAME}_seeds": 1,
        f"{NAME}_images": 0,
        f"{NAME}_steps": 1000,
        f"{NAME}_levels_0_0": 3.0,
        f"{NAME}_levels_0_1": 1.0,
    }


def test_networks_stand_apart_with_those_of_their_task_first() -> None:
    networks: list[dict[str, Any]] = [
        {"task": "super-resolution"},
        {"norm": "instance", "recipe": "plain"},
        {"norm": "instance"},
        {},
        {"task": "super-resolution", "norm": "instance", "recipe": "plain"},
    ]
    trained = make_trained([make_result("transposed", 3, **changes) for changes in networks])
    seeds = [name for name in gather_levels(trained) if name.endswith("_seeds")]
    # what was trained before there were recipes is called as it was then
    assert seeds == [
        "reconstruction_none_tuned_seeds",
        "reconstruction_instance_tuned_seeds",
        "reconstruction_instance_seeds",
        "super_resolution_none_tuned_seeds",
        "super_resolution_instance_seeds",
    ]


def test_tasks_that_were_trained_smaller_do_not_count() -> None:
    tasks = ("segmentation", "style-transfer", "reconstruction")
    trained = make_trained([make_result("transposed", 3, seed, task=task) for task in tasks for seed in range(3)])
    evidence = gather_levels(trained)
    assert [name for name in evidence if name.endswith("_seeds")] == [f"{NAME}_seeds"]


def test_variants_of_one_network_are_compared_and_never_mixed_up() -> None:
    trained = make_trained(
        [
            make_result("transposed", 3, 0, checkerboard_levels=1.0),
            make_result("transposed", 3, 0, checkerboard_levels=2.0, variant="last-3"),
            make_result("transposed", 3, 0, checkerboard_levels=3.0, variant="last-3", task="super-resolution"),
        ]
    )
    both = gather_levels(trained, TRANSPOSED, TRANSPOSED, variants=("standard", "last-3"))
    assert [both[f"{NAME}_levels_0_{place}"] for place in (0, 1)] == [1.0, 2.0]
    assert "super_resolution_none_tuned_seeds" not in both
    assert gather_levels(trained)[f"{NAME}_levels_0_0"] == 1.0
    alone = gather_levels(trained, TRANSPOSED, variants=("last-3",), task="super-resolution", prefix="last_3_")
    assert alone == {
        "super_resolution_none_tuned_last_3_levels_0_0": 3.0,
        "super_resolution_none_tuned_last_3_seed_count": 1,
    }


def test_seeds_that_were_trained_in_another_way_are_left_out() -> None:
    trained = make_trained(
        [make_result("transposed", 3, seed, steps=500 if seed == 1 else 1500) for seed in range(4)]
    )
    evidence = gather_levels(trained)
    assert (evidence[f"{NAME}_seeds"], evidence[f"{NAME}_steps"]) == (3, 1500)


def test_seeds_that_lack_a_column_are_left_out() -> None:
    rows = [
        make_result("transposed", 3, seed, later=value) for seed, value in enumerate((0.5, None, float("nan")))
    ]
    assert gather_levels(make_trained(rows, later="float64"), column="later")[f"{NAME}_seeds"] == 1
    assert gather_levels(make_trained(rows), column="later") == {}


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
        {"norm": "instance"},
        {"recipe": "plain"},
        {"variant": "last-3"},
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
    assert evidence[f"{NAME}_levels_0_0"] == 2.0
    assert evidence[f"{NAME}_seeds"] == 1


def test_a_curve_is_in_order_and_belongs_to_its_run() -> None:
    first, other = make_result("transposed", 3, 0), make_result("transposed", 3, 1)
    rows = [*make_curve(first, {5: 3.0, 0: 9.0, 1: 8.0}), *make_curve(other, {0: 1.0})]
    found: list[list[float]] = []

    def describe(panel: Panel) -> Evidence:
        found.extend([row["checkerboard_levels"] for row in run.curve] for (run,) in panel.seeds)
        return {}

    context = Context(tables=None, trained=make_trained([first, other], rows))
    gather_networks(context, [TRANSPOSED], describe)
    assert found == [[9.0, 8.0, 3.0], [1.0]]


def make_scored(*seeds: dict[str, float], **changes: Any) -> Trained:
    """Runs of one layer, with their levels by image."""
    rows = [make_result("transposed", 3, seed, **changes) for seed in range(len(seeds))]
    return make_trained(
        rows, images=[image for row, levels in zip(rows, seeds, strict=True) for image in make_images(row, levels)]
    )


def find_levels(trained: Trained) -> tuple[float | None, float | None, float | None]:
    """Seeds, images and the estimate of the checkerboard."""
    context = Context(tables=None, trained=trained)
    evidence = gather_networks(context, [TRANSPOSED], lambda panel: panel.put("levels", panel.find_levels()))
    return tuple(evidence.get(f"{NAME}_{name}") for name in ("seeds", "images", "levels"))  # type: ignore[return-value]


@pytest.mark.parametrize(
    "other",
    [{"a": 9.0}, {}, {"a": 9.0, "b": math.nan}, {"a": 9.0, "b": 9.0, "c": 9.0}],
    ids=["lacks_one", "lacks_all", "not_finite", "has_more"],
)
def test_a_seed_that_was_scored_on_other_images_than_most_is_left_out(other: dict[str, float]) -> None:
    assert find_levels(make_scored({"a": 3.0, "b": 3.0}, other, {"a": 3.0, "b": 3.0})) == (2, 2, 3.0)


def test_of_as_many_seeds_those_of_more_images_count() -> None:
    assert find_levels(make_scored({"a": 9.0}, {"a": 3.0, "b": 3.0})) == (1, 2, 3.0)


def test_an_image_that_no_seed_was_scored_on_costs_no_seed() -> None:
    assert find_levels(make_scored(*[{"a": 3.0, "b": math.nan}] * 3)) == (3, 0, 3.0)


def test_images_are_told_only_where_they_were_drawn() -> None:
    context = Context(tables=None, trained=make_scored(*[{"a": 3.0, "b": 3.0}] * 3))
    sizes = [
        describe_size(gather_networks(context, [TRANSPOSED], describe))
        for describe in (
            lambda panel: panel.put("part", panel.find_part(0, "checkerboard_scale2_levels")),
            lambda panel: panel.put("ssim", panel.find_column(0, "ssim")),
            lambda panel: (
                panel.put("levels", panel.find_levels()) | panel.put("ssim", panel.find_column(0, "ssim"))
            ),
        )
    ]
    assert sizes == ["3 seeds, 1000 steps"] * 2 + ["3 seeds × 2 images, 1000 steps"]


def test_of_two_rows_of_one_step_the_later_counts() -> None:
    row = make_result("transposed", 3)
    curves = [*make_curve(row, {0: 9.0, 1: 8.0}), *make_curve(row, {1: 5.0})]

    def describe(panel: Panel) -> Evidence:
        return {
            **panel.put("first", panel.find_levels(step=1)),
            "logged": len(panel.seeds[0][0].curve),
        }

    evidence = gather_networks(Context(tables=None, trained=make_trained([row], curves)), [TRANSPOSED], describe)
    assert (evidence[f"{NAME}_first"], evidence[f"{NAME}_logged"]) == (5.0, 2)


def test_what_was_read_is_kept_for_all_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(tables=None, trained=make_trained([make_result("transposed", 3)]))
    gather_networks(context, [TRANSPOSED], lambda panel: {})
    monkeypatch.setattr("deconvbench.studies.claims.networks.list_rows", pytest.fail)
    levels: list[float] = []

    def describe(panel: Panel) -> Evidence:
        levels.append(panel.confidence)
        return {}

    gather_networks(replace(context, confidence=0.9), [TRANSPOSED], describe)
    assert levels == [0.9]


def test_views_name_the_network_and_drop_its_name() -> None:
    evidence: Evidence = {
        "overlap_cv": 0.5,
        "seeds": 12,
        "reconstruction_instance_seeds": 3,
        "reconstruction_instance_steps": 1,
        "reconstruction_instance_levels": 2.0,
        "reconstruction_instance_tuned_seeds": 4,
        "reconstruction_instance_tuned_images": 6,
        "reconstruction_instance_tuned_steps": 1500,
        "reconstruction_instance_tuned_levels": 3.0,
        "super_resolution_none_tuned_seeds": 2,
        "super_resolution_none_tuned_steps": 700,
        "reconstruction_none_tuned_seeds": 1,
        "reconstruction_none_tuned_steps": 700,
    }
    first, second, third = view_networks(evidence)
    assert first.title == "reconstruction, instance norm (4 seeds, 1500 steps)"
    assert first.evidence == {"seeds": 4, "images": 6, "steps": 1500, "levels": 3.0}
    assert second.title == "super-resolution (2 seeds, 700 steps)"
    assert (third.network.recipe, third.steps) == ("plain", 1)
    assert third.title.endswith("(3 seeds, 1 step)")
    assert third.evidence == {"seeds": 3, "steps": 1, "levels": 2.0}
    # of each task one network decides
    assert [view.is_main for view in (first, second, third)] == [True, True, False]
    assert describe_size(evidence) == "2 to 4 seeds × 6 images, 700 to 1500 steps"
    assert describe_size({}) == ""


def test_a_network_that_decides_nothing_counts_only_where_it_stands_for_its_task() -> None:
    main, beside = (
        View(network=Network(task="reconstruction", norm=norm), seeds=6, steps=1, is_main=norm == "none")
        for norm in ("none", "instance")
    )
    S, R, U = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.UNDECIDED
    assert count_votes([(main, "it does", True), (beside, "it does", None)]) == [("it does (reconstruction)", S)]
    assert count_votes([(main, "", None), (beside, "", False)]) == [
        ("reconstruction", U),
        ("reconstruction, instance norm", R),
    ]
    assert count_votes([]) == count_votes([(beside, "", None)]) == [("trained networks", None)]


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((0.1, 0.3), "detected"),
        ((-0.3, -0.1), "not detected (from 0.5 levels on it would have been)"),
        ((-0.1, 0.1), "not decided whether it is there"),
        ((None, None), "with too few seeds to say whether it is there"),
    ],
    ids=["there", "not_there", "unclear", "few_seeds"],
)
def test_what_is_not_detected_is_not_called_absent(ends: tuple[float | None, float | None], text: str) -> None:
    evidence = {"x_excess_levels": 0.0, "x_excess_levels_ci_low": ends[0], "x_excess_levels_ci_high": ends[1]}
    view = View(
        network=Network(task="reconstruction"), seeds=6, steps=1, evidence=evidence | {"x_floor_levels": 0.5}
    )
    assert describe_presence(view, "x") == text
    assert describe_presence(replace(view, evidence=evidence), "x") == text.partition(" (from")[0]


def test_what_is_missing_is_named_with_what_to_run() -> None:
    assert describe_missing({}, [TRANSPOSED, ("carafe", None)]) == (
        "no networks with transposed k3 s2 and carafe s2 were trained alike; run: deconvbench train"
    )
    one: Evidence = {f"{NAME}_seeds": 1, f"{NAME}_steps": 10}
    assert describe_missing(one, [TRANSPOSED]).endswith("run: deconvbench train --seeds 12")
    three: Evidence = {**one, f"{NAME}_seeds": 3}
    assert describe_missing(three, [TRANSPOSED], "curves").startswith("the networks that were trained lack curves")


def test_a_single_step_is_told_in_the_singular() -> None:
    judge = tell_few_steps(lambda evidence: Finding(verdict=Verdict.PARTLY, sentence="So."))
    evidence: Evidence = {f"{NAME}_seeds": 3, f"{NAME}_steps": 1}
    assert judge(evidence).sentence == "So; it rests on only 1 step of training, fewer than 500."
    assert judge(evidence).size == "3 seeds, 1 step"
    assert judge({}).sentence == "So."
