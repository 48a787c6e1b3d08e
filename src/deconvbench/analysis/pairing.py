"""The rule for pairs of fresh processes: which cases are slower, after how many replicates, and what all share.

A replicate is one pair of processes, one of each side, that took turns block by block; its value is the logarithm
of NEW over BASE. The rule looks at the values after ten replicates and again after each further five, until a case
is decided or the plan ends; the level is shared out among cases and looks, so that every interval of every look
holds at once. No replicate is left out. Takes plain numbers; knows no records and measures nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from deconvbench.analysis.intervals import (
    DEFAULT_LEVEL,
    RatioInterval,
    check_thresholds,
    doubt_prior,
    judge_interval,
    make_interval,
)
from deconvbench.errors import UsageError
from deconvbench.statistics import Floats, mean_interval, shrink_variances

# how sure a stated number of replicates is to decide: four fifths
_POWER_QUANTILE = float(special.ndtri(0.8))
# more replicates than this nobody measures
_MOST_NEEDED = 1000
# logarithms of ratios carry sixteen digits: less spread is rounding
_LEAST_VARIANCE = 1e-28
_LEAST_PAIRS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedPlan:
    """After how many replicates a comparison looks at its values.

    Parameters
    ----------
    first : int
        Replicates of the first look, 2 at least.
    further : int
        Replicates from one look to the next, 1 at least.
    most : int
        Replicates of the last look, `first` at least.

    Raises
    ------
    UsageError
        If a number is less than that.
    """

    first: int = 10
    further: int = 5
    most: int = 30

    def __post_init__(self) -> None:
        for name, value, least in (
            ("first", self.first, _LEAST_PAIRS),
            ("further", self.further, 1),
            ("most", self.most, self.first),
        ):
            if value < least:
                raise UsageError(f"plan of replicates: {name} is {value}; at least {least}")

    @property
    def looks(self) -> tuple[int, ...]:
        """Replicates at each look, from the first to the last."""
        return (*range(self.first, self.most, self.further), self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedVerdict:
    """What the pairs say of one case.

    Parameters
    ----------
    case_id : str
        Which case.
    ratio, low, high : float
        NEW over BASE with its interval; NaN where there are too few replicates for it.
    verdict : str
        `slower`, `faster`, `same` or `inconclusive`.
    replicates : int
        How many the verdict rests on; later ones do not change a verdict once given.
    replicates_needed : int or None
        Of an inconclusive case: how many replicates would decide it, in four of five tries, if ratio and spread
        are what was found. None for a decided case, and where even a thousand would not.
    """

    case_id: str
    ratio: float
    low: float
    high: float
    verdict: str
    replicates: int
    replicates_needed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedJudgement:
    """What the pairs say of all cases.

    Parameters
    ----------
    verdicts : dict of str to PairedVerdict
        By `case_id`, in the order given.
    common_ratio, common_low, common_high : float
        Ratio that all cases share: of the median case in each replicate, with its interval over replicates; NaN
        where there are too few replicates.
    """

    verdicts: dict[str, PairedVerdict]
    common_ratio: float
    common_low: float
    common_high: float


def judge_pairs(
    log_ratios: Mapping[str, Sequence[float]],
    *,
    margin: float,
    level: float = DEFAULT_LEVEL,
    plan: PairedPlan | None = None,
) -> PairedJudgement:
    """Judge every case by its pairs of processes.

    Parameters
    ----------
    log_ratios : mapping of str to sequence of float
        By `case_id`: for each replicate, in the order measured, log(NEW/BASE); finite.
    margin : float
        Differences up to this share do not count, 0 and up, below 1.
    level : float
        Probability that all intervals of all cases and all looks hold at once.
    plan : PairedPlan, optional
        When it looks; ten replicates, then every five up to thirty by default. What the plan leaves out is not
        looked at.

    Raises
    ------
    UsageError
        If margin or level is off.
    ValueError
        If a logarithm is not finite.

    References
    ----------
    Smyth 2004, see `statistics.shrink_variances`; Šidák 1967, see `intervals.ratio_intervals`. The looks share
    the level equally (Bonferroni): Pocock, "Group sequential methods in the design and analysis of clinical
    trials", Biometrika 64 (1977), without what he gains from the looks being alike.
    """
    check_thresholds(margin, level)
    plan = PairedPlan() if plan is None else plan
    values = {case: np.asarray(found, dtype=np.float64) for case, found in log_ratios.items()}
    for case, found in values.items():
        if not np.isfinite(found).all():
            raise ValueError(f"log_ratios: {case} holds what is not finite")
    tail = (1 - level ** (1 / max(len(values), 1))) / 2
    verdicts: dict[str, PairedVerdict] = {}
    for index, look in enumerate(plan.looks):
        # a case that is decided, or has no further replicates, keeps what an earlier look said
        news = [case for case, found in values.items() if index == 0 or len(found) >= look]
        news = [case for case in news if case not in verdicts or verdicts[case].verdict == "inconclusive"]
        if not news:
            break
        estimates = _estimate({case: found[:look] for case, found in values.items()})
        for case in news:
            verdicts[case] = _judge(case, estimates.get(case), len(values[case]), look, margin, tail, plan)
    common = _find_common(list(values.values()), level)
    return PairedJudgement(
        verdicts=verdicts, common_ratio=common.ratio, common_low=common.low, common_high=common.high
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Estimate:
    """Mean of a case's logarithms, the moderated variance of one, and the degrees of freedom that go with it."""

    centre: float
    variance: float
    dof: float
    count: int

    def find_half_width(self, tail: float, power_quantile: float = 0.0, count: int | None = None) -> float:
        """Find how far the interval reaches from the mean, with this or another number of replicates."""
        number = self.count if count is None else count
        quantile = -float(special.stdtrit(self.dof + number - self.count, tail)) + power_quantile
        return quantile * math.sqrt(self.variance / number)


