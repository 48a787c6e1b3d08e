"""What a call makes of a lazy expression: the rules that a running network and a graph share.

Decides what is followed; how results are made is the interpreter's business. Handles no in-place calls: the
session does.

What treats each channel in its own way and each pixel alike (products with the factors of an attention over
channels, sums with an embedding, normalisation by kept statistics) may act before the upsampling too. Exact to
the bit, for every pixel that is repeated gets what one of them gets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion import calls
from deconvbench.networks.fusion.calls import BINARY_FUNCTIONS
from deconvbench.networks.fusion.expressions import (
    Interpreter,
    LazyExpression,
    Match,
    Part,
    plan_convolution,
    read_scale,
)

S = TypeVar("S")


def follow(  # noqa: PLR0911 -- one return for each kind of call
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], interpreter: Interpreter[S]
) -> LazyExpression[S] | str | None:
    """Find the expression of what a call returns.

    Parameters
    ----------
    function : callable
        One of `calls.KINDS` other than a convolution.
    args, kwargs
        Its arguments.
    interpreter : Interpreter
        Where its images are.

    Returns
    -------
    LazyExpression, str or None
        The very expression of the argument, if the call returns its argument; a reason, if the call would have
        to be written down but cannot be; None if it is not one of ours.
    """
    kind = calls.KINDS.get(function)
    if kind in {calls.INTERPOLATE, calls.PAD, calls.JOIN}:
        call = calls.read_call(function, args, kwargs)
        if isinstance(call, calls.UpsampleCall):
            return _follow_upsampling(call, interpreter)
        if isinstance(call, calls.PadCall):
            return _follow_padding(call, interpreter)
        return _follow_join(call, interpreter) if isinstance(call, calls.JoinCall) else None
    if kind == calls.CHANNELWISE:
        return follow_channelwise(function, args, kwargs, interpreter)
    if kind is None or kind == calls.CONVOLVE or not args:
        return None
    image, *rest = args
    expression = interpreter.find_expression(image)
    if expression is None or any(isinstance(value, Tensor) for value in (*rest, *kwargs.values())):
        return None
    if kind == calls.DROP:
        share = kwargs.get("p", rest[0] if rest else 0.5)
        is_training = kwargs.get("training", rest[1] if len(rest) > 1 else True)
        # torch raises for what is no share
        is_share = isinstance(share, (int, float)) and 0 <= share <= 1
        return None if is_training or not is_share else expression
    if kind == calls.CAST:
        dtype = calls.read_cast(function, rest, kwargs)
        if dtype not in calls.DTYPES:
            return None
        same = dtype == interpreter.get_dtype(image)
        return expression if same else expression.map(lambda source: interpreter.call(Tensor.to, source, dtype))
    if kind == calls.LAYOUT:
        # whether it is a copy is not known here
        return expression.map(lambda source: interpreter.call(function, source, *rest, **kwargs))
    if expression.padding:
        return f"{getattr(function, '__name__', function)} comes after the padding"
    return expression.map(lambda source: interpreter.call(function, source, *rest, **kwargs))


def _follow_upsampling(call: calls.UpsampleCall, interpreter: Interpreter[S]) -> LazyExpression[S] | str | None:
    expression = interpreter.find_expression(call.image)
    if expression is not None:
        scale = read_scale(call, interpreter.get_shape(call.image))
        return scale if isinstance(scale, str) else expression.upsample(scale)
    image = interpreter.find_plain(call.image)
    if image is None:
        return "its input is not an ordinary tensor of floating-point numbers"
    scale = read_scale(call, interpreter.get_shape(image))
    if isinstance(scale, str):
        return scale
    source = interpreter.settle(image, functional.interpolate, 1, scale_factor=1)
    return LazyExpression(parts=(Part(source=source, channels=interpreter.get_shape(image)[1], scale=scale),))


def _follow_padding(call: calls.PadCall, interpreter: Interpreter[S]) -> LazyExpression[S] | str | None:
    expression = interpreter.find_expression(call.image)
    padded = None if expression is None else expression.pad(call)
    if not isinstance(padded, LazyExpression) or not padded.padding:
        return padded
    mode = "constant" if padded.padding_mode == "zeros" else padded.padding_mode
    amount = padded.padding
    if mode == "reflect" and any(type(n) is int and n <= amount for n in interpreter.get_shape(call.image)[2:]):
        return f"there are not {amount} pixels to reflect"
    return padded.map(
        lambda source: interpreter.settle(source, functional.pad, amount + 1, pad=[amount] * 4, mode=mode)
    )


def _follow_join(  # noqa: PLR0911 -- one return for each reason
    call: calls.JoinCall, interpreter: Interpreter[S]
) -> LazyExpression[S] | str | None:
    if call.axis not in {1, -3}:
        return None
    parts: list[Part[S]] = []
    upsamplings: list[Any] = []
    sizes: set[tuple[Any, ...]] = set()
    for image in call.images:
        expression = interpreter.find_expression(image)
        if expression is not None and not expression.padding:
            parts.extend(expression.parts)
            upsamplings.extend(expression.upsamplings)
            shape = interpreter.get_shape(image)
        else:
            plain = interpreter.find_plain(image)
            shape = () if plain is None else interpreter.get_shape(plain)
            if plain is None or len(shape) != 4:
                return "it is joined with something that is not an ordinary image"
            parts.append(Part(source=plain, channels=shape[1], scale=1))
        if all(type(number) is int for number in shape):
            sizes.add((*shape[:1], *shape[2:]))
    if not any(part.scale > 1 for part in parts):
        return None
    if len(sizes) > 1:
        return "it is joined with an image of another size"
    if not all(isinstance(part.channels, int) for part in parts):
        return "the number of joined channels is not known"
    dtypes = [interpreter.get_dtype(part.source) for part in parts]
    expression = LazyExpression(parts=tuple(parts), upsamplings=tuple(upsamplings))
    if len(set(dtypes)) == 1:
        return expression
    dtype = reduce(torch.promote_types, dtypes)
    return expression.map(lambda source: interpreter.call(Tensor.to, source, dtype))


def find_match(
    args: Sequence[Any], kwargs: Mapping[str, Any], interpreter: Interpreter[S], is_operand: Callable[[Any], bool]
) -> tuple[calls.ConvolveCall, LazyExpression[S], Match | str] | None:
    """Find how a convolution is done fast.

    Parameters
    ----------
    args, kwargs
        Of ``conv2d``.
    interpreter : Interpreter
        Where its image is.
    is_operand : callable
        Whether something can be a weight or bias.

    Returns
    -------
    tuple or None
        The call, the expression of its input, and the match or why there is none; None if it convolves none.
    """
    call = calls.read_call(torch.conv2d, args, kwargs)
    expression = None if not isinstance(call, calls.ConvolveCall) else interpreter.find_expression(call.image)
    if expression is None or not isinstance(call, calls.ConvolveCall):
        return None
    if not is_operand(call.weight) or not (call.bias is None or is_operand(call.bias)):
        return None
    return call, expression, plan_convolution(expression, call, interpreter.get_shape(call.weight))


@dataclass(frozen=True, slots=True)
class _Operand:
    """What meets an image: the axis of its channels, or None where it is the same for all."""

    value: Any
    axis: int | None = None

    def cut(self, start: int, length: int, interpreter: Interpreter[S]) -> Any:
        if self.axis is None:
            return self.value
        return interpreter.call(torch.narrow, self.value, self.axis, start, length)


_NORMALISE_NAMES = (
    *("input", "running_mean", "running_var", "weight", "bias"),
    *("training", "momentum", "eps"),
)
_NORMALISE_DEFAULTS: Mapping[str, Any] = {
    "weight": None,
    "bias": None,
    "training": False,
    "momentum": 0.1,
    "eps": 1e-5,
}


def follow_channelwise(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], interpreter: Interpreter[S]
) -> LazyExpression[S] | str | None:
    """Find the expression of what a call returns.

    Parameters
    ----------
    function : callable
        One of `calls.BINARY_FUNCTIONS`, ``prelu`` or ``batch_norm``.
    args, kwargs
        Its arguments; in a product the image may be either.
    interpreter : Interpreter
        Where its images are.

    Returns
    -------
    LazyExpression, str or None
        As of `follow`.
    """
    if function is functional.batch_norm:
        bound = {**_NORMALISE_DEFAULTS, **dict(zip(_NORMALISE_NAMES, args, strict=False)), **kwargs}
        is_known = len(args) <= len(bound) == len(_NORMALISE_NAMES)
        if not is_known or bound["training"] or bound["running_mean"] is None:
            return None
        args, kwargs = [bound[name] for name in _NORMALISE_NAMES], {}
    if len(args) < 2 or not all(isinstance(value, (int, float)) for value in kwargs.values()):
        return None
    places = [place for place, value in enumerate(args) if interpreter.find_expression(value) is not None]
    expression = interpreter.find_expression(args[places[0]]) if len(places) == 1 else None
    if expression is None:
        return None
    if expression.padding:
        return f"{getattr(function, '__name__', function)} comes after the padding"
    operands = [
        None if place in places else _read_operand(value, function, expression, interpreter)
        for place, value in enumerate(args)
    ]
    if any(operand is None and place not in places for place, operand in enumerate(operands)):
        return None
    parts, start = [], 0
    for part in expression.parts:
        given = [
            part.source if operand is None else operand.cut(start, part.channels, interpreter)
            for operand in operands
        ]
        parts.append(replace(part, source=interpreter.call(function, *given, **kwargs)))
        start += part.channels
    return replace(expression, parts=tuple(parts))


def _read_operand(
    value: Any, function: Any, expression: LazyExpression[S], interpreter: Interpreter[S]
) -> _Operand | None:
    """Read an operand; None where it is not the same for all pixels of a channel."""
    is_vector = function not in BINARY_FUNCTIONS
    if isinstance(value, (int, float)) or (value is None and is_vector):
        return _Operand(value)
    plain = interpreter.find_plain(value)
    if plain is None:
        return None
    shape = tuple(interpreter.get_shape(plain))
    if is_vector:
        # a channel is its only axis
        shape, axis = (1, *shape, 1, 1), 0
    else:
        shape, axis = (1,) * (4 - len(shape)) + shape, len(shape) - 3
    if len(shape) != 4 or not all(type(number) is int for number in (*shape, expression.channels)):
        return None
    if shape[1] not in {1, expression.channels} or shape[2:] != (1, 1):
        return None
    batch = interpreter.get_shape(expression.parts[0].source)[0]
    if shape[0] != 1 and not (type(batch) is int and batch == shape[0]):
        return None
    return _Operand(plain, axis if shape[1] > 1 and len(expression.parts) > 1 else None)
