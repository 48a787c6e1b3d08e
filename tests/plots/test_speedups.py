"""Speed-ups, shape by shape."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.analysis.speedups import average_speedups
from deconvbench.plots.speedups import draw_speedups
from deconvbench.plots.style import DPI
from deconvbench.tables.speedups import build_speedups
from tests.made_speedups import TWINS, make_settings, make_speedup_record, make_speedup_records

Legible = Callable[[Figure], list[tuple[str, Any]]]


def draw(speedups: pd.DataFrame, **limits: int) -> Figure:
    return draw_speedups(speedups, average_speedups(speedups), **limits)


@pytest.fixture(scope="module")
def speedups() -> pd.DataFrame:
    return build_speedups(make_speedup_records())


def test_every_setting_is_a_panel_and_the_texts_are_legible(
    speedups: pd.DataFrame, assert_legible: Legible
) -> None:
    figure = draw(speedups)
    # 900 pixels wide on the page, which shows a drawn pixel and a half as one
    assert figure.get_figwidth() * DPI == 1350
    texts = [text for text, _ in assert_legible(figure)]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == "forward, frozen\ncontiguous, 1 thread"
    assert titles[-1] == "train\nchannels_last, 2 threads"
    assert len(titles) == len(set(titles)) == 12
    title = " ".join(figure.get_suptitle().split())
    assert "512→256 32×32" in title
    assert "transposed k3 s2, transposed k4 s2" in title
    assert "times faster than nearest_conv k3 (ratio, logarithmic)" in texts


def test_dots_bars_and_lines_stand_where_the_numbers_say(speedups: pd.DataFrame) -> None:
    axes = draw(speedups).axes[0]
    here = speedups[
        speedups["is_frozen"] & (speedups["memory_format"] == "contiguous") & (speedups["threads"] == 1)
    ]
    dots = [np.asarray(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "None"]
    assert len(dots) == len(TWINS)
    for found, name in zip(dots, TWINS, strict=True):
        assert sorted(found) == sorted(here.loc[here["upsampler"] == name, "speedup"])
    means = average_speedups(here).set_index("layer")["speedup"]
    upright = [x[0] for line in axes.lines if (x := list(np.asarray(line.get_xdata())))[0] == x[-1]]
    for layer in means.index:
        assert means[layer] in upright
    written = {text.get_text().strip() for text in axes.texts}
    assert {f"{means[f'{name} k3 s2']:.2f}" for name in TWINS} | {"k3", "k4"} == written


def test_intervals_are_drawn_where_there_are_any() -> None:
    def count_bars(replicates: int) -> float:
        settings = list(make_settings(((64, 16),), threads=(1,), steps=("forward",)))
        axes = draw(build_speedups(make_speedup_records(settings, replicates))).axes[0]
        return sum(
            abs(segment[1][0] - segment[0][0]) > 0
            for bars in axes.collections
            for segment in bars.get_segments()  # type: ignore[attr-defined] # error bars are lines
        )

    assert count_bars(1) == 0
    assert count_bars(2) == len(TWINS)


def test_settings_beyond_the_room_are_counted(speedups: pd.DataFrame) -> None:
    figure = draw(speedups, max_columns=2, max_rows=1)
    assert len(figure.axes) == 2
    assert "(10 more settings are in the table)" in figure.get_suptitle()


def test_a_single_shape_and_setting_will_do(assert_legible: Legible) -> None:
    settings = list(make_settings(((64, 16),), ("contiguous",), (1,), ("train",)))
    figure = draw(build_speedups(make_speedup_records(settings)))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["train\ncontiguous, 1 thread"]
    assert_legible(figure)


@pytest.mark.parametrize(
    ("factor", "ticks"), [(1.0, "0.5 1 2 3 4"), (0.3, "0.25 1 4"), (0.01, "0.01 0.1 1")], ids=str
)
def test_the_wider_the_axis_the_fewer_its_labels(
    speedups: pd.DataFrame, assert_legible: Legible, factor: float, ticks: str
) -> None:
    is_slow = speedups["upsampler"] == "nearest_conv_subpixel"
    low = np.where(is_slow, factor, 1.0)
    changed = {name: speedups[name] * low for name in ("speedup", "speedup_ci_low", "speedup_ci_high")}
    figure = draw(speedups.assign(**changed))
    assert_legible(figure)
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ticks.split()


def test_of_several_kernels_and_alternatives_one_is_drawn(assert_legible: Legible) -> None:
    settings = list(make_settings())
    others = [replace(setting, kernel_size=5, height=8, width=8) for setting in settings if setting.height == 16]
    records = make_speedup_records([*others, *settings])
    # a second layer that computes something else, of the same kernels
    more = [
        replace(
            record,
            rivals=(*record.rivals, *(name.replace("transposed", "transposed_fast") for name in record.rivals)),
            samples_s={
                **record.samples_s,
                **{n.replace("transposed", "transposed_fast"): record.samples_s[n] for n in record.rivals},
            },
        )
        for record in records
    ]
    figure = draw(build_speedups(more))
    assert_legible(figure)
    title = " ".join(figure.get_suptitle().split())
    assert "Speed-up over nearest_conv k3" in title
    assert "8×8" not in title
    assert "transposed_fast" not in title
    written = [text.get_text().strip() for text in figure.axes[0].texts]
    assert [written.count(name) for name in ("k3", "k4")] == [1, 1]


def test_without_alternatives_there_are_no_lines_to_explain(speedups: pd.DataFrame) -> None:
    figure = draw(speedups[speedups["upsampler"] != "transposed"])
    assert "vertical lines" not in figure.get_suptitle()
    assert {"k3", "k4"}.isdisjoint(text.get_text().strip() for text in figure.axes[0].texts)


@pytest.mark.parametrize("kind", ["nothing", "failed"])
def test_without_a_comparison_there_is_no_figure(kind: str) -> None:
    settings = list(make_settings(((64, 16),)))
    records = [make_speedup_record(setting, status="error") for setting in settings] if kind == "failed" else []
    with pytest.raises(EmptyFigureError, match=rf"none of the {len(records) * 8} rows"):
        draw(build_speedups(records))
