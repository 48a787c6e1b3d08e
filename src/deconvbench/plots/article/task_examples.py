"""Two more tasks of the article's introduction: what one sees of each upsampler, and its checkerboard.

One figure for segmentation and one for style transfer, from crops of training experiments; their columns are the
only thing that differs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError, describe_rest
from deconvbench.plots.article.crops import (
    DECONVOLUTION,
    RESIZE_CONVOLUTION,
    find_window,
    format_levels,
    list_crops,
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
from deconvbench.plots.article.reconstructions import stretch_contrast
from deconvbench.plots.style import FONT_PT, INK, figure_style, style_layer
from deconvbench.records.layers import NamedLayer
from deconvbench.records.training_tasks import get_task
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import find_network, keep_network

_DOTS = 2
# height and width in pixels of the part that is shown enlarged below its crop, as wide as the crop is
_WINDOW = (16, 32)
_GAP = 6
# what is shown where it was trained, at most three beside the two pictures
_LAYERS: tuple[NamedLayer, ...] = (DECONVOLUTION, ("subpixel", 3), RESIZE_CONVOLUTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What a task's figure shows in its first two columns, and says."""

    title: str
    heads: tuple[str, str]
    text: str
    contrast: int
    read: Callable[[Trained, str, int], tuple[Pixels, Pixels]]


def _read_map(trained: Trained, image: str, _: int) -> tuple[Pixels, Pixels]:
    return read_original(trained, f"{image}-input", "segmentation"), read_original(trained, image, "segmentation")


def _read_style(trained: Trained, image: str, row: int) -> tuple[Pixels, Pixels]:
    """Read the photograph, and a part of the style of its size, another one in each row."""
    photograph = read_original(trained, image, "style-transfer")
    style = read_original(trained, "style", "style-transfer")
    down, across = (max(side - size, 0) for side, size in zip(style.shape[:2], photograph.shape[:2], strict=True))
    top, left = (down, 0) if row % 2 else (0, across)
    return photograph, style[top : top + len(photograph), left : left + photograph.shape[1]]


_LOOKS: Mapping[str, _Look] = {
    "segmentation": _Look(
        title="Segmentation: the probabilities that networks with different upsamplers give",
        heads=("input", "true classes"),
        text="Red, green and blue are the probabilities of a disc, a square and a triangle. CBA is the "
        "checkerboard of these probabilities less the truth, in 8-bit levels (RMS; 255 is a probability of 1)",
        contrast=8,
        read=_read_map,
    ),
    "style-transfer": _Look(
        title="Style transfer: what networks with different upsamplers make of a photograph",
        heads=("photograph", "style (a part)"),
        text="CBA is the checkerboard of the output less the photograph, in 8-bit levels (RMS)",
        contrast=1,
        read=_read_style,
    ),
}
EXAMPLE_TASKS = tuple(_LOOKS)


