"""Upsampling, any padding, and convolution by the forms that keep the size: what they give is cut to size.

Exact but for rounding. With the image padded before it is upsampled, by whole pixels that reach as far, every
pixel of the result is one of the larger image's: a convolution without padding is that of the inner pixels,
circular padding is circular before the upsampling too, and an even kernel is an odd one with zeros beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.matching import find_odd_size
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
        Zeros before the kernel; what is missing to an odd size comes after it.
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
        Runs a form for an odd kernel.

    Returns
    -------
    Tensor
        What the plain operations give, to rounding, in the same order in memory.
    """
    # where reflection is exact it is replication
    mode = "replicate" if padding_mode == "reflect" else padding_mode
    left, right, top, bottom = padding
    size = weight.shape[2]
    rows = _plan_axis(size, scale_factor, (top, bottom), x.shape[2], mode)
    columns = _plan_axis(size, scale_factor, (left, right), x.shape[3], mode)

    def run_plainly() -> Tensor:
        upsampled = functional.interpolate(x, scale_factor=(scale_factor,) * 2, mode="nearest")
        if any(padding):
            upsampled = functional.pad(upsampled, list(padding), mode="constant" if mode == "zeros" else mode)
        return functional.conv2d(upsampled, weight.to(x.dtype), bias, groups=groups)

    if min(rows.length, columns.length) < 1:
        return run_plainly()
    amounts = [columns.before, columns.after, rows.before, rows.after]
    image = functional.pad(x, amounts, mode="constant" if mode == "zeros" else mode) if any(amounts) else x
    spare = find_odd_size(size) - size
    taps = weight
    if spare:
        taps = functional.pad(weight, [columns.front, spare - columns.front, rows.front, spare - rows.front])
    y = run_form(image, taps, "replicate" if mode == "replicate" else "zeros")
    for axis, plan in ((2, rows), (3, columns)):
        y = y if plan.length == y.shape[axis] else y.narrow(axis, plan.start, plan.length)
    has_last = is_channels_last(x, weight) and not is_mapped()
    layout = torch.channels_last if has_last else torch.contiguous_format
    if is_recorded(x, weight, bias):
        return y.contiguous(memory_format=layout)
    y = lay_out(y, layout)
    if not has_finite_sum(y):
        # a zero that is none of the kernel's, or of the padding's, times infinity would spoil other pixels
        return run_plainly()
    return y


def _plan_axis(size: int, scale: int, padding: tuple[int, int], length: Any, mode: str) -> _Axis:
    """Plan one axis, with the zeros of an even kernel where less padding is needed."""
    first, last = padding
    reach = find_odd_size(size) // 2
    before = after = 0
    if mode == "circular":
        # a form pads by zeros or by its own edge
        before, after = (-(-amount // scale) for amount in padding)
    plans = []
    for front in range(find_odd_size(size) - size + 1):
        start = scale * before + reach - first - front
        # how far the last pixel of the result lies beyond those of the form
        beyond = last - reach - front + find_odd_size(size) - size - scale * after
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
