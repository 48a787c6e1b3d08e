"""Calls of torch functions as plain data: what is upsampled, padded, joined, convolved and cast.

The one place that knows how torch names its functions; which of them leave their arguments unchanged is
`purity`'s.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.functions import (
    ATEN_RESIZING,
    BINARY_FUNCTIONS,
    NUMBER_FUNCTIONS,
    POINTWISE_FUNCTIONS,
    SUMS,
)

_AXES_NAMES = ("permute", "transpose", "unsqueeze", "squeeze", "reshape", "flatten", "select", "narrow")

# what a call does with an upsampled tensor, for those that need not look at its pixels
INTERPOLATE, PAD, JOIN, CONVOLVE, POINTWISE, CHANNELWISE, CAST, LAYOUT, DROP = (
    "interpolate",
    "pad",
    "join",
    "convolve",
    "pointwise",
    "channelwise",
    "cast",
    "layout",
    "drop",
)
# upsampling by other names, and what acts on the axes before rows and columns only
RESIZE, REPEAT, AXES = "resize", "repeat", "axes"

# modes of interpolation that repeat pixels
NEAREST = ("nearest", "nearest-exact")

# of images that are upsampled
DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})

# what answers with a view of its argument, or with a copy where torch needs one
AXES_FUNCTIONS = (
    *(getattr(owner, name) for owner in (torch, Tensor) for name in _AXES_NAMES),
    *(Tensor.view, Tensor.repeat, Tensor.__getitem__, operator.getitem),
)

KINDS: Mapping[Any, str] = {
    functional.interpolate: INTERPOLATE,
    functional.pad: PAD,
    # what a compiler's graph has in its place
    torch._C._nn.pad: PAD,
    torch.cat: JOIN,
    torch.concat: JOIN,
    torch.concatenate: JOIN,
    **dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), CONVOLVE),
    **dict.fromkeys((*POINTWISE_FUNCTIONS, *NUMBER_FUNCTIONS), POINTWISE),
    **dict.fromkeys((*BINARY_FUNCTIONS, functional.prelu, functional.batch_norm), CHANNELWISE),
    **dict.fromkeys((Tensor.to, Tensor.type_as, Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16), CAST),
    Tensor.contiguous: LAYOUT,
    **dict.fromkeys((functional.dropout, functional.dropout2d, functional.alpha_dropout), DROP),
    **dict.fromkeys(ATEN_RESIZING, RESIZE),
    **dict.fromkeys((torch.repeat_interleave, Tensor.repeat_interleave), REPEAT),
    **dict.fromkeys(AXES_FUNCTIONS, AXES),
}
# what may upsample an ordinary tensor
STARTS = frozenset(
    [
        *(function for function, kind in KINDS.items() if kind in {INTERPOLATE, RESIZE, REPEAT}),
        *(torch.reshape, Tensor.reshape),
    ]
)

INTERPOLATE_NAMES = (
    *("input", "size", "scale_factor", "mode", "align_corners"),
    *("recompute_scale_factor", "antialias"),
)
CONVOLVE_NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsampleCall:
    """A call of ``interpolate``, or of what it calls.

    Parameters
    ----------
    image : Any
        What is upsampled.
    size, scale_factor : Any
        As they were given.
    mode : Any
        As it was given.
    ratios : tuple
        Scales that were given beside the size, and must be those that it means.
    """

    image: Any
    size: Any
    scale_factor: Any
    mode: Any
    ratios: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatCall:
    """A call of ``repeat_interleave``.

    Parameters
    ----------
    image : Any
        What is repeated.
    repeats, axis : int
        How often, and along which axis.
    """

    image: Any
    repeats: int
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolveCall:
    """A call of ``conv1d``, ``conv2d`` or ``conv3d``.

    Parameters
    ----------
    image, weight, bias : Any
        Its operands.
    stride, dilation : tuple of int
        One for each axis.
    padding : tuple of int or str
        One for each axis, or ``same`` or ``valid``.
    groups : int
        Groups of channels.
    """

    image: Any
    weight: Any
    bias: Any
    stride: tuple[Any, ...]
    padding: tuple[Any, ...] | str
    dilation: tuple[Any, ...]
    groups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PadCall:
    """A call of ``pad``.

    Parameters
    ----------
    image : Any
        What is padded.
    amounts : tuple
        As they were given: left, right, top, bottom.
    mode : str
        ``zeros``, ``reflect``, ``replicate``, ``circular``, or ``constant`` for a constant that is not zero.
    """

    image: Any
    amounts: tuple[Any, ...]
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinCall:
    """A call of ``cat``.

    Parameters
    ----------
    images : tuple
        What is joined.
    axis : Any
        Along which axis.
    """

    images: tuple[Any, ...]
    axis: Any


Call = UpsampleCall | RepeatCall | ConvolveCall | PadCall | JoinCall


def read_call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call | None:
    """Read a call of interpolation, convolution, padding or concatenation.

    Parameters
    ----------
    function : callable
        One of `KINDS`.
    args, kwargs
        Its arguments.

    Returns
    -------
    Call or None
        None for other functions, and for unexpected arguments.
    """
    if function in _AXES:
        return _read_convolve(args, kwargs, _AXES[function])
    reader = _READERS.get(KINDS.get(function, ""))
    return None if reader is None else reader(args, kwargs)


def bind_arguments(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Name the arguments of a call, or return None for unexpected ones."""
    if len(args) > len(names):
        return None
    bound = {**dict(zip(names, args, strict=False)), **kwargs}
    return bound if set(bound) <= set(names) and names[0] in bound else None


