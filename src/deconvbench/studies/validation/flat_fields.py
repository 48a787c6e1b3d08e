"""A score of layers rather than images: the share of energy off zero frequency behind plain colours.

Taken of the whole output, as a plain spectrum is, it counts the border that padding leaves; taken of the middle,
it is the ripple and nothing else. The checkerboard score of the same output is set beside it.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from deconvbench.measure.artifacts.spectrum import checkerboard
from deconvbench.measure.layers import build_seeded_layer, copy_layer
from deconvbench.studies.validation.calibration import Row

# name in the registry and kernel; twice the size
LAYERS = (
    ("transposed", 3),
    ("transposed", 4),
    ("subpixel", 3),
    ("subpixel_icnr", 3),
    ("equal_gain_transposed", 3),
    ("nearest_conv", 3),
    ("bilinear_conv", 3),
)
_IN_CHANNELS, _OUT_CHANNELS, _SCALE = 16, 3, 2
# side of the input in pixels, and what of the output is left out on each side to be away from its border
_SIZE, _MARGIN = 64, 16
_COLOURS = 4


def measure_flat_fields(seed: int) -> list[Row]:
    """Read plain colours behind each layer with the weights of a seed.

    Parameters
    ----------
    seed : int
        Of the weights and the colours.

    Returns
    -------
    list of dict
        ``upsampler, kernel_size, seed, whole, middle, checkerboard``: shares of the energy, 0..1; the last is the
        signed square of the score over the mean square of the output.
    """
    source = torch.Generator().manual_seed(seed)
    colours = torch.randn(_COLOURS, _IN_CHANNELS, 1, 1, dtype=torch.float64, generator=source)
    x = colours.expand(-1, -1, _SIZE, _SIZE)
    rows = []
    for name, kernel_size in LAYERS:
        layer = copy_layer(
            build_seeded_layer(name, _IN_CHANNELS, _OUT_CHANNELS, kernel_size, _SCALE, seed), torch.float64
        )
        with torch.no_grad():
            y = layer(x)
        amplitude = checkerboard(y, _SCALE).amplitude
        shares: dict[str, Any] = {
            "whole": share_off_zero(y),
            "middle": share_off_zero(y[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]),
            "checkerboard": float(np.sign(amplitude)) * amplitude**2 / float(y.square().mean()),
        }
        rows.append({"upsampler": name, "kernel_size": kernel_size, "seed": seed, **shares})
    return rows


def share_off_zero(maps: Tensor) -> float:
    """Share of the energy that does not lie at zero frequency.

    Parameters
    ----------
    maps : Tensor, shape (N, C, H, W)
        Of any units.

    Returns
    -------
    float
        0..1: variance over the pixels of each map over its mean square, both summed over the maps first (by
        Parseval's theorem).
    """
    return float(maps.var((-2, -1), correction=0).sum() / maps.square().mean((-2, -1)).sum())


def summarise_flat_fields(flat_fields: pd.DataFrame) -> pd.DataFrame:
    """Average over the seeds.

    Parameters
    ----------
    flat_fields : DataFrame
        From `measure_flat_fields`.

    Returns
    -------
    DataFrame
        ``upsampler, kernel_size, whole, middle, checkerboard``.
    """
    groups = flat_fields.groupby(["upsampler", "kernel_size"], sort=False)
    return groups[["whole", "middle", "checkerboard"]].mean().reset_index()
