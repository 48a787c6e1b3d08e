"""The report in a real browser: every switch, sort, search, filter, hover, focus, permalink, copy and export."""

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from deconvbench.plots import draw_artifact_maps, encode_figures
from deconvbench.report.claims import ClaimRow
from deconvbench.report.page import render_report
from deconvbench.tables.trained import load_shipped
from tests.plots.made_tables import add_trained, make_layer_quality, make_quality, make_run_results, make_summary
from tests.report.browsing import Visit, visit
from tests.report.test_page import RUN_INFO

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LAYERS: tuple[tuple[str, int | None], ...] = (
    ("transposed", 3),
    ("transposed", 4),
    ("nearest_conv", 3),
    ("nearest_conv_fast", 3),
    ("conv_bilinear", 3),
    ("bilinear_conv", 3),
    ("subpixel", 3),
    ("mine", 3),
)


def make_settings() -> Any:
    """Eight layers in settings that differ in all that the tradeoff switches by."""
    quality = add_trained(make_layer_quality(LAYERS))
    summary = pd.concat(
        [
            make_summary(LAYERS, (16, 64), ("forward", "train")),
            make_summary(LAYERS, (64,), ("forward",), in_channels=128, out_channels=64),
            make_summary(LAYERS, (64,), ("forward",), dtype="bfloat16"),
            make_summary(LAYERS, (64,), ("forward",), device="cuda"),
        ],
        ignore_index=True,
    )
    return make_run_results(summary, quality)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    maps = draw_artifact_maps(make_quality(("transposed",), (3, 4), (2, 3), 1), upsamplers=("transposed",))
    pictures = encode_figures({"artifact_maps": maps})
    claim = ClaimRow(id=1, claim="c", source="s", verdict="partly", sentence="so", figure="latency")
    html = render_report(
        make_settings(),
        RUN_INFO,
        pictures,
        claims=[claim],
        trained=load_shipped(),
        article_address="report-article.html",
        has_files=True,
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Browser, report: Path) -> Any:
    with visit(browser, report) as found:
        yield found


def choose(found: Visit, name: str, value: str) -> None:
    found.page.select_option(f'#switches [name="{name}"]', value)


def list_points(found: Visit) -> list[str]:
    return list(
        found.run(
            "[...document.querySelectorAll('#chart-tradeoff a')].map(a => a.getAttribute('aria-label')"
            " ?? a.firstElementChild.getAttribute('aria-label'))"
        )
    )


def test_the_first_screen_holds_the_answer_and_the_tradeoffs_top(opened: Visit) -> None:
    assert opened.text(".say li:first-child").startswith("Take conv_bilinear k3 s2 (")
    for selector in (".small-table", ".crops img >> nth=0", "#switches", "#title-tradeoff"):
        box = opened.page.locator(selector).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 900
    box = opened.page.locator("#chart-tradeoff svg").bounding_box()
    assert box is not None
    assert box["y"] < 850


@pytest.mark.parametrize(
    ("name", "value", "marks"),
    [
        ("device", "cuda", "device=cuda"),
        ("size", "16×16", "size=16×16"),
        ("channels", "128 → 64", "channels=128 → 64"),
        ("step", "train", "step=train"),
        ("dtype", "bfloat16", "dtype=bfloat16"),
        ("y", "noise_gain_cv", "y=noise_gain_cv"),
        ("x", "ratio", "x=ratio"),
        ("xs", "linear", "xs=linear"),
        ("ys", "log", "ys=log"),
    ],
)
def test_every_switch_draws_anew_and_is_in_the_address(
    browser: Browser, report: Path, opened: Visit, name: str, value: str, marks: str
) -> None:
    before = opened.run("document.querySelector('#chart-tradeoff').innerHTML")
    choose(opened, name, value)
    assert marks in opened.state
    if name != "x":  # these numbers were not timed beside a baseline: latency stays
        assert opened.run("document.querySelector('#chart-tradeoff').innerHTML") != before
    with visit(browser, report, opened.run("location.hash.slice(1)")) as again:
        assert again.page.input_value(f'#switches [name="{name}"]') == value
        assert again.run("document.querySelector('#chart-tradeoff').innerHTML") == opened.run(
            "document.querySelector('#chart-tradeoff').innerHTML"
        )
        assert again.text("#title-tradeoff") == opened.text("#title-tradeoff")


