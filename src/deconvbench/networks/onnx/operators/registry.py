"""The table of operators, and how they read their arguments."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])

OPERATORS: dict[str, Callable[..., Any]] = {}


def operator(*names: str) -> Callable[[F], F]:
    """Register a function for operators.

    Parameters
    ----------
    *names : str
        Types of operators of ONNX's own domain.
    """

    def register(function: F) -> F:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def read_numbers(tensor: Tensor) -> list[Any]:
    """Read the numbers of a tensor of shapes, axes and the like, unseen by whoever watches torch's functions."""
    with torch._C.DisableTorchFunction():
        numbers: list[Any] = tensor.detach().flatten().tolist()
    return numbers


def read_number(tensor: Tensor | None, default: Any) -> Any:
    """Read a single number, or take the default where there is none."""
    return default if tensor is None else read_numbers(tensor)[0]
