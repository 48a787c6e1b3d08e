"""Convolutions, transposed convolutions, products of matrices and `Col2Im`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.onnx.operators.registry import operator, read_numbers
from deconvbench.networks.onnx.specs import Spec

_CONVOLVE = (functional.conv1d, functional.conv2d, functional.conv3d)
_TRANSPOSED = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)


@operator("Conv")
def convolve(spec: Spec, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """Compute a convolution; padding that differs between two sides is put around the map before."""
    dims = weight.ndim - 2
    if not 1 <= dims <= 3 or x.ndim != weight.ndim:
        return NotImplemented
    strides, dilations = spec.read_sizes("strides", 1, dims), spec.read_sizes("dilations", 1, dims)
    begin, end = _read_padding(spec, x.shape[2:], weight.shape[2:], strides, dilations)
    padding = begin
    if begin != end or min(begin) < 0:
        x, padding = functional.pad(x, list_padding(begin, end)), [0] * dims
    y: Tensor = _CONVOLVE[dims - 1](x, weight, _flatten(bias), strides, padding, dilations, spec.get("group", 1))
    return y


def _flatten(bias: Tensor | None) -> Tensor | None:
    # one that was added after the layer may have spatial axes
    return bias if bias is None or bias.ndim == 1 else bias.reshape(-1)


def list_padding(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """List amounts for each axis as `functional.pad` takes them: the last axis first."""
    return [one for pair in zip(reversed(begin), reversed(end), strict=True) for one in pair]


def _read_padding(
    spec: Spec, sides: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    mode, dims = spec.get("auto_pad", "NOTSET"), len(sides)
    if mode == "NOTSET":
        pads = spec.read_sizes("pads", 0, 2 * dims)
        return pads[:dims], pads[dims:]
    if mode == "VALID":
        return [0] * dims, [0] * dims
    totals = [
        max((-(-side // stride) - 1) * stride + (size - 1) * dilation + 1 - side, 0)
        for side, size, stride, dilation in zip(sides, kernel, strides, dilations, strict=True)
    ]
    return split_totals(totals, is_upper=mode == "SAME_UPPER")


def split_totals(totals: Sequence[int], *, is_upper: bool) -> tuple[list[int], list[int]]:
    """Split amounts of padding in two, the larger part at the end or at the beginning."""
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (small, large) if is_upper else (large, small)


@operator("ConvTranspose")
def convolve_transposed(spec: Spec, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """Compute a transposed convolution.

    Torch pads both sides alike and can add pixels at the end; where less is left, the end is cut off.
    """
    dims = weight.ndim - 2
    if not 1 <= dims <= 3 or x.ndim != weight.ndim:
        return NotImplemented
    strides, dilations = spec.read_sizes("strides", 1, dims), spec.read_sizes("dilations", 1, dims)
    added = spec.read_sizes("output_padding", 0, dims)
    begin, end = _read_cropping(spec, x.shape[2:], weight.shape[2:], strides, dilations, added)
    bias = _flatten(bias)
    groups, function = spec.get("group", 1), _TRANSPOSED[dims - 1]
    # pixels more than both sides cut alike leave
    more = [extra + first - last for extra, first, last in zip(added, begin, end, strict=True)]
    limits = [max(stride, dilation) for stride, dilation in zip(strides, dilations, strict=True)]
    if min(begin) < 0 or any(one >= limit for one, limit in zip(more, limits, strict=True)):
        y: Tensor = function(x, weight, None, strides, [0] * dims, [0] * dims, groups, dilations)
        ends = [extra - last for extra, last in zip(added, end, strict=True)]
        y = functional.pad(y, list_padding([-first for first in begin], ends))
        return y if bias is None else y + bias.reshape(-1, *(1 for _ in range(dims)))
    y = function(x, weight, bias, strides, begin, [max(one, 0) for one in more], groups, dilations)
    for axis, one in enumerate(more, start=2):
        if one < 0:
            y = y.narrow(axis, 0, y.shape[axis] + one)
    return y


def _read_cropping(
    spec: Spec,
    sides: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    added: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Read how many pixels are cut off before and behind."""
    mode, dims = spec.get("auto_pad", "NOTSET"), len(sides)
    whole = [
        (side - 1) * stride + (size - 1) * dilation + 1 + extra
        for side, size, stride, dilation, extra in zip(sides, kernel, strides, dilations, added, strict=True)
    ]
    wanted = spec.get("output_shape")
    if wanted:
        totals = [all_of - one for all_of, one in zip(whole, wanted[-dims:], strict=True)]
        begin, end = split_totals([max(one, 0) for one in totals], is_upper=mode == "SAME_UPPER")
        return begin, [last + min(total, 0) for last, total in zip(end, totals, strict=True)]
    if mode in {"SAME_UPPER", "SAME_LOWER"}:
        totals = [
            max(all_of - side * stride, 0) for all_of, side, stride in zip(whole, sides, strides, strict=True)
        ]
        return split_totals(totals, is_upper=mode == "SAME_UPPER")
    if mode == "VALID":
        return [0] * dims, [0] * dims
    pads = spec.read_sizes("pads", 0, 2 * dims)
    return pads[:dims], pads[dims:]


@operator("Gemm")
def multiply_matrices(spec: Spec, a: Tensor, b: Tensor, c: Tensor | None = None) -> Any:
    """Compute a linear layer: α·A·B + β·C."""
    if not a.is_floating_point():
        return NotImplemented
    alpha, beta = spec.get("alpha", 1.0), spec.get("beta", 1.0)
    x = a.t() if spec.get("transA", 0) else a
    weight = b if spec.get("transB", 0) else b.t()
    is_bias = c is not None and c.ndim == 1 and len(c) == len(weight) and alpha == 1 and beta == 1
    y = functional.linear(x, weight, c if is_bias else None)
    y = y if alpha == 1 else alpha * y
    if c is None or is_bias:
        return y
    return y + (c if beta == 1 else beta * c)


@operator("MatMul")
def multiply(spec: Spec, a: Tensor, b: Tensor) -> Any:
    """Multiply; with a matrix of weights it is a linear layer."""
    if not a.is_floating_point():
        return NotImplemented
    if b.ndim == 2 and spec.is_static[1] and a.ndim >= 2:
        return functional.linear(a, b.t())
    return torch.matmul(a, b)


@operator("_Linear")
def multiply_and_add(spec: Spec, a: Tensor, b: Tensor, bias: Tensor) -> Any:
    """Compute a linear layer that the file has as a product and a sum."""
    if b.ndim != 2 or a.ndim < 2 or bias.ndim != 1 or len(bias) != b.shape[1]:
        return torch.matmul(a, b) + bias
    return functional.linear(a, b.t(), bias)


@operator("Einsum")
def einsum(spec: Spec, *tensors: Tensor) -> Any:
    """Compute a sum in Einstein's notation."""
    return torch.einsum(spec.get("equation"), *tensors)


@operator("Col2Im")
def fold(spec: Spec, x: Tensor, image_shape: Tensor, block_shape: Tensor) -> Any:
    """Put patches together, of two axes."""
    sides, kernel = tuple(read_numbers(image_shape)), tuple(read_numbers(block_shape))
    dims = len(kernel)
    pads = spec.read_sizes("pads", 0, 2 * dims)
    if dims != 2 or pads[:2] != pads[2:]:
        return NotImplemented
    strides, dilations = tuple(spec.read_sizes("strides", 1, 2)), tuple(spec.read_sizes("dilations", 1, 2))
    return functional.fold(x, sides, kernel, dilations, tuple(pads[:2]), strides)
