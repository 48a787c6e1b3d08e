"""What runs in place of torch's own call of a module that is fused.

A fused module stays what it was: its class, ``forward``, parameters, hooks and name. The only difference is an
entry of its own under the name that ``nn.Module.__call__`` looks up, ``_call_impl``. No class is made, so that
``type(module)`` is the user's class and nothing that watches subclasses is called. What runs fast is decided anew
in every call.
"""

import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from deconvbench.networks.fusion.deconvolution import DeconvolutionMode
from deconvbench.networks.fusion.history import are_hooks_active
from deconvbench.networks.fusion.interception import Interceptor, may_intercept
from deconvbench.networks.fusion.originals import ENTRY, Entry, is_torch_own
from deconvbench.networks.fusion.reading import explain_code, list_forwards
from deconvbench.networks.fusion.session import Session
from deconvbench.networks.fusion.tensors import find_layout, find_numbers, find_tensors
from deconvbench.networks.fusion.weight_cache import WeightCache
from deconvbench.upsamplers.fast.dtypes import find_autocast_dtype
from deconvbench.upsamplers.fast.native.form import is_watched
from deconvbench.upsamplers.fast.recording import is_recorded

# more kinds of calls than these are not worth remembering
_MOST_CALLS = 64
_CALL = nn.Module._wrapped_call_impl.__code__


class Fused(Entry, ABC):
    """What all kinds have in common.

    It keeps what it learns in the module: ``weight_cache``, transformed weights that are kept between calls, and
    ``idle``, kinds of calls in which nothing was to be gained, so that they need no looking after.

    Parameters
    ----------
    module : nn.Module or None
        The module that is fused. It is not kept alive.
    max_memory : int or None
        Bytes that what it computes fast may hold, for which it works in row strips; None for no limit.
    """

    # of what was pickled before there were any
    max_memory: int | None = None

    def __init__(self, module: nn.Module | None, max_memory: int | None = None) -> None:
        self._find_owner = (lambda: None) if module is None else weakref.ref(module)
        self.max_memory = max_memory

    def __deepcopy__(self, memo: dict[int, Any]) -> "Fused":
        owner = self._find_owner()
        return type(self)(None if owner is None else memo.get(id(owner)), self.max_memory)

    def __reduce__(self) -> Any:
        owner = self._find_owner()
        # one that is rebuilt from its attributes, as a graph is, is not there yet
        is_rebuilt = owner is None or type(owner).__reduce__ is not object.__reduce__
        return (type(self), (None if is_rebuilt else owner, self.max_memory))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module."""
        module = self._find_owner()
        if not torch.compiler.is_compiling():
            # replicas, shallow copies and clones share entries; torch says who is called in its frame only
            frame = sys._getframe(1)
            if frame.f_code is _CALL:
                module = frame.f_locals["self"]
        if module is None:
            raise RuntimeError(f"the module of this {type(self).__name__} is gone: call the module, not its entry")
        return self.run(module, args, kwargs)

    @abstractmethod
    def run(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a module with its hooks, fast where that is exact."""


def find_fused(module: nn.Module) -> Fused | None:
    """Find how a module is fused, or None where it is not."""
    entry = vars(module).get(ENTRY)
    return entry if isinstance(entry, Fused) else None


def attach(
    module: nn.Module,
    kind: type[Fused],
    weight_cache: WeightCache | None = None,
    max_memory: int | None = None,
) -> None:
    """Fuse a module.

    Parameters
    ----------
    module : nn.Module
        Changed in place.
    kind : type
        One of the kinds.
    weight_cache : WeightCache or None
        Where transformed weights are kept, if they are.
    max_memory : int or None
        As of `Fused`.
    """
    vars(module)[ENTRY] = kind(module, max_memory)
    # only for printing
    vars(module)["_get_name"] = partial(str, f"Fused{type(module).__name__}")
    if weight_cache is not None:
        # by both of its names: it was called `kept` before
        vars(module)["weight_cache"] = vars(module)["kept"] = weight_cache


def detach(module: nn.Module) -> None:
    """Make a fused module what it was."""
    for name in (ENTRY, "_get_name", "weight_cache", "kept", "idle"):
        vars(module).pop(name, None)


def call_plainly(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call a module as torch does."""
    return type(module)._call_impl(module, *args, **kwargs)  # type: ignore[no-untyped-call] # torch has no types here


def find_weight_cache(module: nn.Module) -> WeightCache | None:
    """Find where transformed weights of a module are kept; training drops them."""
    weight_cache: WeightCache | None = vars(module).get("weight_cache")
    if weight_cache is None or torch.compiler.is_compiling():
        # what a compiler traces computes them anew
        return None
    if module.training:
        weight_cache.clear()
        return None
    return weight_cache


def describe_call(module: nn.Module, values: Sequence[Any]) -> Any:
    """Describe a call by all that decides whether anything is to be gained."""
    tensors = list(find_tensors(values))
    layouts = tuple(map(find_layout, tensors))
    # sizes are given as numbers too
    return (
        layouts,
        repr(find_numbers(values)),
        module.training,
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        *map(find_autocast_dtype, tensors),
    )


def is_idle(module: nn.Module, call: Any) -> bool:
    """Whether nothing was to be gained in such a call."""
    return call in vars(module).get("idle", ())


def note_idle(module: nn.Module, call: Any) -> None:
    """Remember that nothing was to be gained in such a call, unless it is watched, where forms are others."""
    if None in call[0] or is_watched():
        return
    idle = vars(module).setdefault("idle", set())
    if len(idle) >= _MOST_CALLS:
        idle.clear()
    idle.add(call)


class FusedScope(Fused):
    """A module whose forward pass is watched: upsamplings become fast with the convolutions after them."""

    _read: list[Any] | None = None

    def run(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the module's own forward pass, and its hooks."""
        if not is_torch_own() or not may_intercept(*args, *kwargs.values()):
            return call_plainly(module, args, kwargs)
        call = describe_call(module, (*args, *kwargs.values()))
        if is_idle(module, call) or self._would_notice(module):
            return call_plainly(module, args, kwargs)
        session = Session(find_weight_cache(module), max_memory=self.max_memory)
        with Interceptor(session):
            output = call_plainly(module, args, kwargs)
        if session.has_tried and not session.has_gained:
            note_idle(module, call)
        return session.close(output)

    def _would_notice(self, module: nn.Module) -> bool:
        """Whether any code of the module could tell an upsampled tensor that is not computed from one that is."""
        forwards = list_forwards(module)
        # it is read again when anything was replaced
        if forwards == self._read:
            return False
        if explain_code(module) is not None:
            return True
        self._read = forwards
        return False


class FusedConvTranspose2d(Fused):
    """A transposed convolution that runs in another form where that is faster."""

    def run(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Convolve."""
        values = (*args, *kwargs.values())
        call = None if is_recorded(*values) else describe_call(module, values)
        if call is None or is_idle(module, call) or not is_torch_own() or are_hooks_active():
            return call_plainly(module, args, kwargs)
        with DeconvolutionMode(find_weight_cache(module)) as mode:
            output = call_plainly(module, args, kwargs)
        if not mode.has_gained:
            note_idle(module, call)
        return output
