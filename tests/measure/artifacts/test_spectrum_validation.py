"""The validation of the checkerboard amplitude, every line of it: content of deviation 1, 12 fixed seeds."""

import functools
import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import skimage.data
from skimage.color import rgb2gray

from deconvbench.measure.artifacts import checkerboard
from tests.measure.artifacts.content import (
    SEEDS,
    Image,
    draw_bars,
    draw_discs,
    draw_one_over_f,
    draw_pattern,
    draw_rectangles,
    make_checkerboard,
    normalise,
    repeat_tile,
)

Draw = Callable[[int], Image]
over_contents = pytest.mark.parametrize("draw", [draw_one_over_f, draw_discs], ids=["one_over_f", "discs"])


def _measure(image: Image, period: int = 2) -> float:
    return checkerboard(image, period).amplitude


def _pool(amplitudes: Iterable[float]) -> float:
    """Average signed squares, as the measure does over a batch."""
    power = float(np.mean([math.copysign(a * a, a) for a in amplitudes]))
    return math.copysign(math.sqrt(abs(power)), power)


@functools.cache
def _measure_planted(draw: Draw, period: int, amplitude: float) -> tuple[float, ...]:
    return tuple(
        _measure(draw(seed) + draw_pattern(seed, period, (256, 256), amplitude), period) for seed in SEEDS
    )


@over_contents
@pytest.mark.parametrize(
    ("period", "planted", "allowed"),
    [
        pytest.param(2, 0.0, 0.004, id="P2-nothing"),
        pytest.param(2, 0.01, 0.002, id="P2-.01"),
        pytest.param(2, 0.03, 0.05 * 0.03, id="P2-.03"),
        pytest.param(2, 0.1, 0.05 * 0.1, id="P2-.1"),
        pytest.param(3, 0.03, 0.1 * 0.03, id="P3-.03"),
        pytest.param(3, 0.1, 0.05 * 0.1, id="P3-.1"),
        pytest.param(4, 0.03, 0.1 * 0.03, id="P4-.03"),
        pytest.param(4, 0.1, 0.05 * 0.1, id="P4-.1"),
        pytest.param(8, 0.1, 0.05 * 0.1, id="P8-.1"),
        pytest.param(8, 0.3, 0.05 * 0.3, id="P8-.3"),
    ],
)
def test_planted_amplitude_is_recovered(draw: Draw, period: int, planted: float, allowed: float) -> None:
    amplitudes = _measure_planted(draw, period, planted)
    assert _pool(amplitudes) == pytest.approx(planted, abs=allowed)
    assert np.mean(amplitudes) == pytest.approx(planted, abs=allowed)


def test_at_period_8_a_small_pattern_does_not_drown_in_edges() -> None:
    amplitudes = _measure_planted(draw_discs, 8, 0.03)
    assert amplitudes == pytest.approx([0.03] * len(SEEDS), rel=0.1)


def test_batch_is_the_pool_of_its_images() -> None:
    images = np.stack([draw_one_over_f(seed) + make_checkerboard((256, 256), 0.03) for seed in SEEDS])
    assert _measure(images[:, None]) == pytest.approx(_pool(_measure_planted(draw_one_over_f, 2, 0.03)), rel=1e-9)


def test_single_images_spread_by_up_to_eight_percent() -> None:
    off = [abs(amplitude / 0.03 - 1) for amplitude in _measure_planted(draw_one_over_f, 2, 0.03)]
    assert 0.04 < max(off) < 0.085


@over_contents
def test_content_alone_is_rarely_detected(draw: Draw) -> None:
    found = [checkerboard(draw(seed), period) for period in (2, 3, 4, 8) for seed in SEEDS]
    # of 48, where 2.3 % is nominal
    assert sum(result.is_detected for result in found) <= 3
    assert sum(result.amplitude > result.noise_level for result in found) <= 3


@pytest.mark.slow
@over_contents
def test_what_is_twice_the_detection_level_is_detected(draw: Draw) -> None:
    detected = []
    for period in (2, 3, 4, 8):
        for seed in SEEDS:
            image = draw(seed)
            planted = 2 * checkerboard(image, period).detection_level
            changed = image + draw_pattern(seed, period, image.shape, planted)
            detected.append(checkerboard(changed, period).is_detected)
    assert np.mean(detected) >= 0.95


@over_contents
@pytest.mark.parametrize("gain", [-1.0, 1e-3, 255.0], ids=str)
def test_linear_in_gain(draw: Draw, gain: float) -> None:
    image = draw(0) + make_checkerboard((256, 256), 0.03)
    assert _measure(gain * image) == pytest.approx(abs(gain) * _measure(image), rel=1e-9)


@over_contents
def test_crops_by_any_number_of_pixels_change_little(draw: Draw) -> None:
    images = [draw(seed) + make_checkerboard((256, 256), 0.1) for seed in SEEDS]
    whole = _pool(_measure(image) for image in images)
    far = np.random.default_rng(0).integers(0, 65, (5, 4)).tolist()
    for top, left, bottom, right in [(1, 0, 0, 0), (0, 1, 0, 0), (1, 1, 1, 1), (63, 64, 1, 0), *far]:
        cropped = _pool(_measure(image[top : 256 - bottom, left : 256 - right]) for image in images)
        assert cropped == pytest.approx(whole, rel=0.03), (top, left, bottom, right)


