"""Several runs side by side, of machines or of commits: what a layer costs in each, and whether the order is kept.

Compares ratios to the baseline, each taken within one run, so machines of different speed stand on one axis.
Decides nothing about single cases: that is `analysis.comparison`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deconvbench.analysis.ratios import find_baseline, take_ratios
from deconvbench.analysis.selection import SETTING_FIELDS, SIZE_FIELDS, EmptyFigureError, select_measured
from deconvbench.errors import UsageError

OVERLAY_COLUMNS = ("case_id", "run", "latency_s", "ratio", "ratio_low", "ratio_high", "baseline_id", "noisy")
# layers that two runs must share before the order of them says anything
LEAST_LAYERS = 4
# name of the median over all runs, where one is compared with that
MIDDLE = "the median"
_RESAMPLES, _FEWER_RESAMPLES = 2000, 500
# in which they are looked at, one after another: all at once are large where there are thousands of cases
_PARTS = 20
_LEVEL = 0.95

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two runs put the layers into the same order.

    Parameters
    ----------
    runs : (str, str)
        Their names.
    correlation : float
        Spearman's rank correlation of the ratios to the baseline over all shared cases, -1 to 1; 1 is the same
        order.
    low, high : float
        Its 95 % interval, by a percentile bootstrap over layers.
    cases : int
        Cases that both measured, without the baseline.
    typical_change : float
        Median over cases of how many times larger one ratio is than the other; 1 is no difference.
    """

    runs: tuple[str, str]
    correlation: float
    low: float
    high: float
    cases: int
    typical_change: float


def overlay_runs(summaries: Mapping[str, pd.DataFrame], *, needs_common: bool = True) -> pd.DataFrame:
    """Put the cases of several runs under each other, with the ratio to the baseline of their setting and size.

    Parameters
    ----------
    summaries : mapping of str to DataFrame
        By the run's name: one row per case.
    needs_common : bool
        Refuse runs that share no case.

    Returns
    -------
    DataFrame
        The case's columns and `OVERLAY_COLUMNS`, a row for each case and run in which it has a latency. Intervals
        are missing where the run was not timed against that baseline.

    Raises
    ------
    UsageError
        If there are fewer than two runs, one has no latency, or, where they must, no two share a case.
    """
    if len(summaries) < 2:
        raise UsageError(f"runs: {len(summaries)} given; at least two are needed to set them side by side")
    parts = []
    for name, summary in summaries.items():
        try:
            measured = select_measured(summary, "latency_s")
        except EmptyFigureError as error:
            raise UsageError(f"{name}: no case has a latency") from error
        groups = measured.groupby([*SETTING_FIELDS, *SIZE_FIELDS], dropna=False, sort=False)
        parts += [_add_ratios(group).assign(run=name) for _, group in groups]
    overlaid = pd.concat(parts, ignore_index=True)
    counts = overlaid.groupby("case_id")["run"].nunique()
    if needs_common and counts.max() < 2:
        raise UsageError(f"runs: {' and '.join(summaries)} have no measured case in common")
    return overlaid


def _add_ratios(group: pd.DataFrame) -> pd.DataFrame:
    frame = group.sort_values("latency_s", kind="stable").reset_index(drop=True)
    baseline = find_baseline(frame)
    own = frame["case_id"][baseline]
    ratios = pd.DataFrame(take_ratios(frame, baseline), columns=["ratio", "ratio_low", "ratio_high"], dtype=float)
    return frame.assign(baseline_id=own, **{str(name): values for name, values in ratios.items()})


def measure_agreement(overlaid: pd.DataFrame, runs: Sequence[str], seed: int = 0) -> list[Agreement]:
    """Say for each pair of runs how far they order the layers alike.

    Parameters
    ----------
    overlaid : DataFrame
        From `overlay_runs`.
    runs : sequence of str
        Names, in the order of the pairs.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of Agreement
        Without pairs that share fewer than `LEAST_LAYERS` layers.

    References
    ----------
    C. Spearman, "The proof and measurement of association between two things", American Journal of Psychology
    15 (1904); the bootstrap: B. Efron, Annals of Statistics 7 (1979).
    """
    wide = _spread_ratios(overlaid)
    pairs = [(first, second) for first, second in combinations(runs, 2) if {first, second} <= set(wide.columns)]
    found = [_measure_pair(wide, pair, seed) for pair in pairs]
    return [agreement for agreement in found if agreement is not None]


def measure_agreement_with_middle(overlaid: pd.DataFrame, runs: Sequence[str], seed: int = 0) -> list[Agreement]:
    """Say for each run how far it orders the layers as most do: one comparison a run, where pairs are too many.

    Parameters
    ----------
    overlaid, runs, seed
        As for `measure_agreement`.

    Returns
    -------
    list of Agreement
        Between each run and `MIDDLE`, whose ratio of a case is the median over all runs; without runs that share
        fewer than `LEAST_LAYERS` layers with others.
    """
    wide = _spread_ratios(overlaid)
    shared = wide[wide.notna().sum(axis=1) > 1]
    with_middle = shared.assign(**{MIDDLE: shared.median(axis=1)})
    found = [_measure_pair(with_middle, (run, MIDDLE), seed, _FEWER_RESAMPLES) for run in runs if run in shared]
    return [agreement for agreement in found if agreement is not None]


