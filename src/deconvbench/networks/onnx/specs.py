"""One node of a graph as plain data: operator, names of its inputs and outputs, attributes.

Parses nothing and runs nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True, eq=False)
class Spec:
    """What a node is.

    Parameters
    ----------
    name : str
        Unique in its graph, fit to be shown.
    operator : str
        Type of operator; one that starts with ``_`` is made of several nodes.
    domain : str
        Empty for ONNX's own operators.
    opset : int
        Version of the operators of that domain.
    inputs, outputs : tuple of str
        Names of values; empty ones are left out.
    attributes : dict
        Numbers, texts, tensors and lists of such. Graphs are not among them.
    written : bytes
        The node as it was in the file; empty for one that is made of several.
    is_static : tuple of bool
        Which inputs depend on weights and shapes alone.
    is_widened : bool
        Whether what is half precision in the file is computed in single precision.
    elsewhere : callable or None
        Computes the node with onnxruntime.
    """

    name: str
    operator: str
    domain: str = ""
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    written: bytes = b""
    is_static: tuple[bool, ...] = ()
    is_widened: bool = False
    elsewhere: Callable[..., Any] | None = None

    def get(self, name: str, default: Any = None) -> Any:
        """Read an attribute."""
        return self.attributes.get(name, default)

    def read_sizes(self, name: str, default: int, dims: int) -> list[int]:
        """Read an attribute of one number for each spatial axis."""
        sizes: Sequence[int] | None = self.attributes.get(name)
        return list(sizes) if sizes else [default] * dims
