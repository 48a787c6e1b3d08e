"""The five forms behind one interface: prepare the weight, then run; or what is right for whoever records.

`plain` is what people write; the others are equal to it but for rounding (see `dtypes`). Each is differentiable in
input, weight and bias: those made of torch's convolutions by themselves, `minimal` and `tiled` through the
transposed form, whose gradients are theirs.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import functional

from deconvbench.upsamplers.fast.backward import go_back
from deconvbench.upsamplers.fast.choice import NATIVE, Workload, choose_implementation
from deconvbench.upsamplers.fast.cuda.form import TRITON_IMPLEMENTATIONS, check_input, run_triton
from deconvbench.upsamplers.fast.dtypes import HALF_PRECISION, find_autocast_dtype, multiplies_fast
from deconvbench.upsamplers.fast.memory import Products, has_finite_sum, identify_library, is_channels_last
from deconvbench.upsamplers.fast.minimal import run_minimal
from deconvbench.upsamplers.fast.native.backward import has_room_backward
from deconvbench.upsamplers.fast.native.form import (
    fits_native,
    is_watched,
    run_native,
    take_library,
)
from deconvbench.upsamplers.fast.peaks import Library, goes_with_channels_last
from deconvbench.upsamplers.fast.preparation import Geometry, pad_input, prepare
from deconvbench.upsamplers.fast.recording import (
    choose_recorded,
    is_mapped,
    is_symbol,
    is_traced,
    records_gradient,
)
from deconvbench.upsamplers.fast.tiled import KERNEL_SIZE, SCALE_FACTOR, run_tiled

__all__ = ["PRODUCT_FORMS", "Geometry", "choose", "find_fastest", "prepare", "run", "run_plain", "specify"]


def choose(x: Tensor, weight: Tensor, geometry: Geometry, *, is_prepared: bool) -> str:
    """Name the fastest form for an input.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        The input.
    weight : Tensor, shape (C_out, C_in/groups, k, k)
        Of the convolution.
    geometry : Geometry
        Of the layer.
    is_prepared : bool
        Whether the transformed weight is at hand.

    Returns
    -------
    str
        By the rule of `choice`, in half precision ``tiled (native)`` or ``plain``; where recorded, what
        `choose_recorded` says.
    """
    recorded = choose_recorded("auto", x, weight)
    return recorded or find_fastest(x, weight, geometry, is_prepared=is_prepared)


def find_fastest(
    x: Tensor, weight: Tensor, geometry: Geometry, *, is_prepared: bool, is_training: bool | None = None
) -> str:
    """Name the form that the rule of `choice` finds fastest, whether or not the call is recorded.

    Parameters
    ----------
    x, weight, geometry, is_prepared
        As for `choose`; of the tensors only what they are counts, not their values.
    is_training : bool or None
        Whether a gradient will be asked for; None: as autograd would record it here.
    """
    cast = find_autocast_dtype(x)
    if cast is not None and cast != x.dtype:
        # as it will be; its values do not count
        x = torch.empty_like(x, dtype=cast)
    is_half = x.dtype in HALF_PRECISION
    if is_half and multiplies_fast(x.dtype):
        return "plain"
    batch, in_channels, height, width = x.shape
    is_recorded = records_gradient(x, weight) if is_training is None else is_training
    load = Workload(
        kernel_size=geometry.kernel_size,
        scale_factor=geometry.scale_factor,
        groups=geometry.groups,
        in_channels=in_channels,
        out_channels=weight.shape[0],
        batch=batch,
        height=height,
        width=width,
        is_float32=x.dtype == torch.float32,
        is_cpu=x.device.type == "cpu",
        threads=torch.get_num_threads(),
        is_channels_last=is_channels_last(x, weight),
        is_prepared=is_prepared,
        is_training=is_recorded,
        library=identify_library(x),
        is_native=_fits_native(x, weight, geometry, is_prepared=is_prepared, is_training=is_recorded),
    )
    chosen = choose_implementation(load)
    if is_half and (chosen != NATIVE or is_watched()):
        # no other form of torch's operations is as precise
        return "plain"
    if chosen != NATIVE or not is_watched():
        return chosen
    # the same products where torch's operations have them
    has_tiled = (load.kernel_size, load.scale_factor) == (KERNEL_SIZE, SCALE_FACTOR)
    return "tiled" if has_tiled else choose_implementation(replace(load, is_native=False))


def specify(implementation: str, x: Tensor, weight: Tensor, geometry: Geometry) -> str:
    """Say which of a form's implementations runs: the tiled form may be there compiled.

    Parameters
    ----------
    implementation : str
        ``plain``, ``transposed``, ``subpixel``, ``minimal``, ``tiled``, ``minimal_triton`` or ``tiled_triton``.
    x, weight, geometry
        As for `choose`.

    Returns
    -------
    str
        The same, or ``tiled (native)``; where the call is recorded, what `choose_recorded` says; where operations
        are counted, the form that has as many products.

    Raises
    ------
    UsageError
        If a Triton form cannot compute the input here.
    """
    recorded = choose_recorded(implementation, x, weight)
    if recorded is not None:
        return recorded
    if implementation in TRITON_IMPLEMENTATIONS:
        check_input(implementation, x)
        return implementation.removesuffix("_triton") if is_watched() else implementation
    is_native = implementation == "tiled" and _has_native(x, weight, geometry) and not is_watched()
    return NATIVE if is_native else implementation


def _has_native(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    return geometry.find_native(x, weight) is not None


def _fits_native(x: Tensor, weight: Tensor, geometry: Geometry, *, is_prepared: bool, is_training: bool) -> bool:
    plan, groups = geometry.find_native(x, weight), geometry.groups
    if plan is None or not fits_native(plan, x, weight.shape[0], is_prepared=is_prepared, groups=groups):
        return False
    return not is_training or has_room_backward(take_library(), plan, x, weight, groups)


def run(
    implementation: str,
    x: Tensor,
    weight: Tensor,
    prepared: Tensor | None,
    bias: Tensor | None,
    geometry: Geometry,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Upsample and convolve.

    Parameters
    ----------
    implementation : str
        As for `prepare`.
    x : Tensor, shape (N, C_in, H, W)
        Any H, W ≥ 1.
    weight : Tensor, shape (C_out, C_in/groups, k, k)
        Of the convolution.
    prepared : Tensor or None
        From `prepare`, if it is at hand; then the weight gets no gradient.
    bias : Tensor, shape (C_out,), or None
        Added to every pixel.
    geometry : Geometry
        Of the layer.
    dtype : torch.dtype or None
        What to compute in, where that is not the type of the input.

    Returns
    -------
    Tensor, shape (N, C_out, s·H, s·W)
        With the channels last in memory where input or weight have them so, as torch's convolutions answer.
    """
    if dtype is not None and not (implementation == "plain" and (is_compiling() or records_gradient(x))):
        # otherwise the gradients of upsampled pixels are to be summed before they are rounded
        x = x.to(dtype)
    recorded = choose_recorded(implementation, x, weight, bias)
    if recorded is not None:
        return _run_recorded(recorded, x, weight, bias, geometry, dtype)
    # an empty batch costs nothing in any form, and torch's PixelShuffle cannot go back through one
    if implementation == "plain" or x.shape[0] == 0:
        kernel = prepared if implementation == "plain" and prepared is not None else weight.to(dtype or x.dtype)
        return run_plain(x, kernel, bias, geometry)
    layout = torch.channels_last if is_channels_last(x, weight) else torch.contiguous_format
    if layout == torch.channels_last and not is_channels_last(x) and implementation not in _ANY_STRIDES:
        x = x.contiguous(memory_format=layout)
    y: Tensor
    if implementation != "subpixel" and records_gradient(x, weight, bias):
        y = _TransposedBackward.apply(x, weight, prepared, bias, implementation, geometry)  # type: ignore[no-untyped-call] # torch has no types here
    else:
        y = _run_form(x, weight, prepared, bias, implementation, geometry)
        y = y if y.requires_grad else _forget_base(y)
    # as it is, but where axes of length 1 leave the order open and on devices that shuffle pixels otherwise
    return y.contiguous(memory_format=layout)


