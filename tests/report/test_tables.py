"""Rows as a reader sees them."""

import numpy as np
import pandas as pd
import pytest

from deconvbench.report.tables import (
    flatten_environment,
    view_failures,
    view_noisy,
    view_quality,
    view_summary,
    write_text,
)
from deconvbench.statistics import mean_interval
from deconvbench.tables.table import summarise_quality
from tests.plots.made_tables import make_quality, make_summary, make_table


def test_the_summary_has_readable_units_and_raw_numbers_to_sort_by() -> None:
    summary = make_summary()
    view = view_summary(summary)
    assert view.headings[:5] == ("layer", "input (pixels)", "channels", "step", "status")
    assert len(view.rows) == len(summary)
    column = view.headings.index("latency (median)")
    for cells, latency in zip(view.rows, summary["latency_s"], strict=True):
        assert cells[column].sort == ("" if np.isnan(latency) else repr(latency))
    assert view.rows[0][column].text == "78.3 µs"
    assert view.rows[0][1].text == "16×16"
    assert view.rows[0][view.headings.index("MACs")].text.endswith((" k", " M", " G"))
    assert all(len(row) == len(view.headings) for row in view.rows)


def test_noisy_and_failed_cells_are_marked() -> None:
    summary = make_summary()
    view = view_summary(summary)
    latency, status = view.headings.index("latency (median)"), view.headings.index("status")
    noisy = [row for row in view.rows if row[latency].kind == "noisy"]
    assert len(noisy) == 2
    assert all(row[latency].text.endswith("(noisy)") for row in noisy)
    assert {row[status].text for row in view.rows if row[status].kind == "failed"} == {"oom", "timeout"}


def test_only_settings_that_differ_get_a_column() -> None:
    assert "threads" not in view_summary(make_summary()).headings
    assert "threads" in view_summary(make_summary(threads=2)).headings


def test_columns_without_a_value_are_left_out() -> None:
    failed = make_summary().assign(status="crashed", latency_s=np.nan, macs=np.nan)
    headings = view_summary(failed).headings
    assert "status" in headings
    assert "latency (median)" not in headings


def test_rows_beyond_the_limit_are_counted() -> None:
    view = view_summary(make_summary(), limit=10)
    assert len(view.rows) == 10
    assert view.left_out == 86


def test_quality_is_averaged_over_seeds() -> None:
    quality = make_quality(seeds=4)
    view = view_quality(summarise_quality(quality))
    row = next(row for row in view.rows if row[0].text == "transposed k4 s3")
    ripple = quality.query("upsampler == 'transposed' and kernel_size == 4 and scale_factor == 3")["phase_ripple"]
    cell = row[view.headings.index("phase ripple (ratio)")]
    assert float(cell.sort) == pytest.approx(ripple.mean())
    _, low, high = mean_interval(ripple)
    assert cell.text == f"{ripple.mean():.3f} ± {(high - low) / 2:.3f}"
    assert row[2].text == "4"
    unsupported = next(row for row in view.rows if row[0].text == "transposed k2 s4")
    assert (unsupported[1].text, unsupported[2].text) == ("unsupported", "0")
    assert "PSNR after training (dB)" not in view.headings


@pytest.mark.parametrize(
    ("values", "text"),
    [
        pytest.param((0.5, 0.7), "0.600 ± 1.271", id="two seeds are hardly any"),
        pytest.param((0.6, 0.6), "0.600", id="no spread"),
        pytest.param((0.6,), "0.600", id="one seed"),
        pytest.param((0.60001, 0.60002), "0.600", id="less than a digit"),
        pytest.param((1e-12, 3e-12), "0", id="zero to rounding"),
        pytest.param((1e-5, 3e-5), "2e-05", id="a power of ten"),
    ],
)
def test_an_interval_is_written_where_it_shows(values: tuple[float, ...], text: str) -> None:
    quality = make_quality(("transposed",), (3,), (2,), seeds=len(values)).assign(phase_ripple=values)
    view = view_quality(summarise_quality(quality))
    assert view.rows[0][view.headings.index("phase ripple (ratio)")].text == text


