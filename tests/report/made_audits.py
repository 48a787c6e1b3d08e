"""Audits with numbers of the test's own choice."""

import math
from dataclasses import replace
from typing import Any

from deconvbench.records import sites as kinds
from deconvbench.records.audit import AT_RISK, CHECKERBOARDS, CLEAN, Attribution, Audit
from deconvbench.records.evidence import Evidence, Picture, RippleMap
from deconvbench.records.findings import RULES, Finding
from deconvbench.records.sites import ConvolutionInfo, Site, SiteReport

HOSTILE = "<script>alert('1')</script>|`x`\u202e[a](http://b)@you\n# h"


def make_transposed(number: int = 1, path: str = "up.0", **changes: Any) -> Site:
    """A transposed convolution k3 s2, 64 to 32 channels of 64×64 pixels."""
    values: dict[str, Any] = {
        "number": number,
        "path": path,
        "kind": kinds.TRANSPOSED_CONVOLUTION,
        "operation": "conv_transpose2d",
        "dims": 2,
        "scale": (2, 2),
        "kernel_size": (3, 3),
        "stride": (2, 2),
        "padding": (1, 1),
        "output_padding": (1, 1),
        "dilation": (1, 1),
        "in_shape": (1, 64, 64, 64),
        "out_shape": (1, 32, 128, 128),
        "in_channels": 64,
        "out_channels": 32,
        "macs": 75_497_472,
    }
    return Site(**{**values, **changes})


def make_nearest(number: int = 2, path: str = "up.1", **changes: Any) -> Site:
    """Nearest ×2 and a convolution k3, 32 to 16 channels of 128×128 pixels."""
    values: dict[str, Any] = {
        "kind": kinds.RESIZE_CONVOLUTION,
        "operation": "interpolate(mode=nearest)",
        "stride": (1, 1),
        "output_padding": (),
        "in_shape": (1, 32, 128, 128),
        "out_shape": (1, 32, 256, 256),
        "in_channels": 32,
        "out_channels": 16,
        "is_last": True,
        "convolution": ConvolutionInfo(
            path="conv", kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), in_channels=32, out_channels=16
        ),
    }
    return make_transposed(number, path, **{**values, **changes})


def make_finding(code: str, site: Site, message: str = "what is wrong") -> Finding:
    """A finding at a site."""
    rule = RULES[code]
    return Finding(
        code=code, site=site.number, path=site.path, message=message, remedy=rule.remedy, is_risk=rule.is_risk
    )


def make_audit(**changes: Any) -> Audit:
    """A network with checkerboards: a transposed layer that causes them, then a clean resize-convolution."""
    first, second = make_transposed(), make_nearest()
    reports = (
        SiteReport(
            site=first,
            gains_from="weights",
            overlap_cv=0.43,
            phase_ripple=0.7,
            effective_ripple=0.02,
            relative_ripple=0.14,
            image_rejection_db=-11.25,
            period=4,
            flat_levels=3.25,
            real_levels=2.5,
            time_share=0.35,
            memory_share=0.25,
        ),
        SiteReport(
            site=second,
            gains_from="construction",
            phase_ripple=0.0,
            effective_ripple=0.0,
            relative_ripple=0.0,
            period=2,
            flat_levels=0.0,
            time_share=0.5,
            memory_share=0.6,
            is_fusible=True,
        ),
    )
    cause = Attribution(period=4, levels=3.5, site=1, path="up.0", removed_share=0.97)
    values: dict[str, Any] = {
        "judgement": CHECKERBOARDS,
        "sites": reports,
        "findings": (make_finding("DB001", first), make_finding("DB002", first), make_finding("DB003", second)),
        "flat_field": {4: 3.5, 2: 0.01},
        "flat_noise_levels": 0.002,
        "periodicity_error": 1e-6,
        "is_two_tone": False,
        "hidden": {},
        "last_activation": "",
        "real": {4: 2.75},
        "real_detection_level": 0.3,
        "attributions": (cause,),
        "output_range": (0.0, 1.0),
        "is_range_guessed": True,
        "inputs": "photographs",
        "not_covered": ("grid_sample at warp",),
    }
    return Audit(**{**values, **changes})


def make_clean() -> Audit:
    """A network with nothing to say about it."""
    audit = make_audit()
    return replace(
        audit,
        judgement=CLEAN,
        sites=audit.sites[1:],
        findings=(),
        attributions=(),
        flat_field={2: 0.0},
        real={2: 0.0},
        not_covered=(),
        evidence=None,
    )


def make_empty() -> Audit:
    """A network that upsamples nowhere."""
    return replace(make_clean(), sites=(), flat_field={}, flat_noise_levels=math.nan, real={}, inputs="")


def make_unknown() -> Audit:
    """A network of which nothing could be measured."""
    audit = make_audit()
    site = make_transposed(
        path="",
        kind="of tomorrow",
        kernel_size=(),
        stride=(),
        in_shape=(4,),
        out_shape=(8,),
        dims=1,
        scale=(math.nan,),
    )
    unknown = SiteReport(site=site, overlap_cv=math.nan, flat_levels=math.nan, real_levels=math.nan)
    finding = Finding(code="DB999", site=7, path="", message="", remedy="", is_risk=True)
    return replace(
        audit,
        judgement=AT_RISK,
        sites=(unknown, replace(unknown, flat_levels=None, real_levels=None, relative_ripple=math.nan)),
        findings=(finding,),
        attributions=(
            Attribution(period=2, levels=math.nan, site=None, path="", removed_share=math.nan),
            Attribution(period=3, levels=math.nan, site=9, path="", removed_share=math.nan, is_flat=False),
        ),
        flat_field={2: math.nan},
        flat_noise_levels=math.nan,
        periodicity_error=math.nan,
        hidden={2: math.nan},
        real={2: math.nan},
        real_detection_level=math.nan,
        output_range=(math.nan, math.nan),
        evidence=Evidence(spectrum=(0.0, 0.0)),
    )


def make_evidence() -> Evidence:
    """A gradient with a grid in its left half."""
    side = 128
    levels = bytearray()
    for row in range(side):
        for column in range(side):
            grid = 6 if column < side // 2 and row % 4 < 2 and column % 4 < 2 else 0
            levels += bytes((row + grid, column + grid, 128 + grid))
    cells = 3
    edges = (0.0, 48.0, 80.0, 128.0)
    return Evidence(
        picture=Picture.from_levels(bytes(levels), side, side, 3),
        ripple_map=RippleMap(
            period=4,
            window=64,
            rows=edges,
            columns=edges,
            amplitudes=((3.0, 1.5, -0.1),) * cells,
            detection_levels=((0.3, 0.3, None),) * cells,
        ),
        flat_pattern=tuple(
            tuple((3.5 if (row < 2) == (column < 2) else -3.5,) * 3 for column in range(4)) for row in range(4)
        ),
        spectrum=tuple(1e3 / (1 + k) ** 2 + (50 if k in {32, 64} else 0) for k in range(65)),
        flat_spectrum=tuple(40.0 if k in {32, 64} else 1e-9 for k in range(65)),
    )
