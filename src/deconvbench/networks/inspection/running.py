"""Runs of a model that change or measure something at its sites, and leave the model alone.

Nothing of the model is written to: what a function answers is changed, in that run only.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.errors import DeconvbenchError, UsageError, describe_failure
from deconvbench.networks.frames import FrameStack
from deconvbench.networks.fusion.observation import copy_input, find_tensors, split_input
from deconvbench.networks.inspection.norms import NormRecorder, NormReplayer, Statistics
from deconvbench.networks.inspection.sites import TracedSite, read_scale
from deconvbench.networks.inspection.tracing import Place, Tracer, Watcher, bind
from deconvbench.networks.inspection.weights import find_excess, level_phases, read_gains
from deconvbench.records.sites import RESIZE_CONVOLUTION

_SEED = 0
# of a map, along each axis; of a sequence
_REGIONS, _MOST_REGIONS = 8, 64


class Runner:
    """Runs one model, each time from the same random state.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode; whoever calls puts its state back.
    stack : FrameStack
        Follows it.
    """

    def __init__(self, model: nn.Module, stack: FrameStack) -> None:
        self._model = model
        self._stack = stack

    def run(self, example: Any, *watchers: Watcher) -> list[Tensor]:
        """Run the model.

        Parameters
        ----------
        example : Any
            Its arguments, as of `audit`.
        *watchers : Watcher
            See every call, each what the ones after it make of it.

        Returns
        -------
        list of Tensor
            Of its output.

        Raises
        ------
        UsageError
            If it raises; in one line.
        """
        args, kwargs = split_input(copy_input(example))
        torch.manual_seed(_SEED)
        try:
            with torch.no_grad(), ExitStack() as stack:
                for watcher in watchers:
                    stack.enter_context(watcher)
                output = self._model(*args, **kwargs)
        except DeconvbenchError:
            raise
        except Exception as error:
            raise UsageError(f"model: raised {describe_failure(error)}") from error
        for watcher in watchers:
            if isinstance(watcher, Tracer):
                watcher.finish(output)
        return list(find_tensors(output))

    def equalise(self, sites: Sequence[TracedSite]) -> "Equaliser":
        """Make what runs the model with equal phase gains at some sites."""
        return Equaliser(self._stack, sites)

    def record(self) -> NormRecorder:
        """Make what notes the statistics of norms."""
        return NormRecorder(self._stack)

    def replay(self, statistics: Statistics) -> NormReplayer:
        """Make what normalises with noted statistics."""
        return NormReplayer(self._stack, statistics)

    def collect(self, sites: Sequence[TracedSite]) -> "Collector":
        """Make what collects the mean input of the sites."""
        return Collector(self._stack, sites)

    def trace(self) -> Tracer:
        """Make what notes every upsampling."""
        return Tracer(self._stack)

    def time(self, synchronise: Callable[[], None]) -> "Stopwatch":
        """Make what times every call."""
        return Stopwatch(self._stack, synchronise)


def _key(place: Place, shape: Sequence[int]) -> tuple[Place, tuple[int, ...]]:
    # the first axis may be another number of images
    return place, tuple(shape[1:])


class Equaliser(Watcher):
    """Gives sites equal phase gains: takes the excess from what their layers answer.

    Where the weights do not decide about them, all phases of the site's output get the same mean.

    Parameters
    ----------
    stack : FrameStack
        Follows the model.
    sites : sequence of TracedSite
        Which.
    """

    def __init__(self, stack: FrameStack, sites: Sequence[TracedSite]) -> None:
        super().__init__(stack)
        self._layers: dict[Any, TracedSite] = {}
        self._outputs: dict[Any, TracedSite] = {}
        for traced in sites:
            upsampling, layer = traced.upsampling, traced.upsampling.weighted
            if layer is not None and read_gains(upsampling) is not None:
                self._layers[_key(layer.place, layer.in_shape)] = traced
            else:
                self._outputs[_key(upsampling.place, upsampling.out_shape)] = traced

    def watch(self, function: Any, place: Place, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer a call, without what unequal gains make of it if it is one of the sites'."""
        bound = bind(place, args, kwargs)
        answer = function(*args, **kwargs)
        if bound is not None and "weight" in bound:
            traced = self._layers.get(_key(place, bound["input"].shape))
            return answer if traced is None else answer - find_excess(traced.upsampling, bound, answer)
        if isinstance(answer, Tensor):
            traced = self._outputs.get(_key(place, answer.shape))
            if traced is not None:
                layout = traced.upsampling.layout
                first = 1 if layout is not None and layout.is_channels_last else answer.ndim - traced.site.dims
                scale = [math.ceil(one) for one in read_scale(traced.upsampling)]
                return level_phases(answer, scale, first)
        return answer


