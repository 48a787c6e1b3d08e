"""Images as people have them, brought into one form: torch and numpy in any layout, and Pillow images.

Accepts what an image can reasonably be (any number type, any device, alone or in a batch, channels first or last),
refuses everything else in one line, and turns it into float64 on the CPU: not every accelerator has float64, and
one that has is rarely quicker at it. An axis that cannot be told is asked for by name. Pillow is not imported
here: only a program that has done so has an image of its kind. Opens no files.
"""

import math
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from deconvbench.errors import UsageError, quote

if TYPE_CHECKING:
    import PIL.Image
    from numpy.typing import NDArray

Picture: TypeAlias = "Tensor | NDArray[np.number[Any]] | PIL.Image.Image"
"""What `checkerboard` and the other scores of images take."""
Channels = Literal["first", "last"]

EIGHT_BITS, SIXTEEN_BITS, IMAGE_UNITS = "8-bit levels", "16-bit levels", "image units"

# what Pillow's readers raise on a broken file, each for some format; a file is read when its pixels are asked for
PILLOW_ERRORS = (
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

# an axis of at most so many may be the channels: grey, colour, and either with an alpha channel
_MOST_CHANNELS = 4
_INTEGERS = (
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
)
_REAL_ONLY = "does not hold real numbers; integers and floating point are allowed"
# Pillow's modes: those whose numbers are taken as they are, those shown as grey, and those shown as colours
_NUMBER_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_GREY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")


def read_images(image: object, *, channels: Channels | None = None) -> Tensor:
    """Bring an image or a batch of images into one form.

    Parameters
    ----------
    image : Tensor, ndarray or PIL.Image.Image
        A tensor or an array of shape (H, W), (C, H, W), (H, W, C), (N, C, H, W) or (N, H, W, C): integers or
        floating-point numbers, on any device, with or without a graph; no pixel masked. All channels of it count
        alike, an alpha channel among them.
        Or a Pillow image, as it is seen: palettes resolved, CMYK, YCbCr and HSV as RGB, transparent pixels on
        white (an opaque alpha channel changes nothing). EXIF's orientation is not applied, since a grid lies on
        the pixels as they are stored. Of several frames the current one is taken.
    channels : {"first", "last"} or None
        Where the channels of a tensor or an array with more than two axes are. None: a tensor has them first, as
        torch does; an array has them at the end whose axis is at most 4, if the other end's is not. No effect on
        a Pillow image.

    Returns
    -------
    Tensor, shape (N, C, H, W), float64
        On the CPU, without a graph.

    Raises
    ------
    UsageError
        If it is something else, has another shape, is empty, has masked pixels or none that are stored (sparse,
        meta), holds NaN or infinity, is of a mode of Pillow that is not shown by a fixed rule (LAB) or a file
        that Pillow cannot read; if its channels cannot be told, or `channels` is none of the three.
    """
    if channels not in ("first", "last", None):
        raise UsageError(f'channels: {quote(channels)} is not "first", "last" or None')
    if isinstance(image, np.ndarray):
        values = _read_array(image)
    elif isinstance(image, Tensor):
        values = _read_tensor(image)
    elif _is_pillow(image):
        values, channels = _read_pillow(image), "last"
    else:
        hint = "; PIL.Image.open reads files" if isinstance(image, str) or hasattr(image, "__fspath__") else ""
        raise UsageError(
            f"image: a {type(image).__name__} is neither a torch tensor nor a numpy array nor a Pillow image{hint}"
        )
    shape = tuple(values.shape)
    if not 2 <= len(shape) <= 4 or 0 in shape:
        raise UsageError(
            f"image: shape {shape} is not (H, W), (C, H, W), (N, C, H, W) or the same with channels last, none of"
            " them 0"
        )
    images = values.reshape((1,) * (4 - len(shape)) + shape)
    if len(shape) > 2 and (channels or _tell_channels(shape, is_tensor=isinstance(image, Tensor))) == "last":
        images = images.movedim(-1, 1)
    if not bool(images.isfinite().all()):
        raise UsageError("image: holds NaN or infinity; every value must be finite")
    return images


def find_unit(image: Any) -> str:
    """Name the unit that amplitudes of an image are in.

    Parameters
    ----------
    image : object
        As for `read_images`.

    Returns
    -------
    str
        ``8-bit levels`` for whole numbers of 8 bits without a sign and Pillow images of 8 bits, ``16-bit levels``
        for those of 16 bits, otherwise ``image units``: whether numbers go to 1 or to 255 is not guessed.
    """
    if _is_pillow(image):
        mode = image.mode
        if mode in _GREY_MODES or mode in _COLOUR_MODES:
            return EIGHT_BITS
        return SIXTEEN_BITS if mode.startswith("I;16") else IMAGE_UNITS
    dtype = str(getattr(image, "dtype", "")).removeprefix("torch.")
    return {"uint8": EIGHT_BITS, "uint16": SIXTEEN_BITS, ">u2": SIXTEEN_BITS}.get(dtype, IMAGE_UNITS)


def _tell_channels(shape: tuple[int, ...], *, is_tensor: bool) -> Channels:
    """Where the channels of three or four axes are, or an error that asks for them."""
    may_be_first, may_be_last = shape[-3] <= _MOST_CHANNELS, shape[-1] <= _MOST_CHANNELS
    if is_tensor and (may_be_first or not may_be_last):
        return "first"
    if not is_tensor and may_be_first != may_be_last:
        return "first" if may_be_first else "last"
    if is_tensor:
        raise UsageError(
            f"image: shape {shape} of a tensor should have its channels first and seems to have them last; name"
            ' them with channels="last" (or "first")'
        )
    raise UsageError(
        f"image: shape {shape} could have its channels first or last; name them with"
        ' channels="first" or channels="last"'
    )


def _read_array(image: np.ndarray[Any, Any]) -> Tensor:
    if image.dtype.kind not in "fiu":
        raise UsageError(f"image: dtype {image.dtype} {_REAL_ONLY}")
    masked = int(np.ma.getmaskarray(image).sum()) if isinstance(image, np.ma.MaskedArray) else 0
    if masked:
        # a spectrum needs every pixel, and what lies under a mask is not one
        raise UsageError(
            f"image: {masked} of {image.size} values are masked; fill them, or cut a part without any"
        )
    with np.errstate(over="ignore"):  # what float64 cannot hold is refused as infinite
        # a copy: torch takes neither every number type of numpy nor read-only or reversed arrays
        return torch.from_numpy(np.array(image, dtype=np.float64))


def _read_tensor(image: Tensor) -> Tensor:
    if image.is_quantized:
        raise UsageError("image: a quantised tensor holds no plain numbers; dequantize() makes them")
    if not (image.dtype.is_floating_point or image.dtype in _INTEGERS):
        raise UsageError(f"image: dtype {str(image.dtype).removeprefix('torch.')} {_REAL_ONLY}")
    if image.is_meta:
        raise UsageError("image: a tensor on the meta device has a shape but no values")
    if image.is_nested or image.layout is not torch.strided:
        kind = "nested" if image.is_nested else str(image.layout).removeprefix("torch.")
        raise UsageError(f"image: a tensor of layout {kind} is not a dense array of pixels")
    try:
        return image.detach().cpu().to(torch.float64)
    except (RuntimeError, TypeError) as error:  # NotImplementedError is a RuntimeError
        reason = str(error).partition("\n")[0]
        raise UsageError(f"image: cannot be read as numbers: {quote(reason)}") from error


def _is_pillow(image: Any) -> bool:
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(image, pillow.Image)


def _read_pillow(image: Any) -> Tensor:
    """Values (H, W) or (H, W, 3) of a Pillow image, float64, as it is seen."""
    mode = image.mode
    if mode not in _NUMBER_MODES + _GREY_MODES + _COLOUR_MODES:
        known = ", ".join(_NUMBER_MODES[:3] + _GREY_MODES[:3] + _COLOUR_MODES)
        raise UsageError(f"image: Pillow's mode {quote(mode)} is not one of {known}; convert() makes one")
    try:
        image.load()  # palettes and transparent colours of some formats are known only then
        if mode in _NUMBER_MODES:
            return torch.from_numpy(np.array(image, dtype=np.float64))
        is_grey = mode in _GREY_MODES
        if not image.has_transparency_data:
            return torch.from_numpy(np.array(image.convert("L" if is_grey else "RGB"), dtype=np.float64))
        seen = np.array(image.convert("LA" if is_grey else "RGBA"), dtype=np.float64)
    except PILLOW_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"image: Pillow cannot read its pixels: {reason}") from error
    # on white; where alpha is 255 this is the colour itself, exactly
    return torch.from_numpy(255 - seen[..., -1:] / 255 * (255 - seen[..., :-1]))


def split_magnitude(images: Tensor) -> tuple[Tensor, float]:
    """Divide images by a power of two, so that squares of their values are numbers: exact, but for subnormal ones.

    Parameters
    ----------
    images : Tensor, float64
        From `read_images`.

    Returns
    -------
    images : Tensor
        With values below 2.
    factor : float
        What they were divided by: an amplitude of these times it is one of those.
    """
    largest = float(images.abs().max())
    factor = math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest > 0 else 1.0
    return images / factor, factor