def _spread_ratios(overlaid: pd.DataFrame) -> pd.DataFrame:
    """Lay the ratios out with a column for each run; those to different baselines stand in different rows."""
    others = overlaid[overlaid["case_id"] != overlaid["baseline_id"]]
    keys = ["layer", "case_id", "baseline_id"]
    return others.pivot_table(index=keys, columns="run", values="ratio", sort=False)


def _measure_pair(
    wide: pd.DataFrame, runs: tuple[str, str], seed: int, resamples: int = _RESAMPLES
) -> Agreement | None:
    shared = wide[[*runs]].dropna()
    groups, layers = pd.factorize(shared.index.get_level_values("layer"))
    if len(layers) < LEAST_LAYERS:
        return None
    pair = shared.to_numpy(float)
    generator = np.random.default_rng(seed)
    count = len(layers)
    drawn = np.array(
        [np.bincount(generator.integers(count, size=count), minlength=count) for _ in range(resamples)]
    )
    draws = np.concatenate([_correlate(pair, part[:, groups]) for part in np.array_split(drawn, _PARTS)])
    # where all ratios of a run are equal there is no order, and no interval of it
    known = draws[~np.isnan(draws)]
    low, high = np.quantile(known, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]) if len(known) else (math.nan, math.nan)
    return Agreement(
        runs=runs,
        correlation=float(_correlate(pair, np.ones((1, len(pair)), dtype=np.int64))[0]),
        low=float(low),
        high=float(high),
        cases=len(pair),
        typical_change=float(np.exp(np.median(np.abs(np.log(pair[:, 0] / pair[:, 1]))))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far apart the ratio of a case is between runs.

    Parameters
    ----------
    case_id, baseline_id : str
        The case, and what it is compared with.
    low_run, high_run : str
        Of the runs with an interval: where it ends lowest, and where it begins highest.
    low, high : float
        The ratio in these two.
    gap : float
        Lower end of the interval in `high_run` over the upper end in `low_run`: above 1 they do not meet.
    runs : int
        How many have an interval.
    """

    case_id: str
    baseline_id: str
    low_run: str
    high_run: str
    low: float
    high: float
    gap: float
    runs: int

    @property
    def is_apart(self) -> bool:
        """Whether the intervals of two runs do not meet, so that the ratio of one does not hold for the other."""
        return self.gap > 1


def list_spreads(overlaid: pd.DataFrame) -> list[Spread]:
    """List how far apart the ratio of each case is, over all cases with intervals in two runs or more.

    Parameters
    ----------
    overlaid : DataFrame
        From `overlay_runs`.

    Returns
    -------
    list of Spread
        The farthest apart first; without the baselines.
    """
    known = overlaid[overlaid["case_id"] != overlaid["baseline_id"]].dropna(subset=["ratio_low", "ratio_high"])
    found = []
    for (case, baseline), rows in known.groupby(["case_id", "baseline_id"], sort=False):
        if len(rows) < 2:
            continue
        low, high = rows.iloc[rows["ratio_high"].argmin()], rows.iloc[rows["ratio_low"].argmax()]
        found.append(
            Spread(
                case_id=str(case),
                baseline_id=str(baseline),
                low_run=str(low["run"]),
                high_run=str(high["run"]),
                low=float(low["ratio"]),
                high=float(high["ratio"]),
                gap=float(high["ratio_low"]) / float(low["ratio_high"]),
                runs=len(rows),
            )
        )
    return sorted(found, key=lambda spread: -spread.gap)


def _correlate(pair: Floats, counts: Counts) -> Floats:
    """Rank correlation of two columns for each row of counts, which say how often each pair is in it.

    NaN where one of the columns has a single value.
    """
    middle = (counts.sum(axis=1, keepdims=True) + 1) / 2
    first, second = (_rank(column, counts) - middle for column in pair.T)
    power = (counts * first**2).sum(axis=1) * (counts * second**2).sum(axis=1)
    together = (counts * first * second).sum(axis=1)
    correlations: Floats = np.full(len(counts), math.nan)
    np.divide(together, np.sqrt(power), out=correlations, where=power > 0)
    return correlations


def _rank(values: Floats, counts: Counts) -> Floats:
    """Rank of each value among all, for each row of counts; equal ones share the mean of their ranks."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-math.inf))
    alike = np.add.reduceat(counts[:, order], starts, axis=1)
    ranks = alike.cumsum(axis=1) - (alike - 1) / 2
    places = np.empty(len(values), dtype=np.int64)
    places[order] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))
    found: Floats = ranks[:, places]
    return found
