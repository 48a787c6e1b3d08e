"""Functions that treat each channel in its own way and each pixel alike: they may act before the enlargement.

Products with the factors of an attention over channels, sums with an embedding, normalisation by kept statistics.
Exact to the bit, for every pixel that is repeated gets what one of them gets. Computes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch.nn import functional

from deconvbench.networks.fusion.calls import BINARY_FUNCTIONS
from deconvbench.networks.fusion.expressions import LazyExpression
from deconvbench.networks.fusion.interpreter import Interpreter

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
        As of `following.follow`.
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
