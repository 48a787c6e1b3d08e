"""The axis of a panel; how it is drawn is tested with the figures that have such panels."""

import numpy as np
import pandas as pd
import pytest

from deconvbench.plots.tradeoff_panel import choose_scale
from deconvbench.records.schema import name_interval


def make_frame(metric: str, *values: float, half: float = 0.0) -> pd.DataFrame:
    numbers = np.array(values)
    low, high = name_interval(metric)
    return pd.DataFrame({metric: numbers, low: numbers - half, high: numbers + half})


@pytest.mark.parametrize(
    ("metric", "values", "low", "high"),
    [
        ("trained_psnr_db", (25.0, 27.0), 24.7, 27.5),
        ("trained_psnr_db", (25.0, 25.0), 24.85, 25.25),
        ("trained_ssim", (0.8, 0.9), 0.785, 0.925),
        ("trained_ssim", (0.8, 0.8), 0.797, 0.805),
        ("image_rejection_db", (-16.0, -16.0), -16.15, -15.75),
    ],
)
def test_an_axis_without_a_zero_is_as_high_as_its_values(
    metric: str, values: tuple[float, ...], low: float, high: float
) -> None:
    scale = choose_scale(make_frame(metric, *values), metric)
    assert (scale.low, scale.high) == pytest.approx((low, high))
    assert (scale.floor, scale.logarithmic) == (None, False)
    assert scale.place(values, metric).tolist() == [*values]


@pytest.mark.parametrize("metric", ["checkerboard", "trained_checkerboard_levels"])
def test_a_checkerboard_has_a_line_at_zero_and_room_below(metric: str) -> None:
    scale = choose_scale(make_frame(metric, 2.0, -0.1), metric)
    assert (scale.floor, scale.floor_label, scale.signed) == (0.0, "0 (none)", True)
    assert (scale.low, scale.high) == pytest.approx((-0.1 - 0.22 * 2.1, 2.0 + 0.3 * 2.1))
    assert scale.place([2.0, -0.1], metric).tolist() == [2.0, -0.1]


def test_intervals_and_other_values_fit_in() -> None:
    metric = "trained_checkerboard_levels"
    scale = choose_scale(make_frame(metric, 1.0, half=0.5), metric, (-2.0, 5.0))
    assert scale.low < -2.0
    assert scale.high > 5.0
    bars = choose_scale(make_frame("trained_psnr_db", 25.0, 26.0, half=1.0), "trained_psnr_db")
    assert bars.low < 24.0
    assert bars.high > 27.0
