"""What a deferred tensor stands for: its expression, its place in the graph of gradients, and its value."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deconvbench.networks.fusion.calls import INTERPOLATE, KINDS
from deconvbench.networks.fusion.evaluation import evaluate
from deconvbench.networks.fusion.expressions import LazyExpression
from deconvbench.networks.fusion.history import Meta, Replay, Watch, attach, keep_places, put_in_place, reserve
from deconvbench.networks.fusion.recorded import Layout, RecordedCall, describe
from deconvbench.networks.fusion.tensors import count_changes, find_memory
from deconvbench.upsamplers.fast.recording import can_record_gradients, records_gradient


@dataclass(frozen=True, slots=True)
class Root:
    """A tensor that low-resolution work starts from.

    Parameters
    ----------
    tensor : Tensor
        It.
    leaf : Tensor
        What stands for it in a graph of its own, which ends there. Unless it is a copy, it shares memory and the
        count of changes.
    """

    tensor: Tensor
    leaf: Tensor

    def copy(self) -> "Root":
        """Make it independent of later changes of the tensor."""
        return Root(self.tensor, self.leaf.detach().clone().requires_grad_(self.leaf.requires_grad))


def cut(tensor: Tensor) -> Root:
    """Let a graph of its own start from a tensor."""
    needs_gradient = records_gradient(tensor)
    leaf = tensor.detach()
    return Root(tensor, leaf.requires_grad_() if needs_gradient else leaf)


def find_meta(expression: LazyExpression[Tensor]) -> Meta:
    """Find the shape, dtype and device of a map."""
    first = expression.parts[0]
    *before, height, width = first.source.shape
    if len(expression.parts) > 1:
        before[1] = expression.channels
    left, right, top, bottom = expression.padding or (0,) * 4
    rows, columns = first.scales
    shape = (*before, rows * height + top + bottom, columns * width + left + right)
    return shape, first.source.dtype, first.source.device


class Map:
    """A map that is known by its expression.

    Parameters
    ----------
    expression : LazyExpression of Tensor
        What it is; its sources have a graph of their own.
    roots : sequence of Root
        Where that starts.
    call : RecordedCall
        What torch would have done to make it.
    inputs : sequence of Tensor or Map
        With what.
    reserved : Tensor, optional
        What is to hold it, an ordinary tensor without memory or history.
    is_linear : bool
        Whether the gradient of that depends on no values.

    Attributes
    ----------
    value : Tensor or None
        An ordinary tensor: the map, or its place in the graph of gradients before it is computed.
    watches : tuple of Watch
        Its own, then those of the maps that it is made of.
    needed : tuple of Map
        Those whose values a backward pass may ask for.
    is_computed : bool
        Whether `value` holds the map.
    is_kept : bool
        Whether a backward pass may ask for its value.
    is_inference : bool
        Whether it was made in inference mode.
    """

    def __init__(
        self,
        expression: LazyExpression[Tensor],
        roots: Sequence[Root],
        call: RecordedCall,
        inputs: Sequence["Tensor | Map"],
        reserved: Tensor | None = None,
        *,
        is_linear: bool,
    ) -> None:
        parents = [one for one in inputs if isinstance(one, Map)]
        self.expression = expression
        # maps that are joined may start from the same ones
        known = {id(root.leaf): root for parent in parents for root in parent.roots}
        self.roots: tuple[Root, ...] = tuple(known.values())
        self.layout: Layout = Layout(
            call, tuple(one.layout if isinstance(one, Map) else describe(one) for one in inputs)
        )
        self.watch = Watch()
        self.watches: tuple[Watch, ...] = (self.watch, *(watch for parent in parents for watch in parent.watches))
        self.value: Tensor | None = None
        self.is_computed = self.is_kept = False
        self._copy: Tensor | None = None
        self._reserved = reserve(find_meta(expression)) if reserved is None else reserved
        self._version: int | None = None
        self.is_inference = torch.is_inference_mode_enabled()
        self._versions = self._count()
        # computing it is what torch would have done to tensors laid out as these
        self._is_direct = (
            self.layout.is_first
            and KINDS.get(call.function) == INTERPOLATE
            and len(self._reserved.shape) == 4
            and all(root.leaf.stride() == root.tensor.stride() for root in roots)
        )
        self.needed: tuple[Map, ...] = ()
        self._place: Any = None
        self._origin: Any = None
        if not can_record_gradients():
            return
        tensors = [one.value if isinstance(one, Map) else one for one in inputs]
        if any(tensor is not None and tensor.requires_grad for tensor in tensors):
            maps = [one if isinstance(one, Map) else None for one in inputs]
            for parent in parents:
                parent.is_kept = parent.is_kept or not is_linear
                self.needed += parent.needed if is_linear else (parent, *parent.needed)
            given = [one.reserve() if isinstance(one, Map) else one for one in inputs]
            self.value = put_in_place(Replay(call, maps, is_linear=is_linear), self._reserved, given)
            self._place = self.value.grad_fn
            own = [root for root in roots if root.leaf.requires_grad]
            kept = keep_places([root.tensor for root in own])
            self.roots += tuple(Root(tensor, root.leaf) for tensor, root in zip(kept, own, strict=True))

    @property
    def has_gradient(self) -> bool:
        """Whether it has a place in the graph of gradients."""
        return self.value is not None and self.value.requires_grad

    @property
    def has_old_sources(self) -> bool:
        """Whether the tensors that it is made of are unchanged."""
        return self._versions == self._count()

    def _count(self) -> tuple[int | None, ...]:
        return tuple(count_changes(part.source) for part in self.expression.parts)

    def reserve(self) -> Tensor:
        """Have a tensor for it, which may be without memory."""
        if self.value is None:
            self.value = self._reserved
        return self.value

    def fill(self) -> Tensor:
        """Compute it, once."""
        if self.is_computed:
            assert self.value is not None
            return self.value
        if not self.has_old_sources:
            raise RuntimeError(
                "the input of an upsampling was changed by code that fuse() cannot see:"
                " leave its module out of fuse()"
            )
        with self._restore_modes():
            value = evaluate(self.expression.map(torch.detach))
            if (
                self.layout.is_certain
                and not self._is_direct
                and value.stride() != (stride := self.layout.trace().stride())
            ):
                value = torch.empty_strided(value.shape, stride, dtype=value.dtype, device=value.device).copy_(
                    value
                )
            self.reserve().data = value
        self.is_computed = True
        self._version = count_changes(self.reserve())
        return self.reserve()

    @property
    def is_changed(self) -> bool:
        """Whether its value was changed in place."""
        return self.is_computed and self.value is not None and count_changes(self.value) != self._version

    def follow(self, face: Tensor, node: Any) -> Tensor:
        """Take the place in the graph of gradients that a custom function has given its face."""
        value = self.fill()
        if node is not self._origin:
            self._origin = node
            self.value = value = attach(face, value.detach() if value.requires_grad else value)
            self._place = value.grad_fn
        return value

    @property
    def has_moved(self) -> bool:
        """Whether a change in place has given its value another place in the graph of gradients."""
        return self.is_changed and self.value is not None and self.value.grad_fn is not self._place

    def find_layout(self) -> Tensor:
        """Have a tensor that is laid out as it, without computing it where that is possible."""
        return self.layout.trace() if self.layout.is_certain and not self.is_computed else self.fill()

    def give_away(self) -> Tensor:
        """Compute it for code that may write into it."""
        value = self.fill()
        if self.is_kept and self._copy is None:
            with torch.enable_grad():
                self._copy = attach(value, value.detach().clone())
        self.watch.is_exposed = True
        return value

    def recall(self) -> Tensor:
        """Have the value that it had before other code could change it."""
        value = self.fill()
        if not self.is_changed:
            return value
        if self._copy is None:
            raise RuntimeError(
                "an upsampled tensor was changed in place, and its value before is needed for a gradient:"
                " leave its module out of fuse()"
            )
        return self._copy

    def secure(self) -> None:
        """Compute all that a backward pass may ask for, before what it is made of changes."""
        for one in (self, *self.needed):
            one.fill()

    def find_memory(self) -> set[int | None]:
        """Find the memory that it, and its gradient, are made of."""
        own = [part.source for part in self.expression.parts]
        return {find_memory(tensor) for tensor in (*own, *(root.leaf for root in self.roots))}

    @contextmanager
    def _restore_modes(self) -> Iterator[None]:
        device = self.expression.parts[0].source.device.type
        with torch.inference_mode(self.is_inference), torch.no_grad(), torch.autocast(device, enabled=False):
            yield
