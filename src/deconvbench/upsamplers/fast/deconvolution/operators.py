"""Transposed convolution as one operation of torch's dispatcher, for compilers.

``torch.ops.deconvbench.conv_transpose2d`` is opaque to ``torch.compile``: its form is chosen when it runs, so a
graph is good for every size. Compilers know its shapes, strides and gradients from here. What is exported holds
torch's own operation.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from deconvbench.upsamplers.fast.deconvolution.compiled import is_supported
from deconvbench.upsamplers.fast.deconvolution.forms import can_compute, compute, find_fastest, go_back
from deconvbench.upsamplers.fast.deconvolution.shape import TransposedShape, run_plain
from deconvbench.upsamplers.fast.operator_gradients import find_layout, lay_out_gradients, register_gradients
from deconvbench.upsamplers.fast.recording import PLAIN_TYPES


def compile_deconvolution(
    implementation: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    shape: TransposedShape,
    *,
    is_graph: bool = False,
) -> Tensor | None:
    """Answer a call that ``torch.compile`` traces, by one operation where that may be faster.

    Parameters
    ----------
    implementation : str
        The form that is wanted, ``auto`` included.
    x, weight, bias, shape
        As for `deconvolve`.
    is_graph : bool
        Whether a graph calls that was traced already, so that tensors may be of a compiler's own classes.

    Returns
    -------
    Tensor or None
        None where the graph is to hold torch's own operation.
    """
    are_ordinary = is_graph or PLAIN_TYPES.issuperset(map(type, (x, weight, bias)))
    if not are_ordinary or not _fits(implementation, x, weight, bias, shape):
        return None
    return deconvolve(x, weight, bias, shape, implementation)


def _fits(implementation: str, x: Tensor, weight: Tensor, bias: Tensor | None, shape: TransposedShape) -> bool:
    """Whether it is what the compiled form is for, and nobody exports or transforms the call."""
    return (
        implementation != "plain"
        and is_supported(shape)
        and x.ndim == 4
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and (bias is None or bias.dtype == torch.float32)
        and not torch.compiler.is_exporting()
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def deconvolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, shape: TransposedShape, implementation: str = "auto"
) -> Tensor:
    """Compute a transposed convolution, as one operation.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        The input.
    weight : Tensor, shape (C_in, C_out, k, k)
        Of the layer.
    bias : Tensor, shape (C_out,), or None
        Added to every pixel.
    shape : TransposedShape
        Of the layer; one that the compiled form has.
    implementation : str
        ``auto`` or ``minimal``.

    Returns
    -------
    Tensor, shape (N, C_out, H', W')
        With the channels last in memory where input or weight have them so.
    """
    y: Tensor = torch.ops.deconvbench.conv_transpose2d(
        *(x, weight, bias, shape.stride[0], shape.padding[0], shape.output_padding, shape.groups, implementation)
    )
    return y


def _describe(
    weight: Tensor, stride: int, padding: int, output_padding: Sequence[int], groups: int
) -> TransposedShape:
    return TransposedShape(
        out_channels=weight.shape[1] * groups,
        kernel_size=(weight.shape[2], weight.shape[3]),
        stride=(stride, stride),
        padding=(padding, padding),
        output_padding=tuple(output_padding),
        dilation=(1, 1),
        groups=groups,
    )


@torch.library.custom_op("deconvbench::conv_transpose2d", mutates_args=())
def _compute(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    output_padding: Sequence[int],
    groups: int,
    implementation: str,
) -> Tensor:
    shape = _describe(weight, stride, padding, output_padding, groups)
    # what gradients are made of is said below
    with torch.no_grad():
        if can_compute(x, weight, bias, shape):
            form = find_fastest(implementation, x, weight, shape, is_prepared=False)
            if form == "minimal":
                return compute(x, weight, None, bias, shape)
        return run_plain(x, weight, bias, shape).contiguous(memory_format=find_layout(x, weight))


@_compute.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:  # noqa: ARG001 -- torch's names
    shape = _describe(weight, *options[:4])
    sizes = (x.shape[0], shape.out_channels, *shape.measure_output(x.shape[2:]))
    return torch.empty(sizes, dtype=x.dtype, device=x.device, memory_format=find_layout(x, weight))


@torch.library.custom_op("deconvbench::conv_transpose2d_backward", mutates_args=())
def _compute_gradients(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    output_padding: Sequence[int],
    groups: int,
    implementation: str,
    needs_input: bool,
    needs_weight: bool,
) -> tuple[Tensor, Tensor]:
    shape = _describe(weight, stride, padding, output_padding, groups)
    with torch.no_grad():
        found = go_back(implementation, x, weight, gradient, shape, (needs_input, needs_weight, False))
    return lay_out_gradients(found[:2], x, weight)


register_gradients(_compute, _compute_gradients)