def _run_recorded(
    implementation: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    dtype: torch.dtype | None,
) -> Tensor:
    """Upsample and convolve by operations of torch that are right for every size."""
    if implementation == "plain":
        # autocast may have chosen another type; a trace would keep it
        kernel = weight if is_symbol(x) or is_traced() else weight.to(dtype or x.dtype)
        return run_plain(x, kernel, bias, geometry)
    y = _CONVOLUTIONS[implementation](x, prepare(implementation, weight, geometry, x.dtype), bias, geometry)
    has_last = is_channels_last(x, weight) and not is_mapped()
    return y.contiguous(memory_format=torch.channels_last if has_last else torch.contiguous_format)


def run_plain(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Upsample and convolve as it is written, in the type of the kernel.

    Parameters
    ----------
    x, kernel, bias, geometry
        As for `run`, with the weight as it is.
    """
    # for both axes, lest what is recorded takes an image without a batch for rows of one axis
    upsampled = functional.interpolate(x, scale_factor=(geometry.scale_factor,) * 2, mode="nearest")
    padding, after = geometry.padding, geometry.padding_after
    if after and (after != padding or not geometry.pads_zeros):
        mode = "constant" if geometry.pads_zeros else geometry.padding_mode
        upsampled, padding = functional.pad(upsampled, (padding, after) * 2, mode=mode), 0
    if not is_symbol(x) and not is_traced():
        upsampled = upsampled.to(kernel.dtype)
    return functional.conv2d(upsampled, kernel, bias, padding=padding, groups=geometry.groups)


def _takes_channels_last(x: Tensor, out_channels: int) -> bool:
    """Whether a transposed convolution takes an image with the channels last, whatever it is."""
    return (
        identify_library(x) is Library.ONEDNN
        and not is_compiling()
        and not is_mapped()
        and goes_with_channels_last(x.shape[1], out_channels)
    )


def _run_transposed(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    padded, crop = pad_input(x, geometry)
    if _takes_channels_last(x, kernel.shape[1] * geometry.groups):
        padded = padded.contiguous(memory_format=torch.channels_last)
    return functional.conv_transpose2d(
        padded,
        kernel,
        bias,
        stride=geometry.scale_factor,
        padding=crop,
        output_padding=geometry.padding_after - geometry.padding,
        groups=geometry.groups,
    )


def _run_subpixel(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    padding = geometry.reach
    if not geometry.pads_zeros:
        x, padding = pad_input(x, geometry)[0], 0
    phases = geometry.scale_factor**2
    biases = None if bias is None else bias.repeat_interleave(phases)
    y = functional.conv2d(x, kernel, biases, padding=padding, groups=geometry.groups)
    return functional.pixel_shuffle(y, geometry.scale_factor)


_CONVOLUTIONS = {"transposed": _run_transposed, "subpixel": _run_subpixel}
PRODUCT_FORMS = frozenset({"minimal", "tiled", NATIVE, *TRITON_IMPLEMENTATIONS})
# the compiled ones read any layout
_ANY_STRIDES = frozenset({NATIVE, *TRITON_IMPLEMENTATIONS})


def _run_products(
    x: Tensor,
    weight: Tensor,
    prepared: Tensor | None,
    bias: Tensor | None,
    implementation: str,
    geometry: Geometry,
) -> Tensor:
    parts = []
    groups = geometry.groups
    biases = [None] * groups if bias is None else bias.chunk(groups)
    kept = [None] * groups if prepared is None else torch.unflatten(prepared, 2, (groups, -1)).unbind(2)
    for pixels, taps, kept_part, bias_part in zip(
        x.chunk(groups, 1), weight.chunk(groups), kept, biases, strict=True
    ):
        products = Products(
            kept=kept_part, weight=taps, make=lambda part: prepare(implementation, part, geometry, x.dtype)
        )
        if implementation == "tiled":
            y = run_tiled(pixels, products, bias_part, pads_zeros=geometry.pads_zeros)
        else:
            y = run_minimal(pixels, products, bias_part, geometry.scale_factor, pads_zeros=geometry.pads_zeros)
        parts.append(y)
    return parts[0] if groups == 1 else torch.cat(parts, 1)


def _run_form(
    x: Tensor,
    weight: Tensor,
    prepared: Tensor | None,
    bias: Tensor | None,
    implementation: str,
    geometry: Geometry,
) -> Tensor:
    y: Tensor | None
    if implementation == NATIVE:
        plan = geometry.find_native(x, weight)
        assert plan is not None  # otherwise it is not chosen
        y = run_native(
            take_library(),
            plan,
            x,
            weight,
            prepared,
            bias,
            pads_zeros=geometry.pads_zeros,
            groups=geometry.groups,
        )
    elif implementation in TRITON_IMPLEMENTATIONS:
        y = run_triton(implementation, x, weight, prepared, bias, pads_zeros=geometry.pads_zeros)
    elif implementation in PRODUCT_FORMS:
        y = _run_products(x, weight, prepared, bias, implementation, geometry)
    else:
        if prepared is None:
            is_last = is_channels_last(x) or (
                implementation == "transposed" and _takes_channels_last(x, weight.shape[0])
            )
            layout = torch.channels_last if is_last else torch.contiguous_format
            # the convolution would make this copy too, and keep what it is made from meanwhile
            prepared = prepare(implementation, weight, geometry, x.dtype).contiguous(memory_format=layout)
        y = _CONVOLUTIONS[implementation](x, prepared, bias, geometry)
        if implementation == "transposed":
            return y
    # products of differences, and taps of zero, spoil pixels near what is not finite; elsewhere asking would wait
    if x.device.type == "cpu" and not has_finite_sum(y):
        # not beside what the plain form holds
        y = None
        y = run_plain(x, weight.to(x.dtype), bias, geometry)
    return y


def _forget_base(y: Tensor) -> Tensor:
    """Make a part of larger memory a tensor of its own, for torch refuses to write into views without history."""
    return y.data if y._is_view() else y


class _TransposedBackward(torch.autograd.Function):
    """Any form forward; backward by `go_back`.

    Left to itself, torch would keep the transformed kernel from forward to backward, and its gradient beside it:
    for many channels and small maps more than all the plain form holds.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        prepared: Tensor | None,
        bias: Tensor | None,
        implementation: str,
        geometry: Geometry,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry, ctx.implementation = geometry, implementation
        return _forget_base(_run_form(x, weight, prepared, bias, implementation, geometry))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        needs_input, needs_weight, _, needs_bias, *_ = ctx.needs_input_grad
        found = go_back(x, weight, gradient, ctx.implementation, ctx.geometry, (needs_input, needs_weight))
        # torch's own sum loses a digit where the gradient's mean is far from zero
        return *found, None, gradient.sum((0, 2, 3)) if needs_bias else None, None, None
