import numpy as np
import pandas as pd
import pytest

from deconvbench.analysis.overlay import overlay_runs
from deconvbench.plots.overlay import MOST_RUNS, draw_overlay
from tests.analysis.test_overlay import spread, summarise_latencies


def overlay(*names: str) -> pd.DataFrame:
    return overlay_runs({name: summarise_latencies(spread(1, 3, 2), (8, 16)) for name in names})


def test_each_run_has_a_mark_and_each_layer_a_row_the_cheapest_on_top() -> None:
    figure = draw_overlay(overlay("a", "b"), ["a", "b"])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "transposed k3 s2", "bilinear_conv k3 s2", "nearest_conv k3 s2",
    ]  # fmt: skip
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    points = [np.sort(np.asarray(line.get_xdata())) for line in axes.lines if line.get_label() in {"a", "b"}]
    assert [list(x) for x in points] == [pytest.approx([1, 2, 3])] * 2
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_runs_beyond_the_palette_are_counted() -> None:
    names = [f"r{number}" for number in range(MOST_RUNS + 2)]
    figure = draw_overlay(overlay(*names), names)
    assert len(figure.legends[0].get_texts()) == MOST_RUNS
    assert "2 more runs are in the table" in figure.get_suptitle()


def test_a_disturbed_case_is_hollow() -> None:
    frame = overlay("a", "b")
    figure = draw_overlay(frame.assign(noisy=frame["run"] == "b"), ["a", "b"])
    faces = {
        line.get_label(): line.get_markerfacecolor()
        for line in figure.axes[0].lines
        if line.get_label() in {"a", "b"}
    }
    assert faces["b"] == "white"
    assert faces["a"] != "white"
