"""Images cut into patches: the mean power spectrum that grid lines are looked for in.

What counts as a checkerboard is decided in `spectrum`, and what is taken for an image in `images`.
"""

import torch
from torch import Tensor

from deconvbench.arguments import check_whole
from deconvbench.errors import UsageError, quote

# sides of a patch, about, in pixels: for images whose shorter side is below 128 pixels, and from there on
_SMALL_PATCH, _PATCH, _LARGE_IMAGE = 32, 64, 128
# least distance of two grid lines in bins: a line fills ±1, and what surrounds it is read from ±2 to ±4
_BINS_PER_LINE = 8
# pixels; the patches for it have 256, and more are rarely alike
LARGEST_PERIOD = 32


def check_period(period: object) -> int:
    """Check that patches can be cut for a period.

    Parameters
    ----------
    period : object
        What was given as period P: a whole number of Python or numpy.

    Returns
    -------
    int
        The same number.

    Raises
    ------
    UsageError
        If it is not a whole number from 2 to 32.
    """
    try:
        return check_whole("period", period, 2, LARGEST_PERIOD)
    except UsageError as error:
        raise UsageError(f"period: {quote(period)} is not a whole number from 2 to {LARGEST_PERIOD}") from error


def choose_patch_size(height: int, width: int, period: int) -> int:
    """Side of the patches for images of this size: about 64 pixels, or about 32 below 128, and at least 8·P.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels.
    period : int
        Period P in pixels, 2 to 32.

    Returns
    -------
    int
        Side B of a patch: P·round(64/P), or P·round(32/P) where the image is smaller than 128 pixels and that is
        at least 8·P; 8·P from P = 9.

    Raises
    ------
    UsageError
        If the image is too small for that.
    """
    smallest = _BINS_PER_LINE * period
    small, large = (period * round(side / period) for side in (_SMALL_PATCH, _PATCH))
    large = max(large, smallest)
    needed = small if small >= smallest else max(_LARGE_IMAGE, large)
    if min(height, width) < needed:
        raise UsageError(
            f"image: {height}×{width} pixels (the last two axes) are too few for period {period};"
            f" at least {needed}×{needed} are needed"
        )
    return small if min(height, width) < max(_LARGE_IMAGE, large) else large


def make_taper(patch_size: int) -> Tensor:
    """Window that a patch is multiplied with before its spectrum is taken.

    Parameters
    ----------
    patch_size : int
        Side B of a patch.

    Returns
    -------
    Tensor, shape (B, B), float64
        Periodic Hann windows' outer product over its sum: a wave of amplitude 1 reads 1.
    """
    window = torch.hann_window(patch_size, periodic=True, dtype=torch.float64, device="cpu")
    return torch.outer(window, window) / window.sum() ** 2


def mean_power(image: Tensor, patch_size: int) -> tuple[Tensor, int]:
    """Mean power spectrum of the patches of one map, each without its plane and under a Hann window.

    Patches start at (0, 0) and lie half their side apart; incomplete ones are left out. The least-squares plane is
    removed from each, since a ramp leaks through the window into every bin.

    Parameters
    ----------
    image : Tensor, shape (H, W), float64
        One channel of one image.
    patch_size : int
        Side B of a patch, at most H and W.

    Returns
    -------
    power : Tensor, shape (B, B//2 + 1), float64
        Mean of |FFT|² over the squared sum of the window, in the layout of ``torch.fft.rfft2``: pixels of
        alternating sign and size a read a² in one bin.
    patches : int
        How many there are.
    """
    hop = patch_size // 2
    rows = image.unfold(0, patch_size, hop).unfold(1, patch_size, hop)
    power = image.new_zeros(patch_size, patch_size // 2 + 1)
    # one row of patches at a time stays in the cache, and takes the same memory for an image of any height
    for patches in rows:
        power += measure_powers(patches).sum(0)
    count = rows.shape[0] * rows.shape[1]
    return power / count, count


def measure_powers(patches: Tensor) -> Tensor:
    """Power spectrum of each of some patches, without its plane and under a Hann window.

    Parameters
    ----------
    patches : Tensor, shape (..., B, B), float64
        Of one map or of many.

    Returns
    -------
    Tensor, shape (..., B, B//2 + 1), float64
        As `mean_power` averages it.
    """
    patch_size = patches.shape[-1]
    position = torch.arange(patch_size, dtype=torch.float64, device=patches.device) - (patch_size - 1) / 2
    # a patch times this, summed, is the slope of its least-squares plane
    slope = position / (patch_size * position.square().sum())
    level = patches.mean((-2, -1))[..., None, None]
    down, right = ((patches.sum(axis) @ slope)[..., None, None] for axis in (-1, -2))
    plane = level + down * position[:, None] + right * position
    waves = torch.fft.rfft2((patches - plane) * make_taper(patch_size))
    power: Tensor = waves.real.square() + waves.imag.square()
    return power
