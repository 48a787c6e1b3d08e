"""Upsampling, any padding, and convolution by the forms that keep the size: what they give is cut to size.

Exact but for rounding. With the image padded before it is upsampled, by whole pixels that reach as far, every
pixel of the result is one of the larger image's: a convolution without padding is that of the inner pixels,
circular padding is circular before the upsampling too. The form for an even kernel pads one pixel more after the
last than before the first; where it is the other way round, an odd kernel with zeros before it may need less.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.tensors import lay_out
from deconvbench.upsamplers.fast.memory import has_finite_sum, is_channels_last
from deconvbench.upsamplers.fast.recording import is_mapped, is_recorded

# runs a form that keeps the size: of image, weight and padding mode
RunForm = Callable[[Tensor, Tensor, str], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """How one axis of the result is cut from one of a form that keeps the size.

    Parameters
    ----------
    front : int
        Zeros before the kernel; what is missing to the size of the form's comes after it.
    before, after : int
        Pixels that the image is padded by, before it is upsampled.
    start, length : int
        Which pixels of the form's result are those of the convolution.
    """

    front: int
    before: int
    after: int
    start: int
    length: Any


def run_padded(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    scale_factor: int,
    groups: int,
    padding_mode: str,
    padding: Sequence[int],
    run_form: RunForm,
) -> Tensor:
    """Upsample by nearest neighbour, pad, and convolve.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        The image before upsampling.
    weight : Tensor, shape (C_out, C_in/groups, k, k)
        Of the convolution.
    bias : Tensor, shape (C_out,), or None
        Of the convolution.
    scale_factor, groups : int
        Scale s, and groups of the convolution.
    padding_mode : str
        ``zeros``, ``replicate``, ``circular``, or ``reflect`` by at most s − 1 pixels.
    padding : (int, int, int, int)
        Pixels on the left, on the right, above and below.
    run_form : callable
        Runs a form that keeps the size: for an even kernel with one pixel more after the last than before the
        first.

    Returns
    -------
    Tensor
        What the plain operations give, to rounding, in the same order in memory.
    """
    # where reflection is exact it is replication
    mode = "replicate" if padding_mode == "reflect" else padding_mode
    size = weight.shape[2]
    form_size, rows, columns = _plan(size, scale_factor, padding, (x.shape[2], x.shape[3]), mode)

    def run_plainly() -> Tensor:
        upsampled = functional.interpolate(x, scale_factor=(scale_factor,) * 2, mode="nearest")
        if any(padding):
            upsampled = functional.pad(upsampled, list(padding), mode="constant" if mode == "zeros" else mode)
        return functional.conv2d(upsampled, weight.to(x.dtype), bias, groups=groups)

    if min(rows.length, columns.length) < 1:
        return run_plainly()
    amounts = [columns.before, columns.after, rows.before, rows.after]
    image = functional.pad(x, amounts, mode="constant" if mode == "zeros" else mode) if any(amounts) else x
    spare = form_size - size
    taps = weight
    if spare:
        taps = functional.pad(weight, [columns.front, spare - columns.front, rows.front, spare - rows.front])
    y = run_form(image, taps, "replicate" if mode == "replicate" else "zeros")
    is_whole = y.shape[2:] == (rows.length, columns.length)
    for axis, plan in ((2, rows), (3, columns)):
        y = y if plan.length == y.shape[axis] else y.narrow(axis, plan.start, plan.length)
    # torch pads circularly into memory with the channels first
    deciding = (weight,) if mode == "circular" and any(padding) else (x, weight)
    has_last = is_channels_last(*deciding) and not is_mapped()
    layout = torch.channels_last if has_last else torch.contiguous_format
    if is_recorded(x, weight, bias):
        return y.contiguous(memory_format=layout)
    if is_whole and not spare and image is x:
        # the form has done all
        return y
    y = lay_out(y, layout)
    if not has_finite_sum(y):
        # a zero that is none of the kernel's, or of the padding's, times infinity would spoil other pixels
        return run_plainly()
    return y


def find_form_size(kernel_size: int, scale_factor: int, padding: Sequence[int], padding_mode: str) -> int:
    """Find the kernel size of the form that is run: that of the kernel, or one more for an even one.

    Parameters
    ----------
    kernel_size, scale_factor : int
        Of the layer.
    padding : sequence of int
        As for `run_padded`; empty for what keeps the size of an odd kernel.
    padding_mode : str
        As for `run_padded`.
    """
    if not padding:
        return kernel_size
    return _plan(kernel_size, scale_factor, padding, (0, 0), padding_mode)[0]


def _plan(
    size: int, scale: int, padding: Sequence[int], lengths: tuple[Any, Any], mode: str
) -> tuple[int, _Axis, _Axis]:
    """Plan with the kernel for which the image is padded least: its size, rows and columns."""
    left, right, top, bottom = padding
    plans = []
    for form_size in (size,) if size % 2 else (size, size + 1):
        rows = _plan_axis(size, form_size, scale, (top, bottom), lengths[0], mode)
        columns = _plan_axis(size, form_size, scale, (left, right), lengths[1], mode)
        plans.append((form_size, rows, columns))
    # the smaller one where both need the same
    return min(plans, key=lambda plan: sum(axis.before + axis.after for axis in plan[1:]))


def _plan_axis(size: int, form_size: int, scale: int, padding: tuple[int, int], length: Any, mode: str) -> _Axis:
    """Plan one axis, with the zeros of a larger kernel where less padding is needed."""
    first, last = padding
    reach, spare = (form_size - 1) // 2, form_size - size
    before = after = 0
    if mode == "circular":
        # a form pads by zeros or by its own edge
        before, after = (-(-amount // scale) for amount in padding)
    plans = []
    for front in range(spare + 1):
        start = scale * before + reach - first - front
        # how far the last pixel of the result lies beyond those of the form
        beyond = last + reach + 1 - front - size - scale * after
        more = [max(0, -(-missing // scale)) for missing in (-start, beyond)]
        plan = _Axis(
            front=front,
            before=before + more[0],
            after=after + more[1],
            start=start + scale * more[0],
            length=scale * length + first + last - size + 1,
        )
        plans.append((sum(more), front, plan))
    return min(plans, key=lambda ranked: ranked[:2])[2]
