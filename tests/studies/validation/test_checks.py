from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from deconvbench.studies.validation.checks import Check, check_study, list_rows
from deconvbench.studies.validation.study import Study

Change = Callable[[pd.DataFrame], pd.DataFrame]


def find(checks: list[Check], start: str) -> Check:
    (check,) = [check for check in checks if check.line.startswith(start)]
    return check


@pytest.fixture
def perfect(small_study: Study) -> Study:
    """As if every reading were exactly what was planted."""
    calibration, invariances = small_study.calibration, small_study.invariances
    return replace(
        small_study,
        calibration=calibration.assign(measured=calibration["planted"]),
        invariances=invariances.assign(measured=invariances["planted"]),
    )


def test_a_perfect_score_meets_every_line(perfect: Study) -> None:
    checks = check_study(perfect)
    assert [check.line for check in checks if not check.is_met] == []
    assert len(checks) == len({check.line for check in checks}) == 20


CALIBRATION_FAULTS = [
    ("P = 2: 0.03 and 0.1 σ on 1/f", "1/f", 2, 0.1, 0.106, "6 %"),
    ("P = 2: 0 σ", "discs", 2, 0.0, -0.005, "-0.005 σ"),
    ("P = 2: 0.01 σ", "discs", 2, 0.01, 0.0125, "0.0025 σ"),
    ("P = 3: 0.03 σ", "1/f", 3, 0.03, 0.0264, "-12 %"),
    ("P = 3: 0.1 σ", "1/f", 3, 0.1, 0.106, "6 %"),
    ("P = 4: 0.03 σ", "discs", 4, 0.03, 0.0336, "12 %"),
    ("P = 4: 0.1 σ", "discs", 4, 0.1, 0.094, "-6 %"),
    ("P = 8: 0.1 σ", "1/f", 8, 0.1, 0.094, "-6 %"),
    ("P = 8: 0.3 σ", "1/f", 8, 0.3, 0.33, "10 %"),
    ("P = 2: 0.03 and 0.1 σ on photographs", "coins", 2, 0.03, 0.0312, "4 %"),
]


@pytest.mark.parametrize(("line", "content", "period", "planted", "reading", "worst"), CALIBRATION_FAULTS, ids=str)
def test_a_wrong_calibration_fails_its_line_alone(
    perfect: Study, line: str, content: str, period: int, planted: float, reading: float, worst: str
) -> None:
    frame = perfect.calibration.copy()
    chosen = (frame["content"] == content) & (frame["period"] == period) & (frame["planted"] == planted)
    frame.loc[chosen, "measured"] = reading
    checks = check_study(replace(perfect, calibration=frame))
    assert [check.line for check in checks if not check.is_met] == [find(checks, line).line]
    check = find(checks, line)
    assert check.measured == worst
    assert check.where.startswith(content)


def test_one_stray_image_fails_only_the_line_of_single_images(perfect: Study) -> None:
    frame = perfect.calibration.copy()
    stray = frame.query("content == '1/f' and period == 2 and planted == 0.03 and seed == 1").index
    frame.loc[stray, "measured"] = 0.0327
    checks = check_study(replace(perfect, calibration=frame))
    assert [check.line for check in checks if not check.is_met] == ["P = 2: 0.03 σ on a single 1/f image"]
    assert find(checks, "P = 2: 0.03 σ on a single").where == "seed 1"


INVARIANCE_FAULTS = [
    ("a checkerboard of 0.1 σ alone", "property == 'pure' and period == 8", 0.101, "1 %"),
    ("linear in gain", "case == '×127.5'", 0.0303, "1 %"),
    ("crops", "case == '17 rows, 9 columns' and planted == 0.1", 0.104, "4 %"),
    ("a plain ramp", "property == 'ramp' and period == 3", 1e-10, "1e-10 σ"),
    ("axis-aligned bars", "property == 'bars' and period == 4", -0.03, "-0.03 σ"),
    ("a checkerboard whose sign", "case == 'regions of 64 px' and content == 'discs'", 0.07, "70 %"),
    ("blur of a clean image", "property == 'blur' and content == 'discs'", 0.005, "0.005 σ"),
    ("white noise of 0.1 σ", "property == 'noise' and planted == 0", -0.005, "-0.005 σ"),
    ("0.03 σ under white noise", "property == 'noise' and planted > 0", 0.0318, "6 %"),
]


@pytest.mark.parametrize(("line", "where", "reading", "worst"), INVARIANCE_FAULTS, ids=str)
def test_a_broken_invariance_fails_its_line_alone(
    perfect: Study, line: str, where: str, reading: float, worst: str
) -> None:
    frame = perfect.invariances.copy()
    frame.loc[frame.query(where).index, "measured"] = reading
    checks = check_study(replace(perfect, invariances=frame))
    assert [check.line for check in checks if not check.is_met] == [find(checks, line).line]
    assert find(checks, line).measured == worst


@pytest.mark.parametrize("where", ["property == 'bars' and period == 8", "property == 'nearest'"])
def test_what_is_only_reported_fails_nothing(perfect: Study, where: str) -> None:
    frame = perfect.invariances.copy()
    frame.loc[frame.query(where).index, "measured"] = 1.0
    assert all(check.is_met for check in check_study(replace(perfect, invariances=frame)))


def test_places_are_named_without_filling(perfect: Study) -> None:
    assert find(check_study(perfect), "a plain ramp").where == "ramp alone, P = 2, 0 σ"


def test_rows_are_plain() -> None:
    assert list_rows(pd.DataFrame({"a": [1, 2]})) == [{"a": 1}, {"a": 2}]
