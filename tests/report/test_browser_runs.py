"""Runs that are not as usual, in a real browser: small, failed, large, hostile, of several devices, or older."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser

from deconvbench.analysis.results import RunResults
from deconvbench.records.schema import LATER_COLUMNS, RATIO_COLUMNS
from deconvbench.report.page import render_report
from tests.plots.made_tables import add_trained, make_layer_quality, make_quality, make_run_results, make_summary
from tests.report.browsing import Visit, visit
from tests.report.test_page import RUN_INFO

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAIR = (("transposed", 4), ("nearest_conv", 3))
HOSTILE = "</script><script>globalThis.ran = 1</script><img src=x onerror=globalThis.ran=1>"
LONG = "x" * 5_000


def write(path: Path, results: RunResults, info: dict[str, Any] | None = None) -> Path:
    path.write_text(render_report(results, RUN_INFO if info is None else info, {}), encoding="utf-8")
    return path


def make_results(summary: pd.DataFrame) -> RunResults:
    return make_run_results(summary, add_trained(make_layer_quality(PAIR)))


def check_fits(found: Visit) -> None:
    width = found.page.viewport_size
    assert width is not None
    assert found.run("document.documentElement.scrollWidth") <= width["width"]


def test_a_single_case(browser: Browser, tmp_path: Path) -> None:
    summary = make_summary(PAIR[1:], (16,), ("forward",))
    with visit(browser, write(tmp_path / "one.html", make_results(summary))) as found:
        assert found.count("#chart-tradeoff a") == 1
        assert found.count("#cases tbody tr") == 1
        assert "Take nearest_conv k3 s2" in found.text(".say")
        assert "nearest_conv k3 s2 takes" in found.text("#title-latency")
        check_fits(found)


def test_a_run_without_any_case_that_is_ok(browser: Browser, tmp_path: Path) -> None:
    summary = make_summary(PAIR, (16,)).assign(status="crashed", message="SIGSEGV", noisy=False)
    summary[summary.select_dtypes("float").columns] = float("nan")
    with visit(browser, write(tmp_path / "none.html", make_results(summary))) as found:
        assert found.count("#chart-tradeoff") == 0
        assert "so there is no cost to draw" in found.text("#tradeoff")
        assert "Every case failed" in found.text(".state")
        assert found.count("#cases tbody tr") == 4
        assert found.count("#cases td.failed") == 4


def test_an_empty_run(browser: Browser, tmp_path: Path) -> None:
    results = make_run_results(make_summary().iloc[:0], make_quality().iloc[:0])
    with visit(browser, write(tmp_path / "empty.html", results, {})) as found:
        assert "Nothing was timed" in found.text(".say")
        assert found.count("#cases") == 0


def test_three_devices(browser: Browser, tmp_path: Path) -> None:
    devices = ("cpu", "cuda", "mps")
    summary = pd.concat([make_summary(PAIR, (16,), device=device) for device in devices], ignore_index=True)
    with visit(browser, write(tmp_path / "three.html", make_results(summary))) as found:
        assert found.run("[...document.querySelector('[name=device]').options].map(o => o.value)") == [*devices]
        for device in devices:
            found.page.select_option('[name="device"]', device)
            assert found.count("#chart-tradeoff a") == 2
        found.page.fill("#filter-device", "mps")
        assert found.count("#cases tbody tr") == 4


@pytest.mark.parametrize("name", [HOSTILE, LONG], ids=["script", "long"])
@pytest.mark.parametrize("width", [390, 1440])
def test_names_of_strangers_are_texts_and_fill_no_page(
    browser: Browser, tmp_path: Path, name: str, width: int
) -> None:
    summary = make_summary(PAIR, (16,), ("forward",))
    summary["upsampler"] = summary["upsampler"].mask(summary["upsampler"] == "transposed", name)
    summary = summary.assign(
        case_id=[f"{name}{index}" for index in range(len(summary))], message=name, noise_reason=name, noisy=True,
        kernel=name, machine_id=name, conditions=name,
    )  # fmt: skip
    failed = summary.assign(status="error", case_id="f" + name)
    results = make_results(pd.concat([summary, failed], ignore_index=True))
    info = {
        **RUN_INFO, "command": [name], "grid": {"name": name, name: name}, "created_at": name,
        "environment": {"cpu": name, name: name, "torch_version": name, "code_version": name},
    }  # fmt: skip
    size = {"width": width, "height": 900}
    with visit(browser, write(tmp_path / "strange.html", results, info), viewport=size) as found:
        assert found.run("globalThis.ran") is None
        assert found.count("body img[src=x]") == 0
        assert found.count("#chart-tradeoff svg") == 1
        for index in range(2):
            found.page.locator("#chart-tradeoff a").nth(index).focus()
        found.page.keyboard.press("Enter")
        assert found.count("#cases tr[aria-current=true]") == 1
        assert found.run("document.getElementById('main').scrollHeight") < 12_000 * (1440 / width) ** 0.5
        check_fits(found)


def test_ten_thousand_cases_keep_the_page_usable(browser: Browser, tmp_path: Path) -> None:
    few = make_summary(PAIR, tuple(range(8, 108)), ("forward", "train"))
    summary = pd.concat(
        [few.assign(batch=batch, case_id=few["case_id"] + f"-b{batch}") for batch in range(1, 26)],
        ignore_index=True,
    )
    assert len(summary) == 10_000
    results = make_run_results(summary, add_trained(make_layer_quality(PAIR)))
    path = tmp_path / "large.html"
    path.write_text(render_report(results, RUN_INFO, {}, has_files=True), encoding="utf-8")
    assert path.stat().st_size < 20e6
    with visit(browser, path) as found:
        assert "5000 more cases are in summary.csv" in found.text("#summary")
        assert found.count('#summary a[href="table.csv"]') == 1
        assert found.count("#cases tbody tr") == 100
        found.page.click("#table-more")
        assert found.count("#cases tbody tr") == 600
        found.page.fill("#filter-size", "50×50")
        found.page.wait_for_function("document.querySelectorAll('#cases tbody tr').length < 100")
        found.page.select_option('[name="batch"]', "7")
        assert "batch=7" in found.state
        assert found.count("#chart-tradeoff a") == 2


def test_tables_of_an_older_version(browser: Browser, tmp_path: Path) -> None:
    summary = make_summary(PAIR, (16, 32))
    for column in {*LATER_COLUMNS, *RATIO_COLUMNS} & {*summary}:
        summary[column] = pd.Series([None] * len(summary), dtype=summary[column].dtype)
    quality = make_layer_quality(PAIR)
    for column in set(LATER_COLUMNS) & {*quality}:
        quality[column] = float("nan")
    with visit(browser, write(tmp_path / "old.html", make_run_results(summary, quality), {})) as found:
        assert found.count("#chart-tradeoff a") == 2
        assert (
            found.run("[...document.querySelector('[name=y]').options].map(o => o.value)").count("checkerboard")
            == 0
        )
        found.page.select_option('[name="x"]', "ratio")  # there is none: latency stays
        assert found.count("#chart-tradeoff a") == 2
