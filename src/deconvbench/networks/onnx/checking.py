"""What an ONNX file may hold: versions, sizes, names, nesting. All else is refused in one line.

Looks at a model that has been parsed, before any of it is used. What a graph costs when it runs (a loop without
end, a tensor that grows) is left to the limits of the process that runs it.
"""

from collections.abc import Iterator
from typing import Any

from deconvbench.errors import UsageError
from deconvbench.networks.onnx.libraries import import_library
from deconvbench.networks.onnx.reading import find_captured, make_printable
from deconvbench.networks.onnx.tensors import check_tensor

OLDEST_OPSET = 7
MOST_NODES = 200_000
MOST_DEPTH = 16
_MOST_CHARACTERS = 300
# domains whose operators onnxruntime has built in
_BUILT_IN = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_GRAPH, _GRAPHS = 5, 10


def check_model(model: Any, most_bytes: int) -> int:
    """Check a model.

    Parameters
    ----------
    model : ModelProto
        Parsed; external data are not read yet. Functions of its own are still among its nodes.
    most_bytes : int
        Of all tensors together.

    Returns
    -------
    int
        Bytes of its tensors.

    Raises
    ------
    UsageError
        If it holds what is not allowed.
    """
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise UsageError("there is no graph in it")
    _check_opsets(model)
    _check_functions(model)
    count = total = 0
    for graph, depth in walk_graphs(model.graph):
        if depth > MOST_DEPTH:
            raise UsageError(f"graphs are nested more than {MOST_DEPTH} deep")
        count += len(graph.node)
        if count > MOST_NODES:
            raise UsageError(f"more than {MOST_NODES} nodes")
        for tensor, name in list_tensors(graph):
            total += check_tensor(tensor, name, most_bytes - total)
        _check_names(graph)
    return total


def walk_graphs(graph: Any, depth: int = 0) -> Iterator[tuple[Any, int]]:
    """Walk a graph and the graphs of its nodes.

    Parameters
    ----------
    graph : GraphProto
        The outermost.
    depth : int
        Its own.

    Yields
    ------
    graph : GraphProto
    depth : int
        In how many others it is.
    """
    yield graph, depth
    if depth > MOST_DEPTH:
        return
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == _GRAPH:
                yield from walk_graphs(attribute.g, depth + 1)
            elif attribute.type == _GRAPHS:
                raise UsageError(
                    f"{make_printable(node.name) or node.op_type}: has several graphs in one attribute"
                )


def list_tensors(graph: Any) -> Iterator[tuple[Any, str]]:
    """List the tensors of one graph, with words for messages.

    Parameters
    ----------
    graph : GraphProto
        Those of its own graphs are left out.

    Yields
    ------
    tensor : TensorProto
    name : str
    """
    for tensor in graph.initializer:
        yield tensor, f"initializer {make_printable(tensor.name)!r}"
    for sparse in graph.sparse_initializer:
        name = f"initializer {make_printable(sparse.values.name)!r}"
        yield from _list_sparse(sparse, name)
    for node in graph.node:
        name = make_printable(node.name) or make_printable(node.op_type)
        for attribute in node.attribute:
            if attribute.HasField("t") and not _is_text(attribute.t):
                yield attribute.t, f"{name}: attribute {make_printable(attribute.name)}"
            for tensor in attribute.tensors:
                yield tensor, f"{name}: attribute {make_printable(attribute.name)}"
            if attribute.HasField("sparse_tensor"):
                yield from _list_sparse(attribute.sparse_tensor, name)


def _is_text(tensor: Any) -> bool:
    return bool(tensor.data_type == import_library("onnx").TensorProto.STRING)


def _list_sparse(sparse: Any, name: str) -> Iterator[tuple[Any, str]]:
    yield sparse.values, name
    yield sparse.indices, name
    # what it would be when all zeros are written
    dense = type(sparse.values)(dims=sparse.dims, data_type=sparse.values.data_type, data_location=1)
    yield dense, name


