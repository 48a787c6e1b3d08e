"""What the report says of interleaved timing."""

from dataclasses import replace

import pandas as pd
import pytest

from deconvbench.analysis.speedups import average_speedups, compare_choices
from deconvbench.report.page import render_report
from deconvbench.report.speedups import (
    describe_speedups,
    format_markdown,
    list_failures,
    view_choices,
    view_costs,
    view_means,
)
from deconvbench.report.tables import Cell, TableView
from deconvbench.tables.speedups import build_speedups
from tests.made_speedups import TWINS, make_settings, make_speedup_record, make_speedup_records
from tests.plots.made_tables import make_run_results
from tests.report.test_page import RUN_INFO, Page


@pytest.fixture(scope="module")
def speedups() -> pd.DataFrame:
    return build_speedups(make_speedup_records())


def test_means_are_a_row_a_setting_and_a_column_a_layer(speedups: pd.DataFrame) -> None:
    view = view_means(average_speedups(speedups))
    assert view.headings[:2] == ("setting", "nearest_conv_fast k3 s2")
    assert view.headings[-2:] == ("transposed k3 s2", "transposed k4 s2")
    settings = [row[0].text for row in view.rows]
    assert settings[0] == "forward frozen, contiguous, 1 thread"
    assert settings[-1] == "train, channels_last, 2 threads"
    assert len(settings) == 12
    means = average_speedups(speedups)
    (expected,) = means[
        (means["upsampler"] == "nearest_conv_fast")
        & means["is_frozen"]
        & (means["threads"] == 1)
        & (means["memory_format"] == "contiguous")
    ]["speedup"]
    assert view.rows[0][1].text.startswith(f"{expected:.2f} ± 0.0")
    assert float(view.rows[0][1].sort) == expected


def test_a_single_replicate_shows_no_interval() -> None:
    settings = list(make_settings(((64, 16),), ("contiguous",), (1,), ("train",)))
    (row,) = view_means(average_speedups(build_speedups(make_speedup_records(settings, 1)))).rows
    assert all("±" not in cell.text for cell in row)


def test_a_layer_that_a_setting_lacks_is_a_dash(speedups: pd.DataFrame) -> None:
    is_gone = (speedups["upsampler"] == "nearest_conv_tiled") & (speedups["step"] == "train")
    last = view_means(average_speedups(speedups[~is_gone])).rows[-1]
    assert [cell.text for cell in last].count("–") == 1


def test_costs_are_shares_of_forward_and_the_most_memory(speedups: pd.DataFrame) -> None:
    view = view_costs(average_speedups(speedups))
    assert len(view.headings) == 1 + 8 + 1
    assert [row[0].text for row in view.rows] == [
        *(f"{name} k3 s2" for name in TWINS),
        "transposed k3 s2",
        "transposed k4 s2",
    ]
    assert all(row[1].text.endswith("%") for row in view.rows)
    assert [row[-1].text for row in view.rows][:2] == ["1.01", "1.02"]


def test_a_share_that_a_setting_lacks_is_a_dash(speedups: pd.DataFrame) -> None:
    is_gone = (speedups["upsampler"] == "nearest_conv_tiled") & speedups["is_frozen"]
    cells = next(
        row
        for row in view_costs(average_speedups(speedups[~is_gone])).rows
        if row[0].text == "nearest_conv_tiled k3 s2"
    )
    assert [cell.text for cell in cells].count("–") == 4


def test_choices_are_marked_where_they_fall_short(speedups: pd.DataFrame) -> None:
    view = view_choices(compare_choices(speedups))
    assert len(view.rows) == 84
    shares = [row[-2] for row in view.rows]
    assert {cell.kind for cell in shares} == {"number", "noisy"}
    assert all(float(cell.sort) < 0.98 for cell in shares if cell.kind == "noisy")
    assert {row[3].text for row in view.rows} == {"tiled", "transposed"}


