"""Pooling the replicates of each case, and the seeds of each layer: rows in, rows out.

Decides what stands for a case that was measured several times, some of them perhaps in vain. Works on plain rows
in which a missing value is None.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from deconvbench.records.case import CASE_FIELDS
from deconvbench.records.conditions import name_policy
from deconvbench.records.metrics import METRICS
from deconvbench.records.schema import (
    LAYER_COLUMNS,
    MEASURED_DTYPES,
    SEEDED_COLUMNS,
    TRAINED_COLUMNS,
    name_interval,
)
from deconvbench.replicates import Pooled, pool_cases
from deconvbench.statistics import mean_interval

# a case is noisy if this many times its disturbed replicates are all of them, or more
_NOISY_SHARE = 2
# which failure a case that never succeeded is known by: the one that says most about the case itself
_TELLING_FIRST = ("ok", "oom", "timeout", "crashed", "error", "unsupported")

Row = Mapping[str, Any]


def name_stack(row: Row) -> tuple[str, str, str]:
    """Say on what a row was measured: machine, torch version, and the policy of memory and cores.

    Parameters
    ----------
    row : mapping
        Of the table.
    """
    return (row["machine_id"] or "", row["torch_version"] or "", name_policy(row["conditions"] or ""))


def pool_rows(rows: Iterable[Row], level: float = 0.95) -> list[dict[str, Any]]:
    """Pool the rows of each case, and of each run where rows name one.

    What was measured on several machines is pooled on each first; then the machines are what varies, not the
    replicates: the interval says where a machine like them would lie.

    Parameters
    ----------
    rows : iterable of mapping
        The table's rows, with its columns; None where something is missing.
    level : float
        Of the intervals.

    Returns
    -------
    list of dict
        The summary's rows, in the order in which their cases first appear.
    """
    cases: dict[Any, list[Row]] = {}
    for row in rows:
        cases.setdefault((row.get("run"), row["case_id"]), []).append(row)
    chosen = [[row for row in every if row["status"] == "ok"] or every for every in cases.values()]
    latencies = _pool_numbers(chosen, lambda row: row["latency_s"], level)
    ratios = _pool_ratios(chosen, level)
    return [_pool_case(*parts) for parts in zip(cases.values(), chosen, latencies, ratios, strict=True)]


def _pool_numbers(
    cases: Sequence[Sequence[Row]], find: Callable[[Row], float | None], level: float
) -> list[Pooled | None]:
    """Pool a number of each case, with variances shrunk among the cases of one run on one device."""
    groups: dict[Any, list[int]] = {}
    values = [_take_medians(rows, find) for rows in cases]
    for index, rows in enumerate(cases):
        # machines differ by more than processes of one do
        groups.setdefault((rows[0].get("run"), rows[0]["device"], values[index][0]), []).append(index)
    pooled: list[Pooled | None] = [None] * len(cases)
    for members in groups.values():
        found = pool_cases([values[index][1] for index in members], level)
        for index, each in zip(members, found, strict=True):
            pooled[index] = each
    return pooled


def _pool_ratios(cases: Sequence[Sequence[Row]], level: float) -> list[Pooled | None]:
    """Pool the ratios to the baseline; its own is 1, and says nothing of how those of others vary."""
    timed = [_keep_baseline(rows) for rows in cases]
    pooled = _pool_numbers(timed, lambda row: None if _is_baseline(row) else row["ratio"], level)
    for index, rows in enumerate(timed):
        own = [row for row in rows if _is_baseline(row) and row["ratio"] is not None]
        if pooled[index] is None and own:
            pooled[index] = Pooled(value=1.0, low=1.0, high=1.0, replicates=len(own))
    return pooled


def _keep_baseline(rows: Sequence[Row]) -> Sequence[Row]:
    """Keep what was timed against the baseline that most rows have: ratios to several have no common meaning."""
    if all(row["baseline_id"] == rows[0]["baseline_id"] for row in rows):
        return rows
    counts = Counter(row["baseline_id"] for row in rows if row["baseline_id"])
    usual = max(counts, key=counts.__getitem__, default=None)
    return [row for row in rows if row["baseline_id"] == usual] if usual else rows


def _is_baseline(row: Row) -> bool:
    return bool(row["baseline_id"] == row["case_id"])


def _take_medians(rows: Sequence[Row], find: Callable[[Row], float | None]) -> tuple[bool, list[float]]:
    """Take one number for each process, as what one measured twice is not two replicates; or for each machine.

    Returns whether there are several machines, and the numbers.
    """
    stacks: dict[Any, dict[Any, list[float]]] = {}
    for row in rows:
        value = find(row)
        if value is not None:
            processes = stacks.setdefault(name_stack(row), {})
            processes.setdefault((row["replicate"], row["process_index"]), []).append(value)
    medians = [[_find_middle(values) for values in processes.values()] for processes in stacks.values()]
    if len(medians) > 1:
        return True, [_find_middle(values) for values in medians]
    return False, medians[0] if medians else []


def _find_middle(values: list[float]) -> float:
    # nearly always a process measured a case once
    return median(values) if len(values) > 1 else values[0]


def _pool_case(
    rows: Sequence[Row], chosen: Sequence[Row], latency: Pooled | None, ratio: Pooled | None
) -> dict[str, Any]:
    statuses = {row["status"] for row in rows}
    failures = {
        row["replicate"]: f"{row['status']}: {row['message']}" if len(statuses) > 1 else row["message"]
        for row in rows
        if row["status"] != "ok"
    }
    reasons = {row["replicate"]: row["noise_reason"] for row in chosen if row["noisy"]}
    result = {name: chosen[0].get(name) for name in ("run", "case_id", *CASE_FIELDS, "seed")}
    for name, dtype in MEASURED_DTYPES.items():
        result[name] = _pool_values([value for row in chosen if (value := row[name]) is not None], dtype)
    counts = [row["samples"] for row in chosen if row["samples"] is not None]
    return {
        **result,
        "status": min(statuses, key=_TELLING_FIRST.index),
        "message": _join_texts(failures, len(rows)),
        "noisy": _NOISY_SHARE * len(reasons) >= len(chosen) > 0 < len(reasons),
        "noise_reason": _join_texts(reasons, len(chosen)),
        "latency_s": latency.value if latency else None,
        "latency_ci_low_s": latency.low if latency else None,
        "latency_ci_high_s": latency.high if latency else None,
        "baseline_id": next((row["baseline_id"] for row in _keep_baseline(chosen) if row["baseline_id"]), None),
        "ratio": ratio.value if ratio else None,
        "ratio_low": ratio.low if ratio else None,
        "ratio_high": ratio.high if ratio else None,
        "samples": sum(counts) if counts else None,
        "replicates": latency.replicates if latency else 0,
    }


def _pool_values(values: Sequence[Any], dtype: str) -> Any:
    if not values:
        return None
    if dtype == "str":
        # replicates that went on elsewhere, or with other software, are named side by side
        return ", ".join(filter(None, dict.fromkeys(values)))
    if dtype == "boolean":
        return 2 * sum(values) >= len(values)
    middle = median(values)
    return round(middle) if dtype == "Int64" and math.isfinite(middle) else middle


def _join_texts(texts: Mapping[Any, str], total: int, speaker: str = "replicate") -> str:
    """Say once what all replicates (or seeds) say alike, otherwise who says what."""
    if len(texts) == total and len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{speaker} {number}: {text}" for number, text in texts.items())


def pool_seeds(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Pool the seeds of each layer: means with intervals over those that are `ok` and have the metric.

    What training found is pooled over all seeds that have it.

    Parameters
    ----------
    rows : iterable of mapping
        The quality table's rows, with its columns; None where something is missing.

    Returns
    -------
    list of dict
        The rows of the quality summary, in the order in which their layers first appear.
    """
    layers: dict[Any, list[Row]] = {}
    for row in rows:
        layers.setdefault(tuple(row[name] for name in LAYER_COLUMNS), []).append(row)
    return [_pool_layer(every) for every in layers.values()]


def _pool_layer(rows: Sequence[Row]) -> dict[str, Any]:
    good = [row for row in rows if row["status"] == "ok"]
    statuses = {row["status"] for row in rows}
    failures = {
        row["seed"]: f"{row['status']}: {row['message']}" if len(statuses) > 1 else row["message"]
        for row in rows
        if row["status"] != "ok"
    }
    result = {name: rows[0][name] for name in LAYER_COLUMNS}
    # whether artifacts could be measured says nothing of training
    for name, known in (("channels", good), ("steps", rows)):
        result[name] = _pool_values([row[name] for row in known if row[name] is not None], "Int64")
    for metric in SEEDED_COLUMNS:
        known = rows if metric in TRAINED_COLUMNS else good
        values = [row[metric] for row in known if row[metric] is not None]
        if values:
            mean, low, high = mean_interval(values)
            # what cannot be negative has no interval that reaches below 0
            low = 0.0 if low < 0 and not METRICS[metric].is_signed else low
            result |= dict(zip((metric, *name_interval(metric)), (mean, low, high), strict=True))
    return {
        **result,
        "seeds": len(good),
        "status": min(statuses, key=_TELLING_FIRST.index),
        "message": _join_texts(failures, len(rows), "seed"),
    }
