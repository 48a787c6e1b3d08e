"""One page with the same crop from every trained network, the cleanest first."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError, describe_rest
from deconvbench.plots.article.crops import (
    DECONVOLUTION,
    Crop,
    choose_network,
    find_strongest,
    find_window,
    format_decibels,
    format_levels,
    get_period,
    list_crops,
    name_sheet,
    pick_last,
    read_crop,
    read_original,
)
from deconvbench.plots.article.pixel_layout import (
    LINE,
    MARGIN,
    WIDTH,
    fold,
    make_sheet,
    place_picture,
    write,
    write_heading,
)
from deconvbench.plots.style import FONT_PT, figure_style, style_layer
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import MAIN_TASK, Network

_COLUMNS, _DOTS, _SIDE = 5, 4, 64


def draw_gallery(
    trained: Trained,
    *,
    task: str = MAIN_TASK,
    image: str | None = None,
    max_layers: int = 24,
    network: Network | None = None,
) -> Figure:
    """Draw a part of one test image as each network gives it back, and the original.

    Parameters
    ----------
    trained : Trained
        Results with crops.
    task : str
        Task of the networks.
    image : str, optional
        Test image; by default the one with the strongest checkerboard, on average over the networks.
    max_layers : int
        Most networks; the rest are counted in the heading.
    network : Network, optional
        By default the one that stands for the task (`find_network`).

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If there is no crop, or a file is missing.
    """
    rows = pick_last(list_crops(trained, task=task, network=network))
    if image is None:
        image = find_strongest(rows)
    rows = rows[rows["image"] == image]
    if rows.empty:
        raise EmptyFigureError(f"trained: no crop of the image {image!r}")
    # below 0 there is none either, so what counts is the distance; NaN comes last
    rows = rows.assign(distance=rows["checkerboard_levels"].abs()).sort_values("distance", kind="stable")
    shown = [(row, read_crop(trained, row)) for _, row in rows.head(max_layers).iterrows()]
    original = read_original(trained, image, task)
    period = get_period(task, int(rows["scale_factor"].iloc[0]))
    side = min(_SIDE, len(original) // period * period)
    window = find_window(_pick_guide(shown).pixels, original, period, (side, side))
    tile = _DOTS * side
    down = tile + 3 * LINE
    shown_network = choose_network(rows, network, task)
    rest = describe_rest(len(rows) - len(shown), "networks")
    text, top = fold(
        f"{side}×{side} pixels after {_list_steps(rows)} training steps ("
        f"{shown_network.title}); the weakest checkerboard first{rest}. CBA: checkerboard of the residual in "
        "8-bit levels (RMS), around 0 there is none; PSNR in dB."
    )
    top -= LINE  # no column has a title
    with figure_style():
        figure = make_sheet(top + down * -(-(len(shown) + 1) // _COLUMNS))
        write_heading(figure, name_sheet(f"{image}, as each network gives it back", shown_network), text)
        lefts = np.linspace(MARGIN, WIDTH - MARGIN - _DOTS * _SIDE, _COLUMNS).astype(int)
        place_picture(figure, int(lefts[0]), top, original[window], _DOTS)
        write(figure, lefts[0], top + tile + 4, "original", weight="bold", fontsize=FONT_PT - 1)
        for place, (row, crop) in enumerate(shown, 1):
            left, below = int(lefts[place % _COLUMNS]), top + place // _COLUMNS * down
            place_picture(figure, left, below, crop.pixels[window], _DOTS)
            write(
                figure, left, below + tile + 4, crop.layer.rpartition(" ")[0], fontsize=FONT_PT - 1,
                color=style_layer(str(row["upsampler"])).text_colour,
            )  # fmt: skip
            scores = f"CBA {format_levels(crop.checkerboard_levels)}, PSNR {format_decibels(crop.psnr_db)}"
            write(figure, left, below + tile + 4 + LINE, scores, fontsize=FONT_PT - 1)
    return figure


def _pick_guide(shown: list[tuple["pd.Series[Any]", Crop]]) -> Crop:
    """Pick the network that chooses the part: the article's deconvolution, or whichever shows the most."""
    for row, crop in shown:
        if (row["upsampler"], row["kernel_size"]) == DECONVOLUTION:
            return crop
    return shown[-1][1]


def _list_steps(rows: pd.DataFrame) -> str:
    return " to ".join(f"{step:,}" for step in sorted({int(rows["step"].min()), int(rows["step"].max())}))
