"""What the report says of interleaved timing."""

from dataclasses import replace

import pandas as pd
import pytest

from deconvbench.analysis.speedups import average_speedups, compare_choices
from deconvbench.report.page import render_report
from deconvbench.report.speedups import (
    describe_speedups,
    format_means,
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


def find_line(view: TableView, layer: str) -> tuple[Cell, ...]:
    (line,) = [row for row in view.rows if row[1].text == layer]
    return line


def test_means_are_a_row_a_layer_and_a_column_a_setting(speedups: pd.DataFrame) -> None:
    view = view_means(average_speedups(speedups))
    assert view.headings[:3] == ("plain form", "layer", "forward frozen, contiguous, 1 thread")
    assert view.headings[-1] == "train, channels_last, 2 threads"
    assert len(view.headings) == 2 + 12
    assert [(row[0].text, row[1].text) for row in view.rows] == [
        *(("k3 s2", f"{name} k3 s2") for name in TWINS),
        ("k3 s2", "transposed k3 s2"),
        ("k3 s2", "transposed k4 s2"),
    ]
    means = average_speedups(speedups)
    (expected,) = means[
        (means["upsampler"] == "nearest_conv_fast")
        & means["is_frozen"]
        & (means["threads"] == 1)
        & (means["memory_format"] == "contiguous")
    ]["speedup"]
    assert view.rows[0][2].text.startswith(f"{expected:.2f} ± 0.0")
    assert float(view.rows[0][2].sort) == expected


@pytest.fixture(scope="module")
def several() -> pd.DataFrame:
    """Two shapes in three kernels and scales, of which two have the same alternatives."""
    settings = list(make_settings(((64, 16), (64, 32))))
    others = [replace(setting, kernel_size=5) for setting in settings]
    larger = [replace(setting, scale_factor=3) for setting in settings]
    return build_speedups(make_speedup_records([*others, *larger, *settings]))


def test_each_kernel_and_scale_has_lines_of_its_own(several: pd.DataFrame) -> None:
    means = average_speedups(several)
    expected = [
        (f"k{k} s{s}", f"{name} s{s}")
        for k, s in ((3, 2), (3, 3), (5, 2))
        for name in (*(f"{twin} k{k}" for twin in TWINS), "transposed k3", "transposed k4")
    ]
    for view in (view_means(means), view_costs(means)):
        assert [(row[0].text, row[1].text) for row in view.rows] == expected
    assert all("–" not in [cell.text for cell in row] for row in view_means(means).rows)
    # the same transposed convolution was timed beside either kernel: two lines, two numbers
    numbers = {row[0].text: row[2].sort for row in view_means(means).rows if row[1].text == "transposed k3 s2"}
    assert set(numbers) == {"k3 s2", "k5 s2"}
    assert len(set(numbers.values())) == 2
    shapes = view_choices(compare_choices(several))
    assert {row[0].text for row in shapes.rows} == {"k3 s2", "k3 s3", "k5 s2"}


def test_sentences_name_the_kernel_that_each_is_compared_with(several: pd.DataFrame) -> None:
    sentences = describe_speedups(make_run_results(speedups=several))
    for k, s in ((3, 2), (3, 3), (5, 2)):
        start = f"nearest_conv_fast k{k} s{s} computes what nearest_conv k{k} computes"
        assert sum(sentence.startswith(start) for sentence in sentences) == 1
    for k in (3, 5):
        (found,) = [
            t for t in sentences if t.startswith("For comparison: transposed k3 s2") and f"conv k{k} (" in t
        ]
        assert "times faster than" in found


def test_a_terminal_gets_the_choosing_layer_and_the_alternatives(several: pd.DataFrame) -> None:
    means = average_speedups(several)
    head, *blocks = format_means(means).split("\n\n")
    assert head.startswith("times faster than the plain form, ± half the 95 % interval")
    for block, step in zip(blocks, ("forward frozen", "forward live", "train"), strict=True):
        lines = block.splitlines()
        assert [word.strip() for word in lines[0].strip("| ").split(" | ")] == [
            step,
            *(f"{layout}, {t}" for layout in ("contiguous", "channels_last") for t in ("1 thread", "2 threads")),
        ]
        assert [line.strip("| ").split(" | ")[0].strip() for line in lines[2:]] == [
            f"k{k} s{s}: {name} s{s}"
            for k, s in ((3, 2), (3, 3), (5, 2))
            for name in (f"nearest_conv_fast k{k}", "transposed k3", "transposed k4")
        ]
        assert all(line.count("±") == 4 for line in lines[2:])
    row = means[(means["layer"] == "nearest_conv_fast k5 s2") & (means["step"] == "train")].iloc[0]
    (line,) = [line for line in blocks[2].splitlines() if "k5 s2: nearest_conv_fast" in line]
    assert f"{row['speedup']:.2f} ± " in line
    assert format_means(average_speedups(build_speedups([]))) == ""


def test_a_single_replicate_shows_no_interval() -> None:
    settings = list(make_settings(((64, 16),), ("contiguous",), (1,), ("train",)))
    view = view_means(average_speedups(build_speedups(make_speedup_records(settings, 1))))
    assert all("±" not in cell.text for row in view.rows for cell in row)


def test_a_layer_that_a_setting_lacks_is_a_dash(speedups: pd.DataFrame) -> None:
    is_gone = (speedups["upsampler"] == "nearest_conv_tiled") & (speedups["step"] == "train")
    view = view_means(average_speedups(speedups[~is_gone]))
    assert [cell.text for cell in find_line(view, "nearest_conv_tiled k3 s2")].count("–") == 4
    assert [cell.text for cell in find_line(view, "nearest_conv_fast k3 s2")].count("–") == 0


def test_costs_are_shares_of_forward_and_the_most_memory(speedups: pd.DataFrame) -> None:
    view = view_costs(average_speedups(speedups))
    assert len(view.headings) == 2 + 8 + 1
    assert [row[1].text for row in view.rows] == [
        *(f"{name} k3 s2" for name in TWINS),
        "transposed k3 s2",
        "transposed k4 s2",
    ]
    assert all(row[2].text.endswith("%") for row in view.rows)
    assert [row[-1].text for row in view.rows][:2] == ["1.01", "1.02"]


def test_a_share_that_a_setting_lacks_is_a_dash(speedups: pd.DataFrame) -> None:
    is_gone = (speedups["upsampler"] == "nearest_conv_tiled") & speedups["is_frozen"]
    cells = find_line(view_costs(average_speedups(speedups[~is_gone])), "nearest_conv_tiled k3 s2")
    assert [cell.text for cell in cells].count("–") == 4


def test_choices_are_marked_where_they_fall_short(speedups: pd.DataFrame) -> None:
    view = view_choices(compare_choices(speedups))
    assert len(view.rows) == 84
    shares = [row[-2] for row in view.rows]
    assert {cell.kind for cell in shares} == {"number", "noisy"}
    assert all(float(cell.sort) < 0.98 for cell in shares if cell.kind == "noisy")
    assert {row[4].text for row in view.rows} == {"tiled", "transposed"}


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
    assert "forward live, contiguous, 1 thread, float64, batch 2" in view_means(average_speedups(frame)).headings


def test_nothing_measured_says_nothing() -> None:
    empty = build_speedups([])
    assert describe_speedups(make_run_results(speedups=empty)) == list_failures(empty) == []
    assert (
        view_means(average_speedups(empty)).rows
        == view_choices(compare_choices(empty)).rows
        == view_costs(average_speedups(empty)).rows
        == ()
    )


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
