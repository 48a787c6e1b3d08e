"""The amplitude of an even grid: less error on photographs, and none of its own where the grid is not even."""

import math

import numpy as np
import pytest
import torch

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import checkerboard
from deconvbench.measure.artifacts.even_grid import measure_even_amplitude
from tests.measure.artifacts.content import Image, draw_one_over_f, repeat_tile


def _draw_tile(seed: int, period: int) -> Image:
    tile = np.random.default_rng(seed).standard_normal((period, period))
    return np.asarray((tile - tile.mean()) / tile.std())


def _draw_uneven_texture(seed: int) -> Image:
    """Smooth on the left, with texture on the right."""
    rng = np.random.default_rng(seed)
    texture = 3 * rng.standard_normal((256, 256))
    return np.asarray(4 * draw_one_over_f(seed) + texture * np.where(np.arange(256) < 128, 0.1, 2))


@pytest.mark.parametrize("period", [2, 4, 8], ids="P{}".format)
def test_a_strong_even_grid_reads_its_amplitude(period: int) -> None:
    image = 20 * draw_one_over_f(0) + 3 * repeat_tile(_draw_tile(0, period), (256, 256))
    found = measure_even_amplitude(image, period)
    assert found.is_even
    assert found.amplitude == pytest.approx(3, rel=0.04)
    assert set(found.by_scale) == {2**n for n in range(1, 1 + int(math.log2(period)))}
    assert sum(share**2 for share in found.by_scale.values()) == pytest.approx(found.amplitude**2)


def test_what_texture_adds_by_chance_is_less() -> None:
    errors, even = [], 0
    for seed in range(12):
        image = _draw_uneven_texture(seed) + 2 * repeat_tile(_draw_tile(seed, 4), (256, 256))
        found = measure_even_amplitude(image, 4)
        even += found.is_even
        errors.append((found.amplitude - 2, checkerboard(image, 4).amplitude - 2))
    # a real one is mistaken for one in a part now and then
    assert even >= 9
    refined, plain = np.sqrt(np.square(errors).mean(0))
    assert refined < 0.7 * plain


@pytest.mark.parametrize("side", ["smooth", "rough"])
def test_a_grid_in_one_half_reads_as_checkerboard_reads_it(side: str) -> None:
    mask = np.arange(256) < 128 if side == "smooth" else np.arange(256) >= 128
    image = _draw_uneven_texture(0) + 5 * repeat_tile(_draw_tile(0, 4), (256, 256)) * mask
    found, plain = measure_even_amplitude(image, 4), checkerboard(image, 4)
    assert not found.is_even
    assert found.amplitude == pytest.approx(plain.amplitude)
    assert found.by_scale == pytest.approx(dict(plain.by_scale))


@pytest.mark.parametrize("image", [np.full((64, 64), 7.0), np.zeros((64, 64))], ids=["flat", "zero"])
def test_flat_images_have_none(image: Image) -> None:
    found = measure_even_amplitude(image, 2)
    assert abs(found.amplitude) < 1e-9
    assert not found.is_even


def test_few_patches_are_not_weighted() -> None:
    image = 20 * draw_one_over_f(0)[:40, :40] + 3 * repeat_tile(_draw_tile(0, 2), (40, 40))
    assert not measure_even_amplitude(image, 2).is_even


def test_units_channels_and_batches_are_as_in_checkerboard() -> None:
    image = (20 * draw_one_over_f(1) + 3 * repeat_tile(_draw_tile(1, 2), (256, 256))).clip(-100, 100) + 120
    whole = measure_even_amplitude(image, 2)
    assert measure_even_amplitude(1e200 * image, 2).amplitude == pytest.approx(1e200 * whole.amplitude)
    colours = torch.from_numpy(image).expand(3, -1, -1)
    assert measure_even_amplitude(colours, 2).amplitude == pytest.approx(whole.amplitude)
    with pytest.raises(UsageError, match="period: 33"):
        measure_even_amplitude(image, 33)
