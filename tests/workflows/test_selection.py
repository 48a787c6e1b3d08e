"""What a user asks for becomes a plan."""

import sys
from pathlib import Path

import pytest

from deconvbench.errors import UsageError
from deconvbench.runner import conditions as policies
from deconvbench.runner.plan import Plan
from deconvbench.upsamplers import registry
from deconvbench.workflows.selection import Selection, make_plan


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


def test_the_default_is_the_quick_preset() -> None:
    plan = make_plan(Selection())
    assert plan.grid.name == "quick"
    assert len(plan.cases) == 96


def test_choices_reach_the_plan() -> None:
    plan = make_plan(
        Selection(
            preset="smoke",
            settings=("height=4",),
            keyword="nearest",
            device="cpu",
            replicates=7,
            timeout_s=3.5,
            precision="2%",
            seed=11,
        ),
        ["deconvbench", "run"],
    )
    assert {(case.upsampler, case.height) for case in plan.cases} == {("nearest_conv", 4)}
    assert (plan.grid.replicates, plan.grid.timeout_s, plan.precision, plan.seed) == (7, 3.5, 0.02, 11)
    assert plan.command == ("deconvbench", "run")


def test_all_is_timed_settled_where_that_can_be_had_and_nothing_else_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for version, policy in (((2, 36), "settled"), ((), "system")):
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(policies, "read_glibc_version", lambda version=version: version)
        assert make_plan(Selection(preset="smoke")).conditions == policy
        assert make_plan(Selection(preset="smoke", conditions="system")).conditions == "system"
    with pytest.raises(UsageError, match=r"^--conditions: 'x' is not one of settled, system$"):
        make_plan(Selection(preset="smoke", conditions="x"))


@pytest.mark.parametrize(
    ("words", "settings", "expected"),
    [
        ("transposed-k4", (), ("transposed", 4)),
        ("transposed", (), ("transposed", 3)),
        ("transposed", ("kernel_size=5",), ("transposed", 5)),
        ("dysample", (), ("dysample", None)),
        ("sinc_conv", ("upsampler=transposed", "kernel_size=4"), ("sinc_conv", 3)),
    ],
    ids=["kernel", "three of several", "the one there is", "no kernel", "not in the grid"],
)
def test_a_baseline_has_the_kernel_that_is_asked_for_or_measured(
    words: str, settings: tuple[str, ...], expected: tuple[str, int | None]
) -> None:
    plan = make_plan(Selection(preset="quick", settings=settings, baseline=words))
    assert plan.baseline == expected
    assert Plan.from_dict(plan.to_dict()).baseline == expected


def test_a_baseline_of_the_users_own_is_found_by_workers() -> None:
    chosen = Selection(
        preset="smoke",
        settings=("upsampler=nearest_conv",),
        upsamplers=("tests.faulty_upsamplers:Sound",),
        baseline="sound",
    )
    plan = make_plan(chosen)
    assert plan.baseline == ("sound", 3)
    assert plan.upsamplers == ("tests.faulty_upsamplers:Sound",)


def test_a_kernel_for_what_has_none_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"^--baseline: 'dysample-k3' has a kernel size, and dysample has no kernel$"
    ):
        make_plan(Selection(preset="smoke", baseline="dysample-k3"))


def test_speedups_join_the_plan_and_are_chosen_by_the_same_words() -> None:
    plan = make_plan(Selection(preset="fast"))
    assert len(plan.settings) == 88
    few = make_plan(Selection(preset="fast", keyword="train and 16x16"))
    assert few.cases == ()
    assert {(setting.step, setting.height) for setting in few.settings} == {("train", 16)}
    with pytest.raises(UsageError, match="'nonsense' matches none of the 94 cases"):
        make_plan(Selection(preset="fast", keyword="nonsense"))


def test_seeds_are_drawn_where_none_is_given() -> None:
    assert len({make_plan(Selection(preset="smoke")).seed for _ in range(4)}) > 1


def test_an_upsampler_of_ones_own_joins_the_grid_or_is_chosen_alone() -> None:
    own = ("tests.faulty_upsamplers:Sound",)
    joined = make_plan(Selection(preset="smoke", upsamplers=own))
    assert {"sound", "transposed"} <= {case.upsampler for case in joined.cases}
    alone = make_plan(Selection(preset="smoke", upsamplers=own, settings=("upsampler=sound",)))
    assert {case.upsampler for case in alone.cases} == {"sound"}
    assert alone.upsamplers == own


def test_the_current_folder_is_searched_for_upsamplers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "found_here.py").write_text("from tests.faulty_upsamplers import Sound as Mine\n")
    plan = make_plan(Selection(preset="smoke", upsamplers=("found_here:Mine",)))
    assert "mine" in {case.upsampler for case in plan.cases}
