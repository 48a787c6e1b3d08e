"""Power spectra of pictures, laid out to be looked at.

The same plane and window as in the checkerboard score, so that a peak in the picture is what the score adds up;
one patch, no floor, no number comes out of it.
"""

import numpy as np
import numpy.typing as npt

from deconvbench.plots.article.pixel_layout import Pixels

Floats = npt.NDArray[np.float64]
# below this a line is rounding, and its logarithm means nothing: levels²
_LEAST_POWER = 1e-6


def measure_spectrum(pixels: Pixels) -> Floats:
    """Power of each frequency, averaged over the colours.

    The least-squares plane is taken off and a Hann window laid over, so that neither a gradient nor the edges of
    the picture leave a cross.

    Parameters
    ----------
    pixels : ndarray, shape (N, N, 3), uint8
        N even.

    Returns
    -------
    ndarray, shape (N + 1, N + 1), float64
        Decibels relative to 1 level²; rows and columns from −½ to ½ cycle per pixel, both ends included.
    """
    size = len(pixels)
    values = pixels.astype(float)
    across = np.linspace(-1, 1, size)
    # rows, columns and a constant are orthogonal on a centred grid, so each coefficient stands alone
    for ramp in (np.ones((size, size)), *np.meshgrid(across, across)):
        share = np.einsum("hwc,hw->c", values, ramp) / (ramp**2).sum()
        values -= ramp[:, :, None] * share
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    window = np.multiply.outer(hann, hann)
    transform = np.fft.fftshift(np.fft.fft2(values * window[:, :, None], axes=(0, 1)), axes=(0, 1))
    power = (np.abs(transform) ** 2).mean(axis=2) / window.sum() ** 2
    decibels: Floats = 10 * np.log10(np.maximum(np.pad(power, ((0, 1), (0, 1)), mode="wrap"), _LEAST_POWER))
    return decibels


def list_grid_lines(period: int) -> list[tuple[float, float]]:
    """List the frequencies of everything that repeats with the period, but for the constant.

    Parameters
    ----------
    period : int
        P, in pixels.

    Returns
    -------
    list of (float, float)
        Cycles per pixel along columns and along rows, from −½ to ½, both ends included.
    """
    places = [index / period for index in range(-(period // 2), period // 2 + 1)]
    return [(across, down) for down in places for across in places if (across, down) != (0, 0)]
