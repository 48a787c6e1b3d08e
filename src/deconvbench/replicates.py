"""Pooling over replicates, and shrinkage of variances over cases.

An interval over replicates is about the case; what samples within one process say is in `deconvbench.statistics`.
Works on numpy arrays with numpy and scipy only; knows no tables.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from deconvbench.statistics import Floats, check_level, check_samples

# a variance below this share of the median one counts as this share: a logarithm needs more than zero, and
# two equal medians do not prove that a case is a hundred thousand times quieter (Smyth's limma does the same)
_LEAST_VARIANCE = 1e-5
# log variances that vary by less than this beyond chance: a prior of a million degrees of freedom is one of
# infinitely many, and the equation that would tell them apart is lost to rounding
_LEAST_EXCESS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """What several replicates say about one case.

    Parameters
    ----------
    value : float
        Median over the replicates, in their unit.
    low, high : float
        Ends of the interval; NaN where there is none.
    replicates : int
        How many were pooled.
    """

    value: float
    low: float
    high: float
    replicates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrunkVariances:
    """Variances of many cases, each drawn towards what is usual among all.

    Parameters
    ----------
    variances : ndarray, shape (cases,), float64
        Posterior variance of each case.
    dof : ndarray, shape (cases,), float64
        Degrees of freedom that go with it.
    prior_variance, prior_dof : float
        What is usual; NaN and 0 where too few cases tell.
    """

    variances: Floats
    dof: Floats
    prior_variance: float
    prior_dof: float


def pool_replicates(
    medians: ArrayLike, level: float = 0.95, *, variance: float | None = None, dof: float | None = None
) -> Pooled:
    """Pool the medians of replicates, each from a process of its own.

    The interval is Student's t on the logarithms: what differs between processes (layout, clocks, neighbours)
    acts as a factor. It is widened, where need be, to hold the median that is reported.

    Parameters
    ----------
    medians : array_like, shape (replicates,)
        Finite and positive, at least one.
    level : float
        Probability of covering, between 0 and 1.
    variance, dof : float, optional
        Variance of one logarithm and its degrees of freedom, from `shrink_variances`; by default what these
        replicates alone show, replicates − 1.

    Returns
    -------
    Pooled
        With low and high NaN for a single replicate: nothing tells how the next one would differ.

    Raises
    ------
    ValueError
        If there is no median, one is not finite and positive, the level is not between 0 and 1, or only one of
        variance and dof is given.
    """
    values = _check_medians(check_samples("medians", medians))
    if (variance is None) != (dof is None):
        raise ValueError(f"variance and dof: {variance} and {dof}; give both or none")
    check_level(level)
    found = _pool_rows(
        values[np.newaxis],
        level,
        None if variance is None else np.array([variance]),
        None if dof is None else np.array([dof]),
    )
    return found[0]


def _pool_rows(values: Floats, level: float, variances: Floats | None, dof: Floats | None) -> list[Pooled]:
    """Pool rows of as many replicates each, shape (cases, replicates)."""
    cases, count = values.shape
    medians = np.median(values, axis=1)
    lows = highs = np.full(cases, math.nan)
    if count > 1:
        logs = np.log(values)
        own = np.var(logs, axis=1, ddof=1) if variances is None else variances
        freedom = np.full(cases, count - 1.0) if dof is None else dof
        half = special.stdtrit(freedom, (1 + level) / 2) * np.sqrt(own / count)
        centre = logs.mean(axis=1)
        # two replicates that disagree at a high level can reach beyond what a float holds
        with np.errstate(over="ignore", under="ignore"):
            lows, highs = np.minimum(np.exp(centre - half), medians), np.maximum(np.exp(centre + half), medians)
    return [
        Pooled(value=value, low=low, high=high, replicates=count)
        for value, low, high in zip(medians.tolist(), lows.tolist(), highs.tolist(), strict=True)
    ]


def shrink_variances(variances: ArrayLike, dof: ArrayLike) -> ShrunkVariances:
    """Draw the variances of many cases towards what is usual among them (empirical Bayes).

    Three replicates estimate a variance so badly that intervals from them alone are wild; the other cases of the
    same run tell what is plausible. The true variances are taken to be prior_variance · prior_dof / χ²(prior_dof);
    both parameters are found from mean and variance of the log variances. A case ends with the mean of its own
    variance and the prior one, weighted by degrees of freedom.

    Parameters
    ----------
    variances : array_like, shape (cases,)
        Sample variances; NaN where a case has none (one replicate).
    dof : array_like, shape (cases,)
        Degrees of freedom of each; 0 where a case has none.

    Returns
    -------
    ShrunkVariances
        Unchanged where fewer than two cases have a variance. The degrees of freedom of a case never exceed those
        of all cases together. `prior_dof` is infinite where the cases differ no more than chance explains.

    Raises
    ------
    ValueError
        If the shapes differ, or a variance or a number of degrees of freedom is negative.

    References
    ----------
    Smyth, "Linear models and empirical Bayes methods for assessing differential expression in microarray
    experiments", Statistical Applications in Genetics and Molecular Biology 3 (2004), section 6.2.
    """
    own = np.asarray(variances, dtype=np.float64)
    freedom = np.asarray(dof, dtype=np.float64)
    if own.ndim != 1 or own.shape != freedom.shape:
        raise ValueError(f"variances and dof: shapes {own.shape} and {freedom.shape} are not one length")
    if (own < 0).any() or not (freedom >= 0).all():
        raise ValueError("variances and dof: a negative number is neither")
    known = (freedom > 0) & np.isfinite(own)
    freedom = np.where(known, freedom, 0.0)
    if np.count_nonzero(known) < 2 or not (own[known] > 0).any():
        return ShrunkVariances(variances=own.copy(), dof=freedom, prior_variance=math.nan, prior_dof=0.0)
    prior_variance, prior_dof = _fit_prior(own[known], freedom[known])
    filled = np.where(known, own, prior_variance)
    if math.isinf(prior_dof):
        posterior = np.full_like(filled, prior_variance)
    else:
        posterior = (prior_dof * prior_variance + freedom * filled) / (prior_dof + freedom)
    total = np.minimum(freedom + prior_dof, freedom.sum())
    return ShrunkVariances(variances=posterior, dof=total, prior_variance=prior_variance, prior_dof=prior_dof)


def _fit_prior(variances: Floats, dof: Floats) -> tuple[float, float]:
    """Find variance and degrees of freedom of the prior by the method of moments on log variances."""
    raised = np.maximum(variances, _LEAST_VARIANCE * float(np.median(variances[variances > 0])))
    logs = np.log(raised) - special.digamma(dof / 2) + np.log(dof / 2)
    mean = float(np.mean(logs))
    excess = float(np.var(logs, ddof=1) - np.mean(special.polygamma(1, dof / 2)))
    if excess <= _LEAST_EXCESS:
        return float(np.average(variances, weights=dof)), math.inf
    half = _invert_trigamma(excess)
    return math.exp(mean + float(special.digamma(half)) - math.log(half)), 2 * half


def _invert_trigamma(value: float) -> float:
    """Solve trigamma(y) = value for y by Newton's method on 1/trigamma, which is nearly straight (Smyth 2004)."""
    y, step = 0.5 + 1 / value, math.inf
    while abs(step) > 1e-10 * y:
        trigamma = float(special.polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, y))
        y += step
    return y


