"""Where each layer stands: at the report's own size, against one baseline, the useful ones first."""

import numpy as np
import pandas as pd
import pytest

from deconvbench.analysis.standings import Standing, Standings, list_standings
from tests.builders import make_case
from tests.plots.made_tables import make_row, make_summary


def take(summary: pd.DataFrame, limit: int = 12) -> Standings:
    found = list_standings(summary, limit)
    assert found is not None
    return found


def find(standings: Standings, layer: str) -> Standing:
    (row,) = [row for row in standings.rows if row.layer == layer]
    return row


def test_it_is_one_setting_at_the_largest_size_with_ratios_to_transposed_k3() -> None:
    summary = make_summary()
    found = take(summary)
    # at the largest size some cases failed
    assert found.setting == "forward, cpu, input 64×64"
    assert found.baseline == "transposed k3 s2"
    rows = summary[(summary["step"] == "forward") & (summary["height"] == 64)].set_index("upsampler")
    k3 = rows[rows["kernel_size"] == 3]["latency_s"]
    assert find(found, "nearest_conv k3 s2").ratio == pytest.approx(k3["nearest_conv"] / k3["transposed"])
    assert find(found, "transposed k3 s2").ratio == 1.0
    assert "baseline" in find(found, "transposed k3 s2").verdict
    ratios = [row.ratio for row in found.rows if row.ratio is not None]
    assert ratios == sorted(ratios)


def test_kernel_2_is_beside_the_baseline_and_does_not_become_it() -> None:
    layers = (("transposed", 2), ("transposed", 3), ("nearest_conv", 3))
    found = take(make_summary(layers, (32,), ("forward",)))
    assert found.baseline == "transposed k3 s2"
    assert found.rows[0].layer == "transposed k2 s2"
    assert found.rows[0].ratio is not None
    assert found.rows[0].ratio < 1


def test_without_it_the_fastest_is_the_baseline() -> None:
    found = take(make_summary((("nearest_conv", 3), ("dysample", None)), (32,), ("forward",)))
    assert found.baseline == found.rows[0].layer
    assert found.rows[0].ratio == 1.0


def test_the_frontier_and_noise_are_verdicts() -> None:
    summary = make_summary((("transposed", 3), ("nearest_conv", 3), ("bicubic_conv", 3)), (32,), ("forward",))
    summary.loc[summary["upsampler"] == "nearest_conv", "noisy"] = True
    verdicts = {row.layer: row.verdict for row in take(summary).rows}
    assert verdicts == {
        "transposed k3 s2": "frontier, baseline",
        "nearest_conv k3 s2": "frontier, noisy",
        "bicubic_conv k3 s2": "",
    }


def test_a_layer_that_is_not_linear_has_the_ripple_of_a_flat_field() -> None:
    layers = (("transposed", 3), ("max_unpool_conv", 3))
    row = find(take(make_summary(layers, (32,), ("forward",))), "max_unpool_conv k3 s2")
    assert (row.is_linear, row.ripple) == (False, 0.05)
    unknown = make_summary(layers, (32,), ("forward",)).assign(phase_ripple=np.nan, flat_field_ripple=np.nan)
    assert find(take(unknown), "max_unpool_conv k3 s2").ripple is None


def test_of_many_the_frontier_the_baseline_and_the_fastest_are_kept() -> None:
    full, short = take(make_summary(), 100), take(make_summary(), 4)
    assert len(short.rows) == 4
    assert short.left_out == len(full.rows) - 4 > 0
    frontier = {row.layer for row in full.rows if "frontier" in row.verdict}
    assert frontier <= {row.layer for row in short.rows}
    assert "transposed k3 s2" in {row.layer for row in short.rows}


def test_what_was_not_measured_comes_last_with_its_reason() -> None:
    summary = make_summary((("transposed", 3), ("nearest_conv", 3)), (32,), ("forward",))
    case = make_case(upsampler="nearest_conv_native", in_channels=64, out_channels=32, height=32, width=32)
    same = {name: summary[name].iloc[0] for name in ("in_channels", "out_channels")}
    failed = {**make_row(case, "unsupported", "no C compiler"), **same}
    elsewhere = {**failed, "height": 16, "width": 16}
    found = take(pd.concat([summary, pd.DataFrame([failed, elsewhere])], ignore_index=True))
    assert [row.verdict for row in found.rows if row.ratio is None] == ["unsupported: no C compiler"]
    assert found.rows[-1].layer == "nearest_conv_native k3 s2"


def test_ratios_that_were_measured_come_before_those_that_are_computed() -> None:
    summary = make_summary((("transposed", 3), ("nearest_conv", 3), ("conv_nearest", 3)), (32,), ("forward",))
    ids = summary.set_index("upsampler")["case_id"]
    timed = summary.assign(baseline_id=ids["nearest_conv"], ratio=[0.4, 1.0, np.nan])
    found = take(timed)
    assert found.baseline == "nearest_conv k3 s2"
    assert find(found, "transposed k3 s2").ratio == 0.4
    latency = summary.set_index("upsampler")["latency_s"]
    computed = latency["conv_nearest"] / latency["nearest_conv"]
    assert find(found, "conv_nearest k3 s2").ratio == pytest.approx(computed)
    # a baseline that is not in the table, and ratios that were not taken
    gone = summary.assign(baseline_id="another", ratio=[0.4, 1.0, 0.5])
    assert take(gone).baseline == "transposed k3 s2"
    assert find(take(gone), "transposed k3 s2").ratio == 1.0
    untimed = summary.assign(baseline_id=pd.Series([None] * 3, dtype="str"), ratio=np.nan)
    assert take(untimed).baseline == "transposed k3 s2"


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_layers_have_no_standing(count: int) -> None:
    assert list_standings(make_summary((("transposed", 3),), (32,), ("forward",)).iloc[:count]) is None


def test_a_ratio_of_the_table_has_its_interval_and_one_that_is_computed_has_none() -> None:
    summary = make_summary((("transposed", 3), ("nearest_conv", 3), ("bicubic_conv", 3)), (32,), ("forward",))
    ids = dict(zip(summary["upsampler"], summary["case_id"], strict=True))
    summary["baseline_id"] = [ids["transposed"], ids["transposed"], None]
    summary = summary.assign(ratio=[1.0, 0.5, np.nan], ratio_low=[1.0, 0.4, np.nan], ratio_high=[1.0, 0.6, np.nan])
    found = take(summary)
    ends = {row.layer: (row.ratio_low, row.ratio_high) for row in found.rows}
    assert ends == {
        "nearest_conv k3 s2": (0.4, 0.6),
        "transposed k3 s2": (None, None),
        "bicubic_conv k3 s2": (None, None),
    }
    assert find(found, "nearest_conv k3 s2").ratio == 0.5
