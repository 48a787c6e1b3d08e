"""A real browser for tests of pages: Debian's Chromium, driven by Playwright, without a network."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """The browser's program; in continuous integration it must be there, elsewhere the tests are skipped."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None and os.environ.get("CI"):
        pytest.fail("no Chromium: continuous integration installs it (.ci/run)")
    if found is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    return found


@contextmanager
def start_browser() -> Iterator[Browser]:
    """A browser for the tests of a module."""
    program = find_chromium()
    with sync_playwright() as playwright:
        # as root, as in containers, there is no sandbox
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass(frozen=True, slots=True)
class Visit:
    """An open page, with whatever its console said and what it asked the network for."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Nothing went wrong, nothing was fetched."""
        assert self.messages == []
        assert self.requests == []

    def run(self, script: str) -> Any:
        return self.page.evaluate(script)

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    @property
    def state(self) -> str:
        """What the address holds behind the #, decoded."""
        return str(self.run("decodeURIComponent(location.hash.slice(1).replaceAll('+', ' '))"))


@contextmanager
def visit(browser: Browser, path: Path, fragment: str = "", **options: Any) -> Iterator[Visit]:
    """Open a file with the network blocked; at the end nothing may have gone wrong."""
    settings = {"viewport": {"width": 1440, "height": 900}, "offline": True, "reduced_motion": "reduce", **options}
    context = browser.new_context(**settings)
    try:
        found = Visit(context.new_page())
        found.page.set_default_timeout(10_000)
        found.page.on("console", lambda message: found.messages.append(f"{message.type}: {message.text}"))
        found.page.on("pageerror", lambda error: found.messages.append(f"error: {error}"))
        own = path.resolve().as_uri()

        def note(request: Any) -> None:
            if not request.url.startswith((own, "data:", "blob:")):
                found.requests.append(request.url)

        found.page.on("request", note)
        found.page.goto(own + (f"#{fragment}" if fragment else ""))
        yield found
        found.check()
    finally:
        context.close()
