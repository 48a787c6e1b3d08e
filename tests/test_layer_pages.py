"""The examples of the pages on layers are run, in the order in which a reader would type them in."""

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.REPORT_NDIFF


def run_page(page: Path) -> doctest.TestResults:
    # a fence is not what the example before it prints
    text = re.sub(r"^```.*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    return doctest.DocTestRunner(optionflags=FLAGS).run(test)


@pytest.mark.parametrize(("name", "examples"), [("layers", 20), ("replacing", 15)])
def test_the_examples_hold(name: str, examples: int) -> None:
    result = run_page(DOCS / f"{name}.md")
    assert result.attempted >= examples
    assert result.failed == 0


def test_a_wrong_example_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\n>>> 1 + 1\n3\n```\n", encoding="utf-8")
    assert run_page(page).failed == 1
