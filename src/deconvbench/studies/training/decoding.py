"""Image files of any kind to pixels of one kind: three channels of 8 bits.

Knows what Pillow reads and how each of its modes is to be shown.
"""

import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from deconvbench.errors import explain_os_error
from deconvbench.measure.artifacts.images import PILLOW_ERRORS

# pixels; Pillow warns of what may be an attack from about here, and refuses twice as many
_LARGEST = 2**27
# what EXIF's orientation asks for
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# a photograph whose brightest pixel is darker than this share of white was more likely given another white
_LEAST_SHARE = 0.25
# where the header tells what is white, and Pillow has made it 65535
_SCALED = "scaled"
_STRIP = 256  # rows at a time: what is computed in float64 takes eight times the memory
_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")


class UnreadableImageError(Exception):
    """A file that gives no image; the message says why and does not name the file."""


@contextmanager
def hush_pillow() -> Iterator[None]:
    """Silence Pillow's warnings of odd files while files are decoded, by however many threads.

    What it warns of is either shown all the same or refused here with a reason. Not to be entered by threads:
    Python's filters are of the whole process.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def read_image(path: Path) -> Tensor:
    """Decode an image of any size and mode that Pillow reads.

    Grey images become three equal channels; images of 16 bits and of floating point (0..1 or 0..255) become those
    of 8 bits, unless their values leave it open what is white: integers of 32 bits or with a sign, 16 bits whose
    two highest are empty (as from a camera of 12), numbers a little above 1. Transparent pixels are put on white.
    EXIF rotation is applied where it can be read. Of several frames the first is taken.

    Parameters
    ----------
    path : Path
        Of the file.

    Returns
    -------
    Tensor, shape (3, H, W), uint8

    Raises
    ------
    UnreadableImageError
        If it is not an image, is broken, too large to be meant, or has values with no known range.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImageError("not a regular file")
        # opened here, because Pillow leaves a file open whose header it refuses
        with path.open("rb") as file, Image.open(file) as opened:
            if opened.width * opened.height > _LARGEST:
                raise UnreadableImageError(f"{opened.height}×{opened.width} pixels are too many")
            raw_mode = _find_raw_mode(opened)
            pixels = _show(_turn(opened), raw_mode)
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image that Pillow reads") from None
    except Image.DecompressionBombError:
        raise UnreadableImageError("too many pixels") from None
    except MemoryError:
        raise UnreadableImageError("does not fit into memory") from None
    except PILLOW_ERRORS as error:
        raise UnreadableImageError(_explain(error)) from error
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return explain_os_error(error)
    return " ".join(str(error).split()) or type(error).__name__


def _find_raw_mode(image: Image.Image) -> str:
    """How the file stores its pixels, as Pillow calls it, before they are loaded; empty where it does not tell."""
    tiles = getattr(image, "tile", None) or [("", None, 0, "")]
    arguments = tiles[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    if image.format == "PPM" and first != "I;16B":
        return _SCALED
    return first if isinstance(first, str) else ""


def _turn(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except PILLOW_ERRORS:  # what a camera noted about itself is no reason to lose its photograph
        return image
    method = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _show(image: Image.Image, raw_mode: str) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, 3) of an image as it is meant to be seen."""
    if image.mode == "F" or image.mode.startswith("I"):
        grey = _to_eight_bits(np.asarray(image), image.mode, raw_mode)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if raw_mode.endswith((";16B", ";16L", ";16N")) and image.mode != "CMYK":
        _check_high_bytes(image)
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return np.array(image.convert("RGB"))


def _check_high_bytes(image: Image.Image) -> None:
    """Refuse colours of 16 bits, of which Pillow keeps the higher 8, if these hardly hold anything."""
    colours = image.convert("RGB") if image.mode in _TRANSPARENT else image
    highest = int(np.asarray(colours).max())
    if highest < 255 * _LEAST_SHARE:
        raise UnreadableImageError(f"values up to {256 * highest + 255} of 65535 do not tell what is white")


def _to_eight_bits(values: npt.NDArray[Any], mode: str, raw_mode: str) -> npt.NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    white = _find_white(high, mode, raw_mode)
    if white is None or not (low >= 0 and high <= white):
        raise UnreadableImageError(f"values from {low:g} to {high:g} do not tell what is black and white")
    grey = np.empty(values.shape, dtype=np.uint8)
    for top in range(0, len(values), _STRIP):
        grey[top : top + _STRIP] = np.rint(values[top : top + _STRIP].astype(np.float64) * (255 / white))
    return grey


def _find_white(high: float, mode: str, raw_mode: str) -> int | None:
    """Which value is white in an image of more than 8 bits with this highest value; None where nothing tells."""
    if mode == "F":
        white = 1 if high <= 1 else 255
        return white if high <= 1 or high >= _LEAST_SHARE * white else None
    if raw_mode == "I;12":
        return 4095
    if raw_mode == _SCALED:
        return 65535
    is_whole_range = mode.startswith("I;16") or raw_mode in ("I;16", "I;16B", "I;16L", "I;16N")
    return 65535 if is_whole_range and (high == 0 or high >= _LEAST_SHARE * 65535) else None
