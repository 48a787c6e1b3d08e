"""All of the article's figures at once."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest

from deconvbench.plots.article import CAPTIONS, draw_article_figures
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import MAIN_NETWORK
from tests.plots.article.made_results import make_trained

EXAMPLES = ("segmentation", "style_transfer")


def test_everything_is_drawn_in_order_with_a_caption_and_leaves_no_trace(trained: Trained) -> None:
    from matplotlib import pyplot as plt

    before = (dict(mpl.rcParams), plt.get_fignums())
    figures = draw_article_figures(trained)
    assert (dict(mpl.rcParams), plt.get_fignums()) == before
    # of tasks that were not trained there is none
    first = [name for name in CAPTIONS if not name.endswith("_super_resolution") and name not in EXAMPLES]
    assert list(figures) == first == [*(f"figure_{number}" for number in range(1, 8)), "gallery"]
    for figure in figures.values():
        assert figure.get_size_inches()[0] == 9
        assert figure.axes


def test_both_tasks_are_drawn_where_both_were_trained(tmp_path: Path) -> None:
    other = replace(MAIN_NETWORK, task="super-resolution")
    layers = (("transposed", 3), ("nearest_conv", 3))
    both = make_trained(tmp_path, layers=layers, images=("coffee",), networks=(MAIN_NETWORK, other), seeds=1)
    assert list(draw_article_figures(both)) == [name for name in CAPTIONS if name not in EXAMPLES]


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
    if name in EXAMPLES:
        assert caption.title.startswith(f"{name.replace('_', ' ').capitalize()}: ")
        assert "Common applications" in caption.claim
        return
    what, _, task = name.partition("_super")
    heading = f"Figure {what[-1]}{', super-resolution' * bool(task)}: "
    assert what == "gallery" or caption.title.startswith(heading)
    assert bool(caption.claim) == (what != "gallery" and not task)


def test_torch_is_not_imported() -> None:
    code = "import sys, deconvbench.plots.article; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
