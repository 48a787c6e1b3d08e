"""All of the article's figures at once."""

import subprocess
import sys
from dataclasses import replace

import matplotlib as mpl
import pytest

from deconvbench.plots.article import CAPTIONS, draw_article_figures
from deconvbench.tables.trained import Trained


def test_everything_is_drawn_in_order_with_a_caption_and_leaves_no_trace(trained: Trained) -> None:
    from matplotlib import pyplot as plt

    before = (dict(mpl.rcParams), plt.get_fignums())
    figures = draw_article_figures(trained)
    assert (dict(mpl.rcParams), plt.get_fignums()) == before
    assert list(figures) == [*(f"figure_{number}" for number in range(1, 8)), "gallery"]
    # of tasks that were not trained there is none
    assert list(CAPTIONS) == [*figures, "segmentation", "style_transfer"]
    for figure in figures.values():
        assert figure.get_size_inches()[0] == 9
        assert figure.axes


def test_figures_without_numbers_are_left_out(trained: Trained) -> None:
    # results that ship with the package have curves and no pictures
    shipped = replace(trained, folder=None, images=trained.images.iloc[:0])
    assert list(draw_article_figures(shipped)) == [f"figure_{number}" for number in range(2, 7)]
    without_curves = replace(shipped, curves=trained.curves.iloc[:0])
    assert list(draw_article_figures(without_curves)) == ["figure_2", "figure_3", "figure_4", "figure_6"]


@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_are_sentences(name: str) -> None:
    caption = CAPTIONS[name]
    assert caption.title[0].isupper()
    assert not caption.title.endswith(".")
    assert caption.text.endswith(".")
    heading = f"Figure {name[-1]}" if name.startswith("figure") else name.replace("_", " ").capitalize()
    assert name == "gallery" or caption.title.startswith(f"{heading}: ")
    assert bool(caption.claim) == (name != "gallery")


def test_torch_is_not_imported() -> None:
    code = "import sys, deconvbench.plots.article; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
