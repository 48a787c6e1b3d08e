import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.studies.validation import images
from deconvbench.studies.validation.images import (
    CONTENTS,
    draw_bars,
    draw_content,
    draw_discs,
    draw_one_over_f,
    draw_ramp,
    draw_signs,
    draw_tile,
    make_alternating_tile,
    make_rng,
    measure_frequency,
    normalise,
    plant,
    spread_tile,
)

DRAWERS = {"1/f": draw_one_over_f, "discs": draw_discs, "bars": draw_bars}


@pytest.mark.parametrize("name", DRAWERS)
def test_drawn_images_have_unit_contrast_and_come_from_their_seed(name: str) -> None:
    draw = DRAWERS[name]
    image = draw(make_rng(3, name), 96)
    assert image.shape == (96, 96)
    assert image.mean() == pytest.approx(0, abs=1e-12)
    assert image.std() == pytest.approx(1)
    np.testing.assert_array_equal(image, draw(make_rng(3, name), 96))
    assert not np.array_equal(image, draw(make_rng(4, name), 96))


def test_amplitude_falls_as_one_over_f() -> None:
    power = np.mean([np.abs(np.fft.rfft2(draw_one_over_f(make_rng(s), 128))) ** 2 for s in range(20)], axis=0)
    frequency = measure_frequency(128, 128)
    inside = (frequency > 0.02) & (frequency < 0.5)
    slope = np.polyfit(np.log(frequency[inside]), np.log(power[inside]), 1)[0]
    assert slope == pytest.approx(-2, abs=0.05)


def test_frequencies_are_cycles_per_pixel() -> None:
    frequency = measure_frequency(8, 6)
    assert frequency.shape == (8, 4)
    assert frequency[0, 0] == 0
    assert frequency[0, 3] == frequency[4, 0] == 0.5
    assert frequency.max() == pytest.approx(np.sqrt(0.5))


def test_discs_have_edges_and_flat_insides() -> None:
    image = draw_discs(make_rng(0), 128)
    steps = np.abs(np.diff(image, axis=1))
    assert np.mean(steps < 1e-12) > 0.8
    assert steps.max() > 1


def test_edges_of_bars_run_along_the_grid() -> None:
    image = draw_bars(make_rng(0), 64)
    steps = np.diff(image, axis=1) != 0
    # an edge within a row goes on in the next one, but where a shape ends
    assert np.mean(steps[1:][steps[:-1]]) > 0.8


def test_a_ramp_is_a_plane() -> None:
    ramp = draw_ramp(32)
    for axis in (0, 1):
        assert np.abs(np.diff(ramp, 2, axis=axis)).max() < 1e-12


@pytest.mark.parametrize("value", [0.0, 0.1, -3e8])
def test_a_constant_has_no_contrast(value: float) -> None:
    with pytest.raises(UsageError, match="image: is constant"):
        normalise(np.full((5, 5), value))


@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-100, 100), seed=st.integers(0, 100))
@settings(deadline=None, max_examples=20)
def test_contrast_is_all_that_is_taken_out(gain: float, offset: float, seed: int) -> None:
    image = make_rng(seed).standard_normal((9, 7))
    np.testing.assert_allclose(normalise(gain * image + offset), normalise(image), atol=1e-8)


def test_the_image_of_a_seed_is_the_same_everywhere() -> None:
    for content in CONTENTS:
        first = draw_content(content, 5, 64)
        make_rng(5).standard_normal(100)
        np.testing.assert_array_equal(first, draw_content(content, 5, 64))
    assert make_rng(1, "a").integers(2**62) != make_rng(1, "b").integers(2**62)
    assert make_rng(1, "tile", 2).integers(2**62) != make_rng(1, "tile", 3).integers(2**62)


@pytest.mark.parametrize("period", [2, 3, 4, 8])
def test_tiles_have_mean_0_and_rms_1(period: int) -> None:
    tile = draw_tile(make_rng(0), period)
    assert tile.shape == (period, period)
    assert tile.sum() == pytest.approx(0, abs=1e-12)
    assert np.mean(tile**2) == pytest.approx(1)


def test_a_tile_needs_two_pixels() -> None:
    with pytest.raises(UsageError, match="period: 1 is below 2"):
        draw_tile(make_rng(0), 1)


@given(height=st.integers(1, 20), width=st.integers(1, 20), period=st.integers(2, 5), amplitude=st.floats(0, 10))
@settings(deadline=None, max_examples=30)
def test_what_is_planted_repeats(height: int, width: int, period: int, amplitude: float) -> None:
    tile = draw_tile(make_rng(period), period)
    planted = plant(np.zeros((height, width)), tile, amplitude)
    expected = [[amplitude * tile[i % period, j % period] for j in range(width)] for i in range(height)]
    np.testing.assert_array_equal(planted, np.array(expected))


def test_a_checkerboard_alternates() -> None:
    board = spread_tile(make_alternating_tile(), (3, 4))
    np.testing.assert_array_equal(board, [[1, -1, 1, -1], [-1, 1, -1, 1], [1, -1, 1, -1]])


@pytest.mark.parametrize("seed", range(8))
def test_signs_are_constant_within_regions_and_do_flip(seed: int) -> None:
    signs = draw_signs(make_rng(seed), (70, 40), 32)
    assert signs.shape == (70, 40)
    assert set(np.unique(signs)) == {-1, 1}
    for top in (0, 32, 64):
        for left in (0, 32):
            assert np.unique(signs[top : top + 32, left : left + 32]).size == 1


def test_a_single_region_has_one_sign_or_the_other() -> None:
    assert np.abs(draw_signs(make_rng(0), (10, 10), 16)).min() == 1


def test_images_are_drawn_without_torch() -> None:
    assert "torch" not in vars(images)


def test_bars_are_never_covered_by_one_shape() -> None:
    # with this seed the last shape drawn is as large as the image
    assert draw_bars(make_rng(31, "bars"), 256).std() == pytest.approx(1)
