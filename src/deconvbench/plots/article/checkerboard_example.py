"""The article's Figure 1: a picture with a checkerboard, and the checkerboard in its spectrum."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.article.crops import (
    DECONVOLUTION,
    describe_scores,
    find_strongest,
    find_window,
    get_period,
    list_crops,
    pick_last,
    pick_layer,
    read_crop,
    read_original,
)
from deconvbench.plots.article.pixel_layout import (
    LINE,
    MARGIN,
    Pixels,
    Window,
    fold,
    make_sheet,
    outline_window,
    place_axes,
    place_picture,
    write,
    write_heading,
)
from deconvbench.plots.article.spectra import list_grid_lines, measure_spectrum
from deconvbench.plots.style import FONT_PT, figure_style
from deconvbench.records.layers import NamedLayer
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import MAIN_TASK, Network

_DOTS = 3
# the part that is shown enlarged, as tall as the whole is then
_WINDOW = (32, 24)
_GAP = 24
# room for the numbers and the label beside a spectrum, dots
_TICKS = 84
_SHADES = "cividis"
# the darkest and the palest shade, as shares of all frequencies
_ENDS = (2, 99.9)


def draw_figure_1(
    trained: Trained,
    *,
    layer: NamedLayer = DECONVOLUTION,
    image: str | None = None,
    network: Network | None = None,
) -> Figure:
    """Draw a crop of a network's output, a part of it enlarged and its spectrum; the original below it.

    Parameters
    ----------
    trained : Trained
        Results with crops.
    layer : (str, int or None)
        Upsampler of the network and its kernel size.
    image : str, optional
        Test image; by default the one with the strongest checkerboard.
    network : Network, optional
        By default the one that stands for the task (`find_network`).

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If the network's crop or the original is missing.

    References
    ----------
    The article's Figure 1.
    """
    rows = pick_last(pick_layer(list_crops(trained, network=network), layer))
    if image is not None:
        rows = rows[rows["image"] == image]
        if rows.empty:
            raise EmptyFigureError(f"trained: no crop of the image {image!r}")
    crop = read_crop(trained, rows[rows["image"] == find_strongest(rows)].iloc[0])
    original = read_original(trained, crop.image)
    period = get_period(MAIN_TASK)
    side = _DOTS * len(original)
    window = find_window(crop.pixels, original, period, _WINDOW)
    spectra = [measure_spectrum(pixels) for pixels in (crop.pixels, original)]
    ends = tuple(float(end) for end in np.percentile(np.concatenate(spectra), _ENDS))
    text, top = fold(
        f"{crop.image}: {len(original)}×{len(original)} pixels of a test image, after {crop.step:,} training "
        "steps. In the middle the outlined part, enlarged. On the right the power of each frequency: the grid's "
        f"frequencies, multiples of 1/{period}, are ringed, and what repeats every {period} pixels is there and "
        "nowhere else."
    )
    left = MARGIN + side + 2 * _GAP + _WINDOW[1] * (side // _WINDOW[0]) + _TICKS
    with figure_style():
        figure = make_sheet(top + 2 * (side + 2 * LINE) + LINE)
        write_heading(figure, f"Figure 1: a picture with a checkerboard, from a network with {crop.layer}", text)
        names = (f"network: {describe_scores(crop)}", "original")
        for row, (name, pixels, spectrum) in enumerate(zip(names, (crop.pixels, original), spectra, strict=True)):
            below = top + row * (side + 2 * LINE)
            _draw_pictures(figure, below, pixels, window, name)
            axes = place_axes(figure, left, below, side, side)
            image_of_spectrum = _draw_spectrum(axes, spectrum, period, ends)
        axes.set_xlabel("frequency along a row (cycles per pixel)", fontsize=FONT_PT - 1)
        bar = place_axes(figure, left + side + 16, top, 14, 2 * side + 2 * LINE)
        figure.colorbar(image_of_spectrum, cax=bar)
        bar.set_ylabel("power (dB, relative to 1 level²)", fontsize=FONT_PT - 1, labelpad=2)
    return figure


def _draw_pictures(figure: Figure, top: int, pixels: Pixels, window: Window, name: str) -> None:
    side = _DOTS * len(pixels)
    write(figure, MARGIN, top - LINE - 4, name, weight="bold")
    outline_window(place_picture(figure, MARGIN, top, pixels, _DOTS), window)
    place_picture(figure, MARGIN + side + _GAP, top, pixels[window], side // _WINDOW[0])


def _draw_spectrum(axes: Axes, spectrum: np.ndarray, period: int, ends: tuple[float, ...]) -> AxesImage:
    half_bin = 0.5 / (len(spectrum) - 1)
    reach = 0.5 + half_bin
    shown = axes.imshow(
        spectrum, cmap=_SHADES, vmin=ends[0], vmax=ends[1], extent=(-reach, reach, reach, -reach),
        interpolation="nearest", aspect="auto",
    )  # fmt: skip
    x, y = zip(*list_grid_lines(period), strict=True)
    axes.plot(
        x,
        y,
        "o",
        markersize=9,
        markerfacecolor="none",
        markeredgecolor="white",
        markeredgewidth=1.2,
        clip_on=False,
    )
    ticks = np.arange(-(period // 2), period // 2 + 1) / period
    axes.set_xticks(ticks, labels=[f"{tick:g}".replace("-", "−") for tick in ticks])
    axes.set_yticks(ticks, labels=[f"{tick:g}".replace("-", "−") for tick in ticks])
    axes.set_ylabel("along a column (cycles per pixel)", fontsize=FONT_PT - 1, labelpad=2)
    # room for the rings at the edge
    axes.set_xlim(-0.55, 0.55)
    axes.set_ylim(0.55, -0.55)
    axes.set_facecolor("#00224e")
    return shown
