"""What the remedies of an audit cost: the proposed layer over the present one, where both were measured.

Looks up the nearest measured setting and says which it was. Estimates nothing, and judges no network.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deconvbench.analysis.candidates import FIELD_COLUMNS, Layer, find_metric, is_timed, list_pooled
from deconvbench.analysis.scaling import Quantity
from deconvbench.analysis.site_settings import count_channels, find_size, name_present
from deconvbench.records import sites as kinds
from deconvbench.records.audit import Audit
from deconvbench.records.case import CASE_FIELDS, format_layer
from deconvbench.records.findings import Finding
from deconvbench.records.layers import FAST_ORIGINAL, FAST_UPSAMPLERS
from deconvbench.records.sites import Site
from deconvbench.tables.frames import list_rows, require_columns

Row = Mapping[str, Any]

NOT_MEASURED = "not measured"
_TRAINED = {"checkerboard": "trained_checkerboard_levels", "psnr": "trained_psnr_db"}
_CHANNELS = ("in_channels", "out_channels")
_COMPARABLE = tuple(name for name in CASE_FIELDS if name not in {"upsampler", "kernel_size"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyCost:
    """What one layer in the place of another costs, at one site.

    Parameters
    ----------
    site : int
        Number of the site.
    code : str
        Of the finding.
    present, proposed : str
        The layers as they were measured, such as ``transposed k3 s2``; `proposed` is empty, and the rest None,
        where there is none that was measured.
    time : Quantity or None
        Latency of the proposed layer over that of the present one, with its 95 % interval.
    memory : float or None
        The same of peak memory.
    checkerboard, psnr : Quantity or None
        What it has more after training: in 8-bit levels, in dB; with the 95 % interval of the difference. Exactly
        0 for another form of the same function.
    setting : str
        Where both were measured.
    is_same_setting : bool
        Whether that has the site's kernel, channels and size.
    reason : str
        Why there is none.
    """

    site: int
    code: str
    present: str = ""
    proposed: str = ""
    time: Quantity | None = None
    memory: float | None = None
    checkerboard: Quantity | None = None
    psnr: Quantity | None = None
    setting: str = ""
    is_same_setting: bool = False
    reason: str = ""


def list_remedy_costs(
    audit: Audit, summary: pd.DataFrame, quality: pd.DataFrame, *, device: str = "cpu"
) -> tuple[RemedyCost, ...]:
    """Look up what the remedies of every finding cost.

    Parameters
    ----------
    audit : Audit
        Any.
    summary : DataFrame
        One row per case, of one run (`tables.table.summarise`).
    quality : DataFrame
        One row per layer, with what is known after training (`tables.table.summarise_quality`).
    device : str
        On which they were timed.

    Returns
    -------
    tuple of RemedyCost
        In the order of the findings; one with a `reason` where nothing that was measured tells.

    Raises
    ------
    UsageError
        If a frame lacks a column.

    Notes
    -----
    Each layer was timed in the same rounds as a common baseline. The interval of a ratio of two such ratios adds
    the squares of their half-widths, as logarithms; that is too wide where the baseline's noise is in both.
    """
    require_columns(summary, "summary", (*CASE_FIELDS, "status", "message", "noisy"), ("latency_s",))
    columns = [name for name in FIELD_COLUMNS if name in summary]
    rows = [row for row in list_rows(summary[columns], "summary", CASE_FIELDS) if is_timed(row)]
    rows = [row for row in rows if (row["device"], row["step"]) == (device, "forward")]
    sites = {report.site.number: report.site for report in audit.sites}
    pooled: dict[int, dict[Layer, Row]] = {}
    found: list[RemedyCost] = []
    for finding in audit.findings:
        site = sites.get(finding.site)
        if site is None:
            continue
        scale = int(site.scale[0]) if site.scale and math.isfinite(site.scale[0]) else 0
        if scale not in pooled:
            pooled[scale] = {(row["upsampler"], row["kernel_size"]): row for row in list_pooled(quality, scale)}
        found += _cost_finding(site, finding, rows, pooled[scale])
    return tuple(found)


def _list_proposals(site: Site, finding: Finding) -> list[Layer]:
    """Name what to take instead; of an upsampler without a kernel the nearest that was measured."""
    scale = int(site.scale[0])
    multiples: list[Layer] = [("transposed", 2 * scale), ("transposed", scale)]
    free: list[Layer] = [("nearest_conv_fast", None)]
    transposed = site.kind == kinds.TRANSPOSED_CONVOLUTION
    return {
        "DB001": [*multiples, *free],
        "DB002": [("equal_gain_transposed" if transposed else "subpixel_icnr_blur", None), *free],
        "DB003": [*free, ("nearest_conv_native", None)],
        "DB008": [*(multiples if transposed else []), *free],
    }.get(finding.code, [])


def _cost_finding(
    site: Site, finding: Finding, rows: Sequence[Row], pooled: Mapping[Layer, Row]
) -> Iterator[RemedyCost]:
    present, reason = name_present(site)
    if present is None:
        yield RemedyCost(site=site.number, code=finding.code, reason=reason)
        return
    proposals = _list_proposals(site, finding)
    pairs = [pair for layer in proposals if (pair := _find_pair(site, present, layer, rows)) is not None]
    if not pairs:
        yield RemedyCost(site=site.number, code=finding.code, reason=NOT_MEASURED)
    for old, new in pairs:
        compared = _compare(old, new, pooled)
        is_same = _is_same(site, present, old)
        yield RemedyCost(site=site.number, code=finding.code, **compared, is_same_setting=is_same)


def _find_pair(site: Site, present: Layer, proposed: Layer, rows: Sequence[Row]) -> tuple[Row, Row] | None:
    """Find the two layers in the one setting that is nearest to the site's."""
    upsampler, kernel = present
    name, wanted = proposed
    settings: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["scale_factor"] == site.scale[0] and row["dtype"] == site.dtype:
            settings.setdefault(tuple(row[field] for field in _COMPARABLE), []).append(row)
    pairs = [
        (old, new)
        for cases in settings.values()
        for old in cases
        if old["upsampler"] == upsampler
        for new in cases
        if new["upsampler"] == name and wanted in (None, new["kernel_size"]) and new is not old
    ]
    return min(pairs, key=lambda pair: _measure_distance(site, kernel, *pair), default=None)