def test_switching_to_what_was_not_measured_together_takes_the_nearest(opened: Visit) -> None:
    choose(opened, "step", "train")
    choose(opened, "device", "cuda")  # trained nowhere but on the CPU
    assert opened.page.input_value('#switches [name="step"]') == "forward"
    assert len(list_points(opened)) == len(LAYERS)
    opened.page.click("#switches button[type=reset]")
    assert opened.state == ""
    assert opened.page.input_value('#switches [name="device"]') == "cpu"


def test_a_point_shows_its_numbers_on_hover_focus_and_tap(browser: Browser, report: Path, opened: Visit) -> None:
    link = opened.page.locator("#chart-tradeoff a").first
    link.hover()
    assert "latency" in opened.text("#card")
    assert opened.count("#card a") == 1
    opened.page.mouse.move(0, 0)
    last = opened.page.locator("#chart-tradeoff a").last
    last.focus()
    name = list_points(opened)[-1].partition(",")[0]
    assert opened.text("#card h3") == name
    assert "95 %" in opened.text("#card")
    opened.page.keyboard.press("Escape")
    assert "Point at a layer" in opened.text("#card")
    with visit(browser, report, has_touch=True, viewport={"width": 390, "height": 844}) as phone:
        phone.page.locator("#chart-tradeoff a").first.tap()
        assert "latency" in phone.text("#card")
        assert "row=" not in phone.state
        phone.page.locator("#card a").tap()
        assert phone.count("#cases tr[aria-current=true]") == 1


def test_a_point_leads_to_its_row_by_click_and_by_keyboard(opened: Visit) -> None:
    opened.page.locator("#chart-tradeoff a").first.focus()
    opened.page.keyboard.press("Enter")
    row = opened.page.locator("#cases tr[aria-current=true]")
    assert row.count() == 1
    assert row.evaluate("row => row === document.activeElement")
    assert "row=" in opened.state
    opened.page.fill("#table-search", "nothing has this name")
    assert row.count() == 0
    opened.page.locator("#chart-tradeoff a").nth(2).click()
    assert row.count() == 1  # the search that hid it is gone
    assert opened.page.input_value("#table-search") == ""


def test_layers_can_be_filtered_and_highlighted_and_ones_own_stands_out(opened: Visit) -> None:
    points = list_points(opened)
    assert any(point.startswith("mine k3 s2") for point in points)
    assert "★ mine k3 s2" in opened.text("#chart-tradeoff")
    assert "★ mine k3 s2" in opened.text("#chart-latency")
    assert "★ mine k3 s2" in opened.text(".small-table .own")
    opened.page.fill('#switches [name="layers"]', "nearest bilinear")
    assert 0 < len(list_points(opened)) < len(points)
    assert "layers=nearest bilinear" in opened.state
    opened.page.fill('#switches [name="layers"]', "none has it")
    assert opened.text("#chart-tradeoff") == "No layer has that name."
    opened.page.fill('#switches [name="layers"]', "")
    chip = opened.page.locator('#layer-chips button[data-layer="subpixel k3 s2"]')
    chip.focus()
    opened.page.keyboard.press("Enter")
    assert chip.get_attribute("aria-pressed") == "true"
    assert chip.evaluate("chip => chip === document.activeElement")
    assert "on=subpixel k3 s2" in opened.state
    shades = opened.run(
        "[...document.querySelectorAll('#chart-tradeoff a > *')].map(e => e.getAttribute('opacity'))"
    )
    assert sum(float(shade or 1) < 1 for shade in shades) == len(list_points(opened)) - 1


