"""An upsampled tensor that is computed when it is read.

For all code but a convolution it is the tensor that it stands for: every function of torch that is not known to
leave the pixels alone gets the computed tensor, code below torch's Python interface finds it by dispatch, and
gradients flow through it. Decisions are left to its session.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deconvbench.networks.fusion.calls import METADATA, is_pure
from deconvbench.networks.fusion.expressions import LazyExpression
from deconvbench.networks.fusion.resizing import evaluate
from deconvbench.networks.fusion.tensors import count_changes

if TYPE_CHECKING:
    from deconvbench.networks.fusion.session import Session


class Deferred(Tensor):
    """A tensor that is known by its expression.

    Made by `defer` only.

    Attributes
    ----------
    expression : LazyExpression of Tensor
        What it is.
    is_given_away : bool
        Whether other code may have changed it; then the expression no longer counts.
    """

    expression: LazyExpression[Tensor]
    session: "Session"
    is_given_away: bool
    _state: "_State"
    _versions: tuple[int | None, ...]

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func in METADATA:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **named)
        first = next(find_deferred((*args, *named.values())))
        answer = first.session.handle(func, args, named)
        if answer is not NotImplemented:
            return answer
        pure = is_pure(func, named)
        return func(*compute(tuple(args), func, is_pure=pure), **compute(dict(named), func, is_pure=pure))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override] # torch calls it as documented, and types it otherwise
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # code beneath torch's Python functions: custom autograd functions, extensions, TorchScript
        if func._schema.is_mutable:
            raise RuntimeError(
                f"{func} writes into an upsampled tensor that was not computed yet: leave its module out of fuse()"
            )
        named = dict(kwargs or {})
        detached = [compute(value, func, is_pure=False, is_detached=True) for value in (tuple(args), named)]
        return func(*detached[0], **detached[1])

    def compute(self, function: Any, *, is_pure: bool) -> Tensor:
        """Compute the tensor, once.

        Parameters
        ----------
        function : callable
            Who wants it.
        is_pure : bool
            Whether the asker will only read it.

        Returns
        -------
        Tensor
            The very same one for all who ask.
        """
        if self._state.value is None:
            self.session.notice(self, function)
            if not self.has_old_sources:
                raise RuntimeError(
                    "the input of an upsampling was changed by code that fuse() cannot see:"
                    " leave its module out of fuse()"
                )
            with self._state.restore_modes():
                self._state.value = evaluate(self.expression)
            self._state.version = count_changes(self._state.value)
        if not (self.has_own_history or self._state.value.requires_grad):
            self._state.value = _attach(self, self._state.value)
        self.is_given_away = self.is_given_away or not is_pure
        return self._state.value

    @property
    def is_computed(self) -> bool:
        """Whether the tensor exists."""
        return self._state.value is not None

    @property
    def has_old_sources(self) -> bool:
        """Whether the tensors that it is made of are unchanged."""
        return self._versions == _count_all(self.expression)

    @property
    def counts_changes(self) -> bool:
        """Whether writes into what it is made of are counted, which they are not in inference mode."""
        return None not in self._versions

    @property
    def has_own_history(self) -> bool:
        """Whether its expression tells where its gradient goes.

        It does not if a custom autograd function has returned it: what such a function does has no history, and
        gets that of the function afterwards.
        """
        return not self.requires_grad or any(part.source.requires_grad for part in self.expression.parts)

    def become(self, expression: LazyExpression[Tensor]) -> None:
        """Change in place; only before it is computed."""
        self.expression, self._versions = expression, _count_all(expression)
        self._state.is_replaced = True


class _State:
    """What a deferred tensor shares with its place in the graph of gradients."""

    def __init__(self, device: str) -> None:
        self.value: Tensor | None = None
        self.version: int | None = None
        self.is_replaced = False
        self.device = device
        self.records_gradients = torch.is_grad_enabled()
        self.is_inference = torch.is_inference_mode_enabled()

    @contextmanager
    def restore_modes(self) -> Iterator[None]:
        with (
            torch.inference_mode(self.is_inference),
            torch.set_grad_enabled(self.records_gradients),
            torch.autocast(self.device, enabled=False),
        ):
            yield

    @property
    def is_changed(self) -> bool:
        return self.is_replaced or (self.value is not None and count_changes(self.value) != self.version)


class _Link(torch.autograd.Function):
    """The upsampling as a node in the graph of gradients, for code that never asks for the computed tensor."""

    @staticmethod
    def forward(ctx: Any, state: _State, expression: LazyExpression[Tensor], *sources: Tensor) -> Tensor:
        # without the tensors, which autograd keeps
        ctx.state, ctx.expression = state, expression.map(lambda _: None)
        ctx.save_for_backward(*sources)
        return _wrap(expression)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        if ctx.state.is_changed:
            raise RuntimeError(
                "an upsampled tensor was changed in place and then read by code that fuse() cannot see:"
                " leave its module out of fuse()"
            )
        leaves = [source.detach().requires_grad_() for source in ctx.saved_tensors]
        remaining = iter(leaves)
        with ctx.state.restore_modes():
            value = evaluate(ctx.expression.map(lambda _: next(remaining)))
            found = torch.autograd.grad(value, leaves, gradients)
        return (None, None, *found)


class _Attachment(torch.autograd.Function):
    """The computed tensor, with the history of the deferred one."""

    @staticmethod
    def forward(ctx: Any, deferred: Deferred, found: list[Tensor]) -> Tensor:  # noqa: ARG004 -- its history is used
        # in a list, for a function that returns its argument makes a view of it
        return found[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: ARG004 -- nothing is to be remembered
        return (*gradients, None)


def _attach(deferred: Deferred, value: Tensor) -> Tensor:
    attached: Tensor = _Attachment.apply(deferred, [value])  # type: ignore[no-untyped-call] # torch has no types here
    return attached


def _wrap(expression: LazyExpression[Tensor]) -> Deferred:
    source, scale = expression.parts[0].source, expression.parts[0].scale
    batch, _, height, width = source.shape
    size = (
        *(batch, expression.channels),
        *(scale * number + 2 * expression.padding for number in (height, width)),
    )
    wrapped: Deferred = torch.Tensor._make_wrapper_subclass(
        Deferred, size, dtype=source.dtype, device=source.device
    )
    return wrapped


def defer(expression: LazyExpression[Tensor], session: "Session") -> Deferred:
    """Make a deferred tensor.

    Parameters
    ----------
    expression : LazyExpression of Tensor
        What it is; its parts have one dtype and one upsampled size.
    session : Session
        Who decides about calls with it.
    """
    sources = [part.source for part in expression.parts]
    state = _State(sources[0].device.type)
    if torch.is_grad_enabled() and any(source.requires_grad for source in sources):
        deferred: Deferred = _Link.apply(state, expression, *sources)  # type: ignore[no-untyped-call] # torch has no types here
    else:
        deferred = _wrap(expression)
    deferred.expression, deferred.session, deferred.is_given_away, deferred._state = (
        expression,
        session,
        False,
        state,
    )
    deferred._versions = _count_all(expression)
    return deferred


def _count_all(expression: LazyExpression[Tensor]) -> tuple[int | None, ...]:
    return tuple(count_changes(part.source) for part in expression.parts)


def find_deferred(values: Sequence[Any]) -> Iterator[Deferred]:
    """Find the deferred tensors among arguments.

    Parameters
    ----------
    values : sequence
        Arguments, and lists, tuples and dicts of them.

    Yields
    ------
    Deferred
    """
    for value in values:
        if isinstance(value, Deferred):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from find_deferred(value)
        elif isinstance(value, dict):
            yield from find_deferred(tuple(value.values()))


def compute(value: Any, function: Any, *, is_pure: bool, is_detached: bool = False) -> Any:
    """Replace deferred tensors by what they stand for.

    Parameters
    ----------
    value : Any
        A tensor, or lists, tuples and dicts of such; anything else stays what it is.
    function : callable
        Who wants them.
    is_pure : bool
        Whether the asker will only read them.
    is_detached : bool
        Without their history.
    """

    def visit(value: Any) -> Any:
        if isinstance(value, Deferred):
            computed = value.compute(function, is_pure=is_pure)
            return computed.detach() if is_detached else computed
        if not isinstance(value, (list, tuple, dict)) or not any(True for _ in find_deferred((value,))):
            return value
        if isinstance(value, dict):
            return {key: visit(item) for key, item in value.items()}
        return rebuild_sequence(value, [visit(item) for item in value])

    return visit(value)


def rebuild_sequence(value: Sequence[Any], items: list[Any]) -> Any:
    """Put other items into a list, a tuple or a named tuple."""
    if isinstance(value, list):
        return items
    return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
