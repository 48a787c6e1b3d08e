import json
import random
import signal
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from deconvbench.records.schema import LATER_SCORE_COLUMNS, SCORE_COLUMNS, TASK_SCORES, TRAINED_DTYPES
from deconvbench.records.training_tasks import TRAINING_TASKS
from deconvbench.studies.training import training
from deconvbench.studies.training.checkpoints import load_checkpoint, read_json, read_log, save_checkpoint
from deconvbench.studies.training.held_out import hold_out
from deconvbench.studies.training.images import draw_batch
from deconvbench.studies.training.settings import TASKS, TrainingSettings
from deconvbench.studies.training.training import (
    TrainingRun,
    count_parameters,
    find_learning_rate,
    is_scheduled,
    write_settings,
)
from tests.tiny_training import FORKS, TINY, drop_seconds, make_images, score_roughly, train_until_killed

IMAGES = make_images()


@pytest.fixture
def roughly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score roughly, with a checkpoint and a row of the log every five steps."""
    monkeypatch.setattr(training, "score_network", score_roughly)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 5)
    monkeypatch.setattr(training, "_TUNED_LOG_EVERY", 5)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The order of sums is that of the training processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(settings: TrainingSettings, root: Path) -> TrainingRun:
    run = TrainingRun(settings, IMAGES, root, code_version="1")
    run.run()
    return run


def read_weights(run: TrainingRun) -> dict[str, torch.Tensor]:
    state = load_checkpoint(run.folder, "cpu")
    assert state is not None
    weights: dict[str, torch.Tensor] = state["network"]
    return weights


def check_same(one: TrainingRun, other: TrainingRun) -> None:
    assert drop_seconds(read_log(one.folder)) == drop_seconds(read_log(other.folder))
    assert read_json(one.folder / "result.json") == read_json(other.folder / "result.json")
    first, second = read_weights(one), read_weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_schedule() -> None:
    assert [step for step in range(205) if is_scheduled(step)] == [0, 1, 2, 5, 10, 20, 50, 100, 150, 200]


def test_the_schedule_of_the_tuned_recipe_is_of_long_runs() -> None:
    steps = [step for step in range(1501) if is_scheduled(step, "tuned")]
    assert steps == [0, 1, 5, 20, 100, 250, 500, 1000, 1500]


def test_the_learning_rate_of_the_tuned_recipe_rises_and_falls_to_zero() -> None:
    settings = replace(TINY, recipe="tuned", steps=100, learning_rate=0.5)
    rates = [find_learning_rate(settings, step) for step in range(100)]
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5], rel=0.005)
    assert all(later < earlier for earlier, later in pairwise(rates[4:]))
    assert rates[50] == pytest.approx(0.25)
    assert rates[-1] < 2e-4
    assert {find_learning_rate(replace(settings, recipe="plain"), step) for step in range(100)} == {0.5}


def test_the_tuned_recipe_bounds_gradients_and_sets_the_rate_of_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float]] = []
    original = torch.optim.Adam.step

    def step(self: torch.optim.Adam, *args: object) -> object:
        group = self.param_groups[0]
        norm = torch.stack([p.grad.norm() for p in group["params"] if p.grad is not None]).norm()
        seen.append((group["lr"], float(norm)))
        return original(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    monkeypatch.setattr(training, "score_network", score_roughly)
    monkeypatch.setattr(training, "_LARGEST_GRADIENT", 1e-3)
    settings = replace(TINY, recipe="tuned", steps=4, norm="none")
    train(settings, tmp_path)
    assert [rate for rate, _ in seen] == [find_learning_rate(settings, step) for step in range(4)]
    assert max(norm for _, norm in seen) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("task", TASKS)
def test_a_run_leaves_log_result_checkpoint_and_pictures(task: str, tmp_path: Path) -> None:
    settings = replace(TINY, task=task)
    told: list[tuple[int, str]] = []
    run = TrainingRun(settings, IMAGES, tmp_path, code_version="1.2")
    result = run.run(lambda step, text: told.append((step, text)))

    assert run.folder == tmp_path / "runs" / settings.run_id
    rows = read_log(run.folder)
    assert [row["step"] for row in rows] == [0, 1, 2, 5, 10, 12]
    assert [step for step, _ in told] == list(range(1, 13))
    assert told[0][1].startswith("loss ")
    assert rows[0]["loss"] is None
    assert all(row["loss"] > 0 for row in rows[1:])
    assert all(list(row)[:2] == ["step", "loss"] and set(SCORE_COLUMNS) < set(row) for row in rows)
    assert [row["step"] for row in rows if "images" in row] == [0, 1, 12]
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert seconds[0] == 0

    stored = read_json(run.folder / "result.json")
    assert stored == result
    assert list(result) == ["status", "message", *TRAINED_DTYPES]
    assert (result["status"], result["message"], result["steps"], result["code_version"]) == ("ok", "", 12, "1.2")
    assert {name: result[name] for name in SCORE_COLUMNS} == {name: rows[-1][name] for name in SCORE_COLUMNS}
    assert result["parameters"] == count_parameters(run.network)
    assert (result["checkerboard_scale2_levels"] is None) == (task == "super-resolution")
    own = TRAINING_TASKS[task].scores
    assert all(row[name] is not None for row in rows for name in own)
    assert all(row[name] is None for row in rows for name in TASK_SCORES if name not in own)
    assert all(result[name] is None for name in TRAINING_TASKS[task].undefined)
    assert (result["colour_distance_correlation"] is None) == (task == "segmentation")
    assert all((result[name] is None) == (name not in own) for name in TASK_SCORES)
    assert TRAINING_TASKS[task].headline_text.format(rows[-1][TRAINING_TASKS[task].headline]) in told[-1][1]
    state = load_checkpoint(run.folder, "cpu")
    assert state is not None
    assert state["step"] == 12

    names = hold_out(IMAGES, settings).names
    for row in (rows[0], rows[1], rows[-1]):
        assert [image["image"] for image in row["images"]] == list(names)
        for image in row["images"]:
            assert image["crop"] == f"crops/{settings.run_id}/{image['image']}-step{row['step']}.png"
            with Image.open(tmp_path / image["crop"]) as picture:
                assert (picture.size, picture.mode) == ((32, 32), "RGB")


@pytest.mark.parametrize(
    ("upsampler", "task", "scales"),
    [
        pytest.param("transposed", "reconstruction", {1, 2}, id="two"),
        pytest.param("transposed", "super-resolution", {1}, id="one"),
        pytest.param("transposed", "segmentation", {1, 2}, id="behind probabilities"),
        pytest.param("carafe", "reconstruction", set(), id="not linear"),
    ],
)
def test_the_ripple_of_the_trained_upsamplers_is_in_log_and_result(
    upsampler: str, task: str, scales: set[int], tmp_path: Path
) -> None:
    kernel_size = 3 if upsampler == "transposed" else None
    settings = replace(TINY, task=task, upsampler=upsampler, kernel_size=kernel_size, steps=1)
    run = TrainingRun(settings, IMAGES, tmp_path)
    result = run.run()
    for row in (*read_log(run.folder), result):
        found = {scale for scale in (1, 2) if row[f"effective_ripple_scale{scale}"] is not None}
        assert found == scales
    for scale in scales:
        assert 0 < result[f"effective_ripple_scale{scale}"] < 1


@pytest.mark.usefixtures("roughly")
def test_a_checkpoint_from_before_a_score_came_is_scored_at_its_end(tmp_path: Path) -> None:
    run = TrainingRun(TINY, IMAGES, tmp_path)
    expected = run.run()
    state = load_checkpoint(run.folder, "cpu")
    assert state is not None
    for name in LATER_SCORE_COLUMNS:
        del state["row"][name]
    save_checkpoint(run.folder, state)
    result = TrainingRun(TINY, IMAGES, tmp_path).run()
    assert result == expected
    assert None not in {result[name] for name in LATER_SCORE_COLUMNS}


def test_training_learns(tmp_path: Path) -> None:
    rows = read_log(train(replace(TINY, steps=60, norm="none", learning_rate=1e-2), tmp_path).folder)
    assert rows[-1]["loss"] < rows[1]["loss"] / 2
    assert rows[-1]["psnr_db"] > rows[0]["psnr_db"]


@pytest.mark.usefixtures("roughly")
def test_one_seed_gives_one_result_and_another_another(tmp_path: Path) -> None:
    one, again = train(TINY, tmp_path / "one"), train(TINY, tmp_path / "again")
    check_same(one, again)
    other = train(replace(TINY, seed=1), tmp_path / "other")
    assert read_log(one.folder)[-1]["loss"] != read_log(other.folder)[-1]["loss"]


@pytest.mark.usefixtures("roughly")
@pytest.mark.parametrize("first", [5, 7, 12], ids=lambda steps: f"after {steps}")
def test_a_longer_run_goes_on_from_a_shorter_one_as_if_it_had_never_stopped(first: int, tmp_path: Path) -> None:
    settings = replace(TINY, steps=18)
    whole = train(settings, tmp_path / "whole")
    train(replace(settings, steps=first), tmp_path / "parts")
    parts = train(settings, tmp_path / "parts")
    # what a shorter run drew at its end has no place in a longer one
    for row in (rows := read_log(parts.folder)):
        if row["step"] == first:
            del row["images"]
    assert drop_seconds(rows) == drop_seconds(read_log(whole.folder))
    assert read_json(parts.folder / "result.json") == read_json(whole.folder / "result.json")
    pictures = [{path.name for path in (run.root / "crops").rglob("*")} for run in (whole, parts)]
    assert pictures[0] == pictures[1]
    first_weights, last_weights = read_weights(whole), read_weights(parts)
    assert all(torch.equal(first_weights[name], last_weights[name]) for name in first_weights)


@pytest.mark.usefixtures("roughly")
def test_a_run_at_its_end_only_tells_its_result_again(tmp_path: Path) -> None:
    run = train(TINY, tmp_path)
    result = (run.folder / "result.json").read_bytes()
    (run.folder / "result.json").unlink()
    log = (run.folder / "log.jsonl").read_bytes()
    steps: list[int] = []
    TrainingRun(TINY, IMAGES, tmp_path, code_version="1").run(lambda step, _: steps.append(step))
    assert steps == []
    assert (run.folder / "result.json").read_bytes() == result
    assert (run.folder / "log.jsonl").read_bytes() == log


@pytest.mark.slow
@pytest.mark.usefixtures("roughly", "one_thread")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"recipe": "tuned", "variant": "last-3", "norm": "none"},
        {"task": "segmentation"},
        {"task": "segmentation", "recipe": "tuned", "norm": "none"},
        {"task": "style-transfer"},
        {"task": "style-transfer", "recipe": "tuned"},
    ],
    ids=["plain", "tuned", "segmentation", "segmentation tuned", "style", "style tuned"],
)
def test_killed_at_any_moment_it_ends_with_the_same_bits(changes: dict[str, Any], tmp_path: Path) -> None:
    settings = replace(TINY, steps=48, seed=1, **changes)
    whole = TrainingRun(settings, IMAGES, tmp_path / "whole")
    whole.run()
    root = tmp_path / "killed"
    chance = random.Random(1)
    codes: list[int | None] = []
    torn = drafts = 0
    while not codes or codes[-1] != 0:
        process = FORKS.Process(target=train_until_killed, args=(settings, root, chance.randint(1, 45)))
        process.start()
        process.join()
        codes.append(process.exitcode)
        assert process.exitcode in (0, -signal.SIGKILL)
        folder = root / "runs" / settings.run_id
        log = folder / "log.jsonl"
        torn += log.exists() and not log.read_bytes().endswith(b"\n") and log.stat().st_size > 0
        drafts += any(folder.glob("*.tmp"))
        assert len(codes) < 200
    assert len(codes) >= 10
    assert torn >= (3 if settings.recipe == "plain" else 1)  # the tuned recipe logs less often
    assert drafts >= 2
    check_same(whole, TrainingRun(settings, IMAGES, root))


@pytest.mark.usefixtures("roughly")
@pytest.mark.parametrize("part", ["loss", "weights"])
def test_a_run_that_diverges_says_so_and_has_no_scores(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(*words: object) -> torch.Tensor:
        batch = draw_batch(*words)  # type: ignore[arg-type] # as it was called
        return batch * (float("nan") if words[-1] == 3 else 1)

    def spoil_weights(self: torch.optim.Adam) -> None:
        self.param_groups[0]["params"][0].data.fill_(float("inf"))

    if part == "loss":
        monkeypatch.setattr(training, "draw_batch", spoil)
    else:
        monkeypatch.setattr(torch.optim.Adam, "step", spoil_weights)
    run = train(TINY, tmp_path)
    at = 5 if part == "loss" else 1
    result = read_json(run.folder / "result.json")
    assert result is not None
    assert result["status"] == "diverged"
    assert result["message"] == f"the loss or a weight is not finite at step {at}"
    assert result["steps"] == at
    assert "psnr_db" not in result
    assert result["width"] == 2
    assert max(row["step"] for row in read_log(run.folder)) < at


def test_settings_are_kept_with_images_and_threads(tmp_path: Path) -> None:
    write_settings(TINY, IMAGES, tmp_path)
    stored = json.loads((tmp_path / "runs" / TINY.run_id / "settings.json").read_text())
    assert stored == {**asdict(TINY), "images": "drawn from 0", "threads": 1}


def test_autocast_computes_in_bfloat16_and_keeps_weights_in_float32(tmp_path: Path) -> None:
    plain = TrainingRun(TINY, IMAGES, tmp_path)
    cast = TrainingRun(replace(TINY, autocast=True), IMAGES, tmp_path)
    assert plain.time_steps(1) > 0
    assert cast.time_steps(1) > 0
    assert all(parameter.dtype == torch.float32 for parameter in cast.network.parameters())
    losses = [float(run._loss_sum) / run._loss_count for run in (plain, cast)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert not list(tmp_path.iterdir())


@pytest.mark.cuda
def test_training_on_cuda_learns_too(tmp_path: Path) -> None:
    for autocast in (False, True):
        settings = replace(TINY, steps=60, norm="none", learning_rate=1e-2, device="cuda", autocast=autocast)
        rows = read_log(train(settings, tmp_path / str(autocast)).folder)
        assert rows[-1]["loss"] < rows[1]["loss"] / 2
