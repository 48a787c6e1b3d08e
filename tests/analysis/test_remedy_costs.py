"""What remedies cost: the nearest measured pair, its ratio and interval, and a reason where nothing tells."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvbench.analysis.remedy_costs import RemedyCost, list_remedy_costs
from deconvbench.analysis.scaling import Quantity
from deconvbench.records import sites as kinds
from deconvbench.records.audit import Audit
from deconvbench.records.findings import RULES
from deconvbench.records.sites import Site, SiteReport
from deconvbench.tables.files import read_tables
from deconvbench.tables.table import summarise_quality
from deconvbench.tables.trained import find_trained
from tests.analysis.made_choices import make_layers, make_quality, make_row, make_summary
from tests.builders import make_case
from tests.report.made_audits import make_audit, make_finding, make_nearest, make_transposed

RATIOS = {"transposed": 1.0, "nearest_conv_fast": 0.8, "equal_gain_transposed": 1.25, "nearest_conv": 3.0}
SHAPE: dict[str, Any] = {"in_channels": 64, "out_channels": 32, "height": 64, "width": 64}
SUMMARY = make_layers(RATIOS, **SHAPE)
QUALITY = make_quality(
    transposed={"trained_checkerboard_levels": 2.0, "trained_psnr_db": 15.0},
    nearest_conv_fast={"trained_checkerboard_levels": -0.5, "trained_psnr_db": 14.0},
)


def make_one(site: Site, code: str) -> Audit:
    return make_audit(sites=(SiteReport(site=site),), findings=(make_finding(code, site),))


def cost(site: Site, code: str, summary: Any = SUMMARY, quality: Any = QUALITY) -> dict[str, RemedyCost]:
    return {one.proposed: one for one in list_remedy_costs(make_one(site, code), summary, quality)}


def test_a_remedy_costs_its_ratio_to_the_present_layer() -> None:
    found = cost(make_transposed(), "DB002")
    assert list(found) == ["equal_gain_transposed k3 s2", "nearest_conv_fast k3 s2"]
    one = found["nearest_conv_fast k3 s2"]
    assert (one.present, one.site, one.code) == ("transposed k3 s2", 1, "DB002")
    # the present layer is the baseline, so the interval is that of the ratio
    assert one.time is not None
    assert (one.time.value, one.time.low, one.time.high) == pytest.approx((0.8, 0.76, 0.84))
    assert one.memory == 1.0
    assert one.checkerboard == Quantity(value=-2.5)
    assert one.psnr == Quantity(value=-1.0)
    assert one.is_same_setting
    assert one.setting == "cpu, 64 → 32 channels, 64×64, float32"
    assert found["equal_gain_transposed k3 s2"].psnr is None


def test_between_two_layers_the_interval_is_that_of_both() -> None:
    one = cost(make_nearest(), "DB003")["nearest_conv_fast k3 s2"]
    assert one.time is not None
    assert one.time.value == pytest.approx(0.8 / 3)
    assert one.time.low == pytest.approx(0.8 / 3 * math.exp(-math.hypot(math.log(0.95), math.log(1.05))))
    # another form of the same function
    assert one.checkerboard == one.psnr == Quantity(value=0.0, low=0.0, high=0.0)
    assert not one.is_same_setting


@given(
    st.lists(
        st.tuples(st.sampled_from([8, 16, 64, 512]), st.sampled_from([4, 32, 256]), st.sampled_from([8, 32, 128])),
        min_size=1,
        unique=True,
    ),
    st.integers(1, 600),
    st.integers(1, 300),
    st.integers(2, 200),
)
def test_the_nearest_setting_is_taken(
    settings: list[tuple[int, int, int]], in_channels: int, out_channels: int, side: int
) -> None:
    def measure(setting: tuple[int, int, int]) -> float:
        return sum(abs(math.log(a / b)) for a, b in zip(setting, (in_channels, out_channels, side), strict=True))

    rows = [
        make_row(make_case(upsampler=u, in_channels=i, out_channels=o, height=s, width=s), ratio)
        for i, o, s in settings
        for u, ratio in RATIOS.items()
    ]
    site = make_transposed(
        in_channels=in_channels, out_channels=out_channels, in_shape=(1, in_channels, side, side)
    )
    found = cost(site, "DB002", make_summary(*rows))["nearest_conv_fast k3 s2"]
    nearest = min(map(measure, settings))
    assert found.setting in {
        f"cpu, {i} → {o} channels, {s}×{s}, float32"
        for i, o, s in settings
        if measure((i, o, s)) == pytest.approx(nearest, abs=1e-9)
    }
    assert found.is_same_setting == (nearest == 0)


@pytest.mark.parametrize(
    ("site", "reason"),
    [
        (make_transposed(dims=1), "layers of 1 axes"),
        (make_transposed(groups=64), "layers with groups"),
        (make_transposed(scale=(2, 1)), "scales that differ"),
        (make_transposed(scale=(1.5, 1.5)), "or are not whole"),
        (make_transposed(scale=(math.nan,)), "or are not whole"),
        (make_transposed(scale=()), "scales that differ"),
        (make_transposed(kernel_size=(3, 5)), "not square"),
        (make_transposed(kind=kinds.FOLD), "fold was not measured"),
        (make_transposed(kind="of tomorrow"), "of tomorrow was not measured"),
        (make_nearest(operation="interpolate(mode=area)"), "resize convolution was not measured"),
        (make_transposed(scale=(8, 8)), "not measured"),
        (make_transposed(dtype="float16"), "not measured"),
    ],
)
def test_where_nothing_tells_it_says_so(site: Site, reason: str) -> None:
    (one,) = list_remedy_costs(make_one(site, "DB002"), SUMMARY, QUALITY)
    assert reason in one.reason
    assert (one.proposed, one.time) == ("", None)


@pytest.mark.parametrize("code", list(RULES))
def test_every_code_has_a_cost_or_a_reason(code: str) -> None:
    for site in (make_transposed(), make_nearest(), make_transposed(kind=kinds.MAX_UNPOOLING, kernel_size=())):
        for one in list_remedy_costs(make_one(site, code), SUMMARY, QUALITY):
            assert (one.time is None) == bool(one.reason)


def test_a_failed_case_and_another_step_tell_nothing() -> None:
    rows = [make_row(make_case(upsampler=u, **SHAPE), r, status="oom") for u, r in RATIOS.items()]
    rows += [make_row(make_case(upsampler=u, step="train", **SHAPE), r) for u, r in RATIOS.items()]
    (one,) = list_remedy_costs(make_one(make_transposed(), "DB002"), make_summary(*rows), QUALITY)
    assert one.reason == "not measured"


def test_a_finding_without_its_site_is_passed_over() -> None:
    audit = make_audit()
    assert list_remedy_costs(replace(audit, sites=()), SUMMARY, QUALITY) == ()


def test_the_reference_results_have_the_usual_remedies() -> None:
    folder = Path(__file__).parents[2] / "results/reference/amd-epyc-2-cores/quick"
    tables = read_tables(folder, find_trained(folder.parents[1] / "experiments"))
    found = list_remedy_costs(make_audit(), tables.summary, summarise_quality(tables.quality))
    by_name = {(one.code, one.proposed): one for one in found}
    fast = by_name["DB001", "nearest_conv_fast k3 s2"]
    assert fast.time is not None
    assert fast.checkerboard is not None
    assert 0.6 < fast.time.value < 0.8
    assert fast.checkerboard.value < -1
    assert ("DB001", "transposed k4 s2") in by_name
    assert ("DB002", "equal_gain_transposed k3 s2") in by_name
