"""Does the comparison raise false alarms? Identical code against itself in pairs of processes, and made slower.

Each rule judges the same samples, so what it prints is the false-alarm rate and the power of each on this machine,
and beside them what the machine does to identical code: spread, slots that are faster, processes of two speeds.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean, median

import numpy as np

from deconvbench.analysis.intervals import MIN_REPLICATES, RatioInterval, make_interval
from deconvbench.analysis.pairing import judge_pairs
from deconvbench.analysis.selftest_rules import RULES, Run, find_log_ratios, make_plan, scale_run
from deconvbench.analysis.two_speeds import TwoSpeeds, find_two_speeds
from deconvbench.errors import UsageError
from deconvbench.records.pairs import PairRecord
from deconvbench.records.ratio import find_log_ratio
from deconvbench.statistics import mean_interval

MARGINS = (0.02, 0.05)
SLOWDOWNS = (0.03, 0.05, 0.10, 0.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """What one rule did at one margin.

    Parameters
    ----------
    rule : str
        Its name.
    margin : float
        Differences up to this share should not count.
    comparisons : int
        Cases compared with themselves.
    false_alarms : float
        Share of them that it called slower or faster.
    power : dict of float to float
        By slowdown: share of the cases that it called slower.
    """

    rule: str
    margin: float
    comparisons: int
    false_alarms: float
    power: dict[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowedResult:
    """What the paired rule said of code that was really made slower.

    Parameters
    ----------
    share : float
        By which it was made slower, in a busy loop.
    cases : int
        How many.
    verdicts : dict of float to dict
        By margin: how often each verdict was given.
    ratio : float
        Median ratio that it found.
    """

    share: float
    cases: int
    verdicts: dict[float, dict[str, int]]
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestResult:
    """All that a selftest found.

    Parameters
    ----------
    rules : tuple of RuleResult
        One for each rule and margin.
    cases, replicates : int
        Cases compared with themselves, and pairs of fresh processes of each.
    spreads : dict of str to float
        By case: standard deviation of a replicate's log ratio.
    biases : dict of str to RatioInterval
        By what might favour a side of identical code: the ratio found, with its interval at 95 %.
    two_speeds : dict of str to TwoSpeeds
        By case, those whose processes come in two speeds.
    slowed : SlowedResult
        What was really made slower.
    """

    rules: tuple[RuleResult, ...]
    cases: int
    replicates: int
    spreads: dict[str, float]
    biases: dict[str, RatioInterval]
    two_speeds: dict[str, TwoSpeeds]
    slowed: SlowedResult


def collect_runs(records: Iterable[PairRecord], pair: str) -> tuple[Run, Run]:
    """Take the samples of both sides of a pair.

    Parameters
    ----------
    records : iterable of PairRecord
        Only those that are `ok` count.
    pair : str
        One of `records.pairs.PAIRS`.

    Returns
    -------
    base, head : Run
        Cases with `MIN_REPLICATES` at least.
    """
    base: dict[str, list[Sequence[float]]] = {}
    head: dict[str, list[Sequence[float]]] = {}
    for record in sorted(records, key=lambda record: record.replicate):
        if record.pair == pair and record.status == "ok" and record.base_samples_s:
            base.setdefault(record.case.case_id, []).append(record.base_samples_s)
            head.setdefault(record.case.case_id, []).append(record.head_samples_s)
    known = sorted(case for case, replicates in base.items() if len(replicates) >= MIN_REPLICATES)
    return {case: base[case] for case in known}, {case: head[case] for case in known}


def judge_rules(base: Run, new: Run) -> Iterator[RuleResult]:
    """Let every rule judge identical code, and code made slower by scaling.

    Parameters
    ----------
    base, new : Run
        Two processes of the same code, with the same cases and replicates.

    Yields
    ------
    RuleResult
        One for each rule and margin.
    """
    slowed = {share: scale_run(new, share) for share in SLOWDOWNS}
    for (name, rule), margin in product(RULES.items(), MARGINS):
        same = rule(base, new, margin)
        yield RuleResult(
            rule=name,
            margin=margin,
            comparisons=len(same),
            false_alarms=fmean(verdict in ("slower", "faster") for verdict in same),
            power={
                share: fmean(verdict == "slower" for verdict in rule(base, run, margin))
                for share, run in slowed.items()
            },
        )


def judge_selftest(records: Sequence[PairRecord], share: float) -> SelftestResult:
    """Judge a selftest.

    Parameters
    ----------
    records : sequence of PairRecord
        ``control``: the same code on both sides; ``head``: HEAD made slower.
    share : float
        By which it was made slower.

    Raises
    ------
    UsageError
        If no case was measured often enough, identical or slowed.
    """
    base, new = collect_runs(records, "control")
    slow_base, slow_new = collect_runs(records, "head")
    if not base or not slow_base:
        raise UsageError(f"selftest: no case is ok in {MIN_REPLICATES} replicates; see its journal")
    log_ratios = find_log_ratios(base, new)
    slow_ratios = find_log_ratios(slow_base, slow_new)
    return SelftestResult(
        rules=tuple(judge_rules(base, new)),
        cases=len(base),
        replicates=max(map(len, base.values())),
        spreads={case: float(np.std(logs, ddof=1)) for case, logs in log_ratios.items()},
        biases=find_biases(records),
        two_speeds=list_two_speeds(base, new),
        slowed=SlowedResult(
            share=share,
            cases=len(slow_base),
            verdicts={margin: _count_verdicts(slow_ratios, margin) for margin in MARGINS},
            ratio=math.exp(median(fmean(logs) for logs in slow_ratios.values())),
        ),
    )


def _count_verdicts(log_ratios: Mapping[str, Sequence[float]], margin: float) -> dict[str, int]:
    plan = make_plan(max(map(len, log_ratios.values())))
    verdicts = [found.verdict for found in judge_pairs(log_ratios, margin=margin, plan=plan).verdicts.values()]
    return {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}


def find_biases(records: Iterable[PairRecord]) -> dict[str, RatioInterval]:
    """Find what favours a side of identical code: its name, being asked first, coming first in a round.

    Parameters
    ----------
    records : iterable of PairRecord
        The controls among them count.

    Returns
    -------
    dict of str to RatioInterval
        Geometric mean over replicates of the median case's ratio; NaN ends where there is one replicate.
    """
    found: dict[str, dict[int, list[float]]] = {}
    for record in records:
        if record.pair != "control" or record.status != "ok":
            continue
        by_side = find_log_ratio(record.base_samples_s, record.head_samples_s)
        is_base = record.first_side == "base"
        values = {"second process over first": by_side}
        if record.first_side:
            values["asked second over asked first"] = by_side if is_base else -by_side
            rounds = list(zip(record.base_samples_s, record.head_samples_s, strict=True))
            # the order alternates from round to round
            firsts = [pair if (index % 2 == 0) == is_base else pair[::-1] for index, pair in enumerate(rounds)]
            values["second block of a round over first"] = find_log_ratio(*zip(*firsts, strict=True))
        for name, value in values.items():
            found.setdefault(name, {}).setdefault(record.replicate, []).append(value)
    return {
        name: make_interval(*mean_interval([median(values) for values in replicates.values()]))
        for name, replicates in found.items()
    }


def list_two_speeds(base: Run, new: Run) -> dict[str, TwoSpeeds]:
    """List the cases whose processes come in two speeds.

    Parameters
    ----------
    base, new : Run
        Of the same code, so that each replicate gives two processes.
    """
    found = {
        case: find_two_speeds([math.log(median(samples)) for run in (base, new) for samples in run[case]])
        for case in base
    }
    return {case: speeds for case, speeds in found.items() if speeds is not None}
