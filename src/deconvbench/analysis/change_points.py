"""Where the level of a series changes, by how much, and between which two of its points.

PELT of `ruptures` on winsorised logarithms, with a penalty made from the noise of the series itself. A level that
drifts is not a change: the noise is measured over blocks too, so that what wanders counts as noise. Takes plain
numbers; knows no cases, commits or records.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import special
from scipy.ndimage import median_filter

from deconvbench.errors import UsageError
from deconvbench.statistics import Floats

# points on either side of a change: fewer are outliers
LEAST_SEGMENT = 3
LEAST_POINTS = 2 * LEAST_SEGMENT
# of the running median: three outliers in a row do not move it
_WINDOW = 7
# standard deviations from the running median beyond which a point is an outlier
_CLIP = 2.5
_BLOCKS = (1, 2, 4, 8)
# of which one may be a change, beside a first one
_POINTS_PER_CHANGE = 50
# blocks that the noise at a scale is taken from, at least
_LEAST_BLOCKS = 8
# of a squared standard normal number
_MEDIAN_CHI2 = 0.4549364
# a median of squares is as sure of a variance as 0.37 times as many squares are
_MEDIAN_EFFICIENCY = 0.37
# twice the log likelihood ratio: the maximum of two independent Brownian motions with drift stays below half of it
# with a probability of 95 %
_LOCATION_LIMIT = -2 * math.log(1 - math.sqrt(0.95))
# of logarithms: below it is rounding
_LEAST_NOISE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePoint:
    """A change of level between two points of a series.

    Parameters
    ----------
    position : int
        Of the first point after the change, at its most likely place.
    last_before, first_after : int
        The change lies between these two points: the last that is surely before it, and the first that is surely
        after, with a probability of 95 %. Neighbours where the place is clear.
    step : float
        Difference of the levels, after less before.
    low, high : float
        Its interval.
    """

    position: int
    last_before: int
    first_after: int
    step: float
    low: float
    high: float


def find_change_points(
    values: Sequence[float] | Floats, *, margin: float, level: float = 0.95, series: int = 1
) -> list[ChangePoint]:
    """Find the changes of level of a series.

    The penalty of PELT for one more change is the variance of the noise times the square of Student's quantile, at
    a level that is shared out among the points of the series and all series. Steps smaller than the margin are
    dropped, the smallest first, and the levels beside them joined.

    Parameters
    ----------
    values : sequence of float
        Logarithms, in their order.
    margin : float
        Smallest step that counts, as a logarithm.
    level : float
        Probability that no change is found in any of the series where there is none.
    series : int
        How many are searched.

    Returns
    -------
    list of ChangePoint
        In their order; none of a series with fewer than `LEAST_POINTS` points.

    Raises
    ------
    UsageError
        If `ruptures` is not installed.

    References
    ----------
    Killick, Fearnhead and Eckley, "Optimal detection of changepoints with a linear computational cost", JASA 107
    (2012). The noise: Dette, Eckle and Vetter, "Multiscale change point detection for dependent data",
    Scandinavian Journal of Statistics 47 (2020). The place: Siegmund, "Confidence sets in change-point problems",
    International Statistical Review 56 (1988). Why outliers must not count in full: Fearnhead and Rigaill,
    "Changepoint detection in the presence of outliers", JASA 114 (2019).
    """
    count = len(values)
    if count < LEAST_POINTS:
        return []
    clipped = clip_outliers(np.asarray(values, dtype=np.float64))
    variance, dof = measure_noise(clipped)
    chance = (1 - level ** (1 / series)) / count
    penalty = variance * float(special.stdtrit(dof, chance / 2)) ** 2
    ends = _drop_small(clipped, _segment(clipped, penalty), margin)
    quantile = -float(special.stdtrit(dof, (1 - level ** (1 / series)) / 2))
    found = []
    for start, position, end in zip([0, *ends], ends, [*ends[1:], count], strict=False):
        before, after = clipped[start:position], clipped[position:end]
        step = float(after.mean() - before.mean())
        half = quantile * math.sqrt(variance * (1 / len(before) + 1 / len(after)))
        first, last = _locate(clipped[start:end], position - start, variance)
        found.append(
            ChangePoint(
                position=position,
                last_before=start + first - 1,
                first_after=start + last,
                step=step,
                low=step - half,
                high=step + half,
            )
        )
    return found


def clip_outliers(values: Floats) -> Floats:
    """Draw outliers in towards the running median, to two and a half standard deviations from it.

    Parameters
    ----------
    values : ndarray, shape (points,)
        In their order.
    """
    centre = median_filter(values, size=_WINDOW, mode="mirror")
    spread = float(np.median(np.abs(values - centre))) / math.sqrt(_MEDIAN_CHI2)
    # of the running median a seventh is the point itself
    reach = max(_CLIP * spread * math.sqrt(_WINDOW / (_WINDOW - 1)), _LEAST_NOISE)
    return np.clip(values, centre - reach, centre + reach)


def measure_noise(values: Floats) -> tuple[float, float]:
    """Measure the noise of a series whose level changes now and then, and may wander.

    Differences of neighbouring blocks of one point and more; of all sizes the largest counts, scaled to one point.
    Differences across a change must not count: the largest of those of single points, one and two in a
    hundred, are left out, and of larger blocks the median is taken.

    Parameters
    ----------
    values : ndarray, shape (points,)
        Logarithms, outliers drawn in; at least three.

    Returns
    -------
    variance, dof : float
        Of a single point, and with how many degrees of freedom it is known.
    """
    count = len(values)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    found = []
    for size in _BLOCKS:
        if size > 1 and count < _LEAST_BLOCKS * size:
            break
        means = (sums[size:] - sums[:-size]) / size
        squares = (means[size:] - means[:-size]) ** 2 * size / 2
        if size == 1:
            kept = np.sort(squares)[: -(1 + count // _POINTS_PER_CHANGE)]
            found.append((float(kept.mean()) / _expect_kept(len(kept) / len(squares)), 2 * len(kept) / 3))
        else:
            found.append((float(np.median(squares)) / _MEDIAN_CHI2, _MEDIAN_EFFICIENCY * count / size))
    variance, dof = max(found)
    return max(variance, _LEAST_NOISE**2), max(dof, 1.0)


def _expect_kept(share: float) -> float:
    """Expect the mean of the smallest of many squared standard normal numbers."""
    limit = float(special.chdtri(1, 1 - share))
    return float(special.chdtr(3, limit)) / share


def _segment(values: Floats, penalty: float) -> list[int]:
    try:
        from ruptures import KernelCPD  # noqa: PLC0415 -- an extra
    except ImportError as error:
        raise UsageError(
            "history needs the package ruptures: pip install 'deconvbench[history]' (Python below 3.14)"
        ) from error
    # with this kernel the cost is the sum of squares about the mean of each segment
    engine = KernelCPD(kernel="linear", min_size=LEAST_SEGMENT).fit(values.reshape(-1, 1))
    return [int(end) for end in engine.predict(pen=penalty)[:-1]]


def _drop_small(values: Floats, ends: Sequence[int], margin: float) -> list[int]:
    kept = list(ends)
    while kept:
        bounds = [0, *kept, len(values)]
        means = [float(values[start:end].mean()) for start, end in pairwise(bounds)]
        steps = np.abs(np.diff(means))
        smallest = int(steps.argmin())
        if steps[smallest] >= margin:
            break
        del kept[smallest]
    return kept


def _locate(values: Floats, position: int, variance: float) -> tuple[int, int]:
    """Find the first and the last place at which a change is not much less likely than at its best."""
    count = len(values)
    places = np.arange(1, count)
    sums = np.cumsum(values)
    left = sums[:-1]
    explained = left**2 / places + (sums[-1] - left) ** 2 / (count - places)
    likely = places[explained >= explained[position - 1] - _LOCATION_LIMIT * variance]
    return min(int(likely.min()), position), max(int(likely.max()), position)
