"""The layers that could do the work of one setting: what each costs there, how clean it is, what is unknown.

Measured where the size was measured; where it was not, estimated from those that were (`scaling`). Chooses none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from deconvbench.analysis.scaling import FEWEST_SIZES, Quantity, estimate_at
from deconvbench.analysis.settings import Setting, Size, format_size, list_sizes, select_rows
from deconvbench.errors import UsageError
from deconvbench.records.case import CASE_FIELDS, Case, format_layer
from deconvbench.records.layers import READING_ORDER
from deconvbench.records.metrics import ARTIFACT_ZERO_BELOW
from deconvbench.records.schema import LAYER_COLUMNS, name_interval
from deconvbench.tables.frames import list_rows

Row = Mapping[str, Any]
Layer = tuple[str, int | None]
_RATIO = ("ratio", "ratio_low", "ratio_high")
_LATENCY = ("latency_s", "latency_ci_low_s", "latency_ci_high_s")
_MEMORY = "peak_memory_bytes"
_RIPPLES = ("phase_ripple", "flat_field_ripple")
_TRAINED = ("trained_checkerboard_levels", "trained_psnr_db")
# what is read of a case; those that an older table lacks are unknown
FIELD_COLUMNS = (
    *CASE_FIELDS,
    *("status", "message", "noisy", "baseline_id"),
    *_RATIO,
    *_LATENCY,
    _MEMORY,
    *_RIPPLES,
)
_QUALITY_COLUMNS = (
    *LAYER_COLUMNS,
    *(name for metric in (*_RIPPLES, *_TRAINED) for name in (metric, *name_interval(metric))),
)


# how many times the pixels of the largest measured size, or what part of the smallest, a line is followed to
MOST_BEYOND = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One layer at the size in question.

    Parameters
    ----------
    upsampler, kernel_size, scale_factor
        The layer.
    layer : str
        As a reader calls it.
    cost : Quantity
        What it is chosen by: latency over that of the baseline, or the latency in seconds where there is no common
        baseline.
    latency : Quantity or None
        Seconds; None where it could not be estimated.
    qualities : mapping of str to Quantity
        By name of a limit (`recommendation.LIMITS`): ``memory`` in bytes, ``ripple`` as a share of power,
        ``checkerboard`` in 8-bit levels, signed, ``psnr`` in dB. What is not known is missing.
    is_estimated : bool
        Whether the size was not measured.
    is_beyond : bool
        Whether the size lies beyond those that were measured of this layer.
    beyond_factor : float
        How far: its pixels over those of the largest measured size, above 1, or of the smallest, below 1; 1 where
        it does not.
    noisy : bool
        Whether its timing was disturbed.
    """

    upsampler: str
    kernel_size: int | None
    scale_factor: int
    layer: str
    cost: Quantity
    latency: Quantity | None = None
    qualities: Mapping[str, Quantity] = field(default_factory=dict)
    is_estimated: bool = False
    is_beyond: bool = False
    beyond_factor: float = 1.0
    noisy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """One layer, or several, of which nothing is known at the size in question.

    Parameters
    ----------
    layer : str
        As a reader calls it.
    reason : str
        A failure, or what was not measured.
    """

    layer: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """All layers of one setting.

    Parameters
    ----------
    candidates : tuple of Candidate
        The cheapest first.
    missing : tuple of Missing
        The rest, failures first.
    baseline : str or None
        The layer whose cost is 1; None where costs are latencies in seconds.
    """

    candidates: tuple[Candidate, ...]
    missing: tuple[Missing, ...]
    baseline: str | None


def list_candidates(
    summary: pd.DataFrame, quality: pd.DataFrame, setting: Setting, *, extrapolate: bool = False
) -> Field:
    """Lay out what each layer costs in a setting, and how clean it is.

    Parameters
    ----------
    summary : DataFrame
        One row per case.
    quality : DataFrame
        One row per layer, with what is known after training.
    setting : Setting
        From `resolve_setting`.
    extrapolate : bool
        Estimate beyond the sizes that were measured, too.

    Raises
    ------
    UsageError
        If the size was not measured and nothing can be estimated there, whatever the layer.
    """
    cases_here = select_rows(summary, setting.fields)
    rows = list_rows(cases_here[[name for name in FIELD_COLUMNS if name in summary]], "summary", CASE_FIELDS)
    layers: dict[Layer, list[Row]] = {}
    for each in rows:
        layers.setdefault((each["upsampler"], each["kernel_size"]), []).append(each)
    here = [row for row in rows if _get_size(row) == setting.size]
    if not here:
        _check_size(layers, setting.size, extrapolate=extrapolate)
    baseline = _find_baseline([row for row in here or rows if is_timed(row)])
    known = list_pooled(quality, setting.fields["scale_factor"])
    pooled = {(row["upsampler"], row["kernel_size"]): row for row in known}
    found: list[Candidate] = []
    missing: list[Missing] = []
    unmeasured: dict[Layer, list[Row]] = {}
    for layer, cases in layers.items():
        row: Row | None = next((case for case in cases if _get_size(case) == setting.size), None)
        if row is None:
            unmeasured[layer] = cases
        elif is_timed(row):
            columns = _LATENCY if baseline is None else _RATIO
            found.append(_make_candidate(row, pooled.get(layer, {}), _take(row, columns), _take(row, _LATENCY)))
        else:
            reason = f"{row['status']}: {row['message']}" if row["status"] != "ok" else "not timed"
            missing.append(Missing(layer=_name(row), reason=reason))
    for layer, estimate in _estimate(unmeasured, setting, pooled, baseline, extrapolate=extrapolate).items():
        if isinstance(estimate, Candidate):
            found.append(estimate)
        else:
            missing.append(Missing(layer=_name(unmeasured[layer][0]), reason=estimate))
    missing += _list_absent(summary, setting, layers)
    return Field(
        candidates=tuple(sorted(found, key=lambda each: (each.cost.value, each.layer))),
        missing=tuple(missing),
        baseline=baseline,
    )


