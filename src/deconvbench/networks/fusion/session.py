"""The deferred tensors of one call of one module, and every decision about them.

Exact by construction: what it cannot prove, torch does. An `Interceptor` shows it each function that is called.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from deconvbench.networks.fusion import calls
from deconvbench.networks.fusion.answers import can_view, cast_like, is_laid_out, is_operand, name_call
from deconvbench.networks.fusion.deferred import Deferred, compute, defer, find_deferred, make_plain
from deconvbench.networks.fusion.evaluation import evaluate
from deconvbench.networks.fusion.expressions import FindPrepared, LazyExpression
from deconvbench.networks.fusion.history import FastWay, Replay, are_hooks_active, join_ways
from deconvbench.networks.fusion.listening import SessionListener
from deconvbench.networks.fusion.maps import Map, Root, cut, find_meta
from deconvbench.networks.fusion.purity import split_inplace
from deconvbench.networks.fusion.recorded import record_call, record_operation
from deconvbench.networks.fusion.resizing import explain_precision, needs_strips
from deconvbench.networks.fusion.rules import find_convolution, follow
from deconvbench.networks.fusion.signals import SignalTask
from deconvbench.networks.fusion.tasks import ConvolutionTask, plan_task
from deconvbench.networks.fusion.tensors import find_memory, find_tensors, is_usable
from deconvbench.networks.fusion.weight_cache import WeightCache
from deconvbench.upsamplers.fast.recording import can_record_gradients


class Session:
    """The deferred tensors of one call of a module.

    Parameters
    ----------
    weight_cache : WeightCache or None
        Where transformed weights may be kept.
    observer : SessionListener or None
        Receives what is seen.
    max_memory : int or None
        Bytes that a convolution of an upsampled tensor may hold; above that it works in row strips.

    Attributes
    ----------
    has_tried : bool
        Whether any upsampling was deferred.
    has_gained : bool
        Whether any convolution went the fast way.
    """

    def __init__(
        self,
        weight_cache: WeightCache | None = None,
        observer: SessionListener | None = None,
        max_memory: int | None = None,
    ) -> None:
        self._weight_cache = weight_cache
        self._max_memory = max_memory
        self._observer = observer
        self._pending: list[weakref.ref[Tensor]] = []
        # what a backward pass may ask for, and the memory that it is made of
        self._kept: list[tuple[weakref.ref[FastWay | Map], set[int | None]]] = []
        # of the call that is being followed
        self._roots: list[Root] = []
        # memory that code outside torch may write into
        self._exposed: set[int | None] = set()
        self._is_open = True
        self.has_tried = self.has_gained = False

    def find_expression(self, value: Any) -> LazyExpression[Tensor] | None:
        """Find the expression of a deferred tensor that cannot have been changed."""
        if not isinstance(value, Deferred) or value.is_given_away:
            return None
        return value.map.expression if value.has_old_sources and value.has_own_history else None

    def find_plain(self, value: Any, view: Callable[[Tensor], Tensor] | None = None) -> Tensor | None:
        """Find an ordinary tensor, or a view of it; what stands for it in a graph of its own."""
        if isinstance(value, Deferred):
            value = value.compute(torch.cat, is_pure=True)
        if not is_usable(value) or (value.is_inference() and torch.is_grad_enabled()):
            # the second could not be kept for a gradient
            return None
        if self._exposed and find_memory(value) in self._exposed:
            return None
        self._roots.append(cut(value if view is None else view(value)))
        return self._roots[-1].leaf

    def own(self, source: Tensor) -> Tensor:
        """Copy what is upsampled or joined, as torch does: no write reaches what gradients are made of."""
        if not can_record_gradients():
            return source
        copies = [root.copy() if root.leaf is source else root for root in self._roots]
        owned = next(new.leaf for new, old in zip(copies, self._roots, strict=True) if new is not old)
        self._roots = copies
        return owned

    def is_image(self, value: Any) -> bool:
        """Whether something is a tensor."""
        return isinstance(value, Tensor)

    def find_strides(self, value: Any) -> tuple[Sequence[int], Sequence[int]] | None:
        """Find the shape and the strides of an ordinary tensor."""
        return (value.shape, value.stride()) if is_usable(value) else None

    def get_shape(self, value: Tensor) -> Sequence[int]:
        """Find a shape."""
        return value.shape

    def get_dtype(self, value: Tensor) -> torch.dtype:
        """Find a dtype."""
        return value.dtype

    def get_device(self, value: Tensor) -> torch.device:
        """Find a device."""
        return value.device

    def settle(self, source: Tensor, function: Any, size: int, **options: Any) -> Tensor:
        """Convert a source to the dtype that a function answers in, which autocast may have changed."""
        if not torch.is_autocast_enabled(source.device.type):
            return source
        probe = torch.empty((1, 1, size, size), dtype=source.dtype, device=source.device)
        return source.to(function(probe, **options).dtype)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Call a function of torch."""
        y: Tensor = function(*args, **kwargs)
        return y

    def add(self, total: Tensor, term: Tensor) -> Tensor:
        """Add to a result that is not shared."""
        # torch refuses to write into a view that a custom function has returned
        return total + term if total.requires_grad and total._is_view() else total.add_(term)

    def find_prepared(self, weight: Tensor, start: int, length: int) -> FindPrepared | None:
        """Find where the transformed weight of some input channels is kept."""
        return None if self._weight_cache is None else self._weight_cache.find(weight, start, length)

    def upsample(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Defer an upsampling of a plain tensor, or return NotImplemented."""
        if are_hooks_active():
            # what is saved must be what torch saves, now and when it is computed again
            return NotImplemented
        # others do more than to upsample
        is_named = calls.KINDS[function] in {calls.INTERPOLATE, calls.RESIZE}
        expression = self._follow(function, args, kwargs)
        if isinstance(expression, LazyExpression):
            return self._defer(self._begin(expression, is_named=is_named), function, args, kwargs)
        if self._observer is not None and is_named:
            self._observer.refuse(
                expression or "it is not a plain nearest-neighbour upsampling",
                name_call(function, args, kwargs),
            )
        return NotImplemented

    def _begin(self, expression: LazyExpression[Tensor], *, is_named: bool = False) -> LazyExpression[Tensor]:
        """Tell the observer of an upsampling, once rows and columns are upsampled, or where it says so itself."""
        scales = [part.scales for part in expression.parts if part.scale > 1 or is_named]
        if self._observer is None or expression.upsamplings or not scales:
            return expression
        rows, columns = scales[0]
        is_signal = expression.parts[0].source.ndim == 3 and rows == 1
        name = columns if rows == columns or is_signal else f"{rows}×{columns}"
        return replace(expression, upsamplings=(self._observer.begin(name),))

    def _follow(
        self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> LazyExpression[Tensor] | str | None:
        self._roots = []
        return follow(function, args, kwargs, self)

    def _defer(
        self, expression: LazyExpression[Tensor], function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Deferred:
        self.has_tried = True
        call, tensors = record_call(function, args, kwargs, expression.parts[0].source.device.type)
        inputs = [
            tensor
            if not isinstance(tensor, Deferred)
            else tensor.compute(function, is_pure=True)
            if self.find_expression(tensor) is None
            else tensor.map
            for tensor in tensors
        ]
        is_linear = calls.is_linear(function, len(inputs))
        make_map = partial(Map, expression, self._roots, call, inputs, is_linear=is_linear)
        deferred = defer(find_meta(expression), self, make_map)
        self._kept += [(weakref.ref(one), one.find_memory()) for one in deferred.map.needed]
        self._pending.append(weakref.ref(deferred))
        return deferred

    def _list_waiting(self) -> list[Any]:
        """List the deferred tensors that are alive and not ordinary ones, and forget the others."""
        self._pending = [reference for reference in self._pending if isinstance(reference(), Deferred)]
        return [reference() for reference in self._pending]

    @property
    def is_waiting(self) -> bool:
        """Whether there may be something that a write could falsify."""
        return bool(self._pending or self._kept)

    def expose(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Remember memory that is handed to code outside torch, whose writes nobody sees."""
        for tensor in find_tensors((*args, *kwargs.values())):
            plain = tensor.compute(Tensor.numpy, is_pure=False) if isinstance(tensor, Deferred) else tensor
            self._exposed.add(find_memory(plain))

    def protect(self, args: Sequence[Any], kwargs: Mapping[str, Any], function: Any) -> None:
        """Compute what depends on memory that a call may change, or let others change later."""
        tensors = find_tensors((*args, *kwargs.values()))
        # a deferred tensor has memory once it is computed
        plain = [tensor.map.value if isinstance(tensor, Deferred) else tensor for tensor in tensors]
        given = {find_memory(tensor) for tensor in plain if tensor is not None}
        if not given:
            return
        for deferred in self._list_waiting():
            if not isinstance(deferred, Deferred):
                # it became an ordinary tensor together with another
                continue
            own = deferred.map
            if None in given or not own.find_memory().isdisjoint(given):
                deferred.compute(function, is_pure=False)
                own.secure()
        self._kept = [(reference, memory) for reference, memory in self._kept if reference() is not None]
        for reference, memory in self._kept:
            kept = reference()
            if kept is not None and (None in given or not memory.isdisjoint(given)):
                kept.secure()

    def notice(self, deferred: Deferred, function: Any) -> None:
        """Tell the observer who wants an upsampled tensor."""
        name = getattr(function, "__name__", str(function))
        reason = f"its output is read by {name}" if function else "the model returns or keeps its output"
        self._miss(deferred.map.expression, reason)

    def _miss(self, expression: LazyExpression[Tensor], reason: str) -> None:
        if self._observer is not None:
            self._observer.miss(expression.upsamplings, reason)

    def handle(  # noqa: PLR0911 -- one return for each kind of answer
        self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Answer a call with deferred tensors without computing them, or return NotImplemented."""
        image = args[0] if args else None
        function, args, kwargs, is_inplace = split_inplace(function, args, kwargs)
        if not self._is_open or function not in calls.KINDS or are_hooks_active():
            return NotImplemented
        if calls.KINDS[function] == calls.CONVOLVE:
            return self._convolve(function, args, kwargs)
        if is_inplace and (not isinstance(image, Deferred) or not image.can_turn):
            return NotImplemented
        if isinstance(image, Deferred) and is_laid_out(image, function, args, kwargs):
            return image
        kind = calls.KINDS[function]
        if kind == calls.CAST and isinstance(image, Tensor) and not isinstance(image, Deferred):
            return cast_like(image, args, kwargs)
        expression = self._follow(function, args, kwargs)
        if kind in _UPSAMPLINGS and not isinstance(expression, LazyExpression):
            # what cannot be written down together may be one after the other
            named = compute(dict(kwargs), function, is_pure=True)
            return self.upsample(function, compute(tuple(args), function, is_pure=True), named)
        if not isinstance(expression, LazyExpression):
            if expression is not None:
                for deferred in find_deferred((*args, *kwargs.values())):
                    self._miss(deferred.map.expression, expression)
            return NotImplemented
        if not isinstance(image, Deferred):
            return self._defer(self._begin(expression), function, args, kwargs)
        return self._answer(image, expression, function, args, kwargs, is_inplace=is_inplace)

    def _answer(
        self,
        image: Deferred,
        expression: LazyExpression[Tensor],
        function: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        is_inplace: bool,
    ) -> Any:
        """Answer a call of a deferred tensor whose result is known."""
        if expression is image.map.expression:
            return image
        if is_inplace and find_meta(expression) != find_meta(image.map.expression):
            # torch raises, or converts
            return NotImplemented
        if function is Tensor.view and not can_view(image, args, kwargs):
            return NotImplemented
        deferred = self._defer(self._begin(expression), function, args, kwargs)
        if calls.KINDS[function] == calls.AXES:
            # a view, as far as anybody can tell
            deferred.share(image)
        if not is_inplace:
            return deferred
        return image if image.turn_into(deferred) else NotImplemented

    def _convolve(  # noqa: PLR0911 -- one return for each reason
        self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        found = find_convolution(function, args, kwargs, self, is_operand)
        if found is None:
            return NotImplemented
        call, expression = found
        task = plan_task(function, call, expression, is_limited=self._max_memory is not None)
        if isinstance(task, str):
            self._miss(expression, f"the convolution after it: {task}")
            return NotImplemented
        dtypes = {tensor.dtype for tensor in (call.image, call.weight, call.bias) if tensor is not None}
        is_autocast = torch.is_autocast_enabled(call.image.device.type) and torch.float64 not in dtypes
        if len(dtypes) > 1 and not is_autocast:
            return NotImplemented
        objection = self._explain_slowness(task, call)
        if objection is not None:
            self._miss(expression, objection)
            return NotImplemented
        options: tuple[Any, ...] = (call.stride, call.padding, call.dilation, call.groups)
        operands = [call.weight] if call.bias is None else [call.weight, call.bias]
        is_recorded = can_record_gradients()
        # one that gets no gradient stays itself, for which a transformed weight may be kept
        roots = [
            cut(operand) if is_recorded and operand.requires_grad else Root(operand, operand)
            for operand in operands
        ]
        answer = task.run(roots[0].leaf, roots[1].leaf if len(roots) > 1 else None, self, self._max_memory)
        if answer is None:
            return NotImplemented
        self.has_gained = True
        if self._observer is not None:
            plain = function(evaluate(expression), call.weight, call.bias, *options)
            fast = evaluate(answer) if isinstance(answer, LazyExpression) else answer
            self._observer.fuse(expression, task.match, plain, fast)
        if isinstance(answer, LazyExpression):
            self._roots = [root for root in roots if root.leaf is not root.tensor]
            return self._defer(answer, function, (call.image, call.weight, call.bias, *options), {})
        if not answer.requires_grad:
            return answer
        return self._join(function, answer, call.image.map, roots, options)

    def _explain_slowness(self, task: ConvolutionTask | SignalTask, call: calls.ConvolveCall) -> str | None:
        """Say why torch's own convolution is as precise and faster, or None where it is not."""
        if self._is_cut(task, call):
            # whatever is fastest or as precise as a whole
            return None
        objection = explain_precision(task.image, task.match, task.weight, call.bias)
        # an observer wants to know what is exact, at other sizes too
        if objection is None and (self._observer is None or task.match.kernel_size == 1):
            is_prepared = self.find_prepared(task.weight, 0, task.weight.shape[1]) is not None
            is_computed = call.image.is_computed
            if not task.gains(is_prepared=is_prepared, is_computed=is_computed):
                objection = "a 1×1 convolution after it would not be faster before it"
        return objection

    def _is_cut(self, task: ConvolutionTask | SignalTask, call: calls.ConvolveCall) -> bool:
        """Whether a convolution works in row strips."""
        if self._max_memory is None or call.image.is_computed:
            return False
        limit = self._max_memory if self._observer is None else 0
        return needs_strips(task.image, task.match, task.weight, call.bias, limit)

    def _join(
        self, function: Any, y: Tensor, image: Map, operands: Sequence[Root], options: Sequence[Any]
    ) -> Tensor:
        """Give a fast convolution its place in the graph of gradients."""
        count = 1 + len(operands)
        options = options if count > 2 else (None, *options)
        recorded = record_operation(function, count, options, y.device.type)
        replay = Replay(recorded, [image, *([None] * len(operands))], is_linear=False)
        leaves = [*(operand.leaf for operand in operands), *(root.leaf for root in image.roots)]
        way = FastWay(y, leaves, replay, image)
        self._kept.append((weakref.ref(way), image.find_memory()))
        inputs = [image.reserve(), *(operand.tensor for operand in operands)]
        return join_ways(way, y, inputs, [root.tensor for root in image.roots])

    def close(self, output: Any) -> Any:
        """Compute what is left, and make an output plain.

        Parameters
        ----------
        output : Any
            Of the module; its lists, dicts and dataclasses are changed in place.

        Returns
        -------
        Any
            The output without deferred tensors.
        """
        plain = make_plain(output)
        self._is_open = False
        for deferred in self._list_waiting():
            if isinstance(deferred, Deferred):
                deferred.compute(None, is_pure=False)
        self._pending.clear()
        self._kept.clear()
        return plain


# what upsamples by any name
_UPSAMPLINGS = frozenset({calls.INTERPOLATE, calls.RESIZE, calls.REPEAT})
