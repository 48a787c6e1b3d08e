"""The report that is kept in the repository is what the code writes."""

import shutil
from pathlib import Path

import pytest

from bench.reference_report import FOLDER, is_current, strip_pictures

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_kept_report_is_current_and_a_change_is_noticed(tmp_path: Path) -> None:
    assert is_current(ROOT / FOLDER), "write it again: nox -s reference_report"
    folder = shutil.copytree(ROOT / FOLDER, tmp_path / "quick")
    page = folder / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace("Which layer to take", "Take this"), encoding="utf-8")
    assert not is_current(folder)


def test_the_kept_report_is_small() -> None:
    assert (ROOT / FOLDER / "report.html").stat().st_size < 8e6


def test_pixels_do_not_count() -> None:
    assert strip_pictures('<img src="data:image/png;base64,AA+/=="> a') == '<img src="data:image"> a'
