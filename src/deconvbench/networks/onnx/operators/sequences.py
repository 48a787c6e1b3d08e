"""Lists of tensors, optional values and random numbers, which follow torch's seed."""

from typing import Any

import torch
from torch import Tensor

from deconvbench.networks.onnx.libraries import DTYPES
from deconvbench.networks.onnx.operators.registry import operator, read_number, read_numbers
from deconvbench.networks.onnx.specs import Spec


@operator("SequenceConstruct")
def construct(spec: Spec, *tensors: Tensor) -> list[Tensor]:
    """Make a list."""
    return list(tensors)


@operator("SequenceEmpty")
def make_empty(spec: Spec) -> list[Tensor]:
    """Make an empty list."""
    return []


@operator("SequenceAt")
def pick(spec: Spec, sequence: list[Tensor], position: Tensor) -> Tensor:
    """Pick one of a list."""
    found: Tensor = sequence[read_number(position, 0)]
    return found


@operator("SequenceInsert")
def insert(spec: Spec, sequence: list[Tensor], tensor: Tensor, position: Tensor | None = None) -> list[Tensor]:
    """Put a tensor in a list."""
    where = read_number(position, len(sequence))
    return [*sequence[:where], tensor, *sequence[where:]]


@operator("SequenceErase")
def erase(spec: Spec, sequence: list[Tensor], position: Tensor | None = None) -> list[Tensor]:
    """Leave one out of a list."""
    where = read_number(position, -1) % max(len(sequence), 1)
    return [*sequence[:where], *sequence[where + 1 :]]


@operator("SequenceLength")
def count(spec: Spec, sequence: list[Tensor]) -> Tensor:
    """Count a list."""
    return torch.tensor(len(sequence))


@operator("ConcatFromSequence")
def join(spec: Spec, sequence: list[Tensor]) -> Tensor:
    """Join a list, or stack it."""
    axis = spec.get("axis")
    return torch.stack(sequence, axis) if spec.get("new_axis", 0) else torch.cat(sequence, axis)


@operator("SplitToSequence")
def split(spec: Spec, x: Tensor, split_sizes: Tensor | None = None) -> list[Tensor]:
    """Cut a tensor into a list; without sizes into slices of one, whose axis may go."""
    axis = spec.get("axis", 0)
    if split_sizes is None:
        parts = list(torch.split(x, 1, axis))
        return parts if spec.get("keepdims", 1) else [part.squeeze(axis) for part in parts]
    sizes = read_numbers(split_sizes)
    return list(torch.split(x, sizes[0] if split_sizes.ndim == 0 else sizes, axis))


@operator("OptionalHasElement")
def has_element(spec: Spec, value: Any = None) -> Tensor:
    """Say whether there is a value."""
    return torch.tensor(value is not None)


@operator("Optional", "OptionalGetElement")
def pass_on(spec: Spec, value: Any) -> Any:
    """Pass a value on."""
    return value


@operator("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike")
def draw(spec: Spec, like: Tensor | None = None) -> Any:
    """Draw random numbers."""
    shape = tuple(spec.get("shape", ())) if like is None else tuple(like.shape)
    default = 1 if like is None or not like.is_floating_point() else None
    number = spec.get("dtype", default)
    dtype = DTYPES.get(number) if number is not None else like.dtype if like is not None else None
    if dtype is None:
        return NotImplemented
    if "Normal" in spec.operator:
        values = torch.randn(shape) * spec.get("scale", 1.0) + spec.get("mean", 0.0)
    else:
        low, high = spec.get("low", 0.0), spec.get("high", 1.0)
        values = torch.rand(shape) * (high - low) + low
    return values.to(dtype if like is None or not spec.is_widened else like.dtype)


@operator("Bernoulli")
def toss(spec: Spec, x: Tensor) -> Any:
    """Draw zeros and ones."""
    return torch.bernoulli(x).to(DTYPES.get(spec.get("dtype", -1), x.dtype))
