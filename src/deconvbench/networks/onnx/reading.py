"""Nodes of a graph as plain data, and its constants as tensors.

What is read has been checked (see `checking`); nothing is run.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deconvbench.errors import UsageError
from deconvbench.networks.onnx.specs import Spec

# kinds of attributes, by ONNX's numbers
_FLOAT, _INT, _STRING, _TENSOR, _GRAPH, _FLOATS, _INTS, _STRINGS, _TENSORS = range(1, 10)
_SPARSE = 11
_MOST_CHARACTERS = 120

ReadTensor = Callable[[Any, str], Tensor]


@dataclass(slots=True, kw_only=True)
class ReadNode:
    """A node that was read.

    Parameters
    ----------
    spec : Spec
        What it is.
    node : NodeProto
        The same in the file.
    graphs : dict
        Its graphs, by the attribute's name.
    captured : tuple of str
        What these take from around them.
    """

    spec: Spec
    node: Any
    graphs: dict[str, Any] = field(default_factory=dict)
    captured: tuple[str, ...] = ()


def make_printable(name: str) -> str:
    """Write a name so that it can be shown: without control characters, and not too long."""
    text = "".join(one if one.isprintable() else "�" for one in name)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def read_nodes(graph: Any, opsets: Mapping[str, int], read_tensor: ReadTensor) -> list[ReadNode]:
    """Read the nodes of a graph but for constants.

    Parameters
    ----------
    graph : GraphProto
        Checked.
    opsets : mapping of str to int
        By domain.
    read_tensor : callable
        Converts a tensor of the file; is given a name for messages too.
    """
    taken: set[str] = set()
    found = []
    for number, node in enumerate(graph.node):
        if node.op_type == "Constant" and not _clean(node.domain):
            continue
        name = _choose_name(node, number, taken)
        attributes: dict[str, Any] = {}
        graphs: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.type == _GRAPH:
                graphs[attribute.name] = attribute.g
            else:
                attributes[attribute.name] = _read_attribute(attribute, name, read_tensor)
        inputs = list(node.input)
        while inputs and not inputs[-1]:
            inputs.pop()
        spec = Spec(
            name=name,
            operator=node.op_type,
            domain=_clean(node.domain),
            opset=opsets.get(_clean(node.domain), 1),
            inputs=tuple(inputs),
            outputs=_strip(node.output),
            attributes=attributes,
        )
        captured = tuple(dict.fromkeys(name for one in graphs.values() for name in find_captured(one)))
        found.append(ReadNode(spec=spec, node=node, graphs=graphs, captured=captured))
    return found


def _strip(names: Any) -> tuple[str, ...]:
    kept = list(names)
    while kept and not kept[-1]:
        kept.pop()
    return tuple(kept)


def _clean(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _choose_name(node: Any, number: int, taken: set[str]) -> str:
    """Choose a name that is unique in its graph."""
    name = wanted = make_printable(node.name) or f"{make_printable(node.op_type)}_{number}"
    count = 1
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name


def _read_attribute(attribute: Any, name: str, read_tensor: ReadTensor) -> Any:  # noqa: PLR0911 -- one return for each kind
    kind = attribute.type
    if kind == _FLOAT:
        return attribute.f
    if kind == _INT:
        return attribute.i
    if kind == _STRING:
        return attribute.s.decode(errors="replace")
    if kind == _TENSOR:
        return read_tensor(attribute.t, f"{name}: attribute {attribute.name}")
    if kind == _FLOATS:
        return list(attribute.floats)
    if kind == _INTS:
        return list(attribute.ints)
    if kind == _STRINGS:
        return [one.decode(errors="replace") for one in attribute.strings]
    if attribute.name in {"body", "then_branch", "else_branch"}:
        raise UsageError(f"{name}: attribute {attribute.name} is not a graph")
    # of operators that onnxruntime computes
    return None


def read_constants(graph: Any, read_tensor: ReadTensor) -> Iterator[tuple[str, Tensor]]:
    """Read initializers and nodes of type ``Constant``.

    Parameters
    ----------
    graph : GraphProto
        Checked.
    read_tensor : callable
        As above.

    Yields
    ------
    name : str
        Of the value.
    tensor : Tensor
    """
    for tensor in graph.initializer:
        yield tensor.name, read_tensor(tensor, f"initializer {make_printable(tensor.name)!r}")
    for sparse in graph.sparse_initializer:
        name = make_printable(sparse.values.name)
        yield sparse.values.name, _make_dense(sparse, f"initializer {name!r}", read_tensor)
    for number, node in enumerate(graph.node):
        if node.op_type == "Constant" and not _clean(node.domain) and node.output:
            name = make_printable(node.name) or f"Constant_{number}"
            yield node.output[0], _read_constant(node, name, read_tensor)


def _read_constant(node: Any, name: str, read_tensor: ReadTensor) -> Tensor:
    if len(node.attribute) != 1:
        raise UsageError(f"{name}: a Constant has one attribute, not {len(node.attribute)}")
    (attribute,) = node.attribute
    if attribute.type == _TENSOR:
        return read_tensor(attribute.t, name)
    if attribute.type == _SPARSE:
        return _make_dense(attribute.sparse_tensor, name, read_tensor)
    if attribute.type in {_FLOAT, _FLOATS}:
        values = attribute.f if attribute.type == _FLOAT else list(attribute.floats)
        return torch.tensor(values, dtype=torch.float32)
    if attribute.type in {_INT, _INTS}:
        return torch.tensor(attribute.i if attribute.type == _INT else list(attribute.ints), dtype=torch.int64)
    raise UsageError(f"{name}: a Constant of text is not supported")


def _make_dense(sparse: Any, name: str, read_tensor: ReadTensor) -> Tensor:
    values, indices = read_tensor(sparse.values, name), read_tensor(sparse.indices, name)
    dense = torch.zeros(tuple(sparse.dims), dtype=values.dtype)
    flat = dense.view(-1)
    if indices.ndim == 2:
        sides = torch.tensor(list(sparse.dims))
        steps = torch.tensor([int(sides[axis + 1 :].prod()) for axis in range(len(sides))])
        indices = (indices * steps).sum(1)
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < flat.numel():
        raise UsageError(f"{name}: has indices outside of its shape")
    flat[indices] = values
    return dense


def find_captured(graph: Any) -> list[str]:
    """Find the values that a graph takes from around it, those that its own graphs take among them."""
    own = {value.name for value in (*graph.input, *graph.initializer)}
    own |= {sparse.values.name for sparse in graph.sparse_initializer}
    found: dict[str, None] = {}
    for node in graph.node:
        inner = [name for one in node.attribute if one.type == _GRAPH for name in find_captured(one.g)]
        for name in (*node.input, *inner):
            if name and name not in own:
                found[name] = None
        own.update(node.output)
    found.update({value.name: None for value in graph.output if value.name not in own})
    return list(found)
