"""All figures of a run at once, and their files.

Knows which figures there are; draws none of them itself.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from deconvbench.analysis.results import RunResults
from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.artifact_maps import draw_artifact_maps, list_mapped_upsamplers
from deconvbench.plots.latency import draw_latency
from deconvbench.plots.memory import draw_memory
from deconvbench.plots.overlap_maps import draw_overlap_maps
from deconvbench.plots.speedups import draw_speedups
from deconvbench.plots.style import DPI, figure_style
from deconvbench.plots.tradeoff_map import draw_tradeoff
from deconvbench.plots.trained_tradeoff import draw_trained_tradeoff
from deconvbench.system.paths import make_folder
from deconvbench.system.writing import write_files

# the two faces of the checkerboard (of a constant input, and of the variance of the output), the one score that
# every layer has, and what a layer can still do wrong that has no checkerboard at all
TRADEOFF_METRICS = ("phase_ripple", "noise_gain_cv", "checkerboard", "image_rejection_db")
# of figures as files; pages hold PNG
FIGURE_FORMATS = ("png", "pdf", "svg")
# as many as a palette holds; lines and letters need their shades of anti-aliasing
_PALETTE_COLOURS = 256


def draw_all(
    results: RunResults,
    *,
    size: tuple[int, int] | None = None,
    metrics: tuple[str, ...] = TRADEOFF_METRICS,
    target_level: float | None = None,
    network: str = "",
) -> dict[str, Figure]:
    """Draw every figure that a run has numbers for.

    Parameters
    ----------
    results : RunResults
        Of a run; any of its frames may be empty.
    size : (int, int), optional
        Height and width that stand for all where a figure shows one size; the largest common one by default.
    metrics : tuple of str
        Metrics to set against latency, a figure each; any of `METRICS`.
    target_level, network : float and str, optional
        As for `draw_trained_tradeoff`.

    Returns
    -------
    dict of str to Figure
        By name, in the order in which to read them; a figure that would be empty is left out.

    Raises
    ------
    UsageError
        If a metric is unknown.
    """
    summary, quality, pooled = results.summary, results.quality, results.quality_summary
    drawings: dict[str, Callable[[], Figure]] = {
        "trained_tradeoff": lambda: draw_trained_tradeoff(
            summary, pooled, target_level=target_level, network=network, size=size
        ),
        "latency": lambda: draw_latency(summary),
    }
    for metric in metrics:
        drawings[f"tradeoff_{metric}"] = partial(draw_tradeoff, summary, metric=metric, quality=pooled, size=size)
    drawings["speedups"] = lambda: draw_speedups(results.speedups, results.speedup_means)
    drawings["memory"] = lambda: draw_memory(summary, size=size)
    drawings["artifact_maps"] = lambda: draw_artifact_maps(
        quality, upsamplers=list_mapped_upsamplers(quality) or ("transposed",)
    )
    drawings["overlap_maps"] = draw_overlap_maps
    figures = {}
    for name, draw in drawings.items():
        try:
            figures[name] = draw()
        except EmptyFigureError:
            # the caller reports that this figure has nothing to show
            continue
    return figures


def encode_figures(figures: Mapping[str, Figure]) -> dict[str, bytes]:
    """Draw figures as PNG with a palette: a third of the size, and no difference that an eye can see.

    Those with photographs keep their colours: a palette would cost several levels in each pixel, and with them the
    faint checkerboards that they are there to show.

    Parameters
    ----------
    figures : mapping of str to Figure
        From `draw_all`.

    Returns
    -------
    dict of str to bytes
        PNG, 150 dots per inch, by name.
    """
    return {name: _encode(figure) for name, figure in figures.items()}


def _encode(figure: Figure) -> bytes:
    drawn, packed = BytesIO(), BytesIO()
    # which edges and backgrounds are saved is a setting as well
    with figure_style(), warnings.catch_warnings():
        # numbers of twenty digits leave an axis no room; the figure is drawn all the same
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)
        figure.savefig(drawn, format="png", dpi=DPI)
    with Image.open(drawn) as image:
        picture = image.convert("RGB")
        if not _has_photograph(figure):
            picture = picture.quantize(_PALETTE_COLOURS, dither=Image.Dither.NONE)
        picture.save(packed, format="png", optimize=True)
    return packed.getvalue()


def encode_for_paper(figures: Mapping[str, Figure], kind: str) -> dict[str, bytes]:
    """Draw figures as vectors, for papers: the same bytes each time.

    Parameters
    ----------
    figures : mapping of str to Figure
        From `draw_all`.
    kind : str
        ``pdf`` or ``svg``.

    Returns
    -------
    dict of str to bytes
        By name.
    """
    encoded = {}
    for name, figure in figures.items():
        drawn = BytesIO()
        # ids and dates would differ each time
        with figure_style(), rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)
            figure.savefig(drawn, format=kind, metadata={"Date" if kind == "svg" else "CreationDate": None})
        encoded[name] = drawn.getvalue()
    return encoded


def _has_photograph(figure: Figure) -> bool:
    arrays = (image.get_array() for axes in figure.axes for image in axes.images)
    return any(array is not None and array.ndim == 3 for array in arrays)


def save_figures(pictures: Mapping[str, bytes], directory: Path) -> dict[str, Path]:
    """Write each figure as ``NAME.png``.

    Parameters
    ----------
    pictures : mapping of str to bytes
        From `encode_figures`.
    directory : Path
        Made if it is missing.

    Returns
    -------
    dict of str to Path
        The files, by name.

    Raises
    ------
    SurroundingsError
        If it cannot be written.
    """
    make_folder(directory)
    write_files(directory, {f"{name}.png": picture for name, picture in pictures.items()})
    return {name: directory / f"{name}.png" for name in pictures}
