"""Shapes as values, and tensors that are made from shapes."""

from typing import Any

import torch
from torch import Tensor

from deconvbench.networks.onnx.operators.registry import operator, read_number, read_numbers
from deconvbench.networks.onnx.specs import Spec

_HALF = (torch.float16, torch.bfloat16)


@operator("Shape")
def read_shape(spec: Spec, x: Tensor) -> Tensor:
    """Read the shape, or some sides of it."""
    return torch.tensor(list(x.shape)[slice(spec.get("start", 0), spec.get("end"))], dtype=torch.int64)


@operator("Size")
def count(spec: Spec, x: Tensor) -> Tensor:
    """Count values."""
    return torch.tensor(x.numel())


@operator("ConstantOfShape")
def fill(spec: Spec, shape: Tensor) -> Tensor:
    """Make a tensor of one value."""
    value = spec.get("value")
    if value is None:
        return torch.zeros(read_numbers(shape))
    dtype = torch.float32 if spec.is_widened and value.dtype in _HALF else value.dtype
    return torch.full(read_numbers(shape), read_number(value, 0), dtype=dtype)


@operator("Range")
def count_up(spec: Spec, start: Tensor, limit: Tensor, step: Tensor) -> Any:
    """Count from one number to another."""
    if start.is_floating_point():
        return NotImplemented
    return torch.arange(read_number(start, 0), read_number(limit, 0), read_number(step, 1), dtype=start.dtype)
