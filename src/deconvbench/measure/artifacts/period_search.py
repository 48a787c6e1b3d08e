"""Finds the period of a grid that nobody named: the lines that stand above their surroundings, period by period.

Every grid line belongs to one period, the least common multiple of its two reduced denominators, so the lines of
all periods are told apart before they are added up. Says how far each period stands out; how strong a pattern is,
in units of the image, is said by `checkerboard`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from deconvbench.arguments import check_whole
from deconvbench.errors import UsageError, quote
from deconvbench.measure.artifacts.images import Channels, Picture, read_images, split_magnitude
from deconvbench.measure.artifacts.lines import (
    estimate_floor,
    find_scale,
    list_lines,
    read_surroundings,
    select_beside,
    take_median,
)
from deconvbench.measure.artifacts.patches import mean_power
from deconvbench.measure.artifacts.soft_clip import apply_laplacian

_SHORTEST, _LONGEST = 2, 64
# side of the patches, about; and how many periods they hold, at best and at least
_PATCH, _PERIODS, _FEWEST_PERIODS = 64, 8, 4
# bins around a line that are compared with it, where its neighbours are twice as far
_FARTHEST = 4
# the Laplacian is clipped at its mean size times this: edges are, what is weak is not
_CLIP = 0.5
# scatters above what is beside its lines that no period of 98 in 100 photographs reaches
_LEVEL = 3.2
# from the median of absolute deviations to the standard deviation of a normal distribution
_NORMAL = 1.4826
# least energy of a line, as a share of those of a period, with which a multiple of it is the period: where a
# pattern meets content of nearly that period, the clip mixes the two
_LEAST_SHARE = 0.05
# share of the strongest line's power that rounding leaves elsewhere
_ROUNDING = 1e-24


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodResult:
    """What `find_period` found.

    Parameters
    ----------
    period : int or None
        Of the grid, in pixels; None where no period stands out.
    strength : float
        How far the period that stands out most does, in standard deviations of what is beside its lines.
    level : float
        What a strength must exceed.
    candidates : mapping of int to float
        Strength of the lines of each period that are not lines of a shorter one, the largest strength first.
    """

    period: int | None
    strength: float
    level: float
    candidates: Mapping[int, float]

    def __str__(self) -> str:
        if self.period is None:
            return f"no period stands out (strength {self.strength:.3g}, level {self.level:.3g})"
        return f"period {self.period} (strength {self.strength:.3g}, level {self.level:.3g})"


def find_period(
    image: Picture,
    periods: Iterable[int] = range(_SHORTEST, _LONGEST + 1),
    *,
    channels: Channels | None = None,
) -> PeriodResult:
    """Find the period of the grid of an image, if it has one.

    For each period P, the spectrum of patches of a whole number of periods, of the Laplacian clipped softly; at
    the lines (i/P, j/P) that no shorter period has, the mean logarithm of the power, against the same beside the
    lines, in standard deviations of the latter. The period is the one that stands out most, or the multiple of it
    that does, and so on: a pattern of period 8 has lines of periods 2 and 4 too, one of period 2 none of period 4.

    Unit: none. Patches have phases of their own, so the sign of the pattern may differ from patch to patch.
    Blind to: patterns of which an image does not show four periods.
    Misread: whatever repeats with a whole number of pixels (a fence, a page of text, JPEG's blocks) has a period.

    Parameters
    ----------
    image : Tensor, ndarray or PIL.Image.Image
        As for `checkerboard`; images and channels are averaged. H and W at least 32.
    periods : iterable of int
        Those to look for, each 2 to 64. Left out are those of which the image does not show four.
    channels : {"first", "last"} or None
        Where the channels are, as for `checkerboard`.

    Returns
    -------
    PeriodResult

    Raises
    ------
    UsageError
        If the image is not one, or does not show four of any of the periods, or a period is not a whole number
        from 2 to 64, or there is none.
    """
    if not isinstance(periods, Iterable):
        raise UsageError(
            f"periods: {quote(periods)} is not a list of whole numbers from {_SHORTEST} to {_LONGEST}"
        )
    asked = sorted({_check(period) for period in periods})
    if not asked:
        raise UsageError("periods: none is given; at least one from 2 to 64 is needed")
    images, _ = split_magnitude(read_images(image, channels=channels))
    shorter = min(images.shape[-2:])
    shown = [period for period in asked if period * _FEWEST_PERIODS <= shorter]
    if not shown:
        height, width = images.shape[-2:]
        needed = asked[0] * _FEWEST_PERIODS
        raise UsageError(
            f"image: {height}×{width} pixels (the last two axes) are too few for period {asked[0]};"
            f" at least {needed}×{needed} are needed"
        )
    sharp = torch.stack([apply_laplacian(image_map) for image_map in images.flatten(0, 1)])
    # the outermost pixels lack a neighbour: as their neighbours have it
    maps = torch.nn.functional.pad(_clip_softly(sharp), (1, 1, 1, 1), mode="replicate")
    found = {period: _measure_strength(maps, period) for period in shown}
    strengths = {period: strength for period, (strength, _) in found.items()}
    candidates = dict(sorted(strengths.items(), key=lambda item: -item[1]))
    return PeriodResult(
        period=_choose_period(candidates, {period: energy for period, (_, energy) in found.items()}),
        strength=max(strengths.values()),
        level=_LEVEL,
        candidates=candidates,
    )


def _check(period: object) -> int:
    try:
        return check_whole("periods", period, _SHORTEST, _LONGEST)
    except UsageError as error:
        raise UsageError(
            f"periods: {quote(period)} is not a whole number from {_SHORTEST} to {_LONGEST}"
        ) from error


def _choose_period(candidates: Mapping[int, float], energies: Mapping[int, float]) -> int | None:
    """Period that stands out most, then the multiple of it that does, until there is none."""
    standing = [period for period, strength in candidates.items() if strength > _LEVEL]

    def is_weak(period: int, of: int) -> bool:
        return energies[period] <= _LEAST_SHARE * energies[of]

    # none whose lines are faint against those of a shorter one that it is a multiple of
    strong = [p for p in standing if not any(p > d and p % d == 0 and is_weak(p, d) for d in standing)]
    chosen = None
    while strong:
        chosen = strong[0]
        strong = [p for p in strong if p > chosen and p % chosen == 0]
    return chosen


def _clip_softly(maps: Tensor) -> Tensor:
    """Clip each map (M, H, W) softly at half its mean size."""
    limit = _CLIP * maps.abs().mean((1, 2), keepdim=True)
    ratio = torch.where(limit > 0, maps / limit, 0)
    return maps * (1 + ratio.square()).rsqrt()


@cache
def _list_own_lines(period: int) -> Tensor:
    """List the lines (L, 2) of a period that no shorter one has; not to be written to."""
    lines = [(i, j) for i, j in list_lines(period).tolist() if find_scale(i, j, period) == period]
    return torch.tensor(lines, device="cpu")


def _measure_strength(maps: Tensor, period: int) -> tuple[float, float]:
    """How far a period's own lines, that no shorter one has, stand out of what is beside; mean energy of one."""
    height, width = maps.shape[-2:]
    held = min(max(_PERIODS, round(_PATCH / period)), min(height, width) // period)
    side = held * period
    lines = _list_own_lines(period)
    bins = lines * held
    heights, besides, energies = [], [], []
    for power in (mean_power(one, side)[0] for one in maps):
        if float(power.max()) == 0:
            continue
        white, _ = read_surroundings(power + _ROUNDING * power.max(), bins, min(_FARTHEST, held // 2))
        ring, floor = estimate_floor(white)
        middle = white.shape[-1] // 2
        heights.append((white[:, middle, middle] / floor).log())
        besides.append((select_beside(white) / ring[:, None]).log())
        energies.append((white[:, middle, middle] - floor).mean())
    if not heights:
        return 0.0, 0.0
    height_of_lines = float(torch.stack(heights).mean())
    beside = torch.stack(besides).mean((0, 1))
    typical = take_median(beside)
    independent = (height // side) * (width // side)
    # of the mean logarithm of as many exponential variables; lines come in pairs of equal power
    least = math.sqrt(2 / len(lines) / independent)
    # at most that of a single one: an image that is nothing but a pattern has rounding beside its lines
    scatter = min(_NORMAL * float(take_median((beside - typical).abs())), math.pi / math.sqrt(6))
    return (height_of_lines - float(typical)) / max(scatter, least), float(torch.stack(energies).mean())
