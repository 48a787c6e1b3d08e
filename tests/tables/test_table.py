import errno
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench import load as public_load
from deconvbench.errors import RunFolderError, SurroundingsError, UsageError
from deconvbench.records import run_folder
from deconvbench.records.journal import Journal
from deconvbench.records.record import (
    AnyRecord,
    Latency,
    Memory,
    NumericsRecord,
    QualityRecord,
    Record,
    encode_record,
)
from deconvbench.records.run_folder import JOURNAL_NAME, find_newest_run, read_journal
from deconvbench.records.schema import (
    ARTIFACT_COLUMNS,
    LATER_COLUMNS,
    QUALITY_DTYPES,
    QUALITY_SUMMARY_DTYPES,
    SUMMARY_DTYPES,
    TABLE_DTYPES,
)
from deconvbench.statistics import mean_interval, median_interval
from deconvbench.tables.files import (
    QUALITY_CSV_NAME,
    QUALITY_NAME,
    SUMMARY_CSV_NAME,
    TABLE_CSV_NAME,
    TABLE_NAME,
    load,
    read_tables,
    write_tables,
)
from deconvbench.tables.table import build_quality, build_table, summarise, summarise_quality
from tests.builders import make_case, make_record
from tests.made_results import make_trained
from tests.made_speedups import make_speedup_record
from tests.strategies import records as any_records

DESIGN_COLUMNS = [
    "case_id", "upsampler", "kernel_size", "scale_factor", "in_channels", "out_channels", "height", "width",
    "batch", "dtype", "memory_format", "step", "device", "threads", "execution", "replicate", "process_index",
    "seed", "order", "started_at", "status", "message", "noisy", "noise_reason", "latency_s",
    "latency_ci_low_s", "latency_ci_high_s", "latency_floor_s", "samples", "stop_reason", "host_latency_s",
    "launch_bound", "peak_memory_bytes", "peak_reserved_bytes", "input_bytes", "output_bytes", "parameter_bytes",
    "workspace_bytes", "macs", "overlap_cv", "phase_ripple", "noise_gain_cv", "image_rejection_db",
    "border_error", "flat_field_ripple", "checkerboard", "numerical_error", "machine_id", "torch_version",
    "code_version",
]  # fmt: skip


def make_latency(*samples_s: float, **changes: Any) -> Latency:
    values: dict[str, Any] = {"calls_per_sample": 1, "first_call_s": 1.0, "stop_reason": "precision"}
    return Latency(samples_s=samples_s or (2.0, 1.0, 3.0), **{**values, **changes})


def make_memory(**changes: Any) -> Memory:
    values: dict[str, Any] = {
        "peak_memory_bytes": 1000,
        "peak_reserved_bytes": None,
        "input_bytes": 100,
        "output_bytes": 400,
        "parameter_bytes": 50,
        "gradient_bytes": 0,
    }
    return Memory(**{**values, **changes})


def make_quality(**changes: Any) -> QualityRecord:
    values: dict[str, Any] = {
        "upsampler": "nearest_conv",
        "kernel_size": 3,
        "scale_factor": 2,
        "seed": 0,
        "channels": 16,
        "status": "ok",
        "metrics": {"phase_ripple": 0.5, "noise_gain_cv": 0.25, "overlap_cv": None},
    }
    return QualityRecord(**{**values, **changes})


def make_numerics(**changes: Any) -> NumericsRecord:
    values: dict[str, Any] = {
        "upsampler": "nearest_conv",
        "kernel_size": 3,
        "scale_factor": 2,
        "in_channels": 4,
        "out_channels": 2,
        "dtype": "float32",
        "device": "cpu",
        "status": "ok",
        "numerical_error": 1e-7,
    }
    return NumericsRecord(**{**values, **changes})


def make_run(replicates: int = 3) -> list[AnyRecord]:
    """Two layers, one without a kernel, one that failed once; everything that a run has."""
    records: list[AnyRecord] = [make_quality(seed=0), make_quality(seed=1, metrics={"phase_ripple": 0.7})]
    records += [make_quality(upsampler="bilinear", kernel_size=None), make_numerics()]
    for replicate in range(replicates):
        for case in (make_case(), make_case(upsampler="bilinear", kernel_size=None)):
            latency = make_latency(*(1.0 + 0.01 * replicate + 0.001 * i for i in range(12)))
            records.append(
                make_record(case=case, replicate=replicate, latency=latency, memory=make_memory(), macs=123)
            )
    records.append(make_record(case=make_case(height=99), status="oom", message="tried, and\nfailed, «badly»"))
    return records


