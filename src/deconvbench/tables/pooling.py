"""Pooling the replicates of each case, and the seeds of each layer: what was measured in, a row for each out.

Decides what stands for a case that was measured several times, some of them perhaps in vain. Works on plain values
in which a missing one is None.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import eq
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
Columns = Mapping[str, Sequence[Any]]
# the machine and what else must agree, and the process
_Origin = tuple[tuple[str, str, str], tuple[int, int]]
_STACK = ("machine_id", "torch_version", "conditions")


def name_stack(row: Row) -> tuple[str, str, str]:
    """Say on what a row was measured: machine, torch version, and the policy of memory and cores.

    Parameters
    ----------
    row : mapping
        Of the table.
    """
    return _name_stack(*(row[name] for name in _STACK))


def _name_stack(machine_id: str | None, torch_version: str | None, conditions: str | None) -> tuple[str, str, str]:
    return (machine_id or "", torch_version or "", name_policy(conditions or ""))


def pool_columns(columns: Columns, level: float = 0.95) -> list[dict[str, Any]]:
    """Pool the rows of each case, and of each run where rows name one.

    What was measured on several machines is pooled on each first; then the machines are what varies, not the
    replicates: the interval says where a machine like them would lie.

    Parameters
    ----------
    columns : mapping of str to list
        The table's columns, with None where something is missing. A table has a hundred thousand rows and a few
        hundred cases, so no row is made of its own.
    level : float
        Of the intervals.

    Returns
    -------
    list of dict
        The summary's rows, in the order in which their cases first appear.
    """
    count = len(columns["case_id"])
    cases: dict[Any, list[int]] = {}
    for place, key in enumerate(zip(columns.get("run", [None] * count), columns["case_id"], strict=True)):
        cases.setdefault(key, []).append(place)
    status = columns["status"]
    chosen = [[place for place in every if status[place] == "ok"] or every for every in cases.values()]
    names = zip(*(columns[name] for name in _STACK), strict=True)
    processes = zip(columns["replicate"], columns["process_index"], strict=True)
    origins = [(_name_stack(*name), process) for name, process in zip(names, processes, strict=True)]
    latencies = _pool_numbers(columns, origins, columns["latency_s"], chosen, level)
    ratios = _pool_ratios(columns, origins, chosen, level)
    return [_pool_case(columns, *parts) for parts in zip(cases.values(), chosen, latencies, ratios, strict=True)]


def _pool_numbers(
    columns: Columns,
    origins: Sequence[_Origin],
    numbers: Sequence[float | None],
    cases: Sequence[Sequence[int]],
    level: float,
) -> list[Pooled | None]:
    """Pool a number of each case, with variances shrunk among the cases of one run on one device."""
    groups: dict[Any, list[int]] = {}
    values = [_take_medians(origins, numbers, places) for places in cases]
    runs, devices = columns.get("run"), columns["device"]
    for index, places in enumerate(cases):
        # machines differ by more than processes of one do
        key = (None if runs is None else runs[places[0]], devices[places[0]], values[index][0])
        groups.setdefault(key, []).append(index)
    pooled: list[Pooled | None] = [None] * len(cases)
    for members in groups.values():
        found = pool_cases([values[index][1] for index in members], level)
        for index, each in zip(members, found, strict=True):
            pooled[index] = each
    return pooled


def _pool_ratios(
    columns: Columns, origins: Sequence[_Origin], cases: Sequence[Sequence[int]], level: float
) -> list[Pooled | None]:
    """Pool the ratios to the baseline; its own is 1, and says nothing of how those of others vary."""
    timed = [_keep_baseline(columns["baseline_id"], places) for places in cases]
    is_baseline = [*map(eq, columns["baseline_id"], columns["case_id"])]
    ratios = columns["ratio"]
    of_others = [None if is_own else ratio for is_own, ratio in zip(is_baseline, ratios, strict=True)]
    pooled = _pool_numbers(columns, origins, of_others, timed, level)
    for index, places in enumerate(timed):
        own = sum(is_baseline[place] and ratios[place] is not None for place in places)
        if pooled[index] is None and own:
            pooled[index] = Pooled(value=1.0, low=1.0, high=1.0, replicates=own)
    return pooled


def _keep_baseline(baselines: Sequence[str | None], places: Sequence[int]) -> Sequence[int]:
    """Keep what was timed against the baseline that most rows have: ratios to several have no common meaning."""
    counts = Counter(baselines[place] for place in places)
    if len(counts) == 1:
        return places
    usual = max(filter(None, counts), key=counts.__getitem__, default=None)
    return [place for place in places if baselines[place] == usual] if usual else places


def _take_medians(
    origins: Sequence[_Origin], numbers: Sequence[float | None], places: Sequence[int]
) -> tuple[bool, list[float]]:
    """Take one number for each process, as what one measured twice is not two replicates; or for each machine.

    Returns whether there are several machines, and the numbers.
    """
    stacks: dict[Any, dict[Any, list[float]]] = {}
    for place in places:
        value = numbers[place]
        if value is not None:
            stack, process = origins[place]
            stacks.setdefault(stack, {}).setdefault(process, []).append(value)
    medians = [[_find_middle(values) for values in processes.values()] for processes in stacks.values()]
    if len(medians) > 1:
        return True, [_find_middle(values) for values in medians]
    return False, medians[0] if medians else []


def _find_middle(values: list[float]) -> float:
    # nearly always a process measured a case once
    return median(values) if len(values) > 1 else values[0]


def _pool_case(
    columns: Columns, places: Sequence[int], chosen: Sequence[int], latency: Pooled | None, ratio: Pooled | None
) -> dict[str, Any]:
    status, message, replicates = columns["status"], columns["message"], columns["replicate"]
    statuses = {status[place] for place in places}
    failures = {
        replicates[place]: f"{status[place]}: {message[place]}" if len(statuses) > 1 else message[place]
        for place in places
        if status[place] != "ok"
    }
    noisy = [place for place in chosen if columns["noisy"][place]]
    reasons = {replicates[place]: columns["noise_reason"][place] for place in noisy}
    result = {
        name: columns[name][chosen[0]] if name in columns else None
        for name in ("run", "case_id", *CASE_FIELDS, "seed")
    }
    for name, dtype in MEASURED_DTYPES.items():
        result[name] = _pool_values(_list_known(columns[name], chosen), dtype)
    counts = _list_known(columns["samples"], chosen)
    baselines = columns["baseline_id"]
    kept = _keep_baseline(baselines, chosen)
    return {
        **result,
        "status": min(statuses, key=_TELLING_FIRST.index),
        "message": _join_texts(failures, len(places)),
        "noisy": _NOISY_SHARE * len(reasons) >= len(chosen) > 0 < len(reasons),
        "noise_reason": _join_texts(reasons, len(chosen)),
        "latency_s": latency.value if latency else None,
        "latency_ci_low_s": latency.low if latency else None,
        "latency_ci_high_s": latency.high if latency else None,
        "baseline_id": next((baselines[place] for place in kept if baselines[place]), None),
        "ratio": ratio.value if ratio else None,
        "ratio_low": ratio.low if ratio else None,
        "ratio_high": ratio.high if ratio else None,
        "samples": sum(counts) if counts else None,
        "replicates": latency.replicates if latency else 0,
    }


def _list_known(values: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [value for place in places if (value := values[place]) is not None]


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
