"""What autograd knows of deferred tensors: the graph that torch would have recorded, and a short way through it.

Every deferred tensor has its place in the graph of gradients, as the result of the call that it stands for. A
convolution that went the fast way has two ways back: the short one, from its low-resolution sources, and that of
torch, through all maps in between. Torch's is taken where a map may be looked at (somebody holds it, or got hold
of its memory or its place in the graph) or where gradients of gradients are wanted.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from deconvbench.networks.fusion.recorded import RecordedCall
from deconvbench.upsamplers.fast.recording import can_record_gradients

# shape, dtype and device
Meta = tuple[tuple[int, ...], torch.dtype, torch.device]


def reserve(meta: Meta) -> Tensor:
    """Make a tensor without memory of its own."""
    shape, dtype, device = meta
    return torch.empty_strided(shape, (0,) * len(shape), dtype=dtype, device=device)


def reserve_behind(face: Tensor, meta: Meta) -> Tensor:
    """Make a tensor without memory of its own that counts its changes together with what the user's code holds."""
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        reserved = face.detach()
    # torch compares the counts of what it saved for a gradient
    reserved.data = reserve(meta)
    return reserved


class Watch:
    """Whether a map may be looked at.

    Attributes
    ----------
    is_exposed : bool
        Whether its tensor, or its place in the graph, was given to code that may have kept it.
    """

    __slots__ = ("_face", "is_exposed")

    def __init__(self) -> None:
        self.is_exposed = False
        self._face: Callable[[], Any] = lambda: None

    def follow(self, face: Tensor) -> None:
        """Take a tensor for the one that the user's code holds."""
        self._face = weakref.ref(face)

    @property
    def is_watched(self) -> bool:
        """Whether the user's code holds the map, or may do so."""
        return self.is_exposed or self._face() is not None


def are_hooks_active() -> bool:
    """Whether what is saved for gradients is packed by hooks: checkpointing, and saving elsewhere."""
    return can_record_gradients() and torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


class Valued(Protocol):
    """What a map is here: something with a value that is computed when it is asked for."""

    def fill(self) -> Tensor:
        """Compute the value, with its place in the graph of gradients."""

    def recall(self) -> Tensor:
        """Have the value that it had before other code could change it."""


class WatchedMap(Valued, Protocol):
    """A map that may be looked at."""

    watches: tuple[Watch, ...]

    def secure(self) -> None:
        """Compute all that a backward pass may ask for."""


