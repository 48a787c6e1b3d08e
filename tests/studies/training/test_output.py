import csv
from dataclasses import replace
from pathlib import Path

import pytest

from deconvbench.records.schema import CURVE_DTYPES, EARLIER_RUN_KEYS, IMAGE_DTYPES, RUN_KEYS, TRAINED_DTYPES
from deconvbench.studies.training import training
from deconvbench.studies.training.checkpoints import append_row, read_json, write_json
from deconvbench.studies.training.output import write_experiment_tables
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.training import TrainingRun
from tests.tiny_training import TINY, make_images, score_roughly


def train(settings: TrainingSettings, root: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingRun:
    monkeypatch.setattr(training, "score_network", score_roughly)
    run = TrainingRun(settings, make_images(), root)
    run.run()
    return run


def read(root: Path, name: str) -> list[dict[str, str]]:
    with (root / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_tables_of_nothing_have_their_headers(tmp_path: Path) -> None:
    write_experiment_tables(tmp_path)
    for name, columns in (("curves", CURVE_DTYPES), ("results", TRAINED_DTYPES), ("images", IMAGE_DTYPES)):
        assert (tmp_path / f"{name}.csv").read_text() == ",".join(columns) + "\n"


def test_finished_runs_have_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(TINY, tmp_path, monkeypatch)
    no_kernel = replace(TINY, upsampler="dysample", kernel_size=None, seed=1, width=4)
    train(no_kernel, tmp_path, monkeypatch)
    unfinished = tmp_path / "runs" / "unfinished"
    unfinished.mkdir()
    append_row(unfinished, {"step": 0})
    write_experiment_tables(tmp_path)

    curves, results, images = (read(tmp_path, name) for name in ("curves", "results", "images"))
    assert [list(rows[0]) for rows in (curves, results, images)] == [
        list(CURVE_DTYPES),
        list(TRAINED_DTYPES),
        list(IMAGE_DTYPES),
    ]
    assert [row["step"] for row in curves] == ["0", "1", "2", "5", "10", "12"] * 2
    assert {row["kernel_size"] for row in curves} == {"", "3"}
    assert curves[0]["loss"] == ""
    assert {row["detection_levels"] for row in curves} == {""}
    assert [(row["upsampler"], row["seed"], row["steps"]) for row in results] == [
        ("dysample", "1", "12"),
        ("transposed", "0", "12"),
    ]
    assert {row["autocast"] for row in results} == {"False"}
    assert float(results[0]["psnr_db"]) == float(curves[5]["psnr_db"])
    assert [row["step"] for row in images] == (["0"] * 6 + ["1"] * 6 + ["12"] * 6) * 2
    assert {row["crop"] for row in images[:18]} == {""}
    assert all((tmp_path / row["crop"]).exists() for row in images[18:])


def test_a_run_that_failed_has_nulls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(TINY, tmp_path, monkeypatch)
    keys = {name: TINY.keys[name] for name in RUN_KEYS}
    write_json(
        run.folder / "result.json", {**keys, "status": "diverged", "message": "nan", "steps": 5, "width": 2}
    )
    write_experiment_tables(tmp_path)
    (row,) = read(tmp_path, "results")
    assert (row["steps"], row["width"], row["psnr_db"], row["loss"]) == ("5", "2", "", "")
    assert [row["step"] for row in read(tmp_path, "curves")] == ["0", "1", "2", "5"]


def test_a_run_that_is_being_made_longer_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(replace(TINY, steps=10), tmp_path, monkeypatch)
    append_row(run.folder, {"step": 20, "loss": 0.5})
    write_experiment_tables(tmp_path)
    assert [row["step"] for row in read(tmp_path, "curves")] == ["0", "1", "2", "5", "10"]

    train(TINY, tmp_path, monkeypatch)
    write_experiment_tables(tmp_path)
    assert {row["step"] for row in read(tmp_path, "images")} == {"0", "1", "12"}


def test_results_of_before_there_were_recipes_were_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(TINY, tmp_path, monkeypatch)
    result = read_json(run.folder / "result.json")
    assert result is not None
    for name in EARLIER_RUN_KEYS:
        del result[name]
    write_json(run.folder / "result.json", result)
    write_experiment_tables(tmp_path)
    for name in ("results", "curves", "images"):
        rows = read(tmp_path, name)
        assert {(row["recipe"], row["variant"]) for row in rows} == {("plain", "standard")}
