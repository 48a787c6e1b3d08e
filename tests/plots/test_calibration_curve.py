from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.calibration_curve import draw_calibration

Legible = Callable[[Figure], list[tuple[str, Any]]]
AMPLITUDES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3)


def make_summary(
    kinds: tuple[str, ...] = ("1/f", "discs", "photographs"),
    periods: tuple[int, ...] = (2, 3, 4, 8),
    amplitudes: tuple[float, ...] = AMPLITUDES,
) -> pd.DataFrame:
    """Readings that are right from .01 up and drown below."""
    return pd.DataFrame(
        [
            {
                "kind": kind,
                "period": period,
                "planted": planted,
                "pooled": planted * 1.02 if planted >= 0.01 else -0.002,
                "low": planted * 0.95 - 0.002,
                "high": planted * 1.05 + 0.002,
                "detection_level": 0.005,
                "limit": 0.05 if planted >= 0.03 else np.nan,
            }
            for kind in kinds
            for period in periods
            for planted in amplitudes
        ]
    )


def test_a_column_a_period(assert_legible: Legible) -> None:
    figure = draw_calibration(make_summary())
    texts = [text for text, _ in assert_legible(figure)]
    titles = [axes.get_title(loc="left") for axes in figure.axes[:4]]
    assert titles == ["period 2", "period 3", "period 4", "period 8"]
    assert {"1/f images", "random discs", "photographs", "identity"} <= set(texts)
    assert "measured (RMS, σ)" in texts
    assert "error of the pooled\nreading (%)" in texts


def test_readings_stand_where_they_belong() -> None:
    figure = draw_calibration(make_summary(kinds=("discs",), periods=(2,)))
    curve, bias = figure.axes
    points = [line for line in curve.lines if line.get_marker() == "s"]
    filled, hollow = points
    np.testing.assert_allclose(np.asarray(filled.get_xdata(), float), [0.01, 0.03, 0.1, 0.3])
    np.testing.assert_allclose(np.asarray(filled.get_ydata(), float), np.array([0.01, 0.03, 0.1, 0.3]) * 1.02)
    # 0 and what drowned are drawn at the edges, not left out
    np.testing.assert_allclose(np.asarray(hollow.get_xdata(), float), [0.001, 0.003])
    np.testing.assert_allclose(np.asarray(hollow.get_ydata(), float), [0.001, 0.001])
    assert hollow.get_markerfacecolor() == "white"
    (errors,) = [line for line in bias.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(np.asarray(errors.get_ydata(), float), [0.02] * 4)


def test_errors_off_the_scale_are_marked_at_its_edge() -> None:
    summary = make_summary(kinds=("discs",), periods=(2,))
    summary.loc[summary["planted"] == 0.01, "pooled"] = 0.02
    bias = draw_calibration(summary).axes[1]
    carets = [np.asarray(line.get_xydata()) for line in bias.lines if isinstance(line.get_marker(), int)]
    above, below = carets
    assert above.tolist() == [[0.01, pytest.approx(0.22)]]
    assert below.tolist() == [[0.003, pytest.approx(-0.22)]]


def test_limits_are_shown_where_there_are_any() -> None:
    bias = draw_calibration(make_summary(kinds=("1/f",), periods=(2,))).axes[1]
    assert len([c for c in bias.collections if c.get_zorder() == 0]) == 3


@pytest.mark.parametrize("amplitudes", [(0.1,), (0.0, 0.1)], ids=str)
def test_one_amplitude_is_enough(amplitudes: tuple[float, ...], assert_legible: Legible) -> None:
    assert_legible(draw_calibration(make_summary(amplitudes=amplitudes)))


def test_nothing_planted_is_no_figure() -> None:
    with pytest.raises(EmptyFigureError, match="nothing was planted"):
        draw_calibration(make_summary(amplitudes=(0.0,)))
