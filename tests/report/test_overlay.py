"""The page of several runs."""

import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deconvbench.analysis.overlay import overlay_runs
from deconvbench.errors import UsageError
from deconvbench.report.overlay import OVERLAY_NAME, RunFacts, render_overlay, write_overlay
from tests.analysis.test_overlay import spread, summarise_latencies

SCRIPT = "<script>alert(1)</script>"
SAMPLE = Path(__file__).parents[1] / "samples" / "before_packages" / "run"


def render(*latencies: dict[str, float], facts: dict[str, str] | None = None, **changes: Any) -> str:
    names = ["a", "b", "c"][: len(latencies)]
    overlaid = overlay_runs(
        {name: summarise_latencies(found) for name, found in zip(names, latencies, strict=True)}
    )
    runs = [RunFacts(name=name, facts=facts or {}, **changes) for name in names]
    return render_overlay(overlaid, runs)


def add_intervals(frame: pd.DataFrame, share: float) -> pd.DataFrame:
    return frame.assign(ratio_low=frame["ratio"] / (1 + share), ratio_high=frame["ratio"] * (1 + share))


def test_it_says_first_whether_the_order_is_kept() -> None:
    same = spread(1, 2, 3, 4, 5, 6)
    page = render(same, same)
    assert "a and b order the layers with a rank correlation of 1.00" in page
    assert page.index("rank correlation") < page.index("<img")


def test_it_fetches_nothing() -> None:
    page = render(spread(1, 2, 3), spread(1, 2, 3))
    assert not re.search(r"https?:|url\(", page)
    assert set(re.findall(r'(?:src|href)="([^"]{5})', page)) == {"#main", "data:"}
    assert "default-src &#39;none&#39;" in page


def test_names_are_data() -> None:
    overlaid = overlay_runs({name: summarise_latencies(spread(1, 2, 3)) for name in (SCRIPT, "b")})
    page = render_overlay(overlaid, [RunFacts(name=name, facts={}, hardware=SCRIPT) for name in (SCRIPT, "b")])
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_cases_whose_intervals_lie_apart_are_named_the_farthest_first() -> None:
    a, b = spread(1, 2, 3), spread(1, 4, 3.3)
    overlaid = overlay_runs({"a": summarise_latencies(a), "b": summarise_latencies(b)})
    runs = [RunFacts(name=name, facts={}) for name in "ab"]
    page = render_overlay(add_intervals(overlaid, 0.02), runs)
    far = page.index("nearest_conv-k3-s2-c4x2-8x8 costs 4.00 of its baseline in b, 2.00 in a.")
    assert far < page.index("bilinear_conv-k3-s2-c4x2-8x8 costs 3.30 of its baseline in b, 3.00 in a.")
    assert "In none of 2 cases with intervals in two runs do these lie apart." in render_overlay(
        add_intervals(overlaid, 1.0), runs
    )


def test_without_intervals_no_case_is_accused() -> None:
    assert "single differences may be noise" in render(spread(1, 2, 3), spread(1, 4, 3))


def test_what_differs_between_environments_is_folded() -> None:
    overlaid = overlay_runs({name: summarise_latencies(spread(1, 2)) for name in "ab"})
    page = render_overlay(
        overlaid, [RunFacts(name="a", facts={"cpu": "X"}), RunFacts(name="b", facts={"cpu": "Y"})]
    )
    assert "<summary>b against a: 1 difference of the environment</summary>" in page
    assert "<li>cpu X against Y</li>" in page
    assert "no differences of the environment" in render(spread(1, 2), spread(1, 2))


def test_the_table_has_the_largest_difference_first_and_a_gap_where_a_run_has_no_case() -> None:
    page = render(spread(1, 2, 3), spread(1, 2, 6), spread(1, 2))
    rows = re.findall(r'<tr><th scope="row">([a-z_]+)-k3[^<]*</th>(.*?)<td class="number">([0-9.]+)</td>', page)
    assert [(name, spread_) for name, _, spread_ in rows][:1] == [("bilinear_conv", "2.000")]
    assert "<td>–</td>" in rows[0][1]


def test_the_same_run_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is given twice"):
        write_overlay([SAMPLE, SAMPLE], tmp_path / "x.html")


def test_the_report_of_a_run_is_not_written_over(tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(SAMPLE, other)
    (other / "report.html").write_text("mine")
    with pytest.raises(UsageError, match="is the report of one of the runs; name another file"):
        write_overlay([SAMPLE, other], other / "report.html")
    assert (other / "report.html").read_text() == "mine"


def test_runs_with_one_folder_name_are_told_apart_by_their_parents(tmp_path: Path) -> None:
    folders = []
    for name in ("one", "two"):
        folder = tmp_path / name / "run"
        folder.mkdir(parents=True)
        for file in ("journal.jsonl", "run.json"):
            (folder / file).write_bytes((SAMPLE / file).read_bytes())
        folders.append(folder)
    page = write_overlay(folders)
    assert page == folders[1] / OVERLAY_NAME
    assert "<title>deconvbench: one/run and two/run</title>" in page.read_text()
