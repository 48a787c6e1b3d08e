"""The rule for pairs of fresh processes: which cases are slower, after how many replicates, and what all share.

A replicate is one pair of processes, one of each side, that took turns block by block; its value is the logarithm
of NEW over BASE. The rule looks at the values after ten replicates and again after each further five, until a case
is decided or the plan ends; the level is shared out among cases and looks, so that every interval of every look
holds at once. No replicate is left out. Takes plain numbers; knows no records and measures nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from deconvbench.analysis.intervals import (
    DEFAULT_LEVEL,
    RatioInterval,
    check_thresholds,
    judge_interval,
    make_interval,
    moderate_variances,
)
from deconvbench.errors import UsageError
from deconvbench.statistics import Floats, mean_interval

# how sure a stated number of replicates is to decide: four fifths
_POWER_QUANTILE = float(special.ndtri(0.8))
# more replicates than this nobody measures
_MOST_NEEDED = 1000
# a slow mode in up to this share of the processes is a second speed, not a slower layer
_MINORITY = 0.375
# logarithms of ratios carry sixteen digits: less spread is rounding
_LEAST_VARIANCE = 1e-28
_LEAST_PAIRS = 2
# fewer cases than this have little in common that one of them could be like
_LEAST_CASES = 3


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
    reason : str
        What a reader must know beside the verdict; mostly empty.
    """

    case_id: str
    ratio: float
    low: float
    high: float
    verdict: str
    replicates: int
    replicates_needed: int | None
    reason: str = ""


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

    With [l, u] Student's t interval of a case's mean logarithm, its variance moderated by those of all cases:
    `slower` if l is above the margin, and clearly more than three eighths of its pairs are, so that a second speed
    of some processes is not taken for a slower layer; `faster` likewise; `same` if the interval lies within the
    margin; else `inconclusive`.

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
    rule = _Rule(margin=margin, tail=(1 - level ** (1 / max(len(values), 1))) / 2, looks=len(plan.looks))
    common = _find_common(list(values.values()), level)
    verdicts: dict[str, PairedVerdict] = {}
    for index, look in enumerate(plan.looks):
        # a case that is decided, or has no further replicates, keeps what an earlier look said
        news = [case for case, found in values.items() if index == 0 or len(found) >= look]
        news = [case for case in news if case not in verdicts or verdicts[case].verdict == "inconclusive"]
        if not news:
            break
        estimates = _estimate({case: found[:look] for case, found in values.items()})
        for case in news:
            is_last = look == plan.most or len(values[case]) < plan.looks[index + 1]
            verdicts[case] = _judge(case, estimates.get(case), values[case], look, rule, is_last=is_last)
    return PairedJudgement(
        verdicts={
            case: _compare_with_common(found, common, margin) if len(values) >= _LEAST_CASES else found
            for case, found in verdicts.items()
        },
        common_ratio=common.ratio,
        common_low=common.low,
        common_high=common.high,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """The margin, how often one end of a case's interval may be wrong in all looks together, and their number."""

    margin: float
    tail: float
    looks: int


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
    own = np.array([float(np.var(found, ddof=1)) for found in known.values()])
    own[own <= _LEAST_VARIANCE] = 0.0
    dof = np.array([len(found) - 1.0 for found in known.values()])
    variances, freedoms = moderate_variances(own, dof)
    return {
        case: _Estimate(centre=float(np.mean(logs)), variance=float(variance), dof=float(freedom), count=len(logs))
        for (case, logs), variance, freedom in zip(known.items(), variances, freedoms, strict=True)
    }


def _judge(
    case: str, estimate: _Estimate | None, logs: Floats, look: int, rule: _Rule, *, is_last: bool
) -> PairedVerdict:
    if estimate is None:
        return PairedVerdict(
            case_id=case, ratio=math.nan, low=math.nan, high=math.nan, verdict="inconclusive",
            replicates=len(logs), replicates_needed=None,
        )  # fmt: skip
    half = estimate.find_half_width(rule.tail / rule.looks)
    interval = make_interval(estimate.centre, estimate.centre - half, estimate.centre + half)
    verdict, reason = judge_interval(interval, rule.margin), ""
    if len(logs) < look:
        verdict, reason = "inconclusive", f"{len(logs)} of the {look} replicates of the first look"
    beyond = _count_beyond(logs[:look], estimate.centre, rule.margin)
    if verdict in ("slower", "faster") and not _is_majority(beyond, estimate.count, rule.tail / rule.looks):
        reason = (
            f"{verdict} in all {beyond} pairs, too few to tell from a second speed of some processes"
            if beyond == estimate.count
            else f"{verdict} in {beyond} of {estimate.count} pairs only: two speeds"
        )
        verdict = "inconclusive"
    return PairedVerdict(
        case_id=case,
        ratio=interval.ratio,
        low=interval.low,
        high=interval.high,
        verdict=verdict,
        replicates=estimate.count,
        replicates_needed=_find_needed(estimate, beyond, rule) if is_last and verdict == "inconclusive" else None,
        reason=reason,
    )


def _count_beyond(logs: Floats, centre: float, margin: float) -> int:
    """Count the pairs that lie beyond the margin, on the side on which their mean lies."""
    return int(np.count_nonzero(math.copysign(1.0, centre) * logs > math.log1p(margin)))


def _is_majority(beyond: int, count: int, tail: float) -> bool:
    """Say whether so many pairs beyond the margin are more than a minority gives by chance (sign test)."""
    return float(special.bdtrc(beyond - 1, count, _MINORITY)) <= tail


def _find_needed(estimate: _Estimate, beyond: int, rule: _Rule) -> int | None:
    """Find by bisection how many replicates a plan with one look needs to decide."""

    def decides(count: int) -> bool:
        far = abs(estimate.centre) - math.log1p(rule.margin)
        expected = round(count * beyond / estimate.count)
        is_clear = estimate.find_half_width(rule.tail, _POWER_QUANTILE, count) <= abs(far)
        return is_clear and (far < 0 or _is_majority(expected, count, rule.tail))

    low, high = estimate.count, _MOST_NEEDED
    if not decides(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def _compare_with_common(found: PairedVerdict, common: RatioInterval, margin: float) -> PairedVerdict:
    """Say of a case that differs whether it differs from the others: what all share has one cause, not many."""
    if found.verdict not in ("slower", "faster") or judge_interval(common, margin) != found.verdict:
        return found
    is_alike = abs(math.log(found.ratio / common.ratio)) <= math.log1p(margin)
    return replace(found, reason=f"as most cases are ({common.ratio:.3f})") if is_alike else found


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
