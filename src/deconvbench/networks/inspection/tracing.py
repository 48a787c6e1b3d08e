"""Running a model and seeing every upsampling, and the convolutions before and after it.

What is seen are the calls of torch's functions, wherever they are made: in modules, in functions of the user's, in
any control flow. Code inside TorchScript is not seen. What a call is known by (`Place`) is the same in every run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from deconvbench.networks.frames import FrameStack
from deconvbench.networks.fusion.calls import CONVOLVE_NAMES, INTERPOLATE_NAMES, bind_arguments
from deconvbench.networks.fusion.functions import ACTIVATIONS
from deconvbench.networks.fusion.observation import find_tensors
from deconvbench.networks.inspection.layouts import LAYOUT_FUNCTIONS, Chain, Layout, Step, read_layout

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
TRANSPOSED = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
# the second is how an ONNX graph resizes where torch does not do the same
RESIZES = frozenset({"interpolate", "onnx_resize"})
UNPOOLINGS = frozenset({"max_unpool1d", "max_unpool2d", "max_unpool3d"})
# of all pixels of an image together: what a plain colour is to them is not what it is to the eye
NORMS = frozenset({"instance_norm", "group_norm"})

_TRANSPOSED_NAMES = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_NAMES: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(CONVOLUTIONS, CONVOLVE_NAMES),
    **dict.fromkeys(TRANSPOSED, _TRANSPOSED_NAMES),
    "linear": ("input", "weight", "bias"),
    "interpolate": INTERPOLATE_NAMES,
    "onnx_resize": ("input", "mode", "differences", "run"),
    "pixel_shuffle": ("input", "upscale_factor"),
    "fold": ("input", "output_size", "kernel_size", "dilation", "padding", "stride"),
}
_POINTWISE = frozenset(
    {getattr(function, "__name__", "") for function in ACTIVATIONS}
    | {"relu_", "leaky_relu_", "elu_", "silu_", "hardtanh_", "clamp", "clamp_", "prelu", "dropout", "to", "float"}
)
# of the functions of a chain those after which every value is where it was
_SAME = frozenset({"contiguous", "clone", "detach"})
# of all calls the most, and none that computes
_IGNORED = frozenset({"__get__", "__set__", "size", "dim", "is_contiguous", "numel", "_set_grad_enabled"})


@dataclass(frozen=True, slots=True)
class Place:
    """What a call is known by, in every run.

    Parameters
    ----------
    path : str
        Of the module that made it.
    name : str
        Of the function.
    number : int
        Which call of that function, in one call of the module.
    """

    path: str
    name: str
    number: int


@dataclass(slots=True, eq=False, kw_only=True)
class Weighted:
    """A convolution, transposed convolution or linear layer that was called.

    Parameters
    ----------
    place : Place
        Where.
    arguments : dict
        Its arguments but for the input, by torch's names.
    in_shape, out_shape : tuple of int
        Of its input and output.
    """

    place: Place
    arguments: dict[str, Any]
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @property
    def weight(self) -> Tensor:
        """Its weight."""
        weight: Tensor = self.arguments["weight"]
        return weight

    @property
    def bias(self) -> Tensor | None:
        """Its bias."""
        return self.arguments.get("bias")

    @property
    def groups(self) -> int:
        """Groups of channels."""
        return int(self.arguments.get("groups", 1))

    def read_sizes(self, name: str, default: int) -> tuple[int, ...]:
        """Read a stride, padding or dilation for each axis."""
        dims = self.weight.ndim - 2
        value = self.arguments.get(name, default)
        if isinstance(value, str):
            kernel = self.weight.shape[2:]
            return tuple((size - 1) // 2 if value == "same" else 0 for size in kernel)
        values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        return tuple(int(one) for one in (values * dims if len(values) == 1 else values))


@dataclass(slots=True, eq=False, kw_only=True)
class Upsampling:
    """One upsampling that was executed.

    Parameters
    ----------
    place : Place
        Where.
    arguments : dict
        As for `Weighted`.
    in_shape, out_shape : tuple of int
        Of its input and output.
    dtype : torch.dtype
        Of its input.
    layout : Layout or None
        Of values that are moved or repeated.
    weighted : Weighted or None
        The transposed convolution itself, or the layer before a shuffle.
    between : list of str
        Functions between the layer and the shuffle.
    after : Weighted or None
        The first convolution after it.
    is_last : bool
        Whether no convolution comes after it.
    """

    place: Place
    arguments: dict[str, Any]
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    dtype: Any
    layout: Layout | None = None
    weighted: Weighted | None = None
    between: list[str] = field(default_factory=list)
    after: Weighted | None = None
    is_last: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """What is known of a tensor.

    Parameters
    ----------
    pending : tuple of Upsampling
        Those that it comes from, with no convolution since.
    origin : Weighted or None
        The layer that made it.
    between : tuple of str
        Functions of each value alone that came after.
    chain : Chain or None
        How its values were moved since.
    """

    pending: tuple[Upsampling, ...] = ()
    origin: Weighted | None = None
    between: tuple[str, ...] = ()
    chain: Chain | None = None


class Watcher(TorchFunctionMode):
    """Shows `watch` every call of a function of torch.

    Parameters
    ----------
    stack : FrameStack
        Follows the model's modules.
    """

    def __init__(self, stack: FrameStack) -> None:
        super().__init__()
        self._stack = stack
        self._counts: dict[tuple[int, str], int] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function, or answer for it."""
        named = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in _IGNORED or not self._stack.frames:
            return func(*args, **named)
        frame = self._stack.frames[-1]
        number = self._counts.get((frame.number, name), 0)
        self._counts[frame.number, name] = number + 1
        return self.watch(func, Place(frame.path, name, number), tuple(args), named)

    def watch(self, function: Any, place: Place, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG002 -- for those that need it
        """Answer a call.

        Parameters
        ----------
        function : callable
            Of torch.
        place : Place
            Where it is called.
        args, kwargs
            Its arguments.
        """
        return function(*args, **kwargs)


def bind(place: Place, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Name the arguments of one of the functions that matter here; None for others and unexpected ones."""
    names = _NAMES.get(place.name)
    return None if names is None else bind_arguments(names, args, kwargs)


class Tracer(Watcher):
    """Notes every upsampling.

    Attributes
    ----------
    upsamplings : list of Upsampling
        In the order in which they were executed.
    functions : set of str
        Names of all functions that were called.
    ends : set of str
        Names of those whose answers the model returned.
    """

    def __init__(self, stack: FrameStack) -> None:
        super().__init__(stack)
        self.upsamplings: list[Upsampling] = []
        self.functions: set[str] = set()
        self.ends: set[str] = set()
        # no tensor is kept alive, and none is compared with another
        self._flows: Any = WeakIdKeyDictionary()
        self._makers: Any = WeakIdKeyDictionary()
        self._found: dict[int, tuple[Step, Upsampling]] = {}

    def watch(self, function: Any, place: Place, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note a call, and what is known of its answer."""
        self.functions.add(place.name)
        inputs = list(find_tensors([args, kwargs]))
        if place.name not in LAYOUT_FUNCTIONS:
            self._close_chains(inputs)
        # before a call in place gives it another content
        shapes = [tuple(tensor.shape) for tensor in inputs]
        flows = [self._flows.get(tensor, Flow()) for tensor in inputs]
        answer = function(*args, **kwargs)
        bound = bind(place, args, kwargs)
        for output in find_tensors(answer):
            self._makers[output] = place.name
            flow = self._follow(function, place, args, kwargs, flows, shapes, output, bound)
            if flow != Flow():
                self._flows[output] = flow
            elif output in self._flows:
                del self._flows[output]
        return answer

    def finish(self, output: Any) -> None:
        """Look at what the model returns."""
        tensors = list(find_tensors(output))
        self._close_chains(tensors)
        for tensor in tensors:
            self.ends.add(self._makers.get(tensor, ""))
            for upsampling in self._flows.get(tensor, Flow()).pending:
                upsampling.is_last = True

    def _follow(  # noqa: PLR0911 -- one return for each kind of call
        self,
        function: Any,
        place: Place,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        flows: Sequence[Flow],
        shapes: Sequence[tuple[int, ...]],
        output: Tensor,
        bound: dict[str, Any] | None,
    ) -> Flow:
        """Say what is known of the answer of a call."""
        name = place.name
        pending = tuple(dict.fromkeys(one for flow in flows for one in flow.pending))
        first = flows[0] if flows else Flow()
        if name in CONVOLUTIONS | TRANSPOSED | {"linear"} and bound is not None:
            options = {key: value for key, value in bound.items() if key != "input"}
            layer = Weighted(place=place, arguments=options, in_shape=shapes[0], out_shape=tuple(output.shape))
            if name in TRANSPOSED:
                return Flow(pending=(self._note(place, bound, shapes[0], output, weighted=layer),))
            for upsampling in first.pending:
                upsampling.after = upsampling.after or layer
            return Flow(origin=layer)
        if name in RESIZES | {"pixel_shuffle", "fold"} | UNPOOLINGS:
            if name in RESIZES and not _enlarges(shapes[0], tuple(output.shape)):
                return Flow(pending=pending)
            origin = first.origin if name == "pixel_shuffle" else None
            found = self._note(place, bound or {}, shapes[0], output, weighted=origin, between=list(first.between))
            return Flow(pending=(*pending, found))
        if name in LAYOUT_FUNCTIONS and len(flows) == 1:
            step = _make_step(function, place, args, kwargs, output)
            if step is not None:
                before = first.chain or Chain(shapes[0], ())
                return Flow(first.pending, first.origin, first.between, Chain(before.shape, (*before.steps, step)))
        if name in _POINTWISE and len(shapes) <= 2 and first.origin is not None:
            return Flow(pending, first.origin, (*first.between, name))
        return Flow(pending=pending)

    def _note(
        self,
        place: Place,
        bound: Mapping[str, Any],
        in_shape: tuple[int, ...],
        output: Tensor,
        **options: Any,
    ) -> Upsampling:
        arguments = {key: value for key, value in bound.items() if not isinstance(value, Tensor)}
        found = Upsampling(
            place=place,
            arguments=arguments,
            in_shape=in_shape,
            out_shape=tuple(output.shape),
            dtype=output.dtype,
            **options,
        )
        self.upsamplings.append(found)
        return found

    def _close_chains(self, tensors: Sequence[Tensor]) -> None:
        """Look for an upsampling in how values were moved, now that somebody reads them."""
        for tensor in tensors:
            flow = self._flows.get(tensor)
            if flow is None or flow.chain is None:
                continue
            layout = read_layout(flow.chain)
            if layout is None:
                is_same = all(step.name in _SAME for step in flow.chain.steps)
                self._flows[tensor] = (
                    Flow(flow.pending, flow.origin, flow.between) if is_same else Flow(flow.pending)
                )
                continue
            step = flow.chain.steps[layout.step]
            if id(step) not in self._found:
                found = Upsampling(
                    place=step.place,
                    arguments={},
                    in_shape=flow.chain.shape,
                    out_shape=step.shape,
                    dtype=tensor.dtype,
                    layout=layout,
                    weighted=flow.origin if layout.channels is not None else None,
                    between=list(flow.between),
                )
                self.upsamplings.append(found)
                self._found[id(step)] = (step, found)
            self._flows[tensor] = Flow((*flow.pending, self._found[id(step)][1]))


def _enlarges(in_shape: Sequence[int], out_shape: Sequence[int]) -> bool:
    """Whether an interpolation makes some side larger."""
    return any(after > before for before, after in zip(in_shape[2:], out_shape[2:], strict=True))


def _make_step(
    function: Callable[..., Any], place: Place, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Step | None:
    """Write a call down, to be called again for another tensor; None if its tensor is not among its arguments."""
    flat = tuple(_flatten(args)) if place.name == "einsum" else args
    is_tensor = [isinstance(arg, Tensor) for arg in flat]
    if sum(is_tensor) != 1 or any(arg is None for arg in flat) or not isinstance(output, Tensor):
        return None
    kept = tuple(None if tensor else arg for tensor, arg in zip(is_tensor, flat, strict=True))
    return Step(function, kept, kwargs, place, tuple(output.shape))


def _flatten(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _flatten(value)
        else:
            yield value
