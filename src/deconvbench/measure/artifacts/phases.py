"""Taps sorted by phase: the place that an output pixel has within the block of its input pixel.

Every interior metric is a statement about how the s×s phases differ. No metric is defined here.
"""

from torch import Tensor

from deconvbench.arguments import check_kind, check_whole
from deconvbench.errors import UsageError


def split_phases(taps: Tensor, scale_factor: int, *, axes: int = 2) -> Tensor:
    """Sort taps by the phase that they reach.

    Parameters
    ----------
    taps : Tensor, shape (..., T, T)
        As from `impulse_response`: index a belongs to phase a mod s.
    scale_factor : int
        Scale s, a divisor of T.
    axes : int
        Axes that there must be at least, 4 where channels are summed over.

    Returns
    -------
    Tensor, shape (..., s, s, n, n), n = T/s
        The taps W_φ of each phase.

    Raises
    ------
    UsageError
        If T is not a multiple of s, the taps are not square, there are none, or they are not finite real numbers.
    """
    check_kind("taps", taps, Tensor, "a tensor, as from impulse_response")
    scale_factor = check_whole("scale_factor", scale_factor, 1)
    is_square = taps.ndim >= axes and taps.shape[-1] == taps.shape[-2]
    if not is_square or taps.shape[-1] % scale_factor or not taps.numel():
        wanted = "(..., T, T)" if axes == 2 else "(..., O, I, T, T)"
        raise UsageError(
            f"taps: shape {tuple(taps.shape)} is not {wanted} with T a multiple of scale_factor {scale_factor}"
        )
    if taps.is_complex() or not bool(taps.isfinite().all()):
        raise UsageError("taps: they are not all finite real numbers")
    taps = taps if taps.is_floating_point() else taps.double()
    count = taps.shape[-1] // scale_factor
    blocks = taps.reshape(*taps.shape[:-2], count, scale_factor, count, scale_factor)
    return blocks.movedim((-3, -1), (-4, -3))


def phase_gains(taps: Tensor, scale_factor: int) -> Tensor:
    """Sum the taps of each phase: what each phase makes of a constant input of one.

    Parameters
    ----------
    taps : Tensor, shape (..., O, I, T, T)
        As from `impulse_response`.
    scale_factor : int
        Scale s.

    Returns
    -------
    Tensor, shape (..., O, I, s, s)
        Gains G_φ[o, i].

    Raises
    ------
    UsageError
        If T is not a multiple of s.
    """
    return split_phases(taps, scale_factor).sum((-2, -1))
