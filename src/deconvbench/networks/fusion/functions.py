"""Functions of torch by what they do to the pixels of an image: each alone, two images pixel by pixel, in place.

Names only: what a call makes of its arguments is said in `calls` and `rules`.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_BUILTINS: Any = torch._C._nn


def pick(owner: Any, names: str) -> list[Any]:
    """Look up attributes by their names."""
    return [getattr(owner, name) for name in names.split()]


# what networks have between their layers
ACTIVATIONS: tuple[Callable[..., Any], ...] = (
    *pick(functional, "relu relu6 leaky_relu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh"),
    *pick(functional, "softplus tanh sigmoid"),
    *pick(torch, "relu sigmoid tanh"),
    *pick(Tensor, "relu sigmoid tanh"),
)
# each pixel alone, whatever the others are, so that they may as well act before the upsampling
POINTWISE_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    *ACTIVATIONS,
    *pick(functional, "softsign tanhshrink hardshrink softshrink"),
    *pick(torch, "selu celu abs neg exp log sqrt rsqrt square sin cos erf reciprocal"),
    *pick(Tensor, "abs neg exp log sqrt rsqrt square sin cos erf reciprocal __neg__"),
    operator.neg,
)
# each pixel alone too, with a number
NUMBER_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    *pick(torch, "pow clamp clamp_min clamp_max clip"),
    *pick(Tensor, "pow clamp clamp_min clamp_max clip __pow__ __rtruediv__"),
    operator.pow,
)

_SUM_NAMES, _PRODUCT_NAMES = ("add", "sub"), ("mul", "div")
SUMS = frozenset(
    [
        *(getattr(owner, name) for owner in (torch, Tensor) for name in _SUM_NAMES),
        *pick(Tensor, "__add__ __radd__ __sub__ __rsub__"),
        *pick(operator, "add sub"),
    ]
)

# functions of two operands, either of which may be the image, or both
BINARY_FUNCTIONS = frozenset(
    [
        *SUMS,
        *(getattr(owner, name) for owner in (torch, Tensor) for name in _PRODUCT_NAMES),
        *pick(Tensor, "__mul__ __rmul__ __truediv__"),
        *pick(operator, "mul truediv"),
    ]
)


def _list_inplace() -> Iterator[tuple[Any, Any]]:
    """List functions that write into their first argument, each with the one that answers with a new tensor."""
    for owner in (torch, Tensor):
        for name in [
            "relu",
            "sigmoid",
            "tanh",
            "selu",
            "celu",
            "abs",
            "neg",
            "exp",
            "log",
            "sqrt",
            "rsqrt",
            "square",
            "sin",
            "cos",
            "erf",
            "clamp",
        ]:
            if hasattr(owner, f"{name}_"):
                yield getattr(owner, f"{name}_"), getattr(owner, name, getattr(functional, name, None))
    for name in ("elu", "leaky_relu", "hardtanh"):
        yield getattr(_BUILTINS, f"{name}_"), getattr(functional, name)
    for name in (*_SUM_NAMES, *_PRODUCT_NAMES):
        yield getattr(Tensor, f"{name}_"), getattr(Tensor, name)
        # as a compiler writes them down
        yield getattr(operator, f"i{name.replace('div', 'truediv')}"), getattr(Tensor, name)


INPLACE: Mapping[Any, Callable[..., Any]] = dict(_list_inplace())


def _list_resizing(*names: str) -> tuple[Any, ...]:
    packets = [getattr(torch.ops.aten, name) for name in names]
    overloads = [getattr(packet, name) for packet in packets for name in ("default", "vec")]
    return (*packets, *overloads, *(getattr(_BUILTINS, name) for name in names))


# nearest-neighbour resizing beneath `torch.nn.functional`
ATEN_RESIZING = _list_resizing("upsample_nearest2d", "_upsample_nearest_exact2d")
