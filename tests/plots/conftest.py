"""Tables made once for all figures, and a look at the texts that a figure really draws."""

from collections.abc import Callable
from itertools import combinations
from typing import Any, cast

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from tests.plots.made_tables import make_quality, make_summary

Texts = list[tuple[str, Bbox]]


@pytest.fixture
def summary() -> pd.DataFrame:
    return make_summary()


@pytest.fixture
def quality() -> pd.DataFrame:
    return make_quality()


@pytest.fixture
def read_texts(monkeypatch: pytest.MonkeyPatch) -> Callable[[Figure], Texts]:
    """Draw a figure and list every text that was drawn, with its box in pixels."""
    seen: Texts = []
    draw: Callable[..., None] = Text.draw

    def record(self: Text, renderer: Any, *args: Any, **kwargs: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            # an annotation's own extent would include its arrow
            seen.append((self.get_text(), Text.get_window_extent(self, renderer)))
        draw(self, renderer, *args, **kwargs)

    def read(figure: Figure) -> Texts:
        with monkeypatch.context() as patched:
            seen.clear()
            patched.setattr(Text, "draw", record)
            cast(FigureCanvasAgg, figure.canvas).draw()  # type: ignore[no-untyped-call] # matplotlib has no type here
        return list(seen)

    return read


@pytest.fixture
def assert_legible(read_texts: Callable[[Figure], Texts]) -> Callable[[Figure], Texts]:
    """Assert that no two texts of a figure overlap and that none is cut off."""

    def check(figure: Figure) -> Texts:
        texts = read_texts(figure)
        assert texts
        width, height = cast(FigureCanvasAgg, figure.canvas).get_width_height()
        for text, box in texts:
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= width, text
            assert box.y1 <= height, text
        for (first, a), (second, b) in combinations(texts, 2):
            # boxes of lines above each other share the leading; a pixel of it is not an overlap
            apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
            assert apart, f"{first!r} overlaps {second!r}"
        return texts

    return check
