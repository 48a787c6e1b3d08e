"""What a run found, in plain sentences computed from its tables.

Every number in a sentence is looked up or computed here from the tables; nothing is known in advance, and what
the tables do not hold is not said.
"""

from typing import Any

import pandas as pd

from deconvbench.analysis.results import RunResults
from deconvbench.analysis.selection import (
    EmptyFigureError,
    Panel,
    at_size,
    choose_size,
    describe_rest,
    select_measured,
    split_panels,
)
from deconvbench.analysis.tradeoff import join_tradeoff
from deconvbench.records.metrics import ARTIFACT_ZERO_BELOW, format_metric
from deconvbench.units import format_bytes, format_seconds

_MAX_SETTINGS = 6
# of the time per multiply-accumulate of the middle layer, from where on a layer's kernel is worth a sentence
_OUTLYING = 3.0
_MAX_OUTLIERS = 3
# what `measure.onednn.explain_emulation` writes behind a kernel
_EMULATED = "computed in float32"


def describe_findings(results: RunResults) -> list[str]:
    """Say what the tables show, most useful first.

    Parameters
    ----------
    results : RunResults
        Of a run; any of its frames may be empty.

    Returns
    -------
    list of str
        Sentences; empty where nothing was measured.
    """
    sentences = []
    try:
        measured = select_measured(results.summary, "latency_s")
    except EmptyFigureError:
        measured = None
    if measured is not None:
        size = choose_size(measured)
        joined = join_tradeoff(at_size(measured, size), quality="phase_ripple")
        panels = split_panels(joined, _MAX_SETTINGS)[0]
        for panel in panels:
            sentences += describe_setting(panel, size)
        sentences += describe_outliers(panels[0], size)
        sentences += _describe_emulation(measured)
        sentences += _describe_memory(measured)
    sentences += _describe_kernels(results.quality)
    if measured is not None:
        sentences.append(_describe_precision(measured))
    return sentences


def describe_setting(panel: Panel, size: tuple[int, int]) -> list[str]:
    """Name the fastest layer and the cheapest one without ripple, with its price.

    Parameters
    ----------
    panel : Panel
        One setting at one size, with the columns of `join_tradeoff`.
    size : (int, int)
        Height and width of the input.
    """
    where = f"{panel.title[0].upper()}{panel.title[1:]}, input {size[0]}×{size[1]}"
    frame = panel.frame.sort_values("latency_s", kind="stable")
    # a layer that is not linear has no phase ripple, but what it makes of a flat field was measured
    ripple = frame["phase_ripple"].fillna(frame["flat_field_ripple"])
    rippleless = frame[ripple.abs() < ARTIFACT_ZERO_BELOW]
    if rippleless.empty:
        known = int(ripple.notna().sum())
        text = f"{where}: none of the {known} layers with a known ripple of a constant input is free of it"
        return [f"{text}; the fastest layer is {_name_with_price(frame.iloc[0])}."]
    best = rippleless.iloc[0]
    text = f"{where}: the cheapest layer without ripple at initialisation is {_name_with_price(best)}"
    baseline = frame[(frame["upsampler"] == "transposed") & (frame["kernel_size"] == 3)]
    if len(baseline):
        ratio = best["latency_s"] / baseline["latency_s"].iloc[0]
        price = f"{ratio:.2g} times the latency of {baseline['layer'].iloc[0]}"
        text += f", {price} (phase ripple {format_metric(baseline['phase_ripple'].iloc[0], 'phase_ripple')})"
    if pd.notna(best["image_rejection_db"]):
        text += (
            f", with an image rejection of {format_metric(best['image_rejection_db'], 'image_rejection_db')} dB"
        )
    fastest = frame.iloc[0]
    if fastest["layer"] != best["layer"]:
        text += f"; the fastest of all is {_name_with_price(fastest)}"
        if pd.notna(fastest["phase_ripple"]):
            text += f", phase ripple {format_metric(fastest['phase_ripple'], 'phase_ripple')}"
    return [text + "."]


