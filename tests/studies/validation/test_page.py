from dataclasses import replace
from typing import Any

import pytest

from deconvbench.studies.validation.checks import Check, check_study
from deconvbench.studies.validation.page import write_page
from deconvbench.studies.validation.study import Study, StudySettings

ENVIRONMENT: dict[str, Any] = {
    "packages": {"torch": "2", "numpy": "3", "scipy": "4", "pandas": "5"},
    "code_version": "0.1.0+gabc",
    "python_version": "3.12.1",
    "scikit_image_version": "0.26.0",
    "cpu": "A Processor",
    "machine_id": "0123456789ab",
}


@pytest.fixture
def page(small_study: Study, small_settings: StudySettings) -> str:
    checks = [
        Check(line="first", required="within 1 %", measured="2 %", is_met=False, where="here"),
        Check(line="second", required="within 1 %", measured="0 %", is_met=True),
    ]
    return write_page(small_study, checks, small_settings, ENVIRONMENT, "deconvbench validate --out x")


def test_lines_are_counted_and_failures_stand_out(page: str) -> None:
    assert "1 of 2 lines met" in page
    assert "| first | within 1 % | 2 % | **no** | here |" in page
    assert "| second | within 1 % | 0 % | yes |  |" in page


def test_tables_are_whole(page: str) -> None:
    tables = [block for block in page.split("\n\n") if block.startswith("|")]
    assert [len(table.splitlines()) - 2 for table in tables] == [2, 16, 12, 32, 12, 8, 7]
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_small_amplitudes_are_not_given_as_numbers(page: str) -> None:
    row = next(line for line in page.splitlines() if line.startswith("| 1/f | 8 |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3].endswith(" σ")
    assert cells[4] == cells[5] == "< level"
    assert "[" in cells[-1]


def test_the_page_says_how_it_was_made(page: str) -> None:
    for fact in ("deconvbench validate --out x", "Seeds 0 to 1", "128 × 128", "coins", "scikit-image 0.26.0"):
        assert fact in page
    for fact in ("torch 2, numpy 3", "0.1.0+gabc", "A Processor", "0123456789ab"):
        assert fact in page


def test_limits_are_told_with_numbers(page: str) -> None:
    assert 'P = 8 an image without any checkerboard ("' in page
    assert "from 0 of 2 photographs" in page or "of 2 photographs." in page
    assert all(paper in page for paper in ("arXiv:2003.01826", "arXiv:2312.10461"))


def test_a_real_study_fits_the_page(small_study: Study, small_settings: StudySettings) -> None:
    checks = check_study(small_study)
    page = write_page(small_study, checks, small_settings, ENVIRONMENT, "x")
    assert all(f"| {check.line} |" in page for check in checks)
    assert "nan" not in page


def test_photographs_of_ones_own_are_named_as_such(small_study: Study, small_settings: StudySettings) -> None:
    own = replace(small_study.photographs, source="my_images", left_out=("a.txt: not an image",))
    page = write_page(replace(small_study, photographs=own), [], small_settings, ENVIRONMENT, "x")
    assert "2 images of my\\_images, 1 left out; coins for the calibration" in page
    assert "wheel" not in page
