"""Choosing and reading crops."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.article.crops import (
    Crop,
    choose_network,
    choose_squares,
    describe_scores,
    find_strongest,
    find_window,
    format_decibels,
    format_levels,
    get_period,
    list_crops,
    pick_last,
    pick_layer,
    read_crop,
    read_original,
)
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import MAIN_NETWORK
from tests.plots.article.made_results import (
    IMAGES,
    LAYERS,
    SIDE,
    STEPS,
    add_checkerboard,
    make_picture,
    make_trained,
)

ONE = (("transposed", 3),)


@pytest.fixture
def small(tmp_path: Path) -> Trained:
    return make_trained(tmp_path / "made", layers=ONE, images=("coffee",), seeds=2)


def test_rows_with_a_crop_are_listed(trained: Trained) -> None:
    rows = list_crops(trained)
    assert set(rows["seed"]) == {0}
    assert len(rows) == len(LAYERS) * len(IMAGES) * 3
    assert set(pick_last(rows)["step"]) == {STEPS[-1]}
    assert len(pick_last(rows)) == len(LAYERS) * len(IMAGES)


def test_each_network_has_a_last_step_of_its_own(trained: Trained) -> None:
    rows = list_crops(trained)
    broken_off = rows["kernel_size"].isna() & (rows["step"] > 1)
    steps = pick_last(rows[~broken_off]).groupby("upsampler")["step"].max()
    assert (steps["carafe"], steps["transposed"]) == (1, STEPS[-1])


def test_the_main_network_is_taken_where_there_is_a_choice(tmp_path: Path) -> None:
    article = replace(MAIN_NETWORK, norm="instance", recipe="plain")
    both = make_trained(tmp_path, layers=ONE, images=("coffee",), networks=(article, MAIN_NETWORK), seeds=1)
    assert set(list_crops(both)["norm"]) == {"none"}
    assert set(list_crops(both, network=article)["norm"]) == {"instance"}
    assert choose_network(both.images) == MAIN_NETWORK
    assert choose_network(both.images[both.images["norm"] == "instance"]) == article
    with pytest.raises(EmptyFigureError, match="no crops of reconstruction, batch norm"):
        list_crops(both, network=replace(MAIN_NETWORK, norm="batch"))
    with pytest.raises(EmptyFigureError, match="^trained: nothing of super-resolution"):
        choose_network(both.images, task="super-resolution")


def test_of_each_photograph_one_square_is_chosen() -> None:
    names = ["cat-half", "cat-left", "dog", "fly-by-half", "fly-by-left"]
    rows = pd.DataFrame({"image": names, "checkerboard_levels": [0.5, 2.0, 0.1, 1.0, -3.0]})
    assert choose_squares(rows) == ["cat-left", "dog", "fly-by-half"]
    assert choose_squares(rows[rows["image"] != "cat-left"]) == ["cat-half", "dog", "fly-by-half"]


def test_what_is_missing_is_said(small: Trained) -> None:
    with pytest.raises(EmptyFigureError, match="have no crops of images; deconvbench train makes them"):
        list_crops(replace(small, folder=None))
    with pytest.raises(EmptyFigureError, match="has no crops of super-resolution"):
        list_crops(small, task="super-resolution")
    with pytest.raises(EmptyFigureError, match="has no crops of reconstruction"):
        list_crops(replace(small, images=small.images.iloc[:0]))
    with pytest.raises(EmptyFigureError, match="have no crops of images"):
        read_original(replace(small, folder=None), "coffee")
    with pytest.raises(EmptyFigureError, match="reconstruction-moon.png': there is no such file"):
        read_original(small, "moon")


def test_layers_are_picked_by_kernel_or_by_having_none(trained: Trained) -> None:
    rows = list_crops(trained)
    assert set(pick_layer(rows, ("transposed", 4))["kernel_size"]) == {4}
    assert set(pick_layer(rows, ("carafe", None))["upsampler"]) == {"carafe"}
    for layer, name in ((("transposed", 5), "transposed k5 s2"), (("transposed", None), "transposed s2")):
        with pytest.raises(EmptyFigureError, match=f"nothing of {name}"):
            pick_layer(rows, layer)
    with pytest.raises(EmptyFigureError, match="nothing of transposed k3 s4"):
        pick_layer(rows, ("transposed", 3), 4)


def test_a_crop_is_read_with_its_scores(small: Trained) -> None:
    row = list_crops(small).query("step == 1").iloc[0]
    crop = read_crop(small, row)
    assert (crop.layer, crop.image, crop.step) == ("transposed k3 s2", "coffee", 1)
    assert (crop.psnr_db, crop.checkerboard_levels) == (row["psnr_db"], row["checkerboard_levels"])
    assert small.folder is not None
    with Image.open(small.folder / row["crop"]) as picture:
        np.testing.assert_array_equal(crop.pixels, np.asarray(picture))
    assert crop.pixels.shape == read_original(small, "coffee").shape == (SIDE, SIDE, 3)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        pytest.param(Path.unlink, "there is no such file", id="missing"),
        pytest.param(lambda path: path.write_text("no picture"), "cannot identify", id="text"),
        pytest.param(_truncate, "", id="truncated"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(small: Trained, harm: Callable[[Path], object], reason: str) -> None:
    row = list_crops(small).iloc[0]
    assert small.folder is not None
    harm(small.folder / row["crop"])
    with pytest.raises(EmptyFigureError, match=f"coffee-step0.png': .*{reason}"):
        read_crop(small, row)


def test_the_strongest_is_found_and_what_was_not_scored_does_not_count() -> None:
    rows = pd.DataFrame({"image": ["a", "b", "b", "c", "c"], "checkerboard_levels": [5, 9, 3, math.nan, math.nan]})
    assert find_strongest(rows) == "b"
    assert find_strongest(rows[rows["image"] != "b"]) == "a"
    assert find_strongest(rows[rows["image"] == "c"]) == "c"


@pytest.mark.parametrize(("task", "period"), [("reconstruction", 4), ("super-resolution", 2)])
def test_the_period_follows_from_the_task(task: str, period: int) -> None:
    assert get_period(task) == period


def test_the_window_is_where_the_checkerboard_is() -> None:
    original = make_picture(0)
    output = original.copy()
    part = (slice(64, 96), slice(8, 28))
    output[part] = add_checkerboard(original, 8.0)[part]
    found = find_window(output.astype(np.uint8), original.astype(np.uint8), 4, (32, 20))
    assert found == part


def test_the_window_stays_off_the_edges_where_there_is_room() -> None:
    original = np.full((40, 40, 3), 128.0)
    output = original.copy()
    output[:4] += 40  # a border that padding made
    pictures = (output.astype(np.uint8), original.astype(np.uint8))
    assert find_window(*pictures, 4, (24, 24))[0].start >= 8
    assert find_window(*pictures, 4, (32, 32))[0].start == 0


def test_of_equal_checkerboards_the_one_on_calm_ground_is_taken() -> None:
    original = np.full((SIDE, SIDE, 3), 128.0)
    # the left half is coarse noise
    original[:, :64] += np.random.default_rng(0).normal(0, 20, (SIDE // 8, 8, 3)).repeat(8, 0).repeat(8, 1)
    output = add_checkerboard(original, 8.0)
    rows, columns = find_window(np.rint(output).astype(np.uint8), np.rint(original).astype(np.uint8), 4, (32, 32))
    assert columns.start >= 64
    assert (rows.stop - rows.start, columns.stop - columns.start) == (32, 32)


@pytest.mark.parametrize(
    ("levels", "text"),
    [(7.04, "7.0"), (-3.25, "−3.2"), (0.064, "0.06"), (-0.064, "−0.06"), (-0.004, "0.00"), (math.nan, "–")],
)
def test_levels_are_written_short(levels: float, text: str) -> None:
    assert format_levels(levels) == text


def test_scores_are_written_with_their_units() -> None:
    crop = Crop(
        layer="x", image="y", step=1, psnr_db=21.04, checkerboard_levels=-0.5, pixels=np.zeros((1, 1, 3), np.uint8)
    )
    assert describe_scores(crop) == "CBA −0.50 levels, PSNR 21.0 dB"
    assert format_decibels(math.nan) == "–"
