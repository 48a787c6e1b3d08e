"""Backward of the Triton forms: gradients to input and weight by nine products of each input pixel.

Works on the memory of plain tensors and records nothing: who wants gradients of these gradients, or of many at
once, takes torch's operations.
"""

import torch
from torch import Tensor

from deconvbench.upsamplers.fast.cuda.form import explain_absence, find_precision, is_plain
from deconvbench.upsamplers.fast.memory import is_channels_last


def fits_triton_backward(implementation: str, x: Tensor, weight: Tensor, gradient: Tensor) -> bool:
    """Say whether the Triton backward pass can be had.

    Parameters
    ----------
    implementation : str
        The form that ran.
    x : Tensor, shape (N, C_in, H, W)
        The input.
    weight : Tensor, shape (C_out, C_in, 3, 3)
        Of the convolution.
    gradient : Tensor, shape (N, C_out, 2H, 2W)
        To the output.
    """
    return (
        all(is_plain(tensor) for tensor in (x, weight, gradient))
        and x.numel() * weight.numel() > 0
        # gradients of gradients are recorded
        and not torch.is_grad_enabled()
        and explain_absence(implementation, x) is None
    )


def run_triton_backward(
    x: Tensor, weight: Tensor, gradient: Tensor, *, pads_zeros: bool, needs_input: bool, needs_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Find the gradients to input and weight.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        The input, in any strides.
    weight : Tensor, shape (C_out, C_in, 3, 3)
        Of the convolution.
    gradient : Tensor, shape (N, C_out, 2H, 2W)
        To the output, in any strides; a constant one may have strides of 0.
    pads_zeros : bool
        Zeros beyond the border; otherwise the outermost pixels are repeated.
    needs_input, needs_weight : bool
        Which gradients are wanted.

    Returns
    -------
    to_input : Tensor, shape of `x`, or None
        In its memory format.
    to_weight : Tensor, shape of `weight`, or None
    """
    from deconvbench.upsamplers.fast.cuda.launching import (
        find_weight_gradient,
        run_input_gradient,
        transform,
    )

    # sums of a gradient in half precision need more of its digits: TF32 has them, and takes its values as they are
    precision = find_precision(x.dtype) if x.dtype == torch.float32 else "tf32"
    to_input = to_weight = None
    if needs_input:
        layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
        to_input = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=layout)
        taps = transform(weight.to(x.dtype), torch.float32, precision, is_swapped=True)
        run_input_gradient(gradient, taps, to_input, precision, pads_zeros=pads_zeros)
    if needs_weight:
        taps = find_weight_gradient(gradient, x, precision, pads_zeros=pads_zeros)
        to_weight = taps.permute(1, 2, 0).reshape(weight.shape).to(weight.dtype)
    return to_input, to_weight
