"""Reading a layer as the transposed convolution that it equals.

By the identities of `theory`: nearest-neighbour upsampling and convolution is one with the kernel box ∗ flip(w),
and convolution and PixelShuffle one whose taps are the phases' kernels, flipped and interleaved.
"""

import numpy as np
import torch
from torch import Tensor, nn

from deconvbench.networks.replacement.finding import Found, list_parameters
from deconvbench.networks.replacement.kernels import Equivalent, FloatArray, convolution_matrix, dilation_matrix
from deconvbench.theory import bilinear_kernel, box_kernel, flip_kernel
from deconvbench.upsamplers.fast.layer import ResizeConv2d as FastResizeConv2d

# what bilinear interpolation does beyond the outermost pixel
BILINEAR_BORDER = "bilinear interpolation repeats the outermost pixel"


def read_equivalent(found: Found) -> Equivalent:
    """Read a layer as a transposed convolution.

    Parameters
    ----------
    found : Found
        Of a kind that is covered.

    Returns
    -------
    Equivalent
        Equal everywhere, but for what its `border` says.
    """
    module = found.module
    if isinstance(module, nn.ConvTranspose2d):
        return _read_transposed(module)
    return _read_subpixel(found) if found.name == "subpixel" else _read_resize(found)


def to_array(tensor: Tensor) -> FloatArray:
    """Copy a tensor into an array in float64."""
    array: FloatArray = tensor.detach().to("cpu", torch.float64).numpy().copy()
    return array


def _read_transposed(module: nn.ConvTranspose2d) -> Equivalent:
    taps = to_array(module.weight)
    for axis in (0, 1):
        taps = _apply(dilation_matrix(module.kernel_size[axis], module.dilation[axis]), taps, axis)
    padding = [int(number) for number in module.padding]
    excess = [
        size + extra - 2 * crop - step
        for size, extra, crop, step in zip(
            taps.shape[2:], module.output_padding, padding, module.stride, strict=True
        )
    ]
    return Equivalent(
        taps=taps,
        bias=_read_bias(module.bias, (1, 1), module.stride),
        stride=(module.stride[0], module.stride[1]),
        start=(-padding[0], -padding[1]),
        excess=(excess[0], excess[1]),
        groups=module.groups,
    )


def _read_subpixel(found: Found) -> Equivalent:
    weight, pads = _read_convolution(found.module)
    scale = found.stride[0]
    groups = int(found.module.groups)  # type: ignore[arg-type] # of a convolution
    split = weight.reshape(-1, scale, scale, *weight.shape[1:])[..., ::-1, ::-1]
    # (C_out, phase, phase, C_in/g, tap, tap) to (C_out, C_in/g, tap, phase, tap, phase)
    ordered = split.transpose(0, 3, 4, 1, 5, 2)
    interleaved = ordered.reshape(*ordered.shape[:2], weight.shape[2] * scale, weight.shape[3] * scale)
    sizes = weight.shape[2:]
    starts = [-scale * (size - 1 - before) for size, (before, _) in zip(sizes, pads, strict=True)]
    excess = [scale * (sum(pad) - size + 1) for size, pad in zip(sizes, pads, strict=True)]
    return Equivalent(
        # the taps are in order already: only the channels are to be exchanged
        taps=flip_kernel(interleaved, groups)[..., ::-1, ::-1],
        bias=_read_bias(list_parameters(found.module)[1], (scale, scale), (1, 1)),
        stride=(scale, scale),
        start=(starts[0], starts[1]),
        excess=(excess[0], excess[1]),
        groups=groups,
    )


def _read_resize(found: Found) -> Equivalent:
    weight, pads = _read_convolution(found.module)
    groups = int(found.module.groups)  # type: ignore[arg-type] # of a convolution
    taps = flip_kernel(weight, groups)
    is_bilinear = found.name == "bilinear_conv"
    starts, excess = [], []
    for axis, scale in enumerate(found.stride):
        resizing = bilinear_kernel(scale) if is_bilinear else box_kernel(scale)
        size = weight.shape[2 + axis]
        before, after = pads[axis]
        taps = _apply(convolution_matrix(resizing, size), taps, axis)
        starts.append(before - (size - 1) - (resizing.size - scale) // 2)
        excess.append(before + after - size + 1)
    return Equivalent(
        taps=taps,
        bias=_read_bias(list_parameters(found.module)[1], (1, 1), found.stride),
        stride=(found.stride[0], found.stride[1]),
        start=(starts[0], starts[1]),
        excess=(excess[0], excess[1]),
        groups=groups,
        border=BILINEAR_BORDER if is_bilinear else "",
    )


def _read_convolution(module: nn.Module) -> tuple[FloatArray, list[tuple[int, int]]]:
    """Weight, with zeros for dilation, and padding before and after, of rows and of columns."""
    if isinstance(module, FastResizeConv2d):
        half = (module.kernel_size - 1) // 2
        return to_array(module.weight), [(half, half)] * 2
    assert isinstance(module, nn.Conv2d)
    weight = to_array(module.weight)
    for axis in (0, 1):
        weight = _apply(dilation_matrix(module.kernel_size[axis], module.dilation[axis]), weight, axis)
    sizes = weight.shape[2:]
    if module.padding == "same" or getattr(module, "asymmetric_padding", None) is not None:
        return weight, [((size - 1) // 2, size // 2) for size in sizes]
    amounts = (0, 0) if module.padding == "valid" else module.padding
    return weight, [(int(amount), int(amount)) for amount in amounts]


def _read_bias(bias: Tensor | None, phases: tuple[int, int], repeats: tuple[int, ...]) -> FloatArray | None:
    """(C_out·phases) to (C_out, s, s)."""
    if bias is None:
        return None
    values = to_array(bias).reshape(-1, *phases)
    return np.tile(values, (1, repeats[0], repeats[1]))


def _apply(matrix: FloatArray, kernels: FloatArray, axis: int) -> FloatArray:
    """Apply a matrix along rows (0) or columns (1) of kernels."""
    product: FloatArray = matrix @ kernels if axis == 0 else kernels @ matrix.T
    return product
