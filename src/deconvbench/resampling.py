"""Bootstrap over seeds and images together, and Holm's step-down, for means of what trained networks were scored.

Seeds and images are crossed: every seed's network is scored on the same images. Both are drawn with replacement,
a resample takes each pair as often as its seed times its image was drawn, and all quantities of one shape share
their resamples, so that differences and ratios of them are paired. Knows no tables and no claims.

References
----------
Efron, Tibshirani, "An introduction to the bootstrap", 1993.
Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007), arXiv:0712.1111: resampling both factors
of a crossed design overstates the variance of a mean a little rather than understating it.
Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69 (2015), arXiv:1411.5279:
percentiles that are moved outward where units are few.
Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]
Member = TypeVar("Member")

# the fewest, and how many are drawn and averaged at a time
RESAMPLES = 20_000
# beyond each end of an interval: an end that rests on fewer is about the extremes, and depends on the seed
TAIL_RESAMPLES = 50
# more are not drawn, at 16 MB a number: nine seeds in a family of nine questions need 1.5 million
MOST_RESAMPLES = 2_000_000
# of every resampling, so that the same results have the same intervals
RESAMPLING_SEED = 2016


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampled:
    """A number with what it is in each resample.

    Parameters
    ----------
    value : float
        From all seeds and images.
    draws : ndarray, shape (resamples,), float64
        From each resample, as many as `count_resamples` says; those of numbers from as many seeds and images
        belong together.
    seeds : int
        How many seeds it rests on.
    images : int
        How many images were drawn with them; 0 where seeds alone were.
    """

    value: float
    draws: Floats
    seeds: int
    images: int = 0

    def __sub__(self, other: "Resampled") -> "Resampled":
        return self._join(other, self.value - other.value, self.draws - other.draws)

    def __truediv__(self, other: "Resampled") -> "Resampled":
        with np.errstate(divide="ignore", invalid="ignore"):
            draws = self.draws / other.draws
        return self._join(other, self.value / other.value if other.value else math.nan, draws)

    def _join(self, other: "Resampled", value: float, draws: Floats) -> "Resampled":
        seeds, images = min(self.seeds, other.seeds), max(self.images, other.images)
        return Resampled(value=value, draws=draws, seeds=seeds, images=images)

    def apply(self, function: Callable[[Floats], Floats]) -> "Resampled":
        """Apply a function of arrays to the number and to each draw.

        Parameters
        ----------
        function : callable
            Elementwise.
        """
        value = float(function(np.array([self.value]))[0])
        return replace(self, value=value, draws=function(self.draws))

    def find_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Find the percentile interval, moved outward for few seeds as Hesterberg has it.

        Parameters
        ----------
        level : float
            Probability of covering, between 0 and 1.

        Returns
        -------
        low, high : float
            In the unit of the number. NaN where a draw is not finite, and where seeds are too few for the level:
            even the span of n seeds' values misses the median of all with probability 2^(1 − n), so that 95 %
            needs six seeds. Of the same draws, intervals of a higher level hold those of a lower one.

        Raises
        ------
        ValueError
            If the level is not between 0 and 1, or needs more draws than were made.
        """
        tail, needed = _find_tail(self.seeds, level), count_resamples(self.seeds, level)
        if needed > self.draws.size:
            raise ValueError(f"level: {level} needs {needed} resamples and not {self.draws.size}")
        if math.isnan(tail) or not np.isfinite(self.draws).all():
            return math.nan, math.nan
        low, high = np.quantile(self.draws, (tail, 1 - tail))
        return float(low), float(high)


def _find_tail(seeds: int, level: float) -> float:
    """Share of the resamples beyond each end of an interval; NaN where seeds are too few for the level."""
    if not 0 < level < 1:
        raise ValueError(f"level: {level} is not between 0 and 1")
    if seeds < 2 or 2.0 ** (1 - seeds) > 1 - level:
        return math.nan
    quantile = float(special.stdtrit(seeds - 1, (1 + level) / 2))
    return float(special.ndtr(-math.sqrt(seeds / (seeds - 1)) * quantile))


def count_resamples(seeds: int, level: float) -> int:
    """Say how many resamples an interval needs, so that `TAIL_RESAMPLES` lie beyond each of its ends.

    Parameters
    ----------
    seeds : int
        How many seeds the number rests on.
    level : float
        Of the interval, between 0 and 1.

    Returns
    -------
    int
        A multiple of `RESAMPLES`, up to `MOST_RESAMPLES`; `RESAMPLES` where there is no interval.

    Raises
    ------
    ValueError
        If the level is not between 0 and 1.
    """
    tail = _find_tail(seeds, level)
    if math.isnan(tail) or tail * RESAMPLES >= TAIL_RESAMPLES:
        return RESAMPLES
    if tail * MOST_RESAMPLES <= TAIL_RESAMPLES:
        return MOST_RESAMPLES
    return math.ceil(TAIL_RESAMPLES / tail / RESAMPLES) * RESAMPLES


