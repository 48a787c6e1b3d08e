"""The curves of Figure 5."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.artist import Artist
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from deconvbench.plots.article.pixel_layout import make_sheet, place_axes
from deconvbench.plots.article.training_curves import draw_courses, make_handles, spread_evenly
from deconvbench.plots.style import figure_style, style_layer
from tests.plots.article.conftest import read_line

Legible = Callable[[Figure], list[tuple[str, Any]]]


def make_curves(
    ends: dict[str, float], steps: tuple[int, ...] = (0, 1, 2, 5, 10, 100), seeds: int = 2
) -> pd.DataFrame:
    rows = [
        {
            "place": place, "upsampler": name, "kernel_size": 3, "seed": seed, "step": step,
            "checkerboard_levels": end * (1 + 1 / (1 + step)) + 0.1 * seed, "detection_levels": 0.3,
        }
        for place, (name, end) in enumerate(ends.items())
        for seed in range(seeds)
        for step in steps
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"kernel_size": "Int64"})


def draw(curves: pd.DataFrame, target: float | None = -0.2) -> Figure:
    with figure_style():
        figure = make_sheet(800)
        draw_courses(place_axes(figure, 100, 60, 850, 620), curves, target)
    return figure


def read_band(band: Artist) -> tuple[float, float]:
    """Lowest and highest point of a filled band."""
    assert isinstance(band, PolyCollection)
    heights = np.concatenate([np.asarray(path.vertices)[:, 1] for path in band.get_paths()])
    return float(heights.min()), float(heights.max())


def test_lines_are_means_and_bands_reach_over_all_seeds(assert_legible: Legible) -> None:
    curves = make_curves({"transposed": 8.0, "nearest_conv": -0.1}, seeds=3)
    figure = draw(curves)
    assert_legible(figure)
    axes = figure.axes[0]
    for place, upsampler in enumerate(("transposed", "nearest_conv"), 1):
        look = style_layer(upsampler, 3)
        line = next(line for line in axes.lines if line.get_marker() == look.marker)
        rows = curves[curves["upsampler"] == upsampler]
        mean = rows.groupby("step")["checkerboard_levels"].mean()
        steps, levels = read_line(line)
        np.testing.assert_allclose(steps, mean.index.to_numpy(float))
        np.testing.assert_allclose(levels, mean.to_numpy(float))
        assert line.get_color() == look.colour
        # the first band is the detection level
        values = rows["checkerboard_levels"]
        assert read_band(axes.collections[place]) == pytest.approx((values.min(), values.max()))


def test_detection_and_target_are_drawn() -> None:
    axes = draw(make_curves({"transposed": 8.0})).axes[0]
    assert read_band(axes.collections[0]) == pytest.approx((-0.3, 0.3))
    flat = [float(levels[0]) for _, levels in map(read_line, axes.lines) if len(levels) == 2]
    assert sorted(flat) == [-0.2, 0]
    without = draw(make_curves({"transposed": 8.0}), None).axes[0]
    assert len(without.lines) == len(axes.lines) - 1
    assert [handle.get_label() for handle in make_handles()] == [
        "below the detection level (mean over the runs)",
        "the test images themselves",
    ]


def test_axes_have_units_and_early_steps_stand_apart(assert_legible: Legible) -> None:
    figure = draw(make_curves({"transposed": 8.0, "subpixel": 7.8}))
    texts = [text for text, _ in assert_legible(figure)]
    assert "training step (iterations; logarithmic from 2 on)" in texts
    assert "CBA (8-bit levels; logarithmic beyond ±1)" in texts
    axes = figure.axes[0]
    places = [axes.transData.transform((step, 0))[0] for step in (0, 1, 2, 5)]
    assert min(np.diff(places)) > 40
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2", "5", "10", "20", "50", "100"]


@pytest.mark.parametrize("last", [0, 1, 300, 70_000])
def test_any_length_of_training_fits(last: int, assert_legible: Legible) -> None:
    steps = tuple(sorted({0, min(1, last), last}))
    texts = [text for text, _ in assert_legible(draw(make_curves({"transposed": 30.0, "carafe": -2.0}, steps)))]
    assert f"{min(last, 10_000):,}" in texts or last == 300


def test_lines_that_end_together_have_names_apart(assert_legible: Legible) -> None:
    names = ("transposed", "nearest_conv", "bilinear_conv", "subpixel_icnr", "equal_gain_transposed", "carafe")
    curves = make_curves({name: 0.01 * index for index, name in enumerate(names)}, seeds=1)
    texts = [text for text, _ in assert_legible(draw(curves))]
    # each with the level that it ends at, from the lowest up
    written = [f"{name} k3: 0.0{index}" for index, name in enumerate(names)]
    assert [text for text in texts if text.startswith(names)] == written


def test_a_run_that_was_broken_off_is_named_where_it_ends() -> None:
    curves = make_curves({"transposed": 8.0, "nearest_conv": 1.0})
    short = curves[(curves["upsampler"] != "nearest_conv") | (curves["step"] <= 5)]
    axes = draw(short).axes[0]
    leaders = [read_line(line)[0] for line in axes.lines if line.get_transform() == axes.transAxes]
    ends = [float((axes.transScale + axes.transLimits).transform((step, 0))[0]) for step in (5, 100)]
    assert sorted(float(places[0]) for places in leaders) == pytest.approx(sorted(ends))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-0.2, 1.2), min_size=1, max_size=12).map(sorted), st.floats(0.01, 0.08))
def test_places_are_apart_in_order_and_inside(places: list[float], gap: float) -> None:
    moved = spread_evenly(places, gap)
    assert min(np.diff(moved), default=gap) >= gap - 1e-9
    assert min(moved) >= 0
    assert max(moved) <= 1 + 1e-9


def test_places_that_are_apart_stay() -> None:
    assert spread_evenly([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert spread_evenly([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    assert spread_evenly([1.0, 1.0], 0.1) == pytest.approx([0.9, 1.0])
