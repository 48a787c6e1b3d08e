"""What something costs at a size that was not measured: a line through the measured sizes, both logarithmic.

Between measured sizes a cost that grows as a power of the pixels can be read off; one that does not, because a
fixed share or another algorithm takes over, has no estimate. Decides nothing: who asks beyond the measured sizes
must know it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from deconvbench.statistics import shrink_variances

FEWEST_SIZES = 3
# what a measured size may be off the line, as a share: beyond it a line is not how this scales
LARGEST_RESIDUAL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number with its interval.

    Parameters
    ----------
    value : float
        In the unit of what it is.
    low, high : float or None
        Ends of the 95 % interval; None where there is none.
    """

    value: float
    low: float | None = None
    high: float | None = None


def estimate_at(
    series: Sequence[Sequence[tuple[float, float]]], pixels: float, level: float = 0.95
) -> list[Quantity | str]:
    """Read costs off the lines through their measured sizes.

    Each interval is Student's prediction interval: of what a measurement at that size would give, the line's own
    uncertainty included. Three sizes leave one degree of freedom, so the variance about the line is moderated by
    those of the other series (`shrink_variances`), which were measured on the same machine.

    Parameters
    ----------
    series : sequence of sequence of (float, float)
        For each of them pixels and cost at each measured size, all above 0.
    pixels : float
        Of the size that is asked for.
    level : float
        Probability of covering, between 0 and 1.

    Returns
    -------
    list of Quantity or str
        In order; for a series of fewer than `FEWEST_SIZES` different sizes, or one that is off its line by more
        than `LARGEST_RESIDUAL`, the reason why there is no estimate.
    """
    lines = [_fit_line(points, pixels) for points in series]
    fits = [line for line in lines if isinstance(line, _Line)]
    shrunk = shrink_variances([line.variance for line in fits], [line.dof for line in fits])
    known = iter(zip(shrunk.variances, shrunk.dof, strict=True))
    return [line if isinstance(line, str) else _predict(line, *map(float, next(known)), level) for line in lines]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A fit: the logarithm that it says, variance about it, and how much surer or less sure than one point."""

    centre: float
    variance: float
    dof: int
    leverage: float


def _fit_line(points: Sequence[tuple[float, float]], pixels: float) -> _Line | str:
    sizes = len({size for size, _ in points})
    if sizes < FEWEST_SIZES:
        return f"measured at {sizes} size{'s' * (sizes != 1)}; an estimate needs {FEWEST_SIZES}"
    x, y = np.log(np.asarray(points, dtype=np.float64)).T
    middle = float(x.mean())
    spread = float(((x - middle) ** 2).sum())
    slope = float(((x - middle) * (y - y.mean())).sum()) / spread
    residuals = y - y.mean() - slope * (x - middle)
    largest = float(np.abs(residuals).max())
    if largest > math.log1p(LARGEST_RESIDUAL):
        return f"does not scale as a power of the pixels: off by {math.expm1(largest):.0%}"
    dof = len(points) - 2
    distance = math.log(pixels) - middle
    return _Line(
        centre=float(y.mean()) + slope * distance,
        variance=float((residuals**2).sum()) / dof,
        dof=dof,
        leverage=1 + 1 / len(points) + distance**2 / spread,
    )


def _predict(line: _Line, variance: float, dof: float, level: float) -> Quantity:
    half = float(special.stdtrit(dof, (1 + level) / 2)) * math.sqrt(variance * line.leverage)
    return Quantity(
        value=math.exp(line.centre), low=math.exp(line.centre - half), high=math.exp(line.centre + half)
    )
