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
# for which patches of about 64 pixels leave that distance
_LARGEST_PERIOD = 8


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
        If it is not a whole number from 2 to 8.
    """
    try:
        return check_whole("period", period, 2, _LARGEST_PERIOD)
    except UsageError as error:
        raise UsageError(f"period: {quote(period)} is not a whole number from 2 to {_LARGEST_PERIOD}") from error


def choose_patch_size(height: int, width: int, period: int) -> int:
    """Side of the patches for images of this size: P·round(64/P), or P·round(32/P) below 128 pixels.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels.
    period : int
        Period P in pixels, 2 to 8.

    Returns
    -------
    int
        Side B of a patch: a multiple of P, at least 8·P.

    Raises
    ------
    UsageError
        If the image is too small for that.
    """
    small, large = (period * round(side / period) for side in (_SMALL_PATCH, _PATCH))
    needed = small if small >= _BINS_PER_LINE * period else _LARGE_IMAGE
    if min(height, width) < needed:
        raise UsageError(
            f"image: {height}×{width} pixels (the last two axes) are too few for period {period};"
            f" at least {needed}×{needed} are needed"
        )
    return large if min(height, width) >= _LARGE_IMAGE else small


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
    position = torch.arange(patch_size, dtype=torch.float64, device=image.device) - (patch_size - 1) / 2
    # a patch times this, summed, is the slope of its least-squares plane
    slope = position / (patch_size * position.square().sum())
    window = torch.hann_window(patch_size, periodic=True, dtype=torch.float64, device=image.device)
    taper = torch.outer(window, window) / window.sum() ** 2
    rows = image.unfold(0, patch_size, hop).unfold(1, patch_size, hop)
    power = image.new_zeros(patch_size, patch_size // 2 + 1)
    # one row of patches at a time stays in the cache, and takes the same memory for an image of any height
    for patches in rows:
        level = patches.mean((-2, -1))[:, None, None]
        down, right = ((patches.sum(axis) @ slope)[:, None, None] for axis in (-1, -2))
        plane = level + down * position[:, None] + right * position
        waves = torch.fft.rfft2((patches - plane) * taper)
        power += (waves.real.square() + waves.imag.square()).sum(0)
    count = rows.shape[0] * rows.shape[1]
    return power / count, count
