"""Which functions of torch leave their arguments alone: a list of the known, for the unknown counts as anything.

Knows names only; runs nothing.
"""

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.calls import POINTWISE_FUNCTIONS


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

# functions that write to no argument and whose result shares no memory with one
_PURE = frozenset(
    [
        *METADATA,
        *POINTWISE_FUNCTIONS,
        *_pick(torch, "cat concat concatenate stack add sub mul div pow neg matmul bmm einsum where clamp"),
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
        *_pick(Tensor, "item tolist clone"),
        *_pick(operator, "add sub mul truediv floordiv pow neg matmul"),
    ]
)

# functions that write to no argument, though their result may share its memory
_VIEWS = frozenset(
    [
        *_pick(functional, "dropout dropout2d alpha_dropout"),
        *_pick(torch, "chunk split permute flatten detach"),
        *_pick(
            Tensor, "to float half double bfloat16 contiguous view reshape permute transpose flatten unsqueeze"
        ),
        *_pick(Tensor, "squeeze chunk split detach expand __getitem__ is_contiguous stride"),
        operator.getitem,
    ]
)


def is_pure(function: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether a call writes to none of its arguments and gives none of their memory away.

    Parameters
    ----------
    function : callable
        Any function of torch; what is not known does not count as pure.
    kwargs
        Its arguments by name.
    """
    return function in _PURE and not kwargs.get("inplace") and kwargs.get("out") is None


def is_harmless(function: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether a call writes to none of its arguments.

    Parameters
    ----------
    function : callable
        Any function of torch; what is not known does not count as harmless.
    kwargs
        Its arguments by name.
    """
    return (function in _PURE or function in _VIEWS) and not kwargs.get("inplace") and kwargs.get("out") is None
