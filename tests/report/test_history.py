"""A history as text, Markdown and page."""

import json
import math
import re
from typing import Any

import numpy as np
import pytest

from bench.history_simulation import make_commits, name_cases
from deconvbench.analysis.history import History, MeasuredCommit, find_history
from deconvbench.report import history
from deconvbench.report.history import (
    count_changes,
    describe_history,
    format_history,
    format_history_markdown,
    list_cells,
    render_history,
)
from tests.analysis.test_commit_series import make_side
from tests.analysis.test_history import draw, rename

CASES = name_cases(8)
SCRIPT = "<script>alert(1)</script>"


def make_changed(*, commits: int = 30, at: int = 12) -> History:
    logs = draw(commits=commits)
    logs[3, at:] += math.log(1.2)
    logs[5, at + 4 :] -= math.log(1.5)
    return find_history(make_commits(logs, with_ratios=True))


def make_unchanged() -> History:
    return find_history(make_commits(draw(), with_ratios=True))


def test_what_changed_stands_in_a_table_with_its_commits() -> None:
    text = format_history(make_changed())
    head, slower, faster, *rest = text.splitlines()
    assert head.split() == ["verdict", "case", "metric", "after/before", "interval", "commits", "reason"]
    assert re.match(rf"slower +{CASES[3]} +latency_s +1\.2\d\d +1\.\d+ to 1\.\d+ +11\.\.12$", slower)
    assert faster.startswith("faster")
    assert rest[-1] == (
        "8 cases over 30 commits: 1 slower, 1 faster, 6 same, 0 inconclusive; memory, MACs and artifacts: no "
        "difference"
    )
    # what holds for all rows is said once
    assert text.count(f"by the ratio to {CASES[0]}") <= 2


def test_without_change_there_is_no_table() -> None:
    text = format_history(make_unchanged())
    assert "verdict" not in text
    assert text.splitlines()[-1].startswith("8 cases over 30 commits: 0 slower, 0 faster, 8 same")


def test_too_few_commits_are_a_note_and_not_a_row_each() -> None:
    logs = draw(commits=3)
    logs[3, 2] += math.log(1.2)
    found = find_history(make_commits(logs, with_ratios=False))
    note, spread, counts = format_history(found).splitlines()
    assert note == (
        "change points need 6 commits or more, which no case has so far; to compare two commits, use deconvbench "
        "compare"
    )
    assert re.fullmatch(
        rf"last commit over first, not tested: median [01]\.\d+, from 0\.9\d+ \(.*\) to 1\.\d+ \({CASES[3]}\)",
        spread,
    )
    assert counts.startswith("8 cases over 3 commits: 0 slower, 0 faster, 0 same, 8 inconclusive")
    markdown = format_history_markdown(found, "History of a to b")
    assert markdown.startswith("### History of a to b\n\n8 cases over 3 commits")
    assert "nothing changed" not in markdown
    assert "|" not in markdown
    page = render_history(found, "History of a to b")
    assert "too few commits to search all cases" in page
    assert "change points need 6 commits" in page
    assert "Nothing changed." not in page


def test_a_case_that_came_later_is_a_note_beside_the_rows() -> None:
    logs = draw(commits=30)
    logs[3, 12:] += math.log(1.2)
    commits = make_commits(logs, with_ratios=False)
    late = make_side({**commits[-1].sides[0].latencies_s, "new": [1.0]}, machine_ids=frozenset(["simulated"]))
    found = find_history([*commits[:-1], MeasuredCommit(commit=commits[-1].commit, sides=[late])])
    assert [cells[:2] for cells in list_cells(found)] == [("slower", CASES[3])]
    text = format_history(found)
    assert "change points need 6 commits or more, which 1 of 9 cases does not have so far" in text
    # of one commit there is nothing to compare
    assert "last commit over first" not in text


def test_markdown_is_a_table_or_one_line() -> None:
    changed = format_history_markdown(make_changed(), "History of a to b")
    assert changed.startswith("### History of a to b\n\n8 cases over 30 commits")
    assert f"| **slower** | `{CASES[3]}` | latency_s | " in changed
    assert "| `11..12` |" in changed
    same = format_history_markdown(make_unchanged(), "History of a to b")
    assert same.startswith("**History of a to b**: nothing changed: 8 cases")
    assert same.count("\n") == 1


def test_a_wide_range_says_how_many_commits_it_has() -> None:
    # far from the noise a change lies between neighbours; near it, among a few commits
    for seed in range(20):
        logs = draw(2, spread=0.2, commits=60, seed=seed)
        logs[1, 30:] += 0.3
        found = find_history(make_commits(logs, with_ratios=False))
        row = next(iter(found.changes[found.changes["commits"] > 1].to_dict("records")), None)
        if row is not None:
            break
    assert row is not None
    (text,) = [cells[5] for cells in list_cells(found) if cells[5].startswith(row["last_before"])]
    assert text == f"{row['last_before']}..{row['first_after']} ({row['commits']} commits)"
    markdown = format_history_markdown(found, "x")
    assert f"`{row['last_before']}..{row['first_after']}` ({row['commits']} commits)" in markdown


