"""The share of a network's time that its upsampling takes: what bounds how much faster `fuse` can make it."""

import time
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from deconvbench.measure.blocks import NS, Clock

_TRANSPOSED = frozenset({torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d})
_CONVOLUTIONS = frozenset({torch.conv2d, torch.conv3d})
_NEAREST = frozenset({"nearest", "nearest-exact"})


class UpsamplingClock(TorchFunctionMode):
    """Adds up the time of upsampling while it is entered, forward and backward.

    Counted are nearest-neighbour upsampling, joining what was upsampled with other maps, certain convolutions, and
    all transposed convolutions.

    Parameters
    ----------
    weights : collection of Tensor
        Of the convolutions that count.
    clock : callable
        Returns nanoseconds.

    Attributes
    ----------
    seconds : float
        So far.
    """

    def __init__(self, weights: Collection[Tensor], clock: Clock = time.perf_counter_ns) -> None:
        super().__init__()
        self._weights = {id(weight) for weight in weights}
        self._clock = clock
        self._started = 0
        self._upsampled: list[weakref.ref[Tensor]] = []
        self.seconds = 0.0

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if not self._is_counted(func, args, named):
            return func(*args, **named)
        self._start()
        y: Tensor = func(*args, **named)
        self._stop()
        if func is functional.interpolate:
            self._upsampled.append(weakref.ref(y))
        if y.grad_fn is not None:
            y.grad_fn.register_prehook(self._start)
            y.grad_fn.register_hook(self._stop)
        return y

    def _is_counted(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        if function is functional.interpolate:
            return kwargs.get("mode", args[3] if len(args) > 3 else "nearest") in _NEAREST
        if function in _CONVOLUTIONS:
            return id(kwargs.get("weight", args[1] if len(args) > 1 else None)) in self._weights
        if function is torch.cat:
            return any(reference() is image for reference in self._upsampled for image in args[0])
        return function in _TRANSPOSED

    def _start(self, *_: Any) -> None:
        self._started = self._clock()

    def _stop(self, *_: Any) -> None:
        self.seconds += (self._clock() - self._started) * NS


def measure_share(
    step: Callable[[], object],
    weights: Collection[Tensor],
    *,
    least_s: float = 1.0,
    clock: Clock = time.perf_counter_ns,
) -> float:
    """Measure the share of a step that upsampling takes.

    Parameters
    ----------
    step : callable
        Of the network as it was; called before, for what it sets up.
    weights : collection of Tensor
        Of the convolutions that follow an upsampling.
    least_s : float
        Seconds that it is called for, at least once.
    clock : callable
        Returns nanoseconds.

    Returns
    -------
    float
        Between 0 and 1. Were all of that free, the network would be 1/(1 − share) times as fast.
    """
    counted = UpsamplingClock(weights, clock)
    started = clock()
    while True:
        with counted:
            step()
        total_s = (clock() - started) * NS
        if total_s >= least_s:
            return counted.seconds / total_s