def _estimate(values: Mapping[str, Floats]) -> dict[str, _Estimate]:
    """Estimate each case that has two replicates or more; the variances of all moderate that of each."""
    known = {case: found for case, found in values.items() if len(found) >= _LEAST_PAIRS}
    if not known:
        return {}
    own = [float(np.var(found, ddof=1)) for found in known.values()]
    dof = np.array([len(found) - 1.0 for found in known.values()])
    shrunk = shrink_variances([v if v > _LEAST_VARIANCE else 0.0 for v in own], dof)
    found = zip(known.items(), shrunk.variances, doubt_prior(shrunk, dof), strict=True)
    return {
        case: _Estimate(centre=float(np.mean(logs)), variance=float(variance), dof=float(freedom), count=len(logs))
        for (case, logs), variance, freedom in found
    }


def _judge(
    case: str, estimate: _Estimate | None, count: int, look: int, margin: float, tail: float, plan: PairedPlan
) -> PairedVerdict:
    if estimate is None:
        return PairedVerdict(
            case_id=case, ratio=math.nan, low=math.nan, high=math.nan, verdict="inconclusive",
            replicates=count, replicates_needed=None,
        )  # fmt: skip
    half = estimate.find_half_width(tail / len(plan.looks))
    interval = make_interval(estimate.centre, estimate.centre - half, estimate.centre + half)
    verdict = judge_interval(interval, margin) if count >= look else "inconclusive"
    is_open = verdict == "inconclusive"
    return PairedVerdict(
        case_id=case,
        ratio=interval.ratio,
        low=interval.low,
        high=interval.high,
        verdict=verdict,
        replicates=estimate.count,
        replicates_needed=_find_needed(estimate, margin, tail) if is_open else None,
    )


def _find_needed(estimate: _Estimate, margin: float, tail: float) -> int | None:
    """Find how many replicates of a plan with one look would keep the interval to one side of the margin."""
    distance = abs(abs(estimate.centre) - math.log1p(margin))
    counts = range(estimate.count + 1, _MOST_NEEDED + 1)
    return next((n for n in counts if estimate.find_half_width(tail, _POWER_QUANTILE, n) <= distance), None)


def _find_common(values: Sequence[Floats], level: float) -> RatioInterval:
    """Find what all cases share: the median case of each replicate, over those that half of the cases have."""
    known = [found for found in values if len(found)]
    held = [
        [found[index] for found in known if len(found) > index] for index in range(max(map(len, known), default=0))
    ]
    medians = [float(np.median(logs)) for logs in held if 2 * len(logs) >= len(known)]
    if len(medians) < _LEAST_PAIRS:
        return RatioInterval(ratio=math.nan, low=math.nan, high=math.nan)
    return make_interval(*mean_interval(medians, level))


def list_undecided(judgement: PairedJudgement) -> list[str]:
    """List the cases that are inconclusive, in the order given: those of which further replicates are worth it.

    Parameters
    ----------
    judgement : PairedJudgement
        From `judge_pairs`.
    """
    return [case for case, found in judgement.verdicts.items() if found.verdict == "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlJudgement:
    """What identical code looked like in the same comparison.

    Parameters
    ----------
    noise_floor : float
        How far apart identical code seemed, as a share: the largest mean difference of a control case; NaN where
        nothing was compared.
    spread : float
        Standard deviation of a replicate's logarithm, of the median control case; NaN where there is none.
    reasons : tuple of str
        Why the comparison is void; empty where it is not.
    judgement : PairedJudgement
        The verdicts on the control cases.
    """

    noise_floor: float
    spread: float
    reasons: tuple[str, ...]
    judgement: PairedJudgement

    @property
    def is_void(self) -> bool:
        """Whether the comparison says nothing: identical code was called slower or faster."""
        return bool(self.reasons)


def judge_control(
    control: Mapping[str, Sequence[float]],
    *,
    margin: float,
    level: float = DEFAULT_LEVEL,
    plan: PairedPlan | None = None,
) -> ControlJudgement:
    """Judge BASE against BASE: by the same rule, so that what it calls slower no verdict can be trusted beside.

    Parameters
    ----------
    control : mapping of str to sequence of float
        As `judge_pairs` takes it, with BASE on both sides.
    margin, level, plan
        As of the comparison that it belongs to.

    Raises
    ------
    UsageError, ValueError
        As `judge_pairs`.
    """
    judgement = judge_pairs(control, margin=margin, level=level, plan=plan)
    found = judgement.verdicts.values()
    reasons = [
        f"the control calls identical code {item.verdict}: {item.case_id} {item.ratio:.3f}"
        for item in found
        if item.verdict in ("slower", "faster")
    ]
    if max(judgement.common_low, 1 / judgement.common_high) > 1 + margin:
        reasons.append(f"the control finds all of identical code at {judgement.common_ratio:.3f}")
    means = [abs(float(np.mean(logs))) for logs in control.values() if len(logs)]
    spreads = [float(np.std(logs, ddof=1)) for logs in control.values() if len(logs) >= _LEAST_PAIRS]
    return ControlJudgement(
        noise_floor=math.expm1(max(means)) if means else math.nan,
        spread=float(np.median(spreads)) if spreads else math.nan,
        reasons=tuple(reasons),
        judgement=judgement,
    )
