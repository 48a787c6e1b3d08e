"""Comparing two models: outputs and gradients, in both precisions."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.networks.fusion.checking import compare_gradients
from deconvbench.networks.fusion.observation import find_tensors
from deconvbench.networks.fusion.tensors import compare

LIMITS = {torch.float64: 1e-10, torch.float32: 1e-5}


def run_both(model: nn.Module, other: nn.Module, *inputs: Any) -> float:
    """Run two models with the same random numbers; the largest relative difference of their outputs."""
    outputs = []
    for one in (model, other):
        torch.manual_seed(1)
        outputs.append(list(find_tensors(one(*copy.deepcopy(inputs)))))
    assert len(outputs[0]) == len(outputs[1]) > 0
    return max(compare(expected, found) for expected, found in zip(*outputs, strict=True))


def differentiate(model: nn.Module, *inputs: Any) -> list[Tensor | None]:
    """Compute the gradients of the sum of the squares of all outputs."""
    given = [value.clone().requires_grad_() if isinstance(value, Tensor) else value for value in inputs]
    torch.manual_seed(1)
    total = sum(tensor.abs().square().sum() for tensor in find_tensors(model(*given)))
    assert isinstance(total, Tensor)
    leaves = [value for value in given if isinstance(value, Tensor)]
    leaves += [parameter for parameter in model.parameters() if parameter.requires_grad]
    return list(torch.autograd.grad(total, leaves, allow_unused=True))


def differentiate_both(model: nn.Module, other: nn.Module, *inputs: Any) -> float:
    """Compute gradients of two models; the largest difference, each over its own largest value."""
    return compare_gradients(differentiate(model, *inputs), differentiate(other, *inputs))
