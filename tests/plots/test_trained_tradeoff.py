"""The headline: cost against what trained networks make of images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.trained_tradeoff import draw_trained_tradeoff
from deconvbench.records.metrics import METRICS
from deconvbench.tables.table import summarise_quality
from tests.plots.made_tables import ALL_LAYERS, add_trained, make_layer_quality, make_summary

Legible = Callable[[Figure], list[tuple[str, Any]]]
FEW = (("transposed", 3), ("nearest_conv", 3), ("bilinear_conv", 3), ("carafe", None))
FACES = ("trained_checkerboard_levels", "trained_psnr_db")


def make_quality(layers: tuple[tuple[str, int | None], ...] = FEW, seeds: int = 3) -> pd.DataFrame:
    return add_trained(make_layer_quality(layers), seeds)


def list_rings(figure: Figure, panel: int) -> list[float]:
    """Latencies of the ringed points, in ms."""
    lines = figure.axes[panel].lines
    return sorted(float(np.asarray(x.get_xdata())[0]) for x in lines if x.get_markerfacecolor() == "none")


def test_every_point_is_labelled_in_both_panels_and_no_label_overlaps(assert_legible: Legible) -> None:
    summary = make_summary(ALL_LAYERS, (16, 64), ("forward", "train"))
    figure = draw_trained_tradeoff(summary, make_quality(ALL_LAYERS), target_level=0.31)
    texts = [text for text, _ in assert_legible(figure)]
    for upsampler, kernel in ALL_LAYERS:
        assert texts.count(f"{upsampler} k{kernel} s2" if kernel else f"{upsampler} s2") == 2
    assert METRICS[FACES[0]].axis in texts
    assert f"{METRICS[FACES[1]].axis}, high is best" in texts
    assert texts.count("latency per call (ms, logarithmic)") == 1
    assert figure.get_suptitle().startswith("Checkerboard and PSNR after training against latency, input 64×64\n")
    assert "not trained" not in figure.get_suptitle()


def test_one_setting_is_shown_the_forward_step_at_the_largest_common_size() -> None:
    summary = pd.concat(
        [
            make_summary(FEW, (16, 64), ("forward", "train")),
            make_summary(FEW, (256,), ("train",)),
            make_summary(FEW, (64,), ("forward",), threads=2),
        ]
    )
    figure = draw_trained_tradeoff(summary, make_quality())
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["forward, cpu, 1 thread", ""]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert "input 64×64 (1 more settings are in the table)" in figure.get_suptitle()
    other = draw_trained_tradeoff(make_summary(FEW, (16,), ("train",)), make_quality())
    assert other.axes[0].get_title(loc="left") == "train, cpu"
    small = draw_trained_tradeoff(summary, make_quality(), size=(16, 16))
    assert "input 16×16" in small.get_suptitle()
    named = draw_trained_tradeoff(summary, make_quality(), network="super-resolution")
    assert named.get_suptitle().startswith(
        "Checkerboard and PSNR after training (super-resolution) against latency"
    )


def test_each_panel_has_its_own_frontier() -> None:
    summary = make_summary(FEW, (32,), ("forward",))
    figure = draw_trained_tradeoff(summary, make_quality())
    latency = (summary.set_index("upsampler")["latency_s"] * 1e3).to_dict()
    # carafe has no kernel, so it is the cheapest here; what comes close to it in PSNR is slower
    assert list_rings(figure, 0) == pytest.approx([latency["carafe"], latency["nearest_conv"]])
    assert list_rings(figure, 1) == pytest.approx([latency["carafe"]])


def test_bars_are_intervals_over_seeds(assert_legible: Legible) -> None:
    summary, quality = make_summary(FEW, (32,), ("forward",)), make_quality()
    figure = draw_trained_tradeoff(summary, quality)
    pooled = summarise_quality(quality)
    for axes, metric in zip(figure.axes, FACES, strict=True):
        bars = [np.asarray(line.get_ydata()) for line in axes.lines if line.get_linewidth() == 1.8]
        ends = pooled[[f"{metric}_ci_low", f"{metric}_ci_high"]].to_numpy()
        np.testing.assert_allclose(sorted(bar.tolist() for bar in bars), ends[ends[:, 0].argsort()])
    assert any("bars: 95 % intervals over seeds" in text for text, _ in assert_legible(figure))
    single = draw_trained_tradeoff(summary, make_quality(seeds=1))
    assert not [line for axes in single.axes for line in axes.lines if line.get_linewidth() == 1.8]
    assert "bars" not in single.get_suptitle()


@pytest.mark.parametrize("level", [-0.4, 0.31, 20.0], ids=["below", "within", "above all"])
def test_the_level_of_the_targets_is_a_line_that_fits_in(assert_legible: Legible, level: float) -> None:
    figure = draw_trained_tradeoff(make_summary(FEW, (32,), ("forward",)), make_quality(), target_level=level)
    low, high = figure.axes[0].get_ylim()
    assert low < level < high
    assert [line for line in figure.axes[0].lines if [*np.asarray(line.get_ydata())] == [level, level]]
    texts = [text for text, _ in assert_legible(figure)]
    assert texts.count("targets") == 1
    assert any(f"the target images themselves, {level:.2f} levels" in text for text in texts)


def test_without_a_level_there_is_no_such_line() -> None:
    figure = draw_trained_tradeoff(make_summary(FEW, (32,), ("forward",)), make_quality())
    assert "targets" not in [text.get_text() for text in figure.axes[0].texts]
    assert "targets" not in figure.get_suptitle()


def test_layers_that_were_not_trained_are_named(assert_legible: Legible) -> None:
    summary = make_summary((*FEW, ("sinc_conv", 3), ("subpixel", 3)), (32,), ("forward",))
    figure = draw_trained_tradeoff(summary, make_quality())
    assert figure.get_suptitle().endswith("\nnot trained: sinc_conv, subpixel")
    texts = [text for text, _ in assert_legible(figure)]
    assert "sinc_conv k3 s2" not in texts


def test_a_layer_whose_training_diverged_is_left_out() -> None:
    quality = make_quality()
    quality.loc[quality["upsampler"] == "transposed", "trained_psnr_db"] = np.nan
    figure = draw_trained_tradeoff(make_summary(FEW, (32,), ("forward",)), quality)
    assert "transposed k3 s2" not in [text.get_text() for text in figure.axes[0].texts]
    assert "not trained: transposed" in figure.get_suptitle()


def test_crowds_are_thinned_but_both_frontiers_stay() -> None:
    summary = make_summary(ALL_LAYERS, (64,), ("forward",))
    figure = draw_trained_tradeoff(summary, make_quality(ALL_LAYERS), max_layers=6)
    names = {text.get_text() for text in figure.axes[1].texts}
    assert len(names) == 6
    assert {"dysample s2", "carafe s2"} <= names
    assert figure.axes[0].get_title(loc="left") == "forward, cpu (18 more layers are in the table)"


def test_the_frontier_without_the_fast_forms_is_told() -> None:
    layers = (("transposed", 3), ("nearest_conv", 3), ("nearest_conv_fast", 3))
    figure = draw_trained_tradeoff(make_summary(layers, (32,), ("forward",)), make_quality(layers))
    assert "dotted: the frontier without the exact fast forms of nearest_conv" in figure.get_suptitle()


@pytest.mark.parametrize("seeds", [0, 8], ids=["nothing trained", "nothing measured"])
def test_nothing_to_draw_is_said(seeds: int) -> None:
    summary = make_summary(FEW, (32,), ("forward",))
    if seeds:
        summary = summary.assign(upsampler="subpixel")
    with pytest.raises(EmptyFigureError, match="no measured case has both checkerboard and PSNR after training"):
        draw_trained_tradeoff(summary, make_quality(seeds=seeds))
    with pytest.raises(EmptyFigureError, match="none of its 0 cases"):
        draw_trained_tradeoff(summary.iloc[:0], make_quality())
