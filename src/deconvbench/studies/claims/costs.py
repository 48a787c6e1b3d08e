"""Claims 4 and 12: what upsampling before the convolution costs, counted, and measured by a run.

Ratios are taken between layers that were measured in one run under equal settings, and nowhere else; of many cases
a geometric mean is reported. Shares of wasted products are counted on maps of ones.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from deconvbench import theory
from deconvbench.analysis.tradeoff import COMPARABLE_FIELDS
from deconvbench.records.layers import NamedLayer
from deconvbench.records.schema import SPEEDUP_DTYPES, SUMMARY_DTYPES, name_interval
from deconvbench.studies.claims.claim import Context, Evidence, Finding, Verdict
from deconvbench.studies.claims.judging import (
    Interval,
    combine,
    conclude,
    leave_undecided,
    list_effects,
    needs,
    negate,
    read_interval,
    read_number,
    write_number,
)
from deconvbench.studies.claims.networks import NEAREST, TRANSPOSED, TRANSPOSED_DIVISIBLE
from deconvbench.tables.frames import list_rows

# share of the cells under a kernel that hold no data: more is wasteful, less is not worth a word
WASTEFUL, NEGLIGIBLE = 0.5, 0.25
# largest ratio to the latency of the replaced layer that counts as the same
SAME_LATENCY = 1.1
# "slightly less efficient": up to a quarter more
SLIGHTLY = 1.25
ZERO_INSERT: NamedLayer = ("zero_insert", 3)
FAST: NamedLayer = ("nearest_conv_fast", 3)
# sides of the smallest map of the article's Figure 3, and of a large one, in pixels
_SMALL, _LARGE = 2, 256
_SIDES = ("height", "width")
_RUN = "run: deconvbench run"

Row = Mapping[str, Any]
# logarithm of a ratio, half the width of its interval (NaN where there is none), and the setting it was measured
# at
Ratio = tuple[float, float, dict[str, Any]]


def measure_waste(context: Context) -> Evidence:
    """Count the cells under the kernel that hold no data, and compare measured latencies at the extremes of size.

    Parameters
    ----------
    context : Context
        Its run is read where it has several sizes.

    Returns
    -------
    dict
        Share of empty cells where a 3×3 transposed convolution is written as a padded (stride 1) or zero-inserted
        (stride 2) map under a direct convolution, at 2×2 and 256×256 inputs. From a run, at its smallest and its
        largest height: latency of `zero_insert` and of `nearest_conv` over that of `transposed`, k3 each.
    """
    evidence: dict[str, float | None] = {}
    for title, side in (("small", _SMALL), ("large", _LARGE)):
        evidence[f"{title}_side_px"] = side
        evidence[f"{title}_padding_waste_share"] = _count_waste(side, stride=1, padding=0, output_padding=0)
        evidence[f"{title}_zero_insertion_waste_share"] = _count_waste(side, stride=2, padding=1, output_padding=1)
    rows = [] if context.tables is None else _list_measured(context.tables.summary)
    for layer in (ZERO_INSERT, NEAREST):
        ratios = _compare_layers(rows, layer, TRANSPOSED)
        heights = sorted({setting["height"] for _, _, setting in ratios})
        if len(heights) < 2:
            continue
        evidence |= {"smallest_measured_height_px": heights[0], "largest_measured_height_px": heights[-1]}
        at_both = _keep_settings_of(ratios, (heights[0], heights[-1]))
        for title, height in (("smallest", heights[0]), ("largest", heights[-1])):
            chosen = [ratio for ratio in at_both if ratio[2]["height"] == height]
            evidence |= _pool(f"{layer[0]}_latency_ratio_{title}", chosen)
    return evidence


def _count_waste(side: int, *, stride: int, padding: int, output_padding: int) -> float:
    """Share of the cells of the map under a 3×3 direct convolution that hold no input."""
    margin = 2 - padding
    spread = theory.zero_insert(np.ones((side, side)), stride, output_padding)
    return float(np.mean(theory.pad_or_crop(spread, (margin, margin), (margin, margin)) == 0))


def _keep_settings_of(ratios: Sequence[Ratio], heights: Sequence[int]) -> list[Ratio]:
    """Keep the ratios of settings that were measured at all of some heights, so that only the size differs."""

    def name(setting: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(value for field, value in setting.items() if field not in _SIDES)

    found: dict[Any, set[int]] = {}
    for _, _, setting in ratios:
        found.setdefault(name(setting), set()).add(setting["height"])
    return [ratio for ratio in ratios if {*heights} <= found[name(ratio[2])]]


_WASTES = tuple(
    f"{size}_{kind}_waste_share" for kind in ("padding", "zero_insertion") for size in ("small", "large")
)


@needs((*_WASTES, "small_side_px", "large_side_px"), "run: deconvbench claims")
def judge_waste(evidence: Evidence) -> Finding:
    """Ask whether upsampling first wastes work on small maps, and on small maps only.

    Parameters
    ----------
    evidence : mapping
        From `measure_waste`; latencies count where there are any.
    """
    padding, padding_large, zeros, zeros_large = (read_number(evidence, name) for name in _WASTES)
    small, large = (f"{read_number(evidence, f'{size}_side_px'):.0f}" for size in ("small", "large"))
    fades: list[bool | None] = [padding_large <= NEGLIGIBLE, zeros_large <= NEGLIGIBLE]
    told = []
    for name in (ZERO_INSERT[0], NEAREST[0]):
        if evidence.get(f"{name}_latency_ratio_largest") is not None:
            at_small, at_large = (
                read_interval(evidence, f"{name}_latency_ratio_{size}") for size in ("smallest", "largest")
            )
            fades.append(negate(at_large.is_above(SAME_LATENCY)))
            told.append(f"{name} {at_small} and {at_large}")
    wastes = combine((min(padding, zeros) > WASTEFUL,))
    verdict = wastes
    if wastes is Verdict.SUPPORTED:
        # what does not fade at all is true of small maps still, but not of them in particular
        verdict = Verdict.PARTLY if False in fades else combine(fades)
    sentence = (
        f"Of the cells under a 3×3 kernel {padding:.0%} are empty for a padded map of {small}×{small} and "
        f"{padding_large:.0%} at {large}×{large}, and {zeros:.0%} and {zeros_large:.0%} with zeros between inputs"
    )
    if told:
        heights = [
            f"{read_number(evidence, f'{size}_measured_height_px'):.0f}" for size in ("smallest", "largest")
        ]
        sentence += f"; measured latency over transposed at heights {' and '.join(heights)}: {', '.join(told)}"
    else:
        sentence += f"; no run with several sizes has latencies ({_RUN})"
    names = {
        "large_padding_waste_share": (f"empty cells at {large}×{large}, padded", ""),
        "large_zero_insertion_waste_share": ("with zeros between", ""),
        "nearest_conv_latency_ratio_largest": ("latency of nearest_conv over transposed, largest", ""),
    }
    parts = [
        ("most work is wasted on small maps", min(padding, zeros) > WASTEFUL),
        ("the waste of padding fades on large ones", fades[0]),
        ("the waste of zeros between inputs fades", fades[1]),
        *[("measured latency evens out", fade) for fade in fades[2:]],
    ]
    return conclude(
        parts,
        sentence + ".",
        verdict=verdict,
        effects=list_effects(evidence, names),
        size="exact count" + (", timed at two heights" if told else ""),
    )


def measure_efficiency(context: Context) -> Evidence:
    """Compare what a nearest resize-convolution costs with the transposed convolutions that it replaces.

    Parameters
    ----------
    context : Context
        Its run is read: the summary, and the interleaved timings.

    Returns
    -------
    dict
        For `transposed` k3 and k4: latency, memory and MACs of `nearest_conv` k3 over theirs, a geometric mean
        over all cases that have both, of the latency with interval, extremes and number of cases; the same latency
        and memory for the exact fast form `nearest_conv_fast`, with its weights fresh and frozen.
    """
    if context.tables is None:
        return {}
    rows = _list_measured(context.tables.summary)
    turns = list_rows(context.tables.speedups, "speedups", SPEEDUP_DTYPES)
    evidence: dict[str, float | None] = {}
    for base in (TRANSPOSED, TRANSPOSED_DIVISIBLE):
        name = f"k{base[1]}"
        latency = [*_compare_layers(rows, NEAREST, base), *_compare_interleaved(turns, NEAREST, base)]
        evidence |= _pool(f"latency_ratio_{name}", latency)
        if latency:
            evidence[f"latency_ratio_{name}_least"] = math.exp(min(ratio[0] for ratio in latency))
            evidence[f"latency_ratio_{name}_most"] = math.exp(max(ratio[0] for ratio in latency))
            evidence[f"latency_ratio_{name}_cells"] = len(latency)
        for column, quantity in (("peak_memory_bytes", "memory"), ("macs", "macs")):
            costs = [
                *_compare_layers(rows, NEAREST, base, column),
                *_compare_interleaved(turns, NEAREST, base, column),
            ]
            evidence |= _pool(f"{quantity}_ratio_{name}", costs)
        fast = [*_compare_layers(rows, FAST, base), *_compare_interleaved(turns, FAST, base)]
        evidence |= _pool(f"fast_latency_ratio_{name}", fast)
        frozen = _compare_interleaved(turns, FAST, base, is_frozen=True)
        evidence |= _pool(f"fast_frozen_latency_ratio_{name}", frozen)
        memory = [
            *_compare_layers(rows, FAST, base, "peak_memory_bytes"),
            *_compare_interleaved(turns, FAST, base, "peak_memory_bytes"),
        ]
        evidence |= _pool(f"fast_memory_ratio_{name}", memory)
    return evidence


def measure_range(context: Context, layer: NamedLayer, name: str) -> Evidence:
    """Compare what another layer takes with `transposed` k3, over the sizes of a run.

    Parameters
    ----------
    context : Context
        Its run is read.
    layer : (str, int or None)
        Upsampler and kernel.
    name : str
        Of the ratio.

    Returns
    -------
    dict
        ``<name>_least`` and ``<name>_most`` over all cases that have both; empty where there are none.
    """
    rows = [] if context.tables is None else _list_measured(context.tables.summary)
    ratios = [math.exp(ratio[0]) for ratio in _compare_layers(rows, layer, TRANSPOSED)]
    return {f"{name}_least": min(ratios), f"{name}_most": max(ratios)} if ratios else {}


def _list_measured(summary: pd.DataFrame) -> list[Row]:
    rows = list_rows(summary, "summary", SUMMARY_DTYPES)
    return [row for row in rows if row["status"] == "ok" and row["latency_s"]]


def _compare_layers(
    rows: Iterable[Row], layer: NamedLayer, base: NamedLayer, column: str = "latency_s"
) -> list[Ratio]:
    """Set a layer against another in all cases of a summary that have both.

    Latencies that were taken together with those of one baseline are compared by their ratios to it.
    """
    if column != "latency_s":
        return _match(rows, layer, base, lambda row: (row[column], math.nan), COMPARABLE_FIELDS)
    every = list(rows)
    ratios, latencies = (
        lambda row: (row["ratio"], _find_width(row["ratio_low"], row["ratio_high"])),
        lambda row: (row["latency_s"], _find_width(row["latency_ci_low_s"], row["latency_ci_high_s"])),
    )
    together = [row for row in every if row["ratio"]]
    alone = [row for row in every if not row["ratio"]]
    return [
        *_match(together, layer, base, ratios, (*COMPARABLE_FIELDS, "baseline_id")),
        *_match(alone, layer, base, latencies, COMPARABLE_FIELDS),
    ]


def _find_width(low: float | None, high: float | None) -> float:
    return math.log(high / low) / 2 if low and high else math.nan


def _compare_interleaved(
    rows: Iterable[Row], layer: NamedLayer, base: NamedLayer, column: str = "latency_s", *, is_frozen: bool = False
) -> list[Ratio]:
    """Set a layer against another where the timing of both was interleaved with the same third."""

    def read(row: Row) -> tuple[float | None, float]:
        if column != "latency_s":
            return row[column], math.nan
        speedup, low, high = row["speedup"], row["speedup_ci_low"], row["speedup_ci_high"]
        return (1 / speedup if speedup else None), (math.log(high / low) / 2 if low and high else math.nan)

    chosen = [row for row in rows if row["is_frozen"] == is_frozen]
    return _match(chosen, layer, base, read, (*COMPARABLE_FIELDS, "baseline_id"))


def _match(
    rows: Iterable[Row],
    layer: NamedLayer,
    base: NamedLayer,
    read: Callable[[Row], tuple[float | None, float]],
    fields: Sequence[str],
) -> list[Ratio]:
    sides: dict[NamedLayer, dict[tuple[Any, ...], Row]] = {layer: {}, base: {}}
    for row in rows:
        side = sides.get((row["upsampler"], row["kernel_size"]))
        if side is not None:
            side[tuple(row[field] for field in fields)] = row
    ratios = []
    for setting, row in sides[layer].items():
        other = sides[base].get(setting)
        if other is None:
            continue
        (cost, half), (base_cost, base_half) = read(row), read(other)
        if cost and base_cost:
            # cases that were timed by themselves err independently
            width = math.hypot(half, base_half)
            ratios.append((math.log(cost / base_cost), width, dict(zip(fields, setting, strict=True))))
    return ratios


def _pool(name: str, ratios: Sequence[Ratio]) -> dict[str, float | None]:
    """Lay the geometric mean out as evidence, with the interval that follows from those of the cases."""
    if not ratios:
        return {}
    mean = sum(ratio[0] for ratio in ratios) / len(ratios)
    half = math.hypot(*(ratio[1] for ratio in ratios)) / len(ratios)
    ends = (None, None) if math.isnan(half) else (math.exp(mean - half), math.exp(mean + half))
    return {name: math.exp(mean), **dict(zip(name_interval(name), ends, strict=True))}


_MEASURE_BOTH = "no run has latencies of nearest_conv k3 and of transposed k3 or k4 in one case; " + _RUN


def judge_efficiency(evidence: Evidence) -> Finding:
    """Ask whether the plain resize-convolution costs at most a quarter more, in each respect that was measured.

    Parameters
    ----------
    evidence : mapping
        From `measure_efficiency`.
    """
    kernels = [k for k in (3, 4) if evidence.get(f"latency_ratio_k{k}") is not None]
    if not kernels:
        return leave_undecided(_MEASURE_BOTH)
    parts: list[tuple[str, bool | None]] = []
    told = []
    for k in kernels:
        latency = read_interval(evidence, f"latency_ratio_k{k}")
        parts.append((f"latency over k{k}", negate(latency.is_above(SLIGHTLY))))
        costs = [f"latency {latency}"]
        if evidence.get(f"latency_ratio_k{k}_cells") is not None:
            least, most, cells = (
                read_number(evidence, f"latency_ratio_k{k}_{what}") for what in ("least", "most", "cells")
            )
            costs[0] += f", {write_number(least)} to {write_number(most)} in {cells:.0f} cases"
        for quantity, title in (("memory", "memory"), ("macs", "MACs")):
            ratio = evidence.get(f"{quantity}_ratio_k{k}")
            if ratio is not None:
                parts.append((f"{title} over k{k}", ratio <= SLIGHTLY))
                costs.append(f"{title} {write_number(ratio)}")
        told.append(f"over transposed k{k} {', '.join(costs)}")
    sentence = f"Cost ratios of nearest_conv k3: {'; '.join(told)}{_describe_fast(evidence, kernels)}."
    names = {f"latency_ratio_k{k}": (f"latency over transposed k{k}", "") for k in kernels}
    cases = [count for name in names if (count := evidence.get(f"{name}_cells")) is not None]
    return conclude(
        parts,
        sentence,
        effects=list_effects(evidence, names),
        size=f"{sum(cases):.0f} pairs of cases" if cases else "",
    )


def _describe_fast(evidence: Evidence, kernels: Sequence[int]) -> str:
    """Say what is left of the difference in the exact fast form."""
    found: dict[int, Interval] = {
        k: read_interval(evidence, f"fast_latency_ratio_k{k}")
        for k in kernels
        if evidence.get(f"fast_latency_ratio_k{k}") is not None
    }
    if not found:
        return ""
    closes = [ratio.is_above(SLIGHTLY) is False for ratio in found.values()]
    effect = "closes" if all(closes) else "partly closes" if any(closes) else "narrows"
    if any(ratio.value >= read_number(evidence, f"latency_ratio_k{k}") for k, ratio in found.items()):
        effect = "does not narrow"
    text = f"its exact fast form {effect} the gap in latency: {_write_ratios(found)}"
    names = {k: f"fast_frozen_latency_ratio_k{k}" for k in found}
    frozen = {k: read_interval(evidence, name) for k, name in names.items() if evidence.get(name) is not None}
    return f"; {text}" + (f", and {_write_ratios(frozen)} with frozen weights" if frozen else "")


def _write_ratios(ratios: Mapping[int, Interval]) -> str:
    return ", ".join(f"{ratio} over k{k}" for k, ratio in ratios.items())