def _read_upsample(args: Sequence[Any], kwargs: Mapping[str, Any]) -> UpsampleCall | None:
    bound = bind_arguments(INTERPOLATE_NAMES, args, kwargs)
    if bound is None:
        return None
    mode = bound.get("mode", "nearest")
    size, scale_factor = bound.get("size"), bound.get("scale_factor")
    if size is not None and scale_factor is not None:
        # torch raises
        return None
    if mode in NEAREST and (bound.get("antialias") or bound.get("align_corners") is not None):
        # here too
        return None
    return UpsampleCall(image=bound["input"], size=size, scale_factor=scale_factor, mode=mode)


def _read_resize(args: Sequence[Any], kwargs: Mapping[str, Any]) -> UpsampleCall | None:
    """Read a call beneath `interpolate`: its size and scales as two numbers, or its scales as a list."""
    named = {("input" if name == "self" else name): value for name, value in kwargs.items()}
    is_listed = "scale_factors" in named or (len(args) > 2 and isinstance(args[2], (tuple, list)))
    names = ("scale_factors",) if is_listed else ("scales_h", "scales_w")
    bound = bind_arguments(("input", "output_size", *names), args, named)
    if bound is None:
        return None
    size, given = bound.get("output_size"), [bound.get(name) for name in names]
    factors = given[0] if is_listed else None
    if (size is None) == (factors is None):
        # torch raises, or the size counts in one place and the scales in another
        return None
    ratios = () if is_listed else tuple(ratio for ratio in given if ratio is not None)
    if len(ratios) == 1:
        return None
    return UpsampleCall(image=bound["input"], size=size, scale_factor=factors, mode="nearest", ratios=ratios)


def _read_repeat(args: Sequence[Any], kwargs: Mapping[str, Any]) -> RepeatCall | None:
    named = {("input" if name == "self" else name): value for name, value in kwargs.items()}
    bound = bind_arguments(("input", "repeats", "dim"), args, named)
    if bound is None or type(bound.get("repeats")) is not int or type(bound.get("dim")) is not int:
        return None
    return RepeatCall(image=bound["input"], repeats=bound["repeats"], axis=bound["dim"])


def _read_convolve(args: Sequence[Any], kwargs: Mapping[str, Any], axes: int = 2) -> ConvolveCall | None:
    bound = bind_arguments(CONVOLVE_NAMES, args, kwargs)
    if bound is None or "weight" not in bound:
        return None
    padding = bound.get("padding", 0)
    return ConvolveCall(
        image=bound["input"],
        weight=bound["weight"],
        bias=bound.get("bias"),
        stride=make_pair(bound.get("stride", 1), axes),
        padding=padding if isinstance(padding, str) else make_pair(padding, axes),
        dilation=make_pair(bound.get("dilation", 1), axes),
        groups=bound.get("groups", 1),
    )


def _read_pad(args: Sequence[Any], kwargs: Mapping[str, Any]) -> PadCall | None:
    bound = bind_arguments(("input", "pad", "mode", "value"), args, kwargs)
    if bound is None or not isinstance(bound.get("pad"), (tuple, list)):
        return None
    mode = bound.get("mode", "constant")
    if mode == "constant" and not bound.get("value"):
        mode = "zeros"
    return PadCall(image=bound["input"], amounts=tuple(bound["pad"]), mode=mode)


def _read_join(args: Sequence[Any], kwargs: Mapping[str, Any]) -> JoinCall | None:
    bound = bind_arguments(("tensors", "dim"), args, kwargs)
    if bound is None or not isinstance(bound["tensors"], (tuple, list)):
        return None
    return JoinCall(images=tuple(bound["tensors"]), axis=bound.get("dim", 0))


_READERS: Mapping[str, Callable[[Sequence[Any], Mapping[str, Any]], Call | None]] = {
    INTERPOLATE: _read_upsample,
    RESIZE: _read_resize,
    REPEAT: _read_repeat,
    CONVOLVE: _read_convolve,
    PAD: _read_pad,
    JOIN: _read_join,
}


# of convolutions of anything but images
_AXES = {torch.conv1d: 1, torch.conv3d: 3}


def make_pair(value: Any, count: int = 2) -> tuple[Any, ...]:
    """Write a number as a pair, or as often as it counts, and a sequence as a tuple."""
    if isinstance(value, (tuple, list)):
        return tuple(value) * (count if len(value) == 1 else 1)
    return (value,) * count


def read_cast(function: Any, given: Sequence[Any]) -> torch.dtype | None:
    """Read to which dtype a call with these arguments converts, or None if it may do anything else."""
    named = {
        Tensor.float: torch.float32,
        Tensor.double: torch.float64,
        Tensor.half: torch.float16,
        Tensor.bfloat16: torch.bfloat16,
    }
    if function in named:
        return None if given else named[function]
    is_dtype = function is Tensor.to and len(given) == 1 and isinstance(given[0], torch.dtype)
    return given[0] if is_dtype else None


def is_linear(function: Any, tensors: int) -> bool:
    """Whether the gradient of a call depends on the values of none of its tensors.

    Parameters
    ----------
    function : callable
        One of `KINDS`.
    tensors : int
        How many it gets.
    """
    if KINDS[function] in {INTERPOLATE, RESIZE, REPEAT, PAD, JOIN, CAST, LAYOUT, AXES} or function in SUMS:
        return True
    return tensors == 1 and function in BINARY_FUNCTIONS