def _check_opsets(model: Any) -> None:
    newest = import_library("onnx.defs").onnx_opset_version()
    versions = {one.domain: one.version for one in model.opset_import}
    version = versions.get("", versions.get("ai.onnx"))
    if version is None:
        raise UsageError("does not say which version of ONNX's operators (opset) it is written in")
    if not OLDEST_OPSET <= version <= newest:
        raise UsageError(f"opset {version}; from {OLDEST_OPSET} to {newest} are read")
    own = {(function.domain, function.name) for function in model.functions}
    for graph, _ in walk_graphs(model.graph):
        for node in graph.node:
            if node.domain not in _BUILT_IN and (node.domain, node.op_type) not in own:
                raise UsageError(
                    f"{make_printable(node.name) or 'a node'}: operator {make_printable(node.op_type)!r} of"
                    f" {make_printable(node.domain)!r} is a custom one, and libraries of operators are not loaded"
                )


def _check_functions(model: Any) -> None:
    """Check that the model's functions do not call themselves, and how large it is with them written out."""
    bodies = {(one.domain, one.name): one for one in model.functions}
    if len(bodies) < len(model.functions):
        raise UsageError("two of its functions have one name")
    sizes: dict[tuple[str, str], int] = {}
    open_ones: set[tuple[str, str]] = set()

    def measure(nodes: Any, depth: int) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            total += measure_function(key, depth) if key in bodies else 1
            for attribute in node.attribute:
                if attribute.type == _GRAPH:
                    total += measure(attribute.g.node, depth + 1)
            if total > MOST_NODES:
                raise UsageError(f"more than {MOST_NODES} nodes, with its functions written out")
        return total

    def measure_function(key: tuple[str, str], depth: int) -> int:
        if key in open_ones:
            raise UsageError(f"function {make_printable(key[1])!r} calls itself")
        if depth > MOST_DEPTH:
            raise UsageError(f"functions are nested more than {MOST_DEPTH} deep")
        if key not in sizes:
            open_ones.add(key)
            sizes[key] = measure(bodies[key].node, depth + 1)
            open_ones.discard(key)
        return sizes[key]

    if bodies:
        measure(model.graph.node, 0)
        for key in bodies:
            measure_function(key, 0)


def _check_names(graph: Any) -> None:
    """Check that each value of a graph is made once, and that its outputs are made."""
    made: set[str] = set()
    names = [tensor.name for tensor in graph.initializer]
    names += [sparse.values.name for sparse in graph.sparse_initializer]
    for name in names:
        if not name:
            raise UsageError("an initializer has no name")
        if name in made:
            raise UsageError(f"two initializers have the name {make_printable(name)!r}")
        made.add(name)
    for value in graph.input:
        made.add(value.name)
    for node in graph.node:
        for name in filter(None, node.output):
            if name in made:
                raise UsageError(f"two nodes make the value {make_printable(name)!r}")
            made.add(name)
    if any(not value.name for value in graph.output):
        raise UsageError("an output has no name")


def check_whole_graph(model: Any) -> None:
    """Check that every value of the outermost graph is made before it is used, those of outputs among them.

    Parameters
    ----------
    model : ModelProto
        With its functions written out.

    Raises
    ------
    UsageError
        If one is not.
    """
    captured = find_captured(model.graph)
    if captured:
        raise UsageError(
            f"value {make_printable(captured[0])!r} is used before a node makes it, or none does (a cycle, or a"
            " missing initializer)"
        )


def check_with_onnx(model: Any) -> None:
    """Check a model with ONNX's own checker.

    Parameters
    ----------
    model : ModelProto
        Any; its tensors may have been emptied.

    Raises
    ------
    UsageError
        In one line, with what the checker says.
    """
    try:
        import_library("onnx.checker").check_model(model)
    except Exception as error:
        text = " ".join(str(error).split())
        text = text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS].rstrip()} …"
        raise UsageError(f"is not valid: {make_one_line(text)}") from error


def make_one_line(text: str) -> str:
    """Write a message of a library in one line that can be shown."""
    return "".join(one if one.isprintable() else "�" for one in " ".join(text.split()))
