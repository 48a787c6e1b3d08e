"""How figures look: one colour and marker per upsampler, one dash pattern per kernel size, one set of sizes.

Nothing is set when this is imported: `figure_style` is a context, and figures are objects of their own, never
those of pyplot, so drawing one leaves no trace in the process. Reads no data.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

DPI = 150
WIDTH_IN = 9.0  # 1350 pixels; shown 900 pixels wide, 9 pt text is 12 pixels high
FONT_PT = 9.0
INK = "#222222"
MUTED = "#6b6b6b"
GRID_COLOUR = "#dddddd"
NOT_MEASURED = "#ececec"
HATCH = "////"
_READABLE = 4.5  # WCAG AA for text of this size

# Okabe and Ito's palette without its yellow, which is too pale for a line on white, and three darker hues of
# Tol's muted scheme; neighbours in the list differ in lightness as well as in hue
_COLOURS = (
    "#d55e00",
    "#0072b2",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#332288",
    "#882255",
    "#444444",
    "#117733",
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">")
# (colour, marker) as positions in the two lists above: relatives share neither
_ASSIGNED = {
    "transposed": (0, 0),
    "nearest_conv": (1, 1),
    "bilinear_conv": (2, 2),
    "bicubic_conv": (4, 3),
    "subpixel": (3, 4),
    "subpixel_icnr": (7, 5),
    "subpixel_icnr_blur": (6, 6),
    "conv_nearest": (5, 7),
    "conv_bilinear": (9, 8),
    "zero_insert": (8, 9),
    "transposed_smoothed": (6, 3),
    "nearest_conv_fast": (1, 5),
    "nearest_conv_transposed": (4, 2),
    "nearest_conv_subpixel": (7, 3),
    "nearest_conv_minimal": (2, 8),
    "nearest_conv_tiled": (5, 4),
    "nearest_conv_native": (6, 5),
    "transposed_fast": (7, 8),
    "bilinear_additive": (2, 6),
    "transposed_fir": (0, 8),
    "sinc_conv": (9, 4),
    "transposed_bilinear_init": (5, 0),
    "equal_gain_transposed": (8, 0),
    "separable_transposed": (3, 9),
    "max_unpool_conv": (8, 7),
    "carafe": (4, 6),
    "dysample": (9, 1),
}
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStyle:
    """How one layer looks in every figure.

    Parameters
    ----------
    colour : str
        Of the upsampler, ``#rrggbb``.
    text_colour : str
        The same hue, dark enough to be read on white.
    marker : str
        Of the upsampler, matplotlib's code.
    dashes : str or tuple
        Of the kernel size, matplotlib's line style.
    """

    colour: str
    text_colour: str
    marker: str
    dashes: Any


def style_layer(upsampler: str, kernel_size: int | None = None) -> LayerStyle:
    """Give a layer its looks; they depend on nothing but its name and kernel.

    Parameters
    ----------
    upsampler : str
        Name in the registry; one that this package does not know gets colour and marker from a checksum of
        its name.
    kernel_size : int or None
        Kernel size k: 3 and None are drawn solid.
    """
    if upsampler in _ASSIGNED:
        colour, marker = _ASSIGNED[upsampler]
    else:
        checksum = zlib.crc32(upsampler.encode())
        colour, marker = checksum % len(_COLOURS), checksum // len(_COLOURS) % len(_MARKERS)
    dashes = 0 if kernel_size is None else (kernel_size - 3) % len(_DASHES)
    return LayerStyle(
        colour=_COLOURS[colour],
        text_colour=_darken(_COLOURS[colour]),
        marker=_MARKERS[marker],
        dashes=_DASHES[dashes],
    )


def measure_contrast(colour: str) -> float:
    """Contrast of a colour against white, from 1 (white) to 21 (black).

    Parameters
    ----------
    colour : str
        ``#rrggbb``.

    References
    ----------
    Web Content Accessibility Guidelines 2.2, relative luminance.
    """
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    return 1.05 / (luminance + 0.05)


def _darken(colour: str) -> str:
    while measure_contrast(colour) < _READABLE:
        red, green, blue = to_rgb(colour)
        colour = to_hex((0.93 * red, 0.93 * green, 0.93 * blue))
    return colour


@contextmanager
def figure_style() -> Iterator[None]:
    """Set the style of this package for the time of a drawing or encoding, and put back what was.

    It starts from matplotlib's own defaults, so that figures are the same pixels whatever a ``matplotlibrc``, a
    notebook or seaborn has set in this process.
    """
    settings: dict[Any, Any] = {
        **{name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"},
        **sns.axes_style("ticks"),
        **sns.plotting_context("paper"),
        "figure.dpi": DPI,
        "savefig.dpi": DPI,
        # ships with matplotlib, so a figure looks the same on every machine
        "font.family": ["DejaVu Sans"],
        # names of images and layers are texts, though they have dollars in them
        "text.parse_math": False,
        "font.size": FONT_PT,
        "axes.titlesize": FONT_PT + 1,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.labelsize": FONT_PT,
        "xtick.labelsize": FONT_PT - 0.5,
        "ytick.labelsize": FONT_PT - 0.5,
        "legend.fontsize": FONT_PT - 0.5,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "text.color": INK,
        "grid.color": GRID_COLOUR,
        "grid.linewidth": 0.6,
        "hatch.linewidth": 0.6,
        "figure.constrained_layout.h_pad": 0.06,
        "figure.constrained_layout.w_pad": 0.06,
    }
    with mpl.rc_context(settings):
        yield


def make_figure(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """Make an empty figure with a canvas that needs no display, laid out by constraints.

    Parameters
    ----------
    height_in, width_in : float
        Size in inches.
    """
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure
