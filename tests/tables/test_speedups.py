"""The frame of interleaved timing, and what is concluded from it."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deconvbench.errors import UsageError
from deconvbench.records.case import Case
from deconvbench.records.record import SpeedupRecord
from deconvbench.records.schema import SPEEDUP_DTYPES
from deconvbench.tables.speedups import (
    CHOICE_DTYPES,
    MEAN_DTYPES,
    average_speedups,
    build_speedups,
    compare_choices,
)
from tests.builders import make_case, make_record
from tests.made_speedups import make_settings, make_speedup_record, make_speedup_records

CASE = make_case()
FAST, TILED = (CASE.case_id.replace("nearest_conv", name) for name in ("nearest_conv_fast", "nearest_conv_tiled"))
RIVAL = CASE.case_id.replace("nearest_conv", "transposed")


def make_record_of(ratios: dict[str, float], **changes: Any) -> SpeedupRecord:
    """A record in which the machine becomes slower from round to round, whatever the layer."""
    slow = (1.0, 1.5, 2.5)
    case: Case = changes.pop("case", CASE)
    # the same layers at the size of this case
    here = {replace(Case.from_id(name), height=case.height).case_id: ratio for name, ratio in ratios.items()}
    names = {case.case_id: 1.0, **here}
    twins = tuple(name for name in names if name != case.case_id and not name.startswith("transposed"))
    values: dict[str, Any] = {
        "case": case,
        "twins": twins,
        "rivals": tuple(name for name in names if name.startswith("transposed")),
        "is_frozen": False,
        "replicate": 0,
        "seed": 1,
        "status": "ok",
        "samples_s": {name: tuple(2e-3 * s / ratio for s in slow) for name, ratio in names.items()},
        "ceiling_flops_per_s": tuple(1e11 / s for s in slow),
        "macs": dict.fromkeys(names, 10**8),
        "peak_memory_bytes": dict.fromkeys(names, 1000),
        "implementations": {name: "tiled" for name in names if name.startswith("nearest_conv_fast")},
    }
    return SpeedupRecord(**{**values, **changes})


def take(frame: pd.DataFrame, case_id: str) -> "pd.Series[Any]":
    (row,) = (row for _, row in frame[frame["case_id"] == case_id].iterrows())
    return row


def test_ratios_are_those_of_rounds_so_a_slow_machine_cancels() -> None:
    frame = build_speedups([make_record_of({FAST: 3.0, RIVAL: 4.0}), make_record()])
    assert frame.dtypes.astype(str).to_dict() == dict(SPEEDUP_DTYPES)
    assert [*frame["case_id"]] == [CASE.case_id, FAST, RIVAL]
    fast = take(frame, FAST)
    assert fast["speedup"] == pytest.approx(3)
    assert fast["latency_s"] == pytest.approx(2e-3 * 1.5 / 3)
    # 2e8 operations in a third of 2 ms, of 1e11 a second
    assert fast["ceiling_share"] == pytest.approx(2e8 / (2e-3 / 3) / 1e11)
    assert (fast["baseline_id"], fast["is_twin"], fast["implementation"]) == (CASE.case_id, True, "tiled")
    assert (fast["rounds"], fast["replicates"], fast["memory_ratio"]) == (3, 1, 1.0)
    assert not take(frame, RIVAL)["is_twin"]


def test_a_single_replicate_has_no_interval_and_the_baseline_none_to_speak_of() -> None:
    frame = build_speedups([make_record_of({FAST: 3.0})])
    assert math.isnan(take(frame, FAST)["speedup_ci_low"])
    plain = take(frame, CASE.case_id)
    assert [plain[name] for name in ("speedup", "speedup_ci_low", "speedup_ci_high")] == [1, 1, 1]


def test_replicates_are_pooled_with_variances_drawn_together() -> None:
    records = [
        make_record_of({FAST: fast, RIVAL: rival}, replicate=number)
        for number, (fast, rival) in enumerate([(2.9, 4.0), (3.0, 4.01), (3.2, 4.02)])
    ]
    frame = build_speedups(records)
    fast = take(frame, FAST)
    assert fast["speedup"] == pytest.approx(3)
    assert fast["speedup_ci_low"] < 3 < fast["speedup_ci_high"]
    assert (fast["rounds"], fast["replicates"]) == (9, 3)
    alone = build_speedups([make_record_of({FAST: r}, replicate=n) for n, r in enumerate((2.9, 3.0, 3.2))])
    width = fast["speedup_ci_high"] - fast["speedup_ci_low"]
    assert width < take(alone, FAST)["speedup_ci_high"] - take(alone, FAST)["speedup_ci_low"]


def test_a_failed_replicate_leaves_the_others_and_a_failed_setting_says_why() -> None:
    good = make_record_of({FAST: 3.0})
    bad = replace(good, replicate=1, status="error", message="no twin", samples_s={}, macs={}, implementations={})
    pooled = take(build_speedups([good, bad]), FAST)
    assert (pooled["status"], pooled["replicates"]) == ("ok", 1)
    lost = build_speedups([bad])
    assert set(lost["status"]) == {"error"}
    assert set(lost["message"]) == {"no twin"}
    assert lost["speedup"].isna().all()
    assert average_speedups(lost).empty
    assert compare_choices(lost).empty


def test_memory_is_that_of_the_replicate_that_measured_it() -> None:
    first = make_record_of({FAST: 3.0}, peak_memory_bytes={CASE.case_id: 1000, FAST: 1200})
    second = make_record_of({FAST: 3.0}, replicate=1, peak_memory_bytes={})
    assert take(build_speedups([first, second]), FAST)["memory_ratio"] == 1.2
    unknown = make_record_of({FAST: 3.0}, peak_memory_bytes=dict.fromkeys((CASE.case_id, FAST)))
    assert math.isnan(take(build_speedups([unknown]), FAST)["memory_ratio"])


def test_nothing_measured_is_an_empty_frame() -> None:
    frame = build_speedups([make_record()])
    assert list(frame) == list(SPEEDUP_DTYPES)
    assert (len(frame), len(average_speedups(frame)), len(compare_choices(frame))) == (0, 0, 0)


def test_means_are_geometric_over_shapes_and_add_their_intervals() -> None:
    settings = [make_case(height=8), make_case(height=16)]
    records = [
        make_record_of({FAST: ratio * noise}, case=case, replicate=n)
        for case, ratio in zip(settings, (2.0, 8.0), strict=True)
        for n, noise in enumerate((0.99, 1.01))
    ]
    means = average_speedups(build_speedups(records))
    assert means.dtypes.astype(str).to_dict() == dict(MEAN_DTYPES)
    (row,) = means.to_dict("records")
    assert (row["layer"], row["shapes"], row["is_twin"]) == ("nearest_conv_fast k3 s2", 2, True)
    assert row["speedup"] == pytest.approx(4, rel=1e-3)
    assert row["least_speedup"] == pytest.approx(2, rel=1e-3)
    frame = build_speedups(records)
    half = np.log(frame["speedup_ci_high"] / frame["speedup_ci_low"])[frame["case_id"] != frame["baseline_id"]] / 2
    assert np.log(row["speedup_ci_high"] / row["speedup"]) == pytest.approx(np.hypot(*half) / 2)


def test_a_shape_that_not_all_layers_have_counts_for_none() -> None:
    whole = make_record_of({FAST: 2.0, RIVAL: 3.0})
    partial = make_record_of({FAST: 100.0}, case=make_case(height=16))
    means = average_speedups(build_speedups([whole, partial])).set_index("layer")
    assert means.loc["nearest_conv_fast k3 s2", "speedup"] == pytest.approx(2)
    assert set(means["shapes"]) == {1}


@pytest.mark.parametrize(
    ("ratios", "best", "within"),
    [
        ({FAST: 3.0, TILED: 3.0}, "nearest_conv_tiled k3 s2", True),
        ({FAST: 2.95, TILED: 3.0}, "nearest_conv_tiled k3 s2", True),
        ({FAST: 2.5, TILED: 3.0}, "nearest_conv_tiled k3 s2", False),
        ({FAST: 0.5, TILED: 0.7}, "nearest_conv k3 s2", False),
        ({FAST: 3.0, TILED: 2.0, RIVAL: 9.0}, "nearest_conv_tiled k3 s2", True),
    ],
    ids=["equal", "two per cent", "worse", "plain is best", "rivals are none of the forms"],
)
def test_a_choice_is_compared_with_the_best_fixed_form(ratios: dict[str, float], best: str, within: bool) -> None:
    choices = compare_choices(build_speedups([make_record_of(ratios)]))
    assert choices.dtypes.astype(str).to_dict() == dict(CHOICE_DTYPES)
    (row,) = choices.to_dict("records")
    assert (row["layer"], row["implementation"]) == ("nearest_conv_fast k3 s2", "tiled")
    assert (row["best_layer"], row["is_within_noise"]) == (best, within)


def test_a_difference_that_noise_explains_is_none() -> None:
    records = [make_record_of({FAST: fast, TILED: 3.0}, replicate=n) for n, fast in enumerate((2.2, 3.2, 2.7))]
    (row,) = compare_choices(build_speedups(records)).to_dict("records")
    assert row["share_of_best"] < 0.95
    assert row["is_within_noise"]


@pytest.mark.parametrize(("peak", "flagged"), [(1100, False), (1101, True), (None, False)])
def test_too_much_memory_is_flagged(peak: int | None, flagged: bool) -> None:
    record = make_record_of({FAST: 3.0}, peak_memory_bytes={CASE.case_id: 1000, FAST: peak})
    (row,) = compare_choices(build_speedups([record])).to_dict("records")
    assert row["takes_too_much_memory"] is flagged


def test_a_whole_run_has_a_row_for_everything() -> None:
    frame = build_speedups(make_speedup_records())
    assert len(frame) == 7 * 2 * 2 * 3 * 8
    assert len(average_speedups(frame)) == 12 * 7
    assert len(compare_choices(frame)) == 84


def test_the_order_does_not_depend_on_that_of_the_records() -> None:
    records = make_speedup_records(list(make_settings(((64, 16), (512, 16)), threads=(1,))))
    pd.testing.assert_frame_equal(build_speedups(records), build_speedups(records[::-1]))


def test_the_later_of_two_records_of_one_measurement_counts() -> None:
    failed = make_speedup_record(CASE, status="error")
    assert set(build_speedups([failed, make_speedup_record(CASE)])["status"]) == {"ok"}


def test_a_foreign_frame_is_refused() -> None:
    with pytest.raises(UsageError, match="^speedups: lacks the columns case_id"):
        average_speedups(pd.DataFrame())
