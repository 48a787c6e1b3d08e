"""A graph as a module of torch: every node is a submodule with the node's own name, run one after the other.

Values are let go of after their last use. What depends on weights and shapes alone is computed unseen by those
who watch torch's functions; weights that are upsampled there are not looked at.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.errors import DeconvbenchError, UsageError, describe_failure
from deconvbench.networks.onnx.operators import OPERATORS
from deconvbench.networks.onnx.operators.registry import read_number
from deconvbench.networks.onnx.patterns import join_patterns
from deconvbench.networks.onnx.reading import ReadNode, ReadTensor, make_printable, read_constants, read_nodes
from deconvbench.networks.onnx.sessions import OneNode, onnx_node
from deconvbench.networks.onnx.specs import Spec

# what does nothing but to arithmetic with shapes and to prepare weights
_LIGHT = frozenset(
    [
        *(
            "Shape",
            "Size",
            "Gather",
            "Slice",
            "Concat",
            "Unsqueeze",
            "Squeeze",
            "Cast",
            "Add",
            "Sub",
            "Mul",
            "Div",
        ),
        *("Mod", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal", "Pow", "Neg", "Abs", "Min", "Max", "Not", "And"),
        *("Or", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Where", "Reshape", "Transpose"),
        *("Flatten", "Identity", "ConstantOfShape", "Expand", "Tile", "Range", "ReduceProd", "ReduceSum"),
        *("ReduceMax", "ReduceMin", "ReduceMean", "DequantizeLinear", "Split", "CastLike", "Clip"),
    ]
)
# of these only some inputs decide about what is static
_OF_SHAPES = frozenset({"Shape", "Size"})
# computed as a whole by onnxruntime, whatever they do inside
_UNSEEN = frozenset(
    [
        *("Scan", "GridSample", "AffineGrid", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),
        *("ScatterND", "ScatterElements", "Scatter", "STFT", "MaxRoiPool", "RoiAlign", "DeformConv"),
    ]
)
# torch has few functions of these
_ODD = frozenset({torch.uint16, torch.uint32, torch.uint64})
_OF_ANY_TYPE = frozenset(
    {"Cast", "DequantizeLinear", "Identity", "Shape", "Size", "Reshape", "Transpose", "Concat"}
)


# name, shape and type of an input
InputInfo = tuple[str, tuple[int | None, ...], torch.dtype]


class Node(nn.Module):
    """One node.

    Parameters
    ----------
    read : ReadNode
        What it is.
    opsets : mapping of str to int
        By domain.
    read_tensor : callable
        Converts tensors of its graphs.
    """

    def __init__(self, read: ReadNode, opsets: Mapping[str, int], read_tensor: ReadTensor) -> None:
        super().__init__()
        self.spec: Spec = read.spec
        self.captured = read.captured
        self._elsewhere = OneNode(read.spec.name, read.node, opsets, read.captured)
        self.spec.elsewhere = self._elsewhere
        if read.spec.operator in {"If", "Loop"} and not read.spec.domain:
            for name, graph in read.graphs.items():
                self._modules[name] = Graph(graph, opsets, read_tensor)
        self._function: Callable[..., Any] | None = None if read.spec.domain else OPERATORS.get(read.spec.operator)

    @property
    def is_unseen(self) -> bool:
        """Whether an upsampling may be hidden in it."""
        return bool(self.spec.domain) or self.spec.operator in _UNSEEN

    def forward(self, *values: Any, scope: Mapping[str, Any] | None = None) -> Any:
        """Compute its outputs.

        Parameters
        ----------
        *values : Tensor, list of Tensor or None
            Its inputs.
        scope : mapping of str to Any
            The values around it, for its graphs.
        """
        if self._modules:
            return self._branch(scope or {}, *values)
        found = NotImplemented
        is_odd = self.spec.operator not in _OF_ANY_TYPE and any(
            isinstance(value, Tensor) and value.dtype in _ODD for value in values
        )
        if self._function is not None and not is_odd:
            found = self._function(self.spec, *values)
        if found is NotImplemented:
            around = [] if scope is None else [scope[name] for name in self.captured]
            if around:
                values = (*values, *[None] * (self._elsewhere.count_inputs() - len(values)), *around)
            found = onnx_node(*values, run=self._elsewhere)
        return found

    def _branch(self, scope: Mapping[str, Any], *values: Any) -> Any:
        """Run one branch, or a loop."""
        if self.spec.operator == "If":
            branch = self._modules["then_branch" if read_number(values[0], default=False) else "else_branch"]
            assert isinstance(branch, Graph)
            outputs = branch(scope)
            return outputs[0] if len(outputs) == 1 else tuple(outputs)
        body = self._modules["body"]
        assert isinstance(body, Graph)
        most, is_going = (
            read_number(values[0], None),
            bool(read_number(values[1] if len(values) > 1 else None, True)),
        )
        carried = list(values[2:])
        stacks: list[list[Tensor]] = [[] for _ in range(len(body.outputs) - 1 - len(carried))]
        number = 0
        while is_going and (most is None or number < most):
            going = torch.tensor(data=True)
            outputs = body(scope, torch.tensor(number), going, *carried)
            is_going, number = bool(read_number(outputs[0], default=True)), number + 1
            for stack, output in zip(stacks, outputs[1 + len(carried) :], strict=True):
                stack.append(output)
            carried = outputs[1 : 1 + len(carried)]
        if not all(stacks):
            raise UsageError(f"{self.spec.name}: the outputs of a loop that runs zero times have no shape")
        found = [*carried, *(torch.stack(stack) for stack in stacks)]
        return found[0] if len(found) == 1 else tuple(found)


class Graph(nn.Module):
    """A graph.

    Parameters
    ----------
    graph : GraphProto
        Checked.
    opsets : mapping of str to int
        By domain.
    read_tensor : callable
        Converts tensors of the file.
    weights : mapping of str to Tensor
        Initializers that are no longer in the graph.

    Attributes
    ----------
    inputs, outputs : tuple of str
        Names.
    """

    def __init__(
        self,
        graph: Any,
        opsets: Mapping[str, int],
        read_tensor: ReadTensor,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        constants = {**dict(read_constants(graph, read_tensor)), **(weights or {})}
        self.inputs = tuple(value.name for value in graph.input)
        self.outputs = tuple(value.name for value in graph.output)
        nodes = read_nodes(graph, opsets, read_tensor)
        statics = _find_static(nodes, set(constants) - set(self.inputs))
        kept = frozenset([*self.outputs, *(name for read in nodes for name in read.captured)])
        specs = join_patterns([read.spec for read in nodes], kept, constants, statics.__contains__)
        protos = {read.spec.name: read for read in nodes}
        self._nodes: list[str] = []
        for spec in specs:
            read = protos[spec.name]
            spec.is_static = tuple(name in statics for name in spec.inputs)
            # not with add_module, which refuses dots
            self._modules[spec.name] = Node(
                ReadNode(spec=spec, node=read.node, graphs=read.graphs, captured=read.captured),
                opsets,
                read_tensor,
            )
            self._nodes.append(spec.name)
        self._statics = frozenset(
            spec.name
            for spec in specs
            if spec.operator in _LIGHT and all(name in statics for name in spec.outputs)
        )
        self._store = self._keep_constants(constants)
        self._last_uses = self._find_last_uses()

    def _keep_constants(self, constants: Mapping[str, Tensor]) -> str:
        """Keep constants as parameters and buffers of a module, whose name no node has."""
        store = nn.Module()
        for name, tensor in constants.items():
            if tensor.is_floating_point():
                # not with register_parameter, which refuses dots
                store._parameters[name] = nn.Parameter(tensor, requires_grad=False)
            else:
                store._buffers[name] = tensor
        name = "initializers"
        while name in self._modules:
            name += "_"
        self._modules[name] = store
        return name

    @property
    def constants(self) -> dict[str, Tensor]:
        """Initialisers and constants by name."""
        store = self._modules[self._store]
        assert store is not None
        found = {**store._parameters, **store._buffers}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def list_nodes(self) -> list[Node]:
        """List the nodes in order."""
        return [node for name in self._nodes if isinstance(node := self._modules[name], Node)]

    def _find_last_uses(self) -> list[tuple[str, ...]]:
        """Which values each node is the last to use."""
        nodes = self.list_nodes()
        seen = set(self.outputs)
        found = []
        for node in reversed(nodes):
            # what nobody reads goes too
            names = {name for name in (*node.spec.inputs, *node.captured, *node.spec.outputs) if name}
            found.append(tuple(names - seen))
            seen |= names
        return found[::-1]

    def forward(self, scope: Mapping[str, Any], *given: Any) -> Any:
        """Run the nodes, as `run` does."""
        return self.run(scope, given)

    def run(self, scope: Mapping[str, Any], given: Sequence[Any]) -> list[Any]:
        """Run the nodes.

        Parameters
        ----------
        scope : mapping of str to Any
            The values around it.
        given : sequence
            Its inputs, in order; None for one that is left to its initializer.

        Returns
        -------
        list
            Its outputs, in order.
        """
        values: dict[str, Any] = {**scope, **self.constants}
        values.update({name: value for name, value in zip(self.inputs, given, strict=False) if value is not None})
        for node, gone in zip(self.list_nodes(), self._last_uses, strict=True):
            spec = node.spec
            unseen = torch._C.DisableTorchFunction() if spec.name in self._statics else nullcontext()
            try:
                arguments = [values[name] if name else None for name in spec.inputs]
                with unseen:
                    found = node(*arguments, scope=values if node.captured else None)
            except (DeconvbenchError, MemoryError):
                raise
            except Exception as error:
                raise UsageError(f"{spec.name}: {spec.operator} failed: {describe_failure(error)}") from error
            several = found if isinstance(found, tuple) else (found,)
            values.update({name: value for name, value in zip(spec.outputs, several, strict=False) if name})
            for name in gone:
                values.pop(name, None)
        return [values[name] for name in self.outputs]


def _find_static(nodes: Sequence[ReadNode], known: set[str]) -> set[str]:
    """Find the values that depend on constants and shapes alone."""
    found = set(known)
    for read in nodes:
        spec = read.spec
        is_light = spec.operator in _LIGHT and not spec.domain
        if is_light and (spec.operator in _OF_SHAPES or found.issuperset(filter(None, spec.inputs))):
            found.update(filter(None, spec.outputs))
    return found


class OnnxModule(Graph):
    """A network of an ONNX file; made by `load_onnx`.

    Its arguments are the graph's inputs, in order or by name, but for those that have an initializer, which may be
    given by name. It returns the output, or a dict of the outputs by name.

    Parameters
    ----------
    graph : GraphProto
        Checked.
    opsets : mapping of str to int
        Version of the operators of each domain.
    read_tensor : callable
        Converts tensors of the file; is given a name for messages too.
    weights : mapping of str to Tensor
        Initializers that are no longer in the graph.
    described : sequence of (str, tuple, torch.dtype)
        What `describe_inputs` returns.
    """

    def __init__(
        self,
        graph: Any,
        opsets: Mapping[str, int],
        read_tensor: ReadTensor,
        *,
        weights: Mapping[str, Tensor],
        described: Sequence[InputInfo],
    ) -> None:
        super().__init__(graph, opsets, read_tensor, weights)
        self._described = tuple(described)

    def describe_inputs(self) -> list[InputInfo]:
        """Describe the arguments.

        Returns
        -------
        list of (str, tuple, torch.dtype)
            Name, shape and type of each; sides that the file leaves open are None. Inputs that have an initializer
            are left out.
        """
        return list(self._described)

    def list_unseen(self) -> list[str]:
        """Name the nodes that onnxruntime computes and in which an upsampling may be hidden.

        Returns
        -------
        list of str
            ``name: operator``.
        """
        return [
            f"{path}: {module.spec.operator}"
            for path, module in self.named_modules()
            if isinstance(module, Node) and module.is_unseen
        ]

    def float(self) -> "OnnxModule":
        """Convert to single precision, also what the graph itself converts to half precision."""
        for module in self.modules():
            if isinstance(module, Node):
                module.spec.is_widened = True
        return super().float()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph."""
        names = [name for name, _, _ in self._described]
        if len(args) > len(names):
            raise UsageError(f"{len(args)} inputs are given; the graph has {len(names)}: {', '.join(names)}")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        unknown = sorted(set(given) - set(self.inputs))
        if unknown:
            raise UsageError(f"input {make_printable(unknown[0])!r} is unknown; the graph has: {', '.join(names)}")
        missing = [name for name in names if name not in given]
        if missing:
            raise UsageError(f"input {make_printable(missing[0])!r} is missing")
        outputs = self.run({}, [given.get(name) for name in self.inputs])
        return outputs[0] if len(outputs) == 1 else dict(zip(self.outputs, outputs, strict=True))
