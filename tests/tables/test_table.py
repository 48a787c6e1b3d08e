import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.records.conditions import Conditions
from deconvbench.records.record import (
    AnyRecord,
    Latency,
    Record,
    encode_record,
)
from deconvbench.records.schema import (
    ARTIFACT_COLUMNS,
    LATER_COLUMNS,
    QUALITY_DTYPES,
    QUALITY_SUMMARY_DTYPES,
    RATIO_COLUMNS,
    SUMMARY_DTYPES,
    TABLE_DTYPES,
)
from deconvbench.replicates import pool_cases, pool_replicates
from deconvbench.statistics import mean_interval, median_interval
from deconvbench.tables.files import (
    read_tables,
)
from deconvbench.tables.table import build_quality, build_table, summarise, summarise_quality
from tests.builders import make_case, make_record
from tests.strategies import records as any_records
from tests.tables.made_records import (
    DESIGN_COLUMNS,
    make_latency,
    make_memory,
    make_numerics,
    make_quality,
    make_ripples,
    make_run,
    write_run,
)

# the table


def test_columns_are_those_that_scripts_depend_on() -> None:
    assert list(build_table(make_run()).columns) == DESIGN_COLUMNS
    left_out = {"replicate", "process_index", "order", "started_at", "ended_at", "attempt"}
    expected = [name for name in DESIGN_COLUMNS if name not in left_out]
    assert list(summarise(build_table(make_run())).columns) == [
        *expected, "ratio_low", "ratio_high", "replicates",
    ]  # fmt: skip


@pytest.mark.parametrize("records", [[], make_run(), [make_record(status="crashed", message="x")]], ids=len)
def test_dtypes_do_not_depend_on_what_was_measured(records: list[AnyRecord]) -> None:
    table = build_table(records)
    for frame, dtypes in (
        (table, TABLE_DTYPES),
        (summarise(table), SUMMARY_DTYPES),
        (build_quality(records), QUALITY_DTYPES),
        (summarise_quality(build_quality(records)), QUALITY_SUMMARY_DTYPES),
    ):
        expected = {name: pd.Series([], dtype=dtype).dtype for name, dtype in dtypes.items()}
        assert frame.dtypes.to_dict() == expected


