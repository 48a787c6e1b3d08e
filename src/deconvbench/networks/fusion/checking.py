"""Comparing a fused model with the original, outputs and gradients.

Changes neither.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from deconvbench.errors import UsageError
from deconvbench.networks.fusion.observation import copy_input, find_tensors, keep_state, split_input
from deconvbench.networks.fusion.tensors import compare

# what rounding may do to the largest output; the forms are exact but for it
TOLERANCES: Mapping[torch.dtype, float] = {
    torch.float64: 1e-10,
    torch.complex128: 1e-10,
    torch.float32: 1e-5,
    torch.complex64: 1e-5,
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2,
}

# a gradient less than this of the largest of all is rounding
_NEGLIGIBLE = 1e-2
_LITTLE = 1e-3


def compare_outputs(expected: Any, found: Any, tolerances: Mapping[torch.dtype, float]) -> tuple[float, bool]:
    """Compare the outputs of two models.

    Parameters
    ----------
    expected, found : Any
        Outputs of the original and the fused model.
    tolerances : mapping
        Relative error that is allowed, by dtype; dtypes that are not named must be equal.

    Returns
    -------
    max_relative_error : float
        The largest, over all tensors.
    is_close : bool
        Whether all are within tolerance.

    Raises
    ------
    UsageError
        If there is nothing to compare.
    """
    wanted, given = list(find_tensors(expected)), list(find_tensors(found))
    if not wanted:
        raise UsageError("example_input: the model's output holds no tensors to compare")
    if len(wanted) != len(given):
        return float("inf"), False
    errors = [
        (compare(one, other), tolerances.get(one.dtype, 0.0)) for one, other in zip(wanted, given, strict=True)
    ]
    return max(error for error, _ in errors), all(error <= limit for error, limit in errors)


def compute_gradients(model: nn.Module, example_input: Any) -> list[Tensor | None]:
    """Compute the gradients of a fixed random projection of a model's output, in double precision.

    A unit that rounding moves across a kink has another gradient altogether. In double precision that does not
    happen, and the parameters are moved a little, for fresh biases of zero put units exactly on a kink.

    Parameters
    ----------
    model : nn.Module
        The model; it is run with copies of its parameters and buffers.
    example_input : Any
        Its arguments.

    Returns
    -------
    list of Tensor or None
        To the inputs of floating point, then to the parameters; None where there is none.

    Raises
    ------
    UsageError
        If no output depends on anything that has a gradient.
    """
    given = pytree.tree_map(_widen, copy_input(example_input))
    inputs = [tensor.requires_grad_() for tensor in find_tensors(given) if tensor.is_floating_point()]
    state = {name: _widen(tensor.detach().clone()) for name, tensor in model.state_dict(keep_vars=True).items()}
    named = dict(model.named_parameters())
    generator = torch.Generator().manual_seed(0)
    for name in named:
        state[name] += _LITTLE * _draw(state[name], generator)
    parameters = [state[name].requires_grad_() for name, parameter in named.items() if parameter.requires_grad]
    hidden = {name: _widen(buffer.clone()) for name, buffer in model.named_buffers() if name not in state}
    args, kwargs = split_input(given)
    with keep_state(model), torch.enable_grad():
        output = torch.func.functional_call(model, {**state, **hidden}, args, kwargs)
        outputs = [tensor for tensor in find_tensors(output) if tensor.requires_grad]
        if not outputs:
            raise UsageError("verify_gradients: no output of the model has a gradient")
        projected = [(tensor * _draw(tensor, generator)).sum() for tensor in outputs]
        return list(torch.autograd.grad(projected, [*inputs, *parameters], allow_unused=True))


def _draw(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw on the CPU, whatever the default device and dtype are: the same numbers for every tensor of a shape."""
    return torch.randn(like.shape, generator=generator, dtype=torch.float32, device="cpu").to(like)


def _widen(value: Any) -> Any:
    if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_complex()):
        return value
    return value.detach().to(torch.complex128 if value.is_complex() else torch.float64)


def compare_gradients(expected: Sequence[Tensor | None], found: Sequence[Tensor | None]) -> float:
    """Compare gradients, each over its own largest value.

    Parameters
    ----------
    expected, found : sequence of Tensor or None
        Of the original and the fused model.

    Returns
    -------
    float
        The largest difference. A gradient that is tiny beside the largest of all (that of a bias before a
        normalisation is zero but for rounding) counts against a hundredth of that.
    """
    floor = _NEGLIGIBLE * max(
        (float(one.abs().max()) for one in expected if one is not None and one.numel()), default=0.0
    )
    errors = [
        0.0
        if one is other is None
        else float("inf")
        if one is None or other is None
        else compare(one, other, floor)
        for one, other in zip(expected, found, strict=True)
    ]
    return max(errors, default=0.0)
