"""Examples that people copy are run: those of the page on metrics alone, and of the metrics' docstrings."""

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parent.parent / "docs"
FLAGS = doctest.ELLIPSIS | doctest.REPORT_NDIFF
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _run(page: Path) -> doctest.TestResults:
    """Run a page's blocks of Python one after the other, as a reader would who types them in."""
    text = page.read_text(encoding="utf-8")
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    names: dict[str, Any] = {}
    for block in FENCE.finditer(text):
        line = text.count("\n", 0, block.start(1))
        test = doctest.DocTestParser().get_doctest(block[1], names, page.name, str(page), line)
        assert test.examples, f"{page.name}:{line}: a block without an example"
        runner.run(test, clear_globs=False)
        names = test.globs
    return runner.summarize(verbose=False)


@pytest.mark.slow
def test_the_page_on_metrics_alone_holds() -> None:
    result = _run(DOCS / "artifacts_alone.md")
    assert result.attempted > 30
    assert result.failed == 0


def test_the_page_on_terminals_and_scripts_holds() -> None:
    result = _run(DOCS / "terminal.md")
    assert result.attempted == 9
    assert result.failed == 0


def test_a_wrong_example_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\n>>> x = 1\n```\n\ntext\n\n```python\n>>> x + 1\n3\n```\n", encoding="utf-8")
    assert _run(page) == doctest.TestResults(failed=1, attempted=2)


@pytest.mark.parametrize("module", ["measure.artifacts.spectrum", "measure.layer_metrics"])
def test_examples_in_docstrings_hold(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"deconvbench.{module}"), optionflags=FLAGS)
    assert result.attempted > 0
    assert result.failed == 0
