"""The crops of an experiments folder: which there are, and their pixels.

Whatever is missing is an `EmptyFigureError` that says so, because a folder may
hold a run that was just begun, and results that ship with the package have no crops at all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.errors import explain_os_error
from deconvbench.plots.article.pixel_layout import Pixels, Window
from deconvbench.records.case import format_layer
from deconvbench.records.layers import NamedLayer
from deconvbench.records.schema import LAYER_COLUMNS
from deconvbench.records.training_tasks import get_task
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import MAIN_TASK, Network, find_network, keep_network

# of an edge, where padding shows too
_RIM_PERIODS = 2
# what the article calls deconvolution, and its remedy
DECONVOLUTION: NamedLayer = ("transposed", 3)
RESIZE_CONVOLUTION: NamedLayer = ("nearest_conv", 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """What one network made of one test image at one moment.

    Parameters
    ----------
    layer : str
        Upsampler, kernel and scale, as a reader calls it.
    image : str
        Name of the test image.
    step : int
        Training steps before it: 0 is untrained, 1 the first iteration.
    psnr_db, checkerboard_levels : float
        Of the whole image.
    pixels : ndarray, shape (H, W, 3), uint8
        The crop.
    """

    layer: str
    image: str
    step: int
    psnr_db: float
    checkerboard_levels: float
    pixels: Pixels


def choose_network(frame: pd.DataFrame, network: Network | None = None, task: str = MAIN_TASK) -> Network:
    """Choose the network that a figure shows.

    Parameters
    ----------
    frame : DataFrame
        Results, curves or images of training experiments.
    network : Network, optional
        The one asked for; by default the one that stands for the task (`find_network`).
    task : str
        Of the network by default.

    Raises
    ------
    EmptyFigureError
        If the frame has no row of it.
    """
    chosen = network or find_network(frame, task)
    if chosen is None or keep_network(frame, chosen).empty:
        raise EmptyFigureError(f"trained: nothing of {task if chosen is None else chosen.title}")
    return chosen


def list_crops(trained: Trained, *, task: str = MAIN_TASK, network: Network | None = None) -> pd.DataFrame:
    """List the rows of the images' table that have a crop.

    Parameters
    ----------
    trained : Trained
        Results of training experiments.
    task : str
        Task of the networks.
    network : Network, optional
        See `choose_network`.

    Returns
    -------
    DataFrame
        Not empty, of one network but for its upsamplers; of seeds, the first that has crops.

    Raises
    ------
    EmptyFigureError
        If there is none.
    """
    folder = _get_folder(trained)
    rows = trained.images[trained.images["crop"].notna()]
    try:
        rows = keep_network(rows, choose_network(rows, network, task))
    except EmptyFigureError:
        wanted = task if network is None else network.title
        raise EmptyFigureError(f"trained: {str(folder)!r} has no crops of {wanted}") from None
    first: pd.DataFrame = rows[rows["seed"] == rows["seed"].min()]
    return first


def pick_layer(rows: pd.DataFrame, layer: NamedLayer, scale_factor: int = 2) -> pd.DataFrame:
    """Keep the rows of one layer.

    Parameters
    ----------
    rows : DataFrame
        With the columns of a layer.
    layer : (str, int or None)
        Upsampler and kernel size; None where it has none.
    scale_factor : int
        Scale s.

    Raises
    ------
    EmptyFigureError
        If there is none.
    """
    upsampler, kernel = layer
    kernels = rows["kernel_size"]
    same = kernels.isna() if kernel is None else kernels.eq(kernel).fillna(value=False).astype(bool)
    kept: pd.DataFrame = rows[(rows["upsampler"] == upsampler) & same & (rows["scale_factor"] == scale_factor)]
    if kept.empty:
        raise EmptyFigureError(f"trained: nothing of {format_layer(upsampler, kernel, scale_factor)}")
    return kept


def pick_last(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep each network's rows of its last moment.

    Parameters
    ----------
    rows : DataFrame
        From `list_crops`.
    """
    last = rows.groupby(list(LAYER_COLUMNS), dropna=False)["step"].transform("max")
    kept: pd.DataFrame = rows[rows["step"] == last]
    return kept


def find_strongest(rows: pd.DataFrame) -> str:
    """Find the test image on which the checkerboard is strongest, on average over the rows.

    Parameters
    ----------
    rows : DataFrame
        From `list_crops`, not empty; what was not scored (a network that diverged) does not count.
    """
    means = rows.groupby("image", sort=False)["checkerboard_levels"].mean()
    return str(means.sort_values(ascending=False, kind="stable", na_position="last").index[0])


def choose_squares(rows: pd.DataFrame) -> list[str]:
    """Choose of each photograph the square on which a network's checkerboard is strongest.

    Parameters
    ----------
    rows : DataFrame
        From `pick_last` and `pick_layer`: a row for each square, whose names end in what part of the photograph
        they are (``coffee-upper``).

    Returns
    -------
    list of str
        A square for each photograph, in the order of the table.
    """
    photographs = rows["image"].str.rpartition("-")[0].where(rows["image"].str.contains("-"), rows["image"])
    return [find_strongest(part) for _, part in rows.groupby(photographs, sort=False)]