def test_memory_beyond_the_limit_is_marked() -> None:
    (setting,) = make_settings(((64, 16),), ("contiguous",), (1,), ("train",))
    record = make_speedup_record(setting)
    peaks: dict[str, int | None] = {name: 1200 if name == record.twins[0] else 1000 for name in record.samples_s}
    frame = build_speedups([replace(record, peak_memory_bytes=peaks)])
    (row,) = view_choices(compare_choices(frame)).rows
    assert (row[-1].text, row[-1].kind) == ("1.20", "noisy")
    assert any(
        "more than 1.1 times the memory in 1 of 1" in sentence
        for sentence in describe_speedups(make_run_results(speedups=frame))
    )
    unknown = build_speedups([replace(record, peak_memory_bytes={})])
    assert (
        view_choices(compare_choices(unknown)).rows[0][-1].text
        == view_costs(average_speedups(unknown)).rows[0][-1].text
        == "–"
    )
    assert not any("memory" in sentence for sentence in describe_speedups(make_run_results(speedups=unknown)))


def test_findings_name_ratio_choice_and_what_others_give(speedups: pd.DataFrame) -> None:
    sentences = describe_speedups(make_run_results(speedups=speedups))
    assert sentences[0].startswith("nearest_conv_fast k3 s2 computes what nearest_conv k3 computes and is so many")
    assert "over 7 shapes" in sentences[0]
    assert "(forward frozen, contiguous, 1 thread)" in sentences[0]
    assert "live" not in sentences[0]
    assert " of 84 cases; it takes more than 1.1 times the memory in 0 of 84." in sentences[1]
    assert sentences[2].startswith("For comparison: transposed k3 s2, which computes something else, is ")


def test_without_frozen_layers_the_live_ones_are_told() -> None:
    records = [r for r in make_speedup_records() if not r.is_frozen]
    assert (
        "(forward live, contiguous, 1 thread)"
        in describe_speedups(make_run_results(speedups=build_speedups(records)))[0]
    )


def test_settings_beyond_the_usual_are_named() -> None:
    (setting,) = make_settings(((64, 16),), ("contiguous",), (1,), ("forward",))
    other = replace(setting, batch=2, dtype="float64")
    frame = build_speedups(make_speedup_records([setting, other]))
    assert "forward live, contiguous, 1 thread, float64, batch 2" in [
        row[0].text for row in view_means(average_speedups(frame)).rows
    ]


def test_nothing_measured_says_nothing() -> None:
    empty = build_speedups([])
    assert describe_speedups(make_run_results(speedups=empty)) == list_failures(empty) == []
    assert (
        view_means(average_speedups(empty)).rows
        == view_choices(compare_choices(empty)).rows
        == view_costs(average_speedups(empty)).rows
        == ()
    )


def test_markdown_has_a_row_for_each() -> None:
    view = TableView(headings=("a", "b"), rows=((Cell(text="x", sort=""), Cell(text="1", sort="1")),))
    assert format_markdown(view) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_the_page_has_a_section_with_figure_and_tables(speedups: pd.DataFrame) -> None:
    tables = make_run_results(speedups=speedups)
    page = Page(render_report(tables, RUN_INFO, {"speedups": b"a picture"}))
    assert "speedups" in page.ids
    assert "Fast resize-convolution" in page.words
    assert page.words.count("nearest_conv_fast k3 s2 computes what") == 1
    images = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    # after the three crops of the answer
    assert images[3:] == ["data:image/png;base64,YSBwaWN0dXJl"]
    names = [value for tag, name, value in page.attributes if name == "aria-label"]
    assert {
        "Geometric means of speed-ups",
        "Share of the ceiling, and memory",
        "What was chosen, and the best",
    } <= {*names}


def test_a_page_whose_speedups_all_failed_says_why() -> None:
    setting = next(make_settings())
    lost = build_speedups([make_speedup_record(setting, status="error", is_frozen=True)])
    page = Page(render_report(make_run_results(speedups=lost), RUN_INFO, {}))
    assert f"{setting.case_id}, frozen: error: nearest_conv_tiled is not equivalent <to> plain" in page.words
    assert "no speed-up to draw" in page.words


def test_a_page_without_speedups_has_no_such_section() -> None:
    page = Page(render_report(make_run_results(), RUN_INFO, {}))
    assert "speedups" not in page.ids
    assert "Fast resize-convolution" not in page.words
