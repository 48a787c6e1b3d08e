"""What a call makes of a lazy expression: the rules that a running network and a graph share.

Decides what is followed; how results are made is the interpreter's business. Handles no in-place calls: the
session does.

What acts on each pixel alone may as well act before the upsampling: exact to the bit, for every pixel that is
repeated gets what one of them gets. What has further operands is in `channelwise`, what moves other axes than rows
and columns in `axes`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion import calls
from deconvbench.networks.fusion.axes import follow_axes, move
from deconvbench.networks.fusion.channelwise import follow_channelwise
from deconvbench.networks.fusion.expressions import (
    Interpreter,
    LazyExpression,
    Part,
    merge_upsamplings,
    read_scales,
)
from deconvbench.networks.fusion.matching import Match, has_pixels, plan_convolution

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
    if kind in {calls.INTERPOLATE, calls.RESIZE, calls.REPEAT, calls.PAD, calls.JOIN}:
        call = calls.read_call(function, args, kwargs)
        if isinstance(call, calls.UpsampleCall):
            return _follow_upsampling(call, interpreter)
        if isinstance(call, calls.RepeatCall):
            return _follow_repetition(call, interpreter)
        if isinstance(call, calls.PadCall):
            return _follow_padding(call, interpreter)
        return _follow_join(call, interpreter) if isinstance(call, calls.JoinCall) else None
    if kind == calls.CHANNELWISE:
        return follow_channelwise(function, args, kwargs, interpreter)
    if kind is None or kind == calls.CONVOLVE or not args:
        return None
    if kind == calls.AXES:
        return follow_axes(function, args, kwargs, interpreter)
    if interpreter.find_expression(args[0]) is None:
        return None
    if kind == calls.CAST:
        return _follow_cast(function, args, kwargs, interpreter)
    return _follow_alone(function, args, kwargs, interpreter)


# what a function of one image may get besides it
_OPTIONS = (int, float, str, type(None), torch.dtype, torch.memory_format)


def _follow_alone(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], interpreter: Interpreter[S]
) -> LazyExpression[S] | str | None:
    """Follow a function of one image."""
    kind = calls.KINDS[function]
    image, *rest = args
    expression = interpreter.find_expression(image)
    assert expression is not None  # `follow` asks for one
    if not all(isinstance(value, _OPTIONS) for value in (*rest, *kwargs.values())):
        return None
    if kind == calls.DROP:
        share = kwargs.get("p", rest[0] if rest else 0.5)
        is_training = kwargs.get("training", rest[1] if len(rest) > 1 else True)
        # torch raises for what is no share
        is_share = isinstance(share, (int, float)) and 0 <= share <= 1
        return None if is_training or not is_share else expression
    if kind == calls.LAYOUT:
        # whether it is a copy is not known here
        return expression.map(lambda source: interpreter.call(function, source, *rest, **kwargs))
    if expression.padding:
        return f"{getattr(function, '__name__', function)} comes after the padding"
    return expression.map(lambda source: interpreter.call(function, source, *rest, **kwargs))


def _follow_cast(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], interpreter: Interpreter[S]
) -> LazyExpression[S] | None:
    image, *rest = args
    expression = interpreter.find_expression(image)
    assert expression is not None  # `follow` asks for one
    given = [*rest, *kwargs.values()]
    if not given and function is Tensor.to:
        # torch raises
        return None
    dtype: Any = interpreter.get_dtype(image)
    device = interpreter.get_device(image)
    like = given[0] if len(given) == 1 and interpreter.is_image(given[0]) else None
    if like is not None and function in {Tensor.type_as, Tensor.to}:
        device = interpreter.get_device(like)
        wanted: Any = interpreter.get_dtype(like)
    else:
        # where it is already need not be said
        given = [value for value in given if not _is_device(value, device)]
        wanted = dtype if not given and function is Tensor.to else calls.read_cast(function, given)
    if wanted not in calls.DTYPES or device != interpreter.get_device(image):
        return None
    return (
        expression
        if dtype == wanted
        else expression.map(lambda source: interpreter.call(Tensor.to, source, wanted))
    )


def _is_device(value: Any, device: torch.device) -> bool:
    return isinstance(value, (torch.device, str)) and torch.device(value) == device


def _follow_upsampling(call: calls.UpsampleCall, interpreter: Interpreter[S]) -> LazyExpression[S] | str | None:
    expression = interpreter.find_expression(call.image)
    if expression is not None:
        scales = read_scales(call, interpreter.get_shape(call.image))
    else:
        image = interpreter.find_plain(call.image)
        if image is None:
            return "its input is not an ordinary tensor of floating-point numbers"
        shape = interpreter.get_shape(image)
        scales = read_scales(call, shape)
        if not isinstance(scales, str):
            source = interpreter.settle(interpreter.own(image), functional.interpolate, 1, scale_factor=1)
            expression = LazyExpression(parts=(Part(source=source, channels=shape[1], scale=1),))
    if isinstance(scales, str) or expression is None:
        return scales if isinstance(scales, str) else None
    return _upsample(expression, scales, interpreter)


def _upsample(
    expression: LazyExpression[S], scales: tuple[int, ...], interpreter: Interpreter[S]
) -> LazyExpression[S] | str | None:
    """Upsample rows and columns, and frames before them."""
    # the length of a signal is its columns, its channels are rows that stay
    *frames, rows, columns = scales if len(scales) > 1 else (1, *scales)
    if rows == columns == 1:
        return "only its frames are upsampled, not rows and columns"
    if any(count > 1 for count in frames):
        # each frame by itself, so that it may as well be repeated before
        moved = _repeat(expression, frames[0], 2, interpreter)
        if not isinstance(moved, LazyExpression):
            return moved
        expression = moved
    return expression.upsample((rows, columns))


def _repeat(
    expression: LazyExpression[S], repeats: int, axis: int, interpreter: Interpreter[S]
) -> LazyExpression[S] | str | None:
    """Repeat along an axis before rows and columns."""
    if len(expression.parts) > 1 or expression.padding:
        return "it is joined or padded before its frames are upsampled"
    return move(
        expression, lambda source: interpreter.call(torch.repeat_interleave, source, repeats, axis), interpreter
    )


def _follow_repetition(  # noqa: PLR0911 -- one return for each reason
    call: calls.RepeatCall, interpreter: Interpreter[S]
) -> LazyExpression[S] | str | None:
    if call.repeats < 1:
        return None
    expression = interpreter.find_expression(call.image)
    seen = None if expression is not None else interpreter.find_strides(call.image)
    if expression is None and seen is None:
        return None
    shape = interpreter.get_shape(call.image) if seen is None else seen[0]
    rank = len(shape)
    axis = call.axis + rank if call.axis < 0 else call.axis
    scales = {rank - 2: (call.repeats, 1), rank - 1: (1, call.repeats)}.get(axis)
    if expression is None:
        if scales is None or call.repeats == 1 or rank < 4:
            return None
        image = interpreter.find_plain(call.image)
        if image is None:
            return None
        part = Part(source=interpreter.own(image), channels=shape[1], scale=1)
        return LazyExpression(parts=(part,)).upsample(scales)
    if scales is not None:
        return expression.upsample(scales)
    return _repeat(expression, call.repeats, axis, interpreter) if 0 <= axis < rank - 2 else None


def _follow_padding(call: calls.PadCall, interpreter: Interpreter[S]) -> LazyExpression[S] | str | None:
    expression = interpreter.find_expression(call.image)
    if expression is None:
        return None
    shape = interpreter.get_shape(call.image)
    if len(shape) == 5 and len(call.amounts) == 6 and all(type(amount) is int for amount in call.amounts):
        moved = _pad_frames(expression, call, interpreter)
        if moved is None:
            return None
        expression, call = moved, replace(call, amounts=call.amounts[:4])
    padded = expression.pad(call)
    if not isinstance(padded, LazyExpression) or not padded.padding:
        return padded
    if len(shape) not in {4, 5}:
        return None
    mode = "constant" if padded.padding_mode == "zeros" else padded.padding_mode
    if mode in {"reflect", "circular"}:
        # torch raises
        left, right, top, bottom = padded.padding
        least = max(left, right) + (mode == "reflect"), max(top, bottom) + (mode == "reflect")
        sides = zip((shape[-1], shape[-2]), least, strict=True)
        if any(type(side) is int and side < amount for side, amount in sides):
            return f"there are not {max(padded.padding)} pixels to {'reflect' if mode == 'reflect' else 'repeat'}"
    amounts = list(padded.padding)
    size = max(amounts) + 1
    return padded.map(lambda source: interpreter.settle(source, functional.pad, size, pad=amounts, mode=mode))


def _pad_frames(
    expression: LazyExpression[S], call: calls.PadCall, interpreter: Interpreter[S]
) -> LazyExpression[S] | None:
    """Add frames before and after those of a video: whatever happens to their rows and columns."""
    front, back = call.amounts[4:]
    if front == back == 0:
        return expression
    if len(expression.parts) > 1 or min(front, back) < 0 or call.mode == "constant":
        return None
    amounts, mode = [0, 0, 0, 0, front, back], "constant" if call.mode == "zeros" else call.mode
    return move(
        expression, lambda source: interpreter.call(functional.pad, source, amounts, mode=mode), interpreter
    )


def _follow_join(  # noqa: PLR0911 -- one return for each reason
    call: calls.JoinCall, interpreter: Interpreter[S]
) -> LazyExpression[S] | str | None:
    first = next((image for image in call.images if interpreter.find_expression(image) is not None), None)
    rank = 4 if first is None else len(interpreter.get_shape(first))
    axis = call.axis + rank if type(call.axis) is int and call.axis < 0 else call.axis
    if rank != 4 or axis != 1:
        return _follow_sequence(call.images, axis, rank, interpreter)
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
            parts.append(Part(source=interpreter.own(plain), channels=shape[1], scale=1))
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


def _follow_sequence(
    images: Sequence[Any], axis: Any, rank: int, interpreter: Interpreter[S]
) -> LazyExpression[S] | None:
    """Join images that are upsampled alike along an axis that is not theirs: the frames of a video."""
    if type(axis) is not int or not 0 <= axis < rank - 2:
        return None
    filled = [image for image in images if not _is_empty(image, axis, rank, interpreter)]
    found = [interpreter.find_expression(image) for image in filled]
    expressions = [expression for expression in found if expression is not None]
    kinds = {
        (part.scale, part.stretch, expression.padding) for expression in expressions for part in expression.parts
    }
    is_alike = len(expressions) == len(found) and len(kinds) == 1 and not expressions[0].padding
    if not is_alike or any(len(expression.parts) > 1 for expression in expressions):
        return None
    sources = [expression.parts[0].source for expression in expressions]
    joined = replace(expressions[0], upsamplings=merge_upsamplings(expressions))
    return move(joined, lambda _: interpreter.call(torch.cat, sources, axis), interpreter)


def _is_empty(image: Any, axis: int, rank: int, interpreter: Interpreter[Any]) -> bool:
    """Whether an image has nothing along an axis, as a cache of frames that is not filled."""
    if not interpreter.is_image(image):
        return False
    shape = interpreter.get_shape(image)
    return len(shape) == rank and type(shape[axis]) is int and shape[axis] == 0


def find_convolution(
    function: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    interpreter: Interpreter[S],
    is_operand: Callable[[Any], bool],
) -> tuple[calls.ConvolveCall, LazyExpression[S]] | None:
    """Find what is convolved with what.

    Parameters
    ----------
    function : callable
        ``conv2d`` or ``conv3d``.
    args, kwargs
        Of it.
    interpreter : Interpreter
        Where its image is.
    is_operand : callable
        Whether something can be a weight or bias.

    Returns
    -------
    tuple or None
        The call and the expression of its input; None if it convolves none.
    """
    call = calls.read_call(function, args, kwargs)
    expression = None if not isinstance(call, calls.ConvolveCall) else interpreter.find_expression(call.image)
    if expression is None or not isinstance(call, calls.ConvolveCall):
        return None
    if not is_operand(call.weight) or not (call.bias is None or is_operand(call.bias)):
        return None
    return call, expression


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
    found = find_convolution(torch.conv2d, args, kwargs, interpreter, is_operand)
    if found is None:
        return None
    call, expression = found
    shape = interpreter.get_shape(call.image)
    if len(shape) != 4:
        return call, expression, f"its input has {len(shape)} dimensions, not 4 (N, C, H, W)"
    return call, expression, match_image(expression, call, interpreter.get_shape(call.weight), shape[2:])


def match_image(
    expression: LazyExpression[Any], call: calls.ConvolveCall, weight_shape: Sequence[Any], sides: Sequence[Any]
) -> Match | str:
    """Decide whether a convolution of an image has an exact fast form: `plan_convolution`, and that it fits.

    The sides are height and width of the image, its padding included.
    """
    match = plan_convolution(expression, call, weight_shape)
    left, right, top, bottom = expression.padding or (0,) * 4
    inner = [
        side - more if type(side) is int else side
        for side, more in zip(sides, (top + bottom, left + right), strict=True)
    ]
    if isinstance(match, Match) and not has_pixels(match, inner):
        return f"a kernel of {match.kernel_size} pixels may not fit into it"
    return match
