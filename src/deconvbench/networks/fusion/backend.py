"""The backend of ``torch.compile`` that makes nearest-neighbour upsampling fast, before another backend compiles.

``torch.compile(model, backend="deconvbench")`` is all that a user changes. The rules are those of `fuse`, without
running anything: only what is certain for every input that the graph is good for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.networks.fusion import calls
from deconvbench.networks.fusion.compiled_gain import pays_compiled
from deconvbench.networks.fusion.deconvolution import convolve_transposed, may_filter, read_call
from deconvbench.networks.fusion.expressions import FindPrepared, LazyExpression
from deconvbench.networks.fusion.matching import Match
from deconvbench.networks.fusion.padded import find_form_size
from deconvbench.networks.fusion.purity import is_harmless, split_inplace
from deconvbench.networks.fusion.resizing import LEAST_PIXELS_SPLIT, convolve, resize_conv2d
from deconvbench.networks.fusion.rules import find_match, follow
from deconvbench.networks.fusion.tensors import find_tensors
from deconvbench.upsamplers.fast.dtypes import HALF_PRECISION
from deconvbench.upsamplers.fast.forms import Geometry, find_fastest
from deconvbench.upsamplers.fast.memory import is_channels_last
from deconvbench.upsamplers.fast.recording import PLAIN_TYPES


def compile_graph(
    graph_module: GraphModule,
    example_inputs: Sequence[Tensor],
    *,
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """Rewrite a graph, then hand it on to another backend.

    Parameters
    ----------
    graph_module : GraphModule
        As ``torch.compile`` gives it.
    example_inputs : sequence of Tensor
        Its inputs.
    mode : str, optional
        Of ``torch.compile``; for inductor.
    options : mapping, optional
        Of ``torch.compile``: ``inner_backend`` names the backend that compiles (``inductor`` if it is not
        given), the rest is its own.

    Returns
    -------
    callable
        What the other backend returns.

    Raises
    ------
    UsageError
        If ``inner_backend`` is this one.

    Examples
    --------
    >>> compiled = torch.compile(model, backend="deconvbench", options={"inner_backend": "aot_eager"})
    """
    import torch._dynamo  # noqa: PLC0415 # seconds to import, and only compiling needs it

    own = dict(options or {})
    inner = own.pop("inner_backend", "inductor")
    if inner in {"deconvbench", compile_graph}:
        raise UsageError(f"inner_backend: {inner!r} is this backend itself; name the one that compiles")
    rewrite_graph(graph_module)
    if inner != "inductor":
        compile_inner: Any = torch._dynamo.lookup_backend(inner)
        compiled: Callable[..., Any] = compile_inner(
            graph_module, list(example_inputs), **({"options": own} if own else {})
        )
        return compiled
    from torch._inductor import list_mode_options  # noqa: PLC0415 # as above
    from torch._inductor.compile_fx import compile_fx  # noqa: PLC0415 # as above

    patches = {**(list_mode_options(mode) if mode else {}), **own}
    optimized: Any = compile_fx(graph_module, list(example_inputs), config_patches=patches or None)
    return cast(Callable[..., Any], optimized)


# where a compiler keeps what a node would be
_EXAMPLE = "example_value"
_OWN_TYPES = PLAIN_TYPES | {FakeTensor}
# nodes that change what later nodes mean
_SWITCHES = ("set_grad_enabled", "autocast", "inference_mode", "functorch", "vmap")


def rewrite_graph(module: GraphModule) -> int:
    """Replace upsampling and convolution in a graph by one exact faster operation.

    Parameters
    ----------
    module : GraphModule
        With the functions of ``torch`` and ``torch.nn.functional``, and an example of every value, as a backend of
        ``torch.compile`` gets it. Changed in place.

    Returns
    -------
    int
        How many convolutions were replaced.
    """
    writer = _Writer(module.graph)
    replaced = sum(writer.visit(node) for node in list(module.graph.nodes))
    # what was written down for nothing too
    writer.prune()
    if replaced:
        module.graph.lint()
        module.recompile()
    return replaced


class _Writer:
    """An interpreter of nodes."""

    def __init__(self, graph: torch.fx.Graph) -> None:
        self._graph = graph
        self._expressions: dict[Node, LazyExpression[Node]] = {}
        # what may be erased once it is not read any more: nodes without side effects
        self._erasable: list[Node] = []
        self._inputs: set[int] = set()

    def find_expression(self, value: Any) -> LazyExpression[Node] | None:
        return self._expressions.get(value) if isinstance(value, Node) else None

    def is_image(self, value: Any) -> bool:
        return _find_example(value) is not None

    def find_plain(self, value: Any, view: Callable[[Node], Node] | None = None) -> Node | None:
        example = _find_example(value)
        if example is None or example.dtype not in calls.DTYPES:
            return None
        sizes: list[Any] = list(example.shape)
        is_empty = any(isinstance(size, int) and size == 0 for size in sizes)
        if example.layout != torch.strided or is_empty:
            return None
        node: Node = value
        return node if view is None else view(node)

    def find_strides(self, value: Any) -> tuple[Sequence[Any], Sequence[Any]] | None:
        example = None if self.find_plain(value) is None else _find_example(value)
        return None if example is None else (example.shape, example.stride())

    def own(self, source: Node) -> Node:
        # a graph is of functions without memory, but for those that make it forget expressions
        return source

    def get_shape(self, value: Node) -> Sequence[Any]:
        example = _find_example(value)
        return () if example is None else example.shape

    def get_dtype(self, value: Node) -> torch.dtype:
        example = _find_example(value)
        # a dtype that no image has
        return torch.bool if example is None else example.dtype

    def get_device(self, value: Node) -> torch.device:
        example = _find_example(value)
        return torch.device("meta") if example is None else example.device

    def settle(self, source: Node, function: Any, size: int, **options: Any) -> Node:  # noqa: ARG002 -- of the protocol
        # where autocast changes a dtype, the convolution finds that it is not that of the node
        return source

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Node:
        node = self._graph.call_function(function, args, kwargs)
        if function is resize_conv2d:
            # not of classes that have operations of their own
            is_own = all(type(_find_example(argument)) in _OWN_TYPES for argument in args)
            node.kwargs = {**kwargs, "is_graph": is_own}
        else:
            examples = map_arg((args, kwargs), lambda argument: argument.meta[_EXAMPLE])
            with torch.no_grad():
                node.meta[_EXAMPLE] = function(*examples[0], **examples[1])
        self._erasable.append(node)
        return node

    def add(self, total: Node, term: Node) -> Node:
        return self._graph.call_function(torch.add, (total, term))

    def find_prepared(self, weight: Node, start: int, length: int) -> FindPrepared | None:  # noqa: ARG002 -- of the protocol
        return None

    def visit(self, node: Node) -> bool:
        """Follow a node; whether it was a convolution and is replaced."""
        function = _find_function(node)
        if node.op == "placeholder":
            self._inputs |= _find_memory(node)
        if node.op in {"placeholder", "get_attr", "output"}:
            return False
        function, args, kwargs, is_inplace = split_inplace(function, node.args, node.kwargs)
        is_followed = self._is_alone(node) if is_inplace else is_harmless(function, args, kwargs)
        if function is None or not is_followed:
            self._forget(node)
            return False
        with self._graph.inserting_before(node):
            if function is torch.conv2d:
                return self._visit_convolution(node)
            if function is torch.conv_transpose2d:
                return self._visit_deconvolution(node)
            expression = follow(function, *map_arg((args, kwargs), _find_number), self)
        if is_inplace and not (isinstance(expression, LazyExpression) and self._keeps_dtype(expression, node)):
            self._forget(node)
        elif isinstance(expression, LazyExpression):
            self._expressions[node] = expression
            self._erasable.append(node)
        return False

    def _is_alone(self, node: Node) -> bool:
        """Whether nothing else of the graph can tell that a node writes into its first argument."""
        image = node.args[0] if node.args else None
        if not isinstance(image, Node):
            return False
        memory, order = _find_memory(image), list(self._graph.nodes)
        before = [one for one in order[: order.index(node)] if _find_memory(one) & memory]
        # each is read by the next one only
        is_chain = all(len(one.users) == 1 and set(one.users) <= {node, *before} for one in before)
        return is_chain and not memory & self._inputs

    def _keeps_dtype(self, expression: LazyExpression[Node], node: Node) -> bool:
        """Whether what a node writes is of the type that its first argument has: torch converts otherwise."""
        return {self.get_dtype(part.source) for part in expression.parts} == {
            self.get_dtype(node.all_input_nodes[0])
        }

    def _visit_convolution(self, node: Node) -> bool:
        found = find_match(node.args, node.kwargs, self, lambda value: _find_example(value) is not None)
        if found is None:
            return False
        call, expression, match = found
        if isinstance(match, str):
            return False
        # of gradients in half precision it is not known here whether they are asked for
        if self.get_dtype(node) in HALF_PRECISION or not self._gains(expression, call.weight, match):
            return False
        dtypes = {self.get_dtype(value) for value in (call.image, *(part.source for part in expression.parts))}
        if len(dtypes) > 1:
            return False
        answer = convolve(expression, match, call.weight, call.bias, self)
        if isinstance(answer, LazyExpression):
            (part,) = answer.parts
            result = self.call(functional.interpolate, part.source, scale_factor=part.scales, mode="nearest")
            self._expressions[result] = answer
        else:
            result = answer
            result.meta[_EXAMPLE] = node.meta[_EXAMPLE]
        node.replace_all_uses_with(result)
        self._graph.erase_node(node)
        return True

    def _visit_deconvolution(self, node: Node) -> bool:
        """Let the form of a transposed convolution be chosen when it runs, where its size may be worth it."""
        example_args, example_kwargs = map_arg((node.args, node.kwargs), lambda value: value.meta.get(_EXAMPLE))
        x, weight, bias, shape = read_call(*example_args, **example_kwargs)
        operands = [x, weight] if bias is None else [x, weight, bias]
        if not all(type(operand) in _OWN_TYPES for operand in operands) or not may_filter(x, weight, shape):
            return False
        named = dict(zip(("input", "weight", "bias"), node.args, strict=False)) | dict(node.kwargs)
        result = self._graph.call_function(
            convolve_transposed,
            (named["input"], named["weight"], named.get("bias")),
            {
                "stride": shape.stride[0],
                "padding": shape.padding[0],
                "output_padding": shape.output_padding,
                "groups": shape.groups,
            },
        )
        result.meta[_EXAMPLE] = node.meta[_EXAMPLE]
        node.replace_all_uses_with(result)
        self._graph.erase_node(node)
        return True

    def _gains(self, expression: LazyExpression[Node], weight: Node, match: Match) -> bool:
        """Whether all upsampled pieces are worth another form than the plain one, where their size is known."""
        taps = _find_example(weight)
        assert taps is not None  # `find_match` asks for one
        for piece in match.pieces:
            example = _find_example(expression.parts[piece.first].source)
            if piece.scale == 1 or match.kernel_size == 1 or example is None:
                continue
            batch, _, height, width = example.shape
            if not all(type(number) is int for number in (batch, height, width)):
                continue
            if len(match.pieces) > 1 and batch * height * width < LEAST_PIXELS_SPLIT:
                return False
            geometry = Geometry(
                kernel_size=find_form_size(match.kernel_size, piece.scale, match.padding, match.padding_mode),
                scale_factor=piece.scale,
                groups=match.groups,
                padding_mode=match.padding_mode,
            )
            chosen = find_fastest(example, taps, geometry, is_prepared=False)
            is_last = is_channels_last(example, taps)
            if chosen == "plain" or not pays_compiled(match, piece, example, is_last, chosen):
                return False
        return True

    def _forget(self, node: Node) -> None:
        """Forget the expressions that a node may falsify."""
        written = {memory for argument in node.all_input_nodes for memory in _find_memory(argument)}
        if any(word in str(node.target) for word in _SWITCHES):
            self._expressions.clear()
            return
        if written & self._inputs:
            # two inputs may be views of one memory
            written |= self._inputs
        for image, expression in list(self._expressions.items()):
            nodes = [image, *(part.source for part in expression.parts)]
            if any(_find_memory(own) & written for own in nodes):
                del self._expressions[image]

    def prune(self) -> None:
        """Erase nodes that are not read any more."""
        order = {node: number for number, node in enumerate(self._graph.nodes)}
        known = [node for node in self._erasable if node in order]
        for node in sorted(known, key=order.__getitem__, reverse=True):
            if not node.users:
                self._graph.erase_node(node)


def _find_function(node: Node) -> Any:
    """Find which function of torch a node calls."""
    if node.op == "call_method":
        return getattr(Tensor, str(node.target), None)
    return node.target if node.op == "call_function" else None


def _find_example(value: Any) -> Tensor | None:
    example = value.meta.get(_EXAMPLE) if isinstance(value, Node) else None
    return example if isinstance(example, Tensor) else None


def _find_number(value: Any) -> Any:
    """Have the number, or the numbers, that a node stands for."""
    example = value.meta.get(_EXAMPLE) if isinstance(value, Node) else None
    return example if isinstance(example, (int, torch.SymInt, torch.Size)) else value


def _find_memory(node: Node) -> set[int]:
    return {tensor.untyped_storage()._cdata for tensor in find_tensors((node.meta.get(_EXAMPLE),))}
