"""What a network is shown: photographs and plain colours in the form of the example, and what its output means.

Numbers are brought into the example's range; shapes are the example's own. Runs no model.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as pytree

from deconvbench.measure.photographs import read_photograph

# of the photographs that are always there: a face, a cat, a table; little that repeats
PHOTOGRAPH_NAMES = ("astronaut", "chelsea", "coffee")
LEVELS = 255
# ranges that images come in, each with the widest one in which the outputs of its networks lie
_RANGES = (((0.0, 1.0), (-0.25, 1.25)), ((-1.0, 1.0), (-1.5, 1.5)), ((0.0, 255.0), (-64.0, 320.0)))
# a range is not believed of outputs that span less of it
_LEAST_SHARE = 0.25
_SMALLEST_PHOTOGRAPH = 16
# values that are looked at for their distribution
_MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class OutputRange:
    """What black and white are in a network's output.

    Parameters
    ----------
    low, high : float
        The values.
    is_guessed : bool
        Whether they were read off its outputs.
    """

    low: float
    high: float
    is_guessed: bool = True

    @property
    def levels_per_unit(self) -> float:
        """8-bit levels in one unit of the output."""
        return LEVELS / (self.high - self.low)


def is_map(value: Any) -> bool:
    """Whether an argument is a map of floating-point numbers, with channels and at least one spatial axis."""
    return isinstance(value, Tensor) and value.is_floating_point() and 3 <= value.ndim <= 5


def is_photograph(value: Any) -> bool:
    """Whether an argument could be an image in colour or in grey."""
    return (
        is_map(value)
        and value.ndim == 4
        and value.shape[1] in {1, 3}
        and min(value.shape[-2:]) >= _SMALLEST_PHOTOGRAPH
    )


def make_photographs(example: Any, count: int) -> list[Any]:
    """Put photographs in the place of the images of an example.

    Parameters
    ----------
    example : Any
        As of `audit`.
    count : int
        How many.

    Returns
    -------
    list
        Examples; empty if the example has no image.
    """
    if not any(is_photograph(value) for value in pytree.tree_leaves(example)):
        return []
    return [_replace(example, is_photograph, partial(_fit_photograph, name)) for name in PHOTOGRAPH_NAMES[:count]]


def make_flat_inputs(example: Any, count: int, parts: int) -> list[Any]:
    """Fill the maps of an example with random constant colours.

    Parameters
    ----------
    example : Any
        As of `audit`.
    count : int
        How many to make.
    parts : int
        1, or 2: the left and the right half have colours of their own.

    Returns
    -------
    list
        Examples; empty if the example has no map of more than one pixel.
    """
    if not any(is_map(value) and value.shape[2:].numel() > 1 for value in pytree.tree_leaves(example)):
        return []
    generator = torch.Generator().manual_seed(0)

    def fill(value: Tensor) -> Tensor:
        low, high = _read_spread(value)
        shape = (1, value.shape[1], *(1 for _ in value.shape[3:]), parts)
        colours = low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
        columns = torch.arange(value.shape[-1]) * parts // value.shape[-1]
        return colours[..., columns].expand(value.shape).to(value)

    return [_replace(example, is_map, fill) for _ in range(count)]


def guess_range(outputs: Sequence[Tensor]) -> OutputRange:
    """Guess what black and white are: a usual range, if the outputs fill it, or else their own.

    Parameters
    ----------
    outputs : sequence of Tensor
        For photographs, or the example; none where the network gives no map.

    Returns
    -------
    OutputRange
        The first of 0..1, −1..1 and 0..255 in which 98 % of the values lie and of which they fill a quarter; or
        the range of those 98 %.
    """
    if not outputs:
        return OutputRange(0.0, 1.0)
    values = torch.cat([output.detach().double().flatten().cpu() for output in outputs])
    values = values[values.isfinite()]
    if values.numel() == 0:
        return OutputRange(0.0, 1.0)
    values = values[:: -(-values.numel() // _MANY)]
    low, high = (float(one) for one in values.quantile(values.new_tensor([0.01, 0.99])))
    for (black, white), (least, most) in _RANGES:
        if least <= low and high <= most and high - low >= _LEAST_SHARE * (white - black):
            return OutputRange(black, white)
    return OutputRange(low, high) if high > low else OutputRange(0.0, 1.0)


def _replace(example: Any, accepts: Callable[[Any], bool], make: Callable[[Tensor], Tensor]) -> Any:
    return pytree.tree_map(lambda value: make(value) if accepts(value) else value, example)


def _fit_photograph(name: str, like: Tensor) -> Tensor:
    pixels = torch.from_numpy(read_photograph(name)).double() / LEVELS
    return fit_image((pixels[..., None] if pixels.ndim == 2 else pixels[..., :3]).permute(2, 0, 1)[None], like)


def fit_image(image: Tensor, like: Tensor) -> Tensor:
    """Cut the middle of an image to the shape of an input, scaled only if it is too small, in its range.

    Parameters
    ----------
    image : Tensor, shape (1, C, H, W), float64
        0 to 1; three channels, or one for an input of one.
    like : Tensor, shape (N, 1 or 3, H, W)
        The input.
    """
    if like.shape[1] == 1:
        image = image.mean(1, keepdim=True)
    rows, columns = like.shape[-2:]
    factor = max(rows / image.shape[-2], columns / image.shape[-1])
    if factor > 1:
        size = [max(rows, round(factor * image.shape[-2])), max(columns, round(factor * image.shape[-1]))]
        image = functional.interpolate(image, size, mode="bicubic")
    top, left = (image.shape[-2] - rows) // 2, (image.shape[-1] - columns) // 2
    image = image[..., top : top + rows, left : left + columns]
    like = like.detach()
    low, high = float(like.min()), float(like.max())
    if not 0 <= low <= high <= 1:
        if low >= 0 and high > 2:
            image = LEVELS * image
        elif low >= -1 and high <= 1:
            image = 2 * image - 1
        else:
            image = (image - image.mean()) / image.std() * like.std() + like.mean()
    return image.expand(like.shape).to(like)


def _read_spread(value: Tensor) -> tuple[float, float]:
    """Range that colours are drawn from: 90 % of the example's values; 0..1 for a constant one."""
    values = value.detach().double().flatten().cpu()
    values = values[:: -(-values.numel() // _MANY)]
    low, high = (float(one) for one in values.quantile(values.new_tensor([0.05, 0.95])))
    if math.isfinite(low) and math.isfinite(high) and high > low:
        return low, high
    return (0.0, 1.0)
