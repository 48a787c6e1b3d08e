"""Calls of torch that can be made again: with other tensors, or without memory to see how a result is laid out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deconvbench.networks.fusion import calls

# what cannot hold a tensor
_ATOMS = frozenset({bool, int, float, str, type(None)})


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a tensor was."""

    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """A call of a function of torch, without its tensors.

    Parameters
    ----------
    function : callable
        Of torch.
    args, kwargs
        Its arguments, with a place in place of each tensor.
    autocast : tuple of (str, bool, torch.dtype)
        The device that autocast was asked about, whether it was on, and its dtype.
    """

    function: Callable[..., Any]
    args: Any
    kwargs: Any
    autocast: tuple[str, bool, torch.dtype]

    def run(self, tensors: Sequence[Tensor]) -> Tensor:
        """Make the call with other tensors, in the order of the first ones."""
        device, is_enabled, dtype = self.autocast
        with torch.autocast(device, dtype=dtype, enabled=is_enabled, cache_enabled=False):
            y: Tensor = self.function(*_fill(self.args, tensors), **_fill(self.kwargs, tensors))
        return y


def record_call(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], device: str
) -> tuple[RecordedCall, list[Tensor]]:
    """Record a call.

    Parameters
    ----------
    function, args, kwargs
        The call; its tensors may be in lists, tuples and dicts.
    device : str
        Type of the device whose autocast counts.

    Returns
    -------
    call : RecordedCall
        The call.
    tensors : list of Tensor
        What it does not hold.
    """
    tensors: list[Tensor] = []
    kept = _take(tuple(args), tensors), _take(dict(kwargs), tensors)
    autocast = (device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
    return RecordedCall(function=function, args=kept[0], kwargs=kept[1], autocast=autocast), tensors


def record_operation(
    function: Callable[..., Any], operands: int, options: Sequence[Any], device: str
) -> RecordedCall:
    """Record a call whose first arguments are its tensors.

    Parameters
    ----------
    function : callable
        Of torch.
    operands : int
        How many tensors.
    options : sequence
        What comes after them.
    device : str
        As for `record_call`.
    """
    autocast = (device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
    args = (*(_Slot(place) for place in range(operands)), *options)
    return RecordedCall(function=function, args=args, kwargs={}, autocast=autocast)


def _take(value: Any, tensors: list[Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors.append(value)
        return _Slot(len(tensors) - 1)
    if isinstance(value, dict):
        return {key: _take(item, tensors) if type(item) not in _ATOMS else item for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_take(item, tensors) if type(item) not in _ATOMS else item for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def _fill(value: Any, tensors: Sequence[Tensor]) -> Any:
    if isinstance(value, _Slot):
        return tensors[value.place]
    if isinstance(value, (list, tuple)):
        items = [_fill(item, tensors) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        return {key: _fill(item, tensors) for key, item in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class _Plain:
    """The layout of a tensor that exists."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    is_certain = True

    def trace(self) -> Tensor:
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device="meta")


@dataclass(frozen=True, slots=True)
class Layout:
    """How torch would lay out the result of calls in memory, found without computing them.

    Parameters
    ----------
    call : RecordedCall
        The last of them.
    inputs : tuple
        The layouts of its tensors.
    """

    call: RecordedCall
    inputs: tuple["Layout | _Plain", ...]

    def trace(self) -> Tensor:
        """Make the result, on the device without memory."""
        with torch.no_grad():
            return self.call.run([one.trace() for one in self.inputs])

    @property
    def is_certain(self) -> bool:
        """Whether the result is laid out on every device as it is on the one without memory.

        Some of torch's functions answer with the channels last in memory on some devices only.
        """
        call = calls.read_call(self.call.function, self.call.args, self.call.kwargs)
        is_pad = isinstance(call, calls.PadCall) and call.mode not in {"zeros", "constant"}
        return not (is_pad or isinstance(call, calls.ConvolveCall)) and all(one.is_certain for one in self.inputs)

    @property
    def is_first(self) -> bool:
        """Whether all that the call gets exists."""
        return all(isinstance(one, _Plain) for one in self.inputs)


def describe(tensor: Tensor) -> _Plain:
    """Describe the layout of a tensor that exists."""
    return _Plain(tuple(tensor.shape), tensor.stride(), tensor.dtype)
