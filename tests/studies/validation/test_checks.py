import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from deconvbench.studies.validation.checks import Check, check_study, list_rows
from deconvbench.studies.validation.rates import LARGE_PERIOD, MULTIPLES, RATE_PERIODS
from deconvbench.studies.validation.study import Study

Change = Callable[[pd.DataFrame], pd.DataFrame]


def find(checks: list[Check], start: str) -> Check:
    (check,) = [check for check in checks if check.line.startswith(start)]
    return check


def make_rates(
    kind: str = "", period: int = 0, multiple: int = 0, found: int = 0, contents: int = 1
) -> pd.DataFrame:
    """Make 44 images of every kind and period: one false alarm, all patterns found, but where it is said."""
    rows = []
    for key in itertools.product(("photographs", "1/f", "discs"), (*RATE_PERIODS, LARGE_PERIOD), MULTIPLES):
        above = found if key == (kind, period, multiple) else 44 if key[2] else 1
        about = dict(zip(("kind", "period", "multiple"), key, strict=True))
        rows += [
            {
                **about,
                "content": str(seed % contents),
                "seed": seed,
                "measured": 0.2 if seed < above else 0.05,
                "detection_level": 0.1,
                "noise_level": 0.1,
            }
            for seed in range(44)
        ]
    return pd.DataFrame(rows)


@pytest.fixture
def perfect(small_study: Study) -> Study:
    """As if every reading were exactly what was planted."""
    calibration, invariances = small_study.calibration, small_study.invariances
    return replace(
        small_study,
        rates=make_rates(),
        calibration=calibration.assign(measured=calibration["planted"]),
        invariances=invariances.assign(measured=invariances["planted"]),
    )


def test_a_perfect_score_meets_every_line(perfect: Study) -> None:
    checks = check_study(perfect)
    assert [check.line for check in checks if not check.is_met] == []
    assert len(checks) == len({check.line for check in checks}) == 32


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


RATE_FAULTS = [
    (
        ("photographs", 2, 0, 2, 2),
        ["P = 2: false alarms on photographs"],
        "4.55 %",
        "2 of 44 squares, of 2 photographs",
    ),
    (
        ("photographs", 16, 0, 3, 1),
        ["P = 16: false alarms on photographs"],
        "6.82 %",
        "3 of 44 squares, of 1 photo",
    ),
    (("photographs", 3, 2, 41), ["P = 3: 2 detection levels are found"], "93.2 %", "photographs: 41 of 44"),
    (("discs", 32, 2, 0), ["P = 32: 2 detection levels are found"], "0 %", "discs: 0 of 44"),
    (("discs", 2, 0, 40), [], "", ""),
    (("photographs", 8, 1, 0), [], "", ""),
    (("photographs", 32, 0, 44), [], "", ""),
]


@pytest.mark.parametrize(("fault", "lines", "worst", "where"), RATE_FAULTS, ids=str)
def test_a_bad_rate_fails_its_line_alone(
    perfect: Study, fault: tuple[Any, ...], lines: list[str], worst: str, where: str
) -> None:
    checks = check_study(replace(perfect, rates=make_rates(*fault)))
    failed = [check for check in checks if not check.is_met]
    assert [check.line for check in failed] == lines
    for check in failed:
        assert check.measured == worst
        assert check.where.startswith(where)


def test_too_few_false_alarms_are_not_the_nominal_rate_either(perfect: Study) -> None:
    rates = make_rates()
    rates.loc[(rates["multiple"] == 0) & (rates["period"] > 2), "measured"] = 0.0
    checks = check_study(replace(perfect, rates=rates))
    (check,) = [check for check in checks if not check.is_met]
    assert check.line == "false alarms on photographs, P = 2 to 16 together"
    assert (check.required, check.measured, check.where) == (
        "1.53 % to 3.45 %",
        "0.455 %",
        "1 of 220; 95 % interval 0.1 to 2.5 %",
    )


@pytest.mark.parametrize("where", ["property == 'bars' and period == 8", "property == 'nearest'"])
def test_what_is_only_reported_fails_nothing(perfect: Study, where: str) -> None:
    frame = perfect.invariances.copy()
    frame.loc[frame.query(where).index, "measured"] = 1.0
    assert all(check.is_met for check in check_study(replace(perfect, invariances=frame)))


def test_places_are_named_without_filling(perfect: Study) -> None:
    assert find(check_study(perfect), "a plain ramp").where == "ramp alone, P = 2, 0 σ"


def test_rows_are_plain() -> None:
    assert list_rows(pd.DataFrame({"a": [1, 2]})) == [{"a": 1}, {"a": 2}]
