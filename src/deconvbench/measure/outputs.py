"""What layers give for the same input, outputs and gradients, and how far two of them are apart. Times nothing."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deconvbench.measure.step import draw_input
from deconvbench.records.case import Case


def find_gradients(layer: nn.Module, case: Case, seed: int) -> list[Tensor]:
    """Run a layer forward and backward.

    Parameters
    ----------
    layer : nn.Module
        In training mode, as `case` says.
    case : Case
        Says which input it gets.
    seed : int
        Of the input and of the gradient of the output, which has mean 0: sums of thousands of equal signs round
        badly in torch's own layers too.

    Returns
    -------
    list of Tensor
        The output, the gradient of the input, and those of the parameters that have one.
    """
    x = draw_input(case, seed).requires_grad_()
    output: Tensor = layer(x)
    generator = torch.Generator("cpu").manual_seed(seed)
    gradient = torch.randn(output.shape, dtype=torch.float32, device="cpu", generator=generator).to(output)
    trained = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(output, (x, *trained), gradient, allow_unused=True)
    return [output, *(found for found in gradients if found is not None)]


def find_difference(theirs: Sequence[Tensor], ours: Sequence[Tensor]) -> float:
    """Find the largest deviation between tensors, each as a share of its largest value on either side.

    Parameters
    ----------
    theirs, ours : sequence of Tensor
        Compared by position.

    Returns
    -------
    float
        From 0 to 2; 2 where their number, or a shape, differs.
    """
    if [tuple(t.shape) for t in theirs] != [tuple(t.shape) for t in ours]:
        return 2.0
    shares = [0.0]
    for one, two in zip(theirs, ours, strict=True):
        a, b = one.detach().double(), two.detach().double()
        largest = max(float(a.abs().max()), float(b.abs().max()))
        deviation = float((a - b).abs().max())
        # where a number is none, such as in a gradient, nothing is known
        shares.append(2.0 if math.isnan(deviation) else min(deviation / largest, 2.0) if largest else 0.0)
    return max(shares)
