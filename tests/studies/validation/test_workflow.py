import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from deconvbench.errors import RunFolderError, UsageError
from deconvbench.progress import PartDone
from deconvbench.studies.validation import validate, workflow
from deconvbench.studies.validation.distortions import CHANGES
from deconvbench.studies.validation.study import Study, StudySettings
from deconvbench.studies.validation.workflow import make_pictures

FILES = {
    "README.md", "calibration.csv", "calibration.png", "checks.csv", "flat_fields.csv", "invariances.csv",
    "lookalikes.csv", "rates.csv", "rates.png", "rivals.csv", "run.json", "scores.png", "separation.csv",
}  # fmt: skip


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, small_study: Study) -> list[StudySettings]:
    """Take the small study as what any study finds, and note how much was asked for."""
    asked: list[StudySettings] = []

    def take(settings: StudySettings, photographs: Any, observer: Any) -> Study:
        asked.append(settings)
        observer(PartDone(done=1, total=1, title="all"))
        return small_study

    monkeypatch.setattr(workflow, "run_study", take)
    return asked


def test_a_folder_holds_all_that_was_found(
    measured: list[StudySettings], small_study: Study, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "validation"
    steps: list[PartDone] = []
    result = validate(out, seeds=2, observer=steps.append)
    page = result.page
    assert page == out / "README.md"
    assert {path.name for path in out.iterdir()} == FILES
    assert measured == [StudySettings(seeds=2, crops=33)]
    assert len(steps) == 1
    frames = {
        "calibration": small_study.calibration,
        "invariances": small_study.invariances,
        "rivals": small_study.alternatives,
        "rates": small_study.rates,
        "separation": small_study.separation,
        "lookalikes": small_study.lookalikes,
        "flat_fields": small_study.flat_fields,
    }
    for name, found in frames.items():
        frame = pd.read_csv(out / f"{name}.csv")
        assert list(frame.columns) == list(found.columns)
        assert len(frame) == len(found)
    assert pd.read_csv(out / "checks.csv")["is_met"].dtype == bool
    for name in ("rates", "calibration", "scores"):
        with Image.open(out / f"{name}.png") as picture:
            assert picture.width == 1350
        assert (out / f"{name}.png").stat().st_size < 200_000
        assert f"({name}.png)" in page.read_text(encoding="utf-8")
    info = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert info["kind"] == "validation"
    assert info["settings"]["seeds"] == 2
    assert info["environment"]["packages"]["torch"]
    assert info["command"] == f"deconvbench validate --out {out} --seeds 2"
    assert re.search(r"^\| photographs +\|  2 \|", result.summary, re.MULTILINE)
    assert "| P = 2: false alarms on photographs " in result.summary
    assert re.search(r"^\d+ of \d+ lines met\.$", result.summary, re.MULTILINE)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do without the figures, which take longest."""
    for draw in ("draw_rates", "draw_calibration", "draw_scores"):
        monkeypatch.setattr(workflow, draw, lambda *_: Figure())
    monkeypatch.setattr(workflow, "encode_figures", lambda figures: dict.fromkeys(figures, b"drawn"))


@pytest.mark.usefixtures("undrawn")
def test_settings_and_command_can_be_given(measured: list[StudySettings], tmp_path: Path) -> None:
    settings = StudySettings(seeds=1, size=128)
    page = validate(tmp_path, settings=settings, command="as I like it").page
    assert measured == [settings]
    assert "`as I like it`" in page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
def test_a_folder_of_ones_own_is_named_as_it_must_be_typed(measured: list[StudySettings], tmp_path: Path) -> None:
    folder = tmp_path / "my images"
    folder.mkdir()
    Image.effect_noise((256, 300), 50).save(folder / "noise.png")
    (folder / "notes.txt").write_text("no image")
    validate(tmp_path / "out", seeds=1, images=folder)
    assert measured == [StudySettings(seeds=1, crops=17, images=str(folder))]
    info = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert info["command"] == f"deconvbench validate --out {tmp_path / 'out'} --seeds 1 --images '{folder}'"
    assert info["settings"]["images"] == str(folder)
    assert info["photographs"] == ["noise.png"]
    assert info["left_out"] == ["notes.txt: not an image that Pillow reads"]


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_images_is_refused_before_anything_is_made(
    measured: list[Any], tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=f"--images: .*{name}"):
        validate(tmp_path / "out", images=tmp_path / name)
    assert measured == []
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_second_time_replaces_the_first_and_nothing_else(measured: list[StudySettings], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "checks.csv").write_text("old")
    validate(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "notes.txt"}
    assert (tmp_path / "checks.csv").read_text(encoding="utf-8").startswith("line,")
    assert measured == [StudySettings(seeds=12)]


def test_a_file_in_the_way_is_told_before_anything_is_measured(measured: list[Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match="--out: .* is a file, not a folder"):
        validate(tmp_path / "file")
    with pytest.raises(RunFolderError, match="--out: cannot make .*: Not a directory"):
        validate(tmp_path / "file" / "below")
    assert measured == []


def test_no_seed_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seeds: 0 is not a whole number of at least 1"):
        validate(tmp_path / "out", seeds=0)
    assert not (tmp_path / "out").exists()


def test_a_study_that_is_interrupted_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stop(*_: Any) -> Study:
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "run_study", stop)
    with pytest.raises(KeyboardInterrupt):
        validate(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pictures_show_each_change_close_enough_to_be_seen() -> None:
    pictures = make_pictures()
    assert set(pictures) == set(CHANGES)
    for name, picture in pictures.items():
        assert picture.image.shape == (92, 92)
        assert picture.change.shape in ((92, 92), (23, 23))
        assert np.abs(picture.change).max() == 0 if name == "clean" else np.abs(picture.change).max() > 0.5
    board = pictures["checkerboard"].change
    np.testing.assert_allclose(board[:, 1:], -board[:, :-1], atol=1e-9)
    # the border of two regions is in sight
    flips = pictures["sign_flips"].change * board
    assert set(np.unique(np.rint(flips))) == {-1, 1}


@pytest.mark.usefixtures("undrawn")
def test_files_of_others_are_replaced_by_force_alone(measured: list[StudySettings], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(RunFolderError, match="--out: .* holds other files"):
        validate(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert measured == []
    validate(tmp_path, force=True)
    assert {path.name for path in tmp_path.iterdir()} == FILES


@pytest.mark.parametrize("force", [False, True])
def test_the_description_of_a_run_is_never_replaced(measured: list[Any], tmp_path: Path, force: bool) -> None:
    for name in ("run.json", "journal.jsonl", "checks.csv"):
        (tmp_path / name).write_text("a run's")
    with pytest.raises(RunFolderError, match="holds a run; name another folder"):
        validate(tmp_path, force=force)
    assert (tmp_path / "run.json").read_text() == "a run's"
    assert measured == []
