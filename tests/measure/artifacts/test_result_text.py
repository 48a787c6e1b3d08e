"""Results in words: what is said of each outcome."""

import math
from typing import Any

import pytest

from deconvbench.measure.artifacts.result_text import describe_amplitude


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param(
            {}, "checkerboard: 1.2 8-bit levels (period 2), above the detection level of 0.4", id="found"
        ),
        pytest.param(
            {"amplitude": 0.3},
            "no checkerboard found: below the detection level of 0.4 8-bit levels (period 2)",
            id="below",
        ),
        pytest.param(
            {"amplitude": -0.5, "period": 4, "unit": "image units"},
            "no checkerboard found: below the detection level of 0.4 image units (period 4)",
            id="negative",
        ),
        pytest.param(
            {"detection_level": math.nan},
            "checkerboard: 1.2 8-bit levels (period 2), too few patches for a detection level",
            id="unknown",
        ),
        pytest.param(
            {"amplitude": 0.0, "detection_level": 0.0},
            "no checkerboard found: the image has nothing that repeats (period 2)",
            id="all-zero",
        ),
        pytest.param(
            {"period": 4, "shares": {2: -0.1, 4: 1.204}},
            "checkerboard: 1.2 8-bit levels (period 4), above the detection level of 0.4: 0 of period 2, 1.2 of"
            " period 4",
            id="shares",
        ),
        pytest.param(
            {"shares": {2: 1.2}},
            "checkerboard: 1.2 8-bit levels (period 2), above the detection level of 0.4",
            id="one-share",
        ),
        pytest.param(
            {"amplitude": 0.1, "period": 4, "shares": {2: 0.0, 4: 0.1}},
            "no checkerboard found: below the detection level of 0.4 8-bit levels (period 4)",
            id="shares-below",
        ),
    ],
)
def test_an_amplitude_is_one_line(changes: dict[str, Any], text: str) -> None:
    values = {"amplitude": 1.2, "detection_level": 0.4, "unit": "8-bit levels", "period": 2}
    assert describe_amplitude("checkerboard", **{**values, **changes}) == text
