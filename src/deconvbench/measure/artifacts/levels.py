"""From the lines of one map's spectrum to an amplitude and to what it is when there is no grid.

A line at a low frequency lies among the content of an image, one at a high frequency hardly does, and both count
the same in an amplitude. So what cannot be measured is not added up but taken to be as strong as what can: each
line keeps its own excess by the share that a signal of the mean strength has against its scatter, and takes the
weighted mean of all lines for the rest (the estimator of James and Stein with the spread of random patterns).
A strong pattern is then the plain sum over its lines, a weak one the best linear estimate. What that estimate
is by chance is read from the same image, at places beside the lines where no grid can be. Takes no spectrum.
"""

import math
from typing import NamedTuple

from torch import Tensor

from deconvbench.measure.artifacts.lines import take_median

# from the median of absolute deviations to the standard deviation of a normal distribution
NORMAL = 1.4826
# steps until strength and weights agree to a percent
_STEPS = 4
# scatter that rounding leaves, as a share of the strongest line
_ROUNDING = 1e-9
# squared detection level in scatters of the image's own null, such that 2.3 % of photographs read more. Cameras,
# scanners and files leave patterns of two and four pixels themselves, so that there it is more; with many lines
# the sum is nearly normal, and it is less
_SCATTERS = {2: 15.0, 4: 5.0}
_SCATTERS_ELSE, _SCATTERS_OF_MANY = 2.7, 1.5
_MANY = 12


class Lines(NamedTuple):
    """What is at the grid lines of one map and beside them, less the floor, in squared units of the image."""

    excess: Tensor
    """(L,): at each line."""
    beside: Tensor
    """(L, K): at K places beside each, less their median."""
    floor: Tensor
    """(L,): what is expected at each line without a grid."""


class Estimate(NamedTuple):
    """Squared amplitude of the grid of one map, signed, line by line; and what it would be by chance."""

    shares: Tensor
    """(L,): they add up to the squared amplitude."""
    scatter: float
    """Standard deviation of their sum without a grid, from the image itself."""
    noise: float
    """The same if the content were noise that a random generator drew."""


def estimate_amplitude(lines: Lines, independent: int) -> Estimate:
    """Estimate the squared amplitude of a grid.

    Parameters
    ----------
    lines : Lines
        Of one map.
    independent : int
        Patches that do not overlap.

    Returns
    -------
    Estimate
        In squared units of the image.
    """
    excess, beside = lines.excess, lines.beside
    strongest = float(excess.abs().max())
    if strongest == 0:
        return Estimate(excess, 0.0, 0.0)
    # variance of each line without a grid; never 0, so that each has a weight
    variance = (NORMAL * take_median(beside.abs())).square() + (_ROUNDING * strongest) ** 2
    # no line weighs so much that a pattern without it would be missed
    damped = variance + variance.log().mean().exp()
    signal = excess.new_zeros(())
    for _ in range(_STEPS):
        weights = 1 / (damped + signal)
        strength = (weights * excess).sum() / weights.sum()
        # energies of random patterns spread by their own mean
        signal = strength.clamp_min(0).square()
    kept = signal / (signal + variance)
    weights = len(excess) / damped / (1 / damped).sum()
    chance = weights @ beside
    return Estimate(
        shares=kept * excess + (1 - kept) * strength,
        scatter=NORMAL * float(take_median(chance.abs())),
        noise=float((weights * lines.floor).square().sum() * 2 / independent) ** 0.5,
    )


def find_detection_level(scatter: float, period: int) -> float:
    """Amplitude that 2.3 % of photographs without a grid exceed.

    Parameters
    ----------
    scatter : float
        Of the squared amplitude.
    period : int
        P in pixels.

    Returns
    -------
    float
        In units of the image.
    """
    usual = _SCATTERS_ELSE if period < _MANY else _SCATTERS_OF_MANY
    return math.sqrt(_SCATTERS.get(period, usual) * scatter)


def find_noise_level(noise: float) -> float:
    """Amplitude that 2.3 % of images of drawn noise exceed.

    Parameters
    ----------
    noise : float
        Standard deviation of the squared amplitude.

    Returns
    -------
    float
        In units of the image: two standard deviations of the squared amplitude.
    """
    return math.sqrt(2 * noise)
