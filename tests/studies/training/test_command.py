from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deconvbench.errors import SurroundingsError, UsageError
from deconvbench.progress import PartDone
from deconvbench.studies.training import command
from deconvbench.studies.training.command import choose_kept, list_runs, train_from_words
from deconvbench.studies.training.rescoring import Choice
from deconvbench.studies.training.scheduler import Failure, TrainingOutcome
from deconvbench.studies.training.settings import DEFAULT_LAYERS, TrainingSettings

WORDS = ["train", "--out", "a folder"]


def test_nothing_asked_for_is_the_default_budget() -> None:
    runs = list_runs()
    assert [(run.upsampler, run.kernel_size) for run in runs[:8]] == list(DEFAULT_LAYERS)
    assert [run.seed for run in runs] == [0] * 8 + [1] * 8 + [2] * 8
    assert {(run.task, run.norm, run.recipe, run.steps, run.device) for run in runs} == {
        ("reconstruction", "none", "tuned", 1500, "cpu")
    }
    assert len({run.run_id for run in runs}) == 24


def test_tasks_have_norms_of_their_own_and_take_others() -> None:
    runs = list_runs(layers=["transposed"], tasks=["reconstruction, super-resolution"], seeds=1, recipe="plain")
    assert [(run.task, run.norm) for run in runs] == [("reconstruction", "instance"), ("super-resolution", "none")]
    runs = list_runs(
        layers=["transposed"], tasks=["super-resolution", "super-resolution"], norms=["instance", "none"], seeds=2
    )
    assert [(run.norm, run.seed) for run in runs] == [("instance", 0), ("none", 0), ("instance", 1), ("none", 1)]


def test_the_articles_setting_is_70000_iterations_of_one_image() -> None:
    (run,) = list_runs(layers=["transposed"], seeds=1, is_article=True, numbers={"device": "cuda", "batch": None})
    assert (run.steps, run.batch, run.crop_size, run.width, run.device) == (70_000, 1, 256, 32, "cuda")
    assert (run.recipe, run.norm, run.residual_blocks, run.learning_rate) == ("plain", "instance", 5, 1e-3)
    (run,) = list_runs(layers=["transposed"], seeds=1, is_article=True, numbers={"steps": 9})
    assert (run.steps, run.batch) == (9, 1)


def test_the_tuned_recipe_takes_other_numbers_and_norms() -> None:
    (run,) = list_runs(layers=["transposed"], norms=["instance"], seeds=1, numbers={"steps": 9, "batch": 3})
    assert (run.recipe, run.norm, run.steps, run.batch, run.learning_rate) == ("tuned", "instance", 9, 3, 1e-3)


def test_variants_are_trained_beside_each_other() -> None:
    runs = list_runs(layers=["transposed"], seeds=2, variants=["standard,last-3", "gain-2"])
    assert [(run.seed, run.variant) for run in runs] == [
        (seed, variant) for seed in (0, 1) for variant in ("standard", "last-3", "gain-2")
    ]
    assert {run.variant for run in list_runs()} == {"standard"}


