"""The report that is kept in the repository is what the code writes."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from bench.reference_report import FOLDER, SHIPPED, is_current, renew_quality, strip_pictures
from deconvbench.system.writing import write_files
from deconvbench.tables.files import QUALITY_NAME, read_tables
from deconvbench.tables.frames import encode_parquet
from deconvbench.tables.trained import load_shipped

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_kept_report_is_current_and_a_change_is_noticed(tmp_path: Path) -> None:
    assert is_current(ROOT / FOLDER), "write it again: nox -s reference_report"
    folder = shutil.copytree(ROOT / FOLDER, tmp_path / "quick")
    page = folder / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace("Which layer to take", "Take this"), encoding="utf-8")
    assert not is_current(folder)


def test_quality_after_training_is_renewed_in_the_folder_and_in_its_copy(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ROOT / FOLDER, tmp_path / "quick"))
    copy = Path(shutil.copytree(ROOT / SHIPPED, tmp_path / "copy"))
    before = read_tables(folder).quality
    write_files(folder, {QUALITY_NAME: encode_parquet(before.assign(trained_psnr_db=1.0))})
    renew_quality(folder, copy)
    assert (copy / QUALITY_NAME).read_bytes() == (folder / QUALITY_NAME).read_bytes()
    after = read_tables(folder).quality
    expected = read_tables(ROOT / FOLDER, load_shipped()).quality
    pd.testing.assert_frame_equal(after, expected)
    means = pd.read_csv(folder / "quality.csv")["trained_psnr_db"].dropna()
    assert len(means)
    assert (means > 10).all()


def test_the_kept_report_is_small() -> None:
    assert (ROOT / FOLDER / "report.html").stat().st_size < 8e6


def test_pixels_do_not_count() -> None:
    assert strip_pictures('<img src="data:image/png;base64,AA+/=="> a') == '<img src="data:image"> a'
