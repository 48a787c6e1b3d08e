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
from deconvbench.upsamplers.fast.operator_gradients import find_layout, lay_out_gradients, register_gradients
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
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=find_layout(x, weight))


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
    return lay_out_gradients(found, x, weight)


# trained, as far as the choice of its form goes
register_gradients(_compute, _compute_gradients, True)
