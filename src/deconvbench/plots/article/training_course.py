"""The article's Figure 5: the first iteration beside the last, and the checkerboard all through training.

The article shows two pictures and concludes that training changes little; below the pictures stands the curve that
decides it. Where there are no pictures (results that ship with the package) the curve stands alone.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.article.crops import (
    DECONVOLUTION,
    Crop,
    choose_network,
    describe_scores,
    find_strongest,
    list_crops,
    name_sheet,
    pick_layer,
    read_crop,
    read_original,
)
from deconvbench.plots.article.pixel_layout import (
    LINE,
    MARGIN,
    WIDTH,
    Pixels,
    fold,
    make_sheet,
    place_axes,
    place_picture,
    write,
    write_heading,
)
from deconvbench.plots.article.training_curves import draw_courses, make_handles
from deconvbench.plots.style import figure_style
from deconvbench.records.layers import NamedLayer
from deconvbench.tables.trained import Trained, find_target_level
from deconvbench.tables.trained_networks import MAIN_TASK, Network, keep_network

COURSES: tuple[NamedLayer, ...] = (
    ("transposed", 3),
    ("transposed", 4),
    ("transposed_smoothed", 3),
    ("subpixel", 3),
    ("subpixel_icnr", 3),
    ("equal_gain_transposed", 3),
    ("nearest_conv", 3),
    ("bilinear_conv", 3),
)
_DOTS = 3
_CURVE_HEIGHT = 620
_NAMES_WIDTH = 340


def draw_figure_5(
    trained: Trained,
    *,
    task: str = MAIN_TASK,
    layers: Sequence[NamedLayer] = COURSES,
    pictured: NamedLayer = DECONVOLUTION,
    network: Network | None = None,
) -> Figure:
    """Draw crops at the first and the last step, and the checkerboard against the step.

    Parameters
    ----------
    trained : Trained
        Results with curves, and with crops for the upper part.
    task : str
        What the networks were trained for.
    layers : sequence of (str, int or None)
        Upsamplers and kernel sizes to draw a curve of; those without results are left out.
    pictured : (str, int or None)
        Whose crops to show.
    network : Network, optional
        By default the one that stands for the task (`find_network`).

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If there is no curve of any of the layers.

    References
    ----------
    The article's Figure 5.
    """
    curves, shown = _select_curves(trained, layers, task, network)
    try:
        pictures = _read_pictures(trained, pictured, shown)
    except EmptyFigureError:
        pictures = []
    text, top = fold(_describe(curves, shown))
    top -= LINE  # no picture has a title
    side = _DOTS * max((len(pixels) for _, pixels in pictures), default=0)
    lower = top + (side + 3 * LINE if pictures else 0)
    with figure_style():
        figure = make_sheet(lower + _CURVE_HEIGHT + 5 * LINE)
        write_heading(figure, name_sheet("Figure 5: the checkerboard through training", shown), text)
        for place, (name, pixels) in enumerate(pictures):
            left = MARGIN + place * (WIDTH - 2 * MARGIN - side) // (len(pictures) - 1)
            place_picture(figure, left, top, pixels, _DOTS)
            write(figure, left, top + side + 6, name)
        axes = place_axes(figure, MARGIN + 80, lower, WIDTH - 2 * MARGIN - 80 - _NAMES_WIDTH, _CURVE_HEIGHT)
        draw_courses(axes, curves, find_target_level(trained, shown))
        figure.legend(handles=make_handles(), loc="lower center", ncols=2, frameon=False)
    return figure


def _select_curves(
    trained: Trained, layers: Sequence[NamedLayer], task: str, network: Network | None
) -> tuple[pd.DataFrame, Network]:
    """Rows of the layers asked for, with the place of each among them."""
    rows = trained.curves[trained.curves["checkerboard_levels"].notna()]
    chosen = choose_network(rows, network, task)
    rows = keep_network(rows, chosen)
    parts = []
    for place, layer in enumerate(layers):
        try:
            parts.append(pick_layer(rows, layer).assign(place=place))
        except EmptyFigureError:
            continue  # the curves of the others are worth showing
    if not parts:
        raise EmptyFigureError(f"trained: no curve of any of the layers asked for, {chosen.title}")
    return pd.concat(parts), chosen


def _read_pictures(trained: Trained, layer: NamedLayer, network: Network) -> list[tuple[str, Pixels]]:
    rows = pick_layer(list_crops(trained, network=network), layer)
    last = rows["step"].max()
    image = find_strongest(rows[rows["step"] == last])
    rows = rows[rows["image"] == image]
    moments = sorted({1, int(last)} & set(map(int, rows["step"])))
    crops = [read_crop(trained, rows[rows["step"] == step].iloc[0]) for step in moments]
    original = read_original(trained, crops[0].image, network.task)
    return [("original: " + crops[0].image, original), *((_name_moment(crop), crop.pixels) for crop in crops)]


def _name_moment(crop: Crop) -> str:
    when = "first iteration" if crop.step == 1 else f"step {crop.step:,}"
    return f"{crop.layer}, {when}:\n{describe_scores(crop)}"


def _describe(curves: pd.DataFrame, network: Network) -> str:
    seeds = curves.groupby("place")["seed"].nunique()
    fewest, most = int(seeds.min()), int(seeds.max())
    count = f"{most}" if fewest == most else f"{fewest} to {most}"
    return (
        "CBA, the checkerboard of the residual over all test images: 8-bit levels, RMS, signed; around 0 there is "
        f"none. Lines are means over {count} seed{'' if most == 1 else 's'}, bands reach from the lowest seed to "
        f"the highest. Step 0 is the untrained network. Networks: {network.title}."
    )
