"""All figures at once."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from deconvbench.errors import SurroundingsError, UsageError
from deconvbench.plots.gallery import draw_all, encode_figures, save_figures
from deconvbench.plots.style import make_figure, style_layer
from tests.plots.made_tables import (
    add_trained,
    make_empty_results,
    make_layer_quality,
    make_run_results,
    make_summary,
)


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return draw_all(make_run_results())


def test_a_full_run_has_every_figure(figures: dict[str, Figure]) -> None:
    assert list(figures) == [
        "latency",
        "tradeoff_phase_ripple",
        "tradeoff_noise_gain_cv",
        "tradeoff_checkerboard",
        "tradeoff_image_rejection_db",
        "memory",
        "artifact_maps",
        "overlap_maps",
    ]


def test_other_metrics_can_be_chosen() -> None:
    tables = make_run_results(make_summary((("nearest_conv", 3), ("transposed", 3)), (16,), ("forward",)))
    names = list(draw_all(tables, metrics=("border_error", "flat_field_ripple")))
    assert names[1:3] == ["tradeoff_border_error", "tradeoff_flat_field_ripple"]
    assert not any(name.startswith("tradeoff") for name in names[3:])
    with pytest.raises(UsageError, match="metric: 'beauty' is not one of"):
        draw_all(tables, metrics=("beauty",))


def test_intervals_over_seeds_are_drawn() -> None:
    layers = (("transposed", 3), ("subpixel", 3))
    summary = make_summary(layers, (16,), ("forward",))
    tables = make_run_results(summary, make_layer_quality(layers))
    title = draw_all(tables, metrics=("noise_gain_cv",))["tradeoff_noise_gain_cv"].get_suptitle()
    assert "bars: 95 % intervals over seeds" in title


def test_the_headline_comes_first_where_layers_were_trained() -> None:
    layers = (("transposed", 3), ("subpixel", 3))
    tables = make_run_results(make_summary(layers, (16,), ("forward",)), add_trained(make_layer_quality(layers)))
    drawn = draw_all(tables, metrics=(), target_level=0.31)
    assert list(drawn) == ["trained_tradeoff", "latency", "memory", "artifact_maps", "overlap_maps"]
    assert "targets: the checkerboard of the target images themselves, 0.31 levels" in (
        drawn["trained_tradeoff"].get_suptitle()
    )


def test_photographs_keep_their_colours() -> None:
    shades = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    figures = {name: make_figure(1.0) for name in ("photograph", "map", "plain")}
    figures["photograph"].subplots().imshow(shades)
    figures["map"].subplots().imshow(shades[..., 0])
    modes = {}
    for name, picture in encode_figures(figures).items():
        with Image.open(BytesIO(picture)) as image:
            modes[name] = image.mode
    assert modes == {"photograph": "RGB", "map": "P", "plain": "P"}


def test_an_empty_run_has_only_geometry() -> None:
    assert list(draw_all(make_empty_results())) == ["overlap_maps"]


def test_a_run_without_quality_still_shows_costs() -> None:
    summary = make_summary((("nearest_conv", 3),), (16,), ("forward",))
    tables = make_run_results(summary, quality=make_empty_results().quality)
    assert list(draw_all(tables, metrics=())) == ["latency", "memory", "overlap_maps"]


def test_an_upsampler_has_one_colour_in_every_figure(figures: dict[str, Figure]) -> None:
    for name in ("nearest_conv", "subpixel_icnr", "zero_insert"):
        look = style_layer(name)
        for figure in ("latency", "tradeoff_phase_ripple", "tradeoff_noise_gain_cv"):
            axes = figures[figure].axes[0]
            points = [
                line for line in axes.lines if line.get_marker() == look.marker and np.size(line.get_xdata())
            ]
            colours = {to_hex(line.get_color()) for line in points}
            assert look.colour in colours, (name, figure)


def test_figures_leave_no_trace() -> None:
    from matplotlib import pyplot as plt

    before = (dict(mpl.rcParams), plt.get_fignums())
    draw_all(make_run_results(make_summary((("nearest_conv", 3),), (16,), ("forward",))), size=(16, 16))
    assert (dict(mpl.rcParams), plt.get_fignums()) == before


def test_files_are_small_pngs(figures: dict[str, Figure], tmp_path: Path) -> None:
    some = {name: figures[name] for name in ("memory", "overlap_maps")}
    paths = save_figures(encode_figures(some), tmp_path / "new" / "figures")
    assert {path.name for path in paths.values()} == {"memory.png", "overlap_maps.png"}
    for path in paths.values():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 150_000


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with pytest.raises(SurroundingsError, match="cannot write to"):
        save_figures({}, blocker / "figures")


def test_torch_is_not_imported() -> None:
    code = "import sys, deconvbench.plots, deconvbench.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
