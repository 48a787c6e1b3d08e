"""The documentation names every column that files have."""

import re
from pathlib import Path

import pytest

from deconvbench.records import schema

DOCS = Path(__file__).parent.parent / "docs"
FRAMES = ("TABLE", "SUMMARY", "QUALITY", "CURVE", "TRAINED", "IMAGE", "SPEEDUP")


@pytest.mark.parametrize("frame", FRAMES)
def test_metrics_page_names_every_column(frame: str) -> None:
    named = set(re.findall(r"`([a-z][a-z0-9_]*)`", (DOCS / "metrics.md").read_text(encoding="utf-8")))
    assert set(getattr(schema, f"{frame}_DTYPES")) <= named


def test_readme_is_short_and_its_local_links_exist() -> None:
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", text)
    assert len(text.splitlines()) <= 180
    assert links
    assert all((DOCS.parent / link).exists() for link in links)
