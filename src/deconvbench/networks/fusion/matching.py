"""When a convolution of an image that is not computed is exact without computing it.

The one set of conditions that all ways into a model share. Computes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from deconvbench.networks.fusion.calls import ConvolveCall
from deconvbench.networks.fusion.expressions import REPEATABLE_PADDINGS, LazyExpression, Part

# of channels that are upsampled, among joined ones: with a quarter, splitting is 1.0 to 1.15 times faster
_LEAST_SHARE = 1 / 4


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
        Kernel size k, channels of the result.
    padding_mode : str
        ``zeros``, ``reflect``, ``replicate`` or ``circular``.
    groups : int
        Groups of channels.
    pieces : tuple of Piece
        The convolution is the sum of theirs.
    padding : tuple of int
        Pixels on the left, on the right, above and below; empty for (k − 1)/2 everywhere of an odd kernel, which
        keeps the size.
    """

    kernel_size: int
    out_channels: int
    padding_mode: str
    groups: int
    pieces: tuple[Piece, ...]
    padding: tuple[int, ...] = ()


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
    own = read_padding(call, size)
    mode = expression.padding_mode if expression.padding else "zeros"
    if expression.padding and any(own) and mode != "zeros":
        return "it is padded twice"
    padding = tuple(one + other for one, other in zip(expression.padding or (0,) * 4, own, strict=True))
    if size == 1 and any(padding):
        return f"padding {padding} does not keep the size; kernel 1 needs 0"
    if expression.channels != weight_shape[1] * call.groups:
        return (
            f"its input has {expression.channels} channels, its weight {weight_shape[1]} in {call.groups} groups"
        )
    most = max(padding)
    if mode == "reflect" and any(1 < part.scale <= most for part in expression.parts):
        return f"reflection by {most} pixels reaches beyond the first pixel of the input"
    pieces = _cut_pieces(expression.parts)
    if len(pieces) > 1 and call.groups != 1:
        return f"{call.groups} groups of joined channels"
    upsampled = sum(piece.length for piece in pieces if piece.scale > 1)
    if not upsampled:
        return _explain_scales(expression.parts[0])
    if _LEAST_SHARE * expression.channels > upsampled:
        return f"only {upsampled} of its {expression.channels} channels are upsampled, which gains nothing"
    keeps_size = size % 2 == 1 and set(padding) == {(size - 1) // 2}
    return Match(
        kernel_size=size,
        out_channels=weight_shape[0],
        padding_mode=mode if most else "zeros",
        groups=call.groups,
        pieces=pieces,
        padding=() if keeps_size and (mode in {*REPEATABLE_PADDINGS, "reflect"} or not most) else padding,
    )


def _explain_scales(part: Part[Any]) -> str:
    rows, columns = part.scales
    return f"rows and columns are upsampled differently, by {rows} and {columns}"


def read_padding(call: ConvolveCall, size: int) -> tuple[int, int, int, int]:
    """Find by how many pixels a convolution pads: on the left, on the right, above and below.

    Parameters
    ----------
    call : ConvolveCall
        The convolution, without dilation.
    size : int
        Of its kernel.
    """
    if call.padding == "same":
        # the odd pixel comes last
        before = (size - 1) // 2
        after = size - 1 - before
        return before, after, before, after
    if isinstance(call.padding, str):
        return 0, 0, 0, 0
    rows, columns = call.padding
    return columns, columns, rows, rows


def has_pixels(match: Match, sides: Sequence[Any]) -> bool:
    """Whether the result of a convolution has any pixels: torch raises otherwise.

    Parameters
    ----------
    match : Match
        The convolution.
    sides : (int, int)
        Height and width of the upsampled tensor.
    """
    if not match.padding:
        return True
    left, right, top, bottom = match.padding
    # of a size that is not known nothing is certain
    return all(
        type(side) is int and side + more >= match.kernel_size
        for side, more in zip(sides, (top + bottom, left + right), strict=True)
    )


def _explain_kernel(call: ConvolveCall, shape: Sequence[Any]) -> str | None:
    if len(shape) != 4 or shape[2] != shape[3]:
        return f"kernel {tuple(shape[2:])} is not square"
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
