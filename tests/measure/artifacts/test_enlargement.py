"""Enlarged pictures are known by where their differences vanish; photographs, grids and JPEG's blocks are not."""

import io

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image as Pictures

from deconvbench.measure.artifacts.enlargement import Enlargement, find_enlargement
from tests.measure.artifacts.content import Image, repeat_tile

PHOTOGRAPHS = ("camera", "coins", "brick")
Kind = Pictures.Resampling


def _cut(name: str, side: int = 240) -> Image:
    photograph = np.asarray(getattr(skimage.data, name)(), np.float64)
    return photograph[60 : 60 + side, 120 : 120 + side]


def _find(*images: Image) -> Enlargement | None:
    return find_enlargement(torch.from_numpy(np.stack(images))[:, None])


def _enlarge(image: Image, factor: int, kind: Kind) -> Image:
    size = (image.shape[1] * factor, image.shape[0] * factor)
    return np.asarray(Pictures.fromarray(image.astype(np.uint8)).resize(size, kind), np.float64)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("factor", [2, 3, 4, 5, 6, 7, 8])
def test_repeated_pixels_are_counted(name: str, factor: int) -> None:
    enlarged = _enlarge(_cut(name, 64), factor, Kind.NEAREST)
    assert _find(enlarged) == Enlargement(factor=factor, is_nearest=True)
    # cut anywhere
    assert _find(enlarged[1:, 3:]) == Enlargement(factor=factor, is_nearest=True)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("factor", [2, 3, 4, 5, 6, 7])
def test_interpolated_pixels_are_counted(name: str, factor: int) -> None:
    enlarged = _enlarge(_cut(name, 64), factor, Kind.BILINEAR)
    assert _find(enlarged) == Enlargement(factor=factor, is_nearest=False)


def test_interpolation_by_8_is_left_open_as_jpeg_has_its_places() -> None:
    found = _find(_enlarge(_cut("coins", 64), 8, Kind.BILINEAR))
    assert found is None


@pytest.mark.parametrize("name", [*PHOTOGRAPHS, "gravel"])
def test_photographs_grids_and_blocks_are_not_enlarged(name: str) -> None:
    image = _cut(name)
    assert _find(image) is None
    for period in (2, 3, 4, 5, 8):
        tile = np.random.default_rng(period).standard_normal((period, period))
        assert _find(np.rint(image + 3 * repeat_tile(tile, image.shape))) is None
    for quality in (10, 50):
        file = io.BytesIO()
        Pictures.fromarray(image.astype(np.uint8)).save(file, "JPEG", quality=quality)
        assert _find(np.asarray(Pictures.open(file), np.float64)) is None


@pytest.mark.parametrize("period", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_a_grid_on_a_plain_colour_is_not_an_enlargement(period: int, noise: float) -> None:
    rng = np.random.default_rng(period)
    flat = 128 + noise * rng.standard_normal((192, 192))
    for levels in (2, 10):
        tile = levels * rng.standard_normal((period, period))
        assert _find(np.rint(flat + repeat_tile(tile, flat.shape))) is None


def test_enlarged_in_one_direction_is_not_enlarged() -> None:
    assert _find(np.repeat(_cut("coins", 120), 2, axis=0)) is None


def test_half_of_the_parts_must_agree() -> None:
    enlarged, other = _enlarge(_cut("coins", 120), 2, Kind.NEAREST), _cut("camera")
    expected = Enlargement(factor=2, is_nearest=True)
    assert _find(enlarged, other, enlarged, other) == expected
    assert _find(enlarged, other, other) is None


def test_flat_images_are_not_enlarged() -> None:
    assert _find(np.full((64, 64), 7.0)) is None