def test_decibels_have_intervals_in_their_own_digits() -> None:
    quality = make_quality(("transposed",), (3,), (2,), seeds=3).assign(image_rejection_db=[-16.0, -16.2, -15.9])
    view = view_quality(summarise_quality(quality))
    assert view.rows[0][view.headings.index("image rejection (dB)")].text == "-16.0 ± 0.4"


def test_trained_quality_is_shown_where_it_is_known() -> None:
    quality = make_quality().assign(trained_psnr_db=27.125, steps=2000)
    view = view_quality(summarise_quality(quality))
    assert view.rows[0][view.headings.index("PSNR after training (dB)")].text == "27.12"
    assert view.rows[0][view.headings.index("training steps")].text == "2000"


def test_failures_come_once_with_their_message() -> None:
    table = make_table(make_summary(), replicates=3)
    view = view_failures([table, make_quality(kernels=(2,), scales=(4,), seeds=2)])
    assert [row[1].text for row in view.rows] == ["oom", "timeout", "unsupported"]
    assert [row[2].text for row in view.rows] == ["3", "3", "2"]
    assert view.rows[0][3].text == "tried to allocate 3.2 GiB <big> & failed"
    assert view.rows[2][0].text == "quality of transposed k2 s4"
    assert view_failures([table.iloc[:0]]).rows == ()


def test_noisy_measurements_come_with_their_reason() -> None:
    table = make_table(make_summary(), replicates=2)
    view = view_noisy(table)
    assert len(view.rows) == 4
    assert view.rows[0][2].text == "load 3.1"
    assert view_noisy(table.iloc[:0]).rows == ()
    assert view_noisy(table.assign(noisy=pd.array([pd.NA] * len(table), dtype="boolean"))).rows == ()


@pytest.mark.parametrize(
    ("value", "text", "kind"),
    [
        (None, "–", "text"),
        (np.nan, "–", "text"),
        (3.0, "3", "number"),
        (2.5, "2.5", "number"),
        (True, "True", "text"),
        ("eager", "eager", "text"),
    ],
)
def test_plain_values(value: object, text: str, kind: str) -> None:
    cell = write_text(value)
    assert (cell.text, cell.kind) == (text, kind)


def test_a_count_below_a_thousand_is_written_out() -> None:
    summary = make_summary((("transposed", 3),), (16,), ("forward",)).assign(macs=512.0)
    view = view_summary(summary)
    assert view.rows[0][view.headings.index("MACs")].text == "512"


def test_the_environment_is_flattened() -> None:
    environment = {
        "cpu": "X",
        "memory_bytes": 2**33,
        "packages": {"numpy": "2.3", "memray": None},
        "gpus": [{"name": "G", "memory_bytes": 2**34}],
        "flags": ["a", "b"],
        "variables": {},
        "empty": [],
        "note": "",
    }
    assert list(flatten_environment(environment)) == [
        ("cpu", "X"),
        ("memory_bytes", "8 GiB"),
        ("packages.numpy", "2.3"),
        ("packages.memray", "–"),
        ("gpus.0.name", "G"),
        ("gpus.0.memory_bytes", "16 GiB"),
        ("flags", "a, b"),
        ("empty", "–"),
        ("note", "–"),
    ]


def test_what_the_time_is_spent_in_has_a_column_where_it_is_known() -> None:
    summary = make_summary()
    assert "spends its time in" not in view_summary(summary).headings
    summary["kernel"] = "deconvolution ref; computed in float32: this CPU has no bfloat16"
    view = view_summary(summary)
    column = view.headings.index("spends its time in")
    assert {row[column].text for row in view.rows} == {
        "deconvolution ref; computed in float32: this CPU has no bfloat16"
    }
