"""Is NEW slower than BASE? One verdict per case and metric, with the interval that it rests on.

Latencies are compared over replicates, which are processes: samples within one process say nothing about the
next. What is computed and not timed (memory, multiply-accumulates, artifacts) is compared with a tolerance of its
own. Numbers of different machines are refused; other differences are named in the reason.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deconvbench.analysis.comparison_input import TOLERANCES, Side, make_side, read_side
from deconvbench.analysis.intervals import (
    DEFAULT_LEVEL,
    DEFAULT_MARGIN,
    MIN_REPLICATES,
    RatioInterval,
    check_thresholds,
    judge_interval,
    ratio_intervals,
)
from deconvbench.errors import UsageError, quote
from deconvbench.records.case import CASE_DEFAULTS, Case
from deconvbench.records.metrics import METRICS
from deconvbench.system.paths import check_path
from deconvbench.units import format_bytes

COMPARISON_COLUMNS = ("case_id", "metric", "ratio", "low", "high", "verdict", "reason")
Row = dict[str, Any]
VERDICTS = ("faster", "slower", "same", "inconclusive", "smaller", "larger")


def compare(
    a: str | Path | pd.DataFrame | Side,
    b: str | Path | pd.DataFrame | Side,
    margin: float = DEFAULT_MARGIN,
    level: float = DEFAULT_LEVEL,
) -> pd.DataFrame:
    """Compare two runs, case by case.

    With [l, u] the interval of NEW over BASE, at a level corrected for the number of cases: `slower` if
    l > 1 + margin, `faster` if u < 1/(1 + margin), `same` if the interval lies between the two, else
    `inconclusive`. The interval is Student's t on logarithms of replicates, with the variance of each case drawn
    towards that of all (`intervals.ratio_intervals`). Where both sides timed a case together with the same
    baseline, the ratios to it are compared, in which drift and clocks cancel; the baseline itself, and what was
    timed alone, by latencies.

    Parameters
    ----------
    a, b : str, Path, DataFrame or Side
        BASE and NEW: run folders, files that pytest-benchmark saved, or tables.
    margin : float
        Differences up to this share do not count, 0 and up, below 1.
    level : float
        Probability that all intervals of the comparison hold at once.

    Returns
    -------
    DataFrame
        Columns `COMPARISON_COLUMNS`; a row for each case and metric, latency first. Memory and artifacts are
        `smaller`, `larger` or `same`, by a tolerance of their own, without an interval. A case that one side
        could not measure often enough is `inconclusive`; one that no longer works at all is `slower`.

    Raises
    ------
    UsageError
        If machines, accelerators or conditions differ, a side holds no cases, no case stands in both with three
        replicates, margin or level is off, or a side is something else or a table without the columns of one.
    """
    check_thresholds(margin, level)
    base, new = _as_side(a, "a", "BASE"), _as_side(b, "b", "NEW")
    for side in (base, new):
        if not side.latencies_s and not side.failures:
            raise UsageError(
                f"{side.name} holds no cases: a comparison needs measured latencies; a run of artifacts, rounding"
                " errors or interleaved speed-ups alone has none"
            )
    shared = [case for case in base.latencies_s if case in new.latencies_s]
    note = _check_comparable(base, new, shared)
    intervals = _find_intervals(
        base, new, [case for case in shared if _count(case, base, new) >= MIN_REPLICATES], level
    )
    rows = [_judge_latency(case, intervals.get(case), margin, base, new, note) for case in shared]
    for case in shared:
        rows += judge_values(case, base.metrics.get(case, {}), new.metrics.get(case, {}), note)
    rows += _name_unmatched(base, new, set(shared))
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """How far the intervals of latency reach to either side of their ratios, as shares of them.

    Parameters
    ----------
    median, most : float
        In the middle case, and in nine tenths of the cases.
    """

    median: float
    most: float


def find_noise_floor(comparison: pd.DataFrame) -> NoiseFloor | None:
    """Find how small a change a comparison could have seen.

    Parameters
    ----------
    comparison : DataFrame
        From `compare`.

    Returns
    -------
    NoiseFloor or None
        None if no latency has an interval.
    """
    timed = comparison[comparison["metric"] == "latency_s"]
    known = timed[(timed["low"] > 0) & (timed["high"] < math.inf)]
    if known.empty:
        return None
    reach = np.expm1(np.log(known["high"].astype(float) / known["low"].astype(float)) / 2)
    median, most = np.quantile(reach, [0.5, 0.9])
    return NoiseFloor(float(median), float(most))


def _as_side(side: object, argument: str, name: str) -> Side:
    if isinstance(side, Side):
        return side
    if isinstance(side, pd.DataFrame):
        return make_side(side, name)
    if not isinstance(side, str | Path):
        raise UsageError(f"{argument}: {quote(side)} is not a run folder, a file of pytest-benchmark or a table")
    return read_side(check_path(side, argument))


def _count(case: str, *sides: Side) -> int:
    return min(len(side.latencies_s[case]) for side in sides)


def _find_baseline(case: str, base: Side, new: Side) -> str | None:
    """Name the baseline by which a case can be compared: that of both sides, with ratios of enough replicates."""
    if base.baselines.get(case, "") != new.baselines.get(case):
        return None
    counts = [len(side.ratios.get(case, ())) for side in (base, new)]
    return base.baselines[case] if min(counts) >= MIN_REPLICATES else None


def _check_comparable(base: Side, new: Side, shared: Sequence[str]) -> str:
    """Refuse what cannot be compared; return what a reader must know of the rest."""
    _check_machines(base, new)
    _check_conditions(base, new)
    if not shared and not any(case in new.failures for case in base.latencies_s):
        examples = " and ".join(
            f"{next(iter(side.latencies_s), 'none that worked')} in {side.name}" for side in (base, new)
        )
        raise UsageError(
            f"{base.name} and {new.name} have no measured case in common; there is, for example, {examples}"
        )
    best = max(shared, key=lambda case: _count(case, base, new), default=None)
    if best is not None and _count(best, base, new) < MIN_REPLICATES:
        side = min((base, new), key=lambda side: _count(best, side))
        raise UsageError(
            f"{side.name}: {best} has {_count(best, side)} replicates; a comparison needs at least "
            f"{MIN_REPLICATES}, better 5: measure with --replicates 5"
        )
    sides = (("BASE", base), ("NEW", new))
    notes = [f"machine of {word} not recorded" for word, side in sides if not side.machine_ids]
    if base.conditions or new.conditions:
        notes += [f"conditions of {word} not recorded" for word, side in sides if not side.conditions]
    if any(Case.from_id(case).device != CASE_DEFAULTS["device"] for case in shared):
        notes += [f"accelerator of {word} not recorded" for word, side in sides if not side.accelerators]
        if base.accelerators and new.accelerators and base.accelerators != new.accelerators:
            raise UsageError(
                f"accelerators differ: {base.name} is from {', '.join(base.accelerators)}, {new.name} from "
                f"{', '.join(new.accelerators)}; their times cannot be compared"
            )
    if base.torch_versions != new.torch_versions:
        versions = (", ".join(sorted(side.torch_versions)) or "unknown" for side in (base, new))
        notes.append(f"torch {' against '.join(versions)}")
    return "; ".join(notes)


def _check_machines(base: Side, new: Side) -> None:
    for side in (base, new):
        if len(side.machine_ids) > 1:
            raise UsageError(
                f"{side.name} was measured on several machines ({', '.join(sorted(side.machine_ids))}); compare "
                "runs of one machine, which deconvbench merge --machine takes out of a merged one"
            )
    if base.machine_ids and new.machine_ids and base.machine_ids != new.machine_ids:
        raise UsageError(
            f"machines differ: {base.name} is from {', '.join(base.machine_ids)}, {new.name} from "
            f"{', '.join(new.machine_ids)}; times of different machines cannot be compared"
        )


def _check_conditions(base: Side, new: Side) -> None:
    if base.conditions and new.conditions and base.conditions != new.conditions:
        words = [" and ".join(sorted(side.conditions)) for side in (base, new)]
        raise UsageError(
            f"conditions differ: {base.name} was timed under {words[0]}, {new.name} under {words[1]}; measure "
            "both with the same --conditions"
        )


def _find_intervals(base: Side, new: Side, cases: Sequence[str], level: float) -> dict[str, RatioInterval]:
    """Find the intervals device by device: what is usual noise on one is not on another."""
    devices: dict[str, list[str]] = {}
    for case in cases:
        devices.setdefault(Case.from_id(case).device, []).append(case)
    found: dict[str, RatioInterval] = {}
    for members in devices.values():
        # the power shares the level out, so that all intervals of all devices hold at once
        intervals = ratio_intervals(
            [_take_values(base, case, base, new) for case in members],
            [_take_values(new, case, base, new) for case in members],
            level ** (len(members) / len(cases)),
        )
        found.update(zip(members, intervals, strict=True))
    return found


def _take_values(side: Side, case: str, base: Side, new: Side) -> Sequence[float]:
    return side.latencies_s[case] if _find_baseline(case, base, new) is None else side.ratios[case]


def _judge_latency(
    case: str, interval: RatioInterval | None, margin: float, base: Side, new: Side, note: str
) -> dict[str, Any]:
    sides = {"BASE": base, "NEW": new}
    reasons = [
        f"some replicates in {w} {side.failures[case]}" for w, side in sides.items() if case in side.failures
    ]
    if baseline := _find_baseline(case, base, new):
        reasons.append(f"by the ratio to {baseline}")
    if interval is None:
        counts = " and ".join(f"{len(side.latencies_s[case])} in {word}" for word, side in sides.items())
        reasons.insert(0, f"fewer than {MIN_REPLICATES} replicates: {counts}")
        return make_row(case, "latency_s", math.nan, "inconclusive", join_reasons(*reasons, note))
    verdict = judge_interval(interval, margin)
    if verdict == "inconclusive":
        reasons.insert(0, f"the interval reaches beyond ±{margin * 100:g}%")
    return make_row(case, "latency_s", interval.ratio, verdict, join_reasons(*reasons, note)) | {
        "low": interval.low,
        "high": interval.high,
    }


def join_reasons(*reasons: str) -> str:
    """Join reasons into one text; empty ones are left out."""
    return "; ".join(filter(None, reasons))


def make_row(case: str, metric: str, ratio: float, verdict: str, reason: str) -> Row:
    """Make a row with the columns `COMPARISON_COLUMNS`, without an interval."""
    return {
        "case_id": case, "metric": metric, "ratio": ratio, "low": math.nan, "high": math.nan,
        "verdict": verdict, "reason": reason,
    }  # fmt: skip


def judge_values(
    case: str, base: Mapping[str, float | None], new: Mapping[str, float | None], note: str = ""
) -> list[Row]:
    """Compare what is not timed.

    Parameters
    ----------
    case : str
        Its id.
    base, new : mapping of str to float or None
        The metrics of each side.
    note : str
        A reason that every row gets.

    Returns
    -------
    list of dict
        A row for each metric that both sides have, `smaller`, `larger` or `same` by its own tolerance.
    """
    rows = []
    for metric, (relative, absolute) in TOLERANCES.items():
        before, after = base.get(metric), new.get(metric)
        if before is None or after is None:
            continue
        ratio = after / before if before and not (metric in METRICS and METRICS[metric].is_signed) else math.nan
        if abs(after - before) <= max(absolute, relative * max(abs(before), abs(after))):
            rows.append(make_row(case, metric, ratio, "same", note))
        else:
            reason = f"was {_write_value(metric, before)}, is {_write_value(metric, after)}"
            verdict = "larger" if after > before else "smaller"
            rows.append(make_row(case, metric, ratio, verdict, join_reasons(reason, note)))
    return rows


def _write_value(metric: str, value: float) -> str:
    if metric.endswith("_bytes"):
        return format_bytes(value)
    return f"{value:,.0f}" if metric == "macs" else f"{value:.6g}"


def _name_unmatched(base: Side, new: Side, shared: set[str]) -> list[dict[str, Any]]:
    """Name the cases that a side could not measure; one that no longer works counts as slower."""
    rows = []
    for case in dict.fromkeys((*base.latencies_s, *new.latencies_s, *base.failures, *new.failures)):
        fates = ["ok" if case in side.latencies_s else side.failures.get(case, "absent") for side in (base, new)]
        # what no upsampler can build is not news
        if case in shared or all(fate.startswith(("unsupported", "absent")) for fate in fates):
            continue
        verdict = "slower" if fates[0] == "ok" and fates[1] != "absent" else "inconclusive"
        reason = f"{fates[0]} in BASE, {fates[1]} in NEW"
        rows.append(make_row(case, "latency_s", math.nan, verdict, reason))
    return rows
