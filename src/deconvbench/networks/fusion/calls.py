"""Calls of torch functions as plain data: what is upsampled, padded, joined and convolved.

The one place that knows how torch names its functions and which of them leave their arguments unchanged. The list
is of known functions: an unknown one may do anything.
"""

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
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

_INTERPOLATE_NAMES = (
    *("input", "size", "scale_factor", "mode", "align_corners"),
    *("recompute_scale_factor", "antialias"),
)
_CONVOLVE_NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


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


def _bind(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    if len(args) > len(names):
        return None
    bound = {**dict(zip(names, args, strict=False)), **kwargs}
    return bound if set(bound) <= set(names) and names[0] in bound else None


def _read_upsample(args: Sequence[Any], kwargs: Mapping[str, Any]) -> UpsampleCall | None:
    bound = _bind(_INTERPOLATE_NAMES, args, kwargs)
    if bound is None:
        return None
    mode = bound.get("mode", "nearest")
    if mode in NEAREST and (bound.get("antialias") or bound.get("align_corners") is not None):
        # torch raises
        return None
    return UpsampleCall(
        image=bound["input"], size=bound.get("size"), scale_factor=bound.get("scale_factor"), mode=mode
    )


def _read_convolve(args: Sequence[Any], kwargs: Mapping[str, Any]) -> ConvolveCall | None:
    bound = _bind(_CONVOLVE_NAMES, args, kwargs)
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
    bound = _bind(("input", "pad", "mode", "value"), args, kwargs)
    if bound is None or not isinstance(bound.get("pad"), (tuple, list)):
        return None
    mode = bound.get("mode", "constant")
    if mode == "constant" and not bound.get("value"):
        mode = "zeros"
    return PadCall(image=bound["input"], amounts=tuple(bound["pad"]), mode=mode)


def _read_join(args: Sequence[Any], kwargs: Mapping[str, Any]) -> JoinCall | None:
    bound = _bind(("tensors", "dim"), args, kwargs)
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


def _pick(owner: Any, names: str) -> list[Any]:
    return [getattr(owner, name) for name in names.split()]


# answered by shape and type alone
METADATA = frozenset(
    [
        *(
            descriptor.__get__
            for descriptor in _pick(
                Tensor, "shape dtype device ndim layout requires_grad is_leaf is_cuda is_cpu is_quantized"
            )
        ),
        *_pick(Tensor, "size dim numel nelement ndimension get_device element_size __len__"),
        *_pick(Tensor, "is_floating_point is_complex"),
        *_pick(torch, "is_floating_point is_complex numel"),
    ]
)

# answered by the order in memory
LAYOUT_QUERIES = frozenset(_pick(Tensor, "stride is_contiguous storage_offset"))

# answered by the place in the graph of gradients; what is answered may be kept
PLACE_QUERIES = frozenset(
    [
        *_pick(Tensor, "register_hook retain_grad"),
        *(
            descriptor.__get__
            for descriptor in _pick(Tensor, "grad grad_fn output_nr retains_grad _backward_hooks")
        ),
    ]
)

# functions that write to no argument and whose result shares no memory with one
_PURE = frozenset(
    [
        *METADATA,
        *POINTWISE_FUNCTIONS,
        *_pick(torch, "cat concat concatenate stack add sub mul div pow neg matmul bmm where clamp"),
        *_pick(torch, "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"),
        *_pick(
            torch, "mean sum amax amin max min std var norm abs exp log sqrt rsqrt equal allclose isnan isfinite"
        ),
        *_pick(torch, "zeros_like ones_like empty_like full_like rand_like randn_like"),
        *_pick(functional, "interpolate pad linear batch_norm group_norm layer_norm instance_norm"),
        *_pick(
            functional, "prelu max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d normalize softmax"
        ),
        *_pick(functional, "scaled_dot_product_attention pixel_shuffle"),
        torch._C._nn.pad,
        *_pick(Tensor, "__add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __neg__"),
        *_pick(Tensor, "__pow__ __matmul__ __repr__ add sub mul div pow neg abs mean sum amax amin std var norm"),
        *_pick(
            Tensor, "__rtruediv__ __rpow__ __lt__ __le__ __gt__ __ge__ __eq__ __ne__ __bool__ __float__ __int__"
        ),
        *_pick(Tensor, "exp log sqrt rsqrt square clamp min max argmax argmin any all isnan isfinite matmul bmm"),
        *_pick(Tensor, "softmax log_softmax cumsum prod repeat repeat_interleave masked_fill"),
        *_pick(Tensor, "new_zeros new_ones new_empty new_full new_tensor item tolist clone"),
        *_pick(torch, "lt le gt ge eq ne logical_and logical_or maximum minimum square prod cumsum argmax argmin"),
        *_pick(torch, "any all softmax log_softmax clone rand randn zeros ones empty full arange linspace tensor"),
        *_pick(functional, "linear mse_loss l1_loss smooth_l1_loss cross_entropy logsigmoid softsign"),
        *_pick(functional, "grid_sample avg_pool2d cosine_similarity log_softmax one_hot embedding"),
        *_pick(operator, "add sub mul truediv floordiv pow neg matmul"),
    ]
)

# functions that write to no argument, though their result may share its memory
_HARMLESS = frozenset(
    [
        *_pick(functional, "dropout dropout2d alpha_dropout"),
        *_pick(
            torch, "chunk split permute flatten detach einsum unbind squeeze unsqueeze reshape transpose narrow"
        ),
        *PLACE_QUERIES,
        *LAYOUT_QUERIES,
        *_pick(
            Tensor, "to float half double bfloat16 contiguous view reshape permute transpose flatten unsqueeze"
        ),
        *_pick(Tensor, "squeeze chunk split detach expand __getitem__ unbind narrow"),
        operator.getitem,
    ]
)


def is_pure(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call writes to none of its arguments and gives none of their memory away.

    Parameters
    ----------
    function : callable
        Any function of torch; what is not known does not count as pure.
    args, kwargs
        Its arguments.
    """
    return function in _PURE and not _writes(function, args, kwargs)


def is_harmless(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call writes to none of its arguments, and what it returns is written to by functions of torch alone.

    Parameters
    ----------
    function : callable
        Any function of torch; what is not known does not count as harmless.
    args, kwargs
        Its arguments.
    """
    return (function in _PURE or function in _HARMLESS) and not _writes(function, args, kwargs)


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


def split_inplace(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any], bool]:
    """Split a call into one that writes to no argument, and whether it was to write into the first.

    Parameters
    ----------
    function : callable
        Any function of torch.
    args, kwargs
        Its arguments.
    """
    place = _find_place(function) if KINDS.get(function) in {POINTWISE, DROP} else None
    if place is None:
        return args, kwargs, False
    if len(args) > place:
        return (*args[:place], False, *args[place + 1 :]), kwargs, bool(args[place])
    if "inplace" not in kwargs:
        return args, kwargs, False
    return args, {name: value for name, value in kwargs.items() if name != "inplace"}, bool(kwargs["inplace"])


def _writes(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    place = _find_place(function)
    is_inplace = kwargs.get("inplace") or (place is not None and any(args[place : place + 1]))
    return bool(is_inplace) or kwargs.get("out") is not None


@cache
def _find_place(function: Any) -> int | None:
    """Find where a function takes the flag for working in place."""
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:
        # written in C
        return None
    return names.index("inplace") if "inplace" in names else None
