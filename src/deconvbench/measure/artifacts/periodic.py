"""The interior of a map, cut into blocks of one period: what the metrics of whole networks and gradients look at.

How far padding reaches into a network's output cannot be known from outside. So the middle is taken, and how well
it repeats is measured with it: a margin that is too small is told, not a wrong number.
"""

import math

import torch
from torch import Tensor

from deconvbench.errors import UsageError

# share of the largest value: sums of a few thousand products in float64 leave 1e-13
_TOLERANCE = 1e-9


def split_interior(maps: Tensor, period: int, margin: int | None) -> Tensor:
    """Cut the middle of maps into blocks of one period.

    Parameters
    ----------
    maps : Tensor, shape (N, C, H, W)
        What a network or its backward pass gave.
    period : int
        Period P in pixels.
    margin : int or None
        Pixels to leave out on each side, at least; None: a quarter of the side.

    Returns
    -------
    Tensor, shape (N, C, n, m, P, P)
        n×m blocks, whose first pixel is one of phase (0, 0) of the whole map.

    Raises
    ------
    UsageError
        If less than two blocks a side are left.
    """
    sides = []
    for axis, side in ((-2, maps.shape[-2]), (-1, maps.shape[-1])):
        left_out = side // 4 if margin is None else margin
        first = -(-left_out // period) * period
        count = (side - left_out - first) // period
        if count < 2:
            raise UsageError(
                f"margin: {left_out} of {side} pixels on each side leave less than two periods of {period};"
                " a smaller margin or a larger size is needed"
            )
        sides.append(count)
        maps = maps.narrow(axis, first, count * period)
    return maps.reshape(*maps.shape[:2], sides[0], period, sides[1], period).transpose(3, 4)


def is_periodic(blocks: Tensor) -> bool:
    """Say whether all blocks are the same but for rounding.

    Parameters
    ----------
    blocks : Tensor, shape (N, C, n, m, P, P)
        As from `split_interior`.

    Returns
    -------
    bool
        Whether those of each map agree to 1e-9 of the largest value of all.
    """
    spread = (blocks - blocks[:, :, :1, :1]).abs().max()
    return bool(spread <= _TOLERANCE * blocks.abs().max())


def measure_aperiodicity(blocks: Tensor) -> float:
    """Measure how much of maps does not repeat from block to block.

    Parameters
    ----------
    blocks : Tensor, shape (N, C, n, m, P, P)
        As from `split_interior`.

    Returns
    -------
    float
        RMS of the blocks less their mean over n and m, over the RMS of the blocks: a share, 0 to 1. 0 where they
        are zero.
    """
    # differences first: means of equal numbers differ by rounding
    changes = blocks - blocks[:, :, :1, :1]
    level = float(blocks.square().mean())
    left = float((changes - changes.mean((2, 3), keepdim=True)).square().mean())
    return math.sqrt(left / level) if level else 0.0


def average_phases(blocks: Tensor) -> Tensor:
    """Average each phase over the blocks, less what a slope across the map adds to it.

    Parameters
    ----------
    blocks : Tensor, shape (N, C, n, m, P, P)
        As from `split_interior`.

    Returns
    -------
    Tensor, shape (N, C, P, P)
        Means of the phases about that of the first, which is 0. The slope is the least-squares one of the blocks'
        means: exactly 0 where the map repeats.
    """
    # differences first: means of equal numbers differ by rounding
    changes = blocks - blocks[:, :, :1, :1, :1, :1]
    phases = changes.mean((2, 3))
    period = blocks.shape[-1]
    levels = (blocks - blocks[:, :, :1, :1]).mean((-2, -1))
    place = torch.arange(period, dtype=blocks.dtype, device=blocks.device) / period
    for axis in (-2, -1):
        count = levels.shape[axis]
        along = torch.arange(count, dtype=blocks.dtype, device=blocks.device)
        along = along - along.mean()
        # of the level from block to block
        slope = (levels.mean(-1 if axis == -2 else -2) * along).sum(-1) / along.square().sum()
        ramp = slope[..., None, None] * (place[:, None] if axis == -2 else place)
        phases = phases - ramp
    return phases - phases[..., :1, :1]


def find_device(module: torch.nn.Module) -> torch.device:
    """Device that a module lives on; the CPU for one without parameters and buffers.

    Parameters
    ----------
    module : nn.Module
        Any module.
    """
    for held in (*module.parameters(), *module.buffers()):
        return held.device
    return torch.device("cpu")
