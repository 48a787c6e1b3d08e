"""Images that are known but not computed, and when a convolution of one is exact without computing it.

An image is parts, upsampled, joined and padded. The one set of conditions that all ways into a model share.
Generic in what a part is: a tensor while a network runs, a node of a graph while one is rewritten.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from deconvbench.networks.fusion.calls import NEAREST, ConvolveCall, PadCall, UpsampleCall, make_pair
from deconvbench.upsamplers.fast.forms import Geometry

S = TypeVar("S")
T = TypeVar("T")

# finds the transformed weight for an implementation, a geometry, a memory format and a dtype
FindPrepared = Callable[[str, Geometry, torch.memory_format, torch.dtype], Tensor]

# up to here torch's float32 index arithmetic was checked to repeat every pixel s times, in sizes up to 20000
GREATEST_SCALE = 32
# of channels that are upsampled, among joined ones: with a quarter, splitting is 1.0 to 1.15 times faster
_LEAST_SHARE = 1 / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[S]):
    """Some channels of an image.

    Parameters
    ----------
    source : S
        What is upsampled.
    channels : int
        Number of channels.
    scale : int
        Nearest-neighbour upsampling; 1 for none.
    """

    source: S
    channels: int
    scale: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyExpression(Generic[S]):
    """An image: parts joined along the channels, then padded.

    Parameters
    ----------
    parts : tuple of Part
        In the order of the channels.
    padding : int
        Pixels on each side.
    padding_mode : str
        ``zeros``, ``reflect`` or ``replicate``.
    upsamplings : tuple
        What an observer remembers about the upsamplings in it.
    """

    parts: tuple[Part[S], ...]
    padding: int = 0
    padding_mode: str = "zeros"
    upsamplings: tuple[Any, ...] = ()

    @property
    def channels(self) -> int:
        """Number of channels."""
        return sum(part.channels for part in self.parts)

    def map(self, function: Callable[[S], T]) -> "LazyExpression[T]":
        """Apply a function of each pixel alone to every source.

        Parameters
        ----------
        function : callable
            Maps a source to a source of the same number of channels.
        """
        parts = tuple(
            Part(source=function(part.source), channels=part.channels, scale=part.scale) for part in self.parts
        )
        return LazyExpression(
            parts=parts, padding=self.padding, padding_mode=self.padding_mode, upsamplings=self.upsamplings
        )

    def upsample(self, scale: int) -> "LazyExpression[S] | str":
        """Upsample once more, or say why that cannot be written down."""
        if self.padding:
            return "it is padded before it is upsampled"
        if any(part.scale * scale > GREATEST_SCALE for part in self.parts):
            return f"it is upsampled by more than {GREATEST_SCALE}"
        return replace(self, parts=tuple(replace(part, scale=part.scale * scale) for part in self.parts))

    def pad(self, call: PadCall) -> "LazyExpression[S] | str":  # noqa: PLR0911 -- one return for each reason
        """Pad, or say why that cannot be written down."""
        if not all(isinstance(amount, int) for amount in call.amounts):
            return "its padding is not known"
        if not any(call.amounts):
            # a copy
            return replace(self)
        if len(call.amounts) != 4 or len(set(call.amounts)) != 1:
            return f"padding {call.amounts} is not the same on all sides"
        amount = call.amounts[0]
        if amount < 0:
            return f"padding {amount} crops"
        if call.mode not in {"zeros", "reflect", "replicate"}:
            return f"padding mode {call.mode} has no fast form"
        if self.padding and not call.mode == self.padding_mode == "zeros":
            return "it is padded twice"
        return replace(self, padding=self.padding + amount, padding_mode=call.mode)


class Interpreter(Protocol[S]):
    """What gives expressions a meaning: a running network computes tensors, a graph has nodes written into it."""

    def find_expression(self, value: Any) -> LazyExpression[S] | None:
        """Find the expression of an image that is not computed."""

    def find_plain(self, value: Any) -> S | None:
        """Find an image that is computed, if it is an ordinary one."""

    def get_shape(self, value: Any) -> Sequence[Any]:
        """Find a shape (N, C, H, W)."""

    def get_dtype(self, value: Any) -> torch.dtype:
        """Find a dtype."""

    def settle(self, source: S, function: Any, size: int, **options: Any) -> S:
        """Convert a source to the dtype that a function answers in, which autocast may have changed."""

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> S:
        """Call a function of torch."""

    def add(self, total: S, term: S) -> S:
        """Add to a result that is not shared."""

    def find_prepared(self, weight: S, start: int, length: int) -> FindPrepared | None:
        """Find where the transformed weight of some input channels is kept."""


def read_scale(call: UpsampleCall, shape: Sequence[Any]) -> int | str:  # noqa: PLR0911 -- as above
    """Find by which whole number a call upsamples, or say why it is none.

    Parameters
    ----------
    call : UpsampleCall
        The upsampling.
    shape : sequence
        Of its input; unknown numbers are allowed where a scale is given.
    """
    if call.mode not in NEAREST:
        return f"mode {call.mode} is not nearest"
    if len(shape) != 4:
        return f"its input has {len(shape)} dimensions, not 4 (N, C, H, W)"
    if call.scale_factor is not None:
        factors = make_pair(call.scale_factor)
        if len(factors) != 2 or not all(isinstance(factor, (int, float)) for factor in factors):
            return f"scale_factor {call.scale_factor} is not a pair of numbers"
        if not all(float(factor).is_integer() for factor in factors):
            return f"scale_factor {call.scale_factor} is not whole"
        return _check_scales([int(factor) for factor in factors])
    size = make_pair(call.size)
    if len(size) != 2 or not all(type(number) is int for number in (*size, *shape[2:])):
        return f"size {call.size} is not known to be a multiple of the input"
    if any(new % old for new, old in zip(size, shape[2:], strict=True)):
        return f"size {tuple(size)} is not a multiple of {tuple(shape[2:])}"
    return _check_scales([new // old for new, old in zip(size, shape[2:], strict=True)])


def _check_scales(scales: list[int]) -> int | str:
    rows, columns = scales
    if rows != columns:
        return f"rows and columns are upsampled differently, by {rows} and {columns}"
    if rows == 1:
        return "it keeps the size"
    if not 2 <= rows <= GREATEST_SCALE:
        return f"scale {rows} is not between 2 and {GREATEST_SCALE}"
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Neighbouring parts of one scale, convolved together.

    Parameters
    ----------
    first, last : int
        Which parts.
    start, length : int
        Which channels.
    scale : int
        Their upsampling.
    """

    first: int
    last: int
    start: int
    length: int
    scale: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A convolution of an expression that is exact without computing it.

    Parameters
    ----------
    kernel_size, out_channels : int
        Odd kernel size k, channels of the result.
    padding_mode : str
        ``zeros``, ``reflect`` or ``replicate``, (k − 1)/2 pixels of it.
    groups : int
        Groups of channels.
    pieces : tuple of Piece
        The convolution is the sum of theirs.
    """

    kernel_size: int
    out_channels: int
    padding_mode: str
    groups: int
    pieces: tuple[Piece, ...]


def plan_convolution(  # noqa: PLR0911 -- one return for each reason
    expression: LazyExpression[Any], call: ConvolveCall, weight_shape: Sequence[Any]
) -> Match | str:
    """Decide whether a convolution of an expression has an exact fast form, or say why it has none.

    Parameters
    ----------
    expression : LazyExpression
        Its input.
    call : ConvolveCall
        The convolution.
    weight_shape : sequence
        (C_out, C_in/groups, k, k).
    """
    objection = _explain_kernel(call, weight_shape)
    if objection is not None:
        return objection
    size = weight_shape[2]
    own = call.padding
    if isinstance(own, str):
        own = ((size - 1) // 2,) * 2 if own == "same" else (0, 0)
    if own[0] != own[1]:
        return f"padding {own} is not the same on all sides"
    padding, mode = expression.padding + own[0], expression.padding_mode
    if expression.padding and own[0] and mode != "zeros":
        return "it is padded twice"
    if padding != (size - 1) // 2:
        return f"padding {padding} does not keep the size; kernel {size} needs {(size - 1) // 2}"
    if expression.channels != weight_shape[1] * call.groups:
        return (
            f"its input has {expression.channels} channels, its weight {weight_shape[1]} in {call.groups} groups"
        )
    if mode == "reflect" and any(1 < part.scale <= padding for part in expression.parts):
        return f"reflection by {padding} pixels reaches beyond the first pixel of the input"
    pieces = _cut_pieces(expression.parts)
    if len(pieces) > 1 and call.groups != 1:
        return f"{call.groups} groups of joined channels"
    upsampled = sum(piece.length for piece in pieces if piece.scale > 1)
    if _LEAST_SHARE * expression.channels > upsampled:
        return f"only {upsampled} of its {expression.channels} channels are upsampled, which gains nothing"
    return Match(
        kernel_size=size,
        out_channels=weight_shape[0],
        padding_mode=mode if padding else "zeros",
        groups=call.groups,
        pieces=pieces,
    )


def _explain_kernel(call: ConvolveCall, shape: Sequence[Any]) -> str | None:
    if len(shape) != 4 or shape[2] != shape[3]:
        return f"kernel {tuple(shape[2:])} is not square"
    if shape[2] % 2 == 0:
        return f"kernel {shape[2]} is even"
    if call.stride != (1, 1):
        return f"stride {call.stride} is not 1"
    if call.dilation != (1, 1):
        return f"dilation {call.dilation} is not 1"
    return None


def _cut_pieces(parts: Sequence[Part[Any]]) -> tuple[Piece, ...]:
    pieces, first, start = [], 0, 0
    for scale, group in groupby(parts, key=lambda part: part.scale):
        members = list(group)
        length = sum(part.channels for part in members)
        pieces.append(Piece(first=first, last=first + len(members), start=start, length=length, scale=scale))
        first, start = first + len(members), start + length
    return tuple(pieces)
