"""What an audit shows beside its numbers: one output, where its ripple is, its pattern and spectra. Plain data.

Small enough for JSON: a picture is at most 256×256 pixels, compressed. Measures and draws nothing.
"""

import base64
import binascii
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deconvbench.errors import UsageError

MOST_PIXELS = 256
"""Of a side of the picture."""
MOST_PERIOD = 64
"""Of the pattern."""
MOST_FREQUENCIES = 257
"""Of a spectrum."""
MOST_WINDOWS = 900
"""Of the map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture of 8-bit levels.

    Parameters
    ----------
    height, width : int
        In pixels, at most `MOST_PIXELS` each.
    channels : int
        1 or 3.
    data : str
        Its levels row by row, the channels of a pixel side by side; compressed by zlib, in base64.

    Raises
    ------
    UsageError
        If the data are not of that shape.
    """

    height: int
    width: int
    channels: int
    data: str

    def __post_init__(self) -> None:
        sides = (self.height, self.width)
        if not all(0 < side <= MOST_PIXELS for side in sides) or self.channels not in {1, 3}:
            raise UsageError(
                f"picture: {self.height}×{self.width}×{self.channels} is not at most"
                f" {MOST_PIXELS}×{MOST_PIXELS} pixels of 1 or 3 channels"
            )
        self.read_levels()

    @classmethod
    def from_levels(cls, levels: bytes, height: int, width: int, channels: int) -> "Picture":
        """Make a picture.

        Parameters
        ----------
        levels : bytes
            Height · width · channels of them, row by row, the channels of a pixel side by side.
        height, width, channels : int
            Its shape.

        Raises
        ------
        UsageError
            If they are not of that shape.
        """
        data = base64.b64encode(zlib.compress(levels, 9)).decode("ascii")
        return cls(height=height, width=width, channels=channels, data=data)

    def read_levels(self) -> bytes:
        """Give its levels, row by row, the channels of a pixel side by side."""
        size = self.height * self.width * self.channels
        unpacker = zlib.decompressobj()
        try:
            # no more than there should be is unpacked
            levels = unpacker.decompress(base64.b64decode(self.data, validate=True), size + 1)
        except (zlib.error, binascii.Error, ValueError) as error:
            raise UsageError("picture: its data are not compressed levels in base64") from error
        if len(levels) != size:
            raise UsageError(f"picture: has {len(levels)} levels or more, and its shape {size}")
        return levels


@dataclass(frozen=True, slots=True, kw_only=True)
class RippleMap:
    """Checkerboard amplitude in windows all over the picture, as `measure.picture.map_amplitudes` makes it.

    Parameters
    ----------
    period : int
        Of the pattern, in pixels.
    window : int
        Side of a window, in pixels.
    rows, columns : tuple of float
        Edges of the cells that the windows' middles lie in, in pixels of the picture: R + 1 and C + 1 numbers.
    amplitudes : tuple of tuple of float
        R times C, in 8-bit levels, signed.
    detection_levels : tuple of tuple of (float or None)
        The same of the level that each must exceed; None where it is not known, which is never exceeded.

    Raises
    ------
    UsageError
        If they do not fit each other.
    """

    period: int
    window: int
    rows: tuple[float, ...]
    columns: tuple[float, ...]
    amplitudes: tuple[tuple[float, ...], ...]
    detection_levels: tuple[tuple[float | None, ...], ...]

    def __post_init__(self) -> None:
        shape = (len(self.rows) - 1, len(self.columns) - 1)
        if min(shape) < 1 or math.prod(shape) > MOST_WINDOWS:
            raise UsageError(f"map: {shape[0]}×{shape[1]} windows are not 1 to {MOST_WINDOWS}")
        for name, grid in (("amplitudes", self.amplitudes), ("detection levels", self.detection_levels)):
            if len(grid) != shape[0] or any(len(row) != shape[1] for row in grid):
                raise UsageError(f"map: its {name} are not {shape[0]}×{shape[1]}, as its edges are")
        levels = (level for row in self.detection_levels for level in row if level is not None)
        amplitudes = (amplitude for row in self.amplitudes for amplitude in row)
        _check_finite("map", [*self.rows, *self.columns, *amplitudes, *levels])


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an audit shows beside its numbers; what could not be made is None.

    Parameters
    ----------
    picture : Picture or None
        One output for a real image: its middle, in the channels that a picture has.
    ripple_map : RippleMap or None
        Where in that picture the strongest period is.
    flat_pattern : tuple or None
        P×P×C: what repeats in the output for the plain colour with most ripple, one period of it, without its
        mean, in 8-bit levels. C is 1 or 3.
    spectrum : tuple of float or None
        Mean power in levels² of outputs for real images after the Laplacian, at K equidistant frequencies from 0
        to 0.5 cycles per pixel, both among them, along an axis (mean of both).
    flat_spectrum : tuple of float or None
        The same of the output for the plain colour with most ripple.

    Raises
    ------
    UsageError
        If something in it does not fit, or is not finite.
    """

    picture: Picture | None = None
    ripple_map: RippleMap | None = None
    flat_pattern: tuple[tuple[tuple[float, ...], ...], ...] | None = None
    spectrum: tuple[float, ...] | None = None
    flat_spectrum: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.flat_pattern is not None:
            _check_pattern(self.flat_pattern)
        for name, powers in (("spectrum", self.spectrum), ("spectrum of plain colours", self.flat_spectrum)):
            if powers is None:
                continue
            if not 2 <= len(powers) <= MOST_FREQUENCIES:
                raise UsageError(f"{name}: {len(powers)} frequencies are not 2 to {MOST_FREQUENCIES}")
            _check_finite(name, powers)


def _check_pattern(pattern: Sequence[Sequence[Sequence[float]]]) -> None:
    side = len(pattern)
    shapes = {(len(row), len(pixel)) for row in pattern for pixel in row}
    if not 1 <= side <= MOST_PERIOD or shapes not in ({(side, 1)}, {(side, 3)}):
        raise UsageError(f"pattern: is not P×P×1 or P×P×3 with P up to {MOST_PERIOD}")
    _check_finite("pattern", [value for row in pattern for pixel in row for value in pixel])


def _check_finite(name: str, values: Iterable[float]) -> None:
    if not all(map(math.isfinite, values)):
        raise UsageError(f"{name}: not all of it is finite")
