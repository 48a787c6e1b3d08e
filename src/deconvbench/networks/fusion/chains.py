"""Neighbouring modules of a container that are one upsampling, padding and convolution, and running them as one.

The conditions are the same as everywhere, asked of modules before any of them runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.fusion.calls import NEAREST, ConvolveCall, PadCall, UpsampleCall, make_pair
from deconvbench.networks.fusion.expressions import LazyExpression, Part, read_scale
from deconvbench.networks.fusion.matching import Match, has_pixels, plan_convolution
from deconvbench.networks.fusion.originals import is_call_own, is_plain_weight
from deconvbench.networks.fusion.resizing import convolve, explain_precision, is_faster
from deconvbench.networks.fusion.session import Session
from deconvbench.networks.fusion.signals import may_pay
from deconvbench.networks.fusion.weight_cache import WeightCache
from deconvbench.upsamplers.fast.recording import records_gradient

# these act on each pixel alone, hold no parameters and no randomness
POINTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish),
    *(nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.Sigmoid, nn.Tanh, nn.Identity),
)
PADS = {
    nn.ZeroPad2d: "zeros",
    nn.ConstantPad2d: "constant",
    nn.ReflectionPad2d: "reflect",
    nn.ReplicationPad2d: "replicate",
    nn.CircularPad2d: "circular",
}
_OTHER_CONVOLUTIONS = frozenset([nn.Conv1d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
_UPSAMPLINGS = (nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
# what a chain may be made of
_KNOWN = frozenset([nn.Conv2d, *_UPSAMPLINGS, *PADS, *POINTWISE])


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Neighbouring modules that are one upsampling and one convolution.

    Parameters
    ----------
    start, stop : int
        Which modules.
    pointwise : tuple of nn.Module
        What acts in between, on each pixel alone.
    conv : nn.Conv2d
        The convolution, the last of them.
    match : Match
        Its fast form.
    """

    start: int
    stop: int
    pointwise: tuple[nn.Module, ...]
    conv: nn.Conv2d
    match: Match


@dataclass(frozen=True, slots=True, kw_only=True)
class NoChain:
    """Why modules are not one upsampling and one convolution.

    Parameters
    ----------
    reason : str
        Why.
    is_certain : bool
        Whether it is certain that nothing is gained; otherwise it shows when they run.
    """

    reason: str
    is_certain: bool


def is_upsampling(module: nn.Module) -> bool:
    """Whether a module is one of torch's upsampling modules."""
    return type(module) in _UPSAMPLINGS


def read_upsampling(module: Any) -> int | str:
    """Find by which whole number a module upsamples any image, or say why it is none."""
    if module.size is not None:
        return f"size={module.size} fixes the output, so the scale depends on the input"
    if module.align_corners is not None and module.mode in NEAREST:
        # torch raises
        return f"align_corners={module.align_corners}"
    call = UpsampleCall(image=None, size=None, scale_factor=module.scale_factor, mode=module.mode)
    return read_scale(call, (None,) * 4)


def find_chain(modules: Sequence[nn.Module], start: int) -> Chain | NoChain:
    """Find the upsampling and convolution that start at a module, or say why there are none."""
    expression: LazyExpression[None] = LazyExpression(parts=(Part(source=None, channels=0, scale=1),))
    pointwise: list[nn.Module] = []
    for index, module in enumerate(modules[start:], start):
        if not may_pass_over(module):
            reason = f"{type(module).__name__} has hooks or replaced methods, which must see what they saw"
            return NoChain(reason=reason, is_certain=False)
        if type(module) is nn.Conv2d:
            match = _plan(expression, module)
            if isinstance(match, str):
                return NoChain(reason=f"the convolution after it: {match}", is_certain=True)
            return Chain(start=start, stop=index + 1, pointwise=tuple(pointwise), conv=module, match=match)
        if type(module) in POINTWISE and (not expression.padding or type(module) is nn.Identity):
            pointwise.append(module)
            continue
        answer = _advance(expression, module)
        if not isinstance(answer, LazyExpression):
            return answer
        expression = answer
    return NoChain(reason="no convolution follows in its container", is_certain=False)


def may_pass_over(module: nn.Module) -> bool:
    """Whether a module of a chain runs nothing but torch's own methods; others count as none."""
    return type(module) not in _KNOWN or is_call_own(module)


