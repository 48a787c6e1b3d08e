"""Upsampling and convolution as one function of tensors, and the sum of such for joined channels.

Where a decision of `matching` becomes arithmetic; the forms themselves are `deconvbench.upsamplers.fast`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.compiled_gain import pays_compiled
from deconvbench.networks.fusion.evaluation import upsample
from deconvbench.networks.fusion.expressions import FindPrepared, Interpreter, LazyExpression, Part
from deconvbench.networks.fusion.matching import Match, Piece
from deconvbench.networks.fusion.padded import find_form_size, run_padded
from deconvbench.upsamplers.fast.choice import NATIVE
from deconvbench.upsamplers.fast.dtypes import find_autocast_dtype, is_half_precision
from deconvbench.upsamplers.fast.forms import Geometry, choose, run
from deconvbench.upsamplers.fast.memory import is_channels_last
from deconvbench.upsamplers.fast.operators import compile_call
from deconvbench.upsamplers.fast.recording import records_gradient
from deconvbench.upsamplers.fast.strips import Stage, choose_rows, estimate_peak, run_in_strips

S = TypeVar("S")

# measured on two cores of an AMD EPYC (float32, 32 to 512 upsampled channels): from 1024 pixels on, splitting
# is 0.94 to 1.65 times as fast as the plain form, with fewer 0.87 to 1.34
LEAST_PIXELS_SPLIT = 1024
# where the upsampled part has a compiled form, on one core: from 64 pixels on 0.94 to 4.3, with fewer 0.5 to 1.3
LEAST_PIXELS_SPLIT_NATIVE = 64

_LEFT_IN_HALF = (
    "the convolution after it is computed in half precision, where no fast form but the compiled one is as precise"
)


def resize_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    scale_factor: int,
    groups: int = 1,
    padding_mode: str = "zeros",
    padding: Sequence[int] = (),
    find_prepared: FindPrepared | None = None,
    max_memory: int | None = None,
    is_graph: bool = False,
) -> Tensor:
    """Upsample by nearest neighbour, then pad and convolve; in the fastest exact form.

    Under autocast it computes in the dtype that a convolution would.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        The image before upsampling.
    weight : Tensor, shape (C_out, C_in/groups, k, k)
        Of the convolution.
    bias : Tensor, shape (C_out,), or None
        Of the convolution.
    scale_factor : int
        Scale s, at least 2.
    groups : int
        Groups of the convolution.
    padding_mode : str
        ``zeros``, ``reflect`` by at most s − 1 pixels, ``replicate``, or ``circular`` where `padding` is given.
    padding : sequence of int
        Pixels on the left, on the right, above and below; empty for (k − 1)/2 everywhere, k odd, which keeps the
        size.
    find_prepared : callable or None
        Where transformed weights are kept, if they are.
    max_memory : int or None
        Bytes that it may hold, above which it works in row strips; not where gradients are recorded.
    is_graph : bool
        Whether a graph of ``torch.compile`` calls, which may be traced once more.

    Returns
    -------
    Tensor, shape (N, C_out, s·H, s·W) where the size is kept
    """

    def run(x: Tensor) -> Tensor:
        own_bias = None if bias is None else bias.to(x.dtype)

        def run_form(image: Tensor, taps: Tensor, mode: str) -> Tensor:
            # where reflection is exact it is replication
            geometry = Geometry(
                kernel_size=taps.shape[2],
                scale_factor=scale_factor,
                groups=groups,
                padding_mode="replicate" if mode == "reflect" else mode,
            )

            def run_whole(image: Tensor) -> Tensor:
                return _resize(image, taps, own_bias, geometry, find_prepared, is_graph=is_graph)

            if max_memory is None or records_gradient(image, taps, bias):
                return run_whole(image)
            stage = _make_stage(taps, scale_factor, groups, run_whole)
            rows = choose_rows([stage], image, max_memory)
            return run_whole(image) if rows is None else run_in_strips([stage], image, rows)

        if not padding:
            return run_form(x, weight, padding_mode)
        return run_padded(
            x,
            weight,
            own_bias,
            scale_factor=scale_factor,
            groups=groups,
            padding_mode=padding_mode,
            padding=padding,
            run_form=run_form,
        )

    cast = find_autocast_dtype(x)
    if cast is None:
        return run(x)
    # sums of taps are taken of the weight as it is, and rounded once
    with torch.autocast(x.device.type, enabled=False):
        return run(x.to(cast))


def _resize(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    find_prepared: FindPrepared | None,
    *,
    is_graph: bool,
) -> Tensor:
    if is_graph or torch.compiler.is_compiling():
        compiled = compile_call("auto", x, weight, bias, geometry, is_graph=is_graph)
        if compiled is not None:
            return compiled
    implementation = choose(x, weight, geometry, is_prepared=find_prepared is not None)
    prepared = None
    if find_prepared is not None:
        layout = torch.channels_last if is_channels_last(x, weight) else torch.contiguous_format
        prepared = find_prepared(implementation, geometry, layout, x.dtype)
    return run(implementation, x, weight, prepared, bias, geometry)


def _make_stage(weight: Tensor, scale_factor: int, groups: int, run_whole: Callable[[Tensor], Tensor]) -> Stage:
    size = weight.shape[2]
    return Stage(
        run=run_whole,
        scale=scale_factor,
        reach=size // 2,
        out_channels=weight.shape[0],
        kernel_size=size,
        groups=groups,
    )


def explain_precision(
    expression: LazyExpression[Tensor], match: Match, weight: Tensor, bias: Tensor | None
) -> str | None:
    """Say why a convolution of an expression is left to torch in half precision, or None where it is not.

    Parameters
    ----------
    expression : LazyExpression of Tensor
        The input.
    match : Match
        What `plan_convolution` says of it.
    weight : Tensor, shape (C_out, C_in/groups, k, k)
        Of the convolution.
    bias : Tensor, shape (C_out,), or None
        Of the convolution.

    Returns
    -------
    str or None
        None in other precisions, for one convolution that the compiled form computes, and for one 1×1 convolution
        without gradients, whose products and sums are the same before the upsampling as after it. The terms of
        several pieces would be rounded before they are added, and gradients before they are summed over the image.
    """
    sources = [part.source for part in expression.parts]
    if not is_half_precision(*sources):
        return None
    if len(match.pieces) > 1 or sources[0].ndim != 4 or torch.compiler.is_compiling():
        return _LEFT_IN_HALF
    if match.kernel_size > 1:
        chosen = _choose_form(expression, match, match.pieces[0], weight, is_prepared=True)
        return None if chosen == NATIVE else _LEFT_IN_HALF
    return _LEFT_IN_HALF if records_gradient(*sources, weight, bias) else None


def needs_strips(
    expression: LazyExpression[Tensor], match: Match, weight: Tensor, bias: Tensor | None, max_memory: int
) -> bool:
    """Whether a convolution of an expression works in row strips.

    Parameters
    ----------
    expression : LazyExpression of Tensor
        The input.
    match : Match
        What `plan_convolution` says of it.
    weight : Tensor, shape (C_out, C_in/groups, k, k)
        Of the convolution.
    bias : Tensor, shape (C_out,), or None
        Of the convolution.
    max_memory : int
        Bytes that it may hold.

    Returns
    -------
    bool
        Where it has one piece, keeps the size, records no gradient, and would hold more as a whole. The form is
        then the one that is as precise, in half precision the plain one.
    """
    sources = [part.source for part in expression.parts]
    is_whole = len(match.pieces) != 1 or match.kernel_size == 1 or bool(match.padding)
    if is_whole or records_gradient(*sources, weight, bias):
        return False
    (piece,) = match.pieces
    stage = _make_stage(weight, piece.scale, match.groups, lambda x: x)
    # of joined channels, which are not joined yet
    first, stretch = sources[0], expression.parts[0].stretch
    sides = [side * more for side, more in zip(first.shape[2:], stretch, strict=True)]
    joined = first.new_empty(()).expand(first.shape[0], piece.length, *sides)
    return estimate_peak([stage], joined) > max_memory


def is_faster(
    expression: LazyExpression[Tensor],
    match: Match,
    weight: Tensor,
    *,
    is_prepared: bool,
    is_computed: bool = False,
) -> bool:
    """Whether a convolution of an expression is faster than one of the computed image.

    Parameters
    ----------
    expression : LazyExpression of Tensor
        The input.
    match : Match
        What `plan_convolution` says of it.
    weight : Tensor, shape (C_out, C_in/groups, k, k)
        Of the convolution.
    is_prepared : bool
        Whether transformed weights are kept.
    is_computed : bool
        Whether the upsampled tensor is needed elsewhere anyway.

    Returns
    -------
    bool
        False where an upsampled part is so small that the plain form is its fastest, where the sum of several
        costs what it saves, or where a 1×1 convolution leaves more to upsample.
    """
    if match.kernel_size == 1:
        return not is_computed and _leaves_less(expression, match, weight)
    for piece in match.pieces:
        if piece.scale == 1:
            continue
        chosen = _choose_form(expression, match, piece, weight, is_prepared=is_prepared)
        source, is_split = expression.parts[piece.first].source, len(match.pieces) > 1
        least = LEAST_PIXELS_SPLIT_NATIVE if chosen == NATIVE else LEAST_PIXELS_SPLIT
        if not pays_compiled(match, piece, source, is_channels_last(source, weight), chosen):
            return False
        if chosen == "plain" or (is_split and source.shape[0] * source.shape[2] * source.shape[3] < least):
            return False
    return True


def _choose_form(
    expression: LazyExpression[Tensor], match: Match, piece: Piece, weight: Tensor, *, is_prepared: bool
) -> str:
    """Name the form of an upsampled piece."""
    taps = weight.narrow(1, piece.start, piece.length) if len(match.pieces) > 1 else weight
    size = find_form_size(match.kernel_size, piece.scale, match.padding, match.padding_mode)
    if size != match.kernel_size:
        # as large as the form's will be
        taps = taps.new_empty(()).expand(*taps.shape[:2], size, size)
    geometry = Geometry(kernel_size=size, scale_factor=piece.scale, groups=match.groups, padding_mode="zeros")
    return choose(expression.parts[piece.first].source, taps, geometry, is_prepared=is_prepared)


def _leaves_less(expression: LazyExpression[Tensor], match: Match, weight: Tensor) -> bool:
    """Whether a 1×1 convolution is worth its turn before the upsampling.

    Measured on one core (float32, 1 to 512 channels in and out, 8×8 to 64×64 pixels, scale 2, alone and of joined
    channels): it is 1.0 to 50 times as fast where no more channels are to be upsampled than before, down to 0.1
    where there are more, because an upsampling costs as much as a small convolution. With the channels last it
    is next to free. Where the upsampled tensor is at hand it is 0.1 to 3.9.
    """
    upsampled = [part for part in expression.parts if part.scale > 1]
    fewer = match.out_channels <= sum(part.channels for part in upsampled)
    return fewer or all(is_channels_last(part.source, weight) for part in upsampled)


def convolve(
    expression: LazyExpression[S],
    match: Match,
    weight: S,
    bias: S | None,
    interpreter: Interpreter[S],
    max_memory: int | None = None,
) -> S | LazyExpression[S]:
    """Convolve an expression.

    Parameters
    ----------
    expression : LazyExpression
        The input.
    match : Match
        What `plan_convolution` says of it.
    weight, bias : S
        Of the convolution.
    interpreter : Interpreter
        What computes, or writes nodes of a graph.
    max_memory : int or None
        As of `resize_conv2d`, for each piece.

    Returns
    -------
    S or LazyExpression
        The result; an expression where the kernel is 1×1, for then the convolution acts on each pixel alone and
        may come before the upsampling.
    """
    if match.kernel_size == 1:
        y, scale = _convolve_pixels(expression, match, weight, bias, interpreter)
        if scale == 1:
            return y
        part = Part(source=y, channels=match.out_channels, scale=scale)
        return LazyExpression(parts=(part,), upsamplings=expression.upsamplings)
    total: S | None = None
    for piece in match.pieces:
        source = _join(expression, piece.first, piece.last, interpreter)
        taps, term_bias = weight, bias if total is None else None
        if len(match.pieces) > 1:
            taps = interpreter.call(torch.narrow, weight, 1, piece.start, piece.length)
        if piece.scale == 1:
            term = _convolve_plainly(source, taps, term_bias, match, interpreter)
        else:
            found = interpreter.find_prepared(weight, piece.start, piece.length // match.groups)
            # a kernel that zeros are added to is none that is kept
            size = find_form_size(match.kernel_size, piece.scale, match.padding, match.padding_mode)
            is_kept = found is not None and match.kernel_size == size
            options: dict[str, Any] = {"find_prepared": found} if is_kept else {}
            if match.groups != 1:
                options["groups"] = match.groups
            if match.padding_mode != "zeros":
                options["padding_mode"] = match.padding_mode
            if match.padding:
                options["padding"] = match.padding
            if max_memory is not None:
                options["max_memory"] = max_memory
            term = interpreter.call(resize_conv2d, source, taps, term_bias, scale_factor=piece.scale, **options)
        total = term if total is None else interpreter.add(total, term)
    assert total is not None
    return total


def _convolve_pixels(
    expression: LazyExpression[S], match: Match, weight: S, bias: S | None, interpreter: Interpreter[S]
) -> tuple[S, int]:
    """Convolve with a 1×1 kernel before the upsampling: the result, and by what it is to be upsampled.

    From the smallest image on, each sum is upsampled to the size of the next: one sum of full size, not many.
    """
    total: S | None = None
    left = 1
    for piece in sorted(match.pieces, key=lambda piece: -piece.scale):
        is_all = len(match.pieces) == 1
        taps = weight if is_all else interpreter.call(torch.narrow, weight, 1, piece.start, piece.length)
        source = _join(expression, piece.first, piece.last, interpreter)
        term_bias = bias if total is None else None
        term = interpreter.call(torch.conv2d, source, taps, term_bias, groups=match.groups)
        if total is None:
            total, left = term, piece.scale
            continue
        common = math.gcd(left, piece.scale)
        total, term = (
            image if more == 1 else interpreter.call(upsample, image, (more, more))
            for image, more in ((total, left // common), (term, piece.scale // common))
        )
        total, left = interpreter.add(total, term), common
    assert total is not None
    return total, left


def _join(expression: LazyExpression[S], first: int, last: int, interpreter: Interpreter[S]) -> S:
    sources = [
        part.source if part.stretch == (1, 1) else interpreter.call(upsample, part.source, part.stretch)
        for part in expression.parts[first:last]
    ]
    return sources[0] if len(sources) == 1 else interpreter.call(torch.cat, sources, 1)


def _convolve_plainly(source: S, weight: S, bias: S | None, match: Match, interpreter: Interpreter[S]) -> S:
    amounts = list(match.padding) or [(match.kernel_size - 1) // 2] * 4
    left, right, top, bottom = amounts
    padding = (top, left)
    if any(amounts) and (match.padding_mode != "zeros" or (left, top) != (right, bottom)):
        mode = "constant" if match.padding_mode == "zeros" else match.padding_mode
        source = interpreter.call(functional.pad, source, amounts, mode=mode)
        padding = (0, 0)
    return interpreter.call(torch.conv2d, source, weight, bias, padding=padding)
