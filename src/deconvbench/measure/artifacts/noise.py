"""Noise gain: where uneven overlap really shows, in the variance of the output."""

import math

from torch import Tensor

from deconvbench.measure.artifacts.phases import split_phases


def noise_gain_cv(taps: Tensor, scale_factor: int) -> float:
    """Unevenness over the phases of the variance that white noise has after the layer.

    V_φ = Σ W_φ[o, i]² over all taps and channels (and leading axes such as seeds), then the coefficient of
    variation of V over the s×s phases. Summed over channels first: a mean of per-channel values would have a bias
    of about 1/√C_in.

    Unit: none (population standard deviation over mean). Range: 0 to √(s² − 1). Best: 0, every output pixel is
    equally noisy. For weights drawn alike it tends to the `overlap_cv` as channels grow.
    Sees: uneven overlap of a kernel that the stride does not divide.
    Blind to: the ripple of a constant input (`phase_ripple`), and to borders.

    Parameters
    ----------
    taps : Tensor, shape (..., O, I, T, T)
        As from `impulse_response`.
    scale_factor : int
        Scale s.

    Returns
    -------
    float
        NaN where every tap is zero.

    Raises
    ------
    UsageError
        If T is not a multiple of s.

    References
    ----------
    The article's Figure 4, read as variance; Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts",
    Distill 2016.
    """
    power = split_phases(taps, scale_factor, axes=4).square().sum((-2, -1)).flatten(0, -3).sum(0)
    mean = float(power.mean())
    return float(power.std(correction=0)) / mean if mean else math.nan
