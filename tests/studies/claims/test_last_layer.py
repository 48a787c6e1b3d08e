import pytest

from deconvbench.studies.claims import Context, Verdict
from deconvbench.studies.claims.last_layer import LARGE, SMALL, judge_smoothing, measure_smoothing
from deconvbench.studies.training.variants import VARIANTS
from deconvbench.tables.trained import Trained
from tests.studies.claims.made_trained import Row, make_result, make_trained

NAME = "reconstruction_none_tuned"


def make_runs(levels: dict[str, float], upsampler: str = "transposed", task: str = "reconstruction") -> list[Row]:
    """Eight seeds of each variant, whose checkerboards are about these."""
    return [
        make_result(upsampler, 3, seed, task=task, variant=variant, checkerboard_levels=level + 0.01 * seed)
        for variant, level in levels.items()
        for seed in range(8)
    ]


def make_context(*runs: list[Row]) -> Context:
    return Context(tables=None, trained=make_trained([row for rows in runs for row in rows]))


def test_the_variants_are_what_they_are_taken_for() -> None:
    assert VARIANTS[SMALL].last_kernel_size == 3
    # the article's network ends in 9×9 as it is
    assert [VARIANTS[name].last_kernel_size for name in LARGE.values()] == [None, 9]
    assert all(task in VARIANTS[name].tasks for task, name in LARGE.items())


def test_smoothing_evens_the_noise_but_not_the_ripple() -> None:
    evidence = measure_smoothing(Context(tables=None, trained=Trained()))
    assert evidence["init_phase_ripple_ratio"] == pytest.approx(1, abs=0.15)
    assert (evidence["init_noise_gain_cv_ratio"] or 1) < 0.3
    finding = judge_smoothing(evidence)
    assert finding.verdict is Verdict.UNDECIDED
    assert "run: deconvbench train" in finding.sentence


@pytest.mark.parametrize(
    ("large", "verdict", "text"),
    [
        (4.0, Verdict.SUPPORTED, "Odena's “quite effective” does not hold"),
        (1.0, Verdict.SUPPORTED, "Odena's “quite effective” holds"),
        (0.1, Verdict.REFUTED, "not detected (from 0.2 levels on it would have been)"),
    ],
    ids=["not_much", "halved", "cured"],
)
def test_what_a_large_last_layer_leaves_decides(large: float, verdict: Verdict, text: str) -> None:
    evidence = measure_smoothing(make_context(make_runs({"standard": large, "last-3": 5.0, "last-1": 6.0})))
    assert evidence[f"{NAME}_large_checkerboard_levels"] == pytest.approx(large + 0.035, abs=0.005)
    assert evidence[f"{NAME}_small_less_large_levels"] == pytest.approx(5 - large, abs=0.005)
    assert evidence[f"{NAME}_large_over_small_ratio"] == pytest.approx(large / 5, abs=0.01)
    finding = judge_smoothing(evidence)
    assert finding.verdict is verdict
    assert text in finding.sentence
    assert ", 6.04 with 1×1, a reduction of " in finding.sentence
    assert [effect.name for effect in finding.effects] == [
        "reconstruction, 3×3 less 9×9",
        "reconstruction, left with 9×9",
    ]


def test_the_other_network_gets_its_large_layer_and_resizing_is_the_control() -> None:
    levels = {"standard": 3.0, "last-1": 2.5, "last-3": 2.0, "last-9": 1.0}
    nearest = {"last-3": 0.2, "last-9": 0.1}
    evidence = measure_smoothing(
        make_context(
            make_runs(levels, task="super-resolution"), make_runs(nearest, "nearest_conv", task="super-resolution")
        )
    )
    name = "super_resolution_none_tuned"
    assert evidence[f"{name}_large_checkerboard_levels"] == pytest.approx(1.035, abs=0.005)
    assert evidence[f"{name}_bare_checkerboard_levels"] == pytest.approx(3.035, abs=0.005)
    assert evidence[f"{name}_nearest_small_less_large_levels"] == pytest.approx(0.1, abs=0.005)
    sentence = judge_smoothing(evidence).sentence
    assert "2.54 with 1×1, 3.04 with none behind the upsampler" in sentence
    assert "behind nearest_conv k3 it takes away 0." in sentence


def test_a_smoothed_upsampler_is_not_the_remedy() -> None:
    """A network that already ends in 9×9 says nothing by itself, nor does another 9×9 after each upsampler."""
    context = make_context(make_runs({"standard": 4.0}), make_runs({"standard": 1.0}, "transposed_smoothed"))
    assert judge_smoothing(measure_smoothing(context)).verdict is Verdict.UNDECIDED