def test_each_task_has_numbers_of_its_own_and_takes_others() -> None:
    tasks = ["segmentation, style-transfer", "reconstruction"]
    runs = list_runs(layers=["transposed"], tasks=tasks, seeds=1)
    assert [(run.task, run.norm, run.steps, run.learning_rate, run.batch) for run in runs] == [
        ("segmentation", "none", 1000, 2e-3, 2),
        ("style-transfer", "instance", 500, 2e-3, 2),
        ("reconstruction", "none", 1500, 1e-3, 2),
    ]
    runs = list_runs(
        layers=["transposed"], tasks=tasks, seeds=1, norms=["none"], numbers={"steps": 7, "batch": None}
    )
    assert {(run.norm, run.steps) for run in runs} == {("none", 7)}
    runs = list_runs(layers=["transposed"], tasks=tasks, seeds=1, recipe="plain")
    assert {(run.norm, run.steps, run.batch, run.learning_rate) for run in runs} == {("instance", 500, 4, 1e-3)}


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"seeds": 0}, "--seeds: 0 is not a whole number of at least 1"),
        ({"tasks": ["style"]}, "task: 'style' is not one of"),
        ({"norms": ["batch"]}, "norm: 'batch' is not one of"),
        ({"recipe": "fast"}, "recipe: 'fast' is not one of plain, tuned"),
        ({"variants": ["last-2"]}, "variant: 'last-2' is not one of standard, last-1"),
        ({"variants": ["last-9"]}, "variant: last-9 is for super-resolution, not for reconstruction"),
        ({"variants": ["gain-2"], "recipe": "plain"}, "variant: gain-2 needs the tuned recipe"),
        ({"layers": ["deconv"]}, "upsampler: 'deconv' is unknown"),
        ({"numbers": {"steps": 0}}, "steps: 0 is not"),
    ],
    ids=str,
)
def test_what_is_not_allowed_is_named(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list_runs(**choice)


class Asked:
    """What the experiments were asked for; they tell one step and end as they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, end: Callable[[], TrainingOutcome]) -> None:
        self.runs: list[TrainingSettings] = []
        self.options: dict[str, Any] = {}

        def run(
            runs: list[TrainingSettings], root: Path, *, observer: Callable[[PartDone], None], **options: Any
        ) -> TrainingOutcome:
            self.runs, self.options = runs, {"root": root, **options}
            observer(PartDone(done=1, total=2, title="half of it"))
            return end()

        monkeypatch.setattr(command, "run_experiments", run)


def train(**changes: Any) -> int:
    return train_from_words(WORDS, **{"images_folder": None, "jobs": None, "out": Path("a folder"), **changes})


def test_progress_and_outcome_are_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = Failure(run_id="a", status="diverged", message="nan")
    asked = Asked(monkeypatch, lambda: TrainingOutcome(trained=1, failures=[failure]))
    assert train(jobs=3, layers=["transposed"], seeds=1, images_folder=Path("own")) == 0
    assert len(asked.runs) == 1
    assert asked.options == {
        "root": Path("a folder"),
        "images_folder": Path("own"),
        "jobs": 3,
        "command": ["deconvbench", *WORDS],
        "force": False,
    }
    out, err = capsys.readouterr()
    assert out == ""
    first, *rest = err.splitlines()
    assert first.startswith("[1/2] ")
    assert first.endswith("half of it")
    assert rest == ["1 trained, 1 failed", "a: diverged: nan"]


def test_an_interrupt_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> TrainingOutcome:
        raise KeyboardInterrupt

    Asked(monkeypatch, interrupt)
    assert train() == 130
    expected = (
        "deconvbench: interrupted; everything trained is kept. Continue with: deconvbench train --out 'a folder'"
    )
    assert capsys.readouterr().err.splitlines()[-1] == expected


def test_a_full_disk_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill() -> TrainingOutcome:
        raise SurroundingsError("the disk is full")

    Asked(monkeypatch, fill)
    with pytest.raises(
        SurroundingsError, match="the disk is full. What was trained is kept. Continue with: deconv"
    ):
        train()


def test_wrong_jobs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, TrainingOutcome)
    with pytest.raises(UsageError, match="--jobs: 0 is not a whole number of at least 1"):
        train(jobs=0)
    assert asked.options == {}


def test_the_articles_setting_is_estimated_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Asked(monkeypatch, TrainingOutcome)
    monkeypatch.setattr(command, "estimate_seconds", lambda settings, images, root: 7500.0)
    assert train(is_article=True) == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "24 trainings of about 2 h 05 min each on cpu, by the first few steps and without the scoring"


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ({"failures": 2}, 1),
        ({"failures": 2, "trained": 1}, 0),
        ({"failures": 2, "kept": 1}, 0),
        ({"trained": 1}, 0),
        ({}, 0),
    ],
    ids=str,
)
def test_where_every_training_failed_the_exit_code_says_so(
    monkeypatch: pytest.MonkeyPatch, ends: dict[str, int], code: int
) -> None:
    failure = Failure(run_id="a", status="crashed", message="gone")
    failures = [failure] * ends.get("failures", 0)
    Asked(
        monkeypatch,
        lambda: TrainingOutcome(trained=ends.get("trained", 0), kept=ends.get("kept", 0), failures=failures),
    )
    assert train() == code


def test_nothing_chosen_is_all_to_score_again() -> None:
    assert choose_kept() == Choice()
    assert choose_kept(layers=["transposed"], all_upsamplers=True) == Choice()


def test_what_is_chosen_is_scored_again() -> None:
    chosen = choose_kept(
        layers=["transposed", "subpixel-k5"],
        tasks=["reconstruction, super-resolution"],
        norms=["none"],
        recipe="tuned",
        variants=["last-3"],
        seeds=4,
        numbers={"steps": None, "device": "cuda"},
    )
    assert chosen == Choice(
        layers=(("transposed", 3), ("subpixel", 5)),
        tasks=("reconstruction", "super-resolution"),
        norms=("none",),
        recipes=("tuned",),
        variants=("last-3",),
        seeds=4,
    )


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"tasks": ["style"]}, "task: 'style' is not one of"),
        ({"norms": ["batch"]}, "norm: 'batch' is not one of"),
        ({"recipe": "fast"}, "recipe: 'fast' is not one of plain, tuned"),
        ({"variants": ["last-2"]}, "variant: 'last-2' is not one of"),
        ({"layers": ["deconv"]}, "upsampler: 'deconv' is unknown"),
        ({"seeds": 0}, "--seeds: 0 is not"),
        ({"is_article": True}, "--article: not with --score-again, which scores a run as it was trained"),
        ({"numbers": {"crop_size": 64}}, "--crop-size: not with --score-again"),
        ({"numbers": {"autocast": True}}, "--autocast: not with --score-again"),
    ],
    ids=str,
)
def test_what_cannot_be_scored_again_is_named(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_kept(**choice)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (TrainingOutcome(is_scoring=True, trained=2, left=["a: not finished"]), 0),
        (TrainingOutcome(is_scoring=True, kept=1), 0),
        (TrainingOutcome(is_scoring=True, left=["a: not finished"]), 1),
    ],
    ids=["some", "before", "none"],
)
def test_scoring_again_trains_nothing_and_says_what_it_did(
    outcome: TrainingOutcome, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def score(root: Path, choice: Choice, *, observer: object, **options: Any) -> TrainingOutcome:
        asked.update(options, root=root, choice=choice)
        return outcome

    monkeypatch.setattr(command, "score_experiments", score)
    monkeypatch.setattr(command, "run_experiments", lambda *_, **__: pytest.fail("trained"))
    numbers = {"device": "cuda", "steps": None}
    assert train(score_again=True, jobs=2, tasks=["reconstruction"], numbers=numbers) == code
    assert asked == {
        "root": Path("a folder"),
        "choice": Choice(tasks=("reconstruction",)),
        "device": "cuda",
        "images_folder": None,
        "jobs": 2,
    }
    assert capsys.readouterr().err.splitlines() == outcome.describe().splitlines()


def test_an_interrupt_of_scoring_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> TrainingOutcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "score_experiments", interrupt)
    assert train(score_again=True) == 130
    assert "everything scored is kept. Continue with: deconvbench train" in capsys.readouterr().err
