"""Latency against size."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.latency import draw_latency
from deconvbench.plots.style import style_layer
from tests.plots.made_tables import LAYERS, SIZES, make_summary

Legible = Callable[[Figure], list[tuple[str, Any]]]


def test_panels_lines_units_and_ticks(summary: pd.DataFrame, assert_legible: Legible) -> None:
    figure = draw_latency(summary)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["forward, cpu", "train, cpu"]
    texts = [text for text, _ in assert_legible(figure)]
    assert any(text.endswith("(pixels)") for text in texts)
    assert "latency per call (ms)" in texts
    for size in SIZES:
        assert texts.count(str(size)) == 2
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == len(LAYERS) + 2
    assert names[-2:] == ["hollow: noisy", "cross: failed"]


def test_lines_carry_the_numbers_in_milliseconds(summary: pd.DataFrame) -> None:
    axes = draw_latency(summary).axes[0]
    rows = summary[(summary["upsampler"] == "bilinear_conv") & (summary["step"] == "forward")]
    (line,) = [c for c in axes.containers if c.get_label() == "bilinear_conv k3 s2"]
    np.testing.assert_allclose(line[0].get_ydata(), rows["latency_s"] * 1e3)
    assert to_hex(line[0].get_color()) == style_layer("bilinear_conv").colour


def test_noisy_cells_are_hollow_and_failed_ones_crossed(summary: pd.DataFrame) -> None:
    figure = draw_latency(summary)
    hollow = [
        line
        for axes in figure.axes
        for line in axes.lines
        if line.get_markerfacecolor() == "white" and np.size(line.get_xdata())
    ]
    assert len(hollow) == 2
    crosses = [line for line in figure.axes[1].lines if line.get_marker() == "x"]
    assert {to_hex(line.get_color()) for line in crosses} == {
        style_layer("transposed_smoothed").colour,
        style_layer("zero_insert").colour,
    }
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "x"]


def test_scales_become_panels_that_share_one_legend(assert_legible: Legible) -> None:
    frame = pd.concat([make_summary(sizes=(16, 32), steps=("forward",), scale_factor=s) for s in (2, 3, 4)])
    figure = draw_latency(frame, max_layers=9)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [f"forward, cpu, scale ×{s}" for s in (2, 3, 4)]
    texts = [text for text, _ in assert_legible(figure)]
    assert "nearest_conv k3" in texts
    assert any("more layers are in the table" in text for text in texts)


def test_many_settings_stay_legible(assert_legible: Legible) -> None:
    frame = pd.concat([make_summary(threads=t, device=d) for t, d in ((1, "cpu"), (2, "cpu"), (1, "cuda"))])
    figure = draw_latency(frame, max_panels=4)
    assert len(figure.axes) == 4
    assert "(2 more settings are in the table)" in figure.get_suptitle()
    assert_legible(figure)


def test_a_single_cell_without_interval_is_drawn(assert_legible: Legible) -> None:
    frame = make_summary((("dysample", None),), (32,), ("forward",))
    frame[["latency_ci_low_s", "latency_ci_high_s"]] = np.nan
    texts = [text for text, _ in assert_legible(draw_latency(frame))]
    assert "dysample s2" in texts
    assert "hollow: noisy" not in texts


def test_sizes_that_are_not_square_are_said() -> None:
    frame = make_summary(sizes=(16, 32))
    frame["width"] = frame["width"] * 2
    figure = draw_latency(frame)
    assert "√(height × width)" in figure.get_supxlabel()


def test_nothing_measured_is_said(summary: pd.DataFrame) -> None:
    with pytest.raises(EmptyFigureError):
        draw_latency(summary.assign(status="error"))
