"""What an image's Laplacian has of a periodic pattern, with everything that is not the pattern clipped softly.

Edges of content are rare and strong, a checkerboard is everywhere and weak. The Laplacian lifts what is fine over
what is smooth; in each patch it is split into the pattern that most of its periods agree on (the median of each
phase) and a rest, and the rest is clipped at the size that it has on average. Divided by the share of a small
change that passes the clip, the two add up to a robust estimate of the pattern: a step of the M-estimator of its
phases. Weak patterns pass the clip like any small change, strong ones are in the medians, so both keep their
amplitude. Finds no lines and judges nothing: that is `spectrum`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from deconvbench.measure.artifacts.patches import make_taper

# the rest is clipped at its mean size times this: edges are, and noise loses little of what it knows
_CLIP = 1.0


def apply_laplacian(image: Tensor) -> Tensor:
    """Laplacian of one map: the sum of the four neighbours less four times the pixel.

    Parameters
    ----------
    image : Tensor, shape (H, W), float64
        One channel of one image.

    Returns
    -------
    Tensor, shape (H − 2, W − 2), float64
        Of the pixels that have four neighbours.
    """
    around = image[2:, 1:-1] + image[:-2, 1:-1] + image[1:-1, 2:] + image[1:-1, :-2]
    return around - 4 * image[1:-1, 1:-1]


def measure_transfer(rows: Tensor, columns: Tensor) -> Tensor:
    """Power of the Laplacian of a wave of power 1.

    Parameters
    ----------
    rows, columns : Tensor, float64
        Frequency of the wave downward and to the right, in cycles per pixel; of shapes that go together.

    Returns
    -------
    Tensor, float64
        |L|² with L = 4·sin²(πu) + 4·sin²(πv).
    """
    return (4 * (torch.pi * rows).sin().square() + 4 * (torch.pi * columns).sin().square()).square()


def mean_clipped_power(image: Tensor, patch_size: int, period: int) -> tuple[Tensor, int]:
    """Mean power spectrum of the Laplacian's patches, their pattern kept and their rest clipped.

    Patches lie as in `mean_power`. The outermost pixels, which lack a neighbour, have what is a period further in.

    Parameters
    ----------
    image : Tensor, shape (H, W), float64
        One channel of one image.
    patch_size : int
        Side B of a patch: a multiple of P, at most H and W.
    period : int
        Period P of the pattern in pixels.

    Returns
    -------
    power : Tensor, shape (B, B//2 + 1), float64
        In the layout of ``torch.fft.rfft2``; that of the image's own spectrum is `measure_transfer` times less.
    patches : int
        How many there are.
    """
    # one row of patches at a time stays in the cache, and takes the same memory for an image of any height
    sums, count = image.new_zeros(patch_size, patch_size // 2 + 1), 0
    for power in list_clipped_powers(image, patch_size, period):
        sums += power.sum(0)
        count += len(power)
    return sums / count, count


def list_clipped_powers(image: Tensor, patch_size: int, period: int) -> Iterator[Tensor]:
    """Make the spectra that `mean_clipped_power` is the mean of, a row of patches at a time.

    Parameters
    ----------
    image, patch_size, period
        As for `mean_clipped_power`.

    Yields
    ------
    Tensor, shape (K, B, B//2 + 1), float64
        Power of the K patches of a row.
    """
    taper = make_taper(patch_size)
    laplacian = apply_laplacian(image)
    for axis in (0, 1):
        before, after = laplacian.select(axis, period - 1), laplacian.select(axis, -period)
        laplacian = torch.cat([before.unsqueeze(axis), laplacian, after.unsqueeze(axis)], axis)
    for patches in laplacian.unfold(0, patch_size, patch_size // 2).unfold(1, patch_size, patch_size // 2):
        waves = torch.fft.rfft2(_clip_around_pattern(patches, period, taper) * taper)
        yield waves.real.square() + waves.imag.square()


def _clip_around_pattern(patches: Tensor, period: int, taper: Tensor) -> Tensor:
    """Pattern (medians of the phases) of each patch (K, B, B) plus its clipped rest over the gain of the clip."""
    count, side = patches.shape[:2]
    tiles = patches.reshape(count, side // period, period, side // period, period)
    phases = tiles.permute(0, 2, 4, 1, 3).flatten(3)
    # torch takes the lower of the two middle values; turned about, the upper one
    middle = (phases.median(-1)[0] - (-phases).median(-1)[0]) / 2
    pattern = middle[:, None, :, None, :]
    rest = (tiles - pattern).reshape(patches.shape)
    limit = _CLIP * rest.abs().mean((1, 2), keepdim=True)
    # a patch that is nothing but its pattern has no rest to clip
    ratio = torch.where(limit > 0, rest / limit, 0)
    shrinking = (1 + ratio.square()).rsqrt()
    clipped = rest * shrinking
    # what a small change of the patch keeps, in the mean under the window; not less than the rest itself does
    change = (shrinking.pow(3) * taper).sum((1, 2), keepdim=True)
    energy = (ratio.square() * taper).sum((1, 2), keepdim=True)
    whole = (ratio.square() * shrinking * taper).sum((1, 2), keepdim=True)
    clipped /= torch.maximum(change, torch.where(energy > 0, whole / energy, 0))
    return pattern.expand_as(tiles).reshape(patches.shape) + clipped
