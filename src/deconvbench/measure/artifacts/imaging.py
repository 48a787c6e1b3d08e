"""Image rejection: how much of a smooth wave comes out at the frequencies that only upsampling can create."""

import math

import torch
from torch import Tensor

from deconvbench.arguments import is_number
from deconvbench.errors import UsageError, quote
from deconvbench.measure.artifacts.phases import split_phases
from deconvbench.units import to_float

# 1e-30 of the power: float64 leaves less than that of an image that is zero in exact arithmetic
FLOOR_DB = -300.0


def image_rejection_db(taps: Tensor, scale_factor: int, frequency: float = 0.1) -> float:
    """Power of a wave's images over the power of the wave itself, after upsampling.

    The input exp(2πi·f·x) varies from column to column and is the same in every row. It leaves an upsampler at f/s
    and, as images, at (f+m)/s cycles per output pixel, m = 1..s−1. The amplitudes there are the Fourier transform
    of the impulse response at these frequencies, so they are evaluated from the taps: what the DFT of the interior
    of the output has there, exactly. Powers are summed over all channels (and leading axes such as seeds) before
    the division.

    Unit: dB. Range: `FLOOR_DB` (also where s = 1 leaves no image) to −`FLOOR_DB`. Best: low.
    Sees: blockiness and jagged edges.
    Blind to: what training does to it, waves in other directions, and borders.

    Parameters
    ----------
    taps : Tensor, shape (..., O, I, T, T)
        As from `impulse_response`.
    scale_factor : int
        Scale s.
    frequency : float
        f in cycles per input pixel, along the last axis.

    Returns
    -------
    float
        10·log10 of the ratio; NaN where nothing at all comes out at these frequencies.

    Raises
    ------
    UsageError
        If T is not a multiple of s, or the frequency is not a finite number.

    References
    ----------
    Crochiere, Rabiner, "Multirate Digital Signal Processing", 1983, chapter 2 (images of an interpolator).
    Nearest: 20·log10 tan(πf/2) at s=2; half-pixel bilinear: 60·log10 tan(πf/2) at s=2.
    """
    if not is_number(frequency) or not math.isfinite(to_float(frequency)):
        raise UsageError(f"frequency: {quote(frequency)} is not a number of cycles per pixel")
    frequency = float(frequency)
    # sums over rows first: the wave is constant there
    profile = split_phases(taps, scale_factor, axes=4).sum((-4, -2)).movedim(-1, -2).flatten(-2)
    position = torch.arange(profile.shape[-1], dtype=torch.float64, device=taps.device)
    image = torch.arange(scale_factor, dtype=torch.float64, device=taps.device)
    angle = -2 * math.pi * torch.outer((frequency + image) / scale_factor, position)
    spectrum = torch.einsum(
        "...t,mt->...m", profile.to(torch.complex128), torch.polar(torch.ones_like(angle), angle)
    )
    power = spectrum.abs().square().flatten(0, -2).sum(0)
    passed, rejected = float(power[0]), float(power[1:].sum())
    if passed == rejected == 0:
        return math.nan
    if rejected == 0:
        return FLOOR_DB
    if passed == 0:
        return -FLOOR_DB
    return min(max(10 * math.log10(rejected / passed), FLOOR_DB), -FLOOR_DB)
