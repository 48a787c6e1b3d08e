"""Artifacts over kernel and stride."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from deconvbench.errors import UsageError
from deconvbench.plots.artifact_maps import draw_artifact_maps, list_mapped_upsamplers, pivot_metric
from deconvbench.plots.panels import EmptyFigureError
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
    titles = [axes.get_title(loc="left") for axes in figure.axes[:3]]
    assert titles == ["transposed: overlap CV", "transposed: noise gain CV", "transposed: phase ripple"]
    texts = [text for text, _ in assert_legible(figure)]
    # kernel 2 with strides 3 and 4, kernel 3 with stride 4, in each of three maps
    assert texts.count("–") == 9
    assert "0.484" in texts
    assert texts.count("kernel size (pixels)") == 3
    assert texts.count("stride = scale factor (pixels)") == 3
    assert [text for text in texts if text.endswith("(ratio)")] != []


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


def test_nothing_to_draw_and_wrong_metrics_are_said(quality: pd.DataFrame) -> None:
    with pytest.raises(EmptyFigureError, match="the table has no rows"):
        draw_artifact_maps(quality.iloc[:0])
    with pytest.raises(EmptyFigureError, match="carafe has no overlap_cv or noise_gain_cv or phase_ripple"):
        draw_artifact_maps(quality, upsamplers=("carafe",))
    with pytest.raises(EmptyFigureError):
        draw_artifact_maps(make_quality(kernels=(2,), scales=(4,)))
    with pytest.raises(UsageError, match="metric: 'beauty' is not one of"):
        draw_artifact_maps(quality, metrics=("beauty",))
