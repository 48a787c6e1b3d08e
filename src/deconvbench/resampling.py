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
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]
Member = TypeVar("Member")

RESAMPLES = 20_000
# of every resampling, so that the same results have the same intervals
RESAMPLING_SEED = 2016


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampled:
    """A number with what it is in each resample.

    Parameters
    ----------
    value : float
        From all seeds and images.
    draws : ndarray, shape (`RESAMPLES`,), float64
        From each resample; those of numbers from as many seeds and images belong together.
    seeds : int
        How many seeds it rests on.
    """

    value: float
    draws: Floats
    seeds: int

    def __sub__(self, other: "Resampled") -> "Resampled":
        return Resampled(
            value=self.value - other.value, draws=self.draws - other.draws, seeds=min(self.seeds, other.seeds)
        )

    def __truediv__(self, other: "Resampled") -> "Resampled":
        with np.errstate(divide="ignore", invalid="ignore"):
            draws = self.draws / other.draws
        value = self.value / other.value if other.value else math.nan
        return Resampled(value=value, draws=draws, seeds=min(self.seeds, other.seeds))

    def apply(self, function: Callable[[Floats], Floats]) -> "Resampled":
        """Apply a function of arrays to the number and to each draw.

        Parameters
        ----------
        function : callable
            Elementwise.
        """
        value = float(function(np.array([self.value]))[0])
        return Resampled(value=value, draws=function(self.draws), seeds=self.seeds)

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
            needs six seeds. Intervals of a higher level hold those of a lower one.

        Raises
        ------
        ValueError
            If the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level: {level} is not between 0 and 1")
        if self.seeds < 2 or 2.0 ** (1 - self.seeds) > 1 - level or not np.isfinite(self.draws).all():
            return math.nan, math.nan
        quantile = float(special.stdtrit(self.seeds - 1, (1 + level) / 2))
        tail = float(special.ndtr(-math.sqrt(self.seeds / (self.seeds - 1)) * quantile))
        low, high = np.quantile(self.draws, (tail, 1 - tail))
        return float(low), float(high)


def resample_mean(values: ArrayLike) -> Resampled:
    """Mean over seeds and images, in all and in each resample.

    Parameters
    ----------
    values : array_like, shape (seeds, images) or (seeds,)
        Finite, at least one. A single column is the same for all images: seeds alone are drawn.

    Returns
    -------
    Resampled

    Raises
    ------
    ValueError
        If there is no value, or one is not finite.
    """
    table = np.asarray(values, dtype=np.float64)
    table = table[:, np.newaxis] if table.ndim == 1 else table
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"values: shape {table.shape} is not seeds by images")
    if not np.isfinite(table).all():
        raise ValueError(f"values: {table[~np.isfinite(table)][0]} is not finite")
    by_seed, by_image = _draw_weights(table.shape[0]), _draw_weights(table.shape[1], of_images=True)
    draws = np.einsum("ri,ri->r", by_seed @ table, by_image)
    return Resampled(value=float(table.mean()), draws=draws, seeds=table.shape[0])


@lru_cache(maxsize=64)
def _draw_weights(units: int, *, of_images: bool = False) -> Floats:
    """Shares that units have in each resample, (resamples, units); seeds and images have streams of their own."""
    source = np.random.default_rng((RESAMPLING_SEED, int(of_images), units))
    weights = source.multinomial(units, np.full(units, 1 / units), size=RESAMPLES) / units
    weights.flags.writeable = False
    return weights


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
    return np.sign(numbers) * np.sqrt(np.abs(numbers))


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
