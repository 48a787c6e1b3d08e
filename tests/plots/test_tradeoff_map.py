"""Cost against quality."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from deconvbench.errors import UsageError
from deconvbench.plots.panels import EmptyFigureError
from deconvbench.plots.style import style_layer
from deconvbench.plots.tradeoff_map import draw_tradeoff
from tests.plots.made_tables import LAYERS, make_summary

Legible = Callable[[Figure], list[tuple[str, Any]]]
SQUARE = (("transposed", 3), ("nearest_conv", 3), ("bilinear_conv", 3))


@pytest.mark.parametrize("metric", ["phase_ripple", "noise_gain_cv", "image_rejection_db", "border_error"])
def test_every_point_is_labelled_and_no_label_overlaps(
    summary: pd.DataFrame, assert_legible: Legible, metric: str
) -> None:
    figure = draw_tradeoff(summary, metric=metric)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["forward, cpu", "train, cpu"]
    texts = [text for text, _ in assert_legible(figure)]
    for upsampler, kernel in LAYERS:
        assert texts.count(f"{upsampler} k{kernel} s2") == 2
    assert any(text.startswith("latency per call (ms") for text in texts)
    assert sum(text.endswith(("(ratio)", "(dB)")) for text in texts) == 2


def test_zero_to_rounding_stands_on_its_line(summary: pd.DataFrame) -> None:
    axes = draw_tradeoff(summary).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "0 (to rounding)"
    colour = style_layer("nearest_conv").colour
    (point,) = [line for line in axes.lines if line.get_marker() == "s" and to_hex(line.get_color()) == colour]
    assert list(np.asarray(point.get_ydata())) == [0.0]


def test_a_metric_in_decibels_has_no_zero_line(summary: pd.DataFrame) -> None:
    axes = draw_tradeoff(summary, metric="image_rejection_db").axes[0]
    assert "0 (to rounding)" not in [label.get_text() for label in axes.get_yticklabels()]


def test_values_over_decades_get_a_logarithmic_axis_with_a_floor(assert_legible: Legible) -> None:
    frame = make_summary(SQUARE, (32,), ("forward",)).assign(phase_ripple=[0.5, 1e-5, 1e-25])
    figure = draw_tradeoff(frame)
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] > 0
    assert "0 (to rounding)" in [text for text, _ in assert_legible(figure)]


def test_the_frontier_is_ringed_and_stepped(summary: pd.DataFrame) -> None:
    axes = draw_tradeoff(summary).axes[0]
    rings = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    forward = summary[(summary["step"] == "forward") & (summary["height"] == 64)]
    clean = forward[forward["phase_ripple"] < 1e-9]["latency_s"].min()
    assert {round(float(np.asarray(ring.get_xdata())[0]), 6) for ring in rings} >= {
        round(forward["latency_s"].min() * 1e3, 6),
        round(clean * 1e3, 6),
    }
    assert len(rings) == 2


@pytest.mark.parametrize("ripple", [0.0, 0.4], ids=["all clean", "all alike"])
def test_points_that_are_all_alike_are_drawn(assert_legible: Legible, ripple: float) -> None:
    frame = make_summary(LAYERS, (32,), ("forward",)).assign(phase_ripple=ripple)
    assert_legible(draw_tradeoff(frame))


def test_a_single_point_is_drawn(assert_legible: Legible) -> None:
    texts = assert_legible(draw_tradeoff(make_summary((("nearest_conv", 3),), (16,), ("forward",))))
    assert "nearest_conv k3 s2" in [text for text, _ in texts]


def test_crowds_are_thinned_but_the_frontier_stays(assert_legible: Legible) -> None:
    layers = tuple(("nearest_conv", kernel) for kernel in range(2, 20))
    frame = make_summary(layers, (32,), ("forward",))
    texts = [text for text, _ in assert_legible(draw_tradeoff(frame, max_layers=6))]
    assert "nearest_conv k2 s2" in texts
    assert "forward, cpu (12 more layers are in the table)" in texts
    assert_legible(draw_tradeoff(frame))


def test_the_size_can_be_chosen(summary: pd.DataFrame, assert_legible: Legible) -> None:
    figure = draw_tradeoff(summary, size=(16, 16), max_panels=1)
    assert len(figure.axes) == 1
    text = assert_legible(figure)[0][0] + str(figure.get_suptitle())
    assert "input 16×16 (1 more settings are in the table)" in text


def test_nothing_to_draw_and_wrong_metrics_are_said(summary: pd.DataFrame) -> None:
    with pytest.raises(EmptyFigureError, match="no measured cell has a phase_ripple"):
        draw_tradeoff(summary.assign(phase_ripple=np.nan))
    with pytest.raises(EmptyFigureError, match="no measured cell has 3×3"):
        draw_tradeoff(summary, size=(3, 3))
    with pytest.raises(UsageError, match="metric: 'latency_s' is not one of"):
        draw_tradeoff(summary, metric="latency_s")
