"""Cost against quality."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deconvbench.analysis.selection import EmptyFigureError, add_layer_columns
from deconvbench.errors import UsageError
from deconvbench.plots.style import style_layer
from deconvbench.plots.tradeoff_map import draw_tradeoff, join_quality
from deconvbench.records.metrics import METRICS
from deconvbench.tables.table import summarise_quality
from tests.plots.made_tables import ALL_LAYERS, LAYERS, add_trained, make_layer_quality, make_summary

Legible = Callable[[Figure], list[tuple[str, Any]]]
SQUARE = (("transposed", 3), ("nearest_conv", 3), ("bilinear_conv", 3))


@pytest.mark.parametrize("metric", METRICS)
def test_the_figure_is_legible_with_every_upsampler_and_metric(assert_legible: Legible, metric: str) -> None:
    summary, quality = make_summary(ALL_LAYERS, (64,), ("forward",)), add_trained(make_layer_quality())
    texts = [text for text, _ in assert_legible(draw_tradeoff(summary, metric=metric, quality=quality))]
    joined = join_quality(summary, metric, quality)
    measured = joined[joined[metric].notna()]
    for layer in add_layer_columns(measured)["layer"]:
        assert texts.count(layer) == 1
    axis = METRICS[metric].axis
    assert (f"{axis}, high is best" if METRICS[metric].best == "high" else axis) in texts
    lacking = sorted({*summary["upsampler"]} - {*measured["upsampler"]})
    assert any("\nwithout " in text for text in texts) == bool(lacking)


@pytest.mark.parametrize("metric", ["phase_ripple", "image_rejection_db"])
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


@pytest.mark.parametrize(
    ("metric", "values", "floor"),
    [
        ("phase_ripple", (0.5, 1e-3, 1e-25), "0 (to rounding)"),
        ("phase_ripple", (0.5, 2e-8, 1e-25), "below 0.0001"),
        ("numerical_error", (1e-3, 1e-7, 1e-16), "0 (to rounding)"),
    ],
    ids=["zero", "less than shows", "rounding itself"],
)
def test_values_over_decades_get_a_logarithmic_axis_with_a_floor(
    assert_legible: Legible, metric: str, values: tuple[float, ...], floor: str
) -> None:
    frame = make_summary(SQUARE, (32,), ("forward",)).assign(**{metric: values})
    figure = draw_tradeoff(frame, metric=metric)
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] > 0
    texts = [text for text, _ in assert_legible(figure)]
    assert floor in texts
    # no power of ten below the line
    assert all(float(text.get_text()) > axes.get_yticks()[0] for text in axes.get_yticklabels()[1:])
    at_floor = [
        line for line in axes.lines if np.array_equal(np.asarray(line.get_ydata()), [axes.get_yticks()[0]])
    ]
    assert bool(at_floor) == (metric == "phase_ripple")


def test_a_rounding_error_is_never_zero_to_rounding() -> None:
    frame = make_summary(SQUARE, (32,), ("forward",)).assign(numerical_error=[1e-16, 3e-16, 2e-16])
    axes = draw_tradeoff(frame, metric="numerical_error").axes[0]
    assert axes.get_ylim()[1] < 1e-15
    assert min(tick for tick in axes.get_yticks() if tick != 0) > 0


def test_negative_checkerboards_stand_below_the_line_at_zero(assert_legible: Legible) -> None:
    frame = make_summary(SQUARE, (32,), ("forward",)).assign(checkerboard=[0.6, -0.03, 0.0])
    figure = draw_tradeoff(frame, metric="checkerboard")
    axes = figure.axes[0]
    assert axes.get_yscale() == "linear"
    assert "0 (none)" in [text for text, _ in assert_legible(figure)]
    heights = [float(np.asarray(line.get_ydata())[0]) for line in axes.lines if line.get_marker() in {"s", "^"}]
    assert sorted(heights) == [-0.03, 0.0]
    # the slower of two that have none is not on the frontier
    assert sum(line.get_markerfacecolor() == "none" for line in axes.lines) == 2


def test_checkerboards_that_are_all_zero_are_drawn(assert_legible: Legible) -> None:
    frame = make_summary(SQUARE, (32,), ("forward",)).assign(checkerboard=0.0)
    assert_legible(draw_tradeoff(frame, metric="checkerboard"))


def test_bars_are_the_intervals_over_seeds(assert_legible: Legible) -> None:
    summary, quality = make_summary(SQUARE, (32,), ("forward",)), make_layer_quality(SQUARE)
    figure = draw_tradeoff(summary, metric="noise_gain_cv", quality=quality)
    intervals = summarise_quality(quality)
    expected = intervals[["noise_gain_cv_ci_low", "noise_gain_cv_ci_high"]].to_numpy()
    # two ends at one latency, and no marker
    bars = [line for line in figure.axes[0].lines if line.get_marker() == "None" and _is_upright(line)]
    drawn = np.array(sorted(np.asarray(bar.get_ydata()).tolist() for bar in bars))
    np.testing.assert_allclose(drawn, expected[expected[:, 0].argsort()])
    assert any("bars: 95 % intervals over seeds" in text for text, _ in assert_legible(figure))


def _is_upright(line: Line2D) -> bool:
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    return len(x) == 2 and x[0] == x[1] and y[0] != y[1]


@pytest.mark.parametrize(
    "quality",
    [None, make_layer_quality(SQUARE, seeds=1), make_layer_quality(SQUARE, spread=0.0)],
    ids=["no table", "one seed", "no spread"],
)
def test_without_an_interval_no_bar_is_drawn(quality: pd.DataFrame | None) -> None:
    summary = make_summary(SQUARE, (32,), ("forward",))
    figure = draw_tradeoff(summary, metric="noise_gain_cv", quality=quality)
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "None" and _is_upright(line)]


def test_a_bar_ends_at_the_line_of_a_logarithmic_axis() -> None:
    summary = make_summary(SQUARE, (32,), ("forward",)).assign(phase_ripple=[0.5, 1e-3, 0.0])
    quality = make_layer_quality(SQUARE)
    nearest = quality["upsampler"] == "nearest_conv"
    quality.loc[nearest, "phase_ripple"] = np.where(quality.loc[nearest, "seed"] == 0, 8e-3, 0.0)
    axes = draw_tradeoff(summary, quality=quality).axes[0]
    bars = [line for line in axes.lines if line.get_marker() == "None" and _is_upright(line)]
    assert min(float(np.asarray(bar.get_ydata()).min()) for bar in bars) == axes.get_yticks()[0]


def test_layers_without_the_number_are_named_and_many_of_them_counted(assert_legible: Legible) -> None:
    summary = make_summary(ALL_LAYERS, (32,), ("forward",))
    title = draw_tradeoff(summary).get_suptitle()
    assert title.endswith("\nwithout phase ripple: carafe, dysample, max_unpool_conv")
    some = summary["upsampler"].isin(["transposed", "nearest_conv"])
    figure = draw_tradeoff(summary.assign(phase_ripple=summary["phase_ripple"].where(some)))
    assert "bicubic_conv, bilinear_additive, bilinear_conv, carafe, " in figure.get_suptitle()
    assert figure.get_suptitle().endswith(" and 13 more")
    assert_legible(figure)


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


def test_the_frontier_rises_where_high_is_best(assert_legible: Legible) -> None:
    summary, quality = make_summary(SQUARE, (32,), ("forward",)), add_trained(make_layer_quality(SQUARE))
    figure = draw_tradeoff(summary, metric="trained_psnr_db", quality=quality)
    axes = figure.axes[0]
    (frontier,) = [line for line in axes.lines if len(np.asarray(line.get_xdata())) > 2]
    heights = np.asarray(frontier.get_ydata())
    assert heights[0] == axes.get_ylim()[0]
    assert (np.diff(heights) >= 0).all()
    assert heights[-1] == pytest.approx(24.1 + 0.3 * 3.4 + 2 * 0.002)
    assert "0 (none)" not in [text for text, _ in assert_legible(figure)]


def test_what_is_known_after_training_needs_the_quality_table() -> None:
    summary = make_summary(SQUARE, (32,), ("forward",))
    for quality in (None, make_layer_quality(SQUARE)):
        with pytest.raises(EmptyFigureError, match="no measured case has a trained_ssim"):
            draw_tradeoff(summary, metric="trained_ssim", quality=quality)


def test_the_size_can_be_chosen(summary: pd.DataFrame, assert_legible: Legible) -> None:
    figure = draw_tradeoff(summary, size=(16, 16), max_panels=1)
    assert len(figure.axes) == 1
    text = assert_legible(figure)[0][0] + str(figure.get_suptitle())
    assert "input 16×16 (1 more settings are in the table)" in text


def test_nothing_to_draw_and_wrong_metrics_are_said(summary: pd.DataFrame) -> None:
    with pytest.raises(EmptyFigureError, match="no measured case has a phase_ripple"):
        draw_tradeoff(summary.assign(phase_ripple=np.nan))
    with pytest.raises(EmptyFigureError, match="no measured case has 3×3"):
        draw_tradeoff(summary, size=(3, 3))
    with pytest.raises(UsageError, match="metric: 'latency_s' is not one of"):
        draw_tradeoff(summary, metric="latency_s")


def test_the_frontier_without_the_fast_forms_is_dotted_and_labelled(assert_legible: Legible) -> None:
    def draw(layers: tuple[tuple[str, int], ...]) -> tuple[Figure, list[Line2D]]:
        figure = draw_tradeoff(make_summary(layers, (32,), ("forward",)))
        return figure, [line for line in figure.axes[0].lines if line.get_linewidth() == 0.7]

    figure, (dotted,) = draw((*SQUARE, ("nearest_conv_fast", 3)))
    texts = [text for text, _ in assert_legible(figure)]
    assert any("dotted: the frontier without the exact fast forms of nearest_conv" in text for text in texts)
    summary = make_summary(SQUARE, (32,), ("forward",))
    (plain_s,) = summary.loc[summary["upsampler"] == "nearest_conv", "latency_s"]
    assert plain_s * 1e3 in np.asarray(dotted.get_xdata())
    figure, none = draw(SQUARE)
    assert none == []
    assert "dotted" not in figure.get_suptitle()
