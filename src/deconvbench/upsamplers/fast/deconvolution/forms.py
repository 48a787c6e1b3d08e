"""The two forms of a transposed convolution: torch's own, and minimal filtering of its phases.

Along an axis an output pixel of a layer of stride 2 depends on at most three input pixels, by taps of its phase.
Two outputs of a phase at once, n and n + 1, are a filter of three taps at two places, F(2, 3), which takes four
products instead of six; where a tap at an end does not exist its product falls away. In two dimensions the numbers
multiply. The multiply-accumulates per output pixel are

====================  =========  ========
kernel, padding       torch's    minimal
====================  =========  ========
k3 p1                 2.25       25/16
k4 p1                 4          36/16
k5 p2                 6.25       49/16
k6 p2                 9          64/16
====================  =========  ========

Both are exact but for rounding, forward and backward. Products of sums and differences of pixels would spread what
is not finite further than the layer does, so what is not finite is computed again by torch's own.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deconvbench.upsamplers.fast.deconvolution.choice import Load, prefers_minimal, prefers_minimal_backward
from deconvbench.upsamplers.fast.deconvolution.compiled import (
    fits_compiled,
    go_back_compiled,
    has_compiled,
    is_supported,
    run_compiled,
)
from deconvbench.upsamplers.fast.deconvolution.shape import TransposedShape, run_plain
from deconvbench.upsamplers.fast.memory import has_finite_sum, is_channels_last
from deconvbench.upsamplers.fast.native.form import is_watched
from deconvbench.upsamplers.fast.recording import choose_recorded, records_gradient


def choose_form(
    implementation: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    shape: TransposedShape,
    *,
    is_prepared: bool,
) -> str:
    """Name the form that a call takes.

    Parameters
    ----------
    implementation : str
        One of `choice.DECONVOLUTIONS`.
    x : Tensor, shape (N, C_in, H, W)
        The input.
    weight : Tensor, shape (C_in, C_out/groups, k, k)
        Of the layer.
    bias : Tensor, shape (C_out,), or None
        Of the layer.
    shape : TransposedShape
        Of the layer.
    is_prepared : bool
        Whether the transformed weight is at hand.

    Returns
    -------
    str
        ``plain`` or ``minimal``; ``plain`` also where the compiled form is not there, does not have the layer or
        would hold more memory, and where the call is recorded or transformed.
    """
    if (
        implementation == "plain"
        or not can_compute(x, weight, bias, shape)
        or choose_recorded(implementation, x, weight, bias) is not None
    ):
        return "plain"
    return find_fastest(implementation, x, weight, shape, is_prepared=is_prepared)


def can_compute(x: Tensor, weight: Tensor, bias: Tensor | None, shape: TransposedShape) -> bool:
    """Say whether the compiled form is there, has this layer and answers where torch would.

    Parameters
    ----------
    x, weight, bias, shape
        As for `choose_form`.
    """
    return (
        is_supported(shape)
        and x.ndim == weight.ndim == 4
        and weight.shape == (x.shape[1], shape.out_channels // shape.groups, *shape.kernel_size)
        and (bias is None or (bias.shape == (shape.out_channels,) and bias.dtype == x.dtype))
        and not is_passing()
        and has_compiled(x, weight, shape)
    )


def is_passing() -> bool:
    """Say whether torch's own is to answer for now, whatever the call: until a context that is active ends."""
    # who counts torch's operations would miss what is done beside them
    return torch.is_autocast_enabled("cpu") or is_watched()


def find_fastest(
    implementation: str, x: Tensor, weight: Tensor, shape: TransposedShape, *, is_prepared: bool
) -> str:
    """Name the form that is fastest forward where both can be had, whether or not the call is recorded.

    Parameters
    ----------
    implementation, x, weight, shape, is_prepared
        As for `choose_form`; of the tensors only what they are counts, not their values.
    """
    if implementation == "minimal":
        return implementation
    load = _describe(x, weight, shape, is_prepared=is_prepared)
    # what is gained forward is lost where the backward pass is torch's own all the same
    gains = prefers_minimal_backward(load) if load.is_training else prefers_minimal(load)
    is_faster = gains and fits_compiled(x, weight, shape, is_prepared=is_prepared)
    return "minimal" if is_faster else "plain"