def _name_with_price(row: "pd.Series[Any]") -> str:
    return f"{row['layer']} ({format_seconds(row['latency_s'])}{', noisy' if row['noisy'] else ''})"


def describe_outliers(panel: Panel, size: tuple[int, int]) -> list[str]:
    """Name what layers spend their time in that take far longer than their arithmetic explains.

    Parameters
    ----------
    panel : Panel
        One setting at one size.
    size : (int, int)
        Height and width of the input.
    """
    frame = panel.frame[panel.frame["macs"].astype(float) > 0]
    cost = frame["latency_s"] / frame["macs"].astype(float)
    ordered = frame.assign(times=cost / cost.median()).sort_values("times", ascending=False, kind="stable")
    outliers = [
        f"{row['layer']} takes {row['times']:.1f} times as long ({row['kernel']})"
        for row in ordered.to_dict("records")
        if row["times"] >= _OUTLYING and isinstance(row["kernel"], str)
    ]
    if not outliers:
        return []
    where = f"{panel.title[0].upper()}{panel.title[1:]}, input {size[0]}×{size[1]}"
    rest = describe_rest(max(len(outliers) - _MAX_OUTLIERS, 0), "layers")
    named = "; ".join(outliers[:_MAX_OUTLIERS])
    return [
        f"{where}: for each multiply-accumulate, beside the middle layer, {named}{rest}; in brackets what most of"
        " the time is spent in."
    ]


def _describe_emulation(measured: pd.DataFrame) -> list[str]:
    emulated = measured[measured["kernel"].str.contains(_EMULATED, regex=False, na=False)]
    dtypes = " and ".join(dict.fromkeys(emulated["dtype"]))
    return [f"This CPU computes {dtypes} in float32: latencies in it say little of a CPU that has it."] * bool(
        dtypes
    )


def _describe_memory(measured: pd.DataFrame) -> list[str]:
    known = measured[measured["workspace_bytes"].notna()]
    if known.empty:
        return []
    size = choose_size(known)
    row = known[(known["height"] == size[0]) & (known["width"] == size[1])].nlargest(1, "workspace_bytes").iloc[0]
    where = f"{size[0]}×{size[1]} is that of {row['layer']} ({row['step']}, {row['device']})"
    sizes = f"{format_bytes(row['workspace_bytes'])} beside an output of {format_bytes(row['output_bytes'])}"
    return [f"The most hidden workspace at {where}: {sizes}."]


def _describe_kernels(quality: pd.DataFrame) -> list[str]:
    """Compare what a kernel divisible by the stride, the article's advice, does to the two checkerboards."""
    if quality.empty:
        return []
    rows = quality[(quality["upsampler"] == "transposed") & (quality["status"] == "ok")]
    if rows.empty:
        return []
    divisible = rows["kernel_size"].astype(int) % rows["scale_factor"].astype(int) == 0
    even, uneven = rows[divisible], rows[~divisible]
    if even.empty or uneven.empty:
        return []
    parts = []
    for metric, name in (
        ("noise_gain_cv", "unevenness of variance"),
        ("phase_ripple", "ripple of a constant input"),
    ):
        values = [group[metric].astype(float).mean() for group in (even, uneven)]
        if all(pd.notna(value) for value in values):
            parts.append(
                f"mean {name} {format_metric(values[0], metric)} against {format_metric(values[1], metric)}"
            )
    if not parts:
        return []
    text = " and ".join(parts)
    return [f"Transposed convolutions with a kernel divisible by the stride, against the others: {text}."]


def _describe_precision(measured: pd.DataFrame) -> str:
    half_widths = (measured["latency_ci_high_s"] - measured["latency_ci_low_s"]) / 2 / measured["latency_s"]
    noisy = int(measured["noisy"].sum())
    text = f"{noisy} of {len(measured)} measured cases are marked noisy"
    if half_widths.notna().any():
        text += f"; half of the 95 % intervals are narrower than ±{half_widths.median():.1%} of the latency"
    else:
        text += "; none has an interval, which takes at least two replicates"
    return text + "."
