"""Measurements in the formats of dashboards that a project may have already: one function, two formats.

``github-action-benchmark`` is the list that its tool ``customSmallerIsBetter`` reads, ``bencher`` the Bencher
Metric Format. In all of them smaller is better. No history is kept here: that is the dashboard's.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deconvbench.analysis.commit_series import RATIO
from deconvbench.analysis.history import History, list_latest
from deconvbench.errors import UsageError, quote, suggest
from deconvbench.system.texts import tidy_line

FORMATS = ("github-action-benchmark", "bencher")
# of a benchmark's name, as Bencher's reference has it
_LONGEST_NAME = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Something that is measured of a case.

    Parameters
    ----------
    name : str
        For people.
    slug : str
        Bencher's short name of the measure; ``latency`` is one that it has by itself, in nanoseconds.
    unit : str
        For people.
    scale, bencher_scale : float
        By which a value is multiplied for `unit`, and for Bencher.
    """

    name: str
    slug: str
    unit: str
    scale: float = 1.0
    bencher_scale: float = 1.0


LATENCY = Quantity(name="latency", slug="latency", unit="ms", scale=1e3, bencher_scale=1e9)
TO_BASELINE = Quantity(name="ratio to the baseline", slug="ratio-to-baseline", unit="times")
MEMORY = Quantity(name="peak memory", slug="peak-memory-bytes", unit="bytes")
NEW_OVER_BASE = Quantity(name="latency, NEW over BASE", slug="new-over-base", unit="times")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One value of one case.

    Parameters
    ----------
    name : str
        Of the case.
    quantity : Quantity
        What it is.
    value : float
        In SI units, or a ratio.
    low, high : float
        Ends of its interval; NaN where there is none.
    remark : str
        What else is to be known.
    """

    name: str
    quantity: Quantity
    value: float
    low: float = math.nan
    high: float = math.nan
    remark: str = ""

    @property
    def has_interval(self) -> bool:
        """Whether both ends are numbers."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def check_format(name: str | None, *others: str) -> None:
    """Refuse a format that is none, and one that is asked for beside another.

    Parameters
    ----------
    name : str or None
        As given to ``--format``; None where it was not.
    *others : str
        Options that were given and print something else.

    Raises
    ------
    UsageError
        If so.
    """
    if name is None:
        return
    if name not in FORMATS:
        raise UsageError(f"--format: {quote(name)} is not one of {', '.join(FORMATS)}{suggest(name, FORMATS)}")
    if others:
        raise UsageError(f"--format and {others[0]} are mutually exclusive")


def format_measurements(measurements: Iterable[Measurement], kind: str) -> str:
    """Write measurements as a dashboard reads them.

    Parameters
    ----------
    measurements : iterable of Measurement
        Those without a finite value are left out.
    kind : str
        One of `FORMATS`.

    Returns
    -------
    str
        JSON, on one line.

    Raises
    ------
    UsageError
        If the format is none of them.

    References
    ----------
    https://github.com/benchmark-action/github-action-benchmark (``customSmallerIsBetter``: ``name``, ``unit``,
    ``value``, and texts ``range`` and ``extra``); https://bencher.dev/docs/reference/bencher-metric-format
    (``value``, ``lower_value`` and ``upper_value`` by benchmark and measure).
    """
    check_format(kind)
    known = [entry for entry in measurements if math.isfinite(entry.value)]
    content = _list_entries(known) if kind == FORMATS[0] else _map_benchmarks(known)
    return json.dumps(content, allow_nan=False)


def _list_entries(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{tidy_line(entry.name, _LONGEST_NAME)}: {entry.quantity.name}",
            "unit": entry.quantity.unit,
            "value": entry.value * entry.quantity.scale,
            **({"range": _write_range(entry)} if entry.has_interval else {}),
            **({"extra": tidy_line(entry.remark)} if entry.remark else {}),
        }
        for entry in measurements
    ]


def _write_range(entry: Measurement) -> str:
    low, high = (f"{end * entry.quantity.scale:.5g}" for end in (entry.low, entry.high))
    return f"{low} to {high}"


def _map_benchmarks(measurements: Sequence[Measurement]) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for entry in measurements:
        ends = {"lower_value": entry.low, "upper_value": entry.high} if entry.has_interval else {}
        values = {"value": entry.value, **ends}
        found.setdefault(tidy_line(entry.name, _LONGEST_NAME), {})[entry.quantity.slug] = {
            name: value * entry.quantity.bencher_scale for name, value in values.items()
        }
    return found


def list_run(summary: pd.DataFrame) -> list[Measurement]:
    """List what a run measured of each case: latency, ratio to the baseline, peak memory.

    Parameters
    ----------
    summary : DataFrame
        One row per case.
    """
    wanted = (
        (LATENCY, "latency_s", "latency_ci_low_s", "latency_ci_high_s"),
        (TO_BASELINE, "ratio", "ratio_low", "ratio_high"),
        (MEMORY, "peak_memory_bytes", "", ""),
    )
    columns = ["case_id", "baseline_id", *(name for _, *names in wanted for name in names if name)]
    rows = summary.reindex(columns=columns).to_dict("records")
    return [
        Measurement(
            name=str(row["case_id"]),
            quantity=quantity,
            value=_read(row, value),
            low=_read(row, low),
            high=_read(row, high),
            remark=f"baseline: {row['baseline_id']}" if quantity is TO_BASELINE else "",
        )
        for row in rows
        for quantity, value, low, high in wanted
        if not (quantity is TO_BASELINE and row["baseline_id"] == row["case_id"])
    ]


def list_comparison(comparison: pd.DataFrame) -> list[Measurement]:
    """List the ratio of each latency that a comparison has.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`.
    """
    timed = comparison[comparison["metric"] == "latency_s"]
    return [
        Measurement(
            name=str(row["case_id"]),
            quantity=NEW_OVER_BASE,
            value=_read(row, "ratio"),
            low=_read(row, "low"),
            high=_read(row, "high"),
            remark="; ".join(filter(None, [row["verdict"], row["reason"]])),
        )
        for row in timed.to_dict("records")
    ]


def list_history(found: History) -> list[Measurement]:
    """List the newest value of each case; of several machines each with its name.

    Parameters
    ----------
    found : History
        From `deconvbench.analysis.history.find_history`.
    """
    rows = list_latest(found)
    is_one = len({row["machine_id"] for row in rows}) == 1
    return [
        Measurement(
            name=row["case_id"] if is_one else f"{row['case_id']} ({row['machine_id']})",
            quantity=TO_BASELINE if row["metric"] == RATIO else LATENCY,
            value=_read(row, "value"),
            low=_read(row, "low"),
            high=_read(row, "high"),
            remark=f"commit: {row['commit']}",
        )
        for row in rows
    ]


def _read(row: dict[Any, Any], name: str) -> float:
    value = row.get(name)
    return math.nan if value is None or pd.isna(value) else float(value)
