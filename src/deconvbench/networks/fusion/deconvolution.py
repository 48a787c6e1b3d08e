"""Transposed convolutions that are answered by sub-pixel convolutions where that is faster, whoever asks for them.

What is answered is the function, not the layer: a layer keeps its hooks and whatever was done to it. All that
torch would refuse is left to torch, and so is what is not finite.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.networks.fusion.calls import make_pair
from deconvbench.networks.fusion.conversion import TransposedShape, convert_transposed, explain_transposed
from deconvbench.networks.fusion.tensors import lay_out
from deconvbench.upsamplers.fast.memory import has_finite_sum, is_channels_last
from deconvbench.upsamplers.fast.recording import UnrecordedMode, is_recorded, records_gradient

_PLAIN_TYPES = frozenset({Tensor, nn.Parameter})


class DeconvolutionMode(UnrecordedMode):
    """Answers for ``torch.conv_transpose2d`` in one thread while it is active.

    Attributes
    ----------
    has_gained : bool
        Whether any was answered the fast way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.has_gained = False

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function, or answer for it."""
        named = kwargs or {}
        if func is torch.conv_transpose2d:
            answer = deconvolve(args, named)
            if answer is not NotImplemented:
                self.has_gained = True
                return answer
        return func(*args, **named)


def deconvolve(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Answer a call of ``torch.conv_transpose2d`` as a sub-pixel convolution.

    Parameters
    ----------
    args, kwargs
        Of the call, as they were given.

    Returns
    -------
    Tensor or NotImplemented
        What torch answers, to rounding, in the same order in memory; NotImplemented where that would not be faster
        or not the same.
    """
    try:
        x, weight, bias, shape = _read_call(*args, **kwargs)
    except TypeError:
        # torch says what is wrong
        return NotImplemented
    if not _is_ordinary(x, weight, bias, shape) or explain_transposed(shape) is not None:
        return NotImplemented
    if records_gradient(x, weight, bias):
        return _SubpixelForward.apply(x, weight, bias, shape)  # type: ignore[no-untyped-call] # torch has no types here
    return _compute(x, weight, bias, shape)


def _read_call(
    input: Any,  # torch's names
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: Any = 1,
    dilation: Any = 1,
) -> tuple[Any, Any, Any, TransposedShape]:
    is_kernel = isinstance(weight, Tensor) and weight.ndim == 4
    shape = TransposedShape(
        out_channels=weight.shape[1] if is_kernel else 0,
        kernel_size=tuple(weight.shape[2:]) if is_kernel else (),
        stride=make_pair(stride),
        padding=make_pair(padding),
        output_padding=make_pair(output_padding),
        dilation=make_pair(dilation),
        groups=groups,
    )
    return input, weight, bias, shape


def _is_ordinary(x: Any, weight: Any, bias: Any, shape: TransposedShape) -> bool:
    """Whether torch would answer, with numbers, and nothing but the numbers counts."""
    operands = [x, weight] if bias is None else [x, weight, bias]
    if not _PLAIN_TYPES.issuperset(map(type, operands)) or is_recorded(*operands):
        return False
    pairs = (shape.stride, shape.padding, shape.output_padding, shape.dilation)
    return (
        all(
            operand.dtype == torch.float32
            and operand.device.type == "cpu"
            and operand.layout == torch.strided
            and operand.numel() > 0
            for operand in operands
        )
        and x.ndim == weight.ndim == 4
        and x.shape[1] == weight.shape[0]
        and all(len(pair) == 2 and all(type(number) is int for number in pair) for pair in pairs)
        and (bias is None or bias.shape == (shape.out_channels,))
        and min(shape.padding) >= 0
        and all(0 <= more < least for more, least in zip(shape.output_padding, shape.stride, strict=True))
        and min(shape.measure_output(x.shape[2:])) > 0
        and not torch.is_autocast_enabled("cpu")
    )


class _SubpixelForward(torch.autograd.Function):
    """Forward as a sub-pixel convolution, backward as torch goes back through the transposed one.

    That is faster than going back through the sub-pixel convolution, and spreads what is not finite as torch does.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, shape: TransposedShape) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape = shape
        return _compute(x, weight, bias, shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        shape: TransposedShape = ctx.shape
        return (
            *torch.ops.aten.convolution_backward(
                *(gradients[0], x, weight),
                bias_sizes=[shape.out_channels],
                stride=shape.stride,
                padding=shape.padding,
                dilation=shape.dilation,
                transposed=True,
                output_padding=shape.output_padding,
                groups=shape.groups,
                output_mask=ctx.needs_input_grad[:3],
            ),
            None,
        )


def _compute(x: Tensor, weight: Tensor, bias: Tensor | None, shape: TransposedShape) -> Tensor:
    y = convert_transposed(x, weight, bias, shape)
    if not has_finite_sum(y):
        # taps that do not exist are zeros here, and zero times infinity would spoil pixels that they do not reach
        options = (shape.stride, shape.padding, shape.output_padding, shape.groups, shape.dilation)
        return torch.conv_transpose2d(x, weight, bias, *options)
    layout = torch.channels_last if is_channels_last(x, weight) else torch.contiguous_format
    return lay_out(y, layout)
