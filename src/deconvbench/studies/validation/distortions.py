"""Changes of one and the same size to a clean image: a checkerboard, and what a score may mistake for one.

All differ from the clean image by the same RMS, so the mean squared error, and with it PSNR, is the same for
all: what tells them apart is what each is. numpy in, numpy out; all chance comes from the generator handed in.
"""

import numpy as np
from scipy import ndimage, optimize

from deconvbench.errors import UsageError
from deconvbench.studies.validation.images import (
    Image,
    draw_bars,
    draw_ramp,
    draw_signs,
    make_alternating_tile,
    measure_frequency,
    spread_tile,
)

CHECKERBOARDS = ("checkerboard", "sign_flips")
CHANGES = (*CHECKERBOARDS, "clean", "blur", "noise", "texture", "bars", "ramp")
# cycles per pixel: as fine as texture gets, up to the frequency of a row or column that alternates
_TEXTURE_BAND = (0.3, 0.5)
# pixels; no image with contrast stays within any RMS of interest under a blur as wide as this
_WIDEST_BLUR = 64.0
_NARROWEST_BLUR = 1e-2


def make_changes(
    image: Image, rng: np.random.Generator, amplitude: float, *, region: int = 64
) -> dict[str, Image]:
    """Change an image in each way, by one RMS.

    Parameters
    ----------
    image : ndarray, shape (H, W)
        The clean image.
    rng : Generator
        Source of chance.
    amplitude : float
        RMS of each change, in the image's units.
    region : int
        Side in pixels of the regions in which the checkerboard has one sign.

    Returns
    -------
    dict of str to ndarray
        The changed images in the order of `CHANGES`; ``clean`` is the image itself.

    Raises
    ------
    UsageError
        If no blur changes the image by as much.
    """
    window = (slice(image.shape[0]), slice(image.shape[1]))
    board = spread_tile(make_alternating_tile(), image.shape)
    added = {
        "checkerboard": board,
        "sign_flips": board * draw_signs(rng, image.shape, region),
        "clean": np.zeros(image.shape),
        "blur": blur_by(image, amplitude) - image,
        "noise": rng.standard_normal(image.shape),
        "texture": draw_texture(rng, image.shape),
        "bars": draw_bars(rng, max(image.shape))[window],
        "ramp": draw_ramp(max(image.shape))[window],
    }
    return {name: image + _scale(added[name], amplitude) for name in CHANGES}


def _scale(change: Image, amplitude: float) -> Image:
    rms = float(np.sqrt(np.mean(change**2)))
    return change * (amplitude / rms) if rms > 0 else change


def draw_texture(rng: np.random.Generator, shape: tuple[int, ...]) -> Image:
    """Draw fine texture without a period: noise between .3 and .5 cycles per pixel.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    shape : (int, int)
        Height and width.

    Returns
    -------
    ndarray, shape `shape`, float64
        Mean 0.
    """
    height, width = shape
    frequency = measure_frequency(height, width)
    low, high = _TEXTURE_BAND
    white = np.fft.rfft2(rng.standard_normal((height, width)))
    band = np.where((frequency > low) & (frequency < high), white, 0)
    return np.asarray(np.fft.irfft2(band, s=(height, width)))


def blur_by(image: Image, amplitude: float) -> Image:
    """Blur an image with the Gaussian that changes it by a given RMS.

    Parameters
    ----------
    image : ndarray, shape (H, W)
        The clean image.
    amplitude : float
        RMS of the difference, in the image's units; 0 gives the image back.

    Returns
    -------
    ndarray, shape (H, W), float64

    Raises
    ------
    UsageError
        If even a very wide Gaussian changes it by less.
    """
    if amplitude == 0:
        return image.copy()

    def miss(log_width: float) -> float:
        blurred = ndimage.gaussian_filter(image, np.exp(log_width))
        return float(np.sqrt(np.mean((blurred - image) ** 2))) - amplitude

    low, high = np.log(_NARROWEST_BLUR), np.log(_WIDEST_BLUR)
    if miss(high) < 0:
        raise UsageError(f"amplitude: {amplitude} is more than any blur changes this image by")
    width = np.exp(optimize.brentq(miss, low, high, xtol=1e-6))
    return np.asarray(ndimage.gaussian_filter(image, width))
