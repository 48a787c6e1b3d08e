"""A folder of results made once for all of the article's figures."""

from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from deconvbench.plots.article.crops import Crop, list_crops, pick_layer, read_crop
from deconvbench.records.layers import NamedLayer
from deconvbench.tables.trained import Trained
from tests.plots.article.made_results import make_trained


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return make_trained(tmp_path_factory.mktemp("experiments"))


def list_images(figure: Figure, dims: int = 3) -> list[np.ndarray]:
    """Values of a figure's images, in the order in which they were placed: photographs, or (dims 2) spectra."""
    arrays = [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]
    return [array for array in arrays if array.ndim == dims]


def read_line(line: Line2D) -> tuple[np.ndarray, np.ndarray]:
    """Places of a line's points."""
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def read_one(trained: Trained, layer: NamedLayer, image: str, step: int | None = None) -> Crop:
    """The crop of one layer and image, by default at the last step."""
    rows = pick_layer(list_crops(trained), layer)
    rows = rows[(rows["image"] == image) & (rows["step"] == (rows["step"].max() if step is None else step))]
    (crop,) = [read_crop(trained, row) for _, row in rows.iterrows()]
    return crop


def list_outlines(axes: Axes) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of the rectangles without a filling."""
    patches = [patch for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    return [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in patches]


def list_cells(axes: Axes, shape: tuple[int, int]) -> Sequence[str]:
    """Colours of the cells that were drawn first, row by row."""
    return [to_hex(patch.get_facecolor()) for patch in axes.patches[: shape[0] * shape[1]]]
