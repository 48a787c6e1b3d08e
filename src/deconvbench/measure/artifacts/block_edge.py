"""Steps of random sign on a grid: the block edges of JPEG, of tiles put side by side and of enlarged pixels.

They have no line spectrum, since their sign is random, so `checkerboard` does not see them; their energy is
periodic all the same. The second difference across each possible edge is compared with those a little beside it.
Decides neither what made the blocks nor whether they are seen.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deconvbench.arguments import check_whole
from deconvbench.errors import UsageError, quote
from deconvbench.measure.artifacts.images import (
    IMAGE_UNITS,
    Channels,
    Picture,
    find_unit,
    read_images,
    split_magnitude,
)
from deconvbench.measure.artifacts.result_text import describe_amplitude

_SMALLEST_PERIOD, _LARGEST_PERIOD = 4, 64
# fewest edges in each direction; with fewer, scatter cannot be told
_FEWEST_EDGES = 4
# what an edge is compared with: steps that many pixels beside it, which an edge itself does not reach
_BESIDE = (2, 3)
# standard errors above the mean that the best phase of a photograph without blocks stays below, as a rule
_ERRORS = 6.5
_ROUNDING = 2**-40


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockEdgeResult:
    """What `block_edge` found; amplitudes are in the image's units. ``str()`` says it in words.

    Parameters
    ----------
    amplitude : float
        Signed RMS of the steps at block boundaries, above what the steps beside them lead to expect.
    detection_level : float
        What a photograph without blocks stays below, as a rule: 2.3 % read more.
    period : int
        Side of the blocks that were looked for, in pixels.
    offset : tuple of (int, int)
        Row and column of the first pixel after a boundary, 0 to P − 1: (0, 0) for an image that was not cropped.
    unit : str
        Of the amplitudes: ``8-bit levels``, ``16-bit levels`` or ``image units``.
    """

    amplitude: float
    detection_level: float
    period: int
    offset: tuple[int, int]
    unit: str = IMAGE_UNITS

    @property
    def is_detected(self) -> bool:
        """Whether the amplitude exceeds the detection level."""
        return self.amplitude > self.detection_level

    def __str__(self) -> str:
        return describe_amplitude(
            "block edges", self.amplitude, self.detection_level, unit=self.unit, period=self.period
        )


def block_edge(image: Picture, period: int = 8, *, channels: Channels | None = None) -> BlockEdgeResult:
    """Measure the steps of random sign at the edges of blocks of P pixels.

    At each place where two pixels meet, the step between them less the mean of the two steps beside it; its energy
    in each stretch of P pixels along the boundary, less that of the same two and three pixels to either side. The
    mean over all stretches, weighted by how smooth the image is there (the inverse of the energy beside the next
    stretches), at the phase where it is largest; rows and columns averaged; the root, with its sign. The part that
    repeats with the same sign in every block is taken out first: that is a checkerboard.

    Unit: that of the image. Range: any; negative means fewer steps than beside. Best: anything below the level.
    Sees: JPEG's blocks (period 8, in most photographs at quality 50), tile seams, nearest neighbour.
    Blind to: blocks that are not on one grid over the whole image (JPEG after resizing), and blocks whose edges
    are smoothed over more than a pixel.
    Misread: bilinear enlargement has kinks on a grid, which are energy on a grid as well.

    Parameters
    ----------
    image : Tensor, ndarray or PIL.Image.Image
        As for `checkerboard`. H and W at least five periods.
    period : int
        P, side of the blocks in pixels, 4 to 64.
    channels : {"first", "last"} or None
        Where the channels are, as for `checkerboard`.

    Returns
    -------
    BlockEdgeResult
        Energies of images and channels are averaged, at one offset for all.

    Raises
    ------
    UsageError
        If the image is not one, or too small, or the period is not a whole number from 4 to 64.
    """
    try:
        period = check_whole("period", period, _SMALLEST_PERIOD, _LARGEST_PERIOD)
    except UsageError as error:
        raise UsageError(
            f"period: {quote(period)} is not a whole number from {_SMALLEST_PERIOD} to {_LARGEST_PERIOD}"
        ) from error
    images, factor = split_magnitude(read_images(image, channels=channels))
    height, width = images.shape[-2:]
    needed = (_FEWEST_EDGES + 1) * period
    if min(height, width) < needed:
        raise UsageError(
            f"image: {height}×{width} pixels (the last two axes) are too few for blocks of {period};"
            f" at least {needed}×{needed} are needed"
        )
    maps = images.flatten(0, 1)
    down, row = _find_edges(maps.transpose(-2, -1), period)
    right, column = _find_edges(maps, period)
    energy = (down[0] + right[0]) / 2
    scatter = math.hypot(down[1], right[1]) / 2
    return BlockEdgeResult(
        amplitude=factor * math.copysign(math.sqrt(abs(energy)), energy),
        detection_level=factor * max(math.sqrt(_ERRORS * scatter), _ROUNDING * float(images.abs().max())),
        period=period,
        offset=(row, column),
        unit=find_unit(image),
    )


def _find_edges(maps: Tensor, period: int) -> tuple[tuple[float, float], int]:
    """Excess energy and its standard error at the columns where it stands out most, and the first such column."""
    excess, weights, first = _compare_steps(maps, period)
    found = []
    for phase in range(period):
        at_edges, weight = excess[..., phase::period], weights[..., phase::period]
        total = float(weight.sum())
        if total == 0:
            found.append((0.0, 0.0))
            continue
        mean = float((weight * at_edges).sum()) / total
        error = float((weight * (at_edges - mean)).square().sum().sqrt()) / total
        found.append((mean, error))
    # beside an edge there is a quarter of its energy
    best = max(range(period), key=lambda phase: found[phase][0])
    return found[best], (first + best) % period


def _compare_steps(maps: Tensor, period: int) -> tuple[Tensor, Tensor, int]:
    """Excess energy (M, rows, edges) of the steps between columns in stretches of P rows, and its weights.

    The third number is the column that follows the first edge.
    """
    steps = maps[..., 1:] - maps[..., :-1]
    bends = steps[..., 1:-1] - (steps[..., :-2] + steps[..., 2:]) / 2
    bends = _remove_tile(bends, period)
    rows = bends.shape[-2] // period * period
    stretches = bends[:, :rows].reshape(len(bends), rows // period, period, bends.shape[-1])
    energies = stretches.square().mean(2)
    beside = [n for n in _BESIDE if period - n > 1]
    reach = max(beside)
    count = energies.shape[-1] - 2 * reach
    shifts = [sign * n for n in beside for sign in (-1, 1)]
    around = torch.stack([energies[..., reach + s : reach + s + count] for s in shifts]).mean(0)
    excess = energies[..., reach : reach + count] - around
    # from the stretches before and after: its own would weigh it more where it is low by chance
    ends = torch.cat([around[:, 1:2], around, around[:, -2:-1]], 1)
    typical = around.mean()
    smooth = (ends[:, :-2] + ends[:, 2:]) / 2 + typical
    # an image without any steps beside the edges has all its stretches alike
    weights = 1 / smooth if float(typical) > 0 else torch.ones_like(around)
    return excess, weights, reach + 2


def _remove_tile(values: Tensor, period: int) -> Tensor:
    """Values (M, H, W) less the mean of all that lie a whole number of periods apart."""
    height, width = values.shape[-2:]
    padding = (0, -width % period, 0, -height % period)
    ones = torch.nn.functional.pad(torch.ones_like(values[:1]), padding)
    filled = torch.nn.functional.pad(values, padding)

    def fold(numbers: Tensor) -> Tensor:
        down, right = (side // period for side in numbers.shape[-2:])
        return numbers.reshape(-1, down, period, right, period).sum((1, 3))

    tile = fold(filled) / fold(ones)
    repeats = (1, *(side // period for side in filled.shape[-2:]))
    return values - tile.repeat(*repeats)[..., :height, :width]
