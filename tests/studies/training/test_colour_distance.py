import math

import numpy as np
import pytest
import torch
from torch import Tensor

from deconvbench.errors import UsageError
from deconvbench.studies.training.colour_distance import _measure_amplitude, correlate_with_colour

GREY = torch.full((3,), 128.0)


def plant_boards(amplitudes: Tensor, period: int = 2) -> Tensor:
    """A residual with a checkerboard of its own amplitude in each patch of 32 pixels, the same in all channels."""
    rows, columns = np.indices((32, 32))
    board = torch.from_numpy(np.where((rows + columns) % period == 0, 1.0, -1.0 / (period - 1)))
    board = board / board.square().mean().sqrt()
    return torch.kron(amplitudes, board)[None, None].expand(1, 3, -1, -1).contiguous()


def fill_patches(levels: Tensor) -> Tensor:
    return torch.kron(levels, torch.ones(32, 32, dtype=torch.float64))[None, None].expand(1, 3, -1, -1)


@pytest.fixture
def amplitudes() -> Tensor:
    return torch.arange(12, dtype=torch.float64).reshape(3, 4)


@pytest.mark.parametrize("period", [2, 4])
def test_a_board_that_grows_with_the_distance_is_found(amplitudes: Tensor, period: int) -> None:
    residual = plant_boards(amplitudes, period)
    # brighter and darker than grey in turn: the distance grows, the brightness does not
    signs = torch.tensor([1, -1, 1, -1], dtype=torch.float64)
    far = fill_patches(128 + amplitudes * signs)
    assert correlate_with_colour(residual, far, GREY, period=period) == pytest.approx(1)
    near = fill_patches(128 + (12 - amplitudes) * signs)
    assert correlate_with_colour(residual, near, GREY, period=period) == pytest.approx(-1)


def test_chance_correlates_little() -> None:
    generator = torch.Generator().manual_seed(0)
    residual, targets = torch.randn(2, 4, 3, 256, 256, dtype=torch.float64, generator=generator)
    assert abs(correlate_with_colour(residual, targets, torch.zeros(3), period=2)) < 0.2


def test_patches_of_all_images_are_ranked_together(amplitudes: Tensor) -> None:
    residual = plant_boards(amplitudes)
    targets = fill_patches(128 + amplitudes)
    both = correlate_with_colour(
        torch.cat([residual, 2 * residual]), torch.cat([targets, targets + 50]), GREY, period=2
    )
    assert 0.5 < both < 1


@pytest.mark.parametrize("period", [2, 3, 4])
def test_the_amplitude_of_a_pure_board_is_its_own(period: int) -> None:
    side = 33 if period == 3 else 32
    tile = np.random.default_rng(0).standard_normal((period, period))
    tile = (tile - tile.mean()) / tile.std()
    board = torch.from_numpy(np.tile(tile, (side // period, side // period)))
    patch = torch.stack([board, board.flip(0), board.flip(1)])
    # the plane fitted to so few periods takes a little of it
    assert _measure_amplitude(2.5 * patch, period) == pytest.approx(2.5, rel=0.02)


@pytest.mark.parametrize("period", [2, 3, 4])
def test_the_amplitude_is_the_full_spectrum_at_the_lines(period: int) -> None:
    side = 33 if period == 3 else 32
    patch = torch.from_numpy(np.random.default_rng(1).standard_normal((3, side, side)))
    assert _measure_amplitude(patch, period) == pytest.approx(measure_reference(patch.numpy(), period))


def measure_reference(patch: np.ndarray, period: int) -> float:
    side = patch.shape[-1]
    rows, columns = np.indices((side, side)).reshape(2, -1)
    design = np.stack([np.ones(side * side), rows, columns], axis=1)
    window = np.hanning(side + 1)[:side]
    total = 0.0
    for channel in patch.reshape(len(patch), -1):
        rest = channel - design @ np.linalg.lstsq(design, channel, rcond=None)[0]
        spectrum = np.fft.fft2(rest.reshape(side, side) * np.outer(window, window)) / window.sum() ** 2
        lines = np.abs(spectrum[:: side // period, :: side // period]) ** 2
        total += lines.sum() - lines[0, 0]
    return math.sqrt(total / len(patch))


def test_what_cannot_be_ranked_is_nan(amplitudes: Tensor) -> None:
    residual, targets = plant_boards(amplitudes), fill_patches(amplitudes)
    assert math.isnan(correlate_with_colour(torch.zeros_like(residual), targets, GREY, period=2))
    assert math.isnan(correlate_with_colour(residual, torch.ones_like(targets), GREY, period=2))
    broken = residual.clone()
    broken[0, 0, 0, 0] = math.inf
    assert math.isnan(correlate_with_colour(broken, targets, GREY, period=2))


def test_images_smaller_than_a_patch_are_refused() -> None:
    small = torch.zeros(1, 3, 31, 64, dtype=torch.float64)
    with pytest.raises(UsageError, match="image: 31×33 pixels .* at least 32×32 are needed"):
        correlate_with_colour(small, small, GREY, period=2)