def draw_task(trained: Trained, task: str, *, max_images: int = 2) -> Figure:
    """Draw for each test image the input, truth or style, and what each network made of it.

    Parameters
    ----------
    trained : Trained
        Results with crops.
    task : str
        One of `EXAMPLE_TASKS`.
    max_images : int
        Most rows: those with the strongest checkerboards.

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If no network of the task has a crop, or a file is missing.
    """
    look = _LOOKS[task]
    rows = pick_last(list_crops(trained, task=task))
    layers = [layer for layer in _LAYERS if _has_layer(rows, layer)]
    if not layers:
        raise EmptyFigureError(f"trained: no crop of {task} with one of the layers that are compared")
    parts = [pick_layer(rows, layer) for layer in layers]
    names = _order_images(parts)
    shown = names[:max_images]
    crops = [[read_crop(trained, part[part["image"] == name].iloc[0]) for part in parts] for name in shown]
    beside = [look.read(trained, name, index) for index, name in enumerate(shown)]
    period = get_task(task).find_period(int(rows["scale_factor"].iloc[0]))
    windows = [find_part(row[0].pixels, period) for row in crops]
    side = _DOTS * max(len(crop.pixels) for row in crops for crop in row)
    steps = " or ".join(f"{step:,}" for step in sorted({crop.step for row in crops for crop in row}))
    text, top = fold(
        f"Test images after {steps} training steps, with the outlined part enlarged below"
        f"{_describe_contrast(look.contrast)}{describe_rest(len(names) - len(shown), 'images')}. {look.text}; "
        "around 0 there is none."
    )
    top += LINE  # columns have two lines
    step = side + _GAP + side * _WINDOW[0] // _WINDOW[1] + 2 * LINE
    with figure_style():
        figure = make_sheet(top + step * len(shown) + MARGIN // 2)
        write_heading(figure, look.title, text)
        lefts = np.linspace(MARGIN, WIDTH - MARGIN - side, len(_LAYERS) + 2).astype(int)
        heads = [(head, "", INK) for head in look.heads]
        heads += [
            (crop.layer.rpartition(" ")[0], _describe_layer(trained, task, layer), style_layer(*layer).text_colour)
            for crop, layer in zip(crops[0], layers, strict=True)
        ]
        for left, (head, score, colour) in zip(lefts, heads, strict=False):
            write(figure, left, top - 2 * LINE - 4, head, weight="bold", color=colour)
            if score:
                write(figure, left, top - LINE - 4, score, fontsize=FONT_PT - 0.5)
        for index, (row, (first, second), window) in enumerate(zip(crops, beside, windows, strict=True)):
            below = top + index * step
            texts = [row[0].image, "", *(f"CBA {format_levels(crop.checkerboard_levels)}" for crop in row)]
            pictures = (first, second, *(crop.pixels for crop in row))
            for place, (left, pixels, text) in enumerate(zip(lefts, pictures, texts, strict=False)):
                contrast = look.contrast if place >= len(look.heads) else 1
                _draw_pair(figure, int(left), below, pixels, window, contrast)
                if text:
                    write(figure, left, below + step - 2 * LINE + 4, text, fontsize=FONT_PT - 0.5)
    return figure


def _has_layer(rows: pd.DataFrame, layer: NamedLayer) -> bool:
    try:
        return not pick_layer(rows, layer).empty
    except EmptyFigureError:
        return False


def _order_images(parts: Sequence[pd.DataFrame]) -> list[str]:
    """Images that all have, the strongest checkerboard of the first part first."""
    ordered = parts[0].sort_values("checkerboard_levels", ascending=False, kind="stable", na_position="last")
    names = [str(name) for name in ordered["image"] if all((part["image"] == name).any() for part in parts)]
    if not names:
        raise EmptyFigureError("trained: no test image has a crop of each of the networks that are compared")
    return names


def _describe_layer(trained: Trained, task: str, layer: NamedLayer) -> str:
    """How well networks of a layer do, as the mean over their seeds."""
    facts = get_task(task)
    rows = keep_network(trained.results, find_network(trained.results, task))
    if rows.empty:
        return ""
    values = pick_layer(rows, layer)[facts.headline].dropna()
    return facts.headline_text.format(float(values.mean())) if len(values) else ""


def find_part(pixels: Pixels, period: int) -> Window:
    """Find the part of an output in which a grid shows most: the strongest over the calmest content.

    There may be no picture that the output should equal: its content is what a mean over the period leaves of it.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3), uint8
        What a network made.
    period : int
        In pixels.
    """
    before = period // 2
    padded = np.pad(pixels, ((before, period - 1 - before), (before, period - 1 - before), (0, 0)), mode="edge")
    means = np.lib.stride_tricks.sliding_window_view(padded, (period, period), axis=(0, 1)).mean((-2, -1))
    return find_window(pixels, np.rint(means).astype(np.uint8), period, _WINDOW)


def _describe_contrast(contrast: int) -> str:
    return f", the networks' with {contrast} times the contrast" if contrast > 1 else ""


def _draw_pair(figure: Figure, left: int, top: int, pixels: Pixels, window: Window, contrast: int) -> None:
    outline_window(place_picture(figure, left, top, pixels, _DOTS), window)
    side = _DOTS * len(pixels)
    part = pixels[window] if contrast == 1 else stretch_contrast(pixels[window], contrast)
    place_picture(figure, left, top + side + _GAP, part, side // _WINDOW[1])
