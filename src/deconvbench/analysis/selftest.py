"""Does the comparison raise false alarms? Identical code against itself, and against itself made slower.

Each rule (ours, pytest-benchmark's threshold, a Mann-Whitney test) judges the same samples, so what it prints is
the false-alarm rate and the power of each on this machine.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import numpy as np
from scipy import stats

from deconvbench.analysis.intervals import (
    DEFAULT_MARGIN,
    MIN_REPLICATES,
    RatioInterval,
    judge_interval,
    ratio_intervals,
)
from deconvbench.errors import UsageError
from deconvbench.records.record import AnyRecord, Record

MARGINS = (0.0, 0.02, 0.05)
SLOWDOWNS = (0.03, 0.05, 0.10, 0.15)
# a case whose interval is within ± this can be expected to show a slowdown of twice the margin
NARROW = 0.04
_MANN_WHITNEY_LEVEL = 0.05

# samples in seconds, by case, replicate by replicate
Run = Mapping[str, Sequence[Sequence[float]]]
# (base, new, margin) -> one verdict per case
Rule = Callable[[Run, Run, float], list[str]]


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
    narrow_power : dict of float to float
        The same over the cases whose interval is within ± `NARROW`; NaN where there is none.
    """

    rule: str
    margin: float
    comparisons: int
    false_alarms: float
    power: dict[float, float]
    narrow_power: dict[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestResult:
    """All that a selftest found.

    Parameters
    ----------
    adjacent, separate : tuple of RuleResult
        From runs interleaved with each other, and from runs made one after another.
    narrow_share : float
        Share of cases, over all comparisons, whose interval is within ± `NARROW`.
    slowed : float
        Share by which the last run was really made slower.
    slowed_verdicts : dict of str to int
        What our rule said of it at `DEFAULT_MARGIN`.
    slowed_ratio : float
        Median ratio that it found.
    """

    adjacent: tuple[RuleResult, ...]
    separate: tuple[RuleResult, ...]
    narrow_share: float
    slowed: float
    slowed_verdicts: dict[str, int]
    slowed_ratio: float


def collect_run(records: Iterable[AnyRecord]) -> Run:
    """Take the samples of a run.

    Parameters
    ----------
    records : iterable of record
        Of any kind; only cases that are `ok` count.
    """
    run: dict[str, list[Sequence[float]]] = {}
    for record in records:
        if isinstance(record, Record) and record.status == "ok" and record.latency is not None:
            run.setdefault(record.case.case_id, []).append(record.latency.samples_s)
    return run


def find_intervals(base: Run, new: Run) -> list[RatioInterval]:
    """Find the interval of NEW over BASE for every case, as `deconvbench.compare` does.

    Parameters
    ----------
    base, new : Run
        With the same cases.
    """
    return ratio_intervals(
        [[min(samples) for samples in base[case]] for case in base],
        [[min(samples) for samples in new[case]] for case in base],
    )


def judge_by_intervals(base: Run, new: Run, margin: float) -> list[str]:
    """Our rule."""
    return [judge_interval(interval, margin) for interval in find_intervals(base, new)]


def judge_by_minimum(base: Run, new: Run, margin: float) -> list[str]:
    """pytest-benchmark's ``--benchmark-compare-fail=min:…%``, in both directions."""
    return _judge_by_threshold(base, new, margin, min)


def judge_by_mean(base: Run, new: Run, margin: float) -> list[str]:
    """pytest-benchmark's ``--benchmark-compare-fail=mean:…%``, in both directions."""
    return _judge_by_threshold(base, new, margin, fmean)


def _judge_by_threshold(
    base: Run, new: Run, margin: float, statistic: Callable[[Sequence[float]], float]
) -> list[str]:
    verdicts = []
    for case in base:
        ratio = statistic(_join(new[case])) / statistic(_join(base[case]))
        verdicts.append("slower" if ratio > 1 + margin else "faster" if 1 / ratio > 1 + margin else "same")
    return verdicts


def judge_by_ranks(base: Run, new: Run, margin: float) -> list[str]:
    """Mann-Whitney test at 5 % on all samples, and a difference of medians above the margin."""
    verdicts = []
    for case in base:
        one, two = _join(base[case]), _join(new[case])
        ratio = median(two) / median(one)
        is_sure = stats.mannwhitneyu(one, two).pvalue < _MANN_WHITNEY_LEVEL
        above = ratio > 1 + margin
        below = 1 / ratio > 1 + margin
        verdicts.append("slower" if is_sure and above else "faster" if is_sure and below else "same")
    return verdicts


def _join(replicates: Sequence[Sequence[float]]) -> list[float]:
    return [sample for samples in replicates for sample in samples]


RULES: Mapping[str, Rule] = {
    "ours": judge_by_intervals,
    "pytest-benchmark min": judge_by_minimum,
    "pytest-benchmark mean": judge_by_mean,
    "Mann-Whitney": judge_by_ranks,
}


def scale_run(run: Run, share: float) -> Run:
    """Make a run slower by a share, by scaling its samples.

    Parameters
    ----------
    run : Run
        As measured.
    share : float
        0.1 makes it 10 % slower.
    """
    return {
        case: [[sample * (1 + share) for sample in samples] for samples in replicates]
        for case, replicates in run.items()
    }


def judge_rules(pairs: Sequence[tuple[Run, Run]]) -> Iterator[RuleResult]:
    """Let every rule judge identical code, and code made slower by scaling.

    Parameters
    ----------
    pairs : sequence of (Run, Run)
        Runs of the same code with the same cases.

    Yields
    ------
    RuleResult
        One for each rule and margin.
    """
    narrow = [is_narrow for base, new in pairs for is_narrow in find_narrow(base, new)]
    for (name, rule), margin in itertools.product(RULES.items(), MARGINS):
        same = [verdict for base, new in pairs for verdict in rule(base, new, margin)]
        power, narrow_power = {}, {}
        for share in SLOWDOWNS:
            found = [
                verdict == "slower" for base, new in pairs for verdict in rule(base, scale_run(new, share), margin)
            ]
            power[share] = fmean(found)
            among = [hit for hit, is_narrow in zip(found, narrow, strict=True) if is_narrow]
            narrow_power[share] = fmean(among) if among else math.nan
        yield RuleResult(
            rule=name,
            margin=margin,
            comparisons=len(same),
            false_alarms=fmean(verdict in ("slower", "faster") for verdict in same),
            power=power,
            narrow_power=narrow_power,
        )


def find_narrow(base: Run, new: Run) -> list[bool]:
    """Say for each case whether its interval is within ± `NARROW` of its ratio.

    Parameters
    ----------
    base, new : Run
        With the same cases.
    """
    return [
        max(interval.high / interval.ratio - 1, 1 - interval.low / interval.ratio) <= NARROW
        for interval in find_intervals(base, new)
    ]


def judge_selftest(first: tuple[Run, Run], second: tuple[Run, Run], slowed: Run, share: float) -> SelftestResult:
    """Judge five runs of the same code, the last of them really made slower.

    Parameters
    ----------
    first, second : (Run, Run)
        Two interleaved pairs, the second measured after the first.
    slowed : Run
        Interleaved with the first pair.
    share : float
        By which it was made slower.

    Raises
    ------
    UsageError
        If no case was measured in all five often enough to be compared.
    """
    runs = (*first, *second, slowed)
    shared = {case for case in slowed if all(len(run.get(case, ())) >= MIN_REPLICATES for run in runs)}
    if not shared:
        raise UsageError(
            f"selftest: no case is ok in {MIN_REPLICATES} replicates of all five runs; see their journals"
        )
    (a, b), (c, d) = ((_restrict(one, shared), _restrict(two, shared)) for one, two in (first, second))
    adjacent = [(a, b), (c, d)]
    separate = [(a, c), (a, d), (b, c), (b, d)]
    intervals = find_intervals(a, _restrict(slowed, shared))
    verdicts = [judge_interval(interval, DEFAULT_MARGIN) for interval in intervals]
    return SelftestResult(
        adjacent=tuple(judge_rules(adjacent)),
        separate=tuple(judge_rules(separate)),
        narrow_share=fmean(hit for base, new in adjacent + separate for hit in find_narrow(base, new)),
        slowed=share,
        slowed_verdicts={verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)},
        slowed_ratio=float(np.median([interval.ratio for interval in intervals])),
    )


