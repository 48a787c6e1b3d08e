"""Gradients of operations of torch's dispatcher that are linear in an image and in a weight.

Each comes as a pair: the operation, of an image, a weight, a bias and options, and its backward pass, of a
gradient, the image, the weight and the same options. Both are linear in each of their tensors, so each is made of
the other, as often as anybody differentiates.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef

from deconvbench.upsamplers.fast.memory import is_channels_last


def find_layout(*tensors: Tensor) -> torch.memory_format:
    """Find the memory format that a convolution of these answers in.

    Parameters
    ----------
    *tensors : Tensor
        Input and weight.
    """
    return torch.channels_last if is_channels_last(*tensors) else torch.contiguous_format


def lay_out_gradients(found: Sequence[Tensor | None], x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Write gradients in the memory formats of what they belong to; an operation has no None to answer with.

    Parameters
    ----------
    found : (Tensor or None, Tensor or None)
        To the image and to the weight, where they are wanted.
    x, weight : Tensor
        Image and weight.
    """
    to_input, to_weight = (
        operand.new_empty(0) if part is None else part.contiguous(memory_format=find_layout(operand))
        for part, operand in zip(found, (x, weight), strict=True)
    )
    return to_input, to_weight


def register_gradients(operation: CustomOpDef, backward: CustomOpDef, *more: Any) -> None:
    """Tell torch how to differentiate an operation and its backward pass, and what the latter answers with.

    Parameters
    ----------
    operation : CustomOpDef
        ``(x, weight, bias, *options, *more)`` to an image.
    backward : CustomOpDef
        ``(gradient, x, weight, *options, needs_input, needs_weight)`` to the gradients to image and weight.
    *more : Any
        What the operation is given in addition where it is differentiated.
    """

    def remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001 -- torch's names
        x, weight, _, *options = inputs
        ctx.save_for_backward(x, weight)
        ctx.options = options[: len(options) - len(more)]

    def go_back(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        needs_input, needs_weight, needs_bias, *others = ctx.needs_input_grad
        to_input, to_weight = backward(gradient, x, weight, *ctx.options, needs_input, needs_weight)
        return (
            to_input if needs_input else None,
            to_weight if needs_weight else None,
            gradient.sum((0, 2, 3)) if needs_bias else None,
            *([None] * len(others)),
        )

    def remember_gradients(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001 -- torch's names
        ctx.save_for_backward(*inputs[:3])
        ctx.options, ctx.has = inputs[3:-2], inputs[-2:]

    def go_back_again(ctx: Any, to_input: Tensor, to_weight: Tensor) -> Any:
        gradient, x, weight = ctx.saved_tensors
        has_input, has_weight = ctx.has
        again = x_again = weight_again = None
        if has_input:
            again = operation(to_input, weight, None, *ctx.options, *more)
            weight_again = backward(gradient, to_input, weight, *ctx.options, False, True)[1]
        if has_weight:
            other = operation(x, to_weight, None, *ctx.options, *more)
            again = other if again is None else again + other
            x_again = backward(gradient, x, to_weight, *ctx.options, True, False)[0]
        return again, x_again, weight_again, *([None] * (len(ctx.options) + 2))

    operation.register_autograd(go_back, setup_context=remember)
    backward.register_autograd(go_back_again, setup_context=remember_gradients)
    backward.register_fake(_describe_gradients)


def _describe_gradients(*operands: Any) -> tuple[Tensor, Tensor]:
    _, x, weight, *_, needs_input, needs_weight = operands
    to_input, to_weight = (
        torch.empty(operand.shape, dtype=operand.dtype, device=operand.device, memory_format=find_layout(operand))
        if is_needed
        else operand.new_empty(0)
        for operand, is_needed in ((x, needs_input), (weight, needs_weight))
    )
    return to_input, to_weight
