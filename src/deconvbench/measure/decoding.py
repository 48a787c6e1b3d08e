"""Image files of any kind to pixels of one kind: three channels of 8 bits, or 8-bit levels of any depth.

Knows what Pillow reads and how each of its modes is to be shown.
"""

import math
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from deconvbench.errors import explain_os_error
from deconvbench.measure.artifacts.images import PILLOW_ERRORS, SIXTEEN_BITS, find_unit, read_images

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
_MOST_CHANNELS = 4
_STRIP = 256  # rows at a time: what is computed in float64 takes eight times the memory
_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")
_GREY = ("1", "L", "LA", "La")
_SIXTEEN_BITS = (";16B", ";16L", ";16N")
Shown = TypeVar("Shown")


class UnreadableImageError(Exception):
    """A file that gives no image; the message says why and does not name the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture file, decoded.

    Parameters
    ----------
    values : Tensor, shape (C, H, W), uint8 or float32
        One channel of a grey picture, three of a coloured one, in 8-bit levels: 0 is black, 255 white.
    format : str
        Pillow's name of the file's format, such as ``JPEG``.
    notes : tuple of str
        What a reader of the pixels must know: what could not be read as the file has it.
    """

    values: Tensor
    format: str
    notes: tuple[str, ...] = ()


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
    pixels, _ = _decode(path, _show)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def read_levels(path: Path) -> Picture:
    """Decode an image of any size and mode that Pillow reads to 8-bit levels, without rounding those of more bits.

    As `read_image`, but grey images have one channel, 16 bits are divided by 257 and not rounded, and images that
    are dark in all 16 bits are taken as they are, with a note.

    Parameters
    ----------
    path : Path
        Of the file.

    Returns
    -------
    Picture

    Raises
    ------
    UnreadableImageError
        As `read_image`.
    """
    picture, file_format = _decode(path, _show_levels)
    return replace(picture, format=file_format)


def read_given(image: object) -> Picture:
    """Take an image that a program holds as `read_levels` takes the file of one.

    Parameters
    ----------
    image : Tensor, ndarray or PIL.Image.Image
        One image, of a layout that `read_images` knows. Numbers of 8 bits without a sign are levels, those of 16
        bits are divided by 257; floating point must lie in 0..1 or 0..255, other whole numbers in 0..255. Two and
        four channels are grey and colour with an alpha channel. EXIF's rotation is applied.

    Returns
    -------
    Picture
        Of no format but that of a Pillow image that was opened from a file.

    Raises
    ------
    UnreadableImageError
        If its values have no known range, or it is not one image of one to four channels.
    UsageError
        As `read_images`.
    """
    if isinstance(image, Image.Image):
        try:
            raw_mode = _find_raw_mode(image)
            return replace(_show_levels(_turn(image), raw_mode), format=image.format or "")
        except PILLOW_ERRORS as error:
            raise UnreadableImageError(_explain(error)) from error
    numbers = read_images(image)
    if len(numbers) != 1 or numbers.shape[1] > _MOST_CHANNELS:
        raise UnreadableImageError(
            f"shape {tuple(getattr(image, 'shape', ()))} is not one image of 1 to {_MOST_CHANNELS} channels"
        )
    levels = numbers[0] * (255 / _find_white_of_numbers(image, numbers))
    if len(levels) in (1, 3):
        return Picture(values=levels.float(), format="")
    seen = 255 - levels[-1:] / 255 * (255 - levels[:-1])
    return Picture(values=seen.float(), format="", notes=("transparent pixels are put on white",))


def _find_white_of_numbers(image: object, numbers: Tensor) -> int:
    """Which number is white in an array or a tensor."""
    if find_unit(image) == SIXTEEN_BITS:
        return 65535
    kind = "F" if "float" in str(getattr(image, "dtype", "")) else "L"
    return _check_range(numbers.numpy(), kind, "")


