"""Transposed convolutions that are answered in another form where that is faster, whoever asks for them.

By sub-pixel convolutions (see `conversion`), or by minimal filtering of their phases where that is compiled.

What is answered is the function, not the layer: a layer keeps its hooks and whatever was done to it. All that
torch would refuse is left to torch, and so is what is not finite.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.networks.fusion.calls import make_pair
from deconvbench.networks.fusion.conversion import convert_transposed, explain_transposed
from deconvbench.networks.fusion.tensors import lay_out
from deconvbench.networks.fusion.weight_cache import WeightCache
from deconvbench.upsamplers.fast.deconvolution.choice import may_prefer_minimal
from deconvbench.upsamplers.fast.deconvolution.compiled import is_supported
from deconvbench.upsamplers.fast.deconvolution.forms import choose_form, find_fastest, run_minimal
from deconvbench.upsamplers.fast.deconvolution.operators import compile_deconvolution
from deconvbench.upsamplers.fast.deconvolution.shape import TransposedShape, run_plain
from deconvbench.upsamplers.fast.memory import has_finite_sum, is_channels_last
from deconvbench.upsamplers.fast.native import find_library
from deconvbench.upsamplers.fast.recording import UnrecordedMode, is_recorded, records_gradient

# of the layers that the compiled form has
_SCALES = (2, 2)
_PLAIN_TYPES = frozenset({Tensor, nn.Parameter})


class DeconvolutionMode(UnrecordedMode):
    """Answers for ``torch.conv_transpose2d`` in one thread while it is active.

    Parameters
    ----------
    weight_cache : WeightCache or None
        Where transformed weights are kept, if they are.

    Attributes
    ----------
    has_gained : bool
        Whether any was answered the fast way.
    """

    def __init__(self, weight_cache: WeightCache | None = None) -> None:
        super().__init__()
        self._weight_cache = weight_cache
        self.has_gained = False

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function, or answer for it."""
        named = kwargs or {}
        if func is torch.conv_transpose2d:
            answer = deconvolve(args, named, self._weight_cache)
            if answer is not NotImplemented:
                self.has_gained = True
                return answer
        return func(*args, **named)


def deconvolve(args: Sequence[Any], kwargs: Mapping[str, Any], weight_cache: WeightCache | None = None) -> Any:
    """Answer a call of ``torch.conv_transpose2d`` in a faster form.

    Parameters
    ----------
    args, kwargs
        Of the call, as they were given.
    weight_cache : WeightCache or None
        Where transformed weights are kept, if they are.

    Returns
    -------
    Tensor or NotImplemented
        What torch answers, to rounding, in the same order in memory; NotImplemented where that would not be faster
        or not the same.
    """
    try:
        x, weight, bias, shape = read_call(*args, **kwargs)
    except TypeError:
        # torch says what is wrong
        return NotImplemented
    if not _is_ordinary(x, weight, bias, shape):
        return NotImplemented
    if explain_transposed(shape) is not None:
        return _filter(x, weight, bias, shape, weight_cache)
    if records_gradient(x, weight, bias):
        return _SubpixelForward.apply(x, weight, bias, shape)  # type: ignore[no-untyped-call] # torch has no types here
    return _compute(x, weight, bias, shape)


def _filter(
    x: Tensor, weight: Tensor, bias: Tensor | None, shape: TransposedShape, weight_cache: WeightCache | None
) -> Any:
    """Answer by minimal filtering of the phases where that is faster."""
    if not is_supported(shape):
        return NotImplemented
    find_prepared = None if weight_cache is None else weight_cache.find(weight, 0, weight.shape[1])
    if choose_form("auto", x, weight, bias, shape, is_prepared=find_prepared is not None) == "plain":
        return NotImplemented
    prepared = None
    if find_prepared is not None:
        # which is the same for every padding of the output
        prepared = find_prepared("minimal", shape.pad_output((0, 0)), torch.contiguous_format, x.dtype)
    return run_minimal("auto", x, weight, prepared, bias, shape)


def convolve_transposed(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: int,
    padding: int,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """Compute a transposed convolution in the form that is fastest when it runs; for graphs.

    Parameters
    ----------
    x, weight, bias
        As of ``torch.conv_transpose2d``.
    stride, padding : int
        Of rows and columns.
    output_padding : (int, int)
        Rows and columns.
    groups : int
        Of channels.
    """
    _, _, _, shape = read_call(x, weight, bias, stride, padding, output_padding, groups)
    y = compile_deconvolution("auto", x, weight, bias, shape, is_graph=True)
    return run_plain(x, weight, bias, shape) if y is None else y


def may_filter(x: Tensor, weight: Tensor, shape: TransposedShape) -> bool:
    """Say whether minimal filtering of the phases may be faster, for some of the sizes that an input stands for.

    Parameters
    ----------
    x, weight : Tensor
        Of which only what they are counts; sizes may be symbols.
    shape : TransposedShape
        Of the layer.
    """
    if not x.dtype == weight.dtype == torch.float32 or x.device.type != "cpu" or x.ndim != 4:
        return False
    if not all(type(number) is int for number in shape.output_padding) or not is_supported(shape):
        return False
    is_known = all(type(number) is int for number in x.shape)
    return not is_known or find_fastest("auto", x, weight, shape, is_prepared=False) == "minimal"


def find_way(shape: TransposedShape, in_channels: int) -> tuple[str | None, str]:
    """Find in which form a transposed convolution is faster.

    Parameters
    ----------
    shape : TransposedShape
        Any.
    in_channels : int
        Of the layer.

    Returns
    -------
    way : str or None
        In words; None where torch's own is the fastest.
    reason : str
        Why that is so; empty where it is not.
    """
    objection = explain_transposed(shape)
    if objection is None:
        return "convolution and PixelShuffle, for float32 on a CPU", ""
    if not is_supported(shape):
        may_be = find_library() is None and shape.stride == _SCALES
        return None, f"{objection}, or once deconvbench native has compiled another form" if may_be else objection
    if not may_prefer_minimal(shape.kernel_size[0], in_channels, shape.out_channels, shape.groups):
        return None, objection
    return "minimal filtering of its phases, compiled, where that is faster, for float32 on a CPU", ""


def read_call(
    input: Any,  # torch's names
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: Any = 1,
    dilation: Any = 1,
) -> tuple[Any, Any, Any, TransposedShape]:
    """Read a call of ``torch.conv_transpose2d``, whose arguments these are.

    Returns
    -------
    input, weight, bias : Any
        As they were given.
    shape : TransposedShape
        What is computed; nonsense where the arguments are.
    """
    is_kernel = isinstance(weight, Tensor) and weight.ndim == 4
    shape = TransposedShape(
        out_channels=weight.shape[1] * groups if is_kernel and type(groups) is int else 0,
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
        return run_plain(x, weight, bias, shape)
    layout = torch.channels_last if is_channels_last(x, weight) else torch.contiguous_format
    return lay_out(y, layout)
