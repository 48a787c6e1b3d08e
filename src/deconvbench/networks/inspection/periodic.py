"""What of a map repeats with a period, and how strongly at each scale: for any number of axes, no period refused.

The mean over one period is taken from every pixel first, so that slopes (what is left of borders) do not count.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# side of the middle: that many periods, and that many pixels
_PERIODS, _SMALLEST = 6, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicPart:
    """What repeats.

    Parameters
    ----------
    power : mapping of int to float
        Mean square of the patterns whose smallest period is that many pixels, for each divisor of the period
        from 2; over all maps and channels.
    scatter : float
        Mean square that is expected at random: of the rest, over the number of periods.
    periodicity_error : float
        RMS of what does not repeat, over that of what does; infinite where nothing does.
    waves : Tensor or None, shape (parts, N, C, P, ...), complex
        The pattern's Fourier coefficients: a wave of amplitude a has a/2. None for a mean over several maps.
    """

    power: Mapping[int, float]
    scatter: float
    periodicity_error: float
    waves: Tensor | None = None

    @property
    def total(self) -> float:
        """Mean square of all that repeats."""
        return sum(self.power.values())

    @property
    def pattern(self) -> Tensor | None:
        """One period of it for each map, shape (parts, N, C, P, ...), without the mean; None without `waves`."""
        if self.waves is None:
            return None
        axes = tuple(range(3, self.waves.ndim))
        lines = self.waves * (_list_scales(self.waves.shape[3:]) > 1)
        pattern: Tensor = torch.fft.ifftn(lines, dim=axes, norm="forward").real
        return pattern

    def take_waves(self, period: int) -> Tensor:
        """Take the coefficients of the waves whose smallest period is that many pixels, in a row."""
        assert self.waves is not None
        return self.waves[..., _list_scales(self.waves.shape[3:]) == period].flatten()


def read_periodic(maps: Tensor, period: int, dims: int, parts: int = 1) -> PeriodicPart | None:
    """Find the periodic part of the middle of maps.

    Parameters
    ----------
    maps : Tensor, shape (N, C, ...)
        With `dims` spatial axes.
    period : int
        P in pixels, along each axis that has room for it.
    dims : int
        How many axes.
    parts : int
        Into how many parts the last axis is cut before, each with a middle of its own.

    Returns
    -------
    PeriodicPart or None
        None where less than two periods are left along the last axis.
    """
    found = [_read_part(part.double(), period, dims) for part in maps.tensor_split(parts, -1)]
    kept = [part for part in found if part is not None]
    if len(kept) < parts:
        return None
    power = {scale: sum(part.power[scale] for part in kept) / parts for scale in kept[0].power}
    error = math.sqrt(sum(part.periodicity_error**2 for part in kept) / parts)
    waves = None
    if all(part.waves is not None and part.waves.shape == kept[0].waves.shape for part in kept):  # type: ignore[union-attr] # they are there
        waves = torch.cat([part.waves for part in kept if part.waves is not None])
    scatter = sum(part.scatter for part in kept) / parts
    return PeriodicPart(power=power, scatter=scatter, periodicity_error=error, waves=waves)


def project(part: PeriodicPart, onto: PeriodicPart, period: int) -> float:
    """Share of one pattern that another one has in it, at one scale: 1 if they are the same, negative if opposed.

    Parameters
    ----------
    part : PeriodicPart
        The one that is asked for.
    onto : PeriodicPart
        The whole; of the same network and colour.
    period : int
        The scale: smallest period in pixels.
    """
    found, whole = part.take_waves(period), onto.take_waves(period)
    power = float(whole.abs().square().sum())
    return float((found * whole.conj()).real.sum()) / power if power else 0.0


def average_parts(parts: Sequence[PeriodicPart]) -> PeriodicPart:
    """Average what repeats in several maps."""
    count = len(parts)
    power = {scale: sum(part.power[scale] for part in parts) / count for scale in parts[0].power}
    errors = [part.periodicity_error for part in parts]
    return PeriodicPart(
        power=power,
        scatter=sum(part.scatter for part in parts) / count,
        periodicity_error=math.sqrt(sum(error**2 for error in errors) / count),
    )


def _read_part(y: Tensor, period: int, dims: int) -> PeriodicPart | None:
    periods = []
    rest = y
    count = 1
    for axis in range(2, 2 + dims):
        side = rest.shape[axis]
        # what is near a border is left out as far as there is room: plain colours have no noise to average
        middle = min(side - 2 * (side // 4), max(_PERIODS * period, _SMALLEST))
        # a short axis (a few rows of a sequence) is averaged over
        one = period if middle >= 3 * period else 1
        if axis == 1 + dims and one == 1:
            return None
        rest = rest.narrow(axis, (side - middle) // 2, middle)
        periods.append(one)
    rest = _remove_slope(rest, periods)
    for axis, one in enumerate(periods, start=2):
        blocks = rest.shape[axis] // one
        count *= blocks
        rest = rest.narrow(axis, 0, blocks * one)
    shape = list(rest.shape[:2])
    for size, one in zip(rest.shape[2:], periods, strict=True):
        shape += [size // one, one]
    blocks_of = rest.reshape(shape)
    means = blocks_of.mean(tuple(range(2, 2 + 2 * dims, 2)), keepdim=True)
    irregular = float((blocks_of - means).square().mean())
    phases = means.squeeze(tuple(range(2, 2 + 2 * dims, 2))).reshape(*rest.shape[:2], *periods)
    axes = tuple(range(2, 2 + dims))
    waves = torch.fft.fftn(phases, dim=axes, norm="forward")
    mean_power, scales = waves.abs().square().mean((0, 1)), _list_scales(periods)
    power = {
        scale: float(mean_power[scales == scale].sum()) for scale in range(2, period + 1) if period % scale == 0
    }
    total = sum(power.values())
    error = math.sqrt(irregular / total) if total else math.inf if irregular else 0.0
    return PeriodicPart(power=power, scatter=irregular / count, periodicity_error=error, waves=waves[None])


def _list_scales(periods: Sequence[int]) -> Tensor:
    """Smallest period of the pattern of each Fourier coefficient; 1 for the mean."""
    reduced = [torch.tensor([one // math.gcd(index, one) for index in range(one)]) for one in periods]
    scales = torch.ones(tuple(periods), dtype=torch.int64)
    for axis, own in enumerate(reduced):
        scales = torch.lcm(scales, own.reshape([-1 if other == axis else 1 for other in range(len(periods))]))
    return scales


def _remove_slope(y: Tensor, periods: list[int]) -> Tensor:
    """Take the mean over one period around each pixel from it; what has no such surroundings is left out."""
    mean, kept = y, y
    for axis, period in enumerate(periods, start=2):
        if period == 1:
            continue
        mean = mean.unfold(axis, period, 1).mean(-1)
        kept = kept.narrow(axis, period // 2, mean.shape[axis])
    return kept - mean
