"""The figures of segmentation and style transfer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.article.crops import (
    list_crops,
    pick_last,
    pick_layer,
    read_crop,
    read_original,
)
from deconvbench.plots.article.reconstructions import stretch_contrast
from deconvbench.plots.article.task_examples import EXAMPLE_TASKS, draw_task, find_part
from deconvbench.records.layers import NamedLayer
from deconvbench.tables.trained import Trained
from tests.plots.article.conftest import list_images
from tests.plots.article.made_results import SIDE, make_picture, make_trained, save_picture

Legible = Callable[[Figure], list[tuple[str, Any]]]
LAYERS: tuple[NamedLayer, ...] = (("nearest_conv", 3), ("transposed", 3), ("subpixel", 3))


def make_task(folder: Path, task: str, layers: tuple[NamedLayer, ...] = LAYERS) -> Trained:
    """Results of a task, with what is looked at beside its outputs."""
    made = make_trained(folder, layers=layers, images=("coffee", "chelsea", "rocket"), seeds=2)
    originals = folder / "crops" / "originals"
    for path in list(originals.iterdir()):
        path.rename(originals / path.name.replace("reconstruction-", f"{task}-"))
    for index, image in enumerate(("coffee", "chelsea", "rocket")):
        save_picture(originals / f"{task}-{image}-input.png", 255 - make_picture(index))
    style = np.tile(make_picture(0), (2, 2, 1))[: SIDE + 40, : SIDE + 20]
    save_picture(originals / f"{task}-style.png", style)
    results = made.results.assign(task=task, miou=0.5 + 0.1 * made.results["seed"], style_loss=0.25)
    return replace(made, results=results, images=made.images.assign(task=task))


@pytest.mark.parametrize("task", EXAMPLE_TASKS)
def test_networks_stand_beside_what_they_were_given_and_should_give(
    task: str, tmp_path: Path, assert_legible: Legible
) -> None:
    made = make_task(tmp_path, task)
    figure = draw_task(made, task)
    texts = [text for text, _ in assert_legible(figure)]
    for head in ("transposed k3", "subpixel k3", "nearest_conv k3", "coffee", "chelsea"):
        assert head in texts
    assert "rocket" not in texts  # the weakest of three
    # beside each network, the mean of its seeds
    assert texts.count("mIoU 0.550" if task == "segmentation" else "style loss 0.250") == 3

    rows = pick_last(list_crops(made, task=task)).query("image == 'chelsea'")
    crops = [read_crop(made, pick_layer(rows, layer).iloc[0]) for layer in (LAYERS[1], LAYERS[2], LAYERS[0])]
    for crop in crops:
        shown = f"{crop.checkerboard_levels:.1f}" if abs(crop.checkerboard_levels) >= 1 else None
        assert shown is None or f"CBA {shown}" in texts
    window = find_part(crops[0].pixels, 4)
    contrast = 8 if task == "segmentation" else 1
    pictures = list_images(figure)
    assert len(pictures) == 2 * 5 * 2
    first = next(i for i, picture in enumerate(pictures) if np.array_equal(picture, crops[0].pixels))
    for place, crop in enumerate(crops):
        np.testing.assert_array_equal(pictures[first + 2 * place], crop.pixels)
        np.testing.assert_array_equal(
            pictures[first + 2 * place + 1], stretch_contrast(crop.pixels[window], contrast)
        )
    given = read_original(made, "chelsea-input" if task == "segmentation" else "chelsea", task)
    np.testing.assert_array_equal(pictures[first - 4], given)


def test_the_part_is_where_a_grid_lies_on_calm_content() -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((96, 96, 3), 90.0)
    pixels[:, 60:] += rng.normal(0, 40, (96, 36, 3))
    board = (-1.0) ** np.add.outer(np.arange(24), np.arange(40))
    pixels[40:64, 8:48] += 3 * board[:, :, None]
    pixels[8:32, 50:] += 3 * (-1.0) ** np.add.outer(np.arange(24), np.arange(46))[:, :, None]
    rows, columns = find_part(np.rint(pixels.clip(0, 255)).astype(np.uint8), 4)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (16, 32)
    assert 40 <= rows.start <= 48
    assert 8 <= columns.start <= 16


def test_the_truth_and_the_style_are_the_second_column(tmp_path: Path) -> None:
    made = make_task(tmp_path / "maps", "segmentation")
    pictures = list_images(draw_task(made, "segmentation", max_images=1))
    assert any(
        np.array_equal(pictures[2], read_original(made, name, "segmentation")) for name in ("coffee", "chelsea")
    )
    made = make_task(tmp_path / "styles", "style-transfer")
    pictures = list_images(draw_task(made, "style-transfer"))
    style = read_original(made, "style", "style-transfer")
    np.testing.assert_array_equal(pictures[2], style[:SIDE, 20:])
    np.testing.assert_array_equal(pictures[12], style[40:, :SIDE])


def test_a_layer_that_was_not_trained_is_left_out(tmp_path: Path, assert_legible: Legible) -> None:
    made = make_task(tmp_path, "segmentation", LAYERS[:2])
    texts = [text for text, _ in assert_legible(draw_task(made, "segmentation"))]
    assert "nearest_conv k3" in texts
    assert "subpixel k3" not in texts


def test_without_crops_there_is_no_figure(tmp_path: Path) -> None:
    made = make_task(tmp_path, "segmentation")
    with pytest.raises(EmptyFigureError, match="has no crops of style-transfer"):
        draw_task(made, "style-transfer")
    other = make_task(tmp_path / "other", "segmentation", (("carafe", None),))
    with pytest.raises(EmptyFigureError, match="no crop of segmentation with one of the layers"):
        draw_task(other, "segmentation")
    (tmp_path / "crops" / "originals" / "segmentation-chelsea-input.png").unlink()
    with pytest.raises(EmptyFigureError, match="chelsea-input"):
        draw_task(made, "segmentation")
