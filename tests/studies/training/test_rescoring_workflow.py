import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deconvbench.errors import SurroundingsError, UsageError
from deconvbench.progress import PartDone
from deconvbench.records.run_folder import hold_folder
from deconvbench.studies.training import rescoring_workflow, training
from deconvbench.studies.training.checkpoints import read_json, write_json
from deconvbench.studies.training.output import write_experiment_tables
from deconvbench.studies.training.rescoring import Choice, score_again
from deconvbench.studies.training.rescoring_workflow import score_experiments
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.training import TrainingRun, write_settings
from tests.tiny_training import TINY, make_images, score_roughly

RUNS = (TINY, replace(TINY, upsampler="nearest_conv"), replace(TINY, seed=1))


class InlineChild:
    """Scores in this process."""

    def __init__(self, options: dict[str, Any], root: Path) -> None:
        assert options["is_scoring"]
        self.options, self.root = options, root
        self.reading, self.writing = os.pipe()
        self.answers: list[dict[str, Any]] = []
        self.asked: list[TrainingSettings] = []

    def fileno(self) -> int:
        return self.reading

    def train(self, settings: TrainingSettings) -> None:
        self.asked.append(settings)
        score_again(replace(settings, device="cpu"), make_images(), self.root, self.options["code_version"])
        self.answers += [{"step": settings.steps, "text": "scored again"}, {"status": "ok", "message": ""}]
        os.write(self.writing, b"..")

    def read(self) -> list[dict[str, Any]]:
        os.read(self.reading, 1)
        return [self.answers.pop(0)]

    def explain_end(self) -> tuple[str, str]:
        raise AssertionError

    def kill(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[InlineChild]:
    children: list[InlineChild] = []

    def start(options: dict[str, Any], root: Path) -> InlineChild:
        children.append(InlineChild(options, root))
        return children[-1]

    monkeypatch.setattr(rescoring_workflow, "TrainingProcess", start)
    monkeypatch.setattr(rescoring_workflow, "load_images", lambda folder, **_: make_images())
    monkeypatch.setattr(rescoring_workflow, "identify_code", lambda: "2")
    monkeypatch.setattr(training, "score_network", score_roughly)
    return children


@pytest.fixture
def root(tmp_path: Path, started: list[InlineChild]) -> Path:
    """A folder with finished runs of an earlier version, and its tables."""
    for settings in RUNS:
        write_settings(settings, make_images(), tmp_path)
        run = TrainingRun(settings, make_images(), tmp_path, code_version="1")
        run.run()
        result = read_json(run.folder / "result.json") or {}
        del result["grid_colour_correlation"]
        write_json(run.folder / "result.json", {**result, "psnr_db": 77.0})
    write_json(tmp_path / "experiment.json", {"command": ["deconvbench", "train"], "calls": []})
    write_experiment_tables(tmp_path)
    return tmp_path


def test_all_of_a_folder_is_scored_again_with_its_tables(root: Path, started: list[InlineChild]) -> None:
    record = (root / "experiment.json").read_bytes()
    assert "77.0" in (root / "results.csv").read_text()
    steps: list[PartDone] = []
    outcome = score_experiments(root, Choice(), jobs=1, observer=steps.append)
    assert outcome.describe() == "3 scored again"
    assert [(step.done, step.total) for step in steps] == [(n, 3) for n in (1, 1, 2, 2, 3, 3)]
    assert steps[0].title.endswith("step 12  scored again")
    for settings in RUNS:
        result = read_json(root / "runs" / settings.run_id / "result.json") or {}
        assert result["scored_by"] == "2"
        assert result["code_version"] == "1"
        assert result["grid_colour_correlation"] is not None
    assert "77.0" not in (root / "results.csv").read_text()
    assert (root / "experiment.json").read_bytes() == record
    started.clear()
    assert score_experiments(root, Choice()).describe() == "3 scored before"
    assert started == []


def test_one_that_was_interrupted_continues(root: Path) -> None:
    def interrupt(step: PartDone) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_experiments(root, Choice(), jobs=1, observer=interrupt)
    outcome = score_experiments(root, Choice(), jobs=1)
    assert (outcome.trained, outcome.kept) == (1, 2)


def test_what_cannot_be_scored_is_named_and_left(root: Path) -> None:
    (root / "runs" / RUNS[0].run_id / "checkpoint.pt").unlink()
    (root / "runs" / RUNS[2].run_id / "result.json").unlink()
    result = root / "runs" / RUNS[0].run_id / "result.json"
    before = result.read_bytes()
    outcome = score_experiments(root, Choice(), jobs=1)
    assert outcome.describe().splitlines() == [
        "1 scored again, 2 left",
        f"{RUNS[0].run_id}: no weights are kept",
        f"{RUNS[2].run_id}: not finished",
    ]
    assert result.read_bytes() == before
    lines = (root / "results.csv").read_text().splitlines()
    assert len(lines) == 3


def test_other_images_score_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescoring_workflow, "load_images", lambda folder, **_: make_images(1))
    outcome = score_experiments(root, Choice())
    assert outcome.describe().startswith("3 left\n")
    assert outcome.describe().count("trained on other images; --images names them") == 3


def test_a_choice_and_a_device_reach_the_children(
    root: Path, started: list[InlineChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(rescoring_workflow, "check_device", asked.append)
    outcome = score_experiments(root, Choice(seeds=1), device="cuda")
    assert outcome.trained == 2
    assert len(started) == 1  # an accelerator has one
    assert {settings.device for settings in started[0].asked} == {"cuda"} == set(asked)
    assert read_json(root / "runs" / TINY.run_id / "result.json", dict[str, Any]) is not None
    assert json.loads((root / "runs" / TINY.run_id / "result.json").read_text())["device"] == "cpu"


def test_a_folder_with_nothing_of_it_or_held_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match="--score-again: .* holds no training run that is asked for"):
        score_experiments(root, Choice(tasks=["super-resolution"]))
    with pytest.raises(UsageError, match=f"it has [0-9]+, such as {TINY.task}-"):
        score_experiments(root, Choice(tasks=["super-resolution"]))
    with pytest.raises(UsageError, match="--out: .*missing' does not exist; --score-again needs the"):
        score_experiments(root / "missing", Choice())
    assert not (root / "missing").exists()
    (root / "file").write_text("mine")
    with pytest.raises(UsageError, match="--out: .*file' is a file, not a folder; --score-again needs"):
        score_experiments(root / "file", Choice())
    (root / "others").mkdir()
    with pytest.raises(UsageError, match="others holds no training runs; name the output folder of an earlier"):
        score_experiments(root / "others", Choice())
    assert not [*(root / "others").iterdir()]
    with hold_folder(root), pytest.raises(SurroundingsError, match="another run is writing this folder"):
        score_experiments(root, Choice())
    with pytest.raises(UsageError, match="device: 'cuda:77' is not on this machine"):
        score_experiments(root, Choice(), device="cuda:77")
