"""The page: whole, well formed, self-contained, whatever the run."""

import json
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deconvbench.analysis.results import RunResults
from deconvbench.plots import draw_all, encode_figures
from deconvbench.plots.article import draw_figure_4
from deconvbench.plots.style import make_figure
from deconvbench.records.metrics import METRICS
from deconvbench.report.claims import ClaimRow
from deconvbench.report.embedding import CHART_LIBRARY, gather_parts, load_asset
from deconvbench.report.page import render_report
from deconvbench.tables.trained_networks import MAIN_NETWORK
from tests.made_results import make_trained
from tests.plots.made_tables import (
    add_trained,
    make_empty_results,
    make_layer_quality,
    make_quality,
    make_run_results,
    make_summary,
)

SCRIPTS = ("page.js", "charts.js", "table.js", "sorting.js")
VOID = {"meta", "img", "br", "link", "input", "hr"}
RUN_INFO: dict[str, Any] = {
    "schema_version": 1,
    "created_at": "2026-03-01T12:00:00+00:00",
    "finished_at": "2026-03-01T12:07:21+00:00",
    "command": ["deconvbench", "run", "-k", "nearest and k3"],
    "grid": {"name": "quick", "axes": {"height": [16, 32]}, "replicates": 3},
    "seed": 7,
    "measuring_share": 0.83,
    "environment": {
        "cpu": "Fast <CPU> & Co",
        "cores": 2,
        "memory_bytes": 2**33,
        "torch_version": "2.13.0",
        "code_version": "0.1.0+g1a2b3c4",
        "gpus": [{"name": "GPU X"}, {"memory_bytes": 1}],
    },
}