def pool_cases(cases: Sequence[Sequence[float]], level: float = 0.95) -> list[Pooled | None]:
    """Pool the replicates of many cases, with variances drawn towards what is usual among them.

    Parameters
    ----------
    cases : sequence of sequence of float
        For each case what each replicate gave, as for `pool_replicates`; none is allowed.
    level : float
        Probability of covering, between 0 and 1.

    Returns
    -------
    list of Pooled or None
        In order; None for a case without any replicate.
    """
    check_level(level)
    lengths = np.fromiter(map(len, cases), dtype=np.int64, count=len(cases))
    variances = np.full(len(cases), math.nan)
    rows = {}
    for length in np.unique(lengths[lengths > 0]).tolist():
        places = np.flatnonzero(lengths == length)
        rows[length] = (
            places,
            _check_medians(np.array([cases[place] for place in places.tolist()], dtype=np.float64)),
        )
        if length > 1:
            variances[places] = np.var(np.log(rows[length][1]), axis=1, ddof=1)
    shrunk = shrink_variances(variances, np.maximum(lengths - 1, 0))
    pooled: list[Pooled | None] = [None] * len(cases)
    for places, values in rows.values():
        found = _pool_rows(values, level, shrunk.variances[places], shrunk.dof[places])
        for place, each in zip(places, found, strict=True):
            pooled[place] = each
    return pooled


def _check_medians(medians: Floats) -> Floats:
    if not np.isfinite(medians).all():
        raise ValueError(f"medians: {medians[~np.isfinite(medians)][0]} is not finite")
    if medians.min() <= 0:
        raise ValueError(f"medians: {medians.min()} is not above 0")
    return medians