class Collector(Watcher):
    """Collects local means of what the sites' layers are given, and what a shuffle gets.

    Attributes
    ----------
    shuffled : dict of int to Tensor
        The last map whose channels became pixels, by the site's number.
    """

    def __init__(self, stack: FrameStack, sites: Sequence[TracedSite]) -> None:
        super().__init__(stack)
        self._layers: dict[Any, list[TracedSite]] = {}
        self._shuffles: dict[Any, int] = {}
        self._means: dict[int, list[Tensor]] = {}
        self._powers: dict[int, list[float]] = {}
        self.shuffled: dict[int, Tensor] = {}
        for traced in sites:
            upsampling, layer = traced.upsampling, traced.upsampling.weighted
            if upsampling.place.name == "pixel_shuffle":
                self._shuffles[_key(upsampling.place, upsampling.in_shape)] = traced.site.number
            if layer is not None:
                self._layers.setdefault(_key(layer.place, layer.in_shape), []).append(traced)

    def watch(self, function: Any, place: Place, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Look at what the sites' layers get, and at what they give."""
        bound = bind(place, args, kwargs)
        answer = function(*args, **kwargs)
        if bound is not None and "weight" in bound:
            x = bound["input"]
            for traced in self._layers.get(_key(place, x.shape), ()):
                number = traced.site.number
                self._means.setdefault(number, []).append(_pool(x, is_last=bound["weight"].ndim == 2))
                self._powers.setdefault(number, []).append(float(answer.double().square().mean()))
                if traced.upsampling.layout is not None:
                    self.shuffled[number] = answer
        elif bound is not None and place.name == "pixel_shuffle":
            shuffle = self._shuffles.get(_key(place, bound["input"].shape))
            if shuffle is not None:
                self.shuffled[shuffle] = bound["input"]
        return answer

    def find_means(self, number: int) -> Tensor | None:
        """Local means (n, I) of what a site's layer was given; None if it was not called."""
        means = self._means.get(number)
        return None if means is None else torch.cat(means)

    def find_power(self, number: int) -> float:
        """Mean square of what a site's layer gave."""
        powers = self._powers.get(number, [])
        return sum(powers) / len(powers) if powers else math.nan


def _pool(x: Tensor, *, is_last: bool) -> Tensor:
    """Means (n, I) of a map over some regions; they are of one size, so the mean of them is that of the map."""
    if is_last:
        flat = x.flatten(0, -2).double()
        regions = max(one for one in range(1, _MOST_REGIONS + 1) if len(flat) % one == 0)
        return flat.reshape(regions, -1, flat.shape[1]).mean(1).cpu()
    y = x.double()
    for axis in range(2, x.ndim):
        side = y.shape[axis]
        regions = max(one for one in range(1, _REGIONS + 1) if side % one == 0)
        y = y.reshape(*y.shape[:axis], regions, -1, *y.shape[axis + 1 :]).mean(axis + 1)
    return y.movedim(1, -1).flatten(0, -2).cpu()


class Stopwatch(Watcher):
    """Times every call, and adds up the memory of what calls return.

    Parameters
    ----------
    stack : FrameStack
        Follows the model.
    synchronise : callable
        Waits for the device.
    """

    def __init__(self, stack: FrameStack, synchronise: Callable[[], None]) -> None:
        super().__init__(stack)
        self._synchronise = synchronise
        self._seconds: dict[Any, float] = {}
        self._bytes: dict[Any, int] = {}

    def watch(self, function: Any, place: Place, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Time a call."""
        self._synchronise()
        start = time.perf_counter()
        answer = function(*args, **kwargs)
        self._synchronise()
        seconds = time.perf_counter() - start
        if isinstance(answer, Tensor):
            key = (place.path, place.name, tuple(answer.shape[1:]))
            held = {tensor.untyped_storage().data_ptr() for tensor in find_tensors([args, kwargs])}
            storage = answer.untyped_storage()
            size = 0 if storage.data_ptr() in held else storage.nbytes()
            self._seconds[key] = self._seconds.get(key, 0.0) + seconds
            self._bytes[key] = self._bytes.get(key, 0) + size
        return answer

    def find_shares(self, traced: TracedSite) -> tuple[float, float]:
        """Share of time and memory of all calls that a site has, with its convolution."""
        upsampling, site = traced.upsampling, traced.site
        layers = [upsampling.weighted, upsampling.after if site.kind == RESIZE_CONVOLUTION else None]
        parts = {(upsampling.place, upsampling.out_shape)}
        parts |= {(layer.place, layer.out_shape) for layer in layers if layer is not None}
        keys = {(place.path, place.name, tuple(shape[1:])) for place, shape in parts}
        seconds, size = (sum(found.get(key, 0) for key in keys) for found in (self._seconds, self._bytes))
        return seconds / max(sum(self._seconds.values()), 1e-9), size / max(sum(self._bytes.values()), 1)
