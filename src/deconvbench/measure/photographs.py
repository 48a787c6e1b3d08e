"""The photographs in scikit-image's own wheel: the only images that are always at hand.

Reads files that are listed here by name, from the installed package. Nothing is ever downloaded: `skimage.data`,
which fetches what it does not find, is not used.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import skimage
from skimage.io import imread

from deconvbench.errors import SurroundingsError

# photographs in the wheel with 256 pixels a side or more; in colour, and what grey ones have texture
PHOTOGRAPHS: Mapping[str, str] = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "grass": "grass.png",
    "hubble_deep_field": "hubble_deep_field.jpg",
    "immunohistochemistry": "ihc.png",
    "motorcycle_left": "motorcycle_left.png",
    "motorcycle_right": "motorcycle_right.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
}


def read_photograph(name: str) -> npt.NDArray[np.uint8]:
    """Read a photograph from scikit-image's wheel.

    Parameters
    ----------
    name : str
        One of `PHOTOGRAPHS`.

    Returns
    -------
    ndarray, shape (H, W) or (H, W, 3), uint8
        Grey or colour, 0..255.

    Raises
    ------
    KeyError
        If there is no photograph of that name.
    SurroundingsError
        If this installation of scikit-image lacks the file.
    """
    return read_bundled(PHOTOGRAPHS[name])


def read_bundled(file_name: str) -> npt.NDArray[np.uint8]:
    """Read any picture of scikit-image's wheel.

    Parameters
    ----------
    file_name : str
        In the folder ``data`` of the package.

    Returns
    -------
    ndarray, shape (H, W) or (H, W, 3), uint8
        Grey or colour, 0..255.

    Raises
    ------
    SurroundingsError
        If this installation of scikit-image lacks the file.
    """
    path = Path(skimage.__file__).parent / "data" / file_name
    try:
        pixels: npt.NDArray[Any] = imread(path)
    except OSError as error:
        raise SurroundingsError(f"{path} cannot be read; reinstall scikit-image") from error
    return np.asarray(pixels, dtype=np.uint8)
