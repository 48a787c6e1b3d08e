"""Backward of all forms: gradients to input and weight, exact but for rounding whatever form ran forward.

That is the backward pass of the equal transposed convolution, some output channels at a time; that of the compiled
form is compiled too, and those of Triton have kernels of their own, but where the gradient is differentiated again
or has a batch of its own.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.upsamplers.fast.choice import NATIVE
from deconvbench.upsamplers.fast.cuda.backward import fits_triton_backward, run_triton_backward
from deconvbench.upsamplers.fast.cuda.form import TRITON_IMPLEMENTATIONS
from deconvbench.upsamplers.fast.dtypes import HALF_PRECISION, suspend_autocast
from deconvbench.upsamplers.fast.gradients import collect_taps, crop_edges, fold_edges, split_channels
from deconvbench.upsamplers.fast.memory import has_finite_sum
from deconvbench.upsamplers.fast.native.backward import fits_native_backward, run_native_backward
from deconvbench.upsamplers.fast.native.form import is_watched
from deconvbench.upsamplers.fast.native.library import find_library
from deconvbench.upsamplers.fast.preparation import Geometry, pad_input, prepare
from deconvbench.upsamplers.fast.recording import choose_recorded


def go_back(
    x: Tensor, weight: Tensor, gradient: Tensor, implementation: str, geometry: Geometry, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Find the gradients to input and weight.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        Input.
    weight : Tensor, shape (C_out, C_in/groups, k, k)
        Of the convolution.
    gradient : Tensor, shape (N, C_out, s·H, s·W)
        To the output.
    implementation : str
        The form that ran.
    geometry : Geometry
        Of the layer.
    needs : (bool, bool)
        Which gradients are wanted.

    Returns
    -------
    to_input : Tensor, shape of `x`, or None
    to_weight : Tensor, shape of `weight`, or None
    """
    # who goes back within autocast would have some operations in another type than the others
    with suspend_autocast(x):
        return _go_back(x, weight, gradient, implementation, geometry, needs)


def _go_back(
    x: Tensor, weight: Tensor, gradient: Tensor, implementation: str, geometry: Geometry, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    needs_input, needs_weight = needs
    if implementation == NATIVE:
        found = _run_native_backward(x, weight, gradient, geometry, needs)
        if found is not None:
            return found
        if x.dtype in HALF_PRECISION:
            # as precise as it
            return _go_back_plainly(x, weight, gradient, geometry, needs)
    if implementation in TRITON_IMPLEMENTATIONS:
        is_recorded = is_watched() or choose_recorded(implementation, x, weight, gradient) is not None
        if not is_recorded and fits_triton_backward(implementation, x, weight, gradient):
            return run_triton_backward(
                x,
                weight,
                gradient,
                pads_zeros=geometry.pads_zeros,
                needs_input=needs_input,
                needs_weight=needs_weight,
            )
    padded, crop = pad_input(x, geometry)
    to_input: Tensor | None = None
    to_weights = []
    for channels in split_channels(x, weight, gradient, geometry):
        to_part, to_kernel, _ = torch.ops.aten.convolution_backward(
            # not an index: batched gradients have no rule for the alias that a whole slice is
            gradient.narrow(1, channels.start, channels.stop - channels.start),
            padded,
            prepare("transposed", weight[channels], geometry, x.dtype),
            bias_sizes=None,
            stride=[geometry.scale_factor] * 2,
            padding=[crop] * 2,
            dilation=[1, 1],
            transposed=True,
            output_padding=[geometry.padding_after - geometry.padding] * 2,
            groups=geometry.groups,
            output_mask=[needs_input, needs_weight, False],
        )
        if needs_input:
            to_input = to_part if to_input is None else to_input + to_part
        if needs_weight:
            to_weights.append(collect_taps(to_kernel, geometry, weight.dtype))
    if to_input is not None and padded is not x:
        to_input = fold_edges(to_input, geometry.reach, geometry.reach)
    to_weight = None
    if needs_weight:
        to_weight = to_weights[0] if len(to_weights) == 1 else torch.cat(to_weights)
    return to_input, to_weight


def _run_native_backward(
    x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None] | None:
    """Gradients to input and weight; None where they cannot be had so, or are not finite."""
    library, plan = find_library(), geometry.find_native(x, weight)
    is_recorded = is_watched() or choose_recorded(NATIVE, x, weight, gradient) is not None
    if library is None or plan is None or is_recorded:
        return None
    if not fits_native_backward(library, plan, x, weight, gradient, geometry.groups):
        return None
    found = run_native_backward(
        library,
        plan,
        x,
        weight,
        gradient,
        pads_zeros=geometry.pads_zeros,
        groups=geometry.groups,
        needs_input=needs[0],
        needs_weight=needs[1],
    )
    # products of differences spoil pixels near what is not finite
    return found if all(part is None or has_finite_sum(part) for part in found) else None


def go_back_plainly(
    x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Find the gradients to input and weight as torch does for the plain form.

    Parameters
    ----------
    x, weight, gradient, geometry, needs
        As for `go_back`.

    Returns
    -------
    to_input : Tensor, shape of `x`, or None
    to_weight : Tensor, shape of `weight`, or None
    """
    with suspend_autocast(x):
        return _go_back_plainly(x, weight, gradient, geometry, needs)


def _go_back_plainly(
    x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    needs_input, needs_weight = needs
    scale, padding, after = geometry.scale_factor, geometry.padding, geometry.padding_after
    upsampled = functional.interpolate(x, scale_factor=(scale, scale), mode="nearest")
    size, is_padded = upsampled.shape[2:], bool(after) and (after != padding or not geometry.pads_zeros)
    if is_padded:
        mode = "constant" if geometry.pads_zeros else "replicate"
        upsampled = functional.pad(upsampled, (padding, after) * 2, mode=mode)
    to_input, to_weight, _ = torch.ops.aten.convolution_backward(
        gradient,
        upsampled,
        weight.to(x.dtype),
        bias_sizes=None,
        stride=[1, 1],
        padding=[0 if is_padded else padding] * 2,
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=geometry.groups,
        output_mask=[needs_input, needs_weight, False],
    )
    if needs_input:
        if is_padded:
            fold = crop_edges if geometry.pads_zeros else fold_edges
            to_input = fold(to_input, padding, after)
        to_input = torch.ops.aten.upsample_nearest2d_backward(to_input, size, x.shape, scale, scale)
    return (to_input if needs_input else None), (to_weight.to(weight.dtype) if needs_weight else None)
