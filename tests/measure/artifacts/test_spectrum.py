"""The checkerboard amplitude: the slow definition, what holds exactly, and how the result reads."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import CheckerboardResult, checkerboard
from tests.measure.artifacts.content import (
    Image,
    draw_discs,
    draw_pattern,
    make_checkerboard,
    normalise,
    repeat_tile,
)

TILE_TOLERANCE = 1e-9
# squared detection level over the scatter, where it is not 2.7
_SCATTERS = {2: 15.0, 4: 5.0}
few = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**32)
# sides at and above the smallest, with and without incomplete patches
sides = st.integers(33, 70)
small_periods = st.integers(2, 4)


def _clip_slowly(image: Image, top: int, left: int, side: int, period: int, taper: Image) -> Image:
    """Pattern and clipped rest of the Laplacian of one patch, pixel by pixel."""
    height, width = image.shape
    # the outermost pixels lack a neighbour: a period further in
    rows, columns = np.arange(top, top + side), np.arange(left, left + side)
    for indices, length in ((rows, height), (columns, width)):
        indices[indices == 0] += period
        indices[indices == length - 1] -= period
    patch = -4 * image[np.ix_(rows, columns)]
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        patch = patch + image[np.ix_(rows + down, columns + right)]
    pattern = np.empty_like(patch)
    for i in range(period):
        for j in range(period):
            pattern[i::period, j::period] = np.median(patch[i::period, j::period])
    rest = patch - pattern
    limit = np.abs(rest).mean()
    clipped = rest / np.sqrt(1 + (rest / limit) ** 2)
    change = np.average((1 + (rest / limit) ** 2) ** -1.5, weights=taper)
    kept = np.average(rest * clipped, weights=taper) / np.average(rest**2, weights=taper)
    found: Image = pattern + clipped / max(change, kept)
    return found


def _reference(image: Image, period: int) -> tuple[float, float, float, dict[int, float]]:
    """Amplitude, detection level, noise level and shares of one map, step by step and bin by bin."""
    height, width = image.shape
    side = period * max(8, round((64 if min(height, width) >= 128 else 32) / period))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(side) / side)
    taper = np.outer(window, window)
    powers = []
    for top in range(0, height - side + 1, side // 2):
        for left in range(0, width - side + 1, side // 2):
            patch = _clip_slowly(image, top, left, side, period, taper)
            powers.append(np.abs(np.fft.fft2(patch * taper)) ** 2 / taper.sum() ** 2)
    spectrum = sum(powers) / len(powers)

    def wrap(frequency: float) -> float:
        return (frequency + 0.5) % 1 - 0.5

    def whiten(u: int, v: int) -> float:
        square = wrap(u / side) ** 2 + wrap(v / side) ** 2
        transfer = 4 - 2 * math.cos(2 * math.pi * u / side) - 2 * math.cos(2 * math.pi * v / side)
        return float(spectrum[u % side, v % side]) / transfer**2 * square

    excesses, variances, floors, besides, scales = [], [], [], [], []
    grid = {(i * side // period, j * side // period) for i in range(period) for j in range(period)}
    for i in range(period):
        for j in range(period):
            if i == j == 0:
                continue
            u, v = i * side // period, j * side // period
            ring = [
                whiten(u + a, v + b)
                for a in range(-4, 5)
                for b in range(-4, 5)
                if max(abs(a), abs(b)) >= 2 and ((u + a) % side, (v + b) % side) not in grid
            ]
            typical = floor = float(np.median(ring))
            for own in (
                np.median([whiten(u, v + b) for b in (-4, -3, -2, 2, 3, 4)]),
                np.median([whiten(u + a, v) for a in (-4, -3, -2, 2, 3, 4)]),
            ):
                floor = max(floor, min(float(own), 3 * (float(own) - typical)))
            square = wrap(i / period) ** 2 + wrap(j / period) ** 2
            beside = (np.array(ring) - typical) * floor / typical / square
            excesses.append((whiten(u, v) - floor) / square)
            floors.append(floor / square)
            besides.append(beside)
            variances.append((1.4826 * np.median(np.abs(beside))) ** 2)
            # the least number of pixels after which the wave comes again both downward and to the right
            scales.append(next(n for n in range(1, period + 1) if i * n % period == j * n % period == 0))
    excess, variance = np.array(excesses), np.array(variances) + (1e-9 * np.abs(excesses).max()) ** 2
    damped = variance + np.exp(np.log(variance).mean())
    signal = 0.0
    for _ in range(4):
        strength = float(np.average(excess, weights=1 / (damped + signal)))
        signal = max(strength, 0) ** 2
    kept = signal / (signal + variance)
    shares = dict[int, float]()
    for scale, share in zip(scales, kept * excess + (1 - kept) * strength, strict=True):
        shares[scale] = shares.get(scale, 0.0) + float(share)
    weights = len(excess) / damped / (1 / damped).sum()
    scatter = 1.4826 * float(np.median(np.abs(weights @ np.array(besides))))
    noise = math.sqrt(2 * float(((weights * floors) ** 2).sum()) / ((height // side) * (width // side)))
    level, noise_level = math.sqrt(_SCATTERS.get(period, 2.7) * scatter), math.sqrt(2 * noise)
    if len(powers) < 4:
        level = noise_level = math.nan
    amplitude = _root(sum(shares.values()))
    return amplitude, level, noise_level, {scale: _root(share) for scale, share in shares.items()}


def _root(power: float) -> float:
    return math.copysign(math.sqrt(abs(power)), power)


def _square(amplitude: float) -> float:
    return math.copysign(amplitude**2, amplitude)


def _draw(seed: int, *shape: int) -> Image:
    return np.random.default_rng(seed).standard_normal(shape)


def _assert_same(found: CheckerboardResult, expected: CheckerboardResult) -> None:
    assert (found.period, found.patches) == (expected.period, expected.patches)
    assert found.amplitude == pytest.approx(expected.amplitude, rel=1e-9, abs=1e-9)
    assert found.detection_level == pytest.approx(expected.detection_level, rel=1e-9, nan_ok=True)
    assert found.noise_level == pytest.approx(expected.noise_level, rel=1e-9, nan_ok=True)
    assert dict(found.by_scale) == pytest.approx(dict(expected.by_scale), rel=1e-9, abs=1e-9)


@few
@given(seed=seeds, period=small_periods, height=sides, width=sides, planted=st.floats(0, 2))
def test_matches_the_slow_definition(seed: int, period: int, height: int, width: int, planted: float) -> None:
    image = _draw(seed, height, width) + draw_pattern(seed, period, (height, width), planted)
    amplitude, level, noise_level, shares = _reference(image, period)
    found = checkerboard(image, period)
    assert found.amplitude == pytest.approx(amplitude, rel=1e-8)
    assert found.detection_level == pytest.approx(level, rel=1e-8, nan_ok=True)
    assert found.noise_level == pytest.approx(noise_level, rel=1e-8, nan_ok=True)
    assert dict(found.by_scale) == pytest.approx(shares, rel=1e-8)


@pytest.mark.parametrize("period", range(2, 9), ids="P{}".format)
def test_matches_the_slow_definition_on_content(period: int) -> None:
    image = draw_discs(1, 256)[:130, :201] + draw_pattern(1, period, (130, 201), 0.05)
    amplitude, level, noise_level, shares = _reference(image, period)
    found = checkerboard(image, period)
    assert found.amplitude == pytest.approx(amplitude, rel=1e-8)
    assert found.detection_level == pytest.approx(level, rel=1e-8)
    assert found.noise_level == pytest.approx(noise_level, rel=1e-8)
    assert dict(found.by_scale) == pytest.approx(shares, rel=1e-8)


@pytest.mark.parametrize("period", [*range(2, 9), 11, 16], ids="P{}".format)
@pytest.mark.parametrize("side", [192, 209], ids="{}px".format)
def test_every_pattern_of_the_period_reads_its_deviation(period: int, side: int) -> None:
    tile = _draw(period, period, period)
    found = checkerboard(3.0 + repeat_tile(tile, (side, side)), period)
    assert found.amplitude == pytest.approx(float(tile.std()), rel=TILE_TOLERANCE)
    assert found.is_detected


def test_the_longest_period_needs_a_quarter_of_a_megapixel_to_be_detected() -> None:
    tile = _draw(0, 32, 32)
    found = checkerboard(repeat_tile(tile, (384, 384)), 32)
    assert found.amplitude == pytest.approx(float(tile.std()), rel=TILE_TOLERANCE)
    assert (found.patches, found.is_detected) == (4, True)


@few
@given(seed=seeds, period=small_periods, side=sides)
def test_every_pattern_in_a_small_image_reads_its_deviation(seed: int, period: int, side: int) -> None:
    tile = _draw(seed, period, period)
    found = checkerboard(repeat_tile(tile, (side, side + 3)), period)
    assert found.amplitude == pytest.approx(float(tile.std()), rel=TILE_TOLERANCE)


def test_pure_checkerboard_of_a_tenth() -> None:
    found = checkerboard(make_checkerboard((256, 256), 0.1))
    assert found.amplitude == pytest.approx(0.1, rel=1e-12)
    assert dict(found.by_scale) == pytest.approx({2: 0.1}, rel=1e-12)
    assert (found.period, found.patches) == (2, 49)
    assert found.detection_level < 1e-15


@pytest.mark.parametrize(
    ("period", "scales"),
    [(2, [2]), (3, [3]), (4, [2, 4]), (5, [5]), (6, [2, 3, 6]), (7, [7]), (8, [2, 4, 8])],
    ids=str,
)
def test_shares_go_to_the_smallest_period(period: int, scales: list[int]) -> None:
    for scale in scales:
        tile = normalise(draw_pattern(3, scale, (scale, scale)))
        # nothing of smaller periods in it
        for smaller in (n for n in range(1, scale) if scale % n == 0):
            tile = tile - repeat_tile(_average_over(tile, smaller), tile.shape)
        found = checkerboard(repeat_tile(tile, (130, 130)), period)
        expected = {other: float(tile.std()) if other == scale else 0.0 for other in scales}
        assert dict(found.by_scale) == pytest.approx(expected, rel=TILE_TOLERANCE, abs=1e-6)
        assert list(found.by_scale) == scales


def _average_over(tile: Image, period: int) -> Image:
    count = len(tile) // period
    mean: Image = tile.reshape(count, period, count, period).mean((0, 2))
    return mean


def test_a_wave_of_two_scales_belongs_to_their_common_multiple() -> None:
    # period 2 downward and 3 to the right: neither upsampler alone can draw it
    wave = np.outer([1.0, -1.0], [2.0, -1.0, -1.0])
    found = checkerboard(repeat_tile(wave, (130, 130)), 6)
    assert dict(found.by_scale) == pytest.approx({2: 0, 3: 0, 6: math.sqrt(2)}, abs=1e-6)


@few
@given(seed=seeds, period=small_periods, height=sides, width=sides)
def test_signed_squares_of_the_shares_add_up(seed: int, period: int, height: int, width: int) -> None:
    found = checkerboard(_draw(seed, 2, height, width), period)
    assert sum(map(_square, found.by_scale.values())) == pytest.approx(_square(found.amplitude), rel=1e-9)


@few
@given(seed=seeds, period=small_periods, gain=st.floats(1e-6, 1e6), is_negative=st.booleans())
def test_linear_in_gain(seed: int, period: int, gain: float, is_negative: bool) -> None:
    image = _draw(seed, 48, 50)
    found, plain = checkerboard((-gain if is_negative else gain) * image, period), checkerboard(image, period)
    assert found.amplitude == pytest.approx(gain * plain.amplitude, rel=1e-9)
    assert found.detection_level == pytest.approx(gain * plain.detection_level, rel=1e-9, nan_ok=True)
    assert found.is_detected == plain.is_detected


@few
@given(seed=seeds, period=small_periods, height=sides, width=sides)
def test_shapes_and_libraries_agree(seed: int, period: int, height: int, width: int) -> None:
    image = _draw(seed, height, width)
    expected = checkerboard(image, period)
    for same in (image[None], image[None, None], torch.from_numpy(image), torch.from_numpy(image)[None, None]):
        _assert_same(checkerboard(same, period), expected)


@few
@given(seed=seeds, period=small_periods, plane=st.tuples(*[st.floats(-10, 10)] * 3), height=sides, width=sides)
def test_constants_and_planes_do_not_count(
    seed: int, period: int, plane: tuple[float, float, float], height: int, width: int
) -> None:
    image = _draw(seed, height, width)
    rows, columns = np.indices(image.shape)
    shifted = image + plane[0] + plane[1] * rows + plane[2] * columns
    found, expected = checkerboard(shifted, period), checkerboard(image, period)
    assert _square(found.amplitude) == pytest.approx(_square(expected.amplitude), abs=1e-9)


@few
@given(seed=seeds, period=small_periods, height=sides, width=sides)
def test_rows_and_columns_count_alike(seed: int, period: int, height: int, width: int) -> None:
    image = _draw(seed, height, width)
    _assert_same(checkerboard(image.T, period), checkerboard(image, period))


@few
@given(seed=seeds, period=small_periods, number=st.integers(1, 3), channels=st.integers(1, 3))
def test_images_and_channels_are_averaged_alike(seed: int, period: int, number: int, channels: int) -> None:
    images = _draw(seed, number, channels, 40, 37)
    found = checkerboard(images, period)
    _assert_same(checkerboard(images[::-1, ::-1], period), found)
    single = [checkerboard(image, period).amplitude for image in images.reshape(-1, 40, 37)]
    assert _square(found.amplitude) == pytest.approx(float(np.mean([*map(_square, single)])), rel=1e-9)


def test_more_images_lower_the_detection_level_and_channels_do_not() -> None:
    images = _draw(0, 3, 1, 64, 64)
    levels = [checkerboard(image).detection_level for image in images]
    # sd is half the square of the level; sd of a mean is the root of the sum of squares, over the number
    expected = math.sqrt(math.sqrt(sum(level**4 for level in levels)) / 3)
    assert checkerboard(images).detection_level == pytest.approx(expected, rel=1e-9)
    stacked = checkerboard(images.transpose(1, 0, 2, 3)).detection_level
    assert stacked == pytest.approx(math.sqrt(sum(level**2 for level in levels) / 3), rel=1e-9)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.float16, torch.bfloat16, torch.float32], ids=str
)
def test_number_types_agree(dtype: torch.dtype) -> None:
    image = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(0))
    _assert_same(checkerboard(image.to(dtype), 4), checkerboard(image, 4))


def test_nothing_is_changed_and_no_graph_is_kept() -> None:
    image = torch.from_numpy(_draw(0, 2, 64, 64)).requires_grad_()
    before = image.detach().clone()
    with torch.device("meta"):  # where tensors are made by default must not matter
        found = checkerboard(image * 1.0)
    assert type(found.amplitude) is float
    assert torch.equal(image.detach(), before)
    _assert_same(checkerboard(before.numpy()), found)


@pytest.mark.cuda
def test_devices_agree() -> None:
    image = torch.from_numpy(_draw(0, 2, 3, 128, 130))
    _assert_same(checkerboard(image.to("cuda"), 8), checkerboard(image, 8))


@pytest.mark.parametrize(
    ("shape", "patches", "is_known"),
    [
        pytest.param((32, 32), 1, False, id="1"),
        pytest.param((47, 64), 3, False, id="3"),
        pytest.param((48, 48), 4, True, id="4"),
        pytest.param((128, 128), 9, True, id="9"),
    ],
)
def test_detection_needs_four_patches(shape: tuple[int, int], patches: int, is_known: bool) -> None:
    found = checkerboard(make_checkerboard(shape))
    assert found.patches == patches
    assert math.isnan(found.detection_level) != is_known
    assert found.is_detected == is_known
    assert found.amplitude == pytest.approx(1, rel=1e-9)


def test_less_than_the_surroundings_is_negative() -> None:
    waves = np.fft.fft2(_draw(0, 256, 256))
    around = np.r_[122:135]  # one and a half bins of a patch on each side of the line
    for rows, columns in ((around, around), (around, around - 128), (around - 128, around)):
        waves[np.ix_(rows, columns)] = 0
    found = checkerboard(np.fft.ifft2(waves).real)
    assert found.amplitude < -0.5 * found.detection_level
    assert not found.is_detected


def test_constants_hold_nothing() -> None:
    for value in (0.0, 1.0, -255.0, 1e6):
        found = checkerboard(np.full((64, 64), value))
        assert abs(found.amplitude) <= found.detection_level or value == found.amplitude == 0
        assert not found.is_detected


def _make_result(**changes: Any) -> CheckerboardResult:
    values = {
        "amplitude": 0.0312,
        "detection_level": 0.00861,
        "noise_level": 0.005,
        "by_scale": {2: 0.0312},
        "period": 2,
        "patches": 49,
    }
    return CheckerboardResult(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "text", "is_detected"),
    [
        pytest.param(
            {},
            "checkerboard: 0.0312 image units (period 2), above the detection level of 0.00861",
            True,
            id="detected",
        ),
        pytest.param(
            {"amplitude": 0.005, "unit": "8-bit levels"},
            "no checkerboard found: below the detection level of 0.00861 8-bit levels (period 2)",
            False,
            id="below",
        ),
        pytest.param(
            {"amplitude": 2.0, "period": 4, "by_scale": {2: 0.5, 4: 1.94}},
            "checkerboard: 2 image units (period 4), above the detection level of 0.00861: 0.5 of period 2,"
            " 1.94 of period 4",
            True,
            id="two-scales",
        ),
        pytest.param(
            {"detection_level": math.nan},
            "checkerboard: 0.0312 image units (period 2), too few patches for a detection level",
            False,
            id="unknown",
        ),
    ],
)
def test_result_reads_well(changes: dict[str, Any], text: str, is_detected: bool) -> None:
    result = _make_result(**changes)
    assert str(result) == text
    assert result.is_detected is is_detected


def test_result_has_the_unit_of_the_image() -> None:
    image = np.full((64, 64, 3), 7, np.uint8)
    assert checkerboard(image).unit == "8-bit levels"
    assert checkerboard(image / 255).unit == "image units"
    assert checkerboard(image[None], channels="last").unit == "8-bit levels"


def test_result_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        _make_result().amplitude = 1.0  # type: ignore[misc] # what must not work


@pytest.mark.parametrize(
    ("image", "period", "message"),
    [
        pytest.param(np.full((64, 64), np.nan), 2, "image: holds NaN or infinity", id="nan"),
        pytest.param(torch.zeros(512, 512, 3), 2, r"image: shape .* seems to have them last", id="channels-last"),
        pytest.param(np.zeros((31, 64)), 2, "image: 31×64 pixels .* at least 32×32 are needed", id="too-small"),
        pytest.param(np.zeros((127, 200)), 8, "period 8; at least 128×128 are needed", id="too-small-for-8"),
        pytest.param(np.zeros((255, 999)), 32, "period 32; at least 256×256 are needed", id="too-small-for-32"),
        pytest.param(np.zeros((999, 999)), 33, "period: 33 is not a whole number from 2 to 32", id="period-33"),
        pytest.param(np.zeros((64, 64)), 1, "period: 1 is not", id="period-1"),
        pytest.param("picture.png", 2, "image: a str is neither", id="name-of-a-file"),
    ],
)
def test_wrong_use_is_refused(image: Any, period: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        checkerboard(image, period)
