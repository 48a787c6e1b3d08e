import json
import math
import re
from typing import Any

import pandas as pd
import pytest

from deconvbench.analysis.comparison import COMPARISON_COLUMNS
from deconvbench.cli.output import OWN_SUMMARY
from deconvbench.report.comparison import (
    count_verdicts,
    describe_noise,
    format_markdown,
    format_text,
    list_notes,
    list_rows,
    order_differences,
    render_page,
)


def make(*rows: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))


NAN = math.nan
COMPARISON = make(
    ("unsure", "latency_s", 1.04, 1.0, 1.08, "inconclusive", "the interval reaches beyond ±5%; torch 1 against 2"),
    ("bad", "latency_s", 1.2, 1.1, 1.3, "slower", "torch 1 against 2"),
    ("worse", "latency_s", 1.5, 1.4, 1.6, "slower", "torch 1 against 2"),
    ("good", "latency_s", 0.5, 0.4, 0.6, "faster", "torch 1 against 2"),
    ("equal", "latency_s", 1.0, 0.99, 1.01, "same", "some replicates in NEW crashed: SIGBUS; torch 1 against 2"),
    ("good", "peak_memory_bytes", 2.0, NAN, NAN, "larger", "was 1 MiB, is 2 MiB; torch 1 against 2"),
    ("good", "phase_ripple", 0.0, NAN, NAN, "smaller", "was 1, is 0; torch 1 against 2"),
    ("broken", "latency_s", NAN, NAN, NAN, "slower", "ok in BASE, error: <b>a|b</b>\nmore in NEW"),
    ("gone", "latency_s", NAN, NAN, NAN, "inconclusive", "ok in BASE, absent in NEW"),
)
ORDER = ["broken", "worse", "bad", "good", "good", "good", "unsure", "gone"]
EQUAL = make(("equal", "latency_s", 1.0, 0.99, 1.01, "same", ""), ("equal", "macs", 1.0, NAN, NAN, "same", ""))


def test_verdicts_are_counted() -> None:
    assert count_verdicts(COMPARISON) == (
        "7 cases: 3 slower, 1 faster, 1 same, 2 inconclusive; memory, MACs and artifacts: 1 larger, 1 smaller"
    )
    assert count_verdicts(EQUAL) == (
        "1 case: 0 slower, 0 faster, 1 same, 0 inconclusive; memory, MACs and artifacts: no difference"
    )
    assert count_verdicts(EQUAL.iloc[:1]).endswith("not compared")


def test_what_got_worse_stands_on_top_and_what_is_the_same_is_left_out() -> None:
    assert list(order_differences(COMPARISON)["case_id"]) == ORDER


def test_what_holds_throughout_is_said_once() -> None:
    assert list_notes(COMPARISON) == [
        "throughout: torch 1 against 2",
        "equal called same: some replicates in NEW crashed: SIGBUS",
    ]
    assert list_notes(EQUAL) == []
    assert format_text(COMPARISON).count("torch 1 against 2") == 1


def test_a_single_row_keeps_its_reason() -> None:
    assert list_notes(COMPARISON.iloc[1:2]) == []
    assert "torch 1 against 2" in format_text(COMPARISON.iloc[1:2])


def test_reasons_of_several_rows_that_are_not_listed_are_counted() -> None:
    rows = [(f"c{i}", "latency_s", 1.0, 1.0, 1.0, "same", "odd" if i else "") for i in range(3)]
    assert list_notes(make(*rows)) == ["2 rows called same: odd"]


def test_rows_are_strict_json() -> None:
    comparison = make(
        *COMPARISON.itertuples(index=False), ("x", "latency_s", 1.0, 0.0, math.inf, "inconclusive", "")
    )
    rows = json.loads(json.dumps(list_rows(comparison), allow_nan=False))
    assert all(list(row) == list(COMPARISON_COLUMNS) for row in rows)
    assert [row["case_id"] for row in rows] == [*COMPARISON["case_id"], "x"]
    assert rows[7]["ratio"] is rows[7]["low"] is rows[7]["high"] is None
    assert (rows[1]["ratio"], rows[-1]["low"], rows[-1]["high"]) == (1.2, 0.0, None)


def test_text_has_columns_one_line_a_row_and_ends_with_the_count() -> None:
    lines = format_text(COMPARISON).splitlines()
    assert [line.split()[1] for line in lines[1 : len(ORDER) + 1]] == ORDER
    assert {line.find(row) for line, row in zip(lines[1:], ORDER, strict=False)} == {lines[0].find("case")}
    assert lines[2].split() == ["slower", "worse", "latency_s", "1.500", "1.400", "to", "1.600"]
    assert lines[-1] == count_verdicts(COMPARISON)


def test_text_without_differences_is_the_noise_floor_and_the_count() -> None:
    assert format_text(EQUAL).splitlines() == [describe_noise(EQUAL), count_verdicts(EQUAL)]


def test_the_noise_floor_is_told_where_there_are_intervals() -> None:
    assert describe_noise(EQUAL) == (
        "noise floor: intervals reach 1.0% to either side in the middle case, 1.0% in nine tenths; smaller "
        "changes are not seen"
    )
    assert not describe_noise(COMPARISON.iloc[5:])