def count_pixels(path: Path) -> int:
    """Count the pixels of an image by its header.

    Parameters
    ----------
    path : Path
        Of the file.

    Returns
    -------
    int
        0 where the header cannot be read; `read_levels` says why.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return 0
        with path.open("rb") as file, Image.open(file) as opened:
            return opened.width * opened.height
    except (Image.DecompressionBombError, MemoryError, *PILLOW_ERRORS):
        return 0


def _decode(path: Path, show: Callable[[Image.Image, str], Shown]) -> tuple[Shown, str]:
    """Open a file and show what is in it; and the name of its format."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImageError("not a regular file")
        # opened here, because Pillow leaves a file open whose header it refuses
        with path.open("rb") as file, Image.open(file) as opened:
            if opened.width * opened.height > _LARGEST:
                raise UnreadableImageError(f"{opened.height}×{opened.width} pixels are too many")
            file_format, raw_mode = opened.format or "", _find_raw_mode(opened)
            return show(_turn(opened), raw_mode), file_format
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image that Pillow reads") from None
    except Image.DecompressionBombError:
        raise UnreadableImageError("too many pixels") from None
    except MemoryError:
        raise UnreadableImageError("does not fit into memory") from None
    except PILLOW_ERRORS as error:
        raise UnreadableImageError(_explain(error)) from error


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
    if raw_mode.endswith(_SIXTEEN_BITS) and image.mode != "CMYK":
        _check_high_bytes(image)
    return np.array(_put_on_white(image).convert("RGB"))


def _put_on_white(image: Image.Image) -> Image.Image:
    """Make an image opaque."""
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return image


def _show_levels(image: Image.Image, raw_mode: str) -> Picture:
    """8-bit levels of an image as it is meant to be seen."""
    notes = ["the first of several frames"] if getattr(image, "is_animated", False) else []
    if image.mode == "F" or image.mode.startswith("I"):
        numbers = np.asarray(image)
        white = _check_range(numbers, image.mode, raw_mode, is_dark_allowed=True)
        if white == 65535 and 0 < (highest := float(numbers.max())) < _LEAST_SHARE * white:
            notes.append(f"no value above {highest:g} of 65535; if white is less, amplitudes are larger")
        levels = np.empty((1, *numbers.shape), dtype=np.float32)
        for top in range(0, len(numbers), _STRIP):
            levels[0, top : top + _STRIP] = numbers[top : top + _STRIP].astype(np.float64) * (255 / white)
        return Picture(values=torch.from_numpy(levels), format="", notes=tuple(notes))
    if raw_mode.endswith(_SIXTEEN_BITS) and image.mode != "CMYK":
        notes.append("colours of 16 bits, of which the higher 8 are read")
    is_grey = image.mode in _GREY
    seen = _put_on_white(image)
    if seen is not image:
        notes.append("transparent pixels are put on white")
    pixels = np.array(seen.convert("L" if is_grey else "RGB"))
    values = pixels[None] if is_grey else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return Picture(values=torch.from_numpy(values), format="", notes=tuple(notes))


def _check_high_bytes(image: Image.Image) -> None:
    """Refuse colours of 16 bits, of which Pillow keeps the higher 8, if these hardly hold anything."""
    colours = image.convert("RGB") if image.mode in _TRANSPARENT else image
    highest = int(np.asarray(colours).max())
    if highest < 255 * _LEAST_SHARE:
        raise UnreadableImageError(f"values up to {256 * highest + 255} of 65535 do not tell what is white")


def _to_eight_bits(values: npt.NDArray[Any], mode: str, raw_mode: str) -> npt.NDArray[np.uint8]:
    white = _check_range(values, mode, raw_mode)
    grey = np.empty(values.shape, dtype=np.uint8)
    for top in range(0, len(values), _STRIP):
        grey[top : top + _STRIP] = np.rint(values[top : top + _STRIP].astype(np.float64) * (255 / white))
    return grey


def _check_range(values: npt.NDArray[Any], mode: str, raw_mode: str, *, is_dark_allowed: bool = False) -> int:
    """Find which value is white; refuse what does not tell, or has values beyond."""
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low) or not math.isfinite(high):
        bad = int(np.count_nonzero(~np.isfinite(values)))
        raise UnreadableImageError(f"{bad} of {values.size} values are NaN or infinite")
    white = _find_white(high, mode, raw_mode, is_dark_allowed=is_dark_allowed)
    if white is None or not (low >= 0 and high <= white):
        raise UnreadableImageError(f"values from {low:g} to {high:g} do not tell what is black and white")
    return white


def _find_white(high: float, mode: str, raw_mode: str, *, is_dark_allowed: bool) -> int | None:
    """Which value is white in an image of more than 8 bits with this highest value; None where nothing tells."""
    if mode == "L":
        return 255
    if mode == "F":
        white = 1 if high <= 1 else 255
        return white if high <= 1 or high >= _LEAST_SHARE * white else None
    if raw_mode == "I;12":
        return 4095
    if raw_mode == _SCALED:
        return 65535
    is_whole_range = mode.startswith("I;16") or raw_mode in ("I;16", "I;16B", "I;16L", "I;16N")
    is_bright = high == 0 or high >= _LEAST_SHARE * 65535
    return 65535 if is_whole_range and (is_bright or is_dark_allowed) else None
