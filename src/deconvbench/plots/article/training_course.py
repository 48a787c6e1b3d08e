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
    choose_norm,
    describe_scores,
    find_strongest,
    list_crops,
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
from deconvbench.tables.trained_networks import MAIN_TASK

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
    layers: Sequence[NamedLayer] = COURSES,
    pictured: NamedLayer = DECONVOLUTION,
    norm: str | None = None,
) -> Figure:
    """Draw crops at the first and the last step, and the checkerboard against the step.

    Parameters
    ----------
    trained : Trained
        Results with curves, and with crops for the upper part.
    layers : sequence of (str, int or None)
        Upsamplers and kernel sizes to draw a curve of; those without results are left out.
    pictured : (str, int or None)
        Whose crops to show.
    norm : str, optional
        Of the networks; by default ``instance`` where there is any.

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
    curves, norm = _select_curves(trained, layers, norm)
    try:
        pictures = _read_pictures(trained, pictured, norm)
    except EmptyFigureError:
        pictures = []
    text, top = fold(_describe(curves, norm))
    top -= LINE  # no picture has a title
    side = _DOTS * max((len(pixels) for _, pixels in pictures), default=0)
    lower = top + (side + 3 * LINE if pictures else 0)
    with figure_style():
        figure = make_sheet(lower + _CURVE_HEIGHT + 5 * LINE)
        write_heading(figure, "Figure 5: the checkerboard through training", text)
        for place, (name, pixels) in enumerate(pictures):
            left = MARGIN + place * (WIDTH - 2 * MARGIN - side) // (len(pictures) - 1)
            place_picture(figure, left, top, pixels, _DOTS)
            write(figure, left, top + side + 6, name)
        axes = place_axes(figure, MARGIN + 80, lower, WIDTH - 2 * MARGIN - 80 - _NAMES_WIDTH, _CURVE_HEIGHT)
        draw_courses(axes, curves, find_target_level(trained, norm=norm))
        figure.legend(handles=make_handles(), loc="lower center", ncols=2, frameon=False)
    return figure


def _select_curves(trained: Trained, layers: Sequence[NamedLayer], norm: str | None) -> tuple[pd.DataFrame, str]:
    """Rows of the layers asked for, with the place of each among them."""
    rows = trained.curves
    rows = rows[(rows["task"] == MAIN_TASK) & rows["checkerboard_levels"].notna()]
    if len(rows):
        norm = choose_norm(rows, norm)
        rows = rows[rows["norm"] == norm]
    parts = []
    for place, layer in enumerate(layers):
        try:
            parts.append(pick_layer(rows, layer).assign(place=place))
        except EmptyFigureError:
            continue  # the curves of the others are worth showing
    if not parts or norm is None:
        raise EmptyFigureError("trained: no curve of any of the layers asked for")
    return pd.concat(parts), norm


def _read_pictures(trained: Trained, layer: NamedLayer, norm: str) -> list[tuple[str, Pixels]]:
    rows = pick_layer(list_crops(trained, norm=norm), layer)
    last = rows["step"].max()
    image = find_strongest(rows[rows["step"] == last])
    rows = rows[rows["image"] == image]
    moments = sorted({1, int(last)} & set(map(int, rows["step"])))
    crops = [read_crop(trained, rows[rows["step"] == step].iloc[0]) for step in moments]
    original = read_original(trained, crops[0].image)
    return [("original: " + crops[0].image, original), *((_name_moment(crop), crop.pixels) for crop in crops)]


def _name_moment(crop: Crop) -> str:
    when = "first iteration" if crop.step == 1 else f"step {crop.step:,}"
    return f"{crop.layer}, {when}:\n{describe_scores(crop)}"


def _describe(curves: pd.DataFrame, norm: str) -> str:
    seeds = curves["seed"].nunique()
    return (
        "CBA, the checkerboard of the residual over all test images: 8-bit levels, RMS, signed; around 0 there is "
        f"none. Lines are means over {seeds} seed{'' if seeds == 1 else 's'}, bands reach from the lowest seed to "
        f"the highest; norm: {norm}. Step 0 is the untrained network."
    )
