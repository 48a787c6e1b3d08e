"""The frame of interleaved timing."""

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from deconvbench.analysis.speedups import average_speedups, compare_choices
from deconvbench.errors import UsageError
from deconvbench.records.schema import SPEEDUP_DTYPES
from deconvbench.tables.speedups import build_speedups
from tests.builders import make_record
from tests.made_speedups import (
    CASE,
    FAST,
    RIVAL,
    make_record_of,
    make_settings,
    make_speedup_record,
    make_speedup_records,
)


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