def test_a_row_tells_what_the_record_tells() -> None:
    record = make_record(
        case=make_case(batch=3, device="cuda"),
        replicate=2,
        process_index=1,
        seed=77,
        order=5,
        noisy=True,
        noise_reason="load",
        latency=make_latency(2.0, 1.0, 4.0, host_latency_s=0.5, launch_bound=False, stop_reason="time_cap"),
        memory=make_memory(peak_reserved_bytes=5000),
        macs=12,
        machine_id="m",
        torch_version="2.13.0",
        code_version="abc",
    )
    (row,) = build_table([record]).to_dict("records")
    expected = {
        "case_id": "nearest_conv-k3-s2-c4x2-8x8-b3-cuda", "upsampler": "nearest_conv", "kernel_size": 3,
        "batch": 3, "step": "forward", "device": "cuda", "replicate": 2, "process_index": 1, "seed": 77,
        "order": 5, "started_at": record.started_at, "status": "ok", "message": "", "noisy": True,
        "noise_reason": "load",
        "latency_s": 2.0, "latency_ci_low_s": 1.0, "latency_ci_high_s": 4.0, "latency_floor_s": 1.0, "samples": 3,
        "stop_reason": "time_cap", "host_latency_s": 0.5, "launch_bound": False, "peak_memory_bytes": 1000,
        "peak_reserved_bytes": 5000,
        "input_bytes": 100, "output_bytes": 400, "parameter_bytes": 50, "workspace_bytes": 600, "macs": 12,
        "machine_id": "m", "torch_version": "2.13.0", "code_version": "abc",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_the_interval_of_a_row_is_that_of_its_samples() -> None:
    samples = np.random.default_rng(1).lognormal(size=30).tolist()
    (row,) = build_table([make_record(latency=make_latency(*samples))]).to_dict("records")
    assert (row["latency_s"], row["latency_ci_low_s"], row["latency_ci_high_s"]) == median_interval(samples)


def test_what_was_not_measured_is_null() -> None:
    table = build_table([make_record(status="oom", message="boom")])
    null = table.columns[table.isna().iloc[0]]
    start, end = DESIGN_COLUMNS.index("latency_s"), DESIGN_COLUMNS.index("machine_id")
    assert list(null) == ["ended_at", *DESIGN_COLUMNS[start:end], "conditions"]


def test_the_conditions_of_a_timing_are_one_text_and_replicates_under_others_show_both() -> None:
    held = Conditions(policy="settled", allocator="settled", huge_pages="malloc", pinned_cores=(1,))
    cores = [held, replace(held, pinned_cores=(0,)), replace(held, pinned_cores=())]
    records = [make_record(replicate=index, conditions=found) for index, found in enumerate(cores)]
    table = build_table(records)
    pinned, free = "settled; huge pages malloc; pinned", "settled; huge pages malloc"
    assert table["conditions"].tolist() == [pinned, pinned, free]
    assert summarise(table)["conditions"].tolist() == [f"{pinned}, {free}"]


def test_kernels_that_were_found_in_one_replicate_stand_for_all() -> None:
    found = "convolution jit:avx2"
    table = build_table([make_record(kernel=found), make_record(replicate=1), make_record(replicate=2)])
    assert table["kernel"].isna().tolist() == [False, True, True]
    assert summarise(table)["kernel"].tolist() == [found]
    assert summarise(build_table([make_record()]))["kernel"].isna().all()


def test_a_latency_without_samples_is_not_measured() -> None:
    latency = Latency(samples_s=(), calls_per_sample=1, first_call_s=1.0, stop_reason="time_cap")
    assert build_table([make_record(latency=latency)])["latency_s"].isna().all()


@pytest.mark.parametrize(
    ("changes", "workspace"),
    [({}, 600), ({"gradient_bytes": 250}, 350), ({"peak_memory_bytes": None}, None)],
    ids=["forward", "train", "platform-cannot-tell"],
)
def test_workspace_is_the_peak_less_what_the_step_leaves(changes: dict[str, Any], workspace: int | None) -> None:
    table = build_table([make_record(memory=make_memory(**changes))])
    assert table["workspace_bytes"].astype(object).where(table["workspace_bytes"].notna(), None).tolist() == [
        workspace
    ]
    assert table["output_bytes"].tolist() == [400]


def test_rows_have_an_order_of_their_own_whatever_the_order_of_measuring() -> None:
    sizes = [make_case(height=height) for height in (8, 16, 128)]
    cases = [make_case(upsampler="bilinear", kernel_size=None), make_case(kernel_size=2), *sizes]
    records: list[AnyRecord] = [make_record(case=case, replicate=r) for case in cases for r in (0, 1)]
    shuffled = random.Random(3).sample(records, len(records))
    table = build_table(shuffled)
    assert list(zip(table["case_id"], table["replicate"], strict=True)) == [
        (c.case_id, r) for c in cases for r in (0, 1)
    ]


def test_of_two_records_of_one_measurement_the_later_counts() -> None:
    table = build_table([make_record(status="error", message="first"), make_record(status="ok")])
    assert table["status"].tolist() == ["ok"]


def test_artifacts_are_means_over_the_seeds_that_have_them() -> None:
    records: list[AnyRecord] = [
        make_quality(seed=0),
        make_quality(seed=1, metrics={"phase_ripple": 0.7, "noise_gain_cv": None}),
        make_quality(seed=2, status="error", message="x", metrics={"phase_ripple": 100.0}),
        make_quality(kernel_size=4, metrics={"phase_ripple": 0.1}),
        make_record(),
        make_record(case=make_case(device="cuda", step="train")),
        make_record(case=make_case(kernel_size=5)),
    ]
    table = build_table(records)
    assert table["kernel_size"].tolist() == [3, 3, 5]
    assert table["phase_ripple"].iloc[:2].tolist() == pytest.approx([0.6, 0.6])
    assert table["noise_gain_cv"].iloc[:2].tolist() == [0.25, 0.25]
    assert table["overlap_cv"].isna().all()
    assert pd.isna(table["phase_ripple"].iloc[2])


@pytest.mark.parametrize(
    ("changes", "joined"),
    [
        ({}, True),
        ({"dtype": "float16"}, False),
        ({"device": "cuda"}, False),
        ({"in_channels": 5}, False),
        ({"out_channels": 5}, False),
        ({"kernel_size": None}, False),
        ({"status": "error", "message": "x"}, False),
        ({"numerical_error": None}, False),
    ],
    ids=str,
)
def test_numerical_errors_are_joined_by_layer_channels_dtype_and_device(
    changes: dict[str, Any], joined: bool
) -> None:
    table = build_table([make_numerics(**changes), make_record(case=make_case(height=64, step="train"))])
    assert table["numerical_error"].notna().tolist() == [joined]


@settings(deadline=None, max_examples=40)
@given(st.lists(any_records, max_size=6))
def test_any_records_make_frames(records: list[AnyRecord]) -> None:
    table, quality = build_table(records), build_quality(records)
    keys = {record.key for record in records}
    assert len(table) == sum(key[0] == "record" for key in keys)
    assert len(quality) == sum(key[0] == "quality" for key in keys)
    assert (table["latency_ci_low_s"].dropna() <= table["latency_s"].dropna()).all()


# quality


def test_quality_has_a_row_for_each_layer_and_seed() -> None:
    records: list[AnyRecord] = [
        make_quality(seed=1, metrics={"phase_ripple": 0.7}),
        make_quality(seed=0),
        make_quality(upsampler="bilinear", kernel_size=None),
        make_quality(upsampler="transposed", kernel_size=2, status="unsupported", message="k < s", metrics={}),
        make_record(),
    ]
    quality = build_quality(records)
    assert list(quality["upsampler"]) == ["bilinear", "nearest_conv", "nearest_conv", "transposed"]
    assert list(quality["seed"]) == [0, 0, 1, 0]
    assert quality["kernel_size"].isna().tolist() == [True, False, False, False]
    assert quality["phase_ripple"].iloc[:3].tolist() == [0.5, 0.5, 0.7]
    assert (quality["status"].iloc[3], quality["message"].iloc[3]) == ("unsupported", "k < s")
    assert quality["channels"].tolist() == [16] * 4


def test_what_only_training_tells_is_null() -> None:
    trained = ["trained_checkerboard_levels", "trained_psnr_db", "trained_ssim", "steps"]
    quality = build_quality([make_quality()])
    assert list(quality.columns[-4:]) == trained
    assert quality[trained].isna().all(axis=None)


def test_the_summary_of_quality_has_means_with_intervals_over_seeds() -> None:
    ripples = (0.7, 0.74, 0.76, 0.71, 0.75, 0.73, 0.78, 0.72)
    (row,) = summarise_quality(build_quality(make_ripples(*ripples))).to_dict("records")
    mean, low, high = mean_interval(ripples)
    assert (row["phase_ripple"], row["phase_ripple_ci_low"], row["phase_ripple_ci_high"]) == (mean, low, high)
    assert low < mean < high
    assert (row["upsampler"], row["kernel_size"], row["scale_factor"]) == ("nearest_conv", 3, 2)
    assert (row["channels"], row["seeds"], row["status"], row["message"]) == (16, 8, "ok", "")
    # what no seed changes has an interval of no width; what was not measured has none
    assert [row[f"overlap_cv{end}"] for end in ("", "_ci_low", "_ci_high")] == [0.25] * 3
    assert np.isnan([row[f"border_error{end}"] for end in ("", "_ci_low", "_ci_high")]).all()


def test_the_summary_of_quality_agrees_with_the_table() -> None:
    records = [*make_ripples(0.1, 0.4, 0.35), make_record()]
    pooled = summarise_quality(build_quality(records))
    table = build_table(records)
    for name in ARTIFACT_COLUMNS:
        assert pooled[name].tolist() == pytest.approx(table[name].tolist(), nan_ok=True)


def test_a_single_seed_has_no_interval() -> None:
    (row,) = summarise_quality(build_quality(make_ripples(0.5))).to_dict("records")
    assert row["phase_ripple"] == 0.5
    assert np.isnan([row["phase_ripple_ci_low"], row["phase_ripple_ci_high"]]).all()


def test_what_cannot_be_negative_has_no_negative_interval() -> None:
    (row,) = summarise_quality(build_quality(make_ripples(0.0, 1.0))).to_dict("records")
    assert row["phase_ripple_ci_low"] == 0
    assert row["checkerboard_ci_low"] < 0
    assert row["phase_ripple_ci_high"] == row["checkerboard_ci_high"] > 1


def test_seeds_that_failed_are_told_and_not_counted() -> None:
    records = make_ripples(0.5, None, 0.7) + make_ripples(None, None, upsampler="carafe", kernel_size=None)
    carafe, nearest = summarise_quality(build_quality(records)).to_dict("records")
    assert (nearest["status"], nearest["seeds"], nearest["phase_ripple"]) == ("ok", 2, pytest.approx(0.6))
    assert nearest["message"] == "seed 1: error: broken weights"
    assert (carafe["status"], carafe["seeds"], carafe["message"]) == ("error", 0, "broken weights")
    assert pd.isna(carafe["kernel_size"])
    assert pd.isna(carafe["channels"])
    assert pd.isna(carafe["phase_ripple"])


def test_trained_quality_is_pooled_too() -> None:
    quality = build_quality(make_ripples(0.5, 0.6)).assign(trained_psnr_db=[27.0, 29.0], steps=[100, 100])
    (row,) = summarise_quality(quality).to_dict("records")
    assert (row["trained_psnr_db"], row["steps"]) == (28.0, 100)
    assert row["trained_psnr_db_ci_low"] < 28.0


def test_trained_quality_does_not_depend_on_the_artifacts_of_its_seed() -> None:
    quality = build_quality(make_ripples(0.5, None, 0.7)).assign(trained_psnr_db=[27.0, 28.0, 29.0], steps=100)
    (row,) = summarise_quality(quality).to_dict("records")
    assert (row["trained_psnr_db"], row["steps"]) == (28.0, 100)
    assert (row["trained_psnr_db_ci_low"], row["trained_psnr_db_ci_high"]) == mean_interval((27.0, 28.0, 29.0))[1:]
    assert (row["seeds"], row["phase_ripple"]) == (2, pytest.approx(0.6))


def test_what_may_be_negative_after_training_has_intervals_that_may(tmp_path: Path) -> None:
    quality = build_quality(make_ripples(0.5, 0.6)).assign(
        trained_checkerboard_levels=[-0.2, 0.3], trained_psnr_db=[1.0, 30.0], trained_ssim=[0.0, 0.9]
    )
    (row,) = summarise_quality(quality).to_dict("records")
    assert all(row[f"{name}_ci_low"] < 0 for name in ("trained_checkerboard_levels", "trained_psnr_db"))
    assert row["trained_ssim_ci_low"] < 0


def test_a_frame_that_is_no_quality_table_is_refused() -> None:
    with pytest.raises(UsageError, match="^quality: lacks the columns status, checkerboard$"):
        summarise_quality(build_quality(make_run()).drop(columns=["checkerboard", "status"]))


def test_lines_without_the_later_metrics_are_read(tmp_path: Path) -> None:
    # what a version wrote that did not know these metrics
    line = json.loads(encode_record(make_quality()))
    assert line["schema_version"] == 1
    assert not {*LATER_COLUMNS} & {*line["metrics"]}
    quality = read_tables(write_run(tmp_path, [make_quality()])).quality
    assert quality[[name for name in LATER_COLUMNS if name in ARTIFACT_COLUMNS]].isna().all(axis=None)
    assert quality["phase_ripple"].tolist() == [0.5]


# the summary


def test_a_summary_has_one_row_per_case_in_the_tables_order() -> None:
    table = build_table(make_run())
    summary = summarise(table)
    assert summary["case_id"].tolist() == list(dict.fromkeys(table["case_id"]))
    assert summary["replicates"].tolist() == [3, 3, 0]
    assert summary["latency_s"].tolist()[:2] == pytest.approx([1.0155, 1.0155])
    assert (summary["latency_ci_low_s"] < summary["latency_s"]).tolist() == [True, True, False]
    assert summary["samples"].tolist()[:2] == [36, 36]
    assert summary["status"].tolist() == ["ok", "ok", "oom"]
    assert summary["phase_ripple"].tolist()[:2] == pytest.approx([0.5, 0.6])


def test_a_single_replicate_has_a_latency_and_no_interval() -> None:
    summary = summarise(build_table(make_run(replicates=1)))
    measured = summary[summary["status"] == "ok"]
    assert measured["latency_s"].notna().all()
    assert measured[["latency_ci_low_s", "latency_ci_high_s"]].isna().all(axis=None)
    assert measured["replicates"].tolist() == [1, 1]


def test_summarising_leaves_the_table_alone() -> None:
    table = build_table(make_run())
    before = table.copy()
    summarise(table)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["latency_s"], "table: lacks the column latency_s"),
        (["status", "noisy"], "table: lacks the columns status, noisy"),
    ],
    ids=["one", "two"],
)
def test_a_frame_that_is_no_table_is_refused(columns: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        summarise(build_table(make_run()).drop(columns=columns))


# files


# load


# the newest run


# ratios to a baseline


def make_pair(*pairs: tuple[float, float], baseline_ratio: float = 1.0) -> list[AnyRecord]:
    """A baseline and another layer, whose latency and ratio in each replicate are given."""
    records: list[AnyRecord] = []
    baseline = make_case(upsampler="transposed")
    for replicate, (latency_s, ratio) in enumerate(pairs):
        for case, own, ratios in ((baseline, 1.0, (1.0, 1.0, 1.0)), (make_case(), latency_s, (9.0, ratio, 0.1))):
            records.append(
                make_record(
                    case=case,
                    replicate=replicate,
                    process_index=replicate,
                    latency=make_latency(own),
                    baseline_id=baseline.case_id,
                    ratios=ratios,
                )
            )
    return records


def test_a_ratio_is_the_median_over_rounds_and_then_pooled_over_replicates() -> None:
    # the latencies drift, the ratios do not
    table = build_table(make_pair((2.0, 0.50), (4.0, 0.51), (8.0, 0.49)))
    other = table[table["upsampler"] == "nearest_conv"]
    assert other["ratio"].tolist() == [0.50, 0.51, 0.49]
    assert set(table["baseline_id"]) == {make_case(upsampler="transposed").case_id}
    summary = summarise(table).set_index("upsampler")
    ours: dict[Any, Any] = summary.loc["nearest_conv"].to_dict()
    expected = pool_replicates([0.50, 0.51, 0.49])
    assert [ours[name] for name in RATIO_COLUMNS] == pytest.approx([expected.value, expected.low, expected.high])
    assert ours["latency_ci_high_s"] / ours["latency_ci_low_s"] > 2
    assert summary.loc[["transposed"], list(RATIO_COLUMNS)].to_numpy().tolist() == [[1.0, 1.0, 1.0]]


def test_a_single_replicate_has_a_ratio_and_no_interval() -> None:
    summary = summarise(build_table(make_pair((2.0, 0.5)))).set_index("upsampler")
    assert summary.loc["nearest_conv", "ratio"] == 0.5
    assert summary["ratio_low"].isna().to_dict() == {"nearest_conv": True, "transposed": False}


def test_replicates_that_were_timed_without_the_baseline_have_no_ratio() -> None:
    records = make_pair((2.0, 0.5), (2.0, 0.6))
    records += [make_record(replicate=2, process_index=2, latency=make_latency(2.0))]
    table = build_table(records)
    assert table[table["replicate"] == 2]["ratio"].isna().all()
    assert table[table["replicate"] == 2]["baseline_id"].isna().all()
    ours = summarise(table).set_index("upsampler").loc["nearest_conv"]
    assert ours["ratio"] == pytest.approx(0.55)
    assert ours["replicates"] == 3


def test_the_ratios_of_many_cases_tell_how_much_each_varies_but_not_those_of_baselines() -> None:
    records: list[AnyRecord] = []
    for height in (4, 8, 16):
        for record in make_pair((2.0, 0.5), (2.0, 0.5 + 0.01 * height)):
            assert isinstance(record, Record)
            case = replace(record.case, height=height, width=height)
            baseline = make_case(upsampler="transposed", height=height, width=height)
            records.append(replace(record, case=case, baseline_id=baseline.case_id))
    summary = summarise(build_table(records))
    others = summary[summary["upsampler"] == "nearest_conv"]
    expected = pool_cases([[0.5, 0.5 + 0.01 * height] for height in (4, 8, 16)])
    assert others["ratio_high"].tolist() == pytest.approx([pooled.high for pooled in expected if pooled])
