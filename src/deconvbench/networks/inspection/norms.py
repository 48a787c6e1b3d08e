"""Norms over the pixels of an image, with the statistics of another run.

An instance norm divides by the deviation of a map, and what ripple adds to that is part of it: without the ripple
everything else would grow. So a run with equal gains is normalised as the run without was.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from deconvbench.networks.frames import FrameStack
from deconvbench.networks.fusion.calls import bind_arguments
from deconvbench.networks.inspection.tracing import Place, Watcher

Statistics = dict[Place, list[tuple[Tensor, Tensor]]]

_NAMES: Mapping[str, Sequence[str]] = {
    "instance_norm": (
        *("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"),
    ),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
}


class NormRecorder(Watcher):
    """Notes mean and variance of what norms over pixels are given.

    Attributes
    ----------
    statistics : dict
        For each place a mean and a variance (N, groups) of each call.
    """

    def __init__(self, stack: FrameStack) -> None:
        super().__init__(stack)
        self.statistics: Statistics = {}

    def watch(self, function: Any, place: Place, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note a norm."""
        bound = _bind(place, args, kwargs)
        if bound is not None:
            variance, mean = torch.var_mean(_split(bound), -1, correction=0)
            self.statistics.setdefault(place, []).append((mean, variance))
        return function(*args, **kwargs)


class NormReplayer(Watcher):
    """Normalises with noted statistics, as long as they go with what is given.

    Parameters
    ----------
    stack : FrameStack
        Follows the model.
    statistics : dict
        As noted.
    """

    def __init__(self, stack: FrameStack, statistics: Statistics) -> None:
        super().__init__(stack)
        self._left = {place: list(noted) for place, noted in statistics.items()}

    def watch(self, function: Any, place: Place, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer a norm."""
        bound, noted = _bind(place, args, kwargs), self._left.get(place)
        if bound is None or not noted:
            return function(*args, **kwargs)
        groups = _split(bound)
        mean, variance = noted.pop(0)
        if mean.shape != groups.shape[:2]:
            return function(*args, **kwargs)
        x: Tensor = bound["input"]
        # each channel times a number and moved: one pass over the map
        deviation = (variance + bound.get("eps", 1e-5)).sqrt()
        size = x.shape[1] // mean.shape[1]
        scale, shift = (one.repeat_interleave(size, 1) for one in (1 / deviation, -mean / deviation))
        weight, bias = bound.get("weight"), bound.get("bias")
        if weight is not None:
            scale, shift = scale * weight, shift * weight
        shift = shift if bias is None else shift + bias
        shape = (*scale.shape, *(1 for _ in x.shape[2:]))
        y: Tensor = torch.addcmul(shift.reshape(shape), x, scale.reshape(shape))
        return y


def _bind(place: Place, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Name the arguments of a norm over pixels; None for everything else."""
    names = _NAMES.get(place.name)
    bound = None if names is None else bind_arguments(names, args, kwargs)
    if bound is None or not isinstance(bound["input"], Tensor) or bound["input"].ndim < 3:
        return None
    return bound if bound.get("use_input_stats", True) else None


def _split(bound: Mapping[str, Any]) -> Tensor:
    """Values (N, groups, ...) that are normalised together."""
    x: Tensor = bound["input"]
    groups = bound.get("num_groups", x.shape[1])
    return x.reshape(len(x), groups, -1)