def test_several_machines_are_named_in_each_row() -> None:
    here, there = draw(2), draw(2, seed=1)
    there[1, 20:] += 0.3
    pairs = zip(make_commits(here, with_ratios=False), make_commits(there, with_ratios=False), strict=True)
    found = find_history(
        [MeasuredCommit(commit=a.commit, sides=[a.sides[0], rename(b.sides[0], "there")]) for a, b in pairs]
    )
    (cells,) = list_cells(found)
    assert cells[-1] == "there"
    names = {series["name"] for series in describe_history(found)["series"]}
    assert f"{CASES[1]}, there" in names


def test_the_page_begins_with_what_changed_and_fetches_nothing() -> None:
    page = render_history(make_changed(), "History of 0 to 29")
    assert "<title>deconvbench: History of 0 to 29</title>" in page
    assert page.index("What changed") < page.index("One case, commit by commit") < page.index("<img")
    assert f'<a href="#case=1">{CASES[3]}</a>' in page or f'<a href="#case=0">{CASES[3]}</a>' in page
    assert "default-src &#39;none&#39;" in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page.split("<main")[1])


def test_the_chart_has_every_point_and_those_that_changed_first() -> None:
    found = make_changed()
    chart = describe_history(found)
    assert chart["commits"] == [str(place) for place in range(30)]
    assert [series["case"] for series in chart["series"][:2]] == [CASES[5], CASES[3]]
    assert all(len(series["points"]) == 30 for series in chart["series"])
    assert chart["leftOut"] == 0
    changed = chart["series"][1]
    assert changed["title"].startswith(f"{CASES[3]} changed to 1.2")
    assert [(change["from"], change["to"], change["verdict"]) for change in changed["changes"]] == [
        (11, 12, "slower")
    ]
    place, cost, low, high, level, text = changed["points"][20]
    assert (place, level) == (20, pytest.approx(1.2, abs=0.02))
    assert low < cost < high
    assert re.fullmatch(r"[0-9.]+ times \(95 %: [0-9.]+ times to [0-9.]+ times\)", text)
    assert chart["series"][-1]["title"].endswith("did not change")


def test_the_page_holds_the_charts_data_as_strict_json() -> None:
    page = render_history(make_unchanged(), "x")
    found = re.search(r'<script type="application/json" id="history-data">(.*?)</script>', page)
    assert found is not None
    assert len(json.loads(found[1], parse_constant=pytest.fail)["series"]) == 8


def test_cases_that_do_not_fit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_POINTS", 70)
    chart = describe_history(make_changed())
    assert (len(chart["series"]), chart["leftOut"]) == (2, 6)
    assert "6 more cases do not fit into this page" in render_history(make_changed(), "x")


def test_points_of_single_replicates_have_no_interval() -> None:
    logs = np.asarray(draw(2)[:, :, :1])
    (series, *_) = describe_history(find_history(make_commits(logs, with_ratios=False)))["series"]
    assert series["points"][0][2:4] == [None, None]
    assert "95 %" not in series["points"][0][5]
    assert series["unit"] == "latency"


def test_names_are_data() -> None:
    sides: list[Any] = [make_side({SCRIPT: [1.0, 1.1]}, machine_ids=frozenset([SCRIPT]))]
    found = find_history([MeasuredCommit(commit=f"{SCRIPT}{place}", sides=sides) for place in range(3)])
    page = render_history(found, SCRIPT)
    assert SCRIPT not in page
    # commits that are too few to be judged are one line
    text = format_history_markdown(found, SCRIPT)
    assert "&lt;script&gt;" in text
    assert SCRIPT not in text
    # of more, a row has the name as code
    values = [1.0 + 0.001 * (place % 3) + (place >= 15) for place in range(30)]
    sides = [[make_side({SCRIPT: [value]})] for value in values]
    found = find_history([MeasuredCommit(commit=f"c{place}", sides=each) for place, each in enumerate(sides)])
    assert "`<script>" in format_history_markdown(found, SCRIPT)
    assert "\n### <script>" not in format_history_markdown(found, SCRIPT)


def test_memory_is_counted_apart() -> None:
    commits = [MeasuredCommit(commit=f"c{place}", sides=[make_side({"a": [1.0]})]) for place in range(2)]
    for commit, peak in zip(commits, (10e6, 20e6), strict=True):
        object.__setattr__(commit.sides[0], "metrics", {"a": {"peak_memory_bytes": peak}})
    found = find_history(commits)
    assert count_changes(found).endswith("memory, MACs and artifacts: 1 larger")
    assert "c0..c1" in format_history(found)
