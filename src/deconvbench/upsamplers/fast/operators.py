"""Resize-convolution as one operation of torch's dispatcher, for compilers.

``torch.ops.deconvbench.resize_conv2d`` is opaque to ``torch.compile``: its form is chosen when it runs, as in a
call that nobody compiles, so a graph is good for every size and gets the compiled form. Compilers know its shapes,
strides and gradients from here. What is exported holds none of it but torch's own operations (see `recording`):
other systems have no such operation.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from deconvbench.upsamplers.fast.backward import go_back, go_back_plainly
from deconvbench.upsamplers.fast.cuda.form import TRITON_DTYPES, TRITON_IMPLEMENTATIONS
from deconvbench.upsamplers.fast.forms import Geometry, find_fastest, run, specify
from deconvbench.upsamplers.fast.memory import is_channels_last
from deconvbench.upsamplers.fast.recording import PLAIN_TYPES

# forms that are no operations of torch; by the other names a graph holds torch's convolutions
_OPAQUE = frozenset({"auto", "minimal", "tiled"})
# of all forms; reflection where it is replication is that
_PADDING_MODES = frozenset({"zeros", "replicate"})


def compile_call(
    implementation: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    *,
    is_graph: bool = False,
) -> Tensor | None:
    """Answer a call that ``torch.compile`` traces, by one operation where that is better.

    Parameters
    ----------
    implementation : str
        The form that is wanted, ``auto`` included.
    x, weight, bias, geometry
        As for `resize_conv2d`.
    is_graph : bool
        Whether a graph calls that was traced already, so that tensors may be of a compiler's own classes.

    Returns
    -------
    Tensor or None
        None where the graph is to hold operations of torch: also for tensors of classes with operations of their
        own.
    """
    are_ordinary = is_graph or PLAIN_TYPES.issuperset(map(type, (x, weight, bias)))
    if not are_ordinary or not _fits(implementation, x, weight, bias, geometry):
        return None
    return resize_conv2d(x, weight, bias, geometry, implementation)


def _fits(implementation: str, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> bool:
    """Whether it is what the fast forms are for, and nobody exports, maps or differentiates by ``torch.func``."""
    if implementation in TRITON_IMPLEMENTATIONS:
        # whether Triton is there is asked when it runs; under autocast the weight is rounded once, by the form
        has_form = x.dtype in TRITON_DTYPES
    else:
        has_form = (
            implementation in _OPAQUE
            and x.device.type == "cpu"
            and x.dtype == weight.dtype == torch.float32
            and (bias is None or bias.dtype == torch.float32)
        )
    return (
        has_form
        and geometry.padding_mode in _PADDING_MODES
        and not torch.compiler.is_exporting()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def resize_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, implementation: str = "auto"
) -> Tensor:
    """Upsample and convolve, as one operation.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        Any H, W ≥ 1.
    weight : Tensor, shape (C_out, C_in/groups, k, k)
        Of the convolution.
    bias : Tensor, shape (C_out,), or None
        Added to every pixel.
    geometry : Geometry
        Of the layer.
    implementation : str
        ``auto``, ``minimal``, ``tiled``, ``minimal_triton`` or ``tiled_triton``.

    Returns
    -------
    Tensor, shape (N, C_out, s·H, s·W)
        With the channels last in memory where input or weight have them so.
    """
    operands = [x, weight] if bias is None else [x, weight, bias]
    # not whether inference mode is on, which compilers do not tell
    is_training = torch.is_grad_enabled() and any(operand.requires_grad for operand in operands)
    y: Tensor = torch.ops.deconvbench.resize_conv2d(
        *(x, weight, bias, geometry.scale_factor, geometry.groups, geometry.padding_mode, implementation),
        is_training,
    )
    return y


def _describe(weight: Tensor, scale_factor: int, groups: int, padding_mode: str) -> Geometry:
    return Geometry(
        kernel_size=weight.shape[2], scale_factor=scale_factor, groups=groups, padding_mode=padding_mode
    )


def _choose(x: Tensor, weight: Tensor, geometry: Geometry, implementation: str, *, is_training: bool) -> str:
    if implementation == "auto":
        return find_fastest(x, weight, geometry, is_prepared=False, is_training=is_training)
    return specify(implementation, x, weight, geometry)


def _find_layout(*tensors: Tensor) -> torch.memory_format:
    return torch.channels_last if is_channels_last(*tensors) else torch.contiguous_format


@torch.library.custom_op("deconvbench::resize_conv2d", mutates_args=())
def _compute(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale_factor: int,
    groups: int,
    padding_mode: str,
    implementation: str,
    is_training: bool,
) -> Tensor:
    geometry = _describe(weight, scale_factor, groups, padding_mode)
    chosen = _choose(x, weight, geometry, implementation, is_training=is_training)
    # what gradients are made of is said below
    with torch.no_grad():
        return run(chosen, x, weight, None, bias, geometry)


@_compute.register_fake
def _(x: Tensor, weight: Tensor, *options: Any) -> Tensor:
    scale_factor: int = options[1]
    shape = (x.shape[0], weight.shape[0], scale_factor * x.shape[2], scale_factor * x.shape[3])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_find_layout(x, weight))


@torch.library.custom_op("deconvbench::resize_conv2d_backward", mutates_args=())
def _compute_gradients(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    scale_factor: int,
    groups: int,
    padding_mode: str,
    implementation: str,
    needs_input: bool,
    needs_weight: bool,
) -> tuple[Tensor, Tensor]:
    geometry = _describe(weight, scale_factor, groups, padding_mode)
    chosen = _choose(x, weight, geometry, implementation, is_training=True)
    needs = (needs_input, needs_weight)
    with torch.no_grad():
        # an empty batch costs nothing in any form
        if chosen == "plain" or x.shape[0] == 0:
            found = go_back_plainly(x, weight, gradient, geometry, needs)
        else:
            found = go_back(x, weight, gradient, chosen, geometry, needs)
    to_input, to_weight = (
        operand.new_empty(0) if part is None else part.contiguous(memory_format=_find_layout(operand))
        for part, operand in zip(found, (x, weight), strict=True)
    )
    return to_input, to_weight


@_compute_gradients.register_fake
def _(*operands: Any) -> tuple[Tensor, Tensor]:
    _, x, weight, *_, needs_input, needs_weight = operands
    to_input, to_weight = (
        torch.empty(operand.shape, dtype=operand.dtype, device=operand.device, memory_format=_find_layout(operand))
        if is_needed
        else operand.new_empty(0)
        for operand, is_needed in ((x, needs_input), (weight, needs_weight))
    )
    return to_input, to_weight


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001 -- torch's names
    x, weight, _, *options = inputs
    ctx.save_for_backward(x, weight)
    # without the last, whether it is trained
    ctx.options = options[:-1]


def _go_back(ctx: Any, gradient: Tensor) -> Any:
    x, weight = ctx.saved_tensors
    needs_input, needs_weight, needs_bias, *others = ctx.needs_input_grad
    to_input, to_weight = torch.ops.deconvbench.resize_conv2d_backward(
        gradient, x, weight, *ctx.options, needs_input, needs_weight
    )
    return (
        to_input if needs_input else None,
        to_weight if needs_weight else None,
        gradient.sum((0, 2, 3)) if needs_bias else None,
        *([None] * len(others)),
    )


_compute.register_autograd(_go_back, setup_context=_remember)


def _remember_gradients(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001 -- torch's names
    ctx.save_for_backward(*inputs[:3])
    ctx.options, ctx.has = inputs[3:7], inputs[7:]


def _go_back_again(ctx: Any, to_input: Tensor, to_weight: Tensor) -> Any:
    """Differentiate the gradients, which are linear in each of the three."""
    gradient, x, weight = ctx.saved_tensors
    forward, backward = torch.ops.deconvbench.resize_conv2d, torch.ops.deconvbench.resize_conv2d_backward
    has_input, has_weight = ctx.has
    again = x_again = weight_again = None
    if has_input:
        again = forward(to_input, weight, None, *ctx.options, True)
        weight_again = backward(gradient, to_input, weight, *ctx.options, False, True)[1]
    if has_weight:
        more = forward(x, to_weight, None, *ctx.options, True)
        again = more if again is None else again + more
        x_again = backward(gradient, x, to_weight, *ctx.options, True, False)[0]
    return again, x_again, weight_again, *([None] * 6)


_compute_gradients.register_autograd(_go_back_again, setup_context=_remember_gradients)
