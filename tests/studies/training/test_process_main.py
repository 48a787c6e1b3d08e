import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deconvbench.errors import SurroundingsError
from deconvbench.studies.training import process_main as child
from deconvbench.studies.training import training
from deconvbench.studies.training.process_main import serve
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.training import TrainingRun
from deconvbench.upsamplers import registry
from tests.tiny_training import TINY, make_images, score_roughly

Answers = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read no photographs."""
    monkeypatch.setattr(child, "load_images", lambda folder, **_: make_images())
    monkeypatch.setattr(training, "score_network", score_roughly)
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


def answer_all(root: Path, *jobs: TrainingSettings, sources: tuple[str, ...] = (), **more: Any) -> Answers:
    options: dict[str, Any] = {
        "token": "t",
        "images": None,
        "smallest": 1,
        "root": str(root),
        "sources": sources,
        "digests": [],
        "code_version": "1",
        **more,
    }
    lines = [json.dumps(content) for content in (options, *map(asdict, jobs))]
    answers: list[str] = []
    serve(io.StringIO("\n".join(lines)), answers.append)
    return [json.loads(answer.removeprefix("t ")) for answer in answers]


def test_each_run_is_answered_step_by_step_and_at_its_end(tmp_path: Path) -> None:
    answers = answer_all(tmp_path, replace(TINY, steps=2), replace(TINY, steps=1, seed=1))
    assert [answer.get("step", answer.get("status")) for answer in answers] == [1, 2, "ok", 1, "ok"]
    assert answers[0]["text"].startswith("loss ")
    results = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("runs/*/result.json"))]
    assert [result["code_version"] for result in results] == ["1", "1"]
    assert torch.get_num_threads() == 1


def test_what_a_run_raises_is_its_status_and_the_next_goes_on(tmp_path: Path) -> None:
    cannot = replace(TINY, kernel_size=1)
    raises = replace(TINY, upsampler="raises")
    source = ("tests.faulty_upsamplers:Raises",)
    answers = answer_all(tmp_path, cannot, raises, replace(TINY, steps=1), sources=source)
    statuses = [answer["status"] for answer in answers if "status" in answer]
    assert statuses == ["unsupported", "error", "ok"]
    assert "kernel" in answers[0]["message"]
    assert "faulty_upsamplers.py:" in answers[1]["message"]


def test_a_full_disk_stops_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(self: TrainingRun, report: object) -> None:
        raise SurroundingsError("the disk is full")

    monkeypatch.setattr(TrainingRun, "run", fill)
    assert answer_all(tmp_path, TINY, replace(TINY, seed=1)) == [{"stop": "the disk is full"}]


def test_what_cannot_be_loaded_stops_everything(tmp_path: Path) -> None:
    (answer,) = answer_all(tmp_path, TINY, sources=("no_such_module:factory",))
    assert "no_such_module" in answer["stop"]


def test_runs_are_scored_again_and_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(TINY, steps=2)
    answer_all(tmp_path, settings)
    monkeypatch.setattr(TrainingRun, "run", lambda *_: pytest.fail("trained"))
    missing = replace(settings, seed=1)
    answers = answer_all(tmp_path, settings, missing, is_scoring=True)
    assert [answer.get("step", answer.get("status")) for answer in answers] == [2, "ok", "error"]
    assert answers[-1]["message"].endswith("its weights are missing, its result is missing")
    result = json.loads((tmp_path / "runs" / settings.run_id / "result.json").read_text())
    assert result["scored_by"] == "1"
