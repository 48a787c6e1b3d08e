"""Figure 1."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.article.checkerboard_example import draw_figure_1
from deconvbench.plots.article.crops import read_original
from deconvbench.plots.article.spectra import list_grid_lines, measure_spectrum
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import MAIN_NETWORK
from tests.plots.article.conftest import list_images, list_outlines, read_line, read_one
from tests.plots.article.made_results import make_trained

Legible = Callable[[Figure], list[tuple[str, Any]]]


def test_the_network_stands_above_the_original(trained: Trained, assert_legible: Legible) -> None:
    figure = draw_figure_1(trained)
    texts = [text for text, _ in assert_legible(figure)]
    crop = read_one(trained, ("transposed", 3), "chelsea")  # the longest name has the strongest checkerboard
    assert f"network: CBA {crop.checkerboard_levels:.1f} levels, PSNR {crop.psnr_db:.1f} dB" in texts
    assert any(text.startswith("chelsea: 128×128 pixels") for text in texts)
    pictures = list_images(figure)
    original = read_original(trained, "chelsea")
    np.testing.assert_array_equal(pictures[0], crop.pixels)
    np.testing.assert_array_equal(pictures[2], original)
    (left, top, width, height) = map(int, list_outlines(figure.axes[0])[0])
    part = (slice(top, top + height), slice(left, left + width))
    np.testing.assert_array_equal(pictures[1], crop.pixels[part])
    np.testing.assert_array_equal(pictures[3], original[part])


def test_the_spectra_are_those_of_the_pictures_with_rings_on_the_grid(trained: Trained) -> None:
    figure = draw_figure_1(trained, image="rocket")
    spectra = [axes for axes in figure.axes if axes.lines]
    network, original = list_images(figure, 2)[:2]
    for axes, drawn, picture in zip(spectra, (network, original), list_images(figure)[::2], strict=True):
        np.testing.assert_allclose(drawn, measure_spectrum(picture))
        (rings,) = axes.lines
        assert list(zip(*read_line(rings), strict=True)) == list_grid_lines(4)
    # one scale for both, and the network has what the original has not
    assert len({axes.images[0].get_clim() for axes in spectra}) == 1
    assert network[0, 0] > original[0, 0] + 20


def test_axes_have_units(trained: Trained, assert_legible: Legible) -> None:
    texts = {text for text, _ in assert_legible(draw_figure_1(trained))}
    assert {
        "frequency along a row (cycles per pixel)", "along a column (cycles per pixel)",
        "power (dB, relative to 1 level²)",
    } <= texts  # fmt: skip


def test_other_layers_and_norms_can_be_drawn(trained: Trained, tmp_path: Path, assert_legible: Legible) -> None:
    texts = [text for text, _ in assert_legible(draw_figure_1(trained, layer=("carafe", None)))]
    assert "Figure 1: a picture with a checkerboard, from a network with carafe s2" in texts
    article = replace(MAIN_NETWORK, norm="instance")
    plain = make_trained(tmp_path, layers=(("transposed", 3),), images=("coffee",), networks=(article,), seeds=1)
    assert_legible(draw_figure_1(plain, network=article))


def test_what_is_missing_is_said(trained: Trained) -> None:
    with pytest.raises(EmptyFigureError, match="no crop of the image 'moon'"):
        draw_figure_1(trained, image="moon")
    with pytest.raises(EmptyFigureError, match="nothing of transposed k7 s2"):
        draw_figure_1(trained, layer=("transposed", 7))
    with pytest.raises(EmptyFigureError, match="deconvbench train makes them"):
        draw_figure_1(replace(trained, folder=None))
