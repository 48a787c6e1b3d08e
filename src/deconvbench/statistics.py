"""Intervals over samples, spread, Pareto fronts.

Samples within one process share its memory layout, its clocks and its neighbours: they describe that process and
nothing else. So an interval over samples is about one replicate, and an interval over replicates is about the
case; the latter is in `deconvbench.replicates`. Works on numpy arrays with numpy and scipy only; knows no tables.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

# makes the median absolute deviation of a normal distribution its standard deviation: 1 / Φ⁻¹(3/4)
_MAD_TO_SD = 1.482602218505602


def median_interval(samples: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Median with an interval that holds for any continuous distribution.

    The ends are order statistics: the k-th smallest and the k-th largest sample enclose the population's median
    with probability 1 − 2·P(Bin(n, ½) < k); k is the largest that keeps it at `level` or above.

    Parameters
    ----------
    samples : array_like, shape (n,)
        Independent, finite, at least one.
    level : float
        Probability of covering, between 0 and 1.

    Returns
    -------
    median, low, high : float
        In the unit of the samples, low ≤ median ≤ high. Where n is too small for the level (below 6 at 95 %), low
        and high are the smallest and the largest sample, which cover with less: one sample gives a width of 0.

    Raises
    ------
    ValueError
        If there is no sample, one is not finite, or the level is not between 0 and 1.

    References
    ----------
    Le Boudec, "Performance Evaluation of Computer and Communication Systems", 2010, theorem 2.1.
    """
    median, low, high = median_intervals(check_samples("samples", samples)[np.newaxis], level)
    return float(median[0]), float(low[0]), float(high[0])


def median_intervals(samples: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Medians of many rows of samples, each with the interval of `median_interval`.

    Parameters
    ----------
    samples : array_like, shape (rows, n)
        Independent, finite, at least one a row.
    level : float
        Probability of covering, between 0 and 1.

    Returns
    -------
    median, low, high : ndarray, shape (rows,), float64
        In the unit of the samples.

    Raises
    ------
    ValueError
        If there is no sample, one is not finite, or the level is not between 0 and 1.
    """
    rows = np.asarray(samples, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"samples: shape {rows.shape} is not rows of at least one number")
    if rows.size:
        check_samples("samples", rows.reshape(-1))
    ordered = np.sort(rows, axis=1)
    tail = (1 - check_level(level)) / 2
    count = ordered.shape[1]
    # missed[k − 1] is how often the k-th smallest sample lies above the population's median: P(Bin(n, ½) < k)
    missed = special.bdtr(np.arange(count // 2), count, 0.5)
    k = max(int(np.count_nonzero(missed <= tail)), 1)
    return np.median(ordered, axis=1), ordered[:, k - 1], ordered[:, count - k]


def mean_interval(samples: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Mean with Student's t interval: for what differs between seeds, which draw weights and nothing else.

    Parameters
    ----------
    samples : array_like, shape (n,)
        Independent, finite, at least one; near enough to a normal distribution, as means over many channels are.
    level : float
        Probability of covering, between 0 and 1.

    Returns
    -------
    mean, low, high : float
        In the unit of the samples. Low and high are NaN for a single sample: nothing tells how the next one would
        differ. Samples that are all equal give a width of exactly 0.

    Raises
    ------
    ValueError
        If there is no sample, one is not finite, or the level is not between 0 and 1.
    """
    values = check_samples("samples", samples)
    check_level(level)
    count = values.size
    if count == 1:
        return float(values[0]), math.nan, math.nan
    if values.min() == values.max():
        # a mean of equal numbers can be one unit in the last place off, and their deviation with it
        same = float(values[0])
        return same, same, same
    mean = float(np.mean(values))
    quantile = float(special.stdtrit(count - 1, (1 + level) / 2))
    half = quantile * float(np.std(values, ddof=1)) / math.sqrt(count)
    return mean, mean - half, mean + half


def relative_half_width(samples: ArrayLike, level: float = 0.95) -> float:
    """How far the interval of the median reaches from it, as a share of the median.

    Parameters
    ----------
    samples : array_like, shape (n,)
        See `median_interval`; positive, as times are.
    level : float
        See `median_interval`.

    Returns
    -------
    float
        The longer of the two sides over the median: 0 and up, 0 is best; infinite where the median is zero and
        the interval is not a point.

    Raises
    ------
    ValueError
        As `median_interval`.
    """
    median, low, high = median_interval(samples, level)
    return _divide(max(high - median, median - low), abs(median))


def spread(samples: ArrayLike) -> float:
    """Robust relative spread: median absolute deviation over median, scaled to agree with σ/μ of a normal.

    Half of the samples can be arbitrarily far away without moving it much; so it tells how wide the bulk is, and
    is blind to rare long stalls.

    Parameters
    ----------
    samples : array_like, shape (n,)
        Finite, at least one; positive, as times are.

    Returns
    -------
    float
        0 and up; infinite where the median is zero and more than half of the samples are not.

    Raises
    ------
    ValueError
        If there is no sample, or one is not finite.
    """
    values = check_samples("samples", samples)
    median = float(np.median(values))
    return _divide(_MAD_TO_SD * float(np.median(np.abs(values - median))), abs(median))


def pareto_front(cost: ArrayLike, quality: ArrayLike) -> NDArray[np.bool_]:
    """Mark the points that no other point beats; less is better in both.

    Parameters
    ----------
    cost, quality : array_like, shape (n,)
        NaN where a point has none.

    Returns
    -------
    ndarray, shape (n,), bool
        True where no point is at least as good in both and better in one. Equal points stand or fall together. A
        point with a NaN is never on the front and dominates no other.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    first, second = np.asarray(cost, dtype=np.float64), np.asarray(quality, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"cost and quality: shapes {first.shape} and {second.shape} are not one length")
    front = np.zeros(first.shape, dtype=np.bool_)
    known = np.flatnonzero(~(np.isnan(first) | np.isnan(second)))
    if known.size == 0:
        return front
    order = known[np.lexsort((second[known], first[known]))]
    a, b = first[order], second[order]
    starts = np.concatenate(([True], (a[1:] != a[:-1]) | (b[1:] != b[:-1])))
    beaten = np.concatenate(([False], b[1:] >= np.minimum.accumulate(b)[:-1]))
    # of equal points only the first was compared with cheaper ones; the others share its fate
    front[order] = ~beaten[starts][np.cumsum(starts) - 1]
    return front


def check_samples(name: str, samples: ArrayLike) -> Floats:
    """Read samples.

    Parameters
    ----------
    name : str
        What they are, for the message.
    samples : array_like, shape (n,)
        At least one, all finite.

    Raises
    ------
    ValueError
        If they are not.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"{name}: shape {values.shape} is not one row of at least one number")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: {values[~np.isfinite(values)][0]} is not finite")
    return values


def check_level(level: float) -> float:
    """Check a level of confidence.

    Parameters
    ----------
    level : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level} is not between 0 and 1")
    return level


def _divide(width: float, size: float) -> float:
    if width == 0:
        return 0.0
    return width / size if size else math.inf
