"""An upsampled tensor that is computed when it is read.

For all code but a convolution it is the tensor that it stands for: every function of torch that is not known to
leave the pixels alone gets the computed tensor, code below torch's Python interface finds it by dispatch, and
gradients flow through it. Where code may keep or change what it gets, the deferred tensor becomes an ordinary
one. Decisions are left to its session.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deconvbench.networks.fusion.history import Meta, put_on, reserve_behind
from deconvbench.networks.fusion.maps import Map
from deconvbench.networks.fusion.purity import LAYOUT_QUERIES, METADATA, is_pure
from deconvbench.networks.fusion.recorded import RecordedCall

if TYPE_CHECKING:
    from deconvbench.networks.fusion.session import Session


class Deferred(Tensor):
    """A tensor that stands for a map.

    Made by `defer` only.

    Attributes
    ----------
    map : Map
        The map.
    is_given_away : bool
        Whether other code may have changed its value, and it could not become an ordinary tensor.
    family : Family or None
        What shares its memory, if anything does.
    path : tuple
        The calls that made it of the first of them, and whether they recorded gradients.
    alias : Tensor or None
        What it is once all of them were given away.
    """

    map: Map
    session: "Session"
    is_given_away: bool
    family: "Family | None"
    path: tuple[tuple[RecordedCall, bool], ...]
    alias: Tensor | None

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        first = next(find_deferred((*args, *named.values())))
        if not first.is_given_away:
            if func in METADATA:
                with torch._C.DisableTorchFunctionSubclass():
                    return func(*args, **named)
            if func in LAYOUT_QUERIES:
                return func(first.map.find_layout(), *args[1:], **named)
        answer = first.session.handle(func, args, named)
        if answer is not NotImplemented:
            return answer
        pure = is_pure(func, args, named)
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
            Who wants it; None at the end of its session.
        is_pure : bool
            Whether the asker will only read it.

        Returns
        -------
        Tensor
            The very same one for all who ask. It is this object, which is an ordinary tensor from then on, where
            the asker may do more than read.
        """
        if self.alias is not None:
            if function is None:
                _swap(self, self.alias)
            return self if type(self) is Tensor else self.alias
        if not self.map.is_computed:
            self.session.notice(self, function)
        is_shared = self.family is not None and self.family.is_shared
        if is_shared and not is_pure and not self.is_given_away:
            assert self.family is not None  # just asked
            self.family.give_away(function)
            # it is an ordinary tensor, or has an alias
            own: Any = self
            return own.compute(function, is_pure=is_pure) if isinstance(own, Deferred) else self
        value = self.map.fill()
        if not self.has_own_history:
            value = self.map.follow(self, self._find_node())
        is_last = function is None
        if is_pure or (self.is_given_away and not is_last):
            return value
        self.is_given_away = True
        self.map.give_away()
        # what torch holds while a custom function runs must stay what it is
        return value if not is_last and self.is_held else _become(self, value)

    def share(self, image: "Deferred") -> None:
        """Share memory with the image that it is a view of."""
        if image.family is None:
            image.family = Family(image)
        self.family = image.family
        self.path = (*image.path, (self.map.layout.call, torch.is_grad_enabled()))
        self.family.faces.append(weakref.ref(self))

    def adopt(self, view: Tensor, function: Any) -> None:
        """Become a view of what is given away, from now on; a gradient needs what it was."""
        self.map.fill()
        self.is_given_away = self.map.watch.is_exposed = True
        self.alias = view
        if function is None or not self.is_held:
            _swap(self, view)

    @property
    def expression(self) -> Any:
        """What it is, a `LazyExpression` of tensors."""
        return self.map.expression

    @property
    def is_computed(self) -> bool:
        """Whether the tensor exists."""
        return self.map.is_computed

    @property
    def has_old_sources(self) -> bool:
        """Whether the tensors that it is made of are unchanged."""
        return self.map.has_old_sources

    @property
    def has_own_history(self) -> bool:
        """Whether its map has the place in the graph of gradients that it has.

        It has another if a custom autograd function has returned it: what such a function does has no history,
        and gets that of the function afterwards.
        """
        node = self._find_node()
        return node is None or getattr(node, "map", None) is self.map

    def _find_node(self) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return self.grad_fn

    @property
    def is_held(self) -> bool:
        """Whether torch holds it: while a custom function runs, and where it is saved for a gradient."""
        with torch._C.DisableTorchFunctionSubclass():
            return bool(self._use_count() > 1)  # type: ignore[attr-defined] # torch has no types here

    @property
    def can_turn(self) -> bool:
        """Whether it may stand for another map that is made now: nobody has this one, not even torch."""
        if self.map.is_inference != torch.is_inference_mode_enabled():
            # a change in place leaves it what it is, or is refused
            return False
        is_shared = self.family is not None and self.family.is_shared
        return not (self.is_computed or self.map.watch.is_exposed or self.is_held or is_shared)

    def turn_into(self, other: "Deferred") -> bool:
        """Stand for the map of another: a change in place, before it is computed.

        Parameters
        ----------
        other : Deferred
            One that nobody else has.

        Returns
        -------
        bool
            Whether it does.
        """
        if not _swap(self, other):
            return False
        self.map.watch.follow(self)
        return True