def resample_mean(values: ArrayLike, level: float = 0.95) -> Resampled:
    """Mean over seeds and images, in all and in each resample.

    Parameters
    ----------
    values : array_like, shape (seeds, images) or (seeds,)
        Finite, at least one. A single column is the same for all images: seeds alone are drawn.
    level : float
        The highest of the intervals that are wanted, between 0 and 1. Numbers of one level belong together.

    Returns
    -------
    Resampled

    Raises
    ------
    ValueError
        If there is no value, one is not finite, or the level is not between 0 and 1.
    """
    table = np.asarray(values, dtype=np.float64)
    table = table[:, np.newaxis] if table.ndim == 1 else table
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"values: shape {table.shape} is not seeds by images")
    if not np.isfinite(table).all():
        raise ValueError(f"values: {table[~np.isfinite(table)][0]} is not finite")
    resamples = count_resamples(table.shape[0], level)
    draws = _average(table.tobytes(), table.shape, resamples)
    images = table.shape[1] if table.shape[1] > 1 else 0
    return Resampled(value=float(table.mean()), draws=draws, seeds=table.shape[0], images=images)


@lru_cache(maxsize=8)  # one number is asked for several times in a row
def _average(values: bytes, shape: tuple[int, int], resamples: int) -> Floats:
    """Means of a table in each resample, (resamples,)."""
    table = np.frombuffer(values).reshape(shape)
    seeds, images = shape
    draws = np.empty(resamples)
    for block, part in enumerate(draws.reshape(-1, RESAMPLES)):
        found = _draw_counts(seeds, block) @ (table / (seeds * images))
        part[:] = (
            found[:, 0]
            if images == 1
            else np.einsum("ri,ri->r", found, _draw_counts(images, block, of_images=True))
        )
    draws.flags.writeable = False
    return draws


def _draw_counts(units: int, block: int, *, of_images: bool = False) -> Floats:
    """How often units are drawn in each resample of a block, (resamples, units)."""
    return _draw_block(units, block, of_images).astype(np.float64)


@lru_cache(maxsize=512)
def _draw_block(units: int, block: int, of_images: bool) -> NDArray[np.unsignedinteger[Any]]:
    """As `_draw_counts`, small; seeds, images and blocks have streams of their own."""
    source = np.random.default_rng((RESAMPLING_SEED, int(of_images), units, block))
    counts = source.multinomial(units, np.full(units, 1 / units), size=RESAMPLES).astype(np.min_scalar_type(units))
    counts.flags.writeable = False
    return counts


def square_signed(values: ArrayLike) -> Floats:
    """Square numbers and keep their signs: what of signed amplitudes may be averaged.

    Parameters
    ----------
    values : array_like
        Amplitudes, negative where the power is below what lies beside it.
    """
    numbers = np.asarray(values, dtype=np.float64)
    return numbers * np.abs(numbers)


def root_signed(values: ArrayLike) -> Floats:
    """Undo `square_signed`.

    Parameters
    ----------
    values : array_like
        Powers, signed.
    """
    numbers = np.asarray(values, dtype=np.float64)
    return np.copysign(np.sqrt(np.abs(numbers)), numbers)


def step_down(
    members: Sequence[Member], is_decided: Callable[[Member, float], bool], level: float = 0.95
) -> dict[Member, float]:
    """Find the level at which each question of a family is answered, after Holm.

    As long as n questions are open, each is asked at 1 − (1 − level) / n; those that are decided leave, and the
    others are asked again at the lower level that this leaves. It is Holm's procedure on the smallest error
    probabilities at which the answers stay, so a family has a wrong answer with probability 1 − level at most.

    Parameters
    ----------
    members : sequence
        The questions; hashable.
    is_decided : callable
        Given a question and a level, whether intervals of that level decide it. What decides at a level must also
        decide at any lower one.
    level : float
        Of the family.

    Returns
    -------
    dict
        The level at which each was last asked: at which it was decided, or at which it stays open.
    """
    levels: dict[Member, float] = {}
    still_open = list(members)
    while still_open:
        asked = 1 - (1 - level) / len(still_open)
        levels |= dict.fromkeys(still_open, asked)
        left = [member for member in still_open if not is_decided(member, asked)]
        if len(left) == len(still_open):
            break
        still_open = left
    return levels
