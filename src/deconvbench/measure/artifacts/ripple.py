"""Phase ripple: how much of a constant comes out as a checkerboard."""

import math

from torch import Tensor

from deconvbench.measure.artifacts.phases import phase_gains


def phase_ripple(taps: Tensor, scale_factor: int) -> float:
    """Share of a constant input's output power that alternates with the phase.

    Σ Var_φ(G) / Σ mean_φ(G²), where G_φ[o, i] are the `phase_gains`; both sums run over all channels, and over
    leading axes such as seeds, before the division.

    Unit: none (a share of power). Range: 0 to 1. Best: 0, the constant stays constant.
    Sees: a flat area that turns into a checkerboard, at any kernel size. Weights of zero mean, drawn alike, tend
    to 1 − 1/s² even where the kernel is divisible by the stride.
    Blind to: artifacts that appear only where the input changes, and to borders. For weights as they are
    initialised: those of a trained layer cancel over the inputs, which each pair on its own does not show
    (`effective_ripple` is for them).

    Parameters
    ----------
    taps : Tensor, shape (..., O, I, T, T)
        As from `impulse_response`.
    scale_factor : int
        Scale s.

    Returns
    -------
    float
        NaN where every gain is zero: no constant comes through that could ripple.

    Raises
    ------
    UsageError
        If T is not a multiple of s.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016 (the effect).
    Sugawara, Shiota, Kiya, "Super-resolution using convolutional neural networks without any checkerboard
    artifacts", arXiv:1806.02658 (equal phase gains as the condition).
    """
    gains = phase_gains(taps, scale_factor).flatten(-2)
    power = float(gains.square().mean(-1).sum())
    return float(gains.var(-1, correction=0).sum()) / power if power else math.nan
