"""Two commits that were timed in turns, compared: a verdict for each case, and what the control says of them all.

Latencies come from pairs of processes and are judged by `pairing`; memory, multiply-accumulates and artifacts were
found once on each side and are compared with tolerances, as `comparison` does. No torch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from deconvbench.analysis.comparison import COMPARISON_COLUMNS, Row, join_reasons, judge_values, make_row
from deconvbench.analysis.comparison_input import Side
from deconvbench.analysis.intervals import DEFAULT_LEVEL
from deconvbench.analysis.pairing import (
    ControlJudgement,
    PairedJudgement,
    PairedPlan,
    PairedVerdict,
    judge_control,
    judge_pairs,
    list_undecided,
)
from deconvbench.records.pairs import OUTPUT_TOLERANCES, PairRecord
from deconvbench.records.ratio import find_log_ratio

# of the cases that are inconclusive: how many replicates would decide them, null where that is not known
PAIRED_COLUMNS = (*COMPARISON_COLUMNS, "replicates", "replicates_needed")
# a case that failed in this many replicates is not tried again
MOST_FAILURES = 2
_SIDE_NAMES = {"base": "BASE", "head": "HEAD", "both": "BASE and HEAD"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """Two commits compared.

    Parameters
    ----------
    table : DataFrame
        Columns `PAIRED_COLUMNS`; a row for each case and metric, latency first.
    judgement : PairedJudgement
        Of the latencies, with the ratio that all cases have in common.
    control : ControlJudgement
        What BASE against BASE gave, in the same replicates.
    """

    table: pd.DataFrame
    judgement: PairedJudgement
    control: ControlJudgement

    @property
    def notes(self) -> list[str]:
        """What a reader must know beside the table: the control, and what all cases have in common."""
        return [*_describe_control(self.control), *_describe_common(self.judgement)]


def collect_log_ratios(records: Sequence[PairRecord], pair: str) -> dict[str, list[float]]:
    """Take from each replicate its value: the median over rounds of log(HEAD/BASE).

    Parameters
    ----------
    records : sequence of PairRecord
        Of one comparison.
    pair : str
        One of `PAIRS`.

    Returns
    -------
    dict of str to list of float
        By `case_id`, in the order of the replicates; those that are not `ok` give none.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        if record.pair == pair:
            values = found.setdefault(record.case.case_id, [])
            if record.status == "ok" and record.base_samples_s:
                values.append((record.replicate, find_log_ratio(record.base_samples_s, record.head_samples_s)))
    return {case: [value for _, value in sorted(values)] for case, values in found.items()}


def list_open(records: Sequence[PairRecord], margin: float, plan: PairedPlan) -> list[str]:
    """List the cases of which further replicates are worth it.

    Parameters
    ----------
    records : sequence of PairRecord
        Of all replicates so far.
    margin : float
        Differences up to this share do not count.
    plan : PairedPlan
        When the rule looks.

    Returns
    -------
    list of str
        Cases that are inconclusive and did not fail.
    """
    failed = count_failures(records)
    judgement = judge_pairs(collect_log_ratios(records, "head"), margin=margin, plan=plan)
    return [case for case in list_undecided(judgement) if failed.get(case, 0) < MOST_FAILURES]


def count_failures(records: Sequence[PairRecord], pair: str = "head") -> dict[str, int]:
    """Count, by `case_id`, the replicates in which a case failed.

    Parameters
    ----------
    records : sequence of PairRecord
        Of one comparison.
    pair : str
        One of `PAIRS`.
    """
    counts: dict[str, int] = {}
    for record in records:
        if record.pair == pair and record.status != "ok":
            counts[record.case.case_id] = counts.get(record.case.case_id, 0) + 1
    return counts


