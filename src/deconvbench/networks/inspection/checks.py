"""Arguments of an audit, checked before the model runs: each problem in one line that names the argument."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from deconvbench.arguments import check_kind, is_number
from deconvbench.errors import UsageError, quote
from deconvbench.networks.fusion.observation import find_tensors, split_input
from deconvbench.networks.inspection.inputs import OutputRange
from deconvbench.networks.inspection.preparation import name_dtype


def is_finite(value: Any) -> bool:
    """Whether all values of a tensor are; whatever has no such values is."""
    if not isinstance(value, Tensor) or value.is_meta or not (value.is_floating_point() or value.is_complex()):
        return True
    return bool(value.isfinite().all())


def check_model(model: Any) -> None:
    """Check that a model can be run.

    Parameters
    ----------
    model : object
        As given.

    Raises
    ------
    UsageError
        If it is no module, or its weights have no values yet.
    """
    check_kind("model", model, nn.Module, "a module")
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and tensor.is_meta:
            raise UsageError(f"model: {name} is on the meta device and has no values")


def check_example(model: nn.Module, example: Any, label: str = "example_input") -> None:
    """Check that an example fits a model's arguments and has values.

    Parameters
    ----------
    model : nn.Module
        The model.
    example : object
        As given.
    label : str
        Name of the argument.

    Raises
    ------
    UsageError
        If it does not.
    """
    try:
        args, kwargs = split_input(example)
    except UsageError as error:
        raise UsageError(f"{label}: {str(error).partition(': ')[2]}") from error
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):
        signature = None
    if signature is not None:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(f"{label}: {error}; the model takes {signature}") from error
    for tensor in find_tensors([args, kwargs]):
        shape = "×".join(map(str, tensor.shape))
        if tensor.numel() == 0:
            raise UsageError(f"{label}: a tensor of shape {shape} has no values")
        if tensor.is_meta or tensor.layout != torch.strided:
            raise UsageError(f"{label}: a tensor of shape {shape} is not a plain one with values")
        # masks may have infinity, but not this
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise UsageError(f"{label}: a tensor of shape {shape} holds NaN")


def check_images(model: nn.Module, images: Any, example: Any) -> None:
    """Check that images are a list of inputs like the example.

    Parameters
    ----------
    model : nn.Module
        The model.
    images : object
        As given.
    example : Any
        The example.

    Raises
    ------
    UsageError
        If they are not; the message names the first that is wrong.
    """
    if isinstance(images, str | bytes) or not isinstance(images, Sequence):
        raise UsageError(
            f"images: is a {type(images).__name__}; a list of inputs is needed, each as example_input"
        )
    if not images:
        raise UsageError("images: is empty; give at least one, or None for photographs")
    wanted = _describe(example)
    for number, image in enumerate(images):
        label = f"images[{number}]"
        check_example(model, image, label)
        if (found := _describe(image)) != wanted:
            raise UsageError(f"{label}: has {_name(found)}, and example_input {_name(wanted)}")


def check_range(value: Any) -> OutputRange:
    """Check a range that was given.

    Parameters
    ----------
    value : object
        As given.

    Raises
    ------
    UsageError
        If it is not two numbers, the first below the second.
    """
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else []
    if len(values) == 2 and all(map(is_number, values)):
        low, high = map(float, values)
        # infinity less anything is not finite
        if low < high and high - low < float("inf"):
            return OutputRange(low, high, is_guessed=False)
    raise UsageError(f"output_range: {quote(value)} is not (black, white), two numbers with black below white")


def explain_failure(error: UsageError, model: nn.Module, example: Any) -> UsageError:
    """Name the example where its dtype or device, unlike the model's, may be why the model raised.

    Parameters
    ----------
    error : UsageError
        What the run gave.
    model : nn.Module
        The model.
    example : Any
        What it was given.
    """
    parameter = next((one for one in model.parameters() if one.is_floating_point()), None)
    if parameter is None:
        return error
    own = name_dtype(model)
    for tensor in find_tensors(example):
        dtype = str(tensor.dtype).removeprefix("torch.")
        if tensor.device != parameter.device:
            return UsageError(
                f"example_input: is on {tensor.device}, and the model on {parameter.device}; {error}"
            )
        if dtype != own:
            return UsageError(f"example_input: is {dtype}, and the model {own}; {error}")
    return error


def _describe(example: Any) -> list[tuple[str, str]]:
    """Where tensors are in an example, and what they are; sizes may differ."""
    pairs, _ = pytree.tree_flatten_with_path(example)
    return [
        (pytree.keystr(path), f"{value.ndim}-D {str(value.dtype).removeprefix('torch.')}")
        for path, value in pairs
        if isinstance(value, Tensor)
    ]


def _name(described: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{kind}{f' at {path}' if path else ''}" for path, kind in described) or "no tensor"