def _get_size(row: Row) -> Size:
    return row["height"], row["width"]


def is_timed(row: Row) -> bool:
    """Whether a case was measured, and has a latency.

    Parameters
    ----------
    row : mapping
        Of a summary.
    """
    return row["status"] == "ok" and row["latency_s"] is not None


def _name(row: Row) -> str:
    return format_layer(*(row[name] for name in LAYER_COLUMNS))


def _take(row: Row, columns: Sequence[str]) -> Quantity:
    value, low, high = (row.get(name) for name in columns)
    assert value is not None  # of rows that were timed
    return Quantity(value=float(value), low=low, high=high) if None not in (low, high) else Quantity(value=value)


def _check_size(layers: Mapping[Layer, Sequence[Row]], size: Size, *, extrapolate: bool) -> None:
    """Refuse a size at which nothing can be estimated."""
    rows = [row for cases in layers.values() for row in cases if is_timed(row)]
    sizes = list_sizes(pd.DataFrame(rows, columns=["height", "width"]))
    named = f"size: {format_size(size)}"
    measured = f"measured: {', '.join(map(format_size, sizes)) or 'none'}"
    how = f"measure it: deconvbench run --set height={size[0]} --set width={size[1]}"
    if len({height * width for height, width in sizes}) < FEWEST_SIZES:
        raise UsageError(
            f"{named} was not measured, and an estimate needs {FEWEST_SIZES} sizes ({measured}); {how}"
        )
    if not extrapolate and not _covers([h * w for h, w in sizes], size):
        raise UsageError(
            f"{named} is beyond the sizes that were {measured}; {how}, or estimate with --extrapolate"
        )
    factor = _find_factor([h * w for h, w in sizes], size)
    if not 1 / MOST_BEYOND <= factor <= MOST_BEYOND:
        end = format_size(sizes[-1] if factor > 1 else sizes[0])
        raise UsageError(
            f"{named} has {factor:.3g} times the pixels of {end}, the nearest that was measured; an estimate"
            f" reaches {MOST_BEYOND} times beyond; {how}"
        )


def _covers(pixels: Sequence[int], size: Size) -> bool:
    return min(pixels) <= size[0] * size[1] <= max(pixels)


def _find_factor(pixels: Sequence[int], size: Size) -> float:
    """Pixels of a size over those of the nearest measured end; 1 between the ends."""
    asked = size[0] * size[1]
    return asked / min(max(pixels), max(min(pixels), asked))


def _find_baseline(rows: Sequence[Row]) -> str | None:
    """Name the layer that all were timed with; None where a row was timed without, or with another."""
    if not rows or any(row.get("ratio") is None or not row.get("baseline_id") for row in rows):
        return None
    names = {_name_baseline(row) for row in rows}
    return names.pop() if len(names) == 1 else None


def _name_baseline(row: Row) -> str:
    try:
        return Case.from_id(row["baseline_id"]).layer_name
    except UsageError:  # another program's
        return str(row["baseline_id"])


def list_pooled(quality: pd.DataFrame, scale_factor: int) -> list[dict[str, Any]]:
    """List what is known of the layers of one scale after training, and of their ripples.

    Parameters
    ----------
    quality : DataFrame
        One row per layer.
    scale_factor : int
        Scale s.
    """
    same = select_rows(quality, {"scale_factor": scale_factor})
    return list_rows(same[[name for name in _QUALITY_COLUMNS if name in same]], "quality", LAYER_COLUMNS)


def _make_candidate(row: Row, pooled: Row, cost: Quantity, latency: Quantity | None, **facts: Any) -> Candidate:
    memory = facts.pop("memory", None if row.get(_MEMORY) is None else Quantity(value=float(row[_MEMORY])))
    found = {
        "memory": memory,
        "ripple": _find_ripple({**row, **{k: v for k, v in pooled.items() if v is not None}}),
        "checkerboard": find_metric(pooled, _TRAINED[0]),
        "psnr": find_metric(pooled, _TRAINED[1]),
    }
    return Candidate(
        **{name: row[name] for name in LAYER_COLUMNS},
        layer=_name(row),
        cost=cost,
        latency=latency,
        qualities={name: quantity for name, quantity in found.items() if quantity is not None},
        **{"noisy": bool(row["noisy"]), **facts},
    )