def test_dominated_layers_fade_and_the_frontier_does_not(opened: Visit) -> None:
    choose(opened, "y", "noise_gain_cv")
    shades = set(
        opened.run(
            "[...document.querySelectorAll('#chart-tradeoff a > *')].map(e => e.getAttribute('opacity') ?? '1')"
        )
    )
    assert len(shades) == 2


def read_column(found: Visit, key: str) -> list[str]:
    keys = found.run("[...document.querySelectorAll('#cases thead button')].map(b => b.id.slice(5))")
    return list(
        found.run(
            f"[...document.querySelectorAll('#cases tbody tr')].map(r => r.cells[{keys.index(key)}].textContent)"
        )
    )


def test_the_table_sorts_by_any_column(browser: Browser, report: Path, opened: Visit) -> None:
    opened.page.click("#sort-latency_s")
    assert opened.count("#cases th[aria-sort=ascending]") == 1
    rising = read_column(opened, "latency_s")
    opened.page.click("#sort-latency_s")
    assert opened.state == "sort=latency_s:desc"
    falling = read_column(opened, "latency_s")
    assert rising != falling
    assert sorted(rising) == sorted(falling)
    opened.page.focus("#sort-layer")
    opened.page.keyboard.press("Enter")
    names = read_column(opened, "layer")
    assert names == sorted(names)
    assert opened.run("document.activeElement.id") == "sort-layer"
    with visit(browser, report, "sort=latency_s:desc") as again:
        assert read_column(again, "latency_s") == falling


def test_the_table_searches_and_filters(browser: Browser, report: Path, opened: Visit) -> None:
    opened.page.fill("#table-search", "NEAREST train")
    names = read_column(opened, "layer")
    assert names
    assert all("nearest" in name for name in names)
    assert set(read_column(opened, "step")) == {"train"}
    opened.page.fill("#table-search", "")
    opened.page.fill("#filter-layer", "subpixel")
    assert opened.run("document.activeElement.id") == "filter-layer"
    assert set(read_column(opened, "layer")) == {"subpixel k3 s2"}
    opened.page.fill("#filter-latency_s", "> 5 ms")
    slow = len(read_column(opened, "layer"))
    opened.page.fill("#filter-latency_s", "5 ms..1 s")
    assert len(read_column(opened, "layer")) == slow
    opened.page.fill("#filter-latency_s", "<5ms")
    opened.page.fill("#filter-layer", "subpixel")
    fast = len(read_column(opened, "layer"))
    opened.page.fill("#filter-latency_s", "")
    assert slow + fast == len(read_column(opened, "layer"))
    with visit(browser, report, "f.layer=subpixel&q=train") as again:
        assert set(read_column(again, "layer")) == {"subpixel k3 s2"}
        assert again.page.input_value("#filter-layer") == "subpixel"
        again.page.click("#table-reset")
        assert again.state == ""
        assert len(set(read_column(again, "layer"))) == len(LAYERS)


def test_columns_can_be_chosen(opened: Visit) -> None:
    opened.page.click("summary:text-is('Columns')")
    opened.page.check('#table-columns input[value="macs"]')
    assert opened.count("#sort-macs") == 1
    assert "macs" in opened.state
    opened.page.uncheck('#table-columns input[value="macs"]')
    assert opened.count("#sort-macs") == 0