def compare_pairs(
    records: Sequence[PairRecord],
    base: Side,
    head: Side,
    margin: float,
    *,
    level: float = DEFAULT_LEVEL,
    plan: PairedPlan | None = None,
) -> PairedComparison:
    """Compare two commits, case by case.

    Parameters
    ----------
    records : sequence of PairRecord
        All that was timed, the control included.
    base, head : Side
        What was found without timing, once on each side.
    margin : float
        Differences up to this share do not count, 0 and up, below 1.
    level : float
        Probability that all intervals of the comparison hold at once.
    plan : PairedPlan, optional
        When the rule looked.

    Raises
    ------
    UsageError
        If margin or level is off.
    """
    judgement = judge_pairs(collect_log_ratios(records, "head"), margin=margin, level=level, plan=plan)
    control = judge_control(collect_log_ratios(records, "control"), margin=margin, level=level, plan=plan)
    by_case: dict[str, list[PairRecord]] = {}
    for record in records:
        if record.pair == "head":
            by_case.setdefault(record.case.case_id, []).append(record)
    rows: list[Row] = []
    for case, members in by_case.items():
        rows += _judge_case(members, judgement.verdicts[case], margin)
    for case in by_case:
        before, after = _take_values(base, case), _take_values(head, case)
        rows += [
            {**row, "replicates": None, "replicates_needed": None} for row in judge_values(case, before, after)
        ]
    table = pd.DataFrame(rows, columns=list(PAIRED_COLUMNS))
    table = table.astype({"replicates": "Int64", "replicates_needed": "Int64"})
    return PairedComparison(table=table, judgement=judgement, control=control)


def _take_values(side: Side, case: str) -> Mapping[str, float | None]:
    return side.metrics.get(case, {})


def _judge_case(records: Sequence[PairRecord], verdict: PairedVerdict, margin: float) -> list[Row]:
    """Make the row of a case's latency, or none where neither commit can build it."""
    case = verdict.case_id
    failures = [record for record in records if record.status != "ok"]
    fates = {(failure.failed_side, failure.status) for failure in failures}
    if len(failures) == len(records) and fates == {("both", "unsupported")}:
        return []
    reasons = [_describe_output(records)]
    needed = verdict.replicates_needed
    word = verdict.verdict
    if failures:
        first = failures[0]
        side = _SIDE_NAMES.get(first.failed_side, first.failed_side)
        count = f" in {len(failures)} of {len(records)} replicates" if len(failures) < len(records) else ""
        reasons.insert(0, f"{first.status} in {side}{count}: {first.message}")
    if failures and len(failures) == len(records):
        # what worked and no longer does is worse than slower
        word = "slower" if {failure.failed_side for failure in failures} == {"head"} else "inconclusive"
    elif word == "inconclusive":
        reasons.insert(0, _explain_open(verdict, margin))
    else:
        reasons.insert(0, verdict.reason)
    row = make_row(case, "latency_s", verdict.ratio, word, join_reasons(*reasons))
    numbers = {"low": verdict.low, "high": verdict.high, "replicates": verdict.replicates}
    return [{**row, **numbers, "replicates_needed": needed}]


def _explain_open(verdict: PairedVerdict, margin: float) -> str:
    reason = verdict.reason or f"the interval reaches beyond ±{margin * 100:g}%"
    if math.isnan(verdict.ratio):
        reason = f"{verdict.replicates} replicate{'' if verdict.replicates == 1 else 's'}, too few"
    if verdict.replicates_needed is not None:
        return f"{reason}; about {verdict.replicates_needed} replicates would decide"
    return f"{reason}; no number of replicates up to 1000 would decide" if math.isfinite(verdict.ratio) else reason


def _describe_output(records: Sequence[PairRecord]) -> str:
    known = [r.output_difference for r in records if r.output_difference is not None]
    largest = max(known, default=0.0)
    if largest <= OUTPUT_TOLERANCES[records[0].case.dtype]:
        return ""
    what = "output or gradient" if records[0].case.step == "train" else "output"
    return f"its {what} changed, by {largest:.1e} of the largest value"


def _describe_control(control: ControlJudgement) -> list[str]:
    """Say what identical code looked like."""
    count = len(control.judgement.verdicts)
    if not count or math.isnan(control.noise_floor):
        return ["control: none of BASE against BASE could be measured"]
    line = (
        f"control: BASE against BASE in {count} case{'' if count == 1 else 's'}: off by up to"
        f" {control.noise_floor:.1%}"
    )
    if math.isfinite(control.spread):
        line += f", replicates scatter by {control.spread:.1%}"
    return [line, *(f"VOID: {reason}" for reason in control.reasons)]


def _describe_common(judgement: PairedJudgement) -> list[str]:
    if math.isnan(judgement.common_ratio) or len(judgement.verdicts) < 2:
        return []
    low, high = judgement.common_low, judgement.common_high
    return [f"all cases together: HEAD/BASE {judgement.common_ratio:.3f} ({low:.3f} to {high:.3f})"]