class Page(HTMLParser):
    """Checks that tags balance and collects what a test asks about."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(" ".join(data.split()))

    @property
    def words(self) -> str:
        return " ".join(part for part in self.text if part)

    def list_values(self, *names: str) -> Iterator[str]:
        return (value for _, name, value in self.attributes if name in names)


def read(tables: RunResults, run_info: dict[str, Any], pictures: dict[str, bytes] | None = None) -> Page:
    return Page(render_report(tables, run_info, pictures or {}))


@pytest.fixture(scope="module")
def html() -> str:
    layers = (("transposed", 3), ("nearest_conv", 3))
    few = make_run_results(make_summary(layers, (16, 32)), make_quality(("transposed",), (3, 4), (2, 3), 1))
    return render_report(make_run_results(), RUN_INFO, encode_figures(draw_all(few)))


def read_data(html: str, name: str) -> Any:
    return json.loads(html.partition(f'id="{name}">')[2].partition("</script>")[0])


def test_a_full_run_is_a_well_formed_page(html: str) -> None:
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert len(page.ids) == len(set(page.ids))
    for text in (
        "Upsampling layers: quick on Fast <CPU> & Co, 2026-03-01",
        "Fast <CPU> & Co, 2 cores, 8 GiB, GPU X",
        "2026-03-01 12:00 UTC",
        "7 min 21 s",
        "94 of 96 cases ok (1 oom, 1 timeout)",
        "83%",
        "git checkout 1a2b3c4 && python3 -m pip install .",
        "python3 -m pip install torch==2.13.0",
        "deconvbench run -k 'nearest and k3' --seed 7",
        "seed 7",
        "tried to allocate 3.2 GiB <big> & failed",
        "the cheapest layer without ripple at initialisation is conv_nearest k3 s2",
    ):
        assert text in page.words
    assert "The run did not finish" not in page.words


def test_the_answer_comes_first_then_the_tradeoff(html: str) -> None:
    page = Page(html)
    order = [page.ids.index(name) for name in ("answer", "tradeoff", "costs", "article", "gallery", "failures")]
    assert order == sorted(order)
    assert page.words.index("Take conv_nearest k3 s2") < page.words.index("Cost against quality")
    assert "What many use today, transposed k4 s2, takes" in page.words
    assert "Where edges must be smooth, take bilinear_conv k3 s2" in page.words


def test_the_title_tells_tabs_apart(html: str) -> None:
    assert "<title>deconvbench: quick on Fast &lt;CPU&gt; &amp; Co, 2026-03-01</title>" in html
    other = {**RUN_INFO, "grid": {"name": "full"}}
    assert "<title>deconvbench: full on" in render_report(make_empty_results(), other, {})


def test_every_picture_has_an_alternative_text_with_what_it_shows(html: str) -> None:
    page = Page(html)
    images = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    texts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    # three crops, and the maps over kernel size and stride
    assert len(images) == len(texts) == 4
    assert all(image.startswith("data:image/png;base64,") for image in images)
    assert [text for text in texts if "levels, PSNR" in text] == texts[1:3]
    assert "mean unevenness of variance" in texts[3]


def test_the_caption_of_the_maps_says_what_the_outline_means(html: str) -> None:
    words = Page(html).words
    assert "Outlined cells follow the article's advice: the stride divides the kernel" in words
    assert "what it does to a constant input" in words


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_can_be_chosen_and_says_how_to_read_it(metric: str) -> None:
    layers = (("transposed", 3), ("nearest_conv", 3))
    results = make_run_results(make_summary(layers, (16,)), add_trained(make_layer_quality(layers)))
    html = render_report(results, {}, {}, metrics=(metric,))
    charts = read_data(html, "chart-data")
    (found,) = [each for each in charts["metrics"] if each["key"] == metric]
    assert found["how"].startswith(METRICS[metric].heading_of_tradeoff)
    assert found["best"] == METRICS[metric].best
    assert charts["start"]["metric"] == metric
    assert f'<option value="{metric}">' in html


def test_where_trained_quality_comes_from_is_said() -> None:
    layers = (("transposed", 3), ("nearest_conv", 3))
    tables = make_run_results(make_summary(layers, (16,)), add_trained(make_layer_quality(layers)))
    page = Page(render_report(tables, RUN_INFO, {}, origin="Trained on the moon."))
    assert "Trained on the moon." in page.words
    assert "where it comes from was not recorded" in read(tables, RUN_INFO).words
    assert "Moon" not in Page(render_report(make_run_results(), RUN_INFO, {}, origin="Moon")).words


def test_without_training_the_page_says_how_to_get_it(html: str) -> None:
    words = Page(html).words
    assert "Train with: deconvbench train , then write this report again." in words
    assert "not recorded" not in words


def test_both_tasks_are_shown(tmp_path: Path) -> None:
    other = replace(MAIN_NETWORK, task="super-resolution")
    layers = (("transposed", 3), ("nearest_conv", 3))
    trained = make_trained(tmp_path / "shipped", layers, networks=(MAIN_NETWORK, other))
    page = Page(render_report(make_run_results(), RUN_INFO, {}, trained=trained))
    assert "2 layers were trained; super-resolution: transposed k3 s2 leaves" in page.words
    assert "in brackets the 95 % interval of the mean" in page.words
    for heading in ("super-resolution: PSNR (dB)", "reconstruction: PSNR (dB)"):
        assert heading in page.words
    own = make_trained(tmp_path / "experiments", (("transposed", 3),))
    page = Page(render_report(make_run_results(), RUN_INFO, {}, trained=own, shipped=trained))
    assert "super-resolution: PSNR (dB)" in page.words


def make_claim(**changes: Any) -> ClaimRow:
    row: dict[str, Any] = {
        "id": 5, "claim": "Cells are visited <4> times.", "source": "Figure 4", "verdict": "supported",
        "sentence": "1, 2 & 4 times.", "figure": "figure_4",
    }  # fmt: skip
    return ClaimRow(**{**row, **changes})


def test_the_claims_table_is_a_table_with_links() -> None:
    claims = [
        make_claim(),
        make_claim(id=7, verdict="undecided", figure="figure_7"),
        make_claim(id=14, verdict="refuted", figure=None),
        make_claim(id=6, verdict="partly", figure="latency"),
    ]
    pictures = encode_figures({"figure_4": draw_figure_4()}) | {"latency": b"png"}
    page = Page(
        render_report(make_run_results(), {}, pictures, claims=claims, article_address="report-article.html")
    )
    assert "4 claims: 1 supported, 1 partly, 1 refuted, 1 undecided" in page.words
    assert "5 Cells are visited <4> times. Figure 4 ✓ supported 1, 2 & 4 times. Figure 4 7" in page.words
    assert "? undecided 1, 2 & 4 times. Figure 7 (not drawn)" in page.words
    assert "✗ refuted 1, 2 & 4 times. –" in page.words
    links = list(page.list_values("href"))
    assert "report-article.html#figure-figure_4" in links
    assert "#costs" in links
    assert "deconvbench claims" not in page.words


def test_without_a_claims_table_the_command_is_named() -> None:
    assert (
        "Evaluate them with: deconvbench claims , then write this report again."
        in read(make_run_results(), {}).words
    )
    assert "0 claims: none" in Page(render_report(make_run_results(), {}, {}, claims=())).words


def test_nothing_is_fetched(html: str) -> None:
    page = Page(html)
    for value in page.list_values("src", "href", "srcset", "action", "data"):
        assert value.startswith(("data:", "#"))
    for forbidden in ("@import", "<link", "<iframe", "<object"):
        assert forbidden not in html.replace(load_asset("vendor/d3.min.js"), "")
    (policy,) = (value for value in page.list_values("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not {"'unsafe-inline'", "'unsafe-eval'"} & {*policy.split()}


def test_files_are_linked_only_where_they_are_beside_the_page() -> None:
    assert 'href="table.csv"' in render_report(make_run_results(), {}, {}, has_files=True)
    assert 'href="table.csv"' not in render_report(make_run_results(), {}, {})


def test_links_within_the_page_lead_somewhere(html: str) -> None:
    page = Page(html)
    anchors = [value[1:] for value in page.list_values("href")]
    assert anchors
    assert set(anchors) <= set(page.ids)


def test_text_from_the_run_is_escaped() -> None:
    hostile = "<script>alert('x')</script> & \"quoted\""
    summary = make_summary().assign(message=hostile)
    environment = {"cpu": hostile, hostile: hostile}
    info = {"environment": environment, "command": [hostile], "grid": {"name": hostile}, "created_at": hostile}
    html = render_report(make_run_results(summary), info, {})
    assert "<script>alert" not in html
    assert html.count("<script>") == len(gather_parts(scripts=(*CHART_LIBRARY, *SCRIPTS)).scripts)
    assert hostile in Page(html).words
    assert read_data(html, "table-data")["rows"]


def test_an_empty_run_says_so_in_sentences() -> None:
    tables = make_empty_results()
    page = read(tables, {}, encode_figures(draw_all(tables)))
    for sentence in (
        "Nothing was measured: the run has no finished case.",
        "The run did not finish",
        "Nothing was timed, so no layer can be recommended.",
        "No case has a latency, so there is no cost to draw.",
        "No artifacts were measured in this run.",
        "No case failed.",
        "No measurement was marked noisy.",
        "No environment was recorded.",
        "The command was not recorded.",
        "none finished",
    ):
        assert sentence in page.words
    assert "None" not in page.words


def test_a_run_where_every_cell_failed_lists_the_reasons() -> None:
    numbers = make_summary().select_dtypes("float").columns
    summary = make_summary().assign(status="crashed", message="SIGSEGV", noisy=False)
    summary[numbers] = float("nan")
    tables = make_run_results(summary, make_quality().iloc[:0])
    page = read(tables, RUN_INFO, encode_figures(draw_all(tables)))
    assert "Every case failed; the reasons are listed below." in page.words
    assert "0 of 96 cases ok (96 crashed)" in page.words
    assert "SIGSEGV" in page.words
    assert "No case has a latency" in page.words


def test_a_killed_and_resumed_run_says_so() -> None:
    info = {**RUN_INFO, "finished_at": None, "resumed": [{"at": "2026-03-01T12:05:00+00:00"}]}
    words = read(make_run_results(), info).words
    assert "The run did not finish" in words
    assert "The run was resumed 1 time." in words
    assert "Took" not in words


@pytest.mark.parametrize(
    ("info", "shown"),
    [
        pytest.param({"command": "deconvbench run"}, "deconvbench run", id="a command in one piece"),
        pytest.param({"command": 7}, "The command was not recorded.", id="no command"),
        pytest.param({"created_at": "yesterday"}, "yesterday", id="a date that is none"),
        pytest.param({"created_at": "2026-03-01T12:00:00"}, "2026-03-01 12:00 UTC", id="a date without zone"),
        pytest.param({"environment": None, "grid": []}, "Upsampling layers: a run", id="odd types"),
        pytest.param({"environment": {"machine_id": "abc"}}, "Machine abc", id="a machine without name"),
        pytest.param({"environment": {"accelerator": "TPU"}}, "Machine TPU", id="an accelerator by name"),
        pytest.param({"environment": {"accelerator": {"name": "H"}}}, "Machine H", id="an accelerator described"),
        pytest.param(
            {"environment": {"accelerator": {"type": "cuda", "devices": [{"name": "H"}, {"name": "A"}]}}},
            "Machine H, A",
            id="accelerators as they are recorded",
        ),
    ],
)
def test_half_filled_descriptions_are_rendered(info: dict[str, Any], shown: str) -> None:
    assert shown in read(make_empty_results(), info).words


SETTLED = "settled; huge pages malloc; pinned"


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        ([SETTLED, SETTLED, SETTLED], f"Conditions {SETTLED} Grid"),
        ([SETTLED, "settled", SETTLED], f"Conditions {SETTLED} (2 of 3 timings), settled (1 of 3 timings) Grid"),
        ([None, None, None], "Conditions system Grid"),
    ],
    ids=["all alike", "not all alike", "not recorded"],
)
def test_the_conditions_of_timing_stand_beside_machine_and_code(texts: list[str | None], shown: str) -> None:
    results = make_run_results()
    table = results.table.iloc[:3].assign(conditions=pd.Series(texts, dtype="str"))
    assert shown in read(replace(results, table=table), {**RUN_INFO, "conditions": "system"}).words


def test_a_figure_of_ones_own_is_shown_too() -> None:
    page = read(make_empty_results(), {}, encode_figures({"my_figure": make_figure(1.0)}))
    assert "my figure" in page.words
    assert any(value.startswith("data:image/png") for value in page.list_values("src"))
