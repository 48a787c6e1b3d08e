"""Images whose content is known, of mean 0 and deviation 1, and the patterns that tests plant in them."""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]

SEEDS = range(12)


def normalise(image: NDArray[Any]) -> Image:
    """Bring an image to mean 0 and deviation 1."""
    values = np.asarray(image, dtype=np.float64)
    found: Image = (values - values.mean()) / values.std()
    return found


@functools.cache
def draw_one_over_f(seed: int, size: int = 256) -> Image:
    """Draw noise whose amplitude falls off as 1/f, as that of photographs does."""
    frequency = np.fft.fftfreq(size)
    radius = np.hypot(frequency[:, None], frequency)
    radius[0, 0] = np.inf
    white = np.random.default_rng(seed).standard_normal((size, size))
    return _freeze(normalise(np.fft.ifft2(np.fft.fft2(white) / radius).real))


@functools.cache
def draw_discs(seed: int, size: int = 256) -> Image:
    """Draw discs that hide one another, with hard edges in all directions."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size))
    rows, columns = np.mgrid[:size, :size]
    for _ in range(200):
        row, column = rng.uniform(-20, size + 20, 2)
        radius = rng.uniform(4, 48)
        image[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = rng.standard_normal()
    return _freeze(normalise(image))


@functools.cache
def draw_bars(seed: int, size: int = 256) -> Image:
    """Draw bars across the whole image, three along the rows and three along the columns."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size))
    for number in range(6):
        width = rng.integers(3, 40)
        first = rng.integers(0, size - width)
        along = image if number % 2 else image.T
        along[first : first + width] += rng.standard_normal()
    return _freeze(normalise(image))


@functools.cache
def draw_rectangles(seed: int, size: int = 256) -> Image:
    """Draw rectangles that hide one another, their sides along the axes."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size))
    for _ in range(60):
        row, column = rng.integers(0, size, 2)
        height, width = rng.integers(3, 100, 2)
        image[row : row + height, column : column + width] = rng.standard_normal()
    return _freeze(normalise(image))


def make_checkerboard(shape: tuple[int, ...], amplitude: float = 1.0) -> Image:
    """Make pixels of ±amplitude, neighbours of opposite sign."""
    height, width = shape
    board: Image = amplitude * (1.0 - 2.0 * (np.indices((height, width)).sum(0) % 2))
    return board


def repeat_tile(tile: Image, shape: tuple[int, ...]) -> Image:
    """Repeat a tile over an image of this shape."""
    (rows, columns), (height, width) = tile.shape, shape
    found: Image = np.tile(tile, (-(-height // rows), -(-width // columns)))[:height, :width]
    return found


def draw_pattern(seed: int, period: int, shape: tuple[int, ...], amplitude: float = 1.0) -> Image:
    """Draw a pattern of that period with mean 0 and RMS amplitude, at P = 2 the checkerboard."""
    if period == 2:
        return make_checkerboard(shape, amplitude)
    tile = np.random.default_rng(1000 + seed).standard_normal((period, period))
    return amplitude * repeat_tile(normalise(tile), shape)


def _freeze(image: Image) -> Image:
    # cached, so a test that wrote into it would change what the others see
    image.setflags(write=False)
    return image