def test_markdown_is_a_table_with_what_is_unsure_folded_away() -> None:
    text = format_markdown(COMPARISON, "B against A")
    sure, unsure = text.split("<details><summary>2 inconclusive</summary>\n\n")
    assert sure.startswith("### B against A\n\n7 cases: ")
    assert "| **slower** | `worse` | latency_s | 1.500 | 1.400 to 1.600 |  |" in sure
    assert r"ok in BASE, error: &lt;b&gt;a\|b&lt;/b&gt; more in NEW" in sure
    assert "`unsure`" not in sure
    assert "`unsure`" in unsure
    assert unsure.endswith("</details>\n")
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 7


def test_markdown_without_differences_is_one_line() -> None:
    assert format_markdown(EQUAL, "t") == (
        f"**t**: nothing changed: {count_verdicts(EQUAL)}. {describe_noise(EQUAL)}\n"
    )


def test_that_line_keeps_what_differs_between_the_environments() -> None:
    text = format_markdown(EQUAL, "a\nb", ["Python 3.11 against 3.12", "x" * 1000, "<b>"])
    assert text.count("\n") == 1
    assert "Python 3.11 against 3.12" in text
    assert len(text) < 900


@pytest.mark.parametrize("comparison", [EQUAL, COMPARISON], ids=["unchanged", "changed"])
def test_a_summary_is_known_as_one_of_our_files(comparison: pd.DataFrame) -> None:
    assert OWN_SUMMARY.match(format_markdown(comparison, "a: b").encode())


def test_markdown_fits_into_a_comment() -> None:
    case = "transposed_smoothed-k4-s2-c64x32-128x128-channels_last-train"
    rows = [(f"{case}-t{i}", "latency_s", 1.5, 1.4, 1.6, "slower", "x" * 40) for i in range(1, 1001)]
    text = format_markdown(make(*rows), "t")
    assert len(text) < 65536
    assert "and 800 more" in text


class TestPage:
    def test_it_fetches_nothing_and_escapes_what_it_is_given(self) -> None:
        page = render_page(COMPARISON, "<i>B</i>")
        assert "<i>" not in page
        assert "<b>a" not in page
        assert "error: &lt;b&gt;a|b&lt;/b&gt; more in NEW" in page
        assert not re.search(r"src=|https?:|url\(", page)
        assert re.findall(r'href="(.)', page) == ["#"]
        assert "default-src &#39;none&#39;" in page

    def test_rows_stand_in_order_with_their_verdicts(self) -> None:
        page = render_page(COMPARISON, "t")
        assert re.findall(r'<tr><td class="\w+">\w+</td><td>(\w+)</td>', page) == ORDER
        assert '<li class="slower"><b>3</b>slower</li>' in page

    def test_bars_stay_on_the_axis(self) -> None:
        wild = make(
            ("a", "latency_s", 1.0, 1e-9, 1e9, "inconclusive", ""),
            ("b", "latency_s", 1.0, 0.0, math.inf, "inconclusive", ""),
            ("c", "latency_s", 1.5, 1.2, 1.9, "slower", ""),
        )
        page = render_page(wild, "t")
        assert page.count("<svg") == 2
        assert 'd="M-100 0H100"' in page or 'd="M-100.0 0H100.0"' in page
        assert "0.50 and 2.00" in page

    @pytest.mark.parametrize("comparison", [EQUAL, EQUAL.iloc[:0]], ids=["no difference", "no row"])
    def test_without_differences_there_is_no_table(self, comparison: pd.DataFrame) -> None:
        page = render_page(comparison, "t")
        assert "What changed" not in page
        assert "Nothing changed." in page
        assert count_verdicts(comparison) in page

    def test_what_is_the_same_is_folded_away(self) -> None:
        before, folded = render_page(COMPARISON, "t").split("<details>")
        assert "<td>equal</td>" not in before
        assert "<summary>What is the same (1 row)</summary>" in folded
        assert "<td>equal</td>" in folded
        assert "<details>" not in render_page(COMPARISON.iloc[:3], "t")

    def test_differences_of_the_environment_have_a_section(self) -> None:
        page = render_page(COMPARISON, "t", ["Python 3.11 against <3.12>"])
        assert (
            "<h2>What differs between the environments</h2>\n<ul>\n<li>Python 3.11 against &lt;3.12&gt;</li>"
            in page
        )


HOSTILE = "\x1b[31m<script>alert(1)</script> [x](http://e) `c` a|b @me\u2028"


def test_strange_text_is_shown_and_not_obeyed_in_each_form() -> None:
    rows = [
        ("case-`1`", "latency_s", 1.5, 1.4, 1.6, "slower", HOSTILE),
        ("case-2", "latency_s", 1.0, 0.9, 1.1, "same", HOSTILE),
    ]
    frame = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))
    text, page = format_text(frame), render_page(frame, f"{HOSTILE}\udce9")
    markdown = format_markdown(frame, f"{HOSTILE}\udce9")
    for written in (text, page, markdown):
        assert not {"\x1b", "\u2028"} & set(written)
        assert r"\x1b" in written
        written.encode()
    assert "<script>" not in page
    assert "<script>" not in markdown
    assert re.search(r"(?<!\\)\]\(", markdown) is None
    assert "@me" not in markdown
    assert "http:" not in markdown
    (row,) = [line for line in markdown.splitlines() if line.startswith("| **slower**")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 7
    assert r"case-\`1\`" in row
