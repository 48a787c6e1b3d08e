"""The amplitude of a grid that is equally strong all over an image, from the patches that show it best.

`checkerboard` averages all patches alike, because a grid may be in some of them only. Most of its scatter comes
from the patches with the most texture. Where the patches agree on how strong the grid is, each can have the weight
that its scatter leaves it, and the same amplitude is read with less error; where they do not agree, nothing is
changed.
Measures the amplitude only: what counts as detected is `checkerboard`'s.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from deconvbench.measure.artifacts.images import Channels, Picture, read_images, split_magnitude
from deconvbench.measure.artifacts.levels import NORMAL, Estimate, Lines, estimate_amplitude
from deconvbench.measure.artifacts.lines import list_lines, read_surroundings, select_beside, take_median
from deconvbench.measure.artifacts.patches import check_period, choose_patch_size
from deconvbench.measure.artifacts.soft_clip import list_clipped_powers
from deconvbench.measure.artifacts.spectrum import FARTHEST, read_lines, sum_scales, take_signed_root

# Cochran's Q over its degrees of freedom, above which the patches differ by more than their scatter: planted grids
# of 2 levels have up to 2 in 9 of 10 photographs, the same in one half only have more in 9 of 10
_UNEVEN = 2.0
# no patch weighs more than this share of the mean variance allows
_LEAST_VARIANCE = 0.1
# median of the squares of noise in a spectrum, as a share of their mean
_MEDIAN_OF_NOISE = 0.69
_FEWEST_PATCHES = 4


class EvenAmplitude(NamedTuple):
    """What `measure_even_amplitude` found, in the image's units."""

    amplitude: float
    """Signed."""
    by_scale: dict[int, float]
    """As in `CheckerboardResult`."""
    is_even: bool
    """Whether the grid was equally strong all over, in every channel."""


def measure_even_amplitude(image: Picture, period: int, *, channels: Channels | None = None) -> EvenAmplitude:
    """Measure the amplitude that `checkerboard` does, with less error where the grid is equally strong all over.

    Each patch gives an energy at the grid lines, and a variance that it has by chance. Cochran's Q says whether
    the energies differ by more than that. If not, the patches' spectra are averaged by the inverse of their
    variances and of what the energies differ by all the same (the weights of DerSimonian and Laird).

    Parameters
    ----------
    image : Tensor, ndarray or PIL.Image.Image
        As for `checkerboard`.
    period : int
        P in pixels, 2 to 32.
    channels : {"first", "last"} or None
        As for `checkerboard`.

    Returns
    -------
    EvenAmplitude
        Where the grid is not even, the amplitude is that of `checkerboard`.

    Raises
    ------
    UsageError
        As `checkerboard`.

    References
    ----------
    DerSimonian, Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 7 (1986).
    """
    period = check_period(period)
    images, factor = split_magnitude(read_images(image, channels=channels))
    side = choose_patch_size(images.shape[-2], images.shape[-1], period)
    independent = (images.shape[-2] // side) * (images.shape[-1] // side)
    found = [_measure_map(one, side, period, independent) for one in images.flatten(0, 1)]
    shares = torch.stack([estimate.shares for estimate, _ in found]).mean(0)
    return EvenAmplitude(
        amplitude=factor * take_signed_root(float(shares.sum())),
        by_scale=sum_scales(shares, period, factor),
        is_even=all(is_even for _, is_even in found),
    )


def _measure_map(image_map: Tensor, side: int, period: int, independent: int) -> tuple[Estimate, bool]:
    """Estimate of one map, and whether its patches could be weighted."""
    powers = torch.cat(list(list_clipped_powers(image_map, side, period)))
    bins = list_lines(period) * (side // period)
    lines = read_lines(powers.mean(0), bins)
    plain = estimate_amplitude(lines, independent)
    weights = _weigh_patches(powers, bins, lines, plain.shares.clamp_min(0))
    if weights is None:
        return plain, False
    return estimate_amplitude(read_lines(torch.einsum("k,kuv->uv", weights, powers), bins), independent), True


def _weigh_patches(powers: Tensor, bins: Tensor, lines: Lines, signal: Tensor) -> Tensor | None:
    """Weights (K,) of patches with a power of `signal` (L,) at the lines; None where they do not agree on it."""
    noise = powers.flatten(1).median(1)[0]
    if len(powers) < _FEWEST_PATCHES or float(signal.sum()) == 0 or float(noise.min()) == 0:
        return None
    # a line counts as far as its signal can be told from what is beside it, as in `estimate_amplitude`
    strength = signal.mean().square()
    kept = strength / (strength + (NORMAL * take_median(lines.beside.abs())).square())
    energies = torch.stack([_read_energy(power, bins, kept) for power in powers])
    floor = lines.floor * (noise / noise.mean())[:, None] / _MEDIAN_OF_NOISE
    # of |signal + noise|² at lines that come in pairs of equal power
    variances = 2 * (kept.square() * (2 * signal * floor + floor.square())).sum(1)
    certain = 1 / variances
    mean = (certain * energies).sum() / certain.sum()
    differences = float((certain * (energies - mean).square()).sum())
    freedom = len(powers) - 1
    if differences > _UNEVEN * freedom:
        return None
    between = max(0.0, differences - freedom) / (certain.sum() - certain.square().sum() / certain.sum())
    weights = 1 / (variances + between + _LEAST_VARIANCE * variances.mean())
    return weights / weights.sum()


def _read_energy(power: Tensor, bins: Tensor, kept: Tensor) -> Tensor:
    """Energy of one patch at the lines, above what is beside them."""
    white, squares = read_surroundings(power, bins, FARTHEST)
    return (kept * (white[:, FARTHEST, FARTHEST] - select_beside(white).mean(1)) / squares).sum()
