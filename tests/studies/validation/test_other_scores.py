import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.studies.validation.images import (
    draw_discs,
    draw_one_over_f,
    draw_tile,
    make_alternating_tile,
    make_rng,
    plant,
)
from deconvbench.studies.validation.other_scores import (
    average_profiles,
    measure_grid_rings,
    measure_high_frequencies,
    measure_neighbours,
    profile_spectrum,
    psnr_db,
    rms_of_psnr,
    spread_of_phase_means,
    sum_grid_rings,
    sum_high_frequencies,
)


def spread_reference(image: np.ndarray, period: int) -> float:
    """Phase by phase, as one would first write it."""
    height, width = (side // period * period for side in image.shape)
    means = [image[i:height:period, j:width:period].mean() for i in range(period) for j in range(period)]
    return float(np.std(means))


@given(height=st.integers(5, 20), width=st.integers(5, 20), period=st.integers(1, 5), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_phase_means_match_the_obvious_loop(height: int, width: int, period: int, seed: int) -> None:
    image = make_rng(seed).standard_normal((height, width))
    assert spread_of_phase_means(image, period) == pytest.approx(spread_reference(image, period), abs=1e-12)


@pytest.mark.parametrize("period", [2, 3, 4, 8])
def test_phase_means_read_a_checkerboard_alone(period: int) -> None:
    planted = plant(np.zeros((48, 48)), draw_tile(make_rng(0), period), 0.1)
    assert spread_of_phase_means(planted, period) == pytest.approx(0.1)


def test_an_image_of_less_than_a_period_has_no_phases() -> None:
    with pytest.raises(UsageError, match="image: 3×9 is smaller than period 4"):
        spread_of_phase_means(np.zeros((3, 9)), 4)


@pytest.mark.parametrize("shape", [(32, 32), (32, 48), (33, 31)], ids=str)
def test_the_profile_keeps_all_energy(shape: tuple[int, int]) -> None:
    image = make_rng(0).standard_normal(shape)
    profile = profile_spectrum(image)
    assert profile.energy.sum() == pytest.approx(np.mean(image**2))
    assert profile.bins.sum() == image.size
    # out to the corner of the spectrum
    assert len(profile.energy) - 1 == pytest.approx(profile.size * math.sqrt(0.5), abs=1)


def test_the_profile_matches_the_obvious_loop() -> None:
    image = make_rng(0).standard_normal((12, 16))
    power = np.abs(np.fft.fft2(image)) ** 2 / image.size**2
    energy = np.zeros(20)
    for u, v in np.ndindex(image.shape):
        row, column = (u if u <= 6 else u - 12) / 12, (v if v <= 8 else v - 16) / 16
        energy[round(math.hypot(row, column) * 12)] += power[u, v]
    profile = profile_spectrum(image)
    np.testing.assert_allclose(profile.energy, energy[: len(profile.energy)])
    np.testing.assert_allclose(profile.mean_power * profile.bins, profile.energy)


def test_a_wave_is_found_at_its_frequency() -> None:
    image = np.tile(np.cos(2 * np.pi * 0.25 * np.arange(64)), (64, 1))
    assert int(profile_spectrum(image).energy.argmax()) == 16


@pytest.mark.parametrize("amplitude", [0.01, 0.1])
def test_both_forms_read_a_checkerboard_alone(amplitude: float) -> None:
    flat = profile_spectrum(np.zeros((64, 64)))
    board = profile_spectrum(plant(np.zeros((64, 64)), make_alternating_tile(), amplitude))
    assert measure_high_frequencies(board, flat) == pytest.approx(amplitude)
    assert measure_grid_rings(board, flat, 2) == pytest.approx(amplitude)
    assert measure_high_frequencies(flat, board) == pytest.approx(-amplitude)
    assert measure_high_frequencies(board, board) == 0


@pytest.mark.parametrize("period", [2, 3, 4, 8])
def test_rings_of_the_grid_hold_every_pattern_of_the_period(period: int) -> None:
    side = 48
    flat = profile_spectrum(np.zeros((side, side)))
    board = profile_spectrum(plant(np.zeros((side, side)), draw_tile(make_rng(0), period), 0.1))
    assert measure_grid_rings(board, flat, period) == pytest.approx(0.1)


def test_noise_counts_by_the_share_of_the_spectrum_that_is_high() -> None:
    noise = make_rng(0).standard_normal((256, 256))
    flat = profile_spectrum(np.zeros((256, 256)))
    reading = measure_high_frequencies(profile_spectrum(noise), flat)
    assert reading == pytest.approx(math.sqrt(1 - math.pi * 0.45**2), abs=0.01)


def test_profiles_are_averaged_ring_by_ring() -> None:
    images = [draw_discs(make_rng(seed), 64) for seed in range(3)]
    profiles = [profile_spectrum(image) for image in images]
    mean = average_profiles(profiles)
    np.testing.assert_allclose(mean.energy, sum(profile.energy for profile in profiles) / 3)
    with pytest.raises(UsageError, match="profiles: are of images of different sizes"):
        average_profiles([profiles[0], profile_spectrum(np.zeros((64, 65)))])


@pytest.mark.parametrize("error", [0.03, 1.0])
def test_psnr_says_no_more_than_the_rms_error(error: float) -> None:
    clean = draw_one_over_f(make_rng(0), 64)
    noisy = clean + error * np.sign(make_rng(1).standard_normal((64, 64)))
    decibels = psnr_db(noisy, clean)
    assert decibels == pytest.approx(20 * math.log10(np.ptp(clean) / error))
    assert rms_of_psnr(decibels, clean) == pytest.approx(error)


def test_equal_images_have_infinite_psnr_and_no_error() -> None:
    clean = draw_one_over_f(make_rng(0), 64)
    assert psnr_db(clean, clean) == math.inf
    assert rms_of_psnr(math.inf, clean) == 0


def test_without_a_reference_the_spectrum_is_read_as_a_difference_from_nothing() -> None:
    image = make_rng(0).standard_normal((64, 64))
    profile, flat = profile_spectrum(image), profile_spectrum(np.zeros((64, 64)))
    assert sum_high_frequencies(profile) == pytest.approx(measure_high_frequencies(profile, flat))
    for period in (2, 4):
        assert sum_grid_rings(profile, period) == pytest.approx(measure_grid_rings(profile, flat, period))


@pytest.mark.parametrize("shape", [(8, 8), (9, 7), (2, 2)], ids=str)
def test_neighbours_are_compared_as_in_the_paper(shape: tuple[int, int]) -> None:
    image = make_rng(0).standard_normal(shape)
    height, width = (side // 2 * 2 for side in shape)
    x = torch.from_numpy(image[:height, :width])[None, None]
    down = functional.interpolate(x, scale_factor=0.5, mode="nearest", recompute_scale_factor=True)
    residual = x - functional.interpolate(down, scale_factor=2.0, mode="nearest")
    assert measure_neighbours(image) == pytest.approx(float(residual.square().mean().sqrt()))


def test_repeated_pixels_have_equal_neighbours() -> None:
    image = make_rng(0).standard_normal((8, 8)).repeat(2, axis=0).repeat(2, axis=1)
    assert measure_neighbours(image) == 0
    assert measure_neighbours(plant(np.zeros((8, 8)), make_alternating_tile(), 0.1)) == pytest.approx(0.1 * 2**0.5)
