"""Everything that is measured on one picture: period, amplitude, block edges, traits, and where it is.

A picture may be large: it is taken in tiles, and the period is looked for in a sample, so that memory and time
stay within bounds. Reads no file and gives no verdict.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.block_edge import block_edge
from deconvbench.measure.artifacts.enlargement import Enlargement, find_enlargement
from deconvbench.measure.artifacts.even_grid import measure_even_amplitude
from deconvbench.measure.artifacts.grid_traits import examine_grid
from deconvbench.measure.artifacts.patches import LARGEST_PERIOD
from deconvbench.measure.artifacts.period_search import find_period
from deconvbench.measure.artifacts.spectrum import CheckerboardResult, checkerboard

# sides in pixels of a tile, at most, and of one of the four squares that stand for a larger picture
_TILE, _SAMPLE = 2048, 256
# pixels of a side that some period can be read on
_LEAST_SIDE = 32
# the blocks of JPEG, and what tiles are put together from
BLOCK_PERIODS = (8, 16, 32, 64)
# what is read where no period was found: the scales 2, 4 and 8
_USUAL_PERIODS = (8, 4)
# side of a window of the map, in pixels, for periods up to 4 and up to 8; beyond, as many periods
_SMALL_WINDOW, _WINDOW, _PERIODS_PER_WINDOW = 64, 128, 16
_MOST_WINDOWS = 900
# 8-bit levels: what is weaker is of no use to anyone, and in a flat picture all that is left is rounding
_LEAST_LEVEL = 0.01
# lines of a longer period belong to the grid from this share of its amplitude on; with less they are more likely
# what a file left, such as JPEG's, and are named beside it
_BELONGS = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Block edges of one period.

    Parameters
    ----------
    period : int
        Side of the blocks in pixels.
    amplitude, detection_level : float
        As in `BlockEdgeResult`, in 8-bit levels.
    offset : tuple of (int, int)
        As in `BlockEdgeResult`.
    """

    period: int
    amplitude: float
    detection_level: float
    offset: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was measured on one picture; amplitudes in 8-bit levels.

    Parameters
    ----------
    period : int or None
        Of the grid that was found, or that was asked for; None where none stands out.
    is_given : bool
        Whether the period was asked for.
    strength, strength_level : float
        How far the period stands out, and how far it must; NaN where it was asked for and has a detection level.
    read_period : int or None
        Period that the amplitudes are of; None where the picture is too small for it, or it is above 32.
    amplitude, detection_level : float
        As in `CheckerboardResult`; NaN where there is none. Up to 512×512 pixels the amplitude of a grid that is
        equally strong all over is read with less error (`measure_even_amplitude`).
    by_scale : mapping of int to float
        Amplitude by smallest period.
    fainter : mapping of int to float
        The same of lines that stand out, too, and were not counted, by their longer period.
    blocks : tuple of Blocks
        For each period that the picture has room for.
    one_way, stretch, stretch_error : float
        As in `GridTraits`; NaN where there is no grid.
    direction : str
        As in `GridTraits`, empty where there is no grid.
    enlargement : Enlargement or None
        How the picture was probably enlarged.
    is_sampled : bool
        Whether the period was looked for in a part of the picture.
    """

    period: int | None
    is_given: bool
    strength: float
    strength_level: float
    read_period: int | None
    amplitude: float
    detection_level: float
    by_scale: Mapping[int, float]
    fainter: Mapping[int, float]
    blocks: tuple[Blocks, ...]
    one_way: float
    direction: str
    stretch: float
    stretch_error: float
    enlargement: Enlargement | None
    is_sampled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAmplitudes:
    """Where in a picture a grid is; amplitudes in 8-bit levels.

    Parameters
    ----------
    amplitudes, detection_levels : ndarray, shape (R, C)
        Of windows that overlap by about a half, row by row.
    rows, columns : tuple of float
        Edges of the cells that the windows' middles lie in, in pixels: R + 1 and C + 1 numbers.
    window : int
        Side of a window in pixels.
    period : int
        In pixels.
    """

    amplitudes: npt.NDArray[np.float64]
    detection_levels: npt.NDArray[np.float64]
    rows: tuple[float, ...]
    columns: tuple[float, ...]
    window: int
    period: int


def measure_picture(values: Tensor, period: int | None = None) -> Reading:
    """Measure one picture.

    Parameters
    ----------
    values : Tensor, shape (C, H, W)
        8-bit levels of any type.
    period : int or None
        Period to read, 2 to 32; None looks for one of 2 to 64.

    Returns
    -------
    Reading

    Raises
    ------
    UsageError
        If the picture is too small for the period, or for any.
    """
    height, width = values.shape[-2:]
    if min(height, width) < _LEAST_SIDE:
        raise UsageError(f"{width}×{height} pixels are too few; at least {_LEAST_SIDE}×{_LEAST_SIDE} are needed")
    sample = _take_sample(values)
    strength = level = math.nan
    found, chosen = period, period
    if period is None:
        search = find_period(sample, channels="first")
        found, strength, level = search.period, search.strength, search.level
        chosen = _choose_read_period(found, values.shape)
    board = None if chosen is None else pool_checkerboard(values, chosen)
    fainter: dict[int, float] = {}
    if board is not None and period is not None and math.isnan(board.detection_level):
        # then how far it stands out has to do, as where it is looked for
        search = find_period(sample, _list_divisors(period), channels="first")
        strength, level = search.strength, search.level
    if board is not None and found is not None and period is None:
        kept = _choose_scales(board)
        if kept < board.period:
            fainter = {scale: share for scale, share in board.by_scale.items() if kept % scale and share > 0}
            found = chosen = kept
            board = pool_checkerboard(values, kept)
    traits = None
    if board is not None and found is not None and not board.amplitude <= max(board.detection_level, _LEAST_LEVEL):
        traits = examine_grid(sample, board.period, channels="first")
        board = _refine(board, sample) if sample.shape[0] == 1 else board
    return Reading(
        period=found,
        is_given=period is not None,
        strength=strength,
        strength_level=level,
        read_period=chosen,
        amplitude=board.amplitude if board else math.nan,
        detection_level=max(board.detection_level, _LEAST_LEVEL) if board else math.nan,
        by_scale=dict(board.by_scale) if board else {},
        fainter=fainter,
        blocks=tuple(_measure_blocks(sample)),
        one_way=traits.one_way if traits else math.nan,
        direction=traits.direction if traits else "",
        stretch=traits.stretch if traits else math.nan,
        stretch_error=traits.stretch_error if traits else math.nan,
        enlargement=find_enlargement(sample),
        is_sampled=period is None and sample.shape[0] > 1,
    )


def _list_divisors(period: int) -> list[int]:
    """Periods of all lines of a grid."""
    return [divisor for divisor in range(2, period + 1) if period % divisor == 0]


def _find_least_side(period: int) -> int:
    """Side of the smallest picture that a period is read on."""
    return max(_LEAST_SIDE, 8 * period) if period <= 4 else max(128, 8 * period)


def _choose_read_period(found: int | None, shape: torch.Size) -> int | None:
    shorter = min(shape[-2:])
    if found is not None:
        return found if found <= LARGEST_PERIOD and shorter >= _find_least_side(found) else None
    return next((usual for usual in _USUAL_PERIODS if shorter >= _find_least_side(usual)), None)


def _refine(board: CheckerboardResult, sample: Tensor) -> CheckerboardResult:
    """Take the amplitude from the patches that show a grid best, where it is even; of a small picture only."""
    found = measure_even_amplitude(sample, board.period, channels="first")
    return replace(board, amplitude=found.amplitude, by_scale=found.by_scale) if found.is_even else board


def _choose_scales(board: CheckerboardResult) -> int:
    """Least common multiple of the scales that a grid mostly consists of; its period where there is none."""
    if not board.is_detected:
        return board.period
    scales = [scale for scale, share in board.by_scale.items() if share >= _BELONGS * board.amplitude]
    return math.lcm(*scales) if scales else board.period


def _take_sample(values: Tensor) -> Tensor:
    """Take the picture (1, C, H, W), or four squares of it (4, C, h, w) in the middles of its quarters."""
    height, width = values.shape[-2:]
    if height * width <= 4 * _SAMPLE**2:
        return values[None].double()
    down, right = min(height, _SAMPLE), min(width, _SAMPLE)
    squares = []
    for part in range(4):
        # a long picture has no two squares side by side
        row, column = divmod(part, 2) if min(height, width) >= 2 * _SAMPLE else (part, part)
        parts = 2 if min(height, width) >= 2 * _SAMPLE else 4
        top = _place(height, down, row, parts)
        left = _place(width, right, column, parts)
        squares.append(values[:, top : top + down, left : left + right])
    return torch.stack(squares).double()


def _place(length: int, side: int, part: int, parts: int) -> int:
    """Where a square begins that is in the middle of a part, and inside; blocks have one place in all squares."""
    wanted = (2 * part + 1) * length // (2 * parts) - side // 2
    return max(0, min(wanted, length - side)) // 64 * 64


def _measure_blocks(sample: Tensor) -> Iterator[Blocks]:
    for period in BLOCK_PERIODS:
        if min(sample.shape[-2:]) >= 5 * period:
            found = block_edge(sample, period, channels="first")
            yield Blocks(
                period=period,
                amplitude=found.amplitude,
                detection_level=max(found.detection_level, _LEAST_LEVEL),
                offset=found.offset,
            )


def pool_checkerboard(values: Tensor, period: int) -> CheckerboardResult:
    """Measure the checkerboard amplitude of a picture of any size, a tile at a time.

    Parameters
    ----------
    values : Tensor, shape (C, H, W)
        8-bit levels of any type.
    period : int
        P in pixels, 2 to 32.

    Returns
    -------
    CheckerboardResult
        Up to 2048 pixels a side that of `checkerboard`. Of more tiles the signed squares are averaged, and the
        levels are those of the mean of independent images.

    Raises
    ------
    UsageError
        As `checkerboard`.
    """
    found = [checkerboard(tile.double(), period, channels="first") for tile in _cut_tiles(values)]
    if len(found) == 1:
        return found[0]
    return CheckerboardResult(
        amplitude=_pool_squares([one.amplitude for one in found]),
        detection_level=_pool_levels([one.detection_level for one in found]),
        noise_level=_pool_levels([one.noise_level for one in found]),
        by_scale={s: _pool_squares([one.by_scale[s] for one in found]) for s in found[0].by_scale},
        period=period,
        patches=sum(one.patches for one in found),
        unit=found[0].unit,
    )


def _cut_tiles(values: Tensor) -> Iterator[Tensor]:
    """Cut a picture into tiles of about one size."""
    height, width = values.shape[-2:]
    down, right = (-(-length // _TILE) for length in (height, width))
    for row in range(down):
        for column in range(right):
            yield values[
                :,
                row * height // down : (row + 1) * height // down,
                column * width // right : (column + 1) * width // right,
            ]


def _pool_squares(amplitudes: list[float]) -> float:
    mean = sum(math.copysign(a * a, a) for a in amplitudes) / len(amplitudes)
    return math.copysign(math.sqrt(abs(mean)), mean)


def _pool_levels(levels: list[float]) -> float:
    """Pool as for a mean: squared levels are standard deviations."""
    return math.sqrt(math.sqrt(sum(level**4 for level in levels)) / len(levels))


def map_amplitudes(
    values: Tensor, period: int, observer: Callable[[int, int], None] = lambda _done, _total: None
) -> LocalAmplitudes:
    """Measure the amplitude in windows all over a picture.

    Parameters
    ----------
    values : Tensor, shape (C, H, W)
        8-bit levels of any type.
    period : int
        P in pixels, 2 to 32.
    observer : callable
        Receives how many rows of windows are done, and of how many.

    Returns
    -------
    LocalAmplitudes
        Of windows of 64 pixels (P up to 4), 128 (up to 8) or 16·P, larger where there would be more than 900.

    Raises
    ------
    UsageError
        If the picture is too small for the period.
    """
    height, width = values.shape[-2:]
    window = _SMALL_WINDOW if period <= 4 else max(_WINDOW, _PERIODS_PER_WINDOW * period)
    while (2 * height // window) * (2 * width // window) > _MOST_WINDOWS:
        window = window * 5 // 4
    window = min(window, height, width)
    tops, lefts = (_place_windows(length, window) for length in (height, width))
    amplitudes, levels = (np.zeros((len(tops), len(lefts))) for _ in range(2))
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            part = values[:, top : top + window, left : left + window].double()
            found = checkerboard(part, period, channels="first")
            amplitudes[row, column] = found.amplitude
            levels[row, column] = max(found.detection_level, _LEAST_LEVEL)
        observer(row + 1, len(tops))
    return LocalAmplitudes(
        amplitudes=amplitudes,
        detection_levels=levels,
        rows=_find_edges(tops, window, height),
        columns=_find_edges(lefts, window, width),
        window=window,
        period=period,
    )


def _place_windows(length: int, window: int) -> list[int]:
    """Where windows begin, about half of one apart, the last at the end."""
    count = 1 + -(-2 * (length - window) // window)
    return [place * (length - window) // max(1, count - 1) for place in range(count)]


def _find_edges(starts: list[int], window: int, length: int) -> tuple[float, ...]:
    middles = [start + window / 2 for start in starts]
    between = [(a + b) / 2 for a, b in pairwise(middles)]
    return (0.0, *between, float(length))