def test_the_table_is_exported_and_copied(browser: Browser, report: Path) -> None:
    with visit(browser, report, "f.layer=mine&sort=latency_s:asc", accept_downloads=True) as found:
        with found.page.expect_download() as download:
            found.page.click("#table-csv")
        assert download.value.suggested_filename == "cases.csv"
        rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
        assert {row["layer"] for row in rows} == {"mine k3 s2"}
        latencies = [float(row["latency_s"]) for row in rows]
        assert latencies == sorted(latencies)
        copied = (
            "globalThis.copied = ''; navigator.clipboard.writeText = async text => { globalThis.copied = text; }"
        )
        found.run(copied)
        found.page.click("#table-markdown")
        found.page.wait_for_function("globalThis.copied !== ''")
        lines = found.run("globalThis.copied").splitlines()
        assert lines[0].startswith("| layer | input")
        assert len(lines) == 2 + len(rows)
        assert r"mine k3 s2" in lines[2]
        assert "copied" in found.text("#status")
        # where the page may not use the clipboard
        found.run("void (navigator.clipboard.writeText = async () => { throw new Error('no'); })")
        found.run(
            "void (document.execCommand = word => { globalThis.copied = word + document.activeElement.value; })"
        )
        found.page.locator("button[data-copy=link]").first.click()
        found.page.wait_for_function("globalThis.copied.startsWith('copyfile://')")
        assert "f.layer=mine" in found.run("globalThis.copied")


def test_links_within_the_page_open_what_is_folded_and_keep_the_state(browser: Browser, report: Path) -> None:
    with visit(browser, report, "y=noise_gain_cv") as found:
        found.page.click("nav a:text-is('All cases')")
        assert found.state == "y=noise_gain_cv&at=summary"
        assert found.run("document.activeElement.id") == "summary"
        assert found.page.input_value('#switches [name="y"]') == "noise_gain_cv"
    with visit(browser, report, "metrics") as found:
        assert found.run("document.getElementById('metrics').open")
    with visit(browser, report) as found:
        found.run("location.hash = '#y=phase_ripple&q=mine'")
        found.page.wait_for_function("document.querySelector('#table-search').value === 'mine'")
        assert found.page.input_value('#switches [name="y"]') == "phase_ripple"


def test_all_is_reached_by_keyboard(opened: Visit) -> None:
    opened.page.keyboard.press("Tab")
    assert opened.run("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(200):
        opened.page.keyboard.press("Tab")
        reached.add(
            opened.run(
                "document.activeElement.id || document.activeElement.name || document.activeElement.tagName"
            )
        )
    assert {
        "y",
        "device",
        "layers",
        "table-search",
        "table-csv",
        "table-markdown",
        "sort-latency_s",
        "filter-layer",
        "a",
    } <= reached


AXE = {"rules": {"region": {"enabled": True}}, "resultTypes": ["violations"]}


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_axe_finds_nothing(browser: Browser, report: Path, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900}
    with visit(browser, report, viewport=size, color_scheme=scheme, bypass_csp=True) as found:
        found.run("for (const part of document.querySelectorAll('details')) part.open = true")
        answer = Axe().run(found.page, options=AXE)
        assert [violation["id"] for violation in answer.response["violations"]] == [], answer.generate_report()
        # nothing but tables scrolls sideways
        assert found.run("document.documentElement.scrollWidth") <= width


def test_the_policy_stops_what_is_not_named(browser: Browser, report: Path, tmp_path: Path) -> None:
    html = report.read_text(encoding="utf-8")
    spoilt = tmp_path / "spoilt.html"
    spoilt.write_text(html.replace("</main>", "<script>globalThis.ran = 1</script></main>"), encoding="utf-8")
    with visit(browser, spoilt) as found:
        assert found.run("globalThis.ran") is None
        assert found.count("#chart-tradeoff svg") == 1
        assert len(found.messages) == 1
        assert "Content Security Policy" in found.messages.pop()
        # what a tool runs in the page may use eval; what the page runs by itself may not
        found.run(
            "setTimeout(() => { try { globalThis.ran = eval('1'); } catch { globalThis.ran = 'refused'; } })"
        )
        found.page.wait_for_function("globalThis.ran")
        assert found.run("globalThis.ran") == "refused"
        found.messages.clear()
