"""Block edges of random sign: planted steps, JPEG, enlarged pixels, and photographs without any."""

import io
import math
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image as Pictures

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import BlockEdgeResult, block_edge, checkerboard
from tests.measure.artifacts.content import Image, draw_one_over_f, repeat_tile


def _draw_blocks(seed: int, period: int, side: int) -> Image:
    """Blocks of random level, deviation 1: steps of RMS √2."""
    count = -(-side // period)
    blocks = np.random.default_rng(seed).standard_normal((count, count))
    return np.asarray(np.kron(blocks, np.ones((period, period)))[:side, :side], np.float64)


def _compress(image: Image, quality: int) -> Image:
    file = io.BytesIO()
    Pictures.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    file.seek(0)
    return np.asarray(Pictures.open(file), np.float64)


@pytest.mark.parametrize("period", [4, 5, 8, 16, 32], ids="P{}".format)
def test_steps_read_their_rms(period: int) -> None:
    blocks = _draw_blocks(0, period, 320)
    steps = [np.diff(blocks, axis=axis) for axis in (0, 1)]
    # only every P-th can be a step
    expected = math.sqrt(sum(np.mean(s**2) * s.shape[a] / (s.shape[a] // period) for a, s in enumerate(steps)) / 2)
    found = block_edge(blocks, period)
    assert found.amplitude == pytest.approx(expected, rel=0.05)
    assert (found.is_detected, found.offset, found.period) == (True, (0, 0), period)


@pytest.mark.parametrize("cut", [(0, 3), (5, 0), (7, 6)], ids=str)
def test_crops_move_the_offset_and_keep_the_amplitude(cut: tuple[int, int]) -> None:
    image = 3 * draw_one_over_f(0) + _draw_blocks(1, 8, 256)
    whole, part = block_edge(image), block_edge(image[cut[0] :, cut[1] :])
    assert whole.offset == (0, 0)
    assert part.offset == (-cut[0] % 8, -cut[1] % 8)
    assert part.amplitude == pytest.approx(whole.amplitude, rel=0.05)
    assert part.amplitude == pytest.approx(math.sqrt(2), rel=0.1)


@pytest.mark.parametrize("gain", [-1.0, 1e-3, 255.0], ids=str)
def test_linear_in_gain(gain: float) -> None:
    image = draw_one_over_f(0) + _draw_blocks(1, 8, 256)
    found, plain = block_edge(gain * image), block_edge(image)
    assert found.amplitude == pytest.approx(abs(gain) * plain.amplitude, rel=1e-9)
    assert found.detection_level == pytest.approx(abs(gain) * plain.detection_level, rel=1e-9)


def test_a_checkerboard_is_not_a_block_edge_and_a_block_edge_not_a_checkerboard() -> None:
    content = draw_one_over_f(0)
    tile = np.random.default_rng(0).standard_normal((8, 8))
    board = content + 0.1 * repeat_tile((tile - tile.mean()) / tile.std(), content.shape)
    assert checkerboard(board, 8).is_detected
    assert not block_edge(board).is_detected
    blocks = content + 0.3 * _draw_blocks(0, 8, 256)
    assert block_edge(blocks).is_detected
    assert checkerboard(blocks, 8).amplitude < 0.1


def test_flat_and_sloping_images_have_none() -> None:
    rows, columns = np.mgrid[:64, :64]
    for image in (np.full((64, 64), 7.0), (rows - 2.0 * columns) / 255):
        found = block_edge(image)
        assert not found.is_detected
        assert abs(found.amplitude) < 1e-9


@pytest.mark.parametrize("name", ["camera", "coins", "astronaut", "gravel"])
def test_jpeg_and_nearest_are_found_in_photographs_and_clean_ones_are_clean(name: str) -> None:
    photograph = np.asarray(getattr(skimage.data, name)(), np.float64)
    photograph = photograph.mean(-1) if photograph.ndim == 3 else photograph
    height, width = (side // 2 for side in photograph.shape)
    half = photograph[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3))
    assert not block_edge(half).is_detected
    found = block_edge(_compress(half, 50))
    assert (found.is_detected, found.offset) == (True, (0, 0))
    enlarged = block_edge(np.kron(half[:40, :40], np.ones((8, 8))))
    assert (enlarged.is_detected, enlarged.offset) == (True, (0, 0))
    steps = np.concatenate([np.diff(half[:40, :40], axis=axis).ravel() for axis in (0, 1)])
    assert enlarged.amplitude == pytest.approx(float(np.sqrt(np.mean(steps**2))), rel=0.1)


def test_images_and_channels_are_taken_together() -> None:
    images = torch.from_numpy(np.stack([_draw_blocks(seed, 8, 96) for seed in range(4)]).reshape(2, 2, 96, 96))
    found = block_edge(images)
    singles = [block_edge(image).amplitude for image in images.flatten(0, 1)]
    assert found.amplitude == pytest.approx(float(np.sqrt(np.mean(np.square(singles)))), rel=0.05)


@pytest.mark.parametrize(
    ("shape", "period", "message"),
    [
        ((39, 90), 8, "image: 39×90 pixels .* too few for blocks of 8; at least 40×40 are needed"),
        ((90, 90), 3, "period: 3 is not a whole number from 4 to 64"),
        ((90, 90), 65, "period: 65 is not"),
    ],
    ids=["too-small", "period-3", "period-65"],
)
def test_wrong_use_is_refused(shape: tuple[int, int], period: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        block_edge(np.zeros(shape), period)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"amplitude": 2.5}, "block edges: 2.5 image units (period 8), above the detection level of 0.7"),
        ({"amplitude": -0.1}, "no block edges found: below the detection level of 0.7 image units (period 8)"),
    ],
    ids=["detected", "below"],
)
def test_result_reads_well(values: dict[str, Any], text: str) -> None:
    assert str(BlockEdgeResult(**{"detection_level": 0.7, "period": 8, "offset": (0, 0), **values})) == text