def read_crop(trained: Trained, row: "pd.Series[Any]") -> Crop:
    """Read the crop that a row names.

    Parameters
    ----------
    trained : Trained
        Results with a folder.
    row : Series
        A row of `list_crops`.

    Raises
    ------
    EmptyFigureError
        If its file is missing or is not a picture.
    """
    kernel = None if pd.isna(row["kernel_size"]) else int(row["kernel_size"])
    return Crop(
        layer=format_layer(str(row["upsampler"]), kernel, int(row["scale_factor"])),
        image=str(row["image"]),
        step=int(row["step"]),
        psnr_db=float(row["psnr_db"]),
        checkerboard_levels=float(row["checkerboard_levels"]),
        pixels=_read(_get_folder(trained) / str(row["crop"])),
    )


def read_original(trained: Trained, image: str, task: str = MAIN_TASK) -> Pixels:
    """Read the same crop of the image itself.

    Parameters
    ----------
    trained : Trained
        Results with a folder.
    image : str
        Name of the test image.
    task : str
        Task of the networks.

    Returns
    -------
    ndarray, shape (H, W, 3), uint8

    Raises
    ------
    EmptyFigureError
        If its file is missing or is not a picture.
    """
    return _read(_get_folder(trained) / "crops" / "originals" / f"{task}-{image}.png")


def _get_folder(trained: Trained) -> Path:
    if trained.folder is None:
        raise EmptyFigureError("trained: these results have no crops of images; deconvbench train makes them")
    return trained.folder


def _read(path: Path) -> Pixels:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        reason = "there is no such file" if not path.exists() else explain_os_error(error)
        raise EmptyFigureError(f"trained: cannot read the crop {str(path)!r}: {reason}") from error


def get_period(task: str, scale_factor: int = 2) -> int:
    """Give the period of the checkerboard, in pixels of the output.

    Parameters
    ----------
    task : str
        Task of the network.
    scale_factor : int
        Scale s of each upsampler.
    """
    return get_task(task).find_period(scale_factor)


def find_window(output: Pixels, original: Pixels, period: int, size: tuple[int, int]) -> Window:
    """Find the part of a crop in which a checkerboard shows most: the strongest over the quietest content.

    Parameters
    ----------
    output, original : ndarray, shape (H, W, 3), uint8
        What a network made, and of what.
    period : int
        See `get_period`.
    size : (int, int)
        Height and width of the part, multiples of the period, at most those of the crop.

    Returns
    -------
    (slice, slice)
        Rows and columns.
    """
    height, width = size
    residual: npt.NDArray[np.float64] = output.astype(np.float64) - original
    # off the edges, where padding shows too, if there is room
    rim = _RIM_PERIODS * period
    if min(output.shape[0] - height, output.shape[1] - width) < 2 * rim:
        rim = 0
    best, most = (0, 0), -np.inf
    for top in range(rim, output.shape[0] - rim - height + 1, period):
        for left in range(rim, output.shape[1] - rim - width + 1, period):
            part = (slice(top, top + height), slice(left, left + width))
            shown = _measure_ripple(residual[part], period) / (1 + float(original[part].std(axis=(0, 1)).mean()))
            if shown > most:
                best, most = (top, left), shown
    return slice(best[0], best[0] + height), slice(best[1], best[1] + width)


def _measure_ripple(residual: npt.NDArray[np.float64], period: int) -> float:
    """RMS of the means over the phases about their mean: good enough to choose a window by."""
    height, width, channels = residual.shape
    phases = residual.reshape(height // period, period, width // period, period, channels).mean(axis=(0, 2))
    return float(np.sqrt(phases.var(axis=(0, 1)).mean()))


def name_sheet(title: str, network: Network) -> str:
    """Name a figure that is drawn for several tasks: the others than the article's are named.

    Parameters
    ----------
    title : str
        Of the figure.
    network : Network
        That it shows.
    """
    return title if network.task == MAIN_TASK else f"{title}, {network.task}"


def describe_scores(crop: Crop) -> str:
    """Write the two scores of a crop's image on one line.

    Parameters
    ----------
    crop : Crop
        From `read_crop`.
    """
    return f"CBA {format_levels(crop.checkerboard_levels)} levels, PSNR {format_decibels(crop.psnr_db)} dB"


def format_decibels(decibels: float) -> str:
    """Write decibels with one digit after the point.

    Parameters
    ----------
    decibels : float
        NaN is written as a dash.
    """
    return "–" if np.isnan(decibels) else f"{decibels:.1f}"


def format_levels(levels: float) -> str:
    """Write 8-bit levels, signed, with a digit or two.

    Parameters
    ----------
    levels : float
        NaN is written as a dash.
    """
    if np.isnan(levels):
        return "–"
    text = f"{levels:.1f}" if abs(levels) >= 1 else f"{levels:.2f}"
    # a typographic minus, as on the axes; no sign where rounding leaves nothing
    return text.lstrip("-") if not float(text) else text.replace("-", "−")
