"""What a network is given: the shape, dtype and range of each input, as ``--input`` and files of ONNX say it.

Makes no tensors.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from deconvbench.errors import UsageError, quote, suggest

DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
NORMAL, SCALAR = "normal", "scalar"
# of values in one input, and of its axes
_MOST_VALUES, _MOST_AXES = 2**31 - 1, 8
_NUMBER = r"[-+]?(?:\d{1,15}\.?\d{0,15}|\.\d{1,15})(?:e[-+]?\d{1,3})?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})", re.ASCII | re.IGNORECASE)
_FORM = "[NAME=]SHAPE[:DTYPE][:LOW..HIGH], such as 1x3x256x256, image=1x3x64x64:float16 or 1x77:int64:0..49407"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDescription:
    """One input of a network.

    Parameters
    ----------
    shape : tuple of int
        Of the tensor; empty for a single number.
    name : str
        Of the argument of ``forward``, or of the input of an ONNX graph; empty: given by its position.
    dtype : str
        One of `DTYPES`; empty: that of the network.
    low, high : float or None
        Range of its values; None: 0 to 1 for maps of 1 or 3 channels, as images are, for whole numbers and truth
        values; normally distributed otherwise.
    is_normal : bool
        Whether its values are normally distributed, as the latents of a decoder are.

    Raises
    ------
    UsageError
        If there is no such tensor.
    """

    shape: tuple[int, ...]
    name: str = ""
    dtype: str = ""
    low: float | None = None
    high: float | None = None
    is_normal: bool = False

    def __post_init__(self) -> None:
        if min(self.shape, default=1) < 1:
            raise UsageError(f"{self.write_shape()} has an axis of no length")
        if len(self.shape) > _MOST_AXES:
            raise UsageError(f"{self.write_shape()} has more than {_MOST_AXES} axes")
        if math.prod(self.shape) > _MOST_VALUES:
            raise UsageError(f"{quote(self.write_shape())} has more than {_MOST_VALUES} values")
        if self.dtype and self.dtype not in DTYPES:
            hint = suggest(self.dtype, DTYPES)
            raise UsageError(f"dtype {quote(self.dtype)} is not one of {', '.join(DTYPES)}{hint}")
        if (self.low is None) != (self.high is None):
            raise UsageError("a range needs both ends")
        if self.low is not None and self.high is not None and not -math.inf < self.low < self.high < math.inf:
            raise UsageError(f"range {self.low:g}..{self.high:g}: the first number is not below the second")

    @property
    def is_float(self) -> bool:
        """Whether its values are floating-point numbers."""
        return not self.dtype or "float" in self.dtype

    def write_shape(self) -> str:
        """Write its shape."""
        return "x".join(map(str, self.shape)) or SCALAR

    def __str__(self) -> str:
        text = (f"{self.name}=" if self.name else "") + self.write_shape()
        text += f":{self.dtype}" if self.dtype else ""
        if self.is_normal:
            return f"{text}:{NORMAL}"
        return text if self.low is None or self.high is None else f"{text}:{self.low:g}..{self.high:g}"


def parse_input(text: str, where: str = "--input") -> InputDescription:
    """Read ``[NAME=]SHAPE[:DTYPE][:LOW..HIGH]``.

    Parameters
    ----------
    text : str
        Such as ``1x3x256x256``, ``image=1x3x64x64:float16:-1..1``, ``1x4x32x32:normal``, ``t=1:int64:0..999``.
    where : str
        The option or key, for the message.

    Raises
    ------
    UsageError
        If it is not of that form, or there is no such tensor.
    """
    name, equals, rest = text.rpartition("=")
    name = name.strip()
    shape, *parts = (part.strip() for part in rest.split(":"))
    sizes = [] if shape == SCALAR else re.split("[x×]", shape)
    is_shape = all(re.fullmatch(r"\d{1,18}", size, re.ASCII) for size in sizes)
    if not is_shape or (equals and not name) or len(parts) > 2 or not all(parts):
        raise UsageError(f"{where}: {quote(text)} is not of the form {_FORM}")
    found = [_RANGE.fullmatch(part) for part in parts]
    ranges = [(float(one[1]), float(one[2])) for one in found if one]
    dtypes = [part for part, one in zip(parts, found, strict=True) if not one and part != NORMAL]
    is_normal = NORMAL in parts
    if len(dtypes) > 1 or len(ranges) + is_normal > 1:
        raise UsageError(f"{where}: {quote(text)} is not of the form {_FORM}")
    low, high = ranges[0] if ranges else (None, None)
    try:
        made = InputDescription(
            shape=tuple(map(int, sizes)),
            name=name,
            dtype=dtypes[0] if dtypes else "",
            low=low,
            high=high,
            is_normal=is_normal,
        )
    except UsageError as error:
        raise UsageError(f"{where}: {quote(text)}: {error}") from error
    if is_normal and not made.is_float:
        raise UsageError(f"{where}: {quote(text)}: {made.dtype} cannot be normally distributed")
    return made


def parse_inputs(texts: Sequence[str], where: str = "--input") -> tuple[InputDescription, ...]:
    """Read several inputs: all of them named, or none.

    Parameters
    ----------
    texts : sequence of str
        As `parse_input` takes them.
    where : str
        The option or key, for the message.

    Raises
    ------
    UsageError
        As `parse_input`, if some have names and others not, or if a name is given twice.
    """
    made = tuple(parse_input(text, where) for text in texts)
    names = [one.name for one in made if one.name]
    if names and len(names) < len(made):
        unnamed = next(one for one in made if not one.name)
        raise UsageError(
            f"{where}: {names[0]!r} has a name and {str(unnamed)!r} has none; name all inputs, or none"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{where}: {twice!r} is given twice")
    return made
