"""Effective ripple: how much of what a trained layer really gets comes out as a checkerboard.

Phase ripple takes every pair of channels on its own. Training makes the ripples of the inputs cancel, which the
pairs do not show; so here the gains are summed over the inputs, each with its mean activation, before the phases
are compared. Arithmetic on taps and means only: `mean_inputs` measures the means.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deconvbench.arguments import check_kind
from deconvbench.errors import UsageError, quote
from deconvbench.measure.artifacts.phases import phase_gains

MeanInput = Tensor | NDArray[np.number[Any]] | Sequence[float]

# an effective ripple below it counts as clean: .3 % of the RMS, which is .4 levels of an 8-bit image of RMS 128
CLEAN_EFFECTIVE_RIPPLE = 1e-5


def effective_ripple(taps: Tensor, scale_factor: int, mean_input: MeanInput) -> float:
    """Share of the mean input's output power that alternates with the phase.

    Σ_o Var_φ(g) / Σ_o mean_φ(g²), where g_φ[o] = Σ_i G_φ[o, i]·m_i is what phase φ makes of a flat area, but for
    the bias: G_φ[o, i] are the `phase_gains`, m_i is the mean activation of input channel i. Sums run over the
    output channels, and over leading axes (uses of a shared layer, images, seeds), before the division.

    Unit: none (a share of power). Range: 0 to 1. Best: 0; below 1e-5 (`CLEAN_EFFECTIVE_RIPPLE`) a layer counts as
    clean.
    Sees: the checkerboard that a trained layer puts on what it really gets. Ripples that cancel over the inputs do
    not count, so published networks that are clean read 0 here, and .3 to .7 in `phase_ripple`, which is for
    weights as they are initialised. For weights of mean m and deviation σ, C inputs all equal to one and n taps a
    phase it tends to [C²m²Var(n) + (1−1/s²)Cσ²n̄] / [C²m²E(n²) + Cσ²n̄].
    Blind to: the bias; ripple on what is far from the mean input (`flat_field_ripple` tries other colours); what
    later layers make of the ripple; artifacts that appear only at edges, and borders.

    Parameters
    ----------
    taps : Tensor, shape (..., O, I, T, T)
        As from `impulse_response`, or gains as from `phase_gains` (T = s). Converted to float64.
    scale_factor : int
        Scale s.
    mean_input : Tensor, ndarray or sequence of float, shape (..., I)
        Mean activation of each input channel over the images that the network is meant for, in any unit: as from
        `measure_mean_inputs`. Leading axes broadcast against those of the taps.

    Returns
    -------
    float
        NaN where the mean input gives nothing at all, at no phase.

    Raises
    ------
    UsageError
        If T is not a multiple of s, or the mean input does not hold a finite number for each input channel.

    References
    ----------
    Sugawara, Shiota, Kiya, "Super-resolution using convolutional neural networks without any checkerboard
    artifacts", arXiv:1806.02658 (equal gains of the phases for a constant input as the condition).
    """
    answer = _weigh_gains(taps, scale_factor, mean_input).flatten(-2)
    power = float(answer.square().mean(-1).sum())
    return float(answer.var(-1, correction=0).sum()) / power if power else math.nan


def ripple_amplitude(taps: Tensor, scale_factor: int, mean_input: MeanInput) -> Tensor:
    """Amplitude of the checkerboard that the mean input comes out with, for each output channel.

    The RMS over the phases of g_φ[o] less its mean over them; see `effective_ripple` for g.

    Unit: that of the layer's output (times 255, 8-bit levels, for a last layer that gives images in 0..1).
    Range: 0 and up. Best: 0.
    Sees: as `effective_ripple`, in absolute terms.
    Blind to: as `effective_ripple`.

    Parameters
    ----------
    taps, scale_factor, mean_input
        As in `effective_ripple`.

    Returns
    -------
    Tensor, shape (..., O), float64
        With the leading axes of taps and mean input.

    Raises
    ------
    UsageError
        As `effective_ripple` does.

    References
    ----------
    As of `effective_ripple`.
    """
    return _weigh_gains(taps, scale_factor, mean_input).flatten(-2).std(-1, correction=0)


def read_mean_input(mean_input: MeanInput, in_channels: int) -> Tensor:
    """Read mean activations of so many input channels.

    Parameters
    ----------
    mean_input : Tensor, ndarray or sequence of float, shape (..., I)
        As for `effective_ripple`.
    in_channels : int
        Input channels I.

    Returns
    -------
    Tensor, shape (..., I), float64

    Raises
    ------
    UsageError
        If it does not hold a finite number for each input channel.
    """
    try:
        means = torch.as_tensor(mean_input, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"mean_input: {quote(mean_input)} is not an array of numbers") from error
    if means.ndim == 0 or means.shape[-1] != in_channels:
        raise UsageError(
            f"mean_input: shape {tuple(means.shape)} does not hold a number for each of the {in_channels} input"
            " channels"
        )
    if not bool(means.isfinite().all()):
        raise UsageError(f"mean_input: {quote(mean_input)} has numbers that are not finite")
    return means


def _weigh_gains(taps: Tensor, scale_factor: int, mean_input: MeanInput) -> Tensor:
    """Answer (..., O, s, s) of each phase to the mean input."""
    gains = phase_gains(
        check_kind("taps", taps, Tensor, "a tensor, as from impulse_response").double(), scale_factor
    )
    if gains.ndim < 4:
        raise UsageError(f"taps: shape {tuple(taps.shape)} is not (..., O, I, T, T)")
    means = read_mean_input(mean_input, gains.shape[-3]).to(gains.device)
    try:
        return torch.einsum("...oiyx,...i->...oyx", gains, means)
    except RuntimeError as error:
        raise UsageError(
            f"mean_input: leading axes of shape {tuple(means.shape)} do not go with taps of {tuple(taps.shape)}"
        ) from error
