"""Files that were written before the modules had their packages: loaded, compared, resumed and reported.

The samples were written by commit b7832cd: ``pytest bench --preset smoke -k "8x8 and not subpixel"``
(its run folder, and the file of ``--benchmark-json``) and ``deconvbench train --steps 2 --width 2``; the training
run of before there were recipes and variants by a3d8077, with `EARLIER_TRAINING`.
"""

import shutil
from pathlib import Path

import pandas as pd
import pytest

import deconvbench
from deconvbench.__main__ import main
from deconvbench.records.run_folder import read_journal, read_run_info
from deconvbench.records.schema import EARLIER_RUN_KEYS, LATER_FINAL_COLUMNS, LATER_SCORE_COLUMNS
from deconvbench.runner.plan import Plan, list_jobs
from deconvbench.tables.files import TABLE_NAME, read_tables
from deconvbench.tables.trained import read_trained

SAMPLES = Path(__file__).parent / "samples" / "before_packages"
EARLIER_TRAINING = "train --upsampler nearest_conv --width 2 --crop-size 32 --batch 1 --seeds 1 --steps 2"
CASES = {f"{layer}-s2-c16x8-8x8" for layer in ("transposed-k3", "transposed-k4", "nearest_conv-k3")}
CASES |= {f"{case}-train" for case in CASES}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the run folder, which may be written to."""
    return Path(shutil.copytree(SAMPLES / "run", tmp_path / "run"))


def test_the_journal_tells_what_the_stored_table_tells(run: Path) -> None:
    stored = deconvbench.load(run)
    assert set(stored["case_id"]) == CASES
    (run / TABLE_NAME).unlink()
    pd.testing.assert_frame_equal(deconvbench.load(run), stored)


def test_the_plan_is_read_and_nothing_of_it_is_left_to_do(run: Path) -> None:
    plan = Plan.from_dict(read_run_info(run))
    assert {case.case_id for case in plan.cases} == CASES
    measured = {record.key for record in read_journal(run)}
    assert {job.key for batch in list_jobs(plan) for job in batch} == measured


def test_a_resumed_run_keeps_what_it_has(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "journal.jsonl").read_bytes()
    assert main(["run", "--out", str(run), "--resume-anyway"]) == 0
    assert capsys.readouterr().out.strip() == str(run)
    assert (run / "journal.jsonl").read_bytes() == before


@pytest.mark.parametrize("other", ["run", "bench.json"])
def test_a_run_is_compared_with_what_pytest_benchmark_saved(run: Path, other: str) -> None:
    comparison = deconvbench.compare(run, SAMPLES / other)
    latencies = comparison[comparison["metric"] == "latency_s"]
    assert set(latencies["case_id"]) == CASES
    assert set(latencies["ratio"]) == {1.0}  # the one file holds what the other does


def test_what_was_trained_is_read_with_its_pictures() -> None:
    trained = read_trained(SAMPLES / "experiments")
    assert list(trained.results["upsampler"]) == ["transposed"]
    assert trained.folder is not None
    assert all((trained.folder / crop).exists() for crop in trained.images["crop"])
    # what was not scored then
    for name in LATER_SCORE_COLUMNS:
        assert trained.results[name].isna().all()
        assert trained.curves[name].isna().all()
    for name in LATER_FINAL_COLUMNS:
        assert trained.results[name].isna().all()
    for name, value in EARLIER_RUN_KEYS.items():
        assert set(trained.results[name]) == set(trained.images[name]) == {value}


@pytest.mark.slow
@pytest.mark.process
def test_a_training_of_before_there_were_recipes_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(SAMPLES.parent / "before_recipes" / "experiments", tmp_path / "experiments"))
    words = [*EARLIER_TRAINING.split(), "--recipe", "plain", "--out", str(root)]

    def finish(*more: str) -> str:
        assert main([*words, *more]) == 0
        return capsys.readouterr().err.splitlines()[-1]

    assert finish() == "1 finished before"
    assert read_trained(root).results["grid_colour_correlation"].isna().all()
    assert main(["train", "--score-again", "--out", str(root)]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "1 scored again"
    (row,) = read_trained(root).results.to_dict("records")
    assert (row["recipe"], row["variant"], row["steps"]) == ("plain", "standard", 2)
    assert -1 <= row["grid_colour_correlation"] <= 1
    # a longer run goes on from its weights, and has the scores of before along its way
    assert finish("--steps", "3") == "1 trained"
    trained = read_trained(root)
    assert list(trained.curves["step"]) == [0, 1, 2, 3]
    assert list(trained.results["steps"]) == [3]


@pytest.mark.slow
def test_the_report_shows_run_and_training(run: Path) -> None:
    assert main(["report", str(run), "--results", str(SAMPLES / "experiments")]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "nearest_conv" in page
    quality = read_tables(run).quality
    assert quality["trained_psnr_db"].notna().sum() == 1
