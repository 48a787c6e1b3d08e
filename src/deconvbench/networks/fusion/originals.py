"""Whether what a fast path does not call is still torch's own: asked in every call, for others may change it.

Methods and functions are replaced on instances, on classes and in torch itself, for as long as others like, and
hooks come and go. What was replaced has to run, so there is no fast path while anything is.
"""

from collections.abc import Callable
from operator import attrgetter, itemgetter
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import _has_any_global_hook

_FOLDER = str(Path(torch.__file__).parent)
# what a call of a module runs, and may be replaced on the instance
_METHODS = frozenset(
    ["forward", "_conv_forward", "_output_padding", "_wrapped_call_impl", "_slow_forward", "_compiled_call_impl"]
)
_CLASS_METHODS = ("__call__", "_wrapped_call_impl", "_call_impl", "forward", "__getattr__")
# what the fast forms call, and the modules that a container may pass over
_TORCH = (
    *("conv1d", "conv2d", "cat", "narrow", "add", "sub", "mm", "bmm", "addmm", "baddbmm", "matmul", "unflatten"),
    *("relu", "sigmoid", "tanh"),
)
_FUNCTIONAL = (
    *("interpolate", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "pad", "pixel_shuffle", "relu"),
    *("relu6", "leaky_relu", "elu"),
    *(
        "selu",
        "celu",
        "gelu",
        "silu",
        "mish",
        "hardswish",
        "hardsigmoid",
        "hardtanh",
        "softplus",
        "sigmoid",
        "tanh",
    ),
)
_PLAIN = (Tensor, nn.Parameter)

# the name that ``nn.Module.__call__`` looks up
ENTRY = "_call_impl"


class Entry:
    """What a fused module has under the name `ENTRY`; anything else there is somebody else's."""


def is_code_of_torch(function: FunctionType) -> bool:
    """Whether a function is written in torch: its name and module may be copied from another."""
    return function.__code__.co_filename.startswith(_FOLDER)


class _Verified:
    """Functions that were found to be torch's own, so that the next time it is enough to compare them."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read
        self._found: Any = None

    def __call__(self) -> bool:
        found = self._read()
        # each is first compared by identity
        if found == self._found:
            return True
        if not all(_is_own(value) for values in found for value in values):
            return False
        self._found = found
        return True


def _is_own(value: Any) -> bool:
    if not callable(value) or isinstance(value, type):
        return True
    if isinstance(value, FunctionType):
        return is_code_of_torch(value)
    # a partial function, or any other object that can be called, is somebody's; typing's special forms are not
    return isinstance(value, BuiltinFunctionType) or type(value).__module__ == "typing"


_pick_torch, _pick_functional = itemgetter(*_TORCH), itemgetter(*_FUNCTIONAL)
_are_forms_own = _Verified(lambda: (_pick_torch(vars(torch)), _pick_functional(vars(functional))))
_is_functional_own = _Verified(lambda: (list(vars(functional).values()),))
_are_methods_own: dict[type, _Verified] = {}


def are_forms_own() -> bool:
    """Whether the functions that the fast forms call, and those that they stand for, are torch's own."""
    return _are_forms_own()


def is_torch_own() -> bool:
    """Whether all of ``torch.nn.functional`` is torch's own too: a replaced function would run twice in a mode."""
    return _are_forms_own() and _is_functional_own()


def is_class_own(cls: type[nn.Module]) -> bool:
    """Whether the methods that a call of a module of this class runs are torch's own.

    Parameters
    ----------
    cls : type
        Any; one of somebody else's counts as long as it overrides none of them.
    """
    are_own = _are_methods_own.get(cls)
    if are_own is None:
        names = [*_CLASS_METHODS, *(name for name in ("_conv_forward", "_output_padding") if hasattr(cls, name))]
        pick = attrgetter(*names)
        are_own = _Verified(lambda: (pick(cls),))
        if cls.__module__.startswith("torch."):
            # classes of others may be many
            _are_methods_own[cls] = are_own
    return are_own()


def is_touched(module: nn.Module) -> bool:
    """Whether the calls of a module are watched by hooks of its own, or run something of the instance's.

    Parameters
    ----------
    module : nn.Module
        Any.
    """
    own = vars(module)
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or not _METHODS.isdisjoint(own)
        or not (ENTRY not in own or isinstance(own[ENTRY], Entry))
    )


# what a compiler traces is what it is at that time, as it is for torch's own modules
for _function in (are_forms_own, is_torch_own, is_class_own):
    # as torch.compiler.assume_constant_result does, which imports the compiler
    vars(_function)["_dynamo_marked_constant"] = True


def is_call_own(module: nn.Module) -> bool:
    """Whether a call of a module runs nothing but torch's own methods.

    Parameters
    ----------
    module : nn.Module
        Any.
    """
    return is_class_own(type(module)) and not is_touched(module)


def are_calls_own() -> bool:
    """Whether nobody watches the calls of all modules, or replaces the functions of torch that they come to."""
    return not _has_any_global_hook() and are_forms_own()  # type: ignore[no-untyped-call] # torch has no types here


def is_plain_weight(value: Any) -> bool:
    """Whether something is a tensor of torch's own class, or None, and not one that runs code of its own."""
    return value is None or type(value) in _PLAIN
