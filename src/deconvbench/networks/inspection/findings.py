"""What an audit has found: every rule's condition.

They look at plain data only. What a rule says stands in `records.findings`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from deconvbench.measure.artifacts.effective_ripple import CLEAN_EFFECTIVE_RIPPLE
from deconvbench.records import sites as kinds
from deconvbench.records.findings import RULES, Finding
from deconvbench.records.sites import SiteReport

# RMS over the phases, over the RMS of a layer's output, from which its weights ripple
LEAST_RELATIVE_RIPPLE = math.sqrt(CLEAN_EFFECTIVE_RIPPLE)


# amplitude in the output, in levels, from which a ripple is there
NO_LEVELS = 0.05


def list_findings(reports: list[SiteReport], detection_level: float = 0.0) -> list[Finding]:
    """Apply every rule to every site.

    Parameters
    ----------
    reports : list of SiteReport
        Of all sites.
    detection_level : float
        In levels: what a site has in images is taken for nothing up to it; NaN where it was not measured.

    Returns
    -------
    list of Finding
        In network order, then by code.
    """
    return [
        Finding(
            code=code,
            site=report.site.number,
            path=report.site.path,
            message=message,
            remedy=RULES[code].remedy,
            is_risk=RULES[code].is_risk and not (code == "DB002" and _is_removed_later(report)),
        )
        for report in (_drop_undetected(report, detection_level) for report in reports)
        for code, check in _CHECKS.items()
        for message in check(report)
    ]


def _drop_undetected(report: SiteReport, detection_level: float) -> SiteReport:
    is_undetected = report.real_levels is not None and abs(report.real_levels) <= detection_level
    return replace(report, real_levels=None) if is_undetected else report


def describe_infinite(where: Sequence[str], weights: Sequence[str]) -> Finding | None:
    """Describe an output that is not finite; None if all is.

    Parameters
    ----------
    where : sequence of str
        For what it is not.
    weights : sequence of str
        Names of weights that are not.

    Returns
    -------
    Finding or None
        Of the network itself, whose number is 0.
    """
    if not where and not weights:
        return None
    parts = [f"the output for {' and '.join(where)} holds NaN or infinity"] if where else []
    if weights:
        others = f" and {len(weights) - 1} more" if len(weights) > 1 else ""
        parts.append(f"{weights[0]}{others} of its weights and buffers {'do' if others else 'does'} so")
    rule = RULES["DB011"]
    return Finding(
        code=rule.code,
        site=0,
        path="",
        message="; ".join(parts),
        remedy=rule.remedy,
        is_risk=rule.is_risk,
    )


def _check_overlap(report: SiteReport) -> Iterator[str]:
    site = report.site
    if report.overlap_cv and not _has_holes(report):
        kernel, stride = ("×".join(map(str, dict.fromkeys(sizes))) for sizes in (site.kernel_size, site.stride))
        yield f"kernel {kernel} is not divisible by stride {stride}: overlap varies by {report.overlap_cv:.0%}"


def _check_ripple(report: SiteReport) -> Iterator[str]:
    if report.relative_ripple is not None and report.relative_ripple > LEAST_RELATIVE_RIPPLE:
        removed = ", which does not reach the network's output" if _is_removed_later(report) else ""
        yield f"its phases differ by {report.relative_ripple:.2%} of its output (RMS){removed}"


def _check_slow_form(report: SiteReport) -> Iterator[str]:
    if not report.is_fusible:
        return
    gain = (
        "" if report.fuse_speedup is None else f"; fused, the network is {report.fuse_speedup:.2f} times as fast"
    )
    yield f"nearest ×{report.site.scale[0]:g} and its convolution are computed one after the other{gain}"


def _check_diagonal(report: SiteReport) -> Iterator[str]:
    if report.is_diagonal:
        yield f"a dense kernel of {report.site.in_channels} channels is zero but for its diagonal"


def _check_order(report: SiteReport) -> Iterator[str]:
    if report.smoother_order:
        yield f"channels are read as {report.site.order}, and read as {report.smoother_order} the map is smoother"


def _check_resize(report: SiteReport) -> Iterator[str]:
    site = report.site
    if site.kind not in {kinds.RESIZE, kinds.RESIZE_CONVOLUTION}:
        return
    if "align_corners" in site.operation:
        yield "align_corners=True"
    elif any(one != int(one) for one in site.scale):
        yield f"resizes by a factor of {'×'.join(f'{one:.4g}' for one in dict.fromkeys(site.scale))}"
    elif "bicubic" in site.operation:
        yield "bicubic, with torch's coefficient of −0.75"


def _check_dtype(report: SiteReport) -> Iterator[str]:
    site = report.site
    if not site.operation.startswith("interpolate"):
        return
    if site.dtype != report.network_dtype:
        yield f"interpolates in {site.dtype}, in a network of {report.network_dtype}"


def _check_holes(report: SiteReport) -> Iterator[str]:
    if report.site.kind == kinds.MAX_UNPOOLING:
        yield "max-unpooling fills one pixel of each block and leaves zeros"
    elif _has_holes(report):
        yield f"kernel {report.site.kernel_size[0]} is smaller than stride {report.site.stride[0]}"


def _is_removed_later(report: SiteReport) -> bool:
    """Whether the ripple of a layer was seen not to reach the output: a blur behind it removes it."""
    levels = [one for one in (report.flat_levels, report.real_levels) if one is not None]
    return report.flat_levels is not None and max(map(abs, levels)) < NO_LEVELS


def _has_holes(report: SiteReport) -> bool:
    site = report.site
    return site.kind == kinds.TRANSPOSED_CONVOLUTION and any(
        size < step for size, step in zip(site.kernel_size, site.stride, strict=True)
    )


def _check_attributes(report: SiteReport) -> Iterator[str]:
    site = report.site
    if not site.operation.startswith("Resize("):
        return
    mode, _, attributes = site.operation.removeprefix("Resize(mode=").removesuffix(")").partition(": ")
    is_whole = all(one == int(one) for one in site.scale)
    is_same = mode == "nearest" and is_whole and attributes.startswith(("half_pixel", "pytorch_half_pixel"))
    same = ", which at a whole factor takes the pixels that torch's nearest takes" if is_same else ""
    yield f"Resize of mode {mode} with {attributes}{same}"


def _check_last(report: SiteReport) -> Iterator[str]:
    if report.site.is_last and report.site.kind in {kinds.TRANSPOSED_CONVOLUTION, kinds.SUBPIXEL_CONVOLUTION}:
        yield "no convolution comes after it"


_CHECKS: Mapping[str, Callable[[SiteReport], Iterator[str]]] = {
    "DB001": _check_overlap,
    "DB002": _check_ripple,
    "DB003": _check_slow_form,
    "DB004": _check_diagonal,
    "DB005": _check_order,
    "DB006": _check_resize,
    "DB007": _check_dtype,
    "DB008": _check_holes,
    "DB009": _check_last,
    "DB010": _check_attributes,
}
