"""Which cases are not precise enough yet, and get further replicates."""

from collections.abc import Callable, Sequence
from statistics import median

from deconvbench.records.case import Case
from deconvbench.records.ratio import find_ratio
from deconvbench.records.record import (
    AnyRecord,
    Record,
)
from deconvbench.replicates import pool_cases
from deconvbench.runner.plan import Plan


def list_imprecise(plan: Plan, records: Sequence[AnyRecord]) -> list[Case]:
    """List the cases whose interval is wider than the plan wants.

    Parameters
    ----------
    plan : Plan
        With a precision.
    records : sequence of record
        What was measured so far.

    Returns
    -------
    list of Case
        Those that are `ok` in at least two processes and whose interval over them (`statistics.pool_cases`)
        reaches further than the precision from the median: of the ratio to the baseline, or, where there is none,
        of the latency.
    """
    if plan.precision is None:
        return []
    latencies = _collect(plan, records, _find_latency)
    ratios = _collect(plan, records, _find_ratio)
    wide = []
    for case, latency, ratio in zip(plan.cases, pool_cases(latencies), pool_cases(ratios), strict=True):
        # a ratio is what a reader compares; the baseline, whose own is 1, is there to be compared with
        judged = latency if ratio is None else ratio
        if judged is None or judged.replicates < 2:
            continue
        if max(judged.high - judged.value, judged.value - judged.low) > plan.precision * judged.value:
            wide.append(case)
    return wide


def _collect(
    plan: Plan, records: Sequence[AnyRecord], find: Callable[[Record], float | None]
) -> list[list[float]]:
    """Collect for each case one number for each process that measured it."""
    samples: dict[str, dict[tuple[int, int], float]] = {case.case_id: {} for case in plan.cases}
    for record in records:
        if isinstance(record, Record) and record.status == "ok" and (value := find(record)) is not None:
            samples.get(record.case.case_id, {})[record.replicate, record.process_index] = value
    return [list(samples[case.case_id].values()) for case in plan.cases]


def _find_latency(record: Record) -> float | None:
    return None if record.latency is None else median(record.latency.samples_s)


def _find_ratio(record: Record) -> float | None:
    return find_ratio(record) if record.baseline_id != record.case.case_id else None
