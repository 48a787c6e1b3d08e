"""Whether the channels before a shuffle seem to be in another order than the one it reads them in.

Features of real images are smooth. In the right order the shuffled map is so too; in a wrong one it mixes channels
that have nothing to do with each other, or rows with columns. Random weights show no order.
"""

import torch
from torch import Tensor

from deconvbench.networks.inspection.layouts import list_orders

# roughness of the smoothest order over that of the order in use, from which that is suspect
_SUSPECT = 0.85


def find_smoother_order(shuffled: Tensor, channels: Tensor, scale: tuple[int, ...]) -> str:
    """Find an order of channels that gives a clearly smoother map.

    Parameters
    ----------
    shuffled : Tensor, shape (N, O·S, ...)
        The map whose channels become pixels, for a real image.
    channels : Tensor, shape (O, S)
        Which channel is phase φ of channel o.
    scale : tuple of int
        Along each spatial axis.

    Returns
    -------
    str
        Such as ``i j c``; empty if there is none.
    """
    x = shuffled.double().cpu()
    used = _measure_roughness(x, channels, scale)
    others = {
        order: _measure_roughness(x, other, scale)
        for order, other in list_orders(len(channels), scale)
        if not torch.equal(other, channels)
    }
    best = min(others, key=others.__getitem__, default="")
    return best if best and others[best] < _SUSPECT * used else ""


def _measure_roughness(x: Tensor, channels: Tensor, scale: tuple[int, ...]) -> float:
    """Mean absolute difference of neighbours in the shuffled map."""
    dims = len(scale)
    picked = x[:, channels]
    blocks = picked.reshape(*picked.shape[:2], *scale, *picked.shape[3:])
    order = [axis for one in range(dims) for axis in (2 + dims + one, 2 + one)]
    sides = [side * one for side, one in zip(x.shape[2:], scale, strict=True)]
    y = blocks.permute(0, 1, *order).reshape(*blocks.shape[:2], *sides)
    return sum(float(y.diff(dim=axis).abs().mean()) for axis in range(2, 2 + dims))
