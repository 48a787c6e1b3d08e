"""The article's Figure 7: the same network with the two upsamplers exchanged, beside the originals."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError, describe_rest
from deconvbench.plots.article.crops import (
    DECONVOLUTION,
    RESIZE_CONVOLUTION,
    Crop,
    choose_network,
    choose_squares,
    describe_scores,
    find_window,
    format_levels,
    get_period,
    list_crops,
    name_sheet,
    pick_last,
    pick_layer,
    read_crop,
    read_original,
)
from deconvbench.plots.article.pixel_layout import (
    LINE,
    MARGIN,
    WIDTH,
    Pixels,
    Window,
    fold,
    make_sheet,
    outline_window,
    place_picture,
    write,
    write_heading,
)
from deconvbench.plots.style import FONT_PT, INK, figure_style, style_layer
from deconvbench.records.layers import NamedLayer
from deconvbench.tables.trained import Trained, find_target_level
from deconvbench.tables.trained_networks import MAIN_TASK, Network

_DOTS = 2
# the part that is shown enlarged beside its crop, as tall as the crop is then
_WINDOW = (32, 20)
_GAP = 6
# of the enlarged part about its mean colour: a grid of one or two levels is there to be seen, not on every screen
_CONTRAST = 3


def draw_figure_7(
    trained: Trained,
    *,
    task: str = MAIN_TASK,
    upsamplers: Sequence[NamedLayer] = (DECONVOLUTION, RESIZE_CONVOLUTION),
    max_images: int = 3,
    network: Network | None = None,
) -> Figure:
    """Draw a row for each test image: the original, then what each network made of it, each with a part enlarged.

    Parameters
    ----------
    trained : Trained
        Results with crops.
    task : str
        What the networks were trained for.
    upsamplers : sequence of (str, int or None)
        Two upsamplers and their kernel sizes; the first chooses the part that is enlarged.
    max_images : int
        Most rows.
    network : Network, optional
        By default the one that stands for the task (`find_network`).

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If one of the networks has no crop, or a file is missing.

    References
    ----------
    The article's Figure 7.
    """
    rows = pick_last(list_crops(trained, task=task, network=network))
    parts = [pick_layer(rows, layer) for layer in upsamplers]
    names = [str(name) for name in parts[0]["image"] if all((part["image"] == name).any() for part in parts)]
    if not names:
        raise EmptyFigureError("trained: no test image has a crop of each of the networks asked for")
    names = choose_squares(parts[0][parts[0]["image"].isin(names)])
    shown = names[:max_images]
    crops = [[read_crop(trained, part[part["image"] == name].iloc[0]) for part in parts] for name in shown]
    originals = [read_original(trained, name, task) for name in shown]
    period = get_period(task)
    windows = [
        find_window(row[0].pixels, true, period, _WINDOW) for row, true in zip(crops, originals, strict=True)
    ]
    height = _DOTS * max(len(pixels) for pixels in originals)
    used = choose_network(rows, network, task)
    text, top = fold(_describe(trained, crops, used, describe_rest(len(names) - len(shown), "photographs")))
    step = height + 2 * LINE
    with figure_style():
        figure = make_sheet(top + step * len(shown) + MARGIN // 2)
        write_heading(figure, name_sheet("Figure 7: the same network with its upsamplers exchanged", used), text)
        lefts = np.linspace(MARGIN, WIDTH - MARGIN - _measure_width(height), 1 + len(upsamplers)).astype(int)
        heads = [("original", INK), *_name_columns(crops[0], upsamplers)]
        for left, (head, colour) in zip(lefts, heads, strict=True):
            write(figure, left, top - LINE - 4, head, weight="bold", color=colour)
        for index, (row, true, window) in enumerate(zip(crops, originals, windows, strict=True)):
            below = top + index * step
            texts = [row[0].image, *map(describe_scores, row)]
            for left, pixels, text in zip(lefts, (true, *(crop.pixels for crop in row)), texts, strict=True):
                _draw_pair(figure, int(left), below, pixels, window)
                write(figure, left, below + height + 4, text, fontsize=FONT_PT - 0.5)
    return figure


def _measure_width(height: int) -> int:
    """Width of a crop and its enlarged part, dots."""
    return height + _GAP + _WINDOW[1] * (height // _WINDOW[0])


def _name_columns(row: Sequence[Crop], layers: Sequence[NamedLayer]) -> list[tuple[str, str]]:
    kinds = {DECONVOLUTION: "deconvolution: ", RESIZE_CONVOLUTION: "resize-convolution: "}
    return [
        (kinds.get(layer, "") + crop.layer.rpartition(" ")[0], style_layer(*layer).text_colour)
        for crop, layer in zip(row, layers, strict=True)
    ]


def _describe(trained: Trained, crops: Sequence[Sequence[Crop]], network: Network, rest: str) -> str:
    steps = sorted({crop.step for row in crops for crop in row})
    target = find_target_level(trained, network)
    own = "" if target is None else f"; the test images themselves read {format_levels(target)}"
    return (
        f"Test images after {' or '.join(f'{step:,}' for step in steps)} training steps ({network.title}){rest}. "
        f"The outlined part is enlarged, its contrast in all columns {_CONTRAST} times as high: of each "
        "photograph it is where the first network's checkerboard is strongest, and the image calm. CBA is the "
        "checkerboard of the residual over the whole crop, in 8-bit levels (RMS), where around 0 there is "
        f"none{own}."
    )


def _draw_pair(figure: Figure, left: int, top: int, pixels: Pixels, window: Window) -> None:
    outline_window(place_picture(figure, left, top, pixels, _DOTS), window)
    height = _DOTS * len(pixels)
    place_picture(figure, left + height + _GAP, top, stretch_contrast(pixels[window]), height // _WINDOW[0])


def stretch_contrast(pixels: Pixels, factor: float = _CONTRAST) -> Pixels:
    """Multiply what each pixel is away from the picture's mean colour.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3), uint8
        A picture.
    factor : float
        By how much.

    Returns
    -------
    ndarray, shape (H, W, 3), uint8
        With the same mean colour, but for what is cut off at 0 and 255.
    """
    mean = pixels.mean(axis=(0, 1))
    stretched: Pixels = np.rint((mean + factor * (pixels - mean)).clip(0, 255)).astype(np.uint8)
    return stretched
