"""Whether checkerboards are worse where colours are far from the mean, as Odena et al. say.

Compares patches of images with each other.
"""

import math

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from deconvbench.measure.artifacts.patches import choose_patch_size, mean_power

# side that the smaller patches of `choose_patch_size` are made for
_SMALL_IMAGE = 33


def correlate_with_colour(residual: Tensor, targets: Tensor, mean_colour: Tensor, *, period: int) -> float:
    """Correlate the local checkerboard with the distance of the local colour from a mean.

    Over patches of about 32 pixels that do not overlap: the RMS amplitude of the residual at the grid lines,
    against the distance in RGB of the target's mean colour from the mean colour. The amplitude is that of the
    patch without its plane and under a Hann window: the root of the power at all lines (i/P, j/P) but the mean,
    averaged over the channels. No floor is taken off, since one patch does not tell it, so content of the residual
    at these frequencies counts too.

    Unit: none. Range: −1 to 1, Spearman's rank correlation. 0: no relation.

    Parameters
    ----------
    residual, targets : Tensor, shape (N, C, H, W), float64
        In one unit; H and W at least 32 (33 where P = 3).
    mean_colour : Tensor, shape (C,)
        In that unit.
    period : int
        P in pixels, 2 to 4.

    Returns
    -------
    float
        NaN where the residual is not finite, or all patches have the same amplitude or the same distance.

    Raises
    ------
    UsageError
        If the images are too small for the period.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016 (artifacts are most prominent
    where strong colours are).
    """
    height, width = residual.shape[-2:]
    side = choose_patch_size(min(height, _SMALL_IMAGE), min(width, _SMALL_IMAGE), period)
    if not bool(residual.isfinite().all()):
        return math.nan
    amplitudes = np.array([_measure_amplitude(patch, period) for patch in _cut(residual, side)])
    colours = _cut(targets, side).mean((-2, -1))
    distances = (colours - mean_colour.to(colours)).norm(dim=-1).numpy()
    if np.ptp(amplitudes) == 0 or np.ptp(distances) == 0:
        return math.nan
    return float(stats.spearmanr(amplitudes, distances).statistic)


def _cut(images: Tensor, side: int) -> Tensor:
    """Patches (n, C, B, B) that do not overlap, of all images."""
    patches: Tensor = images.unfold(-2, side, side).unfold(-2, side, side).movedim(1, 3).flatten(0, 2)
    return patches


def _measure_amplitude(patch: Tensor, period: int) -> float:
    side = patch.shape[-1]
    power = torch.stack([mean_power(channel, side)[0] for channel in patch]).mean(0)
    i, j = torch.tensor([(i, j) for i in range(period) for j in range(period)][1:]).T * (side // period)
    is_mirrored = j > side // 2
    # the right half of the spectrum is the left one, turned about zero
    at_lines = power[torch.where(is_mirrored, -i % side, i), torch.where(is_mirrored, side - j, j)]
    return math.sqrt(float(at_lines.sum()))
