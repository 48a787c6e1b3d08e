"""Rules that say from samples which case is slower: ours for pairs and for saved runs, and those of others.

All judge the same samples, so that a selftest can say how often each is wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median

from scipy import stats

from deconvbench.analysis.intervals import judge_interval, ratio_intervals
from deconvbench.analysis.pairing import PairedPlan, judge_pairs
from deconvbench.records.ratio import find_log_ratio

_MANN_WHITNEY_LEVEL = 0.05

# samples in seconds, by case, replicate by replicate
Run = Mapping[str, Sequence[Sequence[float]]]
# (base, new, margin) -> one verdict per case
Rule = Callable[[Run, Run, float], list[str]]


def make_plan(replicates: int) -> PairedPlan:
    """Make the plan of the paired rule for so many replicates, which were all measured.

    Parameters
    ----------
    replicates : int
        2 at least.
    """
    return PairedPlan(first=min(PairedPlan().first, replicates), most=replicates)


def find_log_ratios(base: Run, new: Run) -> dict[str, list[float]]:
    """Find the value of each replicate: the median over rounds of log(NEW/BASE).

    Parameters
    ----------
    base, new : Run
        With the same cases and replicates; samples of equal index are of one round.
    """
    return {
        case: [find_log_ratio(one, two) for one, two in zip(base[case], new[case], strict=True)] for case in base
    }


def judge_by_pairs(base: Run, new: Run, margin: float) -> list[str]:
    """Our rule for pairs of processes."""
    plan = make_plan(max(map(len, base.values())))
    judgement = judge_pairs(find_log_ratios(base, new), margin=margin, plan=plan)
    return [judgement.verdicts[case].verdict for case in base]


def judge_by_intervals(base: Run, new: Run, margin: float) -> list[str]:
    """Our rule for saved runs, which knows no pairs."""
    intervals = ratio_intervals(
        [[min(samples) for samples in base[case]] for case in base],
        [[min(samples) for samples in new[case]] for case in base],
    )
    return [judge_interval(interval, margin) for interval in intervals]


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
    "paired": judge_by_pairs,
    "unpaired": judge_by_intervals,
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
