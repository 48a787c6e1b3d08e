"""One look per layer, and no trace left behind."""

from typing import Any

import matplotlib as mpl
import pandas as pd
import pytest
import seaborn as sns
from cycler import cycler
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.plots.gallery import encode_figures
from deconvbench.plots.overlap_maps import draw_overlap_maps
from deconvbench.plots.style import _ASSIGNED, figure_style, make_figure, measure_contrast, style_layer
from deconvbench.plots.tradeoff_map import draw_tradeoff


def test_known_upsamplers_look_different() -> None:
    looks = {(style_layer(name).colour, style_layer(name).marker) for name in _ASSIGNED}
    assert len(looks) == len(_ASSIGNED)


def test_the_upsamplers_of_the_presets_have_their_own_colours_or_markers() -> None:
    names = list(_ASSIGNED)[:9]
    assert len({style_layer(name).colour for name in names}) == 9
    assert len({style_layer(name).marker for name in names}) == 9


@settings(deadline=None, max_examples=50)
@given(name=st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True), kernel=st.none() | st.integers(1, 40))
def test_every_name_has_a_stable_look_that_can_be_read(name: str, kernel: int | None) -> None:
    look = style_layer(name, kernel)
    assert look == style_layer(name, kernel)
    assert look.colour == style_layer(name).colour
    assert look.marker == style_layer(name).marker
    assert measure_contrast(look.text_colour) >= 4.5
    assert measure_contrast(look.colour) >= 2


def test_kernels_of_one_upsampler_differ_by_their_dashes() -> None:
    assert len({str(style_layer("transposed", kernel).dashes) for kernel in range(2, 7)}) == 5


@pytest.mark.parametrize(("colour", "contrast"), [("#ffffff", 1), ("#000000", 21)])
def test_contrast_of_the_extremes(colour: str, contrast: float) -> None:
    assert measure_contrast(colour) == pytest.approx(contrast)


def test_the_style_ends_with_its_context() -> None:
    before = dict(mpl.rcParams)
    with figure_style():
        assert mpl.rcParams["font.size"] != before["font.size"]
    assert dict(mpl.rcParams) == before


def test_figures_are_not_those_of_pyplot() -> None:
    from matplotlib import pyplot as plt

    before = plt.get_fignums()
    assert make_figure(2.0).get_figheight() == 2.0
    assert plt.get_fignums() == before


HOSTILE: Any = {
    "text.usetex": True,
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "savefig.facecolor": "red",
    "font.family": ["cursive"],
    "font.weight": "bold",
    "axes.prop_cycle": cycler(color=["r", "g"]),
    "axes.facecolor": "black",
    "axes.xmargin": 0.3,
    "axes.formatter.use_mathtext": True,
    "axes.spines.top": False,
    "lines.antialiased": False,
    "figure.autolayout": True,
    "legend.frameon": False,
    "xtick.direction": "in",
    "path.sketch": (1, 100, 2),
}


@pytest.mark.parametrize("name", ["heat map", "tradeoff"])
def test_a_figure_is_the_same_pixels_whatever_others_set(
    summary: pd.DataFrame, quality: pd.DataFrame, name: str
) -> None:
    def draw() -> bytes:
        figure = draw_overlap_maps() if name == "heat map" else draw_tradeoff(summary, metric="phase_ripple")
        return encode_figures({name: figure})[name]

    expected = draw()
    with mpl.rc_context(HOSTILE):
        sns.set_theme(style="dark", palette="pastel", font_scale=2)
        before = dict(mpl.rcParams)
        assert draw() == expected
        assert dict(mpl.rcParams) == before


def test_dollars_in_a_name_are_no_formula() -> None:
    with figure_style():
        figure = make_figure(1)
        figure.text(0.5, 0.5, r"photo $\notacommand$ and $5.png")
        assert encode_figures({"a": figure})["a"]
