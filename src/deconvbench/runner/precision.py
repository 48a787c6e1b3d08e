"""Which cases are not precise enough yet, and get further replicates."""

import math
from collections.abc import Sequence
from statistics import median

import numpy as np

from deconvbench.records.case import Case
from deconvbench.records.record import (
    AnyRecord,
    Record,
)
from deconvbench.runner.plan import Plan
from deconvbench.statistics import pool_replicates, shrink_variances


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
        Those that are `ok` in at least two processes and whose interval over them (`statistics.pool_replicates`,
        variances drawn towards those of all cases) reaches further than the precision from the median.
    """
    samples: dict[str, dict[tuple[int, int], float]] = {case.case_id: {} for case in plan.cases}
    for record in records:
        if isinstance(record, Record) and record.status == "ok" and record.latency is not None:
            process = (record.replicate, record.process_index)
            samples.get(record.case.case_id, {})[process] = median(record.latency.samples_s)
    medians = [list(samples[case.case_id].values()) for case in plan.cases]
    variances = [float(np.var(np.log(m), ddof=1)) if len(m) > 1 else math.nan for m in medians]
    shrunk = shrink_variances(variances, [max(len(m) - 1, 0) for m in medians])
    wide = []
    for case, values, variance, dof in zip(plan.cases, medians, shrunk.variances, shrunk.dof, strict=True):
        if len(values) < 2 or plan.precision is None:
            continue
        pooled = pool_replicates(values, variance=float(variance), dof=float(dof))
        if max(pooled.high - pooled.value, pooled.value - pooled.low) > plan.precision * pooled.value:
            wide.append(case)
    return wide
