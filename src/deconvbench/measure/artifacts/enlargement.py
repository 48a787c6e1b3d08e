"""Tells whether a picture was enlarged by a whole number, from differences that vanish at the same places.

Between the pixels of the smaller picture, an enlargement has nothing of its own: repeated pixels have no first
differences there, and interpolated ones no second or third differences but what rounding leaves. The places repeat
with the factor. Such a picture has a grid, though no network drew it. Gives no verdict.
"""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

_FACTORS = range(2, 9)
# differences of order 2 and 3 of numbers on a line, once they are rounded to whole levels, are at most that
_ROUNDING = {2: 2.0, 3: 4.0}
# differences per phase that are added, so that a few do not decide
_FEW, _SHARE_OF_NEAREST = 30.0, 0.02
# between the phases with the most and the least: photographs have 1.1, planted patterns up to 2, JPEG's blocks
# more, but of 8 pixels. Repeated pixels have 8 and more in the first differences
_LEAST_RATIO, _LEAST_OF_NEAREST = 2.5, 5.0
# a longer factor must tell more than a shorter one that divides it
_MORE = 1.4
_OF_JPEG = 8
# a grid on a plain colour is nothing but its pattern; without that, an enlargement still has this ratio
_LEAST_WITHOUT_PATTERN, _PATTERN = 1.5, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlargement:
    """How a picture was probably enlarged.

    Parameters
    ----------
    factor : int
        In both directions, 2 to 8.
    is_nearest : bool
        Whether pixels are repeated; otherwise they are interpolated (bilinear, bicubic).
    """

    factor: int
    is_nearest: bool


def find_enlargement(images: Tensor) -> Enlargement | None:
    """Find the factor that pictures were enlarged by.

    For each factor, the horizontal and the vertical differences by the phase they lie at: how many are larger than
    rounding makes them, at the phase with the most against that with the least, in the direction where that is
    less.

    Sees: nearest neighbour by 2 to 8; bilinear and bicubic by 2 to 7 in most photographs.
    Blind to: factors that are not whole numbers, pictures that were compressed as JPEG afterwards, and an
    interpolation by 8, whose places are those of JPEG's blocks.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
        8-bit levels; parts of one picture.

    Returns
    -------
    Enlargement or None
        What at least half of the parts have; None where there is no such factor.
    """
    found = Counter(_find_factor(one) for one in images.double())
    del found[None]
    best, parts = found.most_common(1)[0] if found else (None, 0)
    return best if 2 * parts >= len(images) else None


def _find_factor(maps: Tensor) -> Enlargement | None:
    nearest = _choose_factor(maps, 1)
    if nearest is not None:
        return Enlargement(factor=nearest, is_nearest=True)
    factors = [chosen for order in _ROUNDING if (chosen := _choose_factor(maps, order)) is not None]
    # an even factor has third differences that repeat with half of it
    if not factors or max(factors) == _OF_JPEG:
        return None
    return Enlargement(factor=max(factors), is_nearest=False)


def _choose_factor(maps: Tensor, order: int) -> int | None:
    """Factor whose phases differ most in the differences of an order; None where those of none do."""
    steps = [maps.diff(order, dim=axis) for axis in (1, 2)]
    sizes = [_measure_sizes(each, order) for each in steps]
    least = _LEAST_OF_NEAREST if order == 1 else _LEAST_RATIO
    best: int | None = None
    most = 1.0
    for factor in _FACTORS:
        ratio, peak = _compare_phases(sizes, factor, order)
        if ratio >= least and peak > _MORE * most:
            best, most = factor, peak
    if best is None:
        return None
    rest = [_measure_sizes(_take_off_pattern(each, best * -(-_PATTERN // best)), order) for each in steps]
    return best if _compare_phases(rest, best, order)[0] >= _LEAST_WITHOUT_PATTERN else None


def _take_off_pattern(steps: Tensor, period: int) -> Tensor:
    """Take off the median of all that lie a whole number of periods apart; incomplete periods are left out."""
    down, right = (side // period for side in steps.shape[1:])
    tiles = steps[:, : down * period, : right * period].reshape(-1, down, period, right, period)
    pattern = tiles.permute(0, 2, 4, 1, 3).flatten(3).median(-1)[0]
    return (tiles - pattern[:, None, :, None, :]).reshape(-1, down * period, right * period)


def _measure_sizes(steps: Tensor, order: int) -> Tensor:
    """Size (C, h, w) of differences, so that a few strong edges do not decide."""
    sizes = steps.abs()
    if order > 1:
        return (sizes > _ROUNDING[order]).double()
    mean = sizes.mean((1, 2), keepdim=True)
    return torch.where(mean > 0, sizes / (sizes + mean), 0)


def _compare_phases(sizes: list[Tensor], factor: int, order: int) -> tuple[float, float]:
    """Largest phase over the smallest, and over the mean; of the direction where that is less."""
    ratios, peaks = [], []
    for axis, values in enumerate(sizes, 1):
        lines = values.sum((0, 3 - axis))
        phases = lines[: len(lines) // factor * factor].reshape(-1, factor).sum(0)
        added = _FEW if order > 1 else _SHARE_OF_NEAREST * values.numel() / factor
        ratios.append(float((phases.max() + added) / (phases.min() + added)))
        peaks.append(float((phases.max() + added) / (phases.mean() + added)))
    return min(ratios), min(peaks)
