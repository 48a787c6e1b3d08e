"""The documentation names every column that files have."""

import re
from pathlib import Path

import pytest

from deconvbench.records import schema

DOCS = Path(__file__).parent.parent / "docs"
FRAMES = ("TABLE", "SUMMARY", "QUALITY", "CURVE", "TRAINED", "IMAGE", "SPEEDUP")


@pytest.mark.parametrize("frame", FRAMES)
def test_metrics_page_names_every_column(frame):
    named = set(re.findall(r"`([a-z][a-z0-9_]*)`", (DOCS / "metrics.md").read_text(encoding="utf-8")))
    assert set(getattr(schema, f"{frame}_DTYPES")) <= named
