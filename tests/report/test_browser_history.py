"""The page of a history in a real browser."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from bench.history_simulation import make_commits, name_cases
from deconvbench.analysis.history import find_history
from deconvbench.report.history import render_history
from tests.analysis.test_history import draw
from tests.report.browsing import Visit, visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CASES = name_cases(8)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = draw()
    logs[3, 12:] += math.log(1.2)
    logs[5, 16:] -= math.log(1.5)
    path = tmp_path_factory.mktemp("history") / "history.html"
    found = find_history(make_commits(logs, with_ratios=False))
    path.write_text(render_history(found, "History of 0 to 29"), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Visit]:
    with visit(browser, page) as found:
        yield found


def test_the_chart_begins_with_the_largest_change_and_draws_every_commit(opened: Visit) -> None:
    assert opened.text("#title-history").startswith(f"{CASES[5]} changed to 0.6")
    assert opened.count("#chart-history svg") == 1
    places = opened.run(
        "[...document.querySelectorAll('#chart-history circle')]"
        ".map(dot => Math.round(dot.getBoundingClientRect().x))"
    )
    assert len(set(places)) >= 30


def test_a_case_is_chosen_by_switch_and_by_the_table(opened: Visit) -> None:
    opened.page.locator('a[href="#case=1"]').first.click()
    assert opened.text("#title-history").startswith(f"{CASES[3]} changed to 1.2")
    assert opened.state == "case=1"
    opened.page.locator("select[name=case]").select_option("0")
    assert opened.text("#title-history").startswith(CASES[5])
    assert opened.state == ""


def test_each_commit_is_reached_by_keyboard(opened: Visit) -> None:
    assert opened.text("#card dd >> nth=0") == "29"
    opened.page.locator("input[name=commit]").focus()
    for _ in range(13):
        opened.page.keyboard.press("ArrowLeft")
    assert opened.text("#card dd >> nth=0") == "16"
    assert "a change lies here" in opened.text("#card")
    assert "faster" in opened.text("#card")
    assert opened.state == "commit=16"


def test_an_address_shows_the_same_again_and_reset_forgets(browser: Browser, page: Path) -> None:
    with visit(browser, page, "case=1&commit=3&y=all") as found:
        assert found.text("#title-history").startswith(CASES[3])
        assert found.text("#card dd >> nth=0") == "3"
        found.page.locator("button[type=reset]").click()
        assert found.text("#card dd >> nth=0") == "29"


@pytest.mark.parametrize("fragment", ["case=99", "case=x&commit=y", "commit=-7"])
def test_an_address_that_means_nothing_shows_something(browser: Browser, page: Path, fragment: str) -> None:
    with visit(browser, page, fragment) as found:
        assert found.count("#chart-history svg") == 1


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_axe_finds_nothing(browser: Browser, page: Path, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900}
    with visit(browser, page, viewport=size, color_scheme=scheme, bypass_csp=True) as found:
        answer = Axe().run(found.page, options={"resultTypes": ["violations"]})
        assert [violation["id"] for violation in answer.response["violations"]] == [], answer.generate_report()
        assert found.run("document.documentElement.scrollWidth") <= width
