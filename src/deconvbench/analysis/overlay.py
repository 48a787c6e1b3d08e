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
from scipy import stats

from deconvbench.analysis.ratios import find_baseline, take_ratios
from deconvbench.analysis.selection import SETTING_FIELDS, SIZE_FIELDS, EmptyFigureError, select_measured
from deconvbench.errors import UsageError

OVERLAY_COLUMNS = ("case_id", "run", "latency_s", "ratio", "ratio_low", "ratio_high", "baseline_id", "noisy")
# layers that two runs must share before the order of them says anything
LEAST_LAYERS = 4
_RESAMPLES = 2000
_LEVEL = 0.95


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


def overlay_runs(summaries: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the cases of several runs under each other, with the ratio to the baseline of their setting and size.

    Parameters
    ----------
    summaries : mapping of str to DataFrame
        By the run's name: one row per case.

    Returns
    -------
    DataFrame
        The case's columns and `OVERLAY_COLUMNS`, a row for each case and run in which it has a latency. Intervals
        are missing where the run was not timed against that baseline.

    Raises
    ------
    UsageError
        If there are fewer than two runs, or two of them share no case.
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
    if counts.max() < 2:
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
    found = []
    layers = overlaid.drop_duplicates("case_id").set_index("case_id")["layer"]
    others = overlaid[overlaid["case_id"] != overlaid["baseline_id"]]
    wide = others.pivot_table(index="case_id", columns="run", values="ratio", sort=False)
    for first, second in combinations(runs, 2):
        if not {first, second} <= set(wide.columns):
            continue
        shared = wide[[first, second]].dropna()
        groups = [np.flatnonzero(rows) for rows in _split_by_layer(layers[shared.index])]
        if len(groups) < LEAST_LAYERS:
            continue
        pair = shared.to_numpy(float)
        generator = np.random.default_rng(seed)
        draws = []
        for _ in range(_RESAMPLES):
            chosen = generator.integers(len(groups), size=len(groups))
            draws.append(_correlate(pair[np.concatenate([groups[index] for index in chosen])]))
        low, high = np.nanquantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        change = np.exp(np.median(np.abs(np.log(pair[:, 0] / pair[:, 1]))))
        found.append(
            Agreement(
                runs=(first, second),
                correlation=_correlate(pair),
                low=float(low),
                high=float(high),
                cases=len(pair),
                typical_change=float(change),
            )
        )
    return found


def _split_by_layer(layers: "pd.Series[str]") -> list[np.ndarray]:
    return [(layers == layer).to_numpy() for layer in layers.unique()]


def _correlate(pair: np.ndarray) -> float:
    """Rank correlation of two columns; NaN where one of them has a single value."""
    ranks = stats.rankdata(pair, axis=0)
    first, second = (ranks - ranks.mean(axis=0)).T
    power = float(first @ first) * float(second @ second)
    return float(first @ second) / math.sqrt(power) if power > 0 else math.nan
