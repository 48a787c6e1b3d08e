"""Border error: what padding does to the edge of a flat field."""

import math

from torch import Tensor

from deconvbench.arguments import check_kind, check_whole
from deconvbench.errors import UsageError


def border_error(output: Tensor, scale_factor: int) -> float:
    """Deviation of the outermost rows and columns from the interior, for a constant input.

    The interior is the central block of 2s×2s pixels: its mean per phase is what the border should look like, so
    a ripple of the interior is not counted here. RMS of the deviation over the outermost s rows and columns, over
    the RMS of the block's mean per channel.

    Unit: none (a ratio of amplitudes). Range: 0 and up. Best: 0, the border looks like the interior.
    Sees: the frame that zero padding draws.
    Blind to: everything inside, and to borders thicker than s pixels.
    The corners' share makes it depend a little on the map's size: compare values of one size.

    Parameters
    ----------
    output : Tensor, shape (N, C, s·H, s·W)
        Output for a constant input; H and W at least 4, and large enough that padding does not reach the centre.
    scale_factor : int
        Scale s.

    Returns
    -------
    float
        NaN where the interior is zero: there is nothing to compare with.

    Raises
    ------
    UsageError
        If the output is too small or not a multiple of the scale.

    References
    ----------
    Alsallakh et al., "Mind the Pad: CNNs can develop blind spots", ICLR 2021, arXiv:2010.02178 (the effect).
    """
    check_kind("output", output, Tensor, "a tensor")
    s = check_whole("scale_factor", scale_factor, 1)
    if output.ndim != 4 or any(side % s or side < 4 * s for side in output.shape[-2:]):
        raise UsageError(
            f"output: shape {tuple(output.shape)} is not (N, C, H, W) with sides that are multiples of"
            f" scale_factor {s} and at least {4 * s}"
        )
    batch, channels, height, width = output.shape
    top, left = ((side // s - 2) // 2 * s for side in (height, width))
    block = output[:, :, top : top + 2 * s, left : left + 2 * s]
    level = float(block.mean((-2, -1)).square().mean().sqrt())
    if level == 0:
        return math.nan
    phases = block.reshape(batch, channels, 2, s, 2, s).mean((2, 4))
    deviation = (output - phases.repeat(1, 1, height // s, width // s)).square()
    count = batch * channels * (height * width - (height - 2 * s) * (width - 2 * s))
    deviation[:, :, s:-s, s:-s] = 0
    return math.sqrt(float(deviation.sum()) / count) / level
