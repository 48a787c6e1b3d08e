import errno
import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deconvbench.errors import RunFolderError, SurroundingsError, UsageError
from deconvbench.progress import PartDone
from deconvbench.records.run_folder import hold_folder
from deconvbench.records.schema import EARLIER_RUN_KEYS
from deconvbench.studies.training import training, workflow
from deconvbench.studies.training.checkpoints import load_checkpoint, read_json, write_json
from deconvbench.studies.training.images import draw_batch
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.training import TrainingRun
from deconvbench.studies.training.workflow import estimate_seconds, run_experiments
from tests.tiny_training import TINY, make_images, score_roughly

RUNS = (TINY, replace(TINY, upsampler="nearest_conv"), replace(TINY, seed=1))


ENVIRONMENT_KEYS = ("machine_id", "cpu", "torch_version", "code_version", "python_version")


class InlineChild:
    """Trains in this process; answers a run's steps, one read each."""

    def __init__(self, options: dict[str, Any], root: Path) -> None:
        self.options, self.root = options, root
        self.reading, self.writing = os.pipe()
        self.answers: list[dict[str, Any]] = []

    def fileno(self) -> int:
        return self.reading

    def train(self, settings: TrainingSettings) -> None:
        run = TrainingRun(settings, make_images(), self.root, code_version=self.options["code_version"])
        result = run.run(lambda step, text: self.answers.append({"step": step, "text": text}))
        self.answers.append({"status": result["status"], "message": result["message"]})
        os.write(self.writing, b"." * len(self.answers))

    def read(self) -> list[dict[str, Any]]:
        os.read(self.reading, 1)
        return [self.answers.pop(0)]

    def explain_end(self) -> str:
        raise AssertionError

    def kill(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[InlineChild]:
    """Drawn pictures, rough scores, and children in this process; a list of these."""
    children: list[InlineChild] = []

    def start(options: dict[str, Any], root: Path) -> InlineChild:
        children.append(InlineChild(options, root))
        return children[-1]

    monkeypatch.setattr(workflow, "TrainingProcess", start)
    monkeypatch.setattr(workflow, "collect_environment", lambda: dict.fromkeys(ENVIRONMENT_KEYS, "x"))
    monkeypatch.setattr(workflow, "load_images", lambda folder, **_: make_images())
    monkeypatch.setattr(training, "score_network", score_roughly)
    return children


def read_record(root: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((root / "experiment.json").read_text())
    return record


def test_a_call_leaves_a_folder_that_says_all(tmp_path: Path) -> None:
    root = tmp_path / "new" / "experiments"
    steps: list[PartDone] = []
    outcome = run_experiments(RUNS, root, jobs=1, command=["deconvbench", "train"], observer=steps.append)
    assert (outcome.trained, outcome.kept, outcome.failures) == (3, 0, [])
    assert steps[-1].done == steps[-1].total == 36

    names = {path.name for path in root.iterdir()} - {".lock"}
    assert names == {"experiment.json", "runs", "crops", "curves.csv", "results.csv", "images.csv"}
    assert {path.name for path in (root / "runs").iterdir()} == {settings.run_id for settings in RUNS}
    for folder in (root / "runs").iterdir():
        assert {path.name for path in folder.iterdir()} == {
            "settings.json",
            "log.jsonl",
            "checkpoint.pt",
            "result.json",
        }
    assert {path.name for path in (root / "crops").iterdir()} == {
        "originals",
        *(settings.run_id for settings in RUNS if settings.seed == 0),
    }
    assert (root / "results.csv").read_text().count("\n") == 4
    assert (root / "curves.csv").read_text().count("\n") == 1 + 3 * 6

    record = read_record(root)
    assert record["kind"] == "experiment"
    assert record["schema_version"] == 1
    assert record["command"] == ["deconvbench", "train"]
    assert record["finished_at"] >= record["created_at"]
    assert record["images"]["source"] == "drawn"
    assert record["images"]["test"] == ["test0", "test1"]
    assert record["environment"]["torch_threads"] == 1
    (call,) = record["calls"]
    assert (call["trained"], call["failed"]) == (3, [])
    assert record["seconds"] == call["seconds"] > 0


def test_what_is_finished_is_not_trained_again(tmp_path: Path, started: list[InlineChild]) -> None:
    run_experiments(RUNS[:2], tmp_path, jobs=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")}
    outcome = run_experiments(RUNS, tmp_path, jobs=1)
    assert (outcome.trained, outcome.kept) == (1, 2)
    assert {path: path.stat().st_mtime_ns for path in before if path.is_file()} == {
        path: time for path, time in before.items() if path.is_file()
    }
    started.clear()
    assert run_experiments(RUNS, tmp_path).kept == 3
    assert started == []
    record = read_record(tmp_path)
    assert [call["trained"] for call in record["calls"]] == [2, 1, 0]
    assert record["seconds"] == pytest.approx(sum(call["seconds"] for call in record["calls"]))


def test_more_steps_go_on_from_the_checkpoint_and_fewer_do_not(tmp_path: Path) -> None:
    run_experiments([TINY], tmp_path)
    steps: list[PartDone] = []
    longer = replace(TINY, steps=15)
    assert run_experiments([longer], tmp_path, observer=steps.append).trained == 1
    assert [step.done for step in steps] == [1, 2, 3, 3]
    assert read_json(tmp_path / "runs" / TINY.run_id / "settings.json") == {
        **asdict(longer),
        "images": "drawn from 0",
        "threads": 1,
    }
    assert run_experiments([TINY], tmp_path).kept == 1
    (tmp_path / "runs" / TINY.run_id / "result.json").unlink()
    with pytest.raises(UsageError, match=f"--steps: 12 is below the 15 that {TINY.run_id} has made in"):
        run_experiments([TINY], tmp_path)


def test_a_folder_of_before_there_were_recipes_goes_on(tmp_path: Path) -> None:
    run_experiments([TINY], tmp_path)
    folder = tmp_path / "runs" / TINY.run_id
    for name in ("settings.json", "result.json"):
        content = read_json(folder / name) or {}
        for key in EARLIER_RUN_KEYS:
            del content[key]
        write_json(folder / name, content)
    assert run_experiments([TINY], tmp_path).kept == 1
    longer = replace(TINY, steps=15)
    assert run_experiments([longer], tmp_path).trained == 1
    assert (read_json(folder / "settings.json") or {})["recipe"] == "plain"
    run_experiments([longer], tmp_path / "whole")
    states = [load_checkpoint(path / "runs" / TINY.run_id, "cpu") for path in (tmp_path, tmp_path / "whole")]
    assert states[0] is not None
    assert states[1] is not None
    assert all(
        torch.equal(states[0]["network"][name], states[1]["network"][name]) for name in states[0]["network"]
    )


def test_variants_and_recipes_lie_side_by_side(tmp_path: Path) -> None:
    runs = [TINY, replace(TINY, recipe="tuned"), replace(TINY, variant="last-3")]
    assert run_experiments(runs, tmp_path, jobs=1).trained == 3
    assert run_experiments(runs, tmp_path, jobs=1).kept == 3
    with pytest.raises(UsageError, match="other settings: steps was 12, is 13; --out names"):
        run_experiments([replace(TINY, recipe="tuned", steps=13)], tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"batch": 2}, "batch was 1, is 2"), ({"learning_rate": 0.01}, "learning_rate was 0.001, is 0.01")],
    ids=["batch", "learning rate"],
)
def test_other_settings_are_refused_by_name(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    run_experiments([TINY], tmp_path)
    with pytest.raises(UsageError, match=f"{TINY.run_id} is in .* with other settings: {message}; --out names"):
        run_experiments([replace(TINY, **changes)], tmp_path)


def test_other_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_experiments([TINY], tmp_path)
    monkeypatch.setattr(workflow, "load_images", lambda folder, **_: make_images(1))
    with pytest.raises(UsageError, match="images had the fingerprint drawn from 0, now drawn from 1"):
        run_experiments([TINY], tmp_path)


def test_settings_of_a_run_that_never_began_do_not_bind(tmp_path: Path) -> None:
    training.write_settings(replace(TINY, batch=9), make_images(), tmp_path)
    assert run_experiments([TINY], tmp_path).trained == 1


def test_a_run_that_diverged_is_told_of_again_but_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "draw_batch", lambda *words: draw_batch(*words) * float("nan"))
    notes: list[str] = []
    outcome = run_experiments([TINY], tmp_path, observer=lambda step: notes.append(step.note))
    assert [failure.status for failure in outcome.failures] == ["diverged"]
    assert notes[-1] == f"{TINY.run_id}: diverged: the loss or a weight is not finite at step 1"
    assert read_record(tmp_path)["calls"][0]["failed"] == [asdict(outcome.failures[0])]
    monkeypatch.setattr(training, "draw_batch", draw_batch)
    again = run_experiments(RUNS[:2], tmp_path)
    assert again.trained == 1
    assert again.failures[0].message.endswith("(as before)")
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert len(lines) == 3
    assert f"{TINY.upsampler},3,2,instance,plain,standard,0,1,," in lines[2]


