"""Which functions of torch leave their arguments unchanged, and which of their results share memory with one.

The lists are of known functions: an unknown one may do anything.
"""

import inspect
import operator
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.calls import AXES_FUNCTIONS, DROP, KINDS, POINTWISE
from deconvbench.networks.fusion.functions import (
    ATEN_RESIZING,
    BINARY_FUNCTIONS,
    INPLACE,
    NUMBER_FUNCTIONS,
    POINTWISE_FUNCTIONS,
    pick,
)

# answered by shape and type alone
METADATA = frozenset(
    [
        *(
            descriptor.__get__
            for descriptor in pick(
                Tensor, "shape dtype device ndim layout requires_grad is_leaf is_cuda is_cpu is_quantized"
            )
        ),
        *pick(Tensor, "size dim numel nelement ndimension get_device element_size __len__"),
        *pick(Tensor, "is_floating_point is_complex"),
        *pick(torch, "is_floating_point is_complex numel"),
    ]
)

# answered by the order in memory
LAYOUT_QUERIES = frozenset(pick(Tensor, "stride is_contiguous storage_offset"))

# answered by the place in the graph of gradients; what is answered may be kept
PLACE_QUERIES = frozenset(
    [
        *pick(Tensor, "register_hook retain_grad"),
        *(
            descriptor.__get__
            for descriptor in pick(Tensor, "grad grad_fn output_nr retains_grad _backward_hooks")
        ),
    ]
)

# functions that hand memory to code outside torch
HANDLES = frozenset(
    [
        *pick(Tensor, "numpy __array__ __dlpack__ data_ptr untyped_storage storage _typed_storage"),
        Tensor.__cuda_array_interface__.__get__,
    ]
)

# functions that write to no argument and whose result shares no memory with one
_PURE = frozenset(
    [
        *METADATA,
        *POINTWISE_FUNCTIONS,
        *NUMBER_FUNCTIONS,
        *BINARY_FUNCTIONS,
        *ATEN_RESIZING,
        torch.repeat_interleave,
        *pick(torch, "cat concat concatenate stack add sub mul div pow neg matmul bmm where clamp"),
        *pick(torch, "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"),
        *pick(
            torch, "mean sum amax amin max min std var norm abs exp log sqrt rsqrt equal allclose isnan isfinite"
        ),
        *pick(torch, "zeros_like ones_like empty_like full_like rand_like randn_like"),
        *pick(functional, "interpolate pad linear batch_norm group_norm layer_norm instance_norm"),
        *pick(functional, "prelu max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d normalize softmax"),
        *pick(functional, "scaled_dot_product_attention pixel_shuffle"),
        torch._C._nn.pad,
        *pick(Tensor, "__add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __neg__"),
        *pick(Tensor, "__pow__ __matmul__ __repr__ add sub mul div pow neg abs mean sum amax amin std var norm"),
        *pick(
            Tensor, "__rtruediv__ __rpow__ __lt__ __le__ __gt__ __ge__ __eq__ __ne__ __bool__ __float__ __int__"
        ),
        *pick(Tensor, "exp log sqrt rsqrt square clamp min max argmax argmin any all isnan isfinite matmul bmm"),
        *pick(Tensor, "softmax log_softmax cumsum prod repeat repeat_interleave masked_fill"),
        *pick(Tensor, "new_zeros new_ones new_empty new_full new_tensor item tolist clone"),
        *pick(torch, "lt le gt ge eq ne logical_and logical_or maximum minimum square prod cumsum argmax argmin"),
        *pick(torch, "any all softmax log_softmax clone rand randn zeros ones empty full arange linspace tensor"),
        *pick(functional, "linear mse_loss l1_loss smooth_l1_loss cross_entropy logsigmoid softsign"),
        *pick(functional, "grid_sample avg_pool2d cosine_similarity log_softmax one_hot embedding"),
        *pick(operator, "add sub mul truediv floordiv pow neg matmul"),
    ]
)

# functions that write to no argument, though their result may share its memory
_HARMLESS = frozenset(
    [
        *pick(functional, "dropout dropout2d alpha_dropout"),
        *pick(
            torch, "chunk split permute flatten detach einsum unbind squeeze unsqueeze reshape transpose narrow"
        ),
        *AXES_FUNCTIONS,
        *PLACE_QUERIES,
        *LAYOUT_QUERIES,
        *pick(
            Tensor,
            "to type_as float half double bfloat16 contiguous view reshape permute transpose flatten unsqueeze",
        ),
        *pick(Tensor, "squeeze chunk split detach expand __getitem__ unbind narrow"),
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
    """Whether a call writes to none of its arguments, and gives no memory to others than torch.

    Parameters
    ----------
    function : callable
        Any function of torch; what is not known does not count as harmless.
    args, kwargs
        Its arguments.
    """
    return (function in _PURE or function in _HARMLESS) and not _writes(function, args, kwargs)


def split_inplace(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any, Sequence[Any], Mapping[str, Any], bool]:
    """Split a call into one that writes to no argument, and whether it was to write into the first.

    Parameters
    ----------
    function : callable
        Any function of torch.
    args, kwargs
        Its arguments.
    """
    if function in INPLACE:
        return INPLACE[function], args, kwargs, True
    place = _find_place(function) if KINDS.get(function) in {POINTWISE, DROP} else None
    if place is None:
        return function, args, kwargs, False
    if len(args) > place:
        return function, (*args[:place], False, *args[place + 1 :]), kwargs, bool(args[place])
    if "inplace" not in kwargs:
        return function, args, kwargs, False
    rest = {name: value for name, value in kwargs.items() if name != "inplace"}
    return function, args, rest, bool(kwargs["inplace"])


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
