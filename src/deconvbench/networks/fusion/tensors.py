"""Questions about ordinary tensors, finding tensors among arguments, and how far one is from another."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.networks.fusion.calls import DTYPES

_PLAIN = (Tensor, nn.Parameter)


def is_usable(image: Any) -> bool:
    """Whether something is an ordinary tensor: of no subclass, dense, of floating-point numbers, not empty."""
    return (
        type(image) in _PLAIN
        and image.dtype in DTYPES
        and image.layout == torch.strided
        and image.device.type != "meta"
        and image.numel() > 0
    )


def lay_out(y: Tensor, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    """Give a tensor the strides that torch gives to a new one, also along axes where they make no difference."""
    expected = torch.empty(y.shape, device="meta", memory_format=layout)
    return y if y.stride() == expected.stride() else y.clone(memory_format=layout)


def find_tensors(values: Sequence[Any]) -> list[Tensor]:
    """Find the tensors among arguments, and in lists, tuples and dicts of them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(find_tensors(value))
        elif isinstance(value, dict):
            found.extend(find_tensors(tuple(value.values())))
    return found


def find_numbers(values: Sequence[Any]) -> list[Any]:
    """Find numbers, names and None among arguments, and in lists and tuples of them."""
    found: list[Any] = []
    for value in values:
        if value is None or isinstance(value, (int, float, str)):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.append(find_numbers(value))
    return found


def find_memory(tensor: Tensor) -> int | None:
    """Find where the memory of a tensor starts; None where that cannot be known."""
    if type(tensor) not in _PLAIN or tensor.layout != torch.strided:
        return None
    return tensor.untyped_storage().data_ptr()


def find_layout(tensor: Tensor) -> tuple[Any, ...] | None:
    """Find the shape, the order in memory and the dtype of a tensor; None where it is not an ordinary one."""
    if type(tensor) not in _PLAIN or tensor.layout != torch.strided or tensor.is_nested:
        return None
    return (tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)


def compare(expected: Tensor, found: Tensor, floor: float = 0.0) -> float:
    """Measure how far a tensor is from the expected one.

    Parameters
    ----------
    expected, found : Tensor
        Of one shape.
    floor : float
        Least magnitude that the difference is divided by.

    Returns
    -------
    float
        Largest difference over the largest expected magnitude; infinite where only one is a number.
    """
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return float("inf")
    if not expected.numel() or torch.equal(expected, found):
        return 0.0
    wide = torch.complex128 if expected.is_complex() else torch.float64
    expected, found = expected.detach().to(wide), found.detach().to(wide)
    is_finite = torch.isfinite(expected) & torch.isfinite(found)
    if not torch.allclose(expected[~is_finite], found[~is_finite], equal_nan=True):
        return float("inf")
    difference = torch.where(is_finite, expected - found, 0).abs().max()
    magnitude = (
        torch.where(is_finite, expected, 0).abs().max().clamp(min=max(floor, torch.finfo(torch.float64).tiny))
    )
    return float(difference / magnitude)


def count_changes(tensor: Tensor) -> int | None:
    """Count the in-place changes of a tensor; None where torch does not count them."""
    return None if tensor.is_inference() else tensor._version
