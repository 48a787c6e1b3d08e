"""The deferred tensors of one call of one module, and every decision about them.

Exact by construction: whatever it cannot prove, it lets torch do. An `Interceptor` shows it every
function of torch that is called. Touches no module.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode_stack

from deconvbench.networks.fusion import calls
from deconvbench.networks.fusion.calls import is_harmless
from deconvbench.networks.fusion.deferred import Deferred, compute, defer, find_deferred, rebuild_sequence
from deconvbench.networks.fusion.expressions import FindPrepared, LazyExpression, Match, name_resizing
from deconvbench.networks.fusion.resizing import convolve, evaluate, is_faster
from deconvbench.networks.fusion.rules import find_match, follow
from deconvbench.networks.fusion.tensors import find_memory, find_tensors, is_usable
from deconvbench.networks.fusion.weight_cache import WeightCache
from deconvbench.upsamplers.fast.recording import UnrecordedMode, is_recorded


class SessionListener(Protocol):
    """Who wants to know what a session does, and why not."""

    def begin(self, scale: int) -> Any:
        """Learn of an upsampling; what is returned comes back with the expression."""

    def refuse(self, reason: str, what: str) -> None:
        """Learn of an upsampling that is not one of ours, or of what it is instead."""

    def fuse(self, expression: LazyExpression[Tensor], match: Match, plain: Tensor, fast: Tensor) -> None:
        """Learn of a convolution that went the fast way, and of what the plain one answers."""

    def miss(self, upsamplings: Sequence[Any], reason: str) -> None:
        """Learn of an upsampled tensor that had to be computed."""


class Session:
    """The deferred tensors of one call of a module.

    Parameters
    ----------
    weight_cache : WeightCache or None
        Where transformed weights may be kept.
    observer : SessionListener or None
        Receives what is seen.

    Attributes
    ----------
    has_tried : bool
        Whether any upsampling was deferred.
    has_gained : bool
        Whether any convolution went the fast way.
    """

    def __init__(self, weight_cache: WeightCache | None = None, observer: SessionListener | None = None) -> None:
        self._weight_cache = weight_cache
        self._observer = observer
        self._pending: list[weakref.ref[Deferred]] = []
        self._is_open = True
        self.has_tried = self.has_gained = False

    def find_expression(self, value: Any) -> LazyExpression[Tensor] | None:
        """Find the expression of a deferred tensor that cannot have been changed."""
        if not isinstance(value, Deferred) or value.is_given_away:
            return None
        return value.expression if value.has_old_sources and value.has_own_history else None

    def find_plain(self, value: Any) -> Tensor | None:
        """Find an ordinary tensor."""
        if isinstance(value, Deferred):
            return value.compute(torch.cat, is_pure=True)
        return value if is_usable(value) else None

    def get_shape(self, value: Tensor) -> Sequence[int]:
        """Find a shape."""
        return value.shape

    def get_dtype(self, value: Tensor) -> torch.dtype:
        """Find a dtype."""
        return value.dtype

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
        return total.add_(term)

    def find_prepared(self, weight: Tensor, start: int, length: int) -> FindPrepared | None:
        """Find where the transformed weight of some input channels is kept."""
        return None if self._weight_cache is None else self._weight_cache.find(weight, start, length)

    def upsample(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Defer an upsampling of a plain tensor, or return NotImplemented."""
        expression = follow(functional.interpolate, args, kwargs, self)
        if isinstance(expression, LazyExpression):
            if self._observer is not None:
                expression = replace(expression, upsamplings=(self._observer.begin(expression.parts[0].scale),))
            return self._defer(expression)
        if self._observer is not None:
            self._observer.refuse(
                expression or "it is not a plain nearest-neighbour upsampling", _name_resizing(args, kwargs)
            )
        return NotImplemented

    def _defer(self, expression: LazyExpression[Tensor]) -> Deferred:
        if not torch.is_grad_enabled():
            expression = expression.map(torch.detach)
        self.has_tried = True
        deferred = defer(expression, self)
        self._pending.append(weakref.ref(deferred))
        return deferred

    def _list_waiting(self) -> list[Deferred]:
        """List the deferred tensors that are alive and not computed, and forget the others."""
        found = [deferred for reference in self._pending if (deferred := reference()) is not None]
        found = [deferred for deferred in found if not deferred.is_computed]
        self._pending = [weakref.ref(deferred) for deferred in found]
        return found

    @property
    def is_waiting(self) -> bool:
        """Whether there may be deferred tensors that are not computed."""
        return bool(self._pending)

    def protect(self, args: Sequence[Any], kwargs: Mapping[str, Any], function: Any) -> None:
        """Compute what depends on memory that a call may change."""
        tensors = find_tensors((*args, *kwargs.values()))
        # the memory of a deferred tensor is not the source of another
        given = {find_memory(tensor) for tensor in tensors if not isinstance(tensor, Deferred)}
        if not given:
            return
        for deferred in self._list_waiting():
            own = {find_memory(part.source) for part in deferred.expression.parts}
            if None in given or not own.isdisjoint(given):
                # where changes are not counted, this one counts
                deferred.compute(function, is_pure=deferred.counts_changes)

    def notice(self, deferred: Deferred, function: Any) -> None:
        """Tell the observer who wants an upsampled tensor."""
        name = getattr(function, "__name__", str(function))
        reason = f"its output is read by {name}" if function else "the model returns or keeps its output"
        self._miss(deferred.expression, reason)

    def _miss(self, expression: LazyExpression[Tensor], reason: str) -> None:
        if self._observer is not None:
            self._observer.miss(expression.upsamplings, reason)

    def handle(  # noqa: PLR0911 -- one return for each kind of answer
        self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Answer a call with deferred tensors without computing them, or return NotImplemented."""
        if function is torch.conv2d:
            answer = self._convolve(args, kwargs)
            if isinstance(answer, LazyExpression):
                deferred = self._defer(answer)
                return deferred if self._is_open else deferred.compute(function, is_pure=True)
            return answer
        if function not in calls.KINDS or not self._is_open:
            return NotImplemented
        options = dict(kwargs)
        image = args[0] if args else None
        is_inplace = options.pop("inplace", False)
        if is_inplace and (not isinstance(image, Deferred) or image.is_computed):
            return NotImplemented
        if function is functional.interpolate and not self._can_upsample(args, kwargs):
            # what cannot be written down together may be one after the other
            named = compute(dict(kwargs), function, is_pure=True)
            return self.upsample(compute(tuple(args), function, is_pure=True), named)
        expression = follow(function, args, options, self)
        if not isinstance(expression, LazyExpression):
            if expression is not None:
                for deferred in find_deferred((*args, *kwargs.values())):
                    self._miss(deferred.expression, expression)
            return NotImplemented
        if isinstance(image, Deferred):
            if expression is image.expression:
                return image
            if is_inplace:
                image.become(expression)
                return image
        return self._defer(expression)

    def _can_upsample(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether the argument of an upsampling is deferred, and its expression can be upsampled."""
        call = calls.read_call(functional.interpolate, args, kwargs)
        is_known = isinstance(call, calls.UpsampleCall) and self.find_expression(call.image) is not None
        return is_known and isinstance(follow(functional.interpolate, args, kwargs, self), LazyExpression)

    def _convolve(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        found = find_match(args, kwargs, self, _is_operand)
        if found is None:
            return NotImplemented
        call, expression, match = found
        if isinstance(match, str):
            self._miss(expression, f"the convolution after it: {match}")
            return NotImplemented
        dtypes = {tensor.dtype for tensor in (call.image, call.weight, call.bias) if tensor is not None}
        is_autocast = torch.is_autocast_enabled(call.image.device.type) and torch.float64 not in dtypes
        if len(dtypes) > 1 and not is_autocast:
            return NotImplemented
        # an observer wants to know what is exact, at other sizes too
        if self._observer is None or match.kernel_size == 1:
            is_prepared = self.find_prepared(call.weight, 0, call.weight.shape[1]) is not None
            is_computed = call.image.is_computed
            if not is_faster(expression, match, call.weight, is_prepared=is_prepared, is_computed=is_computed):
                self._miss(expression, "a 1×1 convolution after it would not be faster before it")
                return NotImplemented
        self.has_gained = True
        answer = convolve(expression, match, call.weight, call.bias, self)
        if self._observer is not None:
            options: tuple[Any, ...] = (call.stride, call.padding, call.dilation, call.groups)
            plain = torch.conv2d(evaluate(expression), call.weight, call.bias, *options)
            fast = evaluate(answer) if isinstance(answer, LazyExpression) else answer
            self._observer.fuse(expression, match, plain, fast)
        return answer

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
        plain = _make_plain(output)
        self._is_open = False
        for deferred in self._list_waiting():
            deferred.compute(None, is_pure=True)
        self._pending.clear()
        return plain


def _name_resizing(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    call = calls.read_call(functional.interpolate, args, kwargs)
    if not isinstance(call, calls.UpsampleCall) or not isinstance(call.image, Tensor):
        return "upsampling"
    return name_resizing(call, call.image.shape)


def _is_operand(value: Any) -> bool:
    # a subclass has code of its own, which must run
    return type(value) in {Tensor, nn.Parameter} and value.dtype in calls.DTYPES


def _make_plain(value: Any) -> Any:
    if isinstance(value, Deferred):
        return value.compute(None, is_pure=True)
    if isinstance(value, dict):
        for key, item in value.items():
            if item is not (plain := _make_plain(item)):
                value[key] = plain
    elif isinstance(value, list):
        value[:] = [_make_plain(item) for item in value]
    elif isinstance(value, tuple):
        items = [_make_plain(item) for item in value]
        if any(new is not old for new, old in zip(items, value, strict=True)):
            return rebuild_sequence(value, items)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            item = getattr(value, field.name)
            if item is not (plain := _make_plain(item)):
                object.__setattr__(value, field.name, plain)
    return value


class Interceptor(UnrecordedMode):
    """Shows a session every function of torch that is called while it is active, in one thread.

    Parameters
    ----------
    session : Session
        Whom.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function, or answer for it."""
        named = kwargs or {}
        session = self.session
        if func is functional.interpolate and not any(True for _ in find_deferred((*args, *named.values()))):
            answer = session.upsample(args, named)
            if answer is not NotImplemented:
                return answer
        elif session.is_waiting and not is_harmless(func, named):
            session.protect(args, named, func)
        return func(*args, **named)


def may_intercept(*values: Any) -> bool:
    """Whether a session may start here for such arguments: nobody records, and no other session in this thread."""
    if is_recorded(*values):
        return False
    return not any(isinstance(mode, Interceptor) for mode in _get_current_function_mode_stack())  # type: ignore[no-untyped-call] # torch has no types here
