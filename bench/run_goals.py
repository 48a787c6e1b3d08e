"""Goals that are read from the newest runs in ``results/runs``: how they measured, and what a selftest found."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from bench.goal import Goal
from deconvbench.errors import UsageError
from deconvbench.records.run_folder import find_newest_run, read_run_info
from deconvbench.units import format_duration

# by margin: the slowdown that a selftest is to find in nine of ten cases
_SELFTEST_GOALS = {0.02: "5%", 0.05: "10%"}
_SELFTEST_LIMIT_S = 600.0


def read_measuring_share(results: Path = Path("results")) -> Iterator[Goal]:
    """Read from the newest run which share of its time went into measuring.

    Parameters
    ----------
    results : Path
        The folder that holds ``runs``.
    """
    try:
        folder = find_newest_run(results)
    except UsageError:
        return  # nothing was run yet, so there is nothing to tell
    share = read_run_info(folder).get("measuring_share")
    if share is not None:
        yield Goal(
            name=f"share of measuring in {folder.name}", measured=f"{share:.0%}", limit="80 %", met=share >= 0.8
        )


def read_quick(results: Path = Path("results")) -> Iterator[Goal]:
    """Read from the newest runs of `quick` how well ratios are known, how noisy they are, how two agree.

    Parameters
    ----------
    results : Path
        The folder that holds ``runs``.
    """
    folders = sorted(path.parent for path in (results / "runs").glob("*-quick*/summary.csv"))
    if not folders:
        return  # nothing was run yet, so there is nothing to tell
    ratios = [_read_ratios(folder) for folder in folders[-2:]]
    newest = ratios[-1]
    widths = (newest["ratio_high"] - newest["ratio_low"]) / 2 / newest["ratio"]
    yield from _judge_shares(f"half-width of the ratios in {folders[-1].name}", widths, (0.02, 0.05))
    noisy = float(newest["noisy"].mean())
    yield Goal(name=f"noisy cases in {folders[-1].name}", measured=f"{noisy:.0%}", limit="10 %", met=noisy <= 0.1)
    if len(ratios) > 1:
        apart = (newest["ratio"] / ratios[0]["ratio"]).dropna().map(math.log).abs()
        yield from _judge_shares(
            f"ratios in {folders[-2].name} and {folders[-1].name} apart by", apart, (0.03, 0.08)
        )


def _read_ratios(folder: Path) -> pd.DataFrame:
    """Read what was compared with a baseline, by case."""
    summary = pd.read_csv(folder / "summary.csv")
    is_compared = summary["ratio"].notna() & (summary["baseline_id"] != summary["case_id"])
    return summary[is_compared].set_index("case_id")


def _judge_shares(name: str, shares: "pd.Series[float]", limits: tuple[float, float]) -> Iterator[Goal]:
    """Judge the median and nine tenths of some shares."""
    for word, quantile, limit in zip(("median", "nine tenths"), (0.5, 0.9), limits, strict=True):
        found = float(shares.quantile(quantile))
        yield Goal(name=f"{name}, {word}", measured=f"{found:.1%}", limit=f"{limit:.0%}", met=found <= limit)


def read_selftest(results: Path = Path("results")) -> Iterator[Goal]:
    """Read from the newest ``deconvbench selftest`` how often the rule for pairs was wrong, and what it found.

    Parameters
    ----------
    results : Path
        The folder that holds ``runs``.
    """
    found = sorted((results / "runs").glob("*/selftest.json"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        return  # nothing was run yet, so there is nothing to tell
    document = json.loads(found[-1].read_text(encoding="utf-8"))
    for row in document["rows"]:
        slowdown = _SELFTEST_GOALS.get(row["margin"])
        if row["rule"] != "paired" or slowdown is None:
            continue
        alarms, power = row["false_alarms"], row["power"][slowdown]
        where = f"margin {row['margin']:.0%}, {row['comparisons']} cases"
        yield Goal(
            name=f"selftest, false alarms, {where}", measured=f"{alarms:.1%}", limit="1 %", met=alarms <= 0.01
        )
        name = f"selftest, {slowdown} slowdowns found, {where}"
        yield Goal(name=name, measured=f"{power:.0%}", limit="90 %", met=power >= 0.9)
    if (taken := document.get("total_s")) is not None:
        limit = format_duration(_SELFTEST_LIMIT_S)
        yield Goal(
            name="selftest takes", measured=format_duration(taken), limit=limit, met=taken <= _SELFTEST_LIMIT_S
        )