def _advance(expression: LazyExpression[None], module: Any) -> LazyExpression[None] | NoChain:
    if is_upsampling(module):
        scale = read_upsampling(module)
        answer = scale if isinstance(scale, str) else expression.upsample((scale, scale))
        # a fixed size may be a multiple of what comes, and of several scales something may be found
        is_certain = module.size is None and not isinstance(module.scale_factor, tuple)
    elif type(module) in PADS:
        mode = PADS[type(module)]
        if mode == "constant" and not module.value:
            mode = "zeros"
        answer = expression.pad(PadCall(image=None, amounts=tuple(module.padding), mode=mode))
        is_certain = True
    elif type(module) in _OTHER_CONVOLUTIONS:
        answer = f"{type(module).__name__} comes after it, not Conv2d"
        # that of a signal shows when it runs
        is_certain = type(module) is not nn.Conv1d or not may_pay(module)
    else:
        answer = f"{type(module).__name__} comes between it and the convolution"
        is_certain = False
    return NoChain(reason=answer, is_certain=is_certain) if isinstance(answer, str) else answer


def _plan(expression: LazyExpression[None], conv: nn.Conv2d) -> Match | str:
    if not is_plain_weight(conv.weight) or not is_plain_weight(conv.bias):
        return "its weight is a tensor with code of its own"
    if "weight" not in conv._parameters or conv.weight.is_complex() or not conv.weight.is_floating_point():
        return "its weight is not a parameter of real numbers"
    padding = conv.padding if isinstance(conv.padding, str) else make_pair(conv.padding)
    channels = conv.in_channels
    (part,) = expression.parts
    full = LazyExpression(
        parts=(Part(source=None, channels=channels, scale=part.scale),),
        padding=expression.padding,
        padding_mode=expression.padding_mode,
    )
    if conv.padding_mode != "zeros":
        if padding != "valid":
            amounts = tuple(conv._reversed_padding_repeated_twice)
            padded = full.pad(PadCall(image=None, amounts=amounts, mode=conv.padding_mode))
            if isinstance(padded, str):
                return padded
            full = padded
        padding = (0, 0)
    call = ConvolveCall(
        image=None,
        weight=None,
        bias=None,
        stride=conv.stride,
        padding=padding,
        dilation=conv.dilation,
        groups=conv.groups,
    )
    return plan_convolution(full, call, conv.weight.shape)


def gains(chain: Chain, x: Tensor, *, is_prepared: bool) -> bool:
    """Whether a chain is exact for an input, and faster as one."""
    if x.ndim != 4 or not _fits(x, chain.conv.weight):
        return False
    (piece,) = chain.match.pieces
    if not has_pixels(chain.match, [piece.scale * side for side in x.shape[2:]]):
        return False
    expression = LazyExpression(parts=(Part(source=x, channels=piece.length, scale=piece.scale),))
    weight, bias = chain.conv.weight, chain.conv.bias
    return explain_precision(expression, chain.match, weight, bias) is None and is_faster(
        expression, chain.match, weight, is_prepared=is_prepared
    )


def run_chain(chain: Chain, x: Tensor, weight_cache: WeightCache | None) -> Tensor:
    """Run a chain as one."""
    for module in chain.pointwise:
        if getattr(module, "inplace", False):
            # it may write into the upsampled tensor, which is not shared, but not into this one
            x = x.clone()
        x = module(x)
    if not torch.compiler.is_compiling() and records_gradient(x, chain.conv.weight, chain.conv.bias):
        # torch keeps the upsampled tensor for the backward pass, which no write to this one can reach
        x = x.clone()
    (piece,) = chain.match.pieces
    part = Part(source=x, channels=piece.length, scale=piece.scale)
    session = Session(weight_cache)
    y = convolve(LazyExpression(parts=(part,)), chain.match, chain.conv.weight, chain.conv.bias, session)
    if not isinstance(y, LazyExpression):
        return y
    return functional.interpolate(y.parts[0].source, scale_factor=piece.scale, mode="nearest")


def _fits(x: Tensor, weight: Tensor) -> bool:
    if torch.is_autocast_enabled(x.device.type):
        return torch.float64 not in {x.dtype, weight.dtype}
    return x.dtype == weight.dtype
