"""What an audit has found, each kind with a code, a reason and what to do.

Rules look at plain data only. Codes are never used again for something else.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from deconvbench.measure.artifacts.effective_ripple import CLEAN_EFFECTIVE_RIPPLE
from deconvbench.networks.inspection import sites as kinds
from deconvbench.networks.inspection.report import SiteReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of finding.

    Parameters
    ----------
    code : str
        ``DB`` and three digits.
    title : str
        In a few words.
    explanation : str
        Why it matters.
    remedy : str
        What to do.
    is_risk : bool
        Whether a network with it may draw checkerboards.
    """

    code: str
    title: str
    explanation: str
    remedy: str
    is_risk: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding.

    Parameters
    ----------
    code : str
        One of `RULES`.
    site : int
        Number of the site.
    path : str
        Of its module.
    message : str
        What was found there.
    remedy : str
        What to do.
    is_risk : bool
        Whether it may draw checkerboards.
    """

    code: str
    site: int
    path: str
    message: str
    remedy: str
    is_risk: bool

    def __str__(self) -> str:
        return f"{self.code} {self.path or '(the model)'}: {self.message}"


RULES: Mapping[str, Rule] = {
    rule.code: rule
    for rule in (
        Rule(
            code="DB001",
            title="uneven overlap",
            explanation="The kernel is not divisible by the stride, so output pixels see different numbers of"
            " taps: the variance of the output alternates with the phase, and the mean too unless training has"
            " cancelled it.",
            remedy="take a kernel that is a multiple of the stride (k4 s2, or k2 s2), or resize-convolution"
            " (deconvbench.nn.ResizeConv2d), and train again",
            is_risk=True,
        ),
        Rule(
            code="DB002",
            title="phase ripple of the weights",
            explanation="A constant input, at the mean of the activations on real images, comes out of this layer"
            " as a checkerboard: its phases have different gains. A kernel divisible by the stride does not"
            " prevent that.",
            remedy="train on with a layer that keeps its phase gains equal (deconvbench.nn.EqualGainTransposed for"
            " a transposed convolution, deconvbench.nn.SubpixelIcnrBlur for a sub-pixel one), or with"
            " resize-convolution (deconvbench.nn.ResizeConv2d)",
            is_risk=True,
        ),
        Rule(
            code="DB003",
            title="resize-convolution in its slow form",
            explanation="Nearest-neighbour upsampling makes the large map first and convolves that: the same"
            " result takes fewer multiplications and no large map.",
            remedy="deconvbench.fuse(model, example_input), exact but for rounding and without training",
            is_risk=False,
        ),
        Rule(
            code="DB004",
            title="dense kernel that is diagonal",
            explanation="Only the weights from each channel to itself differ from zero, but all are multiplied (a"
            " bilinear kernel without groups, as in FCN).",
            remedy="give the layer groups=channels with the diagonal as its weight, or interpolate",
            is_risk=False,
        ),
        Rule(
            code="DB005",
            title="order of the shuffle is suspect",
            explanation="Another order of the channels before the shuffle gives a smoother map for the same"
            " features: the weights were probably trained, or converted, for that order.",
            remedy="compare the shuffle with that of the framework that the weights come from (PixelShuffle and"
            " ONNX CRD: c i j; TensorFlow's depth_to_space and ONNX DCR: i j c)",
            is_risk=True,
        ),
        Rule(
            code="DB006",
            title="resize that depends on the framework",
            explanation="align_corners=True, factors that are not whole and bicubic coefficients are computed"
            " differently elsewhere (ONNX Resize has other defaults), and the first two are not the same at every"
            " pixel.",
            remedy="resize by a whole factor with align_corners=False, and compare outputs after an export",
            is_risk=False,
        ),
        Rule(
            code="DB007",
            title="interpolation in an odd dtype",
            explanation="The map is converted for the interpolation alone, or interpolated with few bits or as"
            " whole numbers: it costs time and memory, or precision.",
            remedy="interpolate in the dtype of the layers around; torch interpolates half precision as it is",
            is_risk=False,
        ),
        Rule(
            code="DB008",
            title="holes",
            explanation="Values are put at some pixels of each block, with zeros around (max-unpooling, or a"
            " transposed convolution whose kernel is smaller than its stride).",
            remedy="see that a convolution at least as large as the block follows, or upsample by nearest"
            " neighbour or bilinearly",
            is_risk=True,
        ),
        Rule(
            code="DB009",
            title="the last layer upsamples",
            explanation="No convolution comes after it that could smooth what it leaves: its ripple is in the"
            " picture.",
            remedy="add a convolution after it (3×3, as many channels in as out), or upsample one layer earlier",
            is_risk=False,
        ),
    )
}

# RMS over the phases, over the RMS of a layer's output, from which its weights ripple
LEAST_RELATIVE_RIPPLE = math.sqrt(CLEAN_EFFECTIVE_RIPPLE)


# amplitude in the output, in levels, from which a ripple is there
NO_LEVELS = 0.05


def list_findings(reports: list[SiteReport]) -> list[Finding]:
    """Apply every rule to every site.

    Parameters
    ----------
    reports : list of SiteReport
        Of all sites.

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
        for report in reports
        for code, check in _CHECKS.items()
        for message in check(report)
    ]


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
}
