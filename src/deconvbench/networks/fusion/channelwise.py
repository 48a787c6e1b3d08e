"""What has other operands beside an image, and treats each channel in its own way and each pixel alike.

Products with the factors of an attention over channels, sums with an embedding, normalisation by kept statistics
may act before the upsampling, and so may what acts pixel by pixel on images that are upsampled alike. Exact to the
bit, for every pixel that is repeated gets what one of them gets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch.nn import functional

from deconvbench.networks.fusion.expressions import Interpreter, LazyExpression, merge_upsamplings
from deconvbench.networks.fusion.functions import BINARY_FUNCTIONS

S = TypeVar("S")


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
    found = [interpreter.find_expression(value) for value in args]
    expressions = [expression for expression in found if expression is not None]
    is_one = len(expressions) == 1 or (function in BINARY_FUNCTIONS and _are_alike(expressions, interpreter))
    if not expressions or not is_one:
        return None
    expression = replace(expressions[0], upsamplings=merge_upsamplings(expressions))
    if expression.padding:
        return f"{getattr(function, '__name__', function)} comes after the padding"
    operands = [
        None if own is not None else _read_operand(value, function, expression, interpreter)
        for value, own in zip(args, found, strict=True)
    ]
    if any(operand is None and own is None for operand, own in zip(operands, found, strict=True)):
        return None
    parts, start = [], 0
    for number, part in enumerate(expression.parts):
        given: list[Any] = []
        for operand, own in zip(operands, found, strict=True):
            if own is not None:
                given.append(own.parts[number].source)
            elif operand is not None:
                given.append(operand.cut(start, part.channels, interpreter))
        parts.append(replace(part, source=interpreter.call(function, *given, **kwargs)))
        start += part.channels
    return replace(expression, parts=tuple(parts))


def _are_alike(expressions: Sequence[LazyExpression[S]], interpreter: Interpreter[S]) -> bool:
    """Whether images are upsampled, joined and padded alike: then their pixels meet before that too."""
    forms = [
        [
            (part.scale, part.stretch, tuple(map(_name_number, interpreter.get_shape(part.source))))
            for part in expression.parts
        ]
        for expression in expressions
    ]
    return all(form == forms[0] for form in forms) and not any(one.padding for one in expressions)


def _name_number(number: Any) -> Any:
    """Have something to compare a number by that asks nothing of one that is not known."""
    return number if type(number) is int else str(number)


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
    whole = list(interpreter.get_shape(expression.parts[0].source))
    rank, own = len(whole), tuple(interpreter.get_shape(plain))
    if rank > 3:
        whole[1] = expression.channels
    # of a vector, a channel is its only axis
    if is_vector:
        shape, axis = (1, *own, *(1,) * (rank - 2)), 0
    else:
        shape, axis = (1,) * (rank - len(own)) + own, len(own) - rank + 1
    if len(shape) != rank or shape[-2:] != (1, 1):
        return None
    for one, number in zip(shape[:-2], whole, strict=False):
        if type(one) is not int or not (one == 1 or (type(number) is int and one == number)):
            return None
    return _Operand(plain, axis if shape[1] > 1 and len(expression.parts) > 1 else None)
