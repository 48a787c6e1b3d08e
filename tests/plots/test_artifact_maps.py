"""Artifacts over kernel and stride."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.errors import UsageError
from deconvbench.plots.artifact_maps import (
    draw_artifact_maps,
    list_mapped_upsamplers,
    pivot_metric,
    split_advice,
)
from deconvbench.theory import overlap_cv
from tests.plots.made_tables import make_quality

Legible = Callable[[Figure], list[tuple[str, Any]]]


def test_the_pivot_averages_seeds_and_keeps_what_cannot_be_built(quality: pd.DataFrame) -> None:
    table = pivot_metric(quality, "transposed", "overlap_cv")
    assert list(map(str, table.index)) == ["2", "3", "4", "5", "6"]
    assert list(map(str, table.columns)) == ["2", "3", "4"]
    assert table.loc[3, 2] == pytest.approx(overlap_cv(3, 2))
    assert table.isna().loc[2, 4]
    ripple = quality.query("upsampler == 'transposed' and kernel_size == 5 and scale_factor == 3")["phase_ripple"]
    assert pivot_metric(quality, "transposed", "phase_ripple").loc[5, 3] == pytest.approx(ripple.mean())


def test_three_faces_side_by_side(quality: pd.DataFrame, assert_legible: Legible) -> None:
    figure = draw_artifact_maps(quality)
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == ["transposed"] * 3
    texts = [text for text, _ in assert_legible(figure)]
    titles = [text for text in texts if ": outlined " in text]
    assert [title.split(":")[0] for title in titles] == ["overlap CV", "noise gain CV", "phase ripple"]
    # kernel 2 with strides 3 and 4, kernel 3 with stride 4, in each of three maps
    assert texts.count("–") == 9
    assert "0.484" in texts
    assert texts.count("kernel size (pixels)") == 3
    assert texts.count("stride = scale factor (pixels)") == 3
    assert [text for text in texts if text.endswith("(ratio)")] != []


def test_cells_that_follow_the_advice_are_outlined(quality: pd.DataFrame) -> None:
    """Kernels 2, 4 and 6 with stride 2, 3 and 6 with 3, 4 with 4: dark on white, in each of three maps."""
    for axes in draw_artifact_maps(quality).axes[:3]:
        outlines = [patch for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
        cells = [(math.floor(patch.get_y()) + 2, math.floor(patch.get_x()) + 2) for patch in outlines]
        assert sorted(cells) == sorted(2 * [(2, 2), (4, 2), (6, 2), (3, 3), (6, 3), (4, 4)])


def test_both_faces_of_the_advice_stand_above_the_maps(quality: pd.DataFrame, assert_legible: Legible) -> None:
    overlap, noise, ripple = (
        split_advice(pivot_metric(quality, "transposed", metric))
        for metric in ("overlap_cv", "noise_gain_cv", "phase_ripple")
    )
    # the advice takes the unevenness away and leaves the ripple
    assert overlap[0] == 0
    assert noise[0] < 0.1 * noise[1]
    assert ripple[0] > 0.9 * ripple[1]
    texts = [text for text, _ in assert_legible(draw_artifact_maps(quality))]
    for name, (followed, ignored) in {"noise gain CV": noise, "phase ripple": ripple}.items():
        assert f"{name}: outlined {followed:.3f}, others {ignored:.3f}" in texts
    assert any("outlined: the stride divides the kernel" in text for text in texts)


def test_advice_that_was_never_followed_or_always_has_no_mean() -> None:
    quality = make_quality(kernels=(4, 6), scales=(2,))
    followed, ignored = split_advice(pivot_metric(quality, "transposed", "phase_ripple"))
    assert followed == pytest.approx(0.75, abs=0.05)
    assert math.isnan(ignored)


def test_upsamplers_beyond_the_limit_are_counted(assert_legible: Legible) -> None:
    names = ("transposed", "nearest_conv", "subpixel", "equal_gain_transposed", "transposed_bilinear_init")
    quality = make_quality(names)
    figure = draw_artifact_maps(quality, upsamplers=list_mapped_upsamplers(quality))
    texts = [text for text, _ in assert_legible(figure)]
    assert any("(1 more upsamplers are in the table)" in text for text in texts)
    mapped = {axes.get_title(loc="left") for axes in figure.axes} - {""}
    assert mapped == {*names} - {"equal_gain_transposed"}


def test_what_does_not_apply_is_said(quality: pd.DataFrame, assert_legible: Legible) -> None:
    figure = draw_artifact_maps(quality, upsamplers=("transposed", "nearest_conv"))
    assert "does not apply\nor was not measured" in [text for text, _ in assert_legible(figure)]


def test_decibels_have_their_own_range(quality: pd.DataFrame, assert_legible: Legible) -> None:
    figure = draw_artifact_maps(quality, metrics=("image_rejection_db",))
    assert "image rejection (dB)" in [text for text, _ in assert_legible(figure)]
    blank = quality.assign(image_rejection_db=np.nan)
    assert_legible(draw_artifact_maps(blank, metrics=("image_rejection_db", "phase_ripple")))


def test_only_what_spans_kernels_and_strides_is_mapped(quality: pd.DataFrame) -> None:
    assert list_mapped_upsamplers(quality) == ["transposed", "nearest_conv"]
    assert list_mapped_upsamplers(quality[quality["kernel_size"] == 3]) == []
    assert list_mapped_upsamplers(quality.iloc[:0]) == []
    # a layer that is not linear has none of these faces, so its map would be empty
    faces = quality["upsampler"].eq("nearest_conv").to_numpy()
    quality.loc[faces, ["overlap_cv", "noise_gain_cv", "phase_ripple"]] = np.nan
    assert list_mapped_upsamplers(quality) == ["transposed"]


def test_nothing_to_draw_and_wrong_metrics_are_said(quality: pd.DataFrame) -> None:
    with pytest.raises(EmptyFigureError, match="the table has no rows"):
        draw_artifact_maps(quality.iloc[:0])
    with pytest.raises(EmptyFigureError, match="carafe has no overlap_cv or noise_gain_cv or phase_ripple"):
        draw_artifact_maps(quality, upsamplers=("carafe",))
    with pytest.raises(EmptyFigureError):
        draw_artifact_maps(make_quality(kernels=(2,), scales=(4,)))
    with pytest.raises(UsageError, match="metric: 'beauty' is not one of"):
        draw_artifact_maps(quality, metrics=("beauty",))
