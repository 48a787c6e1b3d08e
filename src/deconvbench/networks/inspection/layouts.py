"""Upsampling by moving values: reshape-permute-reshape, expand and reshape, `repeat_interleave`, of any spelling.

A chain of such calls is done again on a tensor of positions, and what comes out tells which value went where. So
einops, ``einsum``, views and channels-last tokens need no patterns of their own. Nothing here looks at values.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# functions of one tensor that move or repeat its values, by name
LAYOUT_FUNCTIONS = frozenset(
    [
        *("view", "reshape", "flatten", "unflatten", "permute", "transpose", "swapaxes", "swapdims", "movedim"),
        *("moveaxis", "unsqueeze", "squeeze", "expand", "repeat", "tile", "broadcast_to", "einsum"),
        *("repeat_interleave", "contiguous", "clone", "detach", "t"),
    ]
)
# among them those without which nothing is upsampled
_PERMUTING = frozenset({"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "einsum"})
_REPEATING = frozenset({"expand", "repeat", "broadcast_to", "repeat_interleave"})
# of a map that is looked at: a position takes eight bytes
_MOST_VALUES = 2**26
_SPLITTING = frozenset({"view", "reshape", "flatten", "unflatten"})


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a chain.

    Parameters
    ----------
    function : callable
        Of torch.
    args : tuple
        Its arguments, `None` where the tensor stands.
    kwargs : mapping
        By name.
    place : Any
        Where it was called.
    shape : tuple of int
        Of its answer.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    place: Any
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the function."""
        return getattr(self.function, "__name__", "")

    def replay(self, tensor: Tensor) -> Tensor:
        """Call it again."""
        y: Tensor = self.function(*(tensor if arg is None else arg for arg in self.args), **self.kwargs)
        return y


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """What was done to a tensor since it was computed.

    Parameters
    ----------
    shape : tuple of int
        Of that tensor.
    steps : tuple of Step
        In order; at least one.
    """

    shape: tuple[int, ...]
    steps: tuple[Step, ...]

    @property
    def may_upsample(self) -> bool:
        """Whether it is worth a look."""
        names = {step.name for step in self.steps}
        return bool(names & _SPLITTING and names & (_PERMUTING | _REPEATING)) or "repeat_interleave" in names


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """How a chain upsamples.

    Parameters
    ----------
    step : int
        Which call of the chain has the upsampled tensor.
    scale : tuple of int
        Along each spatial axis.
    is_channels_last : bool
        Where the channels of the upsampled tensor are.
    channels : Tensor or None, shape (O, S)
        Which channel of the tensor at the start is phase φ of output channel o; None where values are repeated.
    channel_axis : int
        Of the tensor at the start; −1 where values are repeated.
    """

    step: int
    scale: tuple[int, ...]
    is_channels_last: bool
    channels: Tensor | None
    channel_axis: int

    def describe_order(self) -> str:
        """Name the order of channels: ``c i j`` as in `torch.nn.PixelShuffle`, or another."""
        if self.channels is None:
            return "repeated"
        for order, channels in list_orders(self.channels.shape[0], self.scale):
            if torch.equal(channels, self.channels):
                return order
        return "of its own"


def list_orders(out_channels: int, scale: Sequence[int]) -> Iterator[tuple[str, Tensor]]:
    """List the usual orders of channels before a shuffle.

    Parameters
    ----------
    out_channels : int
        O.
    scale : sequence of int
        Along each spatial axis.

    Yields
    ------
    order : str
        Such as ``c i j``: which of them runs slowest, first.
    channels : Tensor, shape (O, S)
        Which channel is phase φ of channel o.
    """
    axes = "ijk"[: len(scale)]
    sizes = dict(zip(axes, scale, strict=True)) | {"c": out_channels}
    inner = [axes] if len(axes) == 1 else [axes, axes[::-1]]
    for order in [*(f"c{one}" for one in inner), *(f"{one}c" for one in inner)]:
        numbers = torch.arange(math.prod(sizes.values())).reshape([sizes[axis] for axis in order])
        yield " ".join(order), numbers.permute([order.index(axis) for axis in f"c{axes}"]).flatten(1)


def read_layout(chain: Chain) -> Layout | None:
    """Find the upsampling in a chain.

    Parameters
    ----------
    chain : Chain
        What was done.

    Returns
    -------
    Layout or None
        That of the last call which has an upsampled tensor: blocks of s×s pixels that come from one pixel, or from
        channels at one place. None for other chains (heads of attention, windows, patches made of an image).
    """
    if not chain.may_upsample or math.prod(chain.shape) > _MOST_VALUES:
        return None
    index = torch.arange(math.prod(chain.shape)).reshape(chain.shape)
    found = None
    for number, step in enumerate(chain.steps):
        index = step.replay(index)
        if tuple(index.shape) != step.shape:
            return None
        for is_last in (False, True):
            found = _read(index, chain.shape, number, is_channels_last=is_last) or found
    return found


def _read(  # noqa: PLR0911 -- one return for each reason
    index: Tensor, shape: tuple[int, ...], step: int, *, is_channels_last: bool
) -> Layout | None:
    """Read one tensor of positions as (N, C, ...) or (N, ..., C)."""
    dims = index.ndim - 2
    if not 1 <= dims <= 3 or index.numel() == 0:
        return None
    image = (index.movedim(-1, 1) if is_channels_last else index)[0]
    scales = [_find_scale(image[0], axis) for axis in range(dims)]
    scale = tuple(one for one in scales if one is not None)
    if len(scale) < dims or max(scale) == 1:
        return None
    corner = _slice(image, 1, [slice(one) for one in scale]).flatten(1)
    base = torch.stack(torch.unravel_index(corner, shape))
    if bool((corner == corner[:, :1]).all()):
        # heads of attention are repeated too, but along one axis before the last
        if is_channels_last and (dims < 2 or min(scale) == 1):
            return None
        return Layout(step=step, scale=scale, is_channels_last=is_channels_last, channels=None, channel_axis=-1)
    moving = {axis for axis in range(len(shape)) if bool((base[axis] != base[axis, :, :1]).any())}
    between = {axis for axis in range(len(shape)) if bool((base[axis] != base[axis, :1]).any())}
    blocks = torch.stack(
        torch.unravel_index(_slice(image[0], 0, [slice(None, None, one) for one in scale]), shape)
    )
    if len(moving) != 1 or 0 in moving:
        return None
    (axis,) = moving
    is_spread = bool((blocks[axis] != blocks[axis].flatten()[0]).any())
    if between - moving or is_spread or len(set(corner[0].tolist())) < math.prod(scale):
        return None
    return Layout(
        step=step, scale=scale, is_channels_last=is_channels_last, channels=base[axis], channel_axis=axis
    )


def _slice(tensor: Tensor, first: int, parts: Sequence[slice]) -> Tensor:
    """Cut some axes, from the first on."""
    where: tuple[slice, ...] = (*(slice(None) for _ in range(first)), *parts)
    return tensor[where]


def _find_scale(plane: Tensor, axis: int) -> int | None:
    """Smallest s at which moving by s pixels changes all positions alike; None if there is none."""
    side = plane.shape[axis]
    for scale in itertools.chain((1,), range(2, side // 2 + 1)):
        if side % scale == 0 and side > 1:
            change = plane.narrow(axis, scale, side - scale) - plane.narrow(axis, 0, side - scale)
            if bool((change == change.flatten()[0]).all()):
                return scale
    return 1 if side == 1 else None