class Replay:
    """A call that is made again in a backward pass, to have its gradients.

    Parameters
    ----------
    call : RecordedCall
        The call.
    maps : sequence of Valued or None
        Which of its tensors are maps.
    is_linear : bool
        Whether its gradient depends on no values; then none are kept.
    """

    def __init__(self, call: RecordedCall, maps: Sequence[Valued | None], *, is_linear: bool) -> None:
        self.is_linear = is_linear
        self._call = call
        self._maps = (None,) * len(maps) if is_linear else tuple(maps)
        self._shapes: tuple[Any, ...] = ()

    def take(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Take note of what the call gets, and say what autograd has to keep of it."""
        if self.is_linear:
            self._shapes = tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in inputs)
            return []
        return [tensor for tensor, one in zip(inputs, self._maps, strict=True) if one is None]

    def collect(self, kept: Sequence[Tensor]) -> list[Tensor]:
        """Put together what the call gets, with what autograd has kept."""
        if self.is_linear:
            return [
                torch.zeros((), dtype=dtype, device=device).expand(shape) for shape, dtype, device in self._shapes
            ]
        remaining = iter(kept)
        return [next(remaining) if one is None else one.recall() for one in self._maps]

    def differentiate(self, inputs: Sequence[Tensor], gradient: Tensor, needs: Sequence[bool]) -> list[Any]:
        """Find the gradients of the tensors that need one; differentiable where gradients are recorded."""
        is_recorded = torch.is_grad_enabled()
        with torch.enable_grad():
            # others, for hooks on the tensors themselves would be called; no views, of which torch's normalisation
            # has wrong gradients with the channels last in memory
            given = [
                attach(tensor, tensor.detach())
                if is_recorded and tensor.requires_grad
                else tensor.detach().requires_grad_(need)
                for tensor, need in zip(inputs, needs, strict=True)
            ]
            y = self._call.run(given)
            wanted = [tensor for tensor, need in zip(given, needs, strict=True) if need]
            found = iter(torch.autograd.grad(y, wanted, gradient, create_graph=is_recorded, allow_unused=True))
        return [next(found) if need else None for need in needs]

    def release(self) -> None:
        """Forget what is needed for another backward pass."""
        self._maps = ()


class _Place(torch.autograd.Function):
    """The result of a call as a node of the graph, without memory."""

    @staticmethod
    def forward(ctx: Any, replay: Replay, reserved: list[Tensor], *inputs: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.replay = replay
        ctx.save_for_backward(*replay.take(inputs))
        return reserved[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        (gradient,) = gradients
        needs = ctx.needs_input_grad[2:]
        replay: Replay = ctx.replay
        found: Sequence[Any] = (None,) * len(needs)
        if gradient is not None:
            found = replay.differentiate(replay.collect(ctx.saved_tensors), gradient, needs)
        if not torch._C._autograd._get_current_graph_task_keep_graph():
            replay.release()
        return (None, None, *found)


def put_in_place(replay: Replay, reserved: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Put the result of a call into the graph of gradients.

    Parameters
    ----------
    replay : Replay
        The call.
    reserved : Tensor
        An ordinary tensor without memory or history, for the result.
    inputs : sequence of Tensor
        The tensors of the call.

    Returns
    -------
    Tensor
        That tensor, with its history: whoever computes it assigns its ``data``.
    """
    placed: Tensor = _Place.apply(replay, [reserved], *inputs)  # type: ignore[no-untyped-call] # torch has no types here
    return placed


class _Past(torch.autograd.Function):
    """Tensors as they are in the graph now, without memory."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(reserve((tuple(tensor.shape), tensor.dtype, tensor.device)) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:  # noqa: ARG004 -- nothing is to be remembered
        return gradients


def keep_places(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Keep the places that tensors have in the graph of gradients, whatever happens to them later.

    Parameters
    ----------
    tensors : sequence of Tensor
        Any that need gradients.

    Returns
    -------
    sequence of Tensor
        Others without memory, whose gradients go there.
    """
    kept: Sequence[Tensor] = _Past.apply(*tensors) if tensors else ()  # type: ignore[no-untyped-call] # torch has no types here
    return kept


class _Face(torch.autograd.Function):
    """What the user's code holds in place of a map, for code that torch's Python functions do not see."""

    @staticmethod
    def forward(ctx: Any, own: Any, face: Tensor, value: Tensor) -> Tensor:  # noqa: ARG004 -- its history is used
        ctx.set_materialize_grads(False)
        ctx.map = own
        ctx.mark_dirty(face)
        return face

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        # a change that is not recorded leaves torch's gradients alone too
        if ctx.map.has_moved:
            raise RuntimeError(
                "an upsampled tensor was changed in place and then read by code that fuse() cannot see:"
                " leave its module out of fuse()"
            )
        return (None, None, *gradients)


class _Attachment(torch.autograd.Function):
    """A computed tensor with the history of a deferred one."""

    @staticmethod
    def forward(ctx: Any, deferred: Tensor, found: list[Tensor]) -> Tensor:  # noqa: ARG004 -- its history is used
        # in a list, for a function that returns its argument makes a view of it
        return found[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: ARG004 -- nothing is to be remembered
        return (*gradients, None)


def put_on(own: Any, face: Tensor, value: Tensor) -> None:
    """Give what the user's code holds the history of its map, as a change in place would.

    Parameters
    ----------
    own : Map
        The map.
    face : Tensor
        What is held.
    value : Tensor
        The map's own tensor.
    """
    # torch asks for the hooks of what is changed in place
    with torch._C.DisableTorchFunctionSubclass():
        _Face.apply(own, face, value)  # type: ignore[no-untyped-call] # torch has no types here


def attach(deferred: Tensor, value: Tensor) -> Tensor:
    """Give a computed tensor the history of a deferred one.

    Parameters
    ----------
    deferred : Tensor
        Whose history.
    value : Tensor
        Without history.
    """
    attached: Tensor = _Attachment.apply(deferred, [value])  # type: ignore[no-untyped-call] # torch has no types here
    return attached


class FastWay:
    """The short way back from a fast convolution.

    Parameters
    ----------
    y : Tensor
        The answer, in a graph of its own.
    leaves : sequence of Tensor or None
        Where that ends: for each tensor that may get a gradient, what stands for it.
    replay : Replay
        The plain convolution.
    own : WatchedMap
        Its map.
    """

    def __init__(self, y: Tensor, leaves: Sequence[Tensor | None], replay: Replay, own: "WatchedMap") -> None:
        self._edge: GradientEdge | None = get_gradient_edge(y)
        self._leaves = tuple(leaves)
        self._is_closed = False
        self.replay = replay
        self.map: WatchedMap | None = own

    @property
    def is_open(self) -> bool:
        """Whether it can be taken, and nobody can see which way is."""
        return not (self._is_closed or self.map is None or any(watch.is_watched for watch in self.map.watches))

    def secure(self) -> None:
        """Take the plain way, because what the short one is made of is about to change."""
        if self.map is not None and not self._is_closed:
            self.map.secure()
            self._is_closed = True

    def fill(self) -> None:
        """Compute the map, for the plain way."""
        if self.map is not None:
            self.map.fill()

    def differentiate(self, gradient: Tensor) -> list[Tensor | None]:
        """Find the gradients of the leaves."""
        assert self._edge is not None  # torch refuses a second pass before
        node = self._edge.node
        if all(step is None or hasattr(step, "variable") for step, _ in node.next_functions):
            # a graph of one node needs no engine
            found = {id(leaf): one for leaf, one in _step_back(node, gradient)}
            return [found.get(id(leaf)) for leaf in self._leaves]
        wanted = [leaf for leaf in self._leaves if leaf is not None and leaf.requires_grad]
        # another convolution may share some of it
        answers = iter(torch.autograd.grad(self._edge, wanted, gradient, retain_graph=True, allow_unused=True))
        return [next(answers) if leaf is not None and leaf.requires_grad else None for leaf in self._leaves]

    def release(self) -> None:
        """Forget what is needed for another backward pass."""
        self._edge = self.map = None
        self._leaves = ()
        self.replay.release()


def _step_back(node: Any, gradient: Tensor) -> list[tuple[Tensor, Any]]:
    """Go back through one node that only leaves come before: pairs of a leaf and its gradient."""
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        found = node.apply(gradient)  # type: ignore[no-untyped-call] # torch has no types here
        kept = [one for one, need in zip(found, node.needs_input_grad, strict=True) if need]
        leaves = [step.variable for step, _ in node.next_functions if step is not None]
        return list(zip(leaves, kept, strict=True))
    found = node(gradient)
    steps = [step for step, _ in node.next_functions]
    pairs = zip(steps, found if isinstance(found, tuple) else (found,), strict=True)
    return [(step.variable, one) for step, one in pairs if step is not None]


class _Convolution(torch.autograd.Function):
    """The answer of a fast convolution, at the place that the plain one's has in the graph."""

    @staticmethod
    def forward(ctx: Any, way: FastWay, answer: list[Tensor], count: int, *tensors: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.way, ctx.count = way, count
        ctx.save_for_backward(*tensors[:count])
        return answer[0].detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        (gradient,) = gradients
        needs, count = ctx.needs_input_grad[3:], ctx.count
        if gradient is None:
            return (None,) * (3 + len(needs))
        way: FastWay = ctx.way
        inputs = ctx.saved_tensors
        if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active() or not way.is_open:
            way.fill()
            found = way.replay.differentiate(inputs, gradient, needs[:count]) + [None] * (len(needs) - count)
        else:
            # the map itself gets none
            found = [None, *way.differentiate(gradient)]
        if not torch._C._autograd._get_current_graph_task_keep_graph():
            way.release()
        return (None, None, None, *found)


def join_ways(way: FastWay, y: Tensor, inputs: Sequence[Tensor], roots: Sequence[Tensor]) -> Tensor:
    """Give the answer of a fast convolution both ways back.

    Parameters
    ----------
    way : FastWay
        The short one; its leaves stand for `inputs` after the first, and for `roots`.
    y : Tensor
        The answer.
    inputs : sequence of Tensor
        Of the plain convolution, its map first.
    roots : sequence of Tensor
        Where the short way leads.
    """
    joined: Tensor = _Convolution.apply(way, [y], len(inputs), *inputs, *roots)  # type: ignore[no-untyped-call] # torch has no types here
    return joined
