"""One case over many commits, as numbers: what each commit's replicates say, and what most cases share.

Ratios to the baseline of each run where every run has them, else latencies. Judges nothing: that is
`analysis.history`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from deconvbench.analysis.comparison_input import Side
from deconvbench.analysis.intervals import moderate_variances
from deconvbench.statistics import Floats

LATENCY, RATIO = "latency_s", "ratio"
# a median of fewer is no common mode
LEAST_SHARING = 5
_POLISHES = 5
_POINT_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One case on one machine.

    Parameters
    ----------
    case_id : str
        Which.
    metric : str
        `RATIO` or `LATENCY`.
    baseline : str
        Of the ratios; empty for latencies.
    positions : ndarray, shape (points,)
        Places in the order of commits.
    logs : sequence of ndarray
        For each point, a logarithm for each replicate.
    means : ndarray, shape (points,)
        Of these.
    common : ndarray, shape (points,)
        What most cases share at these points: zeros where it is not taken out.
    """

    case_id: str
    metric: str
    baseline: str
    positions: np.ndarray
    logs: Sequence[Floats]
    means: Floats
    common: Floats

    @property
    def quiet(self) -> Floats:
        """A logarithm for each point, without what most cases share."""
        return self.means - self.common


def take_series(case: str, sides: Sequence[Sequence[Side]]) -> Series:
    """Take the ratios of a case where every commit that has it has them to the same baseline, else its latencies.

    Parameters
    ----------
    case : str
        Its id.
    sides : sequence of sequence of Side
        At each commit, the runs of one machine.
    """
    ratios = _pool(case, [[side.ratios.get(case, ()) for side in found] for found in sides])
    baselines = {side.baselines.get(case, "") for found in sides for side in found if case in side.latencies_s}
    latencies = take_latencies(case, sides)
    if len(baselines) == 1 and len(ratios.positions) == len(latencies.positions):
        return replace(ratios, metric=RATIO, baseline=baselines.pop())
    return latencies


def take_latencies(case: str, sides: Sequence[Sequence[Side]]) -> Series:
    """Take the latencies of a case.

    Parameters
    ----------
    case, sides
        As for `take_series`.
    """
    return _pool(case, [[side.latencies_s.get(case, ()) for side in found] for found in sides])


def _pool(case: str, values: Iterable[Iterable[Sequence[float]]]) -> Series:
    pooled = [[value for replicates in parts for value in replicates] for parts in values]
    known = [index for index, replicates in enumerate(pooled) if replicates]
    counts = np.array([len(pooled[index]) for index in known], dtype=np.int64)
    ends = np.cumsum(counts)
    logs = np.log(np.array([value for index in known for value in pooled[index]], dtype=np.float64))
    return Series(
        case_id=case,
        metric=LATENCY,
        baseline="",
        positions=np.array(known, dtype=np.int64),
        logs=np.split(logs, ends[:-1]) if known else [],
        means=np.add.reduceat(logs, ends - counts) / counts if known else np.zeros(0),
        common=np.zeros(len(known)),
    )


def find_common_mode(sharing: Sequence[Series], commits: int) -> Floats | None:
    """Find what most cases share at each commit: a two-way fit by medians.

    Parameters
    ----------
    sharing : sequence of Series
        The cases.
    commits : int
        How many there are.

    Returns
    -------
    ndarray, shape (commits,), or None
        Logarithms; between commits of too few cases those of the neighbours. None where no commit has five cases.

    References
    ----------
    Tukey, "Exploratory Data Analysis", chapter 11 (1977).
    """
    table = np.full((len(sharing), commits), np.nan)
    for row, series in zip(table, sharing, strict=True):
        row[series.positions] = series.quiet
    table = table[np.isfinite(table).any(axis=1)]
    known = np.flatnonzero(np.isfinite(table).sum(axis=0) >= LEAST_SHARING)
    if not len(known):
        return None
    common = np.zeros(len(known))
    kept = table[:, known]
    kept = kept[np.isfinite(kept).any(axis=1)]
    for _ in range(_POLISHES):
        own = np.nanmedian(kept - common, axis=1, keepdims=True)
        common = np.nanmedian(kept - own, axis=0)
    return np.interp(np.arange(commits), known, common)


def measure_halves(logs: Sequence[Floats]) -> list[float]:
    """Measure how far the 95 % interval of each point reaches, as a logarithm; NaN for a single replicate.

    Parameters
    ----------
    logs : sequence of ndarray
        For each point, a logarithm for each replicate.
    """
    several = [index for index, point in enumerate(logs) if len(point) > 1]
    halves = [math.nan] * len(logs)
    if not several:
        return halves
    counts = np.array([len(logs[index]) for index in several])
    values, starts = np.concatenate([logs[index] for index in several]), np.cumsum(counts) - counts
    means = np.add.reduceat(values, starts) / counts
    own = np.add.reduceat((values - np.repeat(means, counts)) ** 2, starts) / (counts - 1)
    variances, freedoms = moderate_variances(own, counts - 1.0)
    reaches = -special.stdtrit(freedoms, (1 - _POINT_LEVEL) / 2) * np.sqrt(variances / counts)
    for index, reach in zip(several, reaches, strict=True):
        halves[index] = float(reach)
    return halves