def _measure_distance(site: Site, kernel: int | None, old: Row, new: Row) -> tuple[float, float, str]:
    """How far a measured pair is from a site: the kernels first, then channels and size as factors."""
    kernels = sum(abs(math.log((row["kernel_size"] or 3) / (kernel or 3))) for row in (old, new))
    height, width = find_size(site, site.in_shape)
    factors = (
        *(old[name] / number for name, number in zip(_CHANNELS, count_channels(site), strict=True)),
        math.sqrt(old["height"] * old["width"] / (height * width)),
        old["batch"] / max(1, site.in_shape[0]),
        # threads and formats of the defaults are the ones that most runs have
        *(2.0 for name, value in (("threads", 1), ("execution", "eager")) if old[name] != value),
    )
    return kernels, sum(abs(math.log(factor)) for factor in factors), str(old["memory_format"])


def _is_same(site: Site, present: Layer, row: Row) -> bool:
    return (
        (row["upsampler"], row["kernel_size"]) == present
        and tuple(row[name] for name in _CHANNELS) == count_channels(site)
        and (row["height"], row["width"]) == find_size(site, site.in_shape)
    )


def _compare(old: Row, new: Row, pooled: Mapping[Layer, Row]) -> dict[str, Any]:
    before, after = (pooled.get((row["upsampler"], row["kernel_size"]), {}) for row in (old, new))
    same = {FAST_ORIGINAL, *FAST_UPSAMPLERS}
    if {old["upsampler"], new["upsampler"]} <= same and old["kernel_size"] == new["kernel_size"]:
        changes: dict[str, Quantity | None] = dict.fromkeys(_TRAINED, Quantity(value=0.0, low=0.0, high=0.0))
    else:
        changes = {name: _subtract(before, after, metric) for name, metric in _TRAINED.items()}
    memories = [row.get("peak_memory_bytes") for row in (old, new)]
    return {
        "present": _name(old),
        "proposed": _name(new),
        "time": _divide(old, new),
        "memory": memories[1] / memories[0] if memories[0] and memories[1] is not None else None,
        **changes,
        "setting": f"{old['device']}, {old['in_channels']} → {old['out_channels']} channels,"
        f" {old['height']}×{old['width']}, {old['dtype']}",
    }


def _name(row: Row) -> str:
    return format_layer(row["upsampler"], row["kernel_size"], row["scale_factor"])


def _divide(old: Row, new: Row) -> Quantity:
    """Divide costs, by way of the baseline that both were timed with where they were."""
    has_ratios = all(row.get("ratio") and row.get("baseline_id") == old.get("baseline_id") for row in (old, new))
    names = ("ratio", "ratio_low", "ratio_high")
    names = names if has_ratios else ("latency_s", "latency_ci_low_s", "latency_ci_high_s")
    value = new[names[0]] / old[names[0]]
    if any(not row.get(name) for row in (old, new) for name in names):
        return Quantity(value=value)
    old_value, old_low, old_high = (old[name] for name in names)
    new_value, new_low, new_high = (new[name] for name in names)
    down = math.hypot(math.log(new_value / new_low), math.log(old_high / old_value))
    up = math.hypot(math.log(new_high / new_value), math.log(old_value / old_low))
    return Quantity(value=value, low=value * math.exp(-down), high=value * math.exp(up))


def _subtract(before: Row, after: Row, metric: str) -> Quantity | None:
    old, new = (find_metric(row, metric) for row in (before, after))
    if old is None or new is None:
        return None
    value = new.value - old.value
    ends = (old.low, old.high, new.low, new.high)
    if None in ends:
        return Quantity(value=value)
    old_low, old_high, new_low, new_high = (float(end) for end in ends if end is not None)
    down = math.hypot(new.value - new_low, old_high - old.value)
    up = math.hypot(new_high - new.value, old.value - old_low)
    return Quantity(value=value, low=value - down, high=value + up)
