"""The gallery."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.article.crops import find_window, list_crops, pick_last, read_crop, read_original
from deconvbench.plots.article.trained_gallery import draw_gallery
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import MAIN_NETWORK
from tests.plots.article.conftest import list_images
from tests.plots.article.made_results import LAYERS, make_trained
from tests.plots.made_tables import ALL_LAYERS

Legible = Callable[[Figure], list[tuple[str, Any]]]


def name(upsampler: str, kernel: int | None) -> str:
    return upsampler if kernel is None else f"{upsampler} k{kernel}"


def test_every_network_has_a_tile_the_cleanest_first(trained: Trained, assert_legible: Legible) -> None:
    figure = draw_gallery(trained)
    texts = [text for text, _ in assert_legible(figure)]
    assert {name(*layer) for layer in LAYERS} <= set(texts)
    rows = pick_last(list_crops(trained)).query("image == 'chelsea'")
    rows = rows.assign(distance=rows["checkerboard_levels"].abs()).sort_values("distance", kind="stable")
    crops = [read_crop(trained, row) for _, row in rows.iterrows()]
    original = read_original(trained, "chelsea")
    window = find_window(crops[-1].pixels, original, 4, (64, 64))  # the last is transposed k3
    pictures = list_images(figure)
    for drawn, pixels in zip(pictures, (original, *(crop.pixels for crop in crops)), strict=True):
        np.testing.assert_array_equal(drawn, pixels[window])
    assert texts.index("transposed k3") > texts.index("transposed k4") > texts.index("nearest_conv k3")
    assert f"CBA {crops[-1].checkerboard_levels:.1f}, PSNR {crops[-1].psnr_db:.1f}" in texts


def test_all_upsamplers_fit_on_a_page_and_more_are_counted(tmp_path: Path, assert_legible: Legible) -> None:
    layers = (*ALL_LAYERS, ("transposed_bilinear_init", 3))
    many = make_trained(tmp_path, layers=layers, images=("coffee",), seeds=1)
    figure = draw_gallery(many)
    texts = [text for text, _ in assert_legible(figure)]
    assert len(list_images(figure)) == 25
    assert any(f"({len(layers) - 24} more networks are in the table)" in t.replace("\n", " ") for t in texts)
    width, height = figure.get_size_inches()
    assert height < 1.5 * width


def test_another_image_and_another_guide(trained: Trained, tmp_path: Path, assert_legible: Legible) -> None:
    texts = [text for text, _ in assert_legible(draw_gallery(trained, image="rocket"))]
    assert "rocket, as each network gives it back" in texts
    # without the article's deconvolution the part is chosen by what shows the most
    other = make_trained(tmp_path, layers=(("nearest_conv", 3), ("subpixel", 3)), images=("coffee",), seeds=1)
    figure = draw_gallery(other, network=MAIN_NETWORK)
    shown = read_crop(other, pick_last(list_crops(other)).query("upsampler == 'subpixel'").iloc[0])
    window = find_window(shown.pixels, read_original(other, "coffee"), 4, (64, 64))
    np.testing.assert_array_equal(list_images(figure)[-1], shown.pixels[window])


def test_a_network_that_diverged_comes_last(trained: Trained, assert_legible: Legible) -> None:
    images = trained.images.copy()
    images.loc[images["upsampler"] == "nearest_conv", ["checkerboard_levels", "psnr_db"]] = np.nan
    texts = [text for text, _ in assert_legible(draw_gallery(replace(trained, images=images)))]
    assert texts.index("nearest_conv k3") > texts.index("transposed k3")
    assert "CBA –, PSNR –" in texts


def test_what_is_missing_is_said(trained: Trained) -> None:
    with pytest.raises(EmptyFigureError, match="no crop of the image 'moon'"):
        draw_gallery(trained, image="moon")
    with pytest.raises(EmptyFigureError, match="has no crops of super-resolution"):
        draw_gallery(trained, task="super-resolution")