def _describe(x: Tensor, weight: Tensor, shape: TransposedShape, *, is_prepared: bool) -> Load:
    batch, in_channels, height, width = x.shape
    return Load(
        kernel_size=shape.kernel_size[0],
        in_channels=in_channels,
        out_channels=shape.out_channels,
        groups=shape.groups,
        batch=batch,
        height=height,
        width=width,
        is_channels_last=is_channels_last(x, weight),
        is_cropped=shape.measure_output((height, width)) != [2 * height, 2 * width],
        is_prepared=is_prepared,
        threads=torch.get_num_threads(),
        is_training=records_gradient(x, weight),
    )


def run_minimal(
    implementation: str,
    x: Tensor,
    weight: Tensor,
    prepared: Tensor | None,
    bias: Tensor | None,
    shape: TransposedShape,
) -> Tensor:
    """Compute a transposed convolution by minimal filtering of its phases, in compiled code.

    Parameters
    ----------
    implementation, x, weight, bias, shape
        As for `choose_form`, which must have named ``minimal``.
    prepared : Tensor or None
        The transformed weight, if it is at hand.

    Returns
    -------
    Tensor, shape (N, C_out, H', W')
        Differentiable; with the channels last in memory where input or weight have them so, as torch answers.
    """
    if records_gradient(x, weight, bias):
        y: Tensor = _Minimal.apply(x, weight, prepared, bias, shape, implementation)  # type: ignore[no-untyped-call] # torch has no types here
        return y
    return compute(x, weight, prepared, bias, shape)


def compute(
    x: Tensor, weight: Tensor, prepared: Tensor | None, bias: Tensor | None, shape: TransposedShape
) -> Tensor:
    """Do what `run_minimal` does, without recording a gradient."""
    y: Tensor | None = run_compiled(x, weight, prepared, bias, shape)
    assert y is not None
    if not has_finite_sum(y):
        # not beside what torch's own holds
        y = None
        y = run_plain(x, weight, bias, shape)
    return y


class _Minimal(torch.autograd.Function):
    """Forward and backward by the compiled form; gradients of gradients are those of torch's own operations."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        prepared: Tensor | None,
        bias: Tensor | None,
        shape: TransposedShape,
        implementation: str,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape, ctx.implementation = shape, implementation
        return compute(x, weight, prepared, bias, shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        needs_input, needs_weight, _, needs_bias, *_ = ctx.needs_input_grad
        needs = (needs_input, needs_weight, needs_bias)
        to_input, to_weight, to_bias = go_back(ctx.implementation, x, weight, gradients[0], ctx.shape, needs)
        return to_input, to_weight, None, to_bias, None, None


def go_back(
    implementation: str, x: Tensor, weight: Tensor, gradient: Tensor, shape: TransposedShape, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Find the gradients to input, weight and bias.

    Parameters
    ----------
    implementation : str
        One of `choice.DECONVOLUTIONS`; ``auto`` is the form that is faster backward, whatever ran forward.
    x, weight, shape
        As for `choose_form`.
    gradient : Tensor, shape (N, C_out, H', W')
        To the output.
    needs : (bool, bool, bool)
        Which gradients are wanted.

    Returns
    -------
    to_input : Tensor, shape of `x`, or None
    to_weight : Tensor, shape of `weight`, or None
    to_bias : Tensor, shape (C_out,), or None
    """
    is_wanted = implementation == "minimal" or (
        implementation == "auto" and prefers_minimal_backward(_describe(x, weight, shape, is_prepared=False))
    )
    if is_wanted and not is_watched() and choose_recorded(implementation, x, weight, gradient) is None:
        found = go_back_compiled(x, weight, gradient, shape, needs[:2])
        # products of differences spoil pixels near what is not finite
        if found is not None and all(part is None or has_finite_sum(part) for part in found):
            return *found, gradient.sum((0, 2, 3)) if needs[2] else None
    to_input, to_weight, to_bias = torch.ops.aten.convolution_backward(
        *(gradient, x, weight),
        bias_sizes=[shape.out_channels],
        stride=shape.stride,
        padding=shape.padding,
        dilation=shape.dilation,
        transposed=True,
        output_padding=shape.output_padding,
        groups=shape.groups,
        output_mask=list(needs),
    )
    # torch answers with something undefined where it was not asked
    return (to_input if needs[0] else None), (to_weight if needs[1] else None), (to_bias if needs[2] else None)
