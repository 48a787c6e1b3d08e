"""Figure 7."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.article.crops import read_original
from deconvbench.plots.article.reconstructions import draw_figure_7, stretch_contrast
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import MAIN_NETWORK
from tests.plots.article.conftest import list_images, list_outlines, read_one
from tests.plots.article.made_results import IMAGES, make_trained

Legible = Callable[[Figure], list[tuple[str, Any]]]


def test_rows_are_images_and_columns_networks(trained: Trained, assert_legible: Legible) -> None:
    figure = draw_figure_7(trained)
    texts = [text for text, _ in assert_legible(figure)]
    assert {"original", "deconvolution: transposed k3", "resize-convolution: nearest_conv k3"} <= set(texts)
    pictures = list_images(figure)
    assert len(pictures) == len(IMAGES) * 3 * 2
    for index, image in enumerate(IMAGES):
        wholes = pictures[6 * index : 6 * index + 6 : 2]
        np.testing.assert_array_equal(wholes[0], read_original(trained, image))
        for drawn, layer in zip(wholes[1:], (("transposed", 3), ("nearest_conv", 3)), strict=True):
            crop = read_one(trained, layer, image)
            np.testing.assert_array_equal(drawn, crop.pixels)
            digits = 1 if layer[0] == "transposed" else 2  # below one level there are two
            assert f"CBA {crop.checkerboard_levels:.{digits}f} levels, PSNR {crop.psnr_db:.1f} dB" in texts
        assert image in texts


def test_one_part_is_magnified_in_each_row(trained: Trained) -> None:
    figure = draw_figure_7(trained)
    pictures = list_images(figure)
    for row in range(len(IMAGES)):
        windows = {tuple(list_outlines(figure.axes[6 * row + 2 * column])[0]) for column in range(3)}
        ((left, top, width, height),) = windows
        assert (width, height) == (20, 32)
        part = (slice(int(top), int(top + height)), slice(int(left), int(left + width)))
        for column in range(3):
            whole, enlarged = pictures[6 * row + 2 * column : 6 * row + 2 * column + 2]
            np.testing.assert_array_equal(enlarged, stretch_contrast(whole[part]))
    sizes = {axes.get_window_extent().height for axes in figure.axes}
    assert max(sizes) - min(sizes) < 0.01


def test_the_heading_says_what_was_compared(trained: Trained, assert_legible: Legible) -> None:
    heading = " ".join(text.replace("\n", " ") for text, _ in assert_legible(draw_figure_7(trained)))
    assert "after 500 training steps (reconstruction). The outlined part" in heading
    assert "the test images themselves read −0.10" in heading
    untold = replace(trained, results=trained.results.iloc[:0])
    heading = " ".join(text.replace("\n", " ") for text, _ in assert_legible(draw_figure_7(untold)))
    assert "themselves read" not in heading


def test_other_networks_and_fewer_images(trained: Trained, assert_legible: Legible) -> None:
    figure = draw_figure_7(trained, upsamplers=(("subpixel", 3), ("subpixel_icnr", 3)), max_images=1)
    texts = [text for text, _ in assert_legible(figure)]
    assert {"subpixel k3", "subpixel_icnr k3"} <= set(texts)
    assert any("(2 more photographs are in the table)" in text.replace("\n", " ") for text in texts)
    assert len(list_images(figure)) == 6


def test_only_images_that_all_networks_have_are_shown(trained: Trained) -> None:
    gone = (trained.images["upsampler"] == "nearest_conv") & (trained.images["image"] == "coffee")
    texts = {text.get_text() for text in draw_figure_7(replace(trained, images=trained.images[~gone])).texts}
    assert texts >= {"chelsea", "rocket"}
    assert "coffee" not in texts


def test_what_is_missing_is_said(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(EmptyFigureError, match="nothing of nearest_conv k5 s2"):
        draw_figure_7(trained, upsamplers=(("transposed", 3), ("nearest_conv", 5)))
    rows = trained.images
    apart = rows[(rows["upsampler"] != "nearest_conv") | (rows["image"] == "coffee")]
    apart = apart[(apart["upsampler"] != "transposed") | (apart["image"] != "coffee")]
    with pytest.raises(EmptyFigureError, match="no test image has a crop of each"):
        draw_figure_7(replace(trained, images=apart))
    lost = make_trained(tmp_path, layers=(("transposed", 3), ("nearest_conv", 3)), images=("coffee",), seeds=1)
    (tmp_path / "crops" / "originals" / "reconstruction-coffee.png").unlink()
    with pytest.raises(EmptyFigureError, match="reconstruction-coffee.png': there is no such file"):
        draw_figure_7(lost)


def test_contrast_is_stretched_about_the_mean_colour() -> None:
    pixels = np.full((4, 4, 3), (100, 150, 250), np.uint8)
    pixels[::2] -= 10
    stretched = stretch_contrast(pixels, 3)
    assert stretched[0, 0].tolist() == [80, 130, 230]
    # beyond white nothing is brighter
    assert stretched[1, 0].tolist() == [110, 160, 255]
    np.testing.assert_array_equal(stretch_contrast(pixels, 1), pixels)


def test_each_photograph_is_shown_by_its_strongest_square(tmp_path: Path, assert_legible: Legible) -> None:
    # a square's level grows with the length of its name, see made_results
    images = ("chelsea-left", "chelsea-upper", "rocket-half")
    other = replace(MAIN_NETWORK, task="super-resolution")
    layers = (("transposed", 3), ("nearest_conv", 3))
    made = make_trained(tmp_path, layers=layers, images=images, networks=(MAIN_NETWORK, other), seeds=1)
    texts = [text for text, _ in assert_legible(draw_figure_7(made, task="super-resolution"))]
    assert {"chelsea-upper", "rocket-half"} <= set(texts)
    assert "chelsea-left" not in texts
    assert "Figure 7: the same network with its upsamplers exchanged, super-resolution" in texts
