"""Spectra of pictures."""

import numpy as np
import pytest

from deconvbench.plots.article.spectra import list_grid_lines, measure_spectrum

SIZE = 64
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def as_pixels(values: np.ndarray) -> np.ndarray:
    pixels: np.ndarray = np.rint(values)[..., None].repeat(3, 2).astype(np.uint8)
    return pixels


@pytest.mark.parametrize(
    ("wave", "frequency"),
    [
        pytest.param((-1.0) ** (ROWS + COLUMNS), (0.5, 0.5), id="checkerboard"),
        pytest.param((-1.0) ** COLUMNS, (0, 0.5), id="columns"),
        pytest.param(np.sqrt(2) * np.cos(np.pi * ROWS / 2 + np.pi / 4), (0.25, 0), id="every-four-rows"),
    ],
)
def test_a_wave_is_at_its_frequency_with_its_power(wave: np.ndarray, frequency: tuple[float, float]) -> None:
    levels = 10.0
    spectrum = measure_spectrum(as_pixels(128 + levels * wave))
    row, column = (round((value + 0.5) * SIZE) for value in frequency)
    # a wave of a frequency that is not its own mirror image has its power in two places
    halves = 1 if set(frequency) <= {0, 0.5} else 2
    assert spectrum[row, column] == pytest.approx(20 * np.log10(levels) - 10 * np.log10(halves), abs=0.05)
    peak = np.unravel_index(np.argmax(spectrum), spectrum.shape)
    assert tuple(map(int, peak)) in {
        (row, column), (SIZE - row, column), (row, SIZE - column), (SIZE - row, SIZE - column),
    }  # fmt: skip


def test_both_ends_are_there() -> None:
    spectrum = measure_spectrum(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8))
    assert spectrum.shape == (SIZE + 1, SIZE + 1)
    np.testing.assert_array_equal(spectrum[0], spectrum[-1])
    np.testing.assert_array_equal(spectrum[:, 0], spectrum[:, -1])
    # real pictures have spectra that are their own mirror image
    np.testing.assert_allclose(spectrum, spectrum[::-1, ::-1], atol=1e-6)


def test_a_ramp_of_brightness_leaves_nothing() -> None:
    ramp = as_pixels(20 + 2.0 * ROWS + COLUMNS)
    assert measure_spectrum(ramp).max() == pytest.approx(-60)


def test_colours_that_cancel_in_the_mean_are_seen() -> None:
    board = 10 * (-1.0) ** (ROWS + COLUMNS)
    pixels = np.stack([128 + board, 128 - board, np.full_like(board, 128)], axis=2).astype(np.uint8)
    assert measure_spectrum(pixels)[0, 0] == pytest.approx(20 - 10 * np.log10(1.5), abs=0.05)


def test_grid_lines_are_all_multiples() -> None:
    assert sorted(list_grid_lines(2)) == [(x, y) for x in (-0.5, 0, 0.5) for y in (-0.5, 0, 0.5) if x or y]
    lines = list_grid_lines(4)
    assert len(lines) == 24
    # ends that are one frequency counted once: the P² − 1 lines of the score
    assert len({(x % 1, y % 1) for x, y in lines}) == 15