@over_contents
def test_a_few_pixels_less_change_little_in_a_single_image(draw: Draw) -> None:
    for seed in range(3):
        image = draw(seed) + make_checkerboard((256, 256), 0.1)
        for cut in range(1, 9):
            assert _measure(image[cut:, 9 - cut :]) == pytest.approx(_measure(image), rel=0.03), (seed, cut)


@over_contents
@pytest.mark.parametrize(("down", "right"), [(-1, 1), (1, -1), (-1, -1)], ids=["down", "right", "both"])
def test_flips_change_little(draw: Draw, down: int, right: int) -> None:
    # not exact: the periodic window is symmetric about a pixel, a flip about the middle between two
    image = draw(0) + make_checkerboard((256, 256), 0.1)
    assert _measure(image[::down, ::right]) == pytest.approx(_measure(image), rel=0.01)


@pytest.mark.parametrize("period", range(2, 9), ids="P{}".format)
def test_plain_ramp_is_nothing(period: int) -> None:
    rows, columns = np.mgrid[:256, :256]
    for down, right in ((1, 1), (1, 0), (0, 1), (2, -0.7)):
        assert abs(_measure((down * rows + right * columns) / 255, period)) < 1e-12


@pytest.mark.parametrize("draw", [draw_bars, draw_rectangles], ids=["bars", "rectangles"])
@pytest.mark.parametrize("period", [2, 4], ids="P{}".format)
def test_edges_along_the_axes_count_little(draw: Draw, period: int) -> None:
    assert abs(_pool(_measure(draw(seed), period) for seed in SEEDS)) < 0.02


@pytest.mark.parametrize("side", [64, 128], ids="{}px".format)
def test_sign_may_flip_from_region_to_region(side: int) -> None:
    amplitudes, naive = [], []
    for seed in SEEDS:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (256 // side, 256 // side))
        flipping = np.kron(signs, np.ones((side, side))) * make_checkerboard((256, 256))
        amplitudes.append(_measure(flipping))
        naive.append(np.std([flipping[i::2, j::2].mean() for i in (0, 1) for j in (0, 1)]))
    assert _pool(amplitudes) >= 0.75
    # phase means of the whole image, which a grid of one sign would show in full
    assert np.mean(naive) < 0.6 * _pool(amplitudes)
    if side == 64:
        assert 0.04 <= np.mean(naive) <= 0.25


def test_sign_that_flips_with_every_patch_is_the_worst_case() -> None:
    # of 49 patches 16 lie within a region, the others see both signs alike: √(16/49)
    signs = make_checkerboard((4, 4))
    flipping = np.kron(signs, np.ones((64, 64))) * make_checkerboard((256, 256))
    assert _measure(flipping) == pytest.approx(math.sqrt(16 / 49), abs=0.05)


@functools.cache
def _take_photograph(name: str) -> Image:
    image = getattr(skimage.data, name)()
    return normalise(rgb2gray(image) if image.ndim == 3 else image)


@pytest.mark.parametrize("name", ["camera", "brick", "coins", "astronaut"])
@pytest.mark.parametrize("planted", [0.03, 0.1], ids=str)
def test_photographs(name: str, planted: float) -> None:
    photograph = _take_photograph(name)
    measured = checkerboard(photograph + make_checkerboard(photograph.shape, planted))
    assert measured.amplitude == pytest.approx(planted, rel=0.03)
    assert measured.is_detected


def test_photographs_at_period_8_need_no_residual() -> None:
    # the plain spectrum read a tenth of its deviation in the regular courses of a brick wall
    wall = _take_photograph("brick")[:256, :256]
    assert not checkerboard(wall, 8).is_detected
    planted = draw_pattern(0, 8, wall.shape, 0.03)
    assert checkerboard(wall + planted, 8).amplitude == pytest.approx(0.03, rel=0.1)
    assert checkerboard((wall + planted) - wall, 8).amplitude == pytest.approx(0.03, rel=1e-6)


def _cut_crops(count: int) -> list[Image]:
    """Cut squares of 192 pixels out of photographs that scikit-image brings along, at full and at half size."""
    rng = np.random.default_rng(0)
    crops = []
    for index in range(count):
        whole = _take_photograph(("camera", "brick", "coins", "astronaut", "gravel", "moon")[index % 6])
        if index // 6 % 2 and min(whole.shape) >= 384:
            height, width = (side // 2 * 2 for side in whole.shape)
            whole = whole[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))
        top, left = (rng.integers(side - 191) for side in whole.shape)
        crops.append(normalise(whole[top : top + 192, left : left + 192]))
    return crops


@pytest.mark.parametrize(
    ("period", "planted"), [(2, 0.01), (3, 0.02), (4, 0.03), (8, 0.03), (16, 0.03)], ids="{}".format
)
def test_faint_patterns_are_told_from_photographs(period: int, planted: float) -> None:
    clean: list[float] = []
    changed: list[float] = []
    for index, crop in enumerate(_cut_crops(24)):
        tile = normalise(np.random.default_rng(index).standard_normal((period, period)))
        for image, strengths in ((crop, clean), (crop + planted * repeat_tile(tile, crop.shape), changed)):
            found = checkerboard(image, period)
            strengths.append(found.amplitude / found.detection_level)
    # area under the curve: that a changed one reads more than a clean one
    assert np.mean(np.array(changed)[:, None] > clean) >= 0.97
    assert np.mean(np.array(clean) > 1) <= 0.1
