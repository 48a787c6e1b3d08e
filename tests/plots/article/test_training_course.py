"""Figure 5."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.article.crops import read_original
from deconvbench.plots.article.training_course import COURSES, draw_figure_5
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import MAIN_NETWORK
from tests.plots.article.conftest import list_images, read_line, read_one
from tests.plots.article.made_results import STEPS, make_trained

Legible = Callable[[Figure], list[tuple[str, Any]]]
NAMES = tuple(f"{upsampler} k{kernel}: " for upsampler, kernel in COURSES)


def list_names(texts: list[tuple[str, Any]]) -> set[str]:
    return {name for text, _ in texts for name in NAMES if text.startswith(name)}


def test_the_first_iteration_stands_beside_the_last_above_the_curves(
    trained: Trained, assert_legible: Legible
) -> None:
    figure = draw_figure_5(trained)
    texts = assert_legible(figure)
    assert list_names(texts) == set(NAMES)
    first, last = (read_one(trained, ("transposed", 3), "chelsea", step) for step in (1, STEPS[-1]))
    expected = (read_original(trained, "chelsea"), first.pixels, last.pixels)
    for drawn, pixels in zip(list_images(figure), expected, strict=True):
        np.testing.assert_array_equal(drawn, pixels)
    captions = [text for text, _ in texts]
    assert "original: chelsea" in captions
    for when, crop in (("first iteration", first), ("step 500", last)):
        scores = f"CBA {crop.checkerboard_levels:.1f} levels, PSNR {crop.psnr_db:.1f} dB"
        assert f"transposed k3 s2, {when}:\n{scores}" in captions
    assert any("means over 3 seeds" in text for text in captions)


def test_the_target_level_is_the_one_of_the_results(trained: Trained) -> None:
    levels = [read_line(line)[1] for line in draw_figure_5(trained).axes[-1].lines]
    target = float(trained.results["target_checkerboard_levels"].mean())
    assert any(values.size == 2 and (values == target).all() for values in levels)


def test_results_without_pictures_have_the_curves_alone(trained: Trained, assert_legible: Legible) -> None:
    shipped = replace(trained, folder=None, images=trained.images.iloc[:0])
    figure = draw_figure_5(shipped)
    assert list_names(assert_legible(figure)) == set(NAMES)
    assert not list_images(figure)
    assert figure.get_size_inches()[1] < draw_figure_5(trained).get_size_inches()[1] - 2


def test_only_layers_with_a_curve_are_drawn(trained: Trained, assert_legible: Legible) -> None:
    figure = draw_figure_5(trained, layers=(("transposed", 3), ("transposed", 7), ("nearest_conv", 3)))
    assert list_names(assert_legible(figure)) == {"transposed k3: ", "nearest_conv k3: "}
    with pytest.raises(EmptyFigureError, match="no curve of any of the layers asked for"):
        draw_figure_5(trained, layers=(("transposed", 7),))


def test_nothing_trained_is_no_figure() -> None:
    with pytest.raises(EmptyFigureError, match="^trained: nothing of reconstruction$"):
        draw_figure_5(Trained())


def test_one_seed_of_an_earlier_network_is_drawn(tmp_path: Path, assert_legible: Legible) -> None:
    article = replace(MAIN_NETWORK, norm="instance", recipe="plain")
    single = make_trained(tmp_path, layers=(("transposed", 3),), images=("coffee",), networks=(article,), seeds=1)
    (heading,) = [
        text.replace("\n", " ") for text, _ in assert_legible(draw_figure_5(single)) if text.startswith("CBA, ")
    ]
    assert "means over 1 seed, " in heading
    assert heading.endswith("Networks: reconstruction, instance norm, plain recipe.")


def test_the_other_task_is_drawn_from_its_own_networks(tmp_path: Path, assert_legible: Legible) -> None:
    other = replace(MAIN_NETWORK, task="super-resolution")
    layers = (("transposed", 3), ("nearest_conv", 3))
    both = make_trained(tmp_path, layers=layers, images=("coffee",), networks=(MAIN_NETWORK, other), seeds=2)
    few = (both.curves["upsampler"] == "transposed") & (both.curves["seed"] == 1)
    shown = replace(both, curves=both.curves[~few])
    texts = [text.replace("\n", " ") for text, _ in assert_legible(draw_figure_5(shown, task="super-resolution"))]
    assert "Figure 5: the checkerboard through training, super-resolution" in texts
    assert any("means over 1 to 2 seeds, " in text and "Networks: super-resolution." in text for text in texts)
    with pytest.raises(EmptyFigureError, match="nothing of super-resolution"):
        draw_figure_5(replace(both, curves=both.curves[both.curves["task"] == "reconstruction"]), task=other.task)
