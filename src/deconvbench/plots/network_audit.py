"""What an audit shows of a network's output: where its ripple is, its pattern, its spectra.

Draws evidence that was measured already. The figures go into a page as SVG whose inks are those of the page, so
that they are read on light and on dark.
"""

import re
from collections.abc import Sequence
from io import BytesIO, StringIO

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import FuncFormatter, LogLocator

from deconvbench.plots.score_map import draw_score_map
from deconvbench.plots.style import FONT_PT, GRID_COLOUR, INK, MUTED, figure_style, make_figure
from deconvbench.records.evidence import Picture, RippleMap

# the two lines of the spectra, which also differ by their dashes
_IMAGES_COLOUR, _PLAIN_COLOUR = "#0072b2", "#d55e00"
# what stands in the page for each of them
_THEME = {
    INK: "var(--ink)",
    # seaborn's, of ticks
    "#262626": "var(--ink)",
    MUTED: "var(--muted)",
    GRID_COLOUR: "var(--line)",
    _IMAGES_COLOUR: "var(--first)",
    _PLAIN_COLOUR: "var(--second)",
}
_WIDTH_IN = 7.2
# below this share of the largest, a power is rounding
_LEAST_SHARE = 1e-12
# pixels of a side of the pattern that are shown, at least
_SHOWN = 8


def draw_ripple_map(picture: Picture, found: RippleMap) -> Figure:
    """Draw where in a picture the ripple is.

    Parameters
    ----------
    picture : Picture
        Of an output.
    found : RippleMap
        Over it.
    """
    return draw_score_map(
        unpack(picture).transpose(2, 0, 1),
        np.array(found.amplitudes, dtype=np.float64),
        np.array([[np.nan if one is None else one for one in row] for row in found.detection_levels]),
        found.rows,
        found.columns,
        name="Output for a real image",
        period=found.period,
        window=found.window,
    )


def draw_pattern(pattern: Sequence[Sequence[Sequence[float]]]) -> Figure:
    """Draw what repeats in the output for a plain colour, several periods of it, in levels.

    Parameters
    ----------
    pattern : sequence, shape (P, P, C)
        From an audit's evidence.
    """
    values = np.array(pattern, dtype=np.float64)
    side = values.shape[0]
    times = max(2, -(-_SHOWN // side))
    names = {1: ("",), 3: ("red", "green", "blue")}[values.shape[2]]
    most = float(np.abs(values).max()) or 1.0
    with figure_style():
        figure = make_figure(2.9, 1.6 + 2.1 * len(names))
        panels = figure.subplots(1, len(names), squeeze=False)[0]
        for channel, (axes, name) in enumerate(zip(panels, names, strict=True)):
            image = axes.imshow(
                np.tile(values[..., channel], (times, times)), cmap=colormaps["PuOr"], vmin=-most, vmax=most,
                interpolation="nearest", extent=(0, times * side, times * side, 0),
            )  # fmt: skip
            axes.set_title(name)
            axes.set_xlabel("pixels")
            axes.set_xticks([0, side, times * side], ["0", str(side), str(times * side)])
            axes.set_yticks([])
        figure.colorbar(image, ax=list(panels), fraction=0.05, pad=0.02).set_label("8-bit levels from its mean")
    return figure


def draw_spectra(
    images: Sequence[float] | None, plain: Sequence[float] | None, periods: Sequence[int]
) -> Figure | None:
    """Draw the power of outputs by frequency.

    Parameters
    ----------
    images, plain : sequence of float or None
        In levels², at equidistant frequencies from 0 to 0.5 cycles per pixel.
    periods : sequence of int
        Whose lines are marked.

    Returns
    -------
    Figure or None
        None where there is no power at all.
    """
    known = [one for one in (images, plain) if one is not None and max(one) > 0]
    if not known:
        return None
    largest = max(map(max, known))
    with figure_style():
        figure = make_figure(3.2, _WIDTH_IN)
        axes = figure.subplots()
        for period in sorted({*periods}):
            for multiple in range(1, period // 2 + 1):
                axes.axvline(multiple / period, color=GRID_COLOUR, linewidth=2.5, zorder=0)
        for powers, label, colour, dashes in (
            (images, "real images", _IMAGES_COLOUR, "-"),
            (plain, "plain colour", _PLAIN_COLOUR, (0, (4, 1.5))),
        ):
            if powers is not None and max(powers) > 0:
                frequencies = np.linspace(0, 0.5, len(powers))
                shown = np.maximum(np.array(powers, dtype=np.float64), _LEAST_SHARE * largest)
                axes.plot(frequencies, shown, color=colour, linestyle=dashes, linewidth=1.4, label=label)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda power, _: f"{power:g}"))
        axes.minorticks_off()
        axes.set_xlim(0, 0.505)
        axes.set_xlabel("cycles per pixel; grey: frequencies of the periods that were looked at")
        axes.set_ylabel("power (levels²)")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=FONT_PT)
    return figure


def encode_themed_svg(figure: Figure, name: str) -> str:
    """Encode a figure as SVG to be put into a page that defines --ink, --muted, --line, --first and --second.

    Parameters
    ----------
    figure : Figure
        Of this module.
    name : str
        Letters; no two figures of a page may share it, for its elements are named by it.

    Returns
    -------
    str
        One ``svg`` element that a reader of screens skips: the page describes it.
    """
    buffer = StringIO()
    for axes in figure.axes:
        # shades of a bar lie on white, as those of a map lie on its picture
        axes.patch.set_facecolor("white" if axes.get_label() == "<colorbar>" else "none")
    with figure_style(), mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    # its style would hold for the whole page
    text = re.sub(r"<(metadata|style).*?</\1>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, variable in _THEME.items():
        text = text.replace(f": {colour}", f": {variable}")
    # matplotlib leaves black out, which is no ink for a page in the dark
    head = r'<svg \1 aria-hidden="true" fill="var(--ink)" stroke-linejoin="round">'
    return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', head, text, count=1)


def encode_picture(picture: Picture) -> bytes:
    """Encode a picture as PNG, pixel by pixel.

    Parameters
    ----------
    picture : Picture
        Of an output.
    """
    buffer = BytesIO()
    levels = unpack(picture)
    imsave(buffer, np.broadcast_to(levels, (*levels.shape[:2], 3)), format="png")
    return buffer.getvalue()


def unpack(picture: Picture) -> np.ndarray:
    """Unpack a picture into an array of shape (H, W, C), of 8-bit levels.

    Parameters
    ----------
    picture : Picture
        Of an output.
    """
    levels = np.frombuffer(picture.read_levels(), dtype=np.uint8)
    return levels.reshape(picture.height, picture.width, picture.channels)
