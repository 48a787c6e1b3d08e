"""What something costs at a size that was not measured: a line through the measured sizes, both logarithmic.

Between measured sizes a cost that grows as a power of the pixels can be read off; one that does not, because
another algorithm takes over, has no estimate. Memory is a fixed share and one for each pixel. Who asks beyond the
measured sizes must know it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from deconvbench.replicates import shrink_variances

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
    series: Sequence[Sequence[tuple[float, float]]],
    pixels: float,
    level: float = 0.95,
    *,
    has_fixed_share: bool = False,
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
    has_fixed_share : bool
        Whether the cost is a fixed share and one for each pixel, as memory is, so that the line is one of the cost
        over the pixels, not of their logarithms. Deviations count as shares of the cost all the same.

    Returns
    -------
    list of Quantity or str
        In order; for a series of fewer than `FEWEST_SIZES` different sizes, or one that is off its line by more
        than `LARGEST_RESIDUAL`, the reason why there is no estimate.
    """
    lines = [_fit_line(points, pixels, has_fixed_share=has_fixed_share) for points in series]
    fits = [line for line in lines if isinstance(line, _Line)]
    shrunk = shrink_variances([line.variance for line in fits], [line.dof for line in fits])
    known = iter(zip(shrunk.variances, shrunk.dof, strict=True))
    answers: list[Quantity | str] = []
    for line in lines:
        if isinstance(line, str):
            answers.append(line)
        else:
            variance, dof = next(known)
            half = float(special.stdtrit(dof, (1 + level) / 2)) * math.sqrt(float(variance) * line.leverage)
            ends = (line.value * math.exp(-half), line.value * math.exp(half))
            answers.append(Quantity(value=line.value, low=ends[0], high=ends[1]))
    return answers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A fit: what it says, the variance of logarithms about it, and how much less sure it is than one point."""

    value: float
    variance: float
    dof: int
    leverage: float


def _fit_line(points: Sequence[tuple[float, float]], pixels: float, *, has_fixed_share: bool) -> _Line | str:
    sizes = len({size for size, _ in points})
    if sizes < FEWEST_SIZES:
        return f"measured at {sizes} size{'s' * (sizes != 1)}; an estimate needs {FEWEST_SIZES}"
    x, y = np.asarray(points, dtype=np.float64).T
    if has_fixed_share:
        # in units of the pixels asked for; divided by the cost, so that a deviation is a share of it
        design, target, asked = np.stack((1 / y, x / pixels / y), axis=1), np.ones_like(y), np.ones(2)
    else:
        design, target, asked = (
            np.stack((np.ones_like(x), np.log(x / pixels)), axis=1),
            np.log(y),
            np.array((1, 0)),
        )
    inverse = np.linalg.inv(design.T @ design)
    line = inverse @ design.T @ target
    residuals = target - design @ line
    largest = float(np.abs(residuals).max())
    value = float(asked @ line)
    if largest > LARGEST_RESIDUAL or (has_fixed_share and value <= 0):
        kind = (
            "in proportion to the pixels beside a fixed share" if has_fixed_share else "as a power of the pixels"
        )
        return f"does not scale {kind}: off by {largest:.0%}"
    dof = len(points) - 2
    scale = value if has_fixed_share else 1.0
    return _Line(
        value=value if has_fixed_share else math.exp(value),
        variance=float((residuals**2).sum()) / dof,
        dof=dof,
        leverage=1 + float(asked @ inverse @ asked) / scale**2,
    )