def find_metric(row: Row, metric: str) -> Quantity | None:
    """Find a metric and its interval over seeds; None where it is not known.

    Parameters
    ----------
    row : mapping
        From `list_pooled`.
    metric : str
        A column.
    """
    value = row.get(metric)
    low, high = (row.get(name) for name in name_interval(metric))
    return None if value is None else Quantity(value=value, low=low, high=high)


def _find_ripple(row: Row) -> Quantity | None:
    """Find the share of power that a constant input has as a checkerboard at initialisation.

    The flat-field ripple is an amplitude over the RMS of the output, so its square is that share too; it is taken
    for what is not linear, of which there is no phase ripple.
    """
    linear, flat = (find_metric(row, metric) for metric in _RIPPLES)
    if linear is not None:
        return _map(linear, lambda value: value)
    return None if flat is None else _map(flat, lambda value: value**2)


def _map(quantity: Quantity, function: Any) -> Quantity:
    """Apply a growing function, and make zero of what is zero but for rounding."""

    def apply(value: float | None) -> float | None:
        return None if value is None else 0.0 if abs(value) < ARTIFACT_ZERO_BELOW else function(value)

    value = apply(quantity.value)
    assert value is not None
    return Quantity(value=value, low=apply(quantity.low), high=apply(quantity.high))


def _estimate(
    layers: Mapping[Layer, Sequence[Row]],
    setting: Setting,
    pooled: Mapping[Layer, Row],
    baseline: str | None,
    *,
    extrapolate: bool,
) -> dict[Layer, Candidate | str]:
    """Estimate what layers cost at a size at which they were not measured, or say why that cannot be done."""
    pixels = setting.size[0] * setting.size[1]
    answers: dict[Layer, Candidate | str] = {}
    timed: dict[Layer, list[Row]] = {}
    for layer, rows in layers.items():
        kept = [row for row in rows if is_timed(row) and (baseline is None or _find_baseline([row]) == baseline)]
        sizes = [row["height"] * row["width"] for row in kept]
        if sizes and not extrapolate and not _covers(sizes, setting.size):
            ends = list_sizes(pd.DataFrame(kept))
            answers[layer] = f"measured from {format_size(ends[0])} to {format_size(ends[-1])} only"
        elif sizes and not 1 / MOST_BEYOND <= _find_factor(sizes, setting.size) <= MOST_BEYOND:
            ends = list_sizes(pd.DataFrame(kept))
            answers[layer] = f"measured from {format_size(ends[0])} to {format_size(ends[-1])}, too far away"
        else:
            timed[layer] = kept

    def read_off(column: str, *, has_fixed_share: bool = False) -> list[Quantity | str]:
        # the baseline's ratio is 1 at any size, and says nothing of how far others are off their lines
        series = [
            [(row["height"] * row["width"], row[column]) for row in rows if (row.get(column) or 0) > 0]
            if column != "ratio" or not rows or _name(rows[0]) != baseline
            else []
            for rows in timed.values()
        ]
        return estimate_at(series, pixels, has_fixed_share=has_fixed_share)

    costs, latencies, memories = (
        read_off("latency_s" if baseline is None else "ratio"),
        read_off("latency_s"),
        read_off(_MEMORY, has_fixed_share=True),
    )
    for (layer, rows), read, latency, memory in zip(timed.items(), costs, latencies, memories, strict=True):
        is_baseline = bool(rows) and _name(rows[0]) == baseline
        cost = Quantity(value=1.0, low=1.0, high=1.0) if is_baseline else read
        if isinstance(cost, str):
            answers[layer] = cost
            continue
        answers[layer] = _make_candidate(
            rows[0],
            pooled.get(layer, {}),
            cost,
            None if isinstance(latency, str) else latency,
            memory=None if isinstance(memory, str) else memory,
            is_estimated=True,
            is_beyond=(factor := _find_factor([row["height"] * row["width"] for row in rows], setting.size)) != 1,
            beyond_factor=factor,
            noisy=any(row["noisy"] for row in rows),
        )
    return answers


def _list_absent(summary: pd.DataFrame, setting: Setting, layers: Mapping[Layer, Any]) -> list[Missing]:
    """List the layers that only other settings of the run have, and the upsamplers that it lacks altogether."""
    scale = setting.fields["scale_factor"]
    same_scale = select_rows(summary[list(LAYER_COLUMNS)], {"scale_factor": scale}).drop_duplicates()
    elsewhere = [
        Missing(layer=_name(row), reason="not measured in this setting")
        for row in list_rows(same_scale, "summary", LAYER_COLUMNS)
        if (row["upsampler"], row["kernel_size"]) not in layers
    ]
    names = {*summary["upsampler"]}
    return elsewhere + [
        Missing(layer=name, reason="not in this run") for name in READING_ORDER if name not in names
    ]
