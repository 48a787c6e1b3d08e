import math

import numpy as np
import pytest
import torch
from torch import Tensor

from deconvbench.errors import UsageError
from deconvbench.studies.training.colour_distance import (
    _measure_amplitudes,
    _measure_excesses,
    _measure_powers,
    correlate_grid_with_colour,
    correlate_with_colour,
)
from deconvbench.studies.training.images import load_images, make_test_batch, mean_colour

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
    assert float(_measure_amplitudes(_measure_powers(2.5 * patch[None]), period)) == pytest.approx(2.5, rel=0.02)


@pytest.mark.parametrize("period", [2, 3, 4])
def test_the_amplitude_is_the_full_spectrum_at_the_lines(period: int) -> None:
    side = 33 if period == 3 else 32
    patch = torch.from_numpy(np.random.default_rng(1).standard_normal((3, side, side)))
    found = float(_measure_amplitudes(_measure_powers(patch[None]), period))
    assert found == pytest.approx(measure_reference(patch.numpy(), period))


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


@pytest.mark.parametrize("period", [2, 4])
@pytest.mark.parametrize("noise", [0.0, 1.0], ids=["alone", "in noise"])
def test_a_grid_that_grows_with_the_distance_is_found(amplitudes: Tensor, period: int, noise: float) -> None:
    generator = torch.Generator().manual_seed(0)
    residual = plant_boards(amplitudes + 0.1, period)
    residual = residual + noise * torch.randn(residual.shape, generator=generator, dtype=torch.float64)
    far, near = fill_patches(128 + amplitudes), fill_patches(140 - amplitudes)
    assert correlate_grid_with_colour(residual, far, GREY, period=period) > 0.9
    assert correlate_grid_with_colour(residual, near, GREY, period=period) < -0.9


def make_texture(distances: Tensor, growth: float, slope: float, seed: int) -> Tensor:
    """Patches (n, 3, 32, 32) of noise, 1/f^slope, whose amplitude depends on the distance, and on chance."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(distances), 3, 32, 32, generator=generator, dtype=torch.float64)
    frequencies = torch.fft.fftfreq(32, dtype=torch.float64)
    radius = (frequencies[:, None].square() + frequencies.square()).sqrt().clamp_min(1 / 32)
    texture = torch.fft.ifft2(torch.fft.fft2(noise) / radius**slope).real
    chance = torch.randn(len(distances), generator=generator, dtype=torch.float64)
    size = 4 * torch.exp(growth * (distances / distances.mean() - 1) + 0.5 * chance)
    scaled: Tensor = texture / texture.std() * size[:, None, None, None]
    return scaled


@pytest.mark.parametrize("growth", [-2.0, 2.0], ids=["falls", "grows"])
@pytest.mark.parametrize(("slope", "period"), [(0.0, 4), (1.0, 2), (1.0, 4)], ids=["white", "P 2", "P 4"])
def test_texture_that_depends_on_the_colour_is_not_taken_for_a_grid(
    growth: float, slope: float, period: int
) -> None:
    distances = torch.rand(192, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 100 + 20
    targets = (distances / 3**0.5)[:, None, None, None].expand(-1, 3, 32, 32)
    board = plant_boards(torch.ones(1, 1, dtype=torch.float64), period)
    grids: dict[str, Tensor] = {
        "none": torch.zeros(1),
        "equal": board,
        "grows": board * (distances / distances.mean())[:, None, None, None],
    }
    found: dict[str, list[float]] = {name: [] for name in grids}
    textures = []
    for seed in range(3):
        texture = make_texture(distances, growth, slope, seed)
        textures.append(correlate_with_colour(texture, targets, torch.zeros(3), period=period))
        for name, grid in grids.items():
            found[name].append(correlate_grid_with_colour(texture + grid, targets, torch.zeros(3), period=period))
    assert abs(np.mean(textures)) > 0.6  # which the older measure follows
    # a single one scatters by .07
    assert abs(np.mean(found["none"])) < 0.17
    assert abs(np.mean(found["equal"])) < 0.17
    assert min(found["grows"]) > 0.6


@pytest.mark.parametrize("period", [2, 4])
def test_a_grid_is_found_in_the_texture_of_photographs(period: int) -> None:
    images = load_images(None)
    targets = 255 * make_test_batch(images, 128, 12)[1].double()
    mean = 255 * mean_colour(images)
    box = torch.full((3, 1, 3, 3), 1 / 9, dtype=torch.float64)
    smooth = torch.nn.functional.conv2d(
        torch.nn.functional.pad(targets, (1, 1, 1, 1), mode="reflect"), box, groups=3
    )
    texture = (targets - smooth) / 2  # about what a trained network misses
    colours = targets.unfold(-2, 32, 32).unfold(-2, 32, 32).mean((-2, -1))
    distances = (colours - mean[:, None, None]).norm(dim=1, keepdim=True)
    share = torch.kron(distances / distances.mean(), torch.ones(32, 32, dtype=torch.float64))
    board = plant_boards(torch.ones(4, 4, dtype=torch.float64), period)[0]

    def read(grid: Tensor | float) -> float:
        return correlate_grid_with_colour(texture + grid, targets, mean, period=period)

    assert correlate_with_colour(texture, targets, mean, period=period) < -0.2
    assert abs(read(0)) < 0.2
    assert abs(read(board)) < 0.2
    assert read(share * board) > 0.6
    assert read((share.max() - share) * board) < -0.6


@pytest.mark.parametrize("period", [2, 3, 4])
def test_the_excess_of_a_board_is_its_power_and_of_noise_none(period: int) -> None:
    side = 33 if period == 3 else 32
    tile = np.random.default_rng(0).standard_normal((period, period))
    board = torch.from_numpy(np.tile((tile - tile.mean()) / tile.std(), (side // period, side // period)))
    pure = _measure_powers(3 * board[None, None])
    assert float(_measure_excesses(pure, period)) == pytest.approx(9, rel=0.05)
    generator = torch.Generator().manual_seed(0)
    patches = 3 * torch.randn(400, 1, side, side, generator=generator, dtype=torch.float64)
    excesses = _measure_excesses(_measure_powers(patches), period)
    assert abs(float(excesses.mean())) < 0.3 * float(excesses.std())
    assert abs(float((excesses > 0).double().mean()) - 0.5) < 0.15


def test_a_grid_that_cannot_be_ranked_is_nan(amplitudes: Tensor) -> None:
    residual, targets = plant_boards(amplitudes), fill_patches(amplitudes)
    assert math.isnan(correlate_grid_with_colour(torch.zeros_like(residual), targets, GREY, period=2))
    assert math.isnan(correlate_grid_with_colour(residual, torch.ones_like(targets), GREY, period=2))
    residual[0, 0, 0, 0] = math.inf
    assert math.isnan(correlate_grid_with_colour(residual, targets, GREY, period=2))