def test_an_interrupt_keeps_what_was_trained(tmp_path: Path) -> None:
    def interrupt(step: PartDone) -> None:
        if step.done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiments(RUNS, tmp_path, jobs=1, observer=interrupt)
    (call,) = read_record(tmp_path)["calls"]
    assert call["trained"] == 1
    assert call["finished_at"] is not None
    assert (tmp_path / "results.csv").read_text().count("\n") == 2
    assert run_experiments(RUNS, tmp_path).failures == []


def test_a_folder_that_is_held_or_a_file_is_refused(tmp_path: Path) -> None:
    with hold_folder(tmp_path), pytest.raises(SurroundingsError, match="another run is writing this folder"):
        run_experiments([TINY], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="is a file"):
        run_experiments([TINY], tmp_path / "file")


@pytest.mark.parametrize("names", [("results.csv", "curves.csv"), ("runs/",)], ids=["tables", "runs"])
def test_a_folder_with_files_of_others_asks_for_force(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="--out: .* holds other files .*; .* pass --force"):
        run_experiments([TINY], tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert run_experiments([TINY], tmp_path, force=True).trained == 1
    assert run_experiments([TINY], tmp_path).kept == 1


def test_a_folder_that_was_begun_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(workflow, "write_originals", stop)
        with pytest.raises(KeyboardInterrupt):
            run_experiments([TINY], tmp_path)
    assert (tmp_path / "runs").exists()
    assert run_experiments([TINY], tmp_path).trained == 1


def test_children_write_where_the_parent_began(
    tmp_path: Path, started: list[InlineChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_experiments([TINY], Path("out"))
    assert {child.root for child in started} == {tmp_path / "out"}


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SurroundingsError, match="the disk is full"):
        run_experiments([TINY], tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(TINY, crop_size=64), "crop_size: no image has 64×64 pixels"),
        (replace(TINY, device="cuda:77"), "device: 'cuda:77' is not on this machine"),
    ],
    ids=["crop", "device"],
)
def test_what_cannot_be_trained_is_told_before_a_folder_is_made(
    settings: TrainingSettings, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        run_experiments([TINY, settings], tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("devices", "jobs"), [(["cpu", "cpu", "cpu"], 2), (["cpu", "cuda", "cpu"], 1)], ids=["cores", "accelerator"]
)
def test_as_many_jobs_as_cores_but_one_accelerator(
    devices: list[str], jobs: int, tmp_path: Path, started: list[InlineChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(workflow, "check_device", lambda device: None)
    to_cpu: Callable[..., Any] = InlineChild.train
    monkeypatch.setattr(InlineChild, "train", lambda self, settings: to_cpu(self, replace(settings, device="cpu")))
    runs = [replace(TINY, steps=1, seed=seed, device=device) for seed, device in enumerate(devices)]
    run_experiments(runs, tmp_path)
    assert len(started) == jobs
    assert started[0].options["images"] is None


def test_a_folder_of_images_is_handed_on(tmp_path: Path, started: list[InlineChild]) -> None:
    run_experiments([replace(TINY, steps=1)], tmp_path / "out", images_folder=tmp_path / "images")
    assert started[0].options["images"] == str(tmp_path / "images")


def test_an_estimate_grows_with_the_steps_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def time_steps(self: TrainingRun, count: int) -> float:
        asked.append((count, torch.get_num_threads()))
        return 0.5

    monkeypatch.setattr(TrainingRun, "time_steps", time_steps)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert estimate_seconds(replace(TINY, steps=100), None, tmp_path / "new") == 50
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert asked == [(3, 1)]
    assert not (tmp_path / "new").exists()
    with pytest.raises(UsageError, match="device"):
        estimate_seconds(replace(TINY, device="cuda:77"), None, tmp_path)


@pytest.mark.parametrize("crop_sizes", [(32,), (64, 32)], ids=str)
def test_the_crop_size_decides_which_images_are_too_small(
    tmp_path: Path, started: list[InlineChild], monkeypatch: pytest.MonkeyPatch, crop_sizes: tuple[int, ...]
) -> None:
    asked: list[int] = []

    def load(folder: Path | None, *, smallest: int) -> Any:
        asked.append(smallest)
        return make_images()

    monkeypatch.setattr(workflow, "load_images", load)
    runs = [replace(TINY, steps=1, crop_size=size, seed=seed) for seed, size in enumerate(crop_sizes)]
    # the images made for tests are too small for the larger crops
    refused = pytest.raises(UsageError, match="crop_size: no image has 64") if 64 in crop_sizes else nullcontext()
    with refused:
        run_experiments(runs, tmp_path / "out", images_folder=tmp_path)
    assert asked == [32]
    assert [child.options["smallest"] for child in started] == [32] * (len(crop_sizes) == 1)
