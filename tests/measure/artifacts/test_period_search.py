"""The period search: planted periods, their multiples, and photographs without a grid."""

import functools

import numpy as np
import pytest
import skimage.data
import torch
from skimage.color import rgb2gray

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import PeriodResult, find_period
from tests.measure.artifacts.content import Image, draw_one_over_f, make_checkerboard, normalise, repeat_tile


def _plant(image: Image, period: int, amplitude: float, seed: int = 0) -> Image:
    tile = normalise(np.random.default_rng(seed).standard_normal((period, period)))
    return image + amplitude * repeat_tile(tile, image.shape)


@functools.cache
def _take_photograph(name: str) -> Image:
    """Half the photograph's size, so that nothing of a camera's or a file's own grid is left."""
    image = getattr(skimage.data, name)()
    grey = rgb2gray(image) if image.ndim == 3 else image
    height, width = (side // 2 for side in grey.shape)
    return normalise(grey[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3)))


@pytest.mark.parametrize("period", [2, 3, 4, 5, 6, 8, 12, 16, 24, 32], ids="P{}".format)
def test_planted_period_is_found(period: int) -> None:
    found = find_period(_plant(draw_one_over_f(1), period, 0.1))
    assert found.period == period
    assert found.strength > found.level


def test_the_longest_period_is_found_where_four_are_shown() -> None:
    pattern = repeat_tile(np.random.default_rng(0).standard_normal((64, 64)), (256, 256))
    noise = np.random.default_rng(1).standard_normal((256, 256))
    assert find_period(pattern + noise, [32, 64]).period == 64


def test_a_checkerboard_has_period_2_and_no_multiple_of_it() -> None:
    found = find_period(draw_one_over_f(0) + make_checkerboard((256, 256), 0.05))
    assert found.period == 2
    assert next(iter(found.candidates)) == 2


def test_a_pattern_of_its_own_is_a_period_even_without_content() -> None:
    for period in (2, 6, 8):
        assert find_period(_plant(np.zeros((128, 128)), period, 1.0)).period == period


def test_the_sign_may_flip_from_region_to_region() -> None:
    signs = np.kron([[1.0, -1.0], [-1.0, 1.0]], np.ones((128, 128)))
    pattern = _plant(np.zeros((256, 256)), 8, 0.1)
    assert find_period(draw_one_over_f(0) + signs * pattern).period == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["camera", "brick", "coins", "astronaut"])
def test_photographs_have_no_period_until_one_is_planted(name: str) -> None:
    photograph = _take_photograph(name)
    assert find_period(photograph).period is None
    for period in (2, 3, 4, 8, 16):
        if 8 * period <= min(photograph.shape):
            assert find_period(_plant(photograph, period, 0.1)).period == period


def test_constants_have_none() -> None:
    found = find_period(np.full((64, 64), 3.0))
    assert found.period is None
    assert str(found).startswith("no period stands out")


@pytest.mark.parametrize("gain", [-1.0, 1e-3, 255.0], ids=str)
def test_does_not_depend_on_gain(gain: float) -> None:
    image = _plant(draw_one_over_f(0), 4, 0.05)
    assert find_period(gain * image).candidates == pytest.approx(find_period(image).candidates, rel=1e-6)


def test_only_what_is_asked_for_and_shown_is_looked_for() -> None:
    image = torch.from_numpy(_plant(draw_one_over_f(0), 8, 0.1)[:64, :100])
    assert sorted(find_period(image).candidates) == list(range(2, 17))
    assert sorted(find_period(image, [30, 8, 3]).candidates) == [3, 8]


@pytest.mark.parametrize(
    ("shape", "periods", "message"),
    [
        ((64, 64), [1], "periods: 1 is not a whole number from 2 to 64"),
        ((64, 64), [65], "periods: 65 is not"),
        ((64, 64), [], "periods: none is given"),
        ((31, 64), [8], "image: 31×64 pixels .* too few for period 8; at least 32×32 are needed"),
    ],
    ids=["1", "65", "none", "too-small"],
)
def test_wrong_use_is_refused(shape: tuple[int, int], periods: list[int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_period(np.zeros(shape), periods)


def test_result_reads_well() -> None:
    found = PeriodResult(period=8, strength=12.34, level=2.5, candidates={8: 12.34})
    assert str(found) == "period 8 (strength 12.3, level 2.5)"
