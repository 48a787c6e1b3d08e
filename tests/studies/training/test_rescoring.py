"""A result that is scored again must be that of a run made anew."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deconvbench.errors import RunFolderError
from deconvbench.records.schema import EARLIER_RUN_KEYS, FINAL_COLUMNS, SCORE_COLUMNS
from deconvbench.studies.training import training
from deconvbench.studies.training.checkpoints import load_checkpoint, read_json, read_log, write_json, write_rows
from deconvbench.studies.training.rescoring import Choice, list_kept, score_again
from deconvbench.studies.training.scores import Scores
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.training import TrainingRun, write_settings
from tests.tiny_training import TINY, make_images, score_roughly

IMAGES = make_images()
SCORES = (*SCORE_COLUMNS, *FINAL_COLUMNS)


@pytest.fixture
def roughly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "score_network", score_roughly)


def train(settings: TrainingSettings, root: Path) -> Path:
    write_settings(settings, IMAGES, root)
    run = TrainingRun(settings, IMAGES, root, code_version="1")
    run.run()
    return run.folder


def age(folder: Path) -> None:
    """Make a finished run one of an earlier version: some columns missing, the others scored otherwise."""
    result = read_json(folder / "result.json") or {}
    rows = read_log(folder)
    for row in (result, rows[-1]):
        for name in SCORES:
            if name in row:
                row[name] = 77.0
        for name in ("effective_ripple_scale1", "grid_colour_correlation", *EARLIER_RUN_KEYS):
            row.pop(name, None)
    for image in rows[-1]["images"]:
        image["psnr_db"] = 77.0
    write_json(folder / "result.json", result)
    write_rows(folder, rows)


def read_others(root: Path) -> dict[Path, bytes]:
    """All files but those that scoring may change."""
    names = ("result.json", "log.jsonl")
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name not in names}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"recipe": "tuned", "norm": "none", "variant": "last-3"},
        {"task": "super-resolution", "recipe": "tuned", "norm": "none", "seed": 1},
        {"task": "segmentation"},
        {"task": "style-transfer", "recipe": "tuned"},
        {"upsampler": "carafe", "kernel_size": None},
    ],
    ids=["plain", "tuned", "super-resolution", "segmentation", "style", "not linear"],
)
def test_a_run_scored_again_is_as_one_made_anew(changes: dict[str, Any], tmp_path: Path) -> None:
    settings = replace(TINY, steps=1, **changes)
    folder = train(settings, tmp_path)
    expected, log = read_json(folder / "result.json"), read_log(folder)
    assert expected is not None
    age(folder)
    before = read_others(tmp_path)
    assert read_log(folder) != log
    result = score_again(settings, IMAGES, tmp_path, "2")
    assert result == read_json(folder / "result.json")
    assert result.pop("scored_by") == "2"
    # what the training wrote stays as it was
    assert result == {name: value for name, value in expected.items() if name not in EARLIER_RUN_KEYS}
    assert read_log(folder) == log
    assert read_others(tmp_path) == before


@pytest.mark.usefixtures("roughly")
def test_only_scores_of_the_last_row_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = train(TINY, tmp_path)
    before = read_log(folder)
    monkeypatch.setattr(training, "score_network", score_otherwise)
    result = score_again(TINY, IMAGES, tmp_path)
    *rows, last = read_log(folder)
    assert rows == before[:-1]
    assert {last["psnr_db"], result["psnr_db"], *(image["psnr_db"] for image in last["images"])} == {5.0}
    assert [image["crop"] for image in last["images"]] == [image["crop"] for image in before[-1]["images"]]
    assert all((tmp_path / image["crop"]).exists() for image in last["images"])
    kept = ("step", "loss", "seconds")
    assert [last[name] for name in kept] == [before[-1][name] for name in kept]


def score_otherwise(*words: Any, **options: Any) -> Scores:
    """Score as another version might."""
    found = score_roughly(*words, **options)
    images = tuple({**image, "psnr_db": 5.0} for image in found.images)
    return replace(found, row={**found.row, "psnr_db": 5.0}, images=images)


@pytest.mark.usefixtures("roughly")
def test_nothing_is_trained_and_chance_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(TINY, tmp_path)
    monkeypatch.setattr(TrainingRun, "_advance", lambda self: pytest.fail("trained"))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    score_again(TINY, IMAGES, tmp_path)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.usefixtures("roughly")
def test_killed_before_the_result_is_there_it_is_scored_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(TINY, tmp_path)
    log = read_log(folder)
    age(folder)
    old = (folder / "result.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(
            "deconvbench.studies.training.rescoring.write_json",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            score_again(TINY, IMAGES, tmp_path, "2")
    assert (folder / "result.json").read_bytes() == old
    (kept,) = list_kept(tmp_path, Choice())
    assert not kept.is_scored_by("2")
    score_again(TINY, IMAGES, tmp_path, "2")
    (kept,) = list_kept(tmp_path, Choice())
    assert kept.is_scored_by("2")
    assert read_log(folder) == log


@pytest.mark.usefixtures("roughly")
def test_weights_of_another_step_are_refused(tmp_path: Path) -> None:
    folder = train(TINY, tmp_path)
    result = read_json(folder / "result.json") or {}
    write_json(folder / "result.json", {**result, "steps": 9})
    with pytest.raises(RunFolderError, match="its weights are of step 12, its result is of step 9"):
        score_again(TINY, IMAGES, tmp_path)
    (folder / "checkpoint.pt").unlink()
    with pytest.raises(RunFolderError, match="its weights are missing"):
        score_again(TINY, IMAGES, tmp_path)


@pytest.mark.usefixtures("roughly")
def test_what_stands_in_the_way_is_said(tmp_path: Path) -> None:
    folder = train(TINY, tmp_path)

    def look() -> str:
        (kept,) = list_kept(tmp_path, Choice())
        return kept.find_obstacle(IMAGES.fingerprint)

    assert look() == ""
    (kept,) = list_kept(tmp_path, Choice())
    assert kept.find_obstacle("others") == "trained on other images; --images names them"
    assert kept.settings == TINY
    state = load_checkpoint(folder, "cpu")
    assert state is not None
    (folder / "checkpoint.pt").unlink()
    assert look() == "no weights are kept"
    result = read_json(folder / "result.json") or {}
    write_json(folder / "result.json", {**result, "status": "diverged"})
    assert look() == "no result: diverged"
    (folder / "result.json").unlink()
    assert look() == "not finished"


def test_an_upsampler_that_is_gone_stands_in_the_way(tmp_path: Path) -> None:
    gone = replace(TINY, upsampler="gone")
    write_settings(gone, IMAGES, tmp_path)
    keys = {"status": "ok", "steps": 12, **gone.keys}
    write_json(tmp_path / "runs" / gone.run_id / "result.json", keys)
    (tmp_path / "runs" / gone.run_id / "checkpoint.pt").touch()
    (kept,) = list_kept(tmp_path, Choice())
    assert "'gone' is unknown" in kept.find_obstacle(IMAGES.fingerprint)


@pytest.mark.usefixtures("roughly")
def test_what_counts_as_scored(tmp_path: Path) -> None:
    folder = train(TINY, tmp_path)
    (kept,) = list_kept(tmp_path, Choice())
    assert kept.is_scored_by("1")
    assert not kept.is_scored_by("2")
    age(folder)
    (kept,) = list_kept(tmp_path, Choice())
    assert not kept.is_scored_by("1")


RUNS = (
    TINY,
    replace(TINY, seed=3),
    replace(TINY, task="super-resolution", norm="none"),
    replace(TINY, recipe="tuned", variant="gain-2"),
    replace(TINY, upsampler="subpixel"),
)


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (Choice(), {0, 1, 2, 3, 4}),
        (Choice(layers=[("transposed", 3)]), {0, 1, 2, 3}),
        (Choice(layers=[("transposed", 4)]), set()),
        (Choice(tasks=["super-resolution"]), {2}),
        (Choice(norms=["instance"], recipes=["plain"]), {0, 1, 4}),
        (Choice(variants=["gain-2", "last-3"]), {3}),
        (Choice(seeds=3), {0, 2, 3, 4}),
    ],
    ids=["all", "layer", "no layer", "task", "norm and recipe", "variant", "seeds"],
)
def test_runs_are_chosen(choice: Choice, chosen: set[int], tmp_path: Path) -> None:
    for settings in RUNS:
        write_settings(settings, IMAGES, tmp_path)
    assert {kept.settings.run_id for kept in list_kept(tmp_path, choice)} == {
        RUNS[index].run_id for index in chosen
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"upsampler": "transposed"}, "does not hold the settings of a training run"),
        ({"upsampler": "transposed", "kernel_size": 3, "batch": 0}, "batch: 0 is not"),
        (
            {"upsampler": "subpixel", "kernel_size": 3},
            "holds the settings of another run: reconstruction-subpixel",
        ),
    ],
    ids=["incomplete", "wrong", "another"],
)
def test_settings_that_are_none_are_named(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_settings(TINY, IMAGES, tmp_path)
    write_json(tmp_path / "runs" / TINY.run_id / "settings.json", content)
    with pytest.raises(RunFolderError, match=message):
        list_kept(tmp_path, Choice())
