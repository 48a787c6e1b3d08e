"""Image files of any kind to pixels of one kind: three channels of 8 bits.

Knows what Pillow reads and how each of its modes is to be shown.
"""

import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from deconvbench.errors import explain_os_error

# pixels; Pillow warns of what may be an attack from about here, and refuses twice as many
_LARGEST = 2**27
# what Pillow's readers raise on a broken file, each for some format
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)
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
    of 8 bits. Transparent pixels are put on white. EXIF rotation is applied. Of several frames the first is taken.

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
        with Image.open(path) as opened:
            if opened.width * opened.height > _LARGEST:
                raise UnreadableImageError(f"{opened.height}×{opened.width} pixels are too many")
            pixels = _show(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image that Pillow reads") from None
    except Image.DecompressionBombError:
        raise UnreadableImageError("too many pixels") from None
    except MemoryError:
        raise UnreadableImageError("does not fit into memory") from None
    except _BROKEN as error:
        raise UnreadableImageError(_explain(error)) from error
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return explain_os_error(error)
    return " ".join(str(error).split()) or type(error).__name__


def _show(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, 3) of an image as it is meant to be seen."""
    if image.mode == "F" or image.mode.startswith("I"):
        grey = _to_eight_bits(np.asarray(image), is_real=image.mode == "F")
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return np.array(image.convert("RGB"))


def _to_eight_bits(values: npt.NDArray[Any], *, is_real: bool) -> npt.NDArray[np.uint8]:
    numbers = values.astype(np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    white = (1 if high <= 1 else 255) if is_real else 65535
    if not (low >= 0 and high <= white):
        raise UnreadableImageError(f"values from {low:g} to {high:g} do not tell what is black and white")
    return np.rint(numbers * (255 / white)).astype(np.uint8)
