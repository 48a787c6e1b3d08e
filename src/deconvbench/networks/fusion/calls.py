"""Calls of torch functions as plain data: what is upsampled, padded, joined and convolved.

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

# modes of interpolation that repeat pixels
NEAREST = ("nearest", "nearest-exact")

# of images that are upsampled
DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})

# functions of each pixel alone, so that they may as well act before the upsampling
POINTWISE_FUNCTIONS = (
    functional.relu,
    functional.relu6,
    functional.leaky_relu,
    functional.elu,
    functional.selu,
    functional.celu,
    functional.gelu,
    functional.silu,
    functional.mish,
    functional.hardswish,
    functional.hardsigmoid,
    functional.hardtanh,
    functional.softplus,
    functional.tanh,
    functional.sigmoid,
    torch.relu,
    torch.sigmoid,
    torch.tanh,
    Tensor.relu,
    Tensor.sigmoid,
    Tensor.tanh,
)

# functions of two operands, either of which may be the image
BINARY_FUNCTIONS = frozenset(
    [
        *(getattr(owner, name) for owner in (torch, Tensor) for name in ("add", "sub", "mul", "div")),
        *(Tensor.__add__, Tensor.__radd__, Tensor.__sub__, Tensor.__rsub__),
        *(Tensor.__mul__, Tensor.__rmul__, Tensor.__truediv__),
        *(operator.add, operator.sub, operator.mul, operator.truediv),
    ]
)

_SUMS = frozenset(
    [
        *(getattr(owner, name) for owner in (torch, Tensor) for name in ("add", "sub")),
        *(Tensor.__add__, Tensor.__radd__, Tensor.__sub__, Tensor.__rsub__, operator.add, operator.sub),
    ]
)

KINDS: Mapping[Any, str] = {
    functional.interpolate: INTERPOLATE,
    functional.pad: PAD,
    # what a compiler's graph has in its place
    torch._C._nn.pad: PAD,
    torch.cat: JOIN,
    torch.concat: JOIN,
    torch.concatenate: JOIN,
    torch.conv2d: CONVOLVE,
    **dict.fromkeys(POINTWISE_FUNCTIONS, POINTWISE),
    **dict.fromkeys((*BINARY_FUNCTIONS, functional.prelu, functional.batch_norm), CHANNELWISE),
    **dict.fromkeys((Tensor.to, Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16), CAST),
    Tensor.contiguous: LAYOUT,
    **dict.fromkeys((functional.dropout, functional.dropout2d, functional.alpha_dropout), DROP),
}

INTERPOLATE_NAMES = (
    *("input", "size", "scale_factor", "mode", "align_corners"),
    *("recompute_scale_factor", "antialias"),
)
CONVOLVE_NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsampleCall:
    """A call of ``interpolate``.

    Parameters
    ----------
    image : Any
        What is upsampled.
    size, scale_factor : Any
        As they were given.
    mode : Any
        As it was given.
    """

    image: Any
    size: Any
    scale_factor: Any
    mode: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolveCall:
    """A call of ``conv2d``.

    Parameters
    ----------
    image, weight, bias : Any
        Its operands.
    stride, dilation : tuple of int
        As pairs.
    padding : tuple of int or str
        As a pair, or ``same`` or ``valid``.
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


Call = UpsampleCall | ConvolveCall | PadCall | JoinCall


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


def _read_convolve(args: Sequence[Any], kwargs: Mapping[str, Any]) -> ConvolveCall | None:
    bound = bind_arguments(CONVOLVE_NAMES, args, kwargs)
    if bound is None or "weight" not in bound:
        return None
    padding = bound.get("padding", 0)
    return ConvolveCall(
        image=bound["input"],
        weight=bound["weight"],
        bias=bound.get("bias"),
        stride=make_pair(bound.get("stride", 1)),
        padding=padding if isinstance(padding, str) else make_pair(padding),
        dilation=make_pair(bound.get("dilation", 1)),
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
    CONVOLVE: _read_convolve,
    PAD: _read_pad,
    JOIN: _read_join,
}


def make_pair(value: Any) -> tuple[Any, ...]:
    """Write a number as a pair, and a sequence as a tuple."""
    if isinstance(value, (tuple, list)):
        return tuple(value) * (2 if len(value) == 1 else 1)
    return (value, value)


def read_cast(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.dtype | None:
    """Read to which dtype a call converts, or None if it may do anything else."""
    named = {
        Tensor.float: torch.float32,
        Tensor.double: torch.float64,
        Tensor.half: torch.float16,
        Tensor.bfloat16: torch.bfloat16,
    }
    given = (*args, *kwargs.values())
    if function in named:
        return None if given else named[function]
    if len(given) == 1 and isinstance(given[0], torch.dtype) and set(kwargs) <= {"dtype"}:
        return given[0]
    return None


def is_linear(function: Any, tensors: int) -> bool:
    """Whether the gradient of a call depends on the values of none of its tensors.

    Parameters
    ----------
    function : callable
        One of `KINDS`.
    tensors : int
        How many it gets.
    """
    if KINDS[function] in {INTERPOLATE, PAD, JOIN, CAST, LAYOUT} or function in _SUMS:
        return True
    return tensors == 1 and function in BINARY_FUNCTIONS