def _restrict(run: Run, cases: set[str]) -> Run:
    return {case: run[case] for case in sorted(cases)}


def format_selftest(result: SelftestResult) -> str:
    """Lay the result out as Markdown that a terminal shows as well.

    Parameters
    ----------
    result : SelftestResult
        From `judge_selftest`.
    """
    slow = [f"finds {_name_share(share)}" for share in SLOWDOWNS]
    rows = [("runs", "rule", "margin", "comparisons", "false alarms", *slow, "finds 10% in narrow cases")]
    for runs, item in _list_results(result):
        power = [f"{item.power[share]:.0%}" for share in SLOWDOWNS]
        narrow = item.narrow_power[0.10]
        rows.append(
            (
                runs,
                item.rule,
                _name_share(item.margin),
                str(item.comparisons),
                f"{item.false_alarms:.1%}",
                *power,
                "–" if math.isnan(narrow) else f"{narrow:.0%}",
            )
        )
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in result.slowed_verdicts.items())
    return "\n".join(
        [
            *_align(rows),
            "",
            f"Narrow cases, whose interval is within ±{_name_share(NARROW)}: {result.narrow_share:.0%} of all.",
            f"Really slowed by {_name_share(result.slowed)} in a busy loop, our rule at "
            f"{_name_share(DEFAULT_MARGIN)}: {verdicts}; median ratio {result.slowed_ratio:.3f}.",
        ]
    )


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a Markdown table with columns of one width, words to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = 2
    lines = [
        [word.ljust(width) if index < texts else word.rjust(width) for index, (word, width) in enumerate(cells)]
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    rule = ["-" * width if index < texts else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    return ["| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])]


def _name_share(share: float) -> str:
    return f"{share * 100:g}%"


def _list_results(result: SelftestResult) -> list[tuple[str, RuleResult]]:
    groups = (("adjacent", result.adjacent), ("separate", result.separate))
    return [(runs, item) for runs, results in groups for item in results]


def list_rows(result: SelftestResult) -> list[dict[str, Any]]:
    """List what each rule did as plain rows, for ``--json``.

    Parameters
    ----------
    result : SelftestResult
        From `judge_selftest`.

    Returns
    -------
    list of dict
        Powers by slowdown, as ``10%``; None where there is none.
    """
    return [
        {
            "runs": runs,
            "rule": item.rule,
            "margin": item.margin,
            "comparisons": item.comparisons,
            "false_alarms": item.false_alarms,
            "power": _name_powers(item.power),
            "narrow_power": _name_powers(item.narrow_power),
        }
        for runs, item in _list_results(result)
    ]


def _name_powers(powers: Mapping[float, float]) -> dict[str, float | None]:
    return {_name_share(share): None if math.isnan(power) else power for share, power in powers.items()}


def to_dict(result: SelftestResult) -> dict[str, Any]:
    """Write the result as plain data that strict JSON can hold.

    Parameters
    ----------
    result : SelftestResult
        From `judge_selftest`.
    """
    return {
        "rows": list_rows(result),
        "narrow_share": result.narrow_share,
        "slowed": {
            "share": result.slowed,
            "margin": DEFAULT_MARGIN,
            "verdicts": result.slowed_verdicts,
            "median_ratio": result.slowed_ratio,
        },
    }
