"""Images whose checkerboard is known because it was planted: the ground truth of the validation.

Synthetic content, photographs that scikit-image brings along in its own wheel (nothing is ever downloaded), and
checkerboards of known amplitude to plant on them. Every image has mean 0 and deviation 1, so an amplitude is a
share of the contrast. numpy in, numpy out, float64; all chance comes from the generator that is handed in.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from skimage.color import rgb2gray

from deconvbench.errors import UsageError
from deconvbench.measure.photographs import read_photograph

Image = npt.NDArray[np.float64]
# draws one image of (size, size)
DrawContent = Callable[[np.random.Generator, int], Image]

PHOTOGRAPHS = ("camera", "brick", "coins", "astronaut")
_DISCS = 60
_SHAPES = 30
# below this share of the largest value an image counts as constant: rounding is all that is left
_CONSTANT = 1e-12


def normalise(image: npt.ArrayLike) -> Image:
    """Bring an image to mean 0 and standard deviation 1.

    Parameters
    ----------
    image : array_like, shape (H, W)
        Any units.

    Returns
    -------
    ndarray, shape (H, W), float64

    Raises
    ------
    UsageError
        If the image is constant, so that it has no contrast to go by.
    """
    values = np.asarray(image, dtype=np.float64)
    centred: Image = values - values.mean()
    deviation = centred.std()
    if deviation <= _CONSTANT * max(float(np.abs(values).max()), np.finfo(float).tiny):
        raise UsageError("image: is constant; an image with contrast is needed")
    return np.asarray(centred / deviation)


def draw_one_over_f(rng: np.random.Generator, size: int) -> Image:
    """Draw Gaussian noise whose amplitude falls as 1/f, as that of natural images does.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    size : int
        Height and width in pixels.

    Returns
    -------
    ndarray, shape (size, size), float64
        Mean 0, deviation 1; periodic.

    References
    ----------
    Field, "Relations between the statistics of natural images and the response properties of cortical cells",
    J. Opt. Soc. Am. A 4 (1987).
    """
    frequency = measure_frequency(size, size)
    frequency[0, 0] = np.inf
    white = np.fft.rfft2(rng.standard_normal((size, size)))
    return normalise(np.fft.irfft2(white / frequency, s=(size, size)))


def measure_frequency(height: int, width: int) -> Image:
    """Tabulate the distance from zero of every bin of a real transform.

    Parameters
    ----------
    height, width : int
        Of the image.

    Returns
    -------
    ndarray, shape (height, width // 2 + 1), float64
        Cycles per pixel, from 0 to √½.
    """
    return np.asarray(np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]))


def draw_discs(rng: np.random.Generator, size: int) -> Image:
    """Draw discs of random place, radius and grey, each over those before: hard edges in every direction.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    size : int
        Height and width in pixels; radii go from a 32nd to a fifth of it.

    Returns
    -------
    ndarray, shape (size, size), float64
        Mean 0, deviation 1.

    References
    ----------
    The dead-leaves model: Lee, Mumford, Huang, "Occlusion models for natural images", IJCV 41 (2001).
    """
    rows, columns = np.mgrid[:size, :size]
    image = np.zeros((size, size))
    for _ in range(_DISCS):
        row, column = rng.uniform(0, size, 2)
        radius = rng.uniform(size / 32, size / 5)
        image[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = rng.standard_normal()
    return normalise(image)


def draw_bars(rng: np.random.Generator, size: int) -> Image:
    """Draw axis-aligned bars and rectangles, each over those before: every edge runs along the pixel grid.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    size : int
        Height and width in pixels.

    Returns
    -------
    ndarray, shape (size, size), float64
        Mean 0, deviation 1.
    """
    image = np.zeros((size, size))
    for _ in range(_SHAPES):
        grey = rng.standard_normal()
        top, bottom = np.sort(rng.choice(size + 1, 2, replace=False))
        left, right = np.sort(rng.choice(size + 1, 2, replace=False))
        if bottom - top == size or right - left == size:
            continue  # a shape as large as the image could leave nothing but itself
        kind = rng.integers(3)
        image[
            slice(None) if kind == 0 else slice(top, bottom), slice(None) if kind == 1 else slice(left, right)
        ] = grey
    return normalise(image)


def draw_ramp(size: int) -> Image:
    """Make a plain slope of brightness, steeper down than across.

    Parameters
    ----------
    size : int
        Height and width in pixels.

    Returns
    -------
    ndarray, shape (size, size), float64
        Mean 0, deviation 1.
    """
    rows, columns = np.mgrid[:size, :size]
    return normalise(2.0 * rows + columns)


# what calibration curves are drawn on
CONTENTS: Mapping[str, DrawContent] = {"1/f": draw_one_over_f, "discs": draw_discs}


def make_rng(seed: int, *what: str | int) -> np.random.Generator:
    """Seed a generator by what it is for, so that nothing drawn depends on what was drawn before it.

    Parameters
    ----------
    seed : int
        Of the row.
    *what : str or int
        Names what will be drawn.

    Returns
    -------
    Generator
    """
    return np.random.default_rng([seed, *"|".join(map(str, what)).encode()])


def draw_content(content: str, seed: int, size: int) -> Image:
    """Draw the clean image of a seed, the same in every part of the study.

    Parameters
    ----------
    content : str
        One of `CONTENTS`.
    seed : int
        Of the row.
    size : int
        Side in pixels.

    Returns
    -------
    ndarray, shape (size, size), float64
        Mean 0, deviation 1.
    """
    return CONTENTS[content](make_rng(seed, content), size)


def load_photograph(name: str) -> Image:
    """Read one of the photographs in scikit-image's wheel, in grey.

    Parameters
    ----------
    name : str
        One of `PHOTOGRAPHS`.

    Returns
    -------
    ndarray, shape (H, W), float64
        Mean 0, deviation 1.

    Raises
    ------
    UsageError
        If there is no photograph of that name.
    SurroundingsError
        If this installation of scikit-image lacks the file.
    """
    if name not in PHOTOGRAPHS:
        raise UsageError(f"photograph: {name!r} is none of {', '.join(PHOTOGRAPHS)}")
    pixels = read_photograph(name)
    return normalise(rgb2gray(pixels) if pixels.ndim == 3 else pixels)


def make_alternating_tile() -> Image:
    """Make the checkerboard in the plain sense: +1 and −1 in turn, period 2.

    Returns
    -------
    ndarray, shape (2, 2), float64
        Mean 0, RMS 1.
    """
    return np.array([[1.0, -1.0], [-1.0, 1.0]])


def draw_tile(rng: np.random.Generator, period: int) -> Image:
    """Draw a random pattern that repeats, with energy in all lines of the grid.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    period : int
        Pixels after which it repeats, at least 2.

    Returns
    -------
    ndarray, shape (period, period), float64
        Mean 0, RMS 1.

    Raises
    ------
    UsageError
        If the period is below 2.
    """
    if period < 2:
        raise UsageError(f"period: {period} is below 2, and a pattern of one pixel has no checkerboard")
    return normalise(rng.standard_normal((period, period)))


def spread_tile(tile: Image, shape: tuple[int, ...]) -> Image:
    """Repeat a tile over an image, from its upper left corner.

    Parameters
    ----------
    tile : ndarray, shape (P, P)
        The pattern.
    shape : (int, int)
        Height and width to fill; the last tiles are cut.

    Returns
    -------
    ndarray, shape `shape`, float64
    """
    height, width = shape
    repeats = (-(-height // tile.shape[0]), -(-width // tile.shape[1]))
    return np.tile(tile, repeats)[:height, :width]


def plant(image: Image, tile: Image, amplitude: float) -> Image:
    """Plant a checkerboard on an image.

    Parameters
    ----------
    image : ndarray, shape (H, W)
        The content.
    tile : ndarray, shape (P, P)
        Mean 0, RMS 1, from `draw_tile` or `make_alternating_tile`.
    amplitude : float
        RMS of what is added, in the image's units.

    Returns
    -------
    ndarray, shape (H, W), float64
    """
    return image + amplitude * spread_tile(tile, image.shape)


def draw_signs(rng: np.random.Generator, shape: tuple[int, ...], region: int) -> Image:
    """Draw an independent sign for each square region of an image.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    shape : (int, int)
        Height and width.
    region : int
        Side of a region in pixels.

    Returns
    -------
    ndarray, shape `shape`, float64
        +1 or −1, constant within a region; both occur wherever there are two regions.
    """
    height, width = shape
    signs = rng.choice([-1.0, 1.0], (-(-height // region), -(-width // region)))
    if np.all(signs == signs.flat[0]):
        signs.flat[-1] *= -1  # a sign that never flips would be a plain checkerboard
    return np.kron(signs, np.ones((region, region)))[:height, :width]


def draw_crop(rng: np.random.Generator, photograph: Image, size: int) -> Image:
    """Cut a random square out of a photograph.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    photograph : ndarray, shape (H, W)
        From `load_photograph`.
    size : int
        Height and width in pixels.

    Returns
    -------
    ndarray, shape (size, size), float64
        Mean 0, deviation 1.

    Raises
    ------
    UsageError
        If the photograph is smaller.
    """
    height, width = photograph.shape
    if size > min(height, width):
        raise UsageError(f"size: {size} is more than a photograph of {height}×{width} pixels has")
    top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
    return normalise(photograph[top : top + size, left : left + size])
