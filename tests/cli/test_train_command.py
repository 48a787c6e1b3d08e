"""``deconvbench train`` as a user meets it, killed and interrupted included."""

import csv
import json
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from deconvbench.__main__ import main
from deconvbench.records.training_tasks import TRAINING_TASKS
from deconvbench.studies.training import command
from deconvbench.studies.training.checkpoints import load_checkpoint, read_log
from deconvbench.studies.training.images import load_images
from deconvbench.studies.training.settings import NORMS, RECIPES, TASKS, TUNED_SETTINGS, TrainingSettings
from deconvbench.studies.training.training import TrainingRun
from deconvbench.studies.training.variants import VARIANTS
from tests.processes import have_ended, watch_workers
from tests.tiny_training import drop_seconds

pytestmark = pytest.mark.process

TINY = [
    "--upsampler",
    "subpixel",
    "--width",
    "2",
    "--crop-size",
    "32",
    "--batch",
    "1",
    "--steps",
    "300",
    "--seeds",
    "1",
]
SIZES = {**TUNED_SETTINGS, "width": 2, "crop_size": 32, "batch": 1, "steps": 300}
SETTINGS = TrainingSettings(upsampler="subpixel", kernel_size=3, norm="none", **SIZES)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command line asks for; nothing is trained."""
    options: dict[str, Any] = {}

    def train(words: list[str], **given: Any) -> int:
        options.update(given, words=words)
        return int(options.get("code", 0))

    monkeypatch.setattr(command, "train_from_words", train)
    return options


def test_options_reach_the_experiments(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "train --upsampler transposed --upsampler subpixel-k5 --all --task super-resolution --norm none --steps 7"
    )
    words += (
        " --seeds 2 --images own --article --batch 3 --crop-size 64 --width 8 --device cuda --autocast --jobs 5"
    )
    words += " --recipe plain --variant standard,last-1 --variant last-3 --score-again"
    assert main([*words.split(), "--out", "there"]) == 0
    assert capsys.readouterr().out == "there\n"
    assert {name: value for name, value in asked.items() if name != "words"} == {
        "layers": ["transposed", "subpixel-k5"],
        "all_upsamplers": True,
        "tasks": ["super-resolution"],
        "norms": ["none"],
        "recipe": "plain",
        "variants": ["standard,last-1", "last-3"],
        "score_again": True,
        "seeds": 2,
        "images_folder": Path("own"),
        "is_article": True,
        "jobs": 5,
        "out": Path("there"),
        "force": False,
        "numbers": {
            "steps": 7,
            "batch": 3,
            "crop_size": 64,
            "width": 8,
            "device": "cuda",
            "autocast": True,
        },
    }


def test_defaults_are_left_to_the_experiments(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 0
    assert capsys.readouterr().out == "results/experiments\n"
    assert set(asked["numbers"].values()) == {None}
    left = ("layers", "all_upsamplers", "tasks", "norms", "recipe", "variants", "seeds", "jobs", "score_again")
    assert not any(asked[name] for name in left)


def test_help_names_recipes_variants_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    whole = shown.replace(" ", "")  # a name may be broken at its hyphen
    assert [name for name in (*RECIPES, *VARIANTS, *TASKS, *NORMS) if name not in whole] == []
    standard = TrainingSettings(upsampler="transposed", kernel_size=3)
    for name in ("steps", "batch", "crop_size"):
        assert f"[default: {TUNED_SETTINGS[name]}; plain: {getattr(standard, name)}]" in shown
    for task in ("segmentation", "style-transfer"):
        assert f"{task}{TRAINING_TASKS[task].tuned_settings['steps']}" in whole
    assert f"[default: {standard.width}]" in shown
    assert "--score-again" in shown


def test_an_interrupt_is_130_and_prints_no_folder(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asked["code"] = 130
    assert main(["train"]) == 130
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--upsampler deconv", "upsampler: 'deconv' is unknown"),
        ("--upsampler transposed-k1", "--upsampler: 'transposed-k1'"),
        ("--task style", "task: 'style'"),
        ("--norm batch", "norm: 'batch'"),
        ("--recipe fast", "recipe: 'fast' is not one of plain, tuned"),
        ("--variant last-2", "variant: 'last-2' is not one of standard, last-1, last-3"),
        ("--variant last-9", "variant: last-9 is for super-resolution, not for reconstruction"),
        ("--variant gain-2 --recipe plain", "variant: gain-2 needs the tuned recipe"),
        ("--score-again", "--score-again needs the output folder of an earlier train"),
        ("--score-again --steps 9", "--steps: not with --score-again"),
        ("--seeds 0", "--seeds: 0"),
        ("--jobs 0", "--jobs: 0"),
        ("--steps 0", "steps: 0"),
        ("--steps x", "--steps: 'x' is not a whole number"),
        ("--crop-size 30", "crop_size: 30"),
        ("--crop-size 4096", "crop_size: no image has 4096×4096 pixels"),
        ("--device cuda:77", "device: 'cuda:77' is not on this machine"),
        ("--article --device cuda:77", "device: 'cuda:77' is not on this machine"),
        ("--images missing", "images: "),
    ],
    ids=lambda text: text if text.startswith("--") else "",
)
def test_wrong_use_is_one_line(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def start(*words: str) -> "subprocess.Popen[str]":
    """Start the command line in a process group of its own."""
    pipe = subprocess.PIPE
    program = [sys.executable, "-m", "deconvbench", "train"]
    # a shell's background jobs ignore Ctrl-C, and so would their children
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen([*program, *words], stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_step(process: "subprocess.Popen[str]", folder: Path, step: int) -> None:
    while not (rows := read_log(folder)) or rows[-1]["step"] < step:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
            pytest.fail(f"the training ended early: {process.communicate()}")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs process descriptors, and the kernel's promise")
def test_interrupted_and_killed_a_training_ends_as_if_nothing_had_happened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "killed"
    folder = root / "runs" / SETTINGS.run_id

    with start(*TINY, "--out", str(root)) as process:
        wait_for_step(process, folder, 5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    words = shlex.split(err.splitlines()[-1].partition("Continue with: deconvbench ")[2])

    with start(*words[1:]) as process:
        wait_for_step(process, folder, 100)
        with watch_workers(process.pid, "deconvbench.studies.training.process_main") as children:
            process.kill()
            assert len(children) == 1
            assert have_ended(children)
    assert not (folder / "result.json").exists()

    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out == f"{root}\n"
    assert err.splitlines()[-1] == "1 trained"

    whole = TrainingRun(SETTINGS, load_images(None), tmp_path / "whole")
    whole.run()
    assert drop_seconds(read_log(folder)) == drop_seconds(read_log(whole.folder))
    states = [load_checkpoint(path, "cpu") for path in (folder, whole.folder)]
    assert states[0] is not None
    assert states[1] is not None
    for name, weights in states[0]["network"].items():
        assert torch.equal(weights, states[1]["network"][name])
    with (root / "curves.csv").open(newline="", encoding="utf-8") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == [0, 1, 5, 20, 100, 250, 300]


@pytest.mark.slow
def test_a_folder_scored_again_has_the_tables_that_it_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "train --upsampler transposed --upsampler nearest_conv --width 2 --crop-size 32 --batch 1 --steps 3"
    sizes = ["--seeds", "1", "--out", str(tmp_path)]
    assert main([*words.split(), *sizes]) == 0
    names = ("results.csv", "curves.csv", "images.csv", "experiment.json")
    before = {name: (tmp_path / name).read_bytes() for name in names}
    for path in tmp_path.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        del result["grid_colour_correlation"]
        path.write_text(json.dumps({**result, "psnr_db": 77.0}))
    capsys.readouterr()
    again = ["train", "--score-again", "--out", str(tmp_path), "--jobs", "2"]
    assert main(again) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path}\n"
    assert err.splitlines()[-1] == "2 scored again"
    assert "scored again" in err.splitlines()[0]
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    assert main(again) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "2 scored before"