def write_run(folder: Path, records: list[AnyRecord] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [encode_record(record) + "\n" for record in (make_run() if records is None else records)]
    (folder / JOURNAL_NAME).write_text("".join(lines), encoding="utf-8")
    return folder


def set_age(path: Path, age_s: int) -> None:
    """Let a file be that much older than one written on a fixed day."""
    moment = 1_700_000_000 - age_s
    os.utime(path, (moment, moment))


# the table


def test_columns_are_those_that_scripts_depend_on() -> None:
    assert list(build_table(make_run()).columns) == DESIGN_COLUMNS
    left_out = {"replicate", "process_index", "order", "started_at"}
    expected = [name for name in DESIGN_COLUMNS if name not in left_out]
    assert list(summarise(build_table(make_run())).columns) == [*expected, "replicates"]


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
    assert list(null) == DESIGN_COLUMNS[start:end]


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


def make_ripples(*ripples: float | None, **changes: Any) -> list[AnyRecord]:
    """One layer with a seed for each ripple; None is a seed that failed."""
    return [
        make_quality(seed=seed, status="error", message="broken weights", metrics={}, **changes)
        if ripple is None
        else make_quality(
            seed=seed, metrics={"phase_ripple": ripple, "checkerboard": ripple, "overlap_cv": 0.25}, **changes
        )
        for seed, ripple in enumerate(ripples)
    ]


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
    assert quality[list(LATER_COLUMNS)].isna().all(axis=None)
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


def test_read_journal_gives_all_records_but_a_torn_last_one(tmp_path: Path) -> None:
    write_run(tmp_path)
    with (tmp_path / JOURNAL_NAME).open("ab") as file:
        file.write(b'{"schema_version":1,"kind":"rec')
    assert read_journal(tmp_path) == make_run()
    assert read_journal(str(tmp_path)) == make_run()


def _no_folder(path: Path) -> None:
    path.rmdir()


def _a_file(path: Path) -> None:
    path.rmdir()
    path.write_text("")


def _journal_is_a_folder(path: Path) -> None:
    (path / JOURNAL_NAME).mkdir()


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        (_no_folder, "does not exist"),
        (_a_file, "is a file, not a folder"),
        (lambda _: None, f"has no {JOURNAL_NAME}: nothing was measured in it"),
        (_journal_is_a_folder, "cannot read .*: Is a directory"),
    ],
    ids=["missing", "file", "empty", "folder-for-a-journal"],
)
@pytest.mark.parametrize("function", [read_journal, write_tables, read_tables, load])
def test_what_is_no_run_folder_is_named(
    tmp_path: Path, function: Callable[[Path], object], prepare: Callable[[Path], None], problem: str
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    prepare(folder)
    with pytest.raises(RunFolderError, match=f"^run folder: .*{problem}") as caught:
        function(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_journal_is_named_by_file_and_line(tmp_path: Path) -> None:
    write_run(tmp_path, [])
    (tmp_path / JOURNAL_NAME).write_text(encode_record(make_record()) + "\nnonsense\n")
    with pytest.raises(RunFolderError, match=f"{JOURNAL_NAME}:2: not a record"):
        load(tmp_path)


@pytest.mark.parametrize("records", [make_run(), []], ids=["run", "killed-before-the-first-record"])
def test_written_tables_read_back_alike(
    tmp_path: Path, records: list[AnyRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path, records)
    written = write_tables(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [JOURNAL_NAME, TABLE_NAME, TABLE_CSV_NAME, SUMMARY_CSV_NAME, QUALITY_NAME, QUALITY_CSV_NAME]
    )
    # what is read now does not come from the journal
    monkeypatch.setattr(run_folder, "decode_journal", None)
    read = read_tables(tmp_path)
    for name in ("table", "summary", "quality"):
        pd.testing.assert_frame_equal(getattr(read, name), getattr(written, name))
    pd.testing.assert_frame_equal(load(tmp_path), written.table)


@pytest.mark.parametrize(
    ("name", "attribute", "dtypes"),
    [(TABLE_CSV_NAME, "table", TABLE_DTYPES), (SUMMARY_CSV_NAME, "summary", SUMMARY_DTYPES)],
    ids=["table", "summary"],
)
def test_csv_holds_every_digit(tmp_path: Path, name: str, attribute: str, dtypes: dict[str, str]) -> None:
    expected = getattr(write_tables(write_run(tmp_path)), attribute)
    read = pd.read_csv(tmp_path / name, dtype=dtypes)
    # CSV has one word for an empty text and for a missing one
    texts = [column for column, dtype in dtypes.items() if dtype == "str"]
    read, expected = (frame.fillna(dict.fromkeys(texts, "")) for frame in (read, expected))
    # pandas may read a number one unit in the last place off
    pd.testing.assert_frame_equal(read, expected, rtol=1e-15)
    assert (tmp_path / name).read_text().startswith("case_id,upsampler,kernel_size,")


def test_trained_quality_is_written_and_read_where_it_is_handed_in(tmp_path: Path) -> None:
    trained = make_trained(tmp_path / "experiments", (("nearest_conv", 3), ("transposed", 3)), seeds=3)
    folder = write_run(tmp_path / "run")
    plain, written = write_tables(folder), write_tables(folder, trained)
    nearest = written.quality[written.quality["upsampler"] == "nearest_conv"]
    # two seeds were measured, three were trained; the other layer of the run was not, and none is added
    assert nearest["seed"].tolist() == [0, 1, 2]
    assert nearest["trained_psnr_db"].notna().all()
    assert nearest["channels"].isna().tolist() == [False, False, True]
    assert set(written.quality["upsampler"]) == {"bilinear", "nearest_conv"}
    for name in ("table", "summary"):
        pd.testing.assert_frame_equal(getattr(written, name), getattr(plain, name))
    pooled = pd.read_csv(folder / QUALITY_CSV_NAME).set_index("upsampler").loc["nearest_conv"]
    mean, low, high = mean_interval(nearest["trained_psnr_db"])
    assert [pooled[f"trained_psnr_db{end}"] for end in ("", "_ci_low", "_ci_high")] == pytest.approx(
        [mean, low, high]
    )
    assert (pooled["seeds"], pooled["phase_ripple"]) == (3, pytest.approx(0.6))
    pd.testing.assert_frame_equal(read_tables(folder).quality, written.quality)
    # what outlived its journal is filled in as well, and what is handed in replaces what was there
    write_tables(folder)
    pd.testing.assert_frame_equal(read_tables(folder, trained).quality, written.quality)
    write_tables(folder, make_trained(tmp_path / "fewer", (("nearest_conv", 3),), seeds=1))
    (folder / JOURNAL_NAME).unlink()
    pd.testing.assert_frame_equal(read_tables(folder, trained).quality, written.quality)


def test_layers_without_measured_artifacts_have_trained_quality_too(tmp_path: Path) -> None:
    trained = make_trained(tmp_path / "experiments", (("nearest_conv", 3),), seeds=2)
    folder = write_run(tmp_path / "run", [make_record(case=make_case(upsampler="nearest_conv_fast"))])
    quality = read_tables(folder, trained).quality
    assert quality["upsampler"].tolist() == ["nearest_conv_fast"] * 2
    assert quality["trained_ssim"].tolist() == trained.results["ssim"].tolist()


def test_tables_older_than_the_journal_are_built_anew(tmp_path: Path) -> None:
    write_tables(write_run(tmp_path, make_run(replicates=1)))
    write_run(tmp_path, make_run(replicates=2))
    set_age(tmp_path / TABLE_NAME, 10)
    set_age(tmp_path / QUALITY_NAME, 0)
    set_age(tmp_path / JOURNAL_NAME, 5)
    assert set(load(tmp_path)["replicate"]) == {0, 1}
    assert read_tables(tmp_path).summary["replicates"].max() == 2
    # as old as the journal is not older
    set_age(tmp_path / TABLE_NAME, 5)
    assert set(load(tmp_path)["replicate"]) == {0}


def test_a_run_that_was_cut_off_has_tables_too(tmp_path: Path) -> None:
    tables = read_tables(write_run(tmp_path))
    pd.testing.assert_frame_equal(tables.table, build_table(make_run()))
    pd.testing.assert_frame_equal(tables.quality, build_quality(make_run()))
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL_NAME]


def test_tables_outlive_their_journal(tmp_path: Path) -> None:
    written = write_tables(write_run(tmp_path))
    (tmp_path / JOURNAL_NAME).unlink()
    pd.testing.assert_frame_equal(read_tables(tmp_path).summary, written.summary)


def test_a_table_of_another_version_is_built_anew(tmp_path: Path) -> None:
    write_run(tmp_path)
    build_table(make_run()).drop(columns="macs").to_parquet(tmp_path / TABLE_NAME)
    assert "macs" in load(tmp_path)


def test_quality_csv_holds_the_intervals(tmp_path: Path) -> None:
    written = write_tables(write_run(tmp_path, make_ripples(0.5, 0.625, 0.75)))
    read = pd.read_csv(tmp_path / QUALITY_CSV_NAME, dtype=dict(QUALITY_SUMMARY_DTYPES), keep_default_na=True)
    expected = summarise_quality(written.quality)
    read, expected = (frame.fillna({"message": ""}) for frame in (read, expected))
    pd.testing.assert_frame_equal(read, expected, rtol=1e-15)


def _age_tables(folder: Path, *lacking: str) -> None:
    """Let tables be those of a version that did not know these columns, and have outlived their journal."""
    write_tables(write_run(folder))
    (folder / JOURNAL_NAME).unlink()
    for name in (TABLE_NAME, QUALITY_NAME):
        frame = pd.read_parquet(folder / name)
        frame.drop(columns=list(lacking), errors="ignore").to_parquet(folder / name, index=False)


def test_old_tables_without_a_journal_lack_what_came_later(tmp_path: Path) -> None:
    _age_tables(tmp_path, *LATER_COLUMNS)
    tables = read_tables(tmp_path)
    expected = build_table(make_run())
    pd.testing.assert_frame_equal(tables.table, expected)
    pd.testing.assert_frame_equal(load(tmp_path), expected)
    assert tables.quality.dtypes.to_dict() == build_quality(make_run()).dtypes.to_dict()
    assert tables.summary[list(LATER_COLUMNS)].isna().all(axis=None)


def test_older_tables_without_a_journal_are_named_with_what_they_lack(tmp_path: Path) -> None:
    _age_tables(tmp_path, *LATER_COLUMNS, "macs")
    with pytest.raises(RunFolderError, match="another version: it lacks macs, flat_field_ripple, checkerboard"):
        load(tmp_path)
    with pytest.raises(RunFolderError, match=f"no {JOURNAL_NAME} to build it anew from"):
        read_tables(tmp_path)


def test_a_table_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / TABLE_NAME).write_bytes(b"this is not parquet")
    with pytest.raises(RunFolderError, match=f"cannot read .*{TABLE_NAME}"):
        load(tmp_path)


def test_a_table_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    (tmp_path / TABLE_NAME).touch()

    def refuse(*_: object) -> pd.DataFrame:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pd, "read_parquet", refuse)
    with pytest.raises(RunFolderError, match=f"cannot read .*{TABLE_NAME}.*: permission denied"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("code", "explanation"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
    ],
    ids=["full", "read-only", "denied"],
)
def test_a_disk_that_refuses_is_one_line_and_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, explanation: str
) -> None:
    write_tables(write_run(tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    write_run(tmp_path, make_run(replicates=1))
    with pytest.raises(SurroundingsError, match=f"^cannot write to .*{QUALITY_NAME}: {explanation}$"):
        write_tables(tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {**after, JOURNAL_NAME: b""} == {**before, JOURNAL_NAME: b""}


def test_a_draft_that_cannot_even_be_removed_changes_nothing(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / f"{QUALITY_NAME}.tmp").mkdir()
    with pytest.raises(SurroundingsError, match="cannot write to"):
        write_tables(tmp_path)


# load


def test_load_is_public() -> None:
    assert public_load is load


def test_several_runs_are_told_apart_by_their_names(tmp_path: Path) -> None:
    write_run(tmp_path / "one", make_run(replicates=1))
    write_run(tmp_path / "two", [])
    write_run(tmp_path / "three", make_run(replicates=2))
    both = load([tmp_path / "one", str(tmp_path / "two"), tmp_path / "three"])
    assert list(both.columns) == ["run", *DESIGN_COLUMNS]
    assert both["run"].value_counts().to_dict() == {"three": 5, "one": 3}
    assert both.drop(columns="run").dtypes.to_dict() == load(tmp_path / "one").dtypes.to_dict()
    assert both.index.is_unique
    summary = summarise(both)
    assert list(summary.columns[:2]) == ["run", "case_id"]
    assert summary["replicates"].tolist() == [1, 1, 0, 2, 2, 0]


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / where / "run") for where in ("here", "there")]
    assert list(dict.fromkeys(load(folders)["run"])) == [str(folder) for folder in folders]


def test_one_run_in_a_list_has_its_name_as_well(tmp_path: Path) -> None:
    assert set(load([write_run(tmp_path / "one")])["run"]) == {"one"}
    assert "run" not in load(tmp_path / "one")


def test_no_run_or_a_run_twice_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    with pytest.raises(UsageError, match=r"^run: \[\] is not a list of different run folders"):
        load([])
    with pytest.raises(UsageError, match="is not a list of different run folders"):
        load([tmp_path, str(tmp_path)])


# the newest run


def test_the_newest_run_is_the_one_whose_journal_was_written_last(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    ages = {"20260101T000000Z-quick": 5, "20260102T000000Z-smoke": 10, "mine": 20}
    for name, age in ages.items():
        set_age(write_run(runs / name) / JOURNAL_NAME, age)
    (runs / "20270101T000000Z-empty").mkdir()
    (runs / "notes.txt").write_text("not a run")
    assert find_newest_run(tmp_path) == runs / "20260101T000000Z-quick"
    set_age(runs / "mine" / JOURNAL_NAME, 0)
    assert find_newest_run(str(tmp_path)) == runs / "mine"
    # at the same moment, the later name
    set_age(runs / "20260101T000000Z-quick" / JOURNAL_NAME, 10)
    set_age(runs / "mine" / JOURNAL_NAME, 20)
    assert find_newest_run(tmp_path) == runs / "20260102T000000Z-smoke"


@pytest.mark.parametrize("exists", [True, False], ids=["empty", "missing"])
def test_no_run_at_all_says_how_to_get_one(tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "runs" / "no-journal").mkdir(parents=True)
    with pytest.raises(
        UsageError, match=r"^RUN: no run folder in .*runs'; name one, or measure with: deconvbench run$"
    ):
        find_newest_run(tmp_path)


def test_records_round_trip_through_the_file_of_the_journal(tmp_path: Path) -> None:
    # the line of a record is what other programs read: plain JSON with the names of the columns
    line = json.loads((write_run(tmp_path) / JOURNAL_NAME).read_text().splitlines()[-1])
    assert line["case"]["height"] == 99
    assert isinstance(read_journal(tmp_path)[-1], Record)


def test_speedups_are_written_and_read_where_there_are_any(tmp_path: Path) -> None:
    record = make_speedup_record(make_case())
    with Journal(tmp_path) as journal:
        journal.append(make_record())
    assert write_tables(tmp_path).speedups.empty
    assert not list(tmp_path.glob("speedups*"))
    assert read_tables(tmp_path).speedups.empty
    with Journal(tmp_path) as journal:
        journal.append(record)
    written = write_tables(tmp_path).speedups
    assert len(written) == 8
    pd.testing.assert_frame_equal(read_tables(tmp_path).speedups, written)
    assert len(pd.read_csv(tmp_path / "speedups.csv")) == 8
    # what outlived its journal is still read; what the journal knows better is built anew
    (tmp_path / "journal.jsonl").rename(tmp_path / "elsewhere")
    pd.testing.assert_frame_equal(read_tables(tmp_path).speedups, written)
    (tmp_path / "elsewhere").rename(tmp_path / "journal.jsonl")
    with Journal(tmp_path) as journal:
        journal.append(make_speedup_record(make_case(height=16, width=16)))
    assert len(read_tables(tmp_path).speedups) == 16
