"""What acts on the axes before rows and columns only: it may as well act before the upsampling.

Frames of a video that become images and back, an axis that comes or goes, a choice of frames. And the other way
round: an ordinary tensor that is reshaped so that repeated rows and columns become an upsampled image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor

from deconvbench.networks.fusion.calls import bind_arguments
from deconvbench.networks.fusion.expressions import GREATEST_SCALE, Interpreter, LazyExpression, Part

S = TypeVar("S")

# a function and its arguments after the tensor
_Step = tuple[Callable[..., Any], tuple[Any, ...]]


def follow_axes(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], interpreter: Interpreter[S]
) -> LazyExpression[S] | None:
    """Find the expression of what a call returns.

    Parameters
    ----------
    function : callable
        One of `calls.AXES_FUNCTIONS`.
    args, kwargs
        Its arguments.
    interpreter : Interpreter
        Where its images are.

    Returns
    -------
    LazyExpression or None
        None where rows and columns do not stay the last two axes as they are, and where nothing is upsampled.
    """
    name = function.__name__.strip("_")
    bound = _bind(name, args, kwargs)
    if bound is None:
        return None
    image, *given = bound
    expression = interpreter.find_expression(image)
    if expression is None:
        return _follow_expanded(image, given, interpreter) if name == "reshape" else None
    if len(expression.parts) > 1 or expression.padding:
        return None
    shape = tuple(interpreter.get_shape(image))
    step = _READERS[name](given, shape)
    if step is None:
        return None
    (part,) = expression.parts
    act, options = step
    if act is torch.reshape:
        # rows and columns as they are before the upsampling
        options = ([*options[0][:-2], *interpreter.get_shape(part.source)[-2:]],)
    return move(expression, lambda source: interpreter.call(act, source, *options), interpreter)


def move(
    expression: LazyExpression[S], function: Callable[[S], S], interpreter: Interpreter[S]
) -> LazyExpression[S] | None:
    """Apply a function of the axes before rows and columns to an expression of one part.

    Parameters
    ----------
    expression : LazyExpression
        Of one part, without padding.
    function : callable
        Maps a source to another.
    interpreter : Interpreter
        Where its images are.

    Returns
    -------
    LazyExpression or None
        None if nothing is left, or no axis before rows and columns.
    """
    (part,) = expression.parts
    source = function(part.source)
    shape = tuple(interpreter.get_shape(source))
    if len(shape) < 3 or any(type(number) is int and number == 0 for number in shape):
        return None
    return replace(expression, parts=(replace(part, source=source, channels=shape[1 if len(shape) > 3 else 0]),))


_NAMES: Mapping[str, tuple[str, ...]] = {
    "transpose": ("input", "dim0", "dim1"),
    "unsqueeze": ("input", "dim"),
    "squeeze": ("input", "dim"),
    "flatten": ("input", "start_dim", "end_dim"),
    "select": ("input", "dim", "index"),
    "narrow": ("input", "dim", "start", "length"),
    "getitem": ("input", "index"),
}
_SIZES = {"permute": "dims", "reshape": "shape", "view": "size", "repeat": "repeats"}


def _bind(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any] | None:
    """List the arguments in their order; those that are numbers of any count as one."""
    if name in _SIZES:
        image, *rest = args
        if len(args) == 1 and set(kwargs) == {_SIZES[name]}:
            rest = [kwargs[_SIZES[name]]]
        elif kwargs or not rest:
            return None
        numbers = rest[0] if len(rest) == 1 and isinstance(rest[0], (tuple, list)) else rest
        return [image, tuple(numbers)] if all(type(number) is int for number in numbers) else None
    named = {("input" if key == "self" else key): value for key, value in kwargs.items()}
    bound = bind_arguments(_NAMES[name], args, named)
    if bound is None:
        return None
    defaults = {"start_dim": 0, "end_dim": -1}
    values = [bound.get(key, defaults.get(key)) for key in _NAMES[name]]
    is_known = name == "getitem" or all(type(number) is int for number in values[1:])
    return values if is_known else None


def _find_axis(number: int, rank: int) -> int | None:
    """Find an axis before rows and columns by its number, which may count from the end."""
    axis = number + rank if number < 0 else number
    return axis if 0 <= axis < rank - 2 else None


def _read_permute(given: Sequence[Any], shape: Sequence[Any]) -> _Step | None:
    rank = len(shape)
    axes = [axis % rank for axis in given[0] if -rank <= axis < rank]
    is_order = sorted(axes) == list(range(rank)) and len(given[0]) == rank
    return (torch.permute, (axes,)) if is_order and axes[-2:] == [rank - 2, rank - 1] else None


def _read_transpose(given: Sequence[Any], shape: Sequence[Any]) -> _Step | None:
    axes = [_find_axis(number, len(shape)) for number in given]
    return None if None in axes else (torch.transpose, tuple(axes))


def _read_unsqueeze(given: Sequence[Any], shape: Sequence[Any]) -> _Step | None:
    # counted in the longer shape
    axis = _find_axis(given[0], len(shape) + 1)
    return None if axis is None else (torch.unsqueeze, (axis,))


def _read_squeeze(given: Sequence[Any], shape: Sequence[Any]) -> _Step | None:
    axis = _find_axis(given[0], len(shape))
    return None if axis is None else (torch.squeeze, (axis,))


def _read_flatten(given: Sequence[Any], shape: Sequence[Any]) -> _Step | None:
    first, last = (_find_axis(number, len(shape)) for number in given)
    # torch answers with the tensor itself where there is nothing to flatten
    return None if first is None or last is None or first >= last else (torch.flatten, (first, last))


def _read_select(given: Sequence[Any], shape: Sequence[Any]) -> _Step | None:
    axis = _find_axis(given[0], len(shape))
    return None if axis is None else (torch.select, (axis, *given[1:]))


def _read_narrow(given: Sequence[Any], shape: Sequence[Any]) -> _Step | None:
    axis = _find_axis(given[0], len(shape))
    return None if axis is None else (torch.narrow, (axis, *given[1:]))


def _read_reshape(given: Sequence[Any], shape: Sequence[Any]) -> _Step | None:
    sizes = list(given[0])
    if not all(type(number) is int for number in shape) or sizes.count(-1) > 1 or len(sizes) < 3:
        return None
    if -1 in sizes:
        missing = prod(shape) / -prod(sizes) if prod(sizes) else 0
        sizes[sizes.index(-1)] = int(missing)
    is_kept = tuple(sizes[-2:]) == tuple(shape[-2:]) and min(sizes) > 0
    return (torch.reshape, (sizes,)) if is_kept and prod(sizes) == prod(shape) else None


def _read_repeat(given: Sequence[Any], shape: Sequence[Any]) -> _Step | None:
    times = list(given[0])
    is_kept = len(times) == len(shape) and times[-2:] == [1, 1] and min(times) > 0
    return (Tensor.repeat, (times,)) if is_kept else None


def _read_getitem(given: Sequence[Any], shape: Sequence[Any]) -> _Step | None:
    index = given[0] if isinstance(given[0], tuple) else (given[0],)
    if not all(item is None or item is ... or type(item) is int or _is_range(item) for item in index):
        return None
    taken = sum(item is not None and item is not ... for item in index)
    dots = [place for place, item in enumerate(index) if item is ...]
    if len(dots) > 1 or taken > len(shape):
        return None
    whole = (slice(None),) * (len(shape) - taken)
    place = dots[0] if dots else len(index)
    full = (*index[:place], *whole, *index[place + 1 :])
    return (_take, (full,)) if full[-2:] == (slice(None),) * 2 else None


def _is_range(item: Any) -> bool:
    return isinstance(item, slice) and all(
        end is None or type(end) is int for end in (item.start, item.stop, item.step)
    )


def _take(source: Any, index: tuple[Any, ...]) -> Any:
    return source[index]


_READERS: Mapping[str, Callable[[Sequence[Any], Sequence[Any]], _Step | None]] = {
    "permute": _read_permute,
    "transpose": _read_transpose,
    "unsqueeze": _read_unsqueeze,
    "squeeze": _read_squeeze,
    "flatten": _read_flatten,
    "select": _read_select,
    "narrow": _read_narrow,
    "reshape": _read_reshape,
    "view": _read_reshape,
    "repeat": _read_repeat,
    "getitem": _read_getitem,
}


def _follow_expanded(  # noqa: PLR0911 -- one return for each reason
    image: Any, given: Sequence[Any], interpreter: Interpreter[S]
) -> LazyExpression[S] | None:
    """Find the expression of an ordinary tensor whose repeated rows and columns are joined by a reshape.

    Repeated is what has a stride of 0, as ``expand`` and ``broadcast_to`` leave it: (N, C, H, s, W, s) becomes
    (N, C, s·H, s·W).
    """
    seen = interpreter.find_strides(image)
    if seen is None:
        return None
    shape, strides = seen
    (sizes,) = given
    if 0 not in strides or len(sizes) < 4 or not all(type(number) is int for number in (*shape, *sizes)):
        return None
    if min(sizes) < 1 or prod(sizes) != prod(shape):
        return None
    columns = _find_repeated(shape, strides, sizes[-1], len(shape))
    rows = None if columns is None else _find_repeated(shape, strides, sizes[-2], columns[1])
    if columns is None or rows is None or rows[0] == columns[0] == 1:
        return None
    if max(rows[0], columns[0]) > GREATEST_SCALE:
        return None
    # one of each run of equal pixels, then the axes before as they are to be
    axes = [axis for scale, start in (columns, rows) if scale > 1 for axis in [start + 1]]
    sides = [size // scale for size, (scale, _) in zip(sizes[-2:], (rows, columns), strict=True)]

    def pick(whole: S) -> S:
        for axis in axes:
            whole = interpreter.call(torch.select, whole, axis, 0)
        return interpreter.call(torch.reshape, whole, [*sizes[:-2], *sides])

    source = interpreter.find_plain(image, pick)
    if source is None:
        return None
    part = Part(source=interpreter.own(source), channels=sizes[1], scale=1).upsample((rows[0], columns[0]))
    return LazyExpression(parts=(part,))


def _find_repeated(shape: Sequence[int], strides: Sequence[int], size: int, stop: int) -> tuple[int, int] | None:
    """Find by how much the axes before `stop` that become one of a size are upsampled, and where they start."""
    if stop > 1 and shape[stop - 2] * shape[stop - 1] == size and strides[stop - 1] == 0:
        return shape[stop - 1], stop - 2
    return (1, stop - 1) if stop > 0 and shape[stop - 1] == size else None