class Family:
    """Deferred tensors that share memory, as views of one of them do.

    While one of them is all that is left, nobody can tell. Otherwise all are computed together when one is given
    to code that may write into it: the first one, and views of that in place of the others.

    Parameters
    ----------
    first : Deferred
        What the others are views of.
    """

    def __init__(self, first: Deferred) -> None:
        self._map = first.map
        self.faces: list[weakref.ref[Deferred]] = [weakref.ref(first)]

    def _list_alive(self) -> list[Deferred]:
        found = [reference() for reference in self.faces]
        return [face for face in found if isinstance(face, Deferred) and face.family is self]

    @property
    def is_shared(self) -> bool:
        """Whether more than one is left that is not an ordinary tensor yet."""
        return len(self._list_alive()) > 1

    def give_away(self, function: Any) -> None:
        """Compute all of them for a function that may write into one."""
        faces = self._list_alive()
        first = next((face for face in faces if not face.path), None)
        for face in faces:
            # alone again
            face.family = None
        whole = self._map.give_away() if first is None else first.compute(function, is_pure=False)
        for face in faces:
            if face is first:
                continue
            if not face.map.is_computed:
                face.session.notice(face, function)
            view = whole
            for call, is_grad_enabled in face.path:
                with torch.set_grad_enabled(is_grad_enabled):
                    view = call.run([view])
            face.adopt(view, function)


def defer(meta: Meta, session: "Session", make_map: Callable[[Tensor], Map]) -> Deferred:
    """Make a deferred tensor.

    Parameters
    ----------
    meta : tuple
        Shape, dtype and device of its map.
    session : Session
        Who decides about calls with it.
    make_map : callable
        Makes the map, given the ordinary tensor that is to hold it: they count changes together, so that torch
        finds a change of one where it has saved the other.
    """
    shape, dtype, device = meta
    deferred: Deferred = torch.Tensor._make_wrapper_subclass(Deferred, shape, dtype=dtype, device=device)
    # code in C that asks for its address, unseen by torch's Python functions, gets an error: not the address 0
    torch._C._set_throw_on_mutable_data_ptr(deferred)
    deferred.session, deferred.is_given_away = session, False
    deferred.family, deferred.path, deferred.alias = None, (), None
    own = deferred.map = make_map(reserve_behind(deferred, meta))
    if own.has_gradient:
        assert own.value is not None
        put_on(own, deferred, own.value)
        # that was no change of the user's
        torch._C._autograd._unsafe_set_version_counter((own.value,), (0,))
    own.watch.follow(deferred)
    return deferred


def _swap(one: Tensor, other: Tensor) -> bool:
    """Make two tensors what the other one was, or leave both alone."""
    try:
        torch._C._swap_tensor_impl(one, other)
    except RuntimeError:
        # a profiler holds weak references
        return False
    one.__class__, other.__class__ = other.__class__, one.__class__
    one.__dict__, other.__dict__ = other.__dict__, one.__dict__
    return True


def _become(deferred: Deferred, value: Tensor) -> Tensor:
    """Make an ordinary tensor of a deferred one, or return what it stands for."""
    own = deferred.map
    if not _swap(deferred, value):
        return value
    own.value = deferred
    return deferred


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


def make_plain(value: Any) -> Any:
    """Make an output plain, at the end of a session.

    Parameters
    ----------
    value : Any
        Its lists, dicts and dataclasses are changed in place.
    """
    if isinstance(value, Deferred):
        return value.compute(None, is_pure=False)
    if isinstance(value, dict):
        for key, item in value.items():
            if item is not (plain := make_plain(item)):
                value[key] = plain
    elif isinstance(value, list):
        value[:] = [make_plain(item) for item in value]
    elif isinstance(value, tuple):
        items = [make_plain(item) for item in value]
        if any(new is not old for new, old in zip(items, value, strict=True)):
            return rebuild_sequence(value, items)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            item = getattr(value, field.name)
            if item is not (plain := make_plain(item)):
                object.__setattr__(value, field.name, plain)
    return value
