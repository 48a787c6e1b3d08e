"""A selftest for people, as Markdown that a terminal shows as well, and for programs, as plain data."""

import math
from collections.abc import Mapping
from statistics import median
from typing import Any

from deconvbench.analysis.intervals import RatioInterval
from deconvbench.analysis.selftest import SLOWDOWNS, SelftestResult
from deconvbench.report.aligned_table import align_table

# more than these are counted, not named
_MOST_NAMED = 8


def format_selftest(result: SelftestResult) -> str:
    """Lay the result out as Markdown that a terminal shows as well.

    Parameters
    ----------
    result : SelftestResult
        From `judge_selftest`.
    """
    rows = [("rule", "margin", "comparisons", "false alarms", *(f"finds {_name_share(s)}" for s in SLOWDOWNS))]
    rows += [
        (
            item.rule,
            _name_share(item.margin),
            str(item.comparisons),
            f"{item.false_alarms:.1%}",
            *(f"{item.power[share]:.0%}" for share in SLOWDOWNS),
        )
        for item in result.rules
    ]
    worst = max(result.spreads, key=lambda case: result.spreads[case])
    slowed = result.slowed
    verdicts = "; ".join(
        f"at {_name_share(margin)} {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}"
        for margin, counts in slowed.verdicts.items()
    )
    return "\n".join(
        [
            *align_table(rows),
            "",
            f"{result.cases} cases of identical code, {result.replicates} replicates: pairs of fresh processes.",
            f"A replicate's log ratio scatters by {median(result.spreads.values()):.3f} in the median case, by "
            f"{result.spreads[worst]:.3f} in the worst ({worst}).",
            f"Slot bias: {'; '.join(f'{name} {_write(ratio)}' for name, ratio in result.biases.items())}.",
            _describe_speeds(result),
            f"Really slowed by {_name_share(slowed.share)} in a busy loop, {slowed.cases} cases, paired rule: "
            f"{verdicts}; median ratio {slowed.ratio:.3f}.",
        ]
    )


def _write(interval: RatioInterval) -> str:
    if math.isnan(interval.low):
        return f"{interval.ratio:.3f}"
    return f"{interval.ratio:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _describe_speeds(result: SelftestResult) -> str:
    found = result.two_speeds
    if not found:
        return "Two speeds: no case has processes of two speeds."
    named = [
        f"{case} ({speeds.slow_share:.0%} of the processes slower by {speeds.step:.0%})"
        for case, speeds in list(found.items())[:_MOST_NAMED]
    ]
    more = f", and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return f"Two speeds: {len(found)} of {result.cases} cases: {', '.join(named)}{more}."


def _name_share(share: float) -> str:
    return f"{share * 100:g}%"


def list_rows(result: SelftestResult) -> list[dict[str, Any]]:
    """List what each rule did as plain rows, for ``--json``.

    Parameters
    ----------
    result : SelftestResult
        From `judge_selftest`.

    Returns
    -------
    list of dict
        Powers by slowdown, as ``10%``.
    """
    return [
        {
            "runs": "pairs",
            "rule": item.rule,
            "margin": item.margin,
            "comparisons": item.comparisons,
            "false_alarms": item.false_alarms,
            "power": {_name_share(share): power for share, power in item.power.items()},
        }
        for item in result.rules
    ]


def to_dict(result: SelftestResult) -> dict[str, Any]:
    """Write the result as plain data that strict JSON can hold.

    Parameters
    ----------
    result : SelftestResult
        From `judge_selftest`.
    """
    slowed = result.slowed
    return {
        "rows": list_rows(result),
        "cases": result.cases,
        "replicates": result.replicates,
        "spreads": result.spreads,
        "slot_bias": {name: _list_ends(ratio) for name, ratio in result.biases.items()},
        "two_speeds": {
            case: {"slow_share": speeds.slow_share, "step": speeds.step}
            for case, speeds in result.two_speeds.items()
        },
        "slowed": {
            "share": slowed.share,
            "cases": slowed.cases,
            "verdicts": {_name_share(margin): counts for margin, counts in slowed.verdicts.items()},
            "median_ratio": slowed.ratio,
        },
    }


def _list_ends(interval: RatioInterval) -> Mapping[str, float | None]:
    ends = {"ratio": interval.ratio, "low": interval.low, "high": interval.high}
    return {name: value if math.isfinite(value) else None for name, value in ends.items()}
