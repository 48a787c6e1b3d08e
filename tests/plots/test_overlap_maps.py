"""The article's overlap figures."""

from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.figure import Figure

from deconvbench.errors import UsageError
from deconvbench.plots.overlap_maps import draw_overlap_maps
from deconvbench.theory import overlap_map

Legible = Callable[[Figure], list[tuple[str, Any]]]


def test_every_cell_shows_its_count(assert_legible: Legible) -> None:
    figure = draw_overlap_maps()
    texts = [text for text, _ in assert_legible(figure)]
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "kernel 3, stride 2: uneven, CV 0.48",
        "kernel 4, stride 2: even inside",
        "kernel 5, stride 2: uneven, CV 0.29",
        "kernel 2, stride 2: even inside",
    ]
    counts = [text.get_text() for text in figure.axes[0].texts]
    assert counts == [str(count) for count in overlap_map(3, 2, 3).ravel()]
    assert "output columns (7 pixels)" in texts


def test_an_odd_number_of_layers_leaves_no_empty_panel(assert_legible: Legible) -> None:
    figure = draw_overlap_maps([(3, 2), (6, 3), (2, 2)], size=3)
    assert len(figure.axes) == 3
    assert_legible(figure)
    assert len(draw_overlap_maps([(3, 2)], size=3).axes) == 1


def test_no_layers_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="layers: an empty sequence"):
        draw_overlap_maps([])
