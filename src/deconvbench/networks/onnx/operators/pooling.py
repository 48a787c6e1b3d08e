"""Pooling and max-unpooling."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.onnx.operators.convolutions import list_padding, split_totals
from deconvbench.networks.onnx.operators.registry import operator, read_numbers
from deconvbench.networks.onnx.specs import Spec

_MAX = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
_UNPOOL = (functional.max_unpool1d, functional.max_unpool2d, functional.max_unpool3d)


def _read_padding(spec: Spec, sides: Sequence[int]) -> tuple[list[int], list[int]] | None:
    """Read what is padded before and behind; None where the last windows may end outside."""
    dims = len(sides)
    kernel, strides = spec.get("kernel_shape"), spec.read_sizes("strides", 1, dims)
    dilations, mode = spec.read_sizes("dilations", 1, dims), spec.get("auto_pad", "NOTSET")
    if spec.get("ceil_mode", 0):
        return None
    if mode == "VALID":
        return [0] * dims, [0] * dims
    if mode == "NOTSET":
        pads = spec.read_sizes("pads", 0, 2 * dims)
        return pads[:dims], pads[dims:]
    totals = [
        max((-(-side // stride) - 1) * stride + (size - 1) * dilation + 1 - side, 0)
        for side, size, stride, dilation in zip(sides, kernel, strides, dilations, strict=True)
    ]
    return split_totals(totals, is_upper=mode == "SAME_UPPER")


@operator("MaxPool")
def pool_maximum(spec: Spec, x: Tensor) -> Any:
    """Take the maximum of windows, and where it is among all values."""
    dims = x.ndim - 2
    padding = _read_padding(spec, x.shape[2:]) if 1 <= dims <= 3 and x.is_floating_point() else None
    wants_indices = len(spec.outputs) > 1
    if padding is None or (wants_indices and (padding[0] != padding[1] or spec.get("storage_order", 0))):
        return NotImplemented
    begin, end = padding
    kernel = spec.get("kernel_shape")
    if begin != end or any(2 * one > size for one, size in zip(begin, kernel, strict=True)):
        x = functional.pad(x, list_padding(begin, end), value=-torch.inf)
        begin = [0] * dims
        if wants_indices:
            return NotImplemented
    strides, dilations = spec.read_sizes("strides", 1, dims), spec.read_sizes("dilations", 1, dims)
    if not wants_indices:
        return _MAX[dims - 1](x, kernel, strides, begin, dilations)
    y, places = _MAX[dims - 1](x, kernel, strides, begin, dilations, return_indices=True)
    return y, places + _list_starts(x.shape, places)


def _list_starts(shape: Sequence[int], like: Tensor) -> Tensor:
    """List the number of the first value of each map, among all."""
    maps = torch.arange(shape[0] * shape[1], device=like.device) * torch.Size(shape[2:]).numel()
    return maps.reshape(shape[0], shape[1], *(1 for _ in shape[2:]))


@operator("MaxUnpool")
def unpool(spec: Spec, x: Tensor, places: Tensor, output_shape: Tensor | None = None) -> Any:
    """Put values back where they were the maximum, with zeros around."""
    dims = x.ndim - 2
    if not 1 <= dims <= 3:
        return NotImplemented
    kernel, strides = spec.get("kernel_shape"), spec.read_sizes("strides", 1, dims)
    pads = spec.read_sizes("pads", 0, 2 * dims)
    whole = [(side - 1) * stride + size for side, stride, size in zip(x.shape[2:], strides, kernel, strict=True)]
    sides = [side - first - last for side, first, last in zip(whole, pads[:dims], pads[dims:], strict=True)]
    if output_shape is not None:
        sides = read_numbers(output_shape)[2:]
    # torch wants sides that windows of this size, padded alike on both sides, can have come from
    usual = [side - 2 * first for side, first in zip(whole, pads[:dims], strict=True)]
    if any(abs(one - other) >= stride for one, other, stride in zip(sides, usual, strides, strict=True)):
        return NotImplemented
    within = places % torch.Size(sides).numel()
    if bool((places - within != _list_starts((*x.shape[:2], *sides), places)).any()):
        return NotImplemented
    return _UNPOOL[dims - 1](x, within, kernel, strides, pads[:dims], [*x.shape[:2], *sides])


@operator("AveragePool")
def pool_average(spec: Spec, x: Tensor) -> Any:
    """Average windows."""
    dims = x.ndim - 2
    padding = _read_padding(spec, x.shape[2:]) if 1 <= dims <= 3 else None
    kernel = spec.get("kernel_shape")
    if padding is None or padding[0] != padding[1] or set(spec.read_sizes("dilations", 1, dims)) != {1}:
        return NotImplemented
    if any(2 * one > size for one, size in zip(padding[0], kernel, strict=True)):
        return NotImplemented
    pool = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[dims - 1]
    strides = spec.read_sizes("strides", 1, dims)
    counts = bool(spec.get("count_include_pad", 0))
    return pool(x, kernel, strides, padding[0], False, counts)


@operator("GlobalAveragePool")
def average_map(spec: Spec, x: Tensor) -> Tensor:
    """Average each channel."""
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


@operator("GlobalMaxPool")
def find_map_maximum(spec: Spec, x: Tensor) -> Tensor:
    """Take the maximum of each channel."""
    return x.amax(tuple(range(2, x.ndim)), keepdim=True)
