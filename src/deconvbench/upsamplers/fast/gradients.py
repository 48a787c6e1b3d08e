"""What the backward pass of all forms has beside the transposed convolution: which channels, and adjoints.

Makes no kernel and runs no convolution.
"""

import torch
from torch import Tensor

from deconvbench.upsamplers.fast.dtypes import widen
from deconvbench.upsamplers.fast.memory import is_channels_last
from deconvbench.upsamplers.fast.preparation import Geometry, swap_channels
from deconvbench.upsamplers.fast.weights import transform_kernels, transposed_matrix

# of the transposed kernel in a backward pass: itself, its gradient, and what the library re-orders of both
_KERNEL_COPIES = 4
_LEAST_CHANNELS = 32


def fold_edges(gradient: Tensor, before: int, after: int) -> Tensor:
    """Apply the adjoint of replicate padding; torch's own has no deterministic form on accelerators.

    Parameters
    ----------
    gradient : Tensor, shape (N, C, b + H + a, b + W + a)
        To the padded image.
    before, after : int
        Pixels b and a of padding, before the first and after the last.

    Returns
    -------
    Tensor, shape (N, C, H, W)
    """
    for axis in (2, 3):
        last = gradient.shape[axis] - before - after - 1
        inside = gradient.narrow(axis, before, last + 1).clone()
        inside.narrow(axis, 0, 1).add_(gradient.narrow(axis, 0, before).sum(axis, keepdim=True))
        inside.narrow(axis, last, 1).add_(gradient.narrow(axis, before + last + 1, after).sum(axis, keepdim=True))
        gradient = inside
    return gradient


def crop_edges(gradient: Tensor, before: int, after: int) -> Tensor:
    """Apply the adjoint of padding with zeros.

    Parameters
    ----------
    gradient, before, after
        As for `fold_edges`.

    Returns
    -------
    Tensor, shape (N, C, H, W)
    """
    for axis in (2, 3):
        gradient = gradient.narrow(axis, before, gradient.shape[axis] - before - after)
    return gradient


def split_channels(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> list[slice]:
    """Cut the output channels, lest their kernels and gradients outweigh the plain form's upsampled map.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        Input.
    weight : Tensor, shape (C_out, C_in/groups, k, k)
        Of the convolution.
    gradient : Tensor, shape (N, C_out, s·H, s·W)
        To the output.
    geometry : Geometry
        Of the layer.
    """
    out_channels = weight.shape[0]
    if geometry.groups > 1:
        return [slice(0, out_channels)]
    size = geometry.kernel_size + geometry.scale_factor - 1
    kernels = _KERNEL_COPIES * size**2 * weight.shape[1] * out_channels
    upsampled = geometry.scale_factor**2 * x.numel()
    # at least so many channels, without which the products are slow
    chunks = max(min(-(-kernels // max(upsampled, 1)), out_channels // _LEAST_CHANNELS), 1)
    if is_channels_last(gradient) and gradient.numel() >= (chunks - 1) * kernels:
        # a part of it would be copied, which holds more than the kernels that it saves
        chunks = 1
    step = -(-out_channels // chunks)
    return [slice(start, min(start + step, out_channels)) for start in range(0, out_channels, step)]


def collect_taps(kernel: Tensor, geometry: Geometry, dtype: torch.dtype) -> Tensor:
    """Apply the adjoint of `prepare` for the transposed form.

    Parameters
    ----------
    kernel : Tensor, shape (C_in, C_out/groups, k + s − 1, k + s − 1)
        Gradient to the transposed kernel.
    geometry : Geometry
        Of the layer.
    dtype : torch.dtype
        Of the weight.

    Returns
    -------
    Tensor, shape (C_out, C_in/groups, k, k)
        Gradient to the weight; in half precision summed in float32.
    """
    adjoint = tuple(zip(*transposed_matrix(geometry.kernel_size, geometry.scale_factor), strict=True))
    kernels = swap_channels(kernel, geometry.groups)
    return transform_kernels(widen(kernels), adjoint).to(dtype)
