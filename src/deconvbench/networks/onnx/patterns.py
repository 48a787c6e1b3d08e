"""Nodes that are one function of torch, as exporters write it out: found, and made one again.

So the layer before a shuffle is the one that the network had: a bias that is added, SiLU, GELU and Mish do not
come between as if they were something else. Changes nothing about what is computed but for rounding.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from deconvbench.networks.onnx.operators.registry import read_numbers
from deconvbench.networks.onnx.specs import Spec

_LAYERS = frozenset({"Conv", "ConvTranspose", "MatMul"})
_CLOSE = 1e-4


class _Graph:
    """Who makes and who reads each value."""

    def __init__(self, specs: Sequence[Spec], kept: frozenset[str], constants: Mapping[str, Tensor]) -> None:
        self.makers = {name: spec for spec in specs for name in spec.outputs if name}
        self.constants = constants
        self._readers: dict[str, int] = {}
        for spec in specs:
            for name in spec.inputs:
                self._readers[name] = self._readers.get(name, 0) + 1
        self._kept = kept

    def find(self, name: str, operator: str, readers: int = 1) -> Spec | None:
        """Find who makes a value, if that is such a node and so many read it."""
        spec = self.makers.get(name)
        fits = (
            spec is not None
            and spec.operator == operator
            and not spec.domain
            and name not in self._kept
            and self._readers.get(name, 0) == readers
        )
        return spec if fits else None

    def read(self, name: str) -> float | None:
        """Read a single constant."""
        tensor = self.constants.get(name)
        return float(read_numbers(tensor)[0]) if tensor is not None and tensor.numel() == 1 else None


def join_patterns(
    specs: Sequence[Spec], kept: frozenset[str], constants: Mapping[str, Tensor], is_static: Callable[[str], bool]
) -> list[Spec]:
    """Make one of the nodes that are one function.

    Parameters
    ----------
    specs : sequence of Spec
        In order.
    kept : frozenset of str
        Values that are needed outside: outputs, and what other graphs take.
    constants : mapping of str to Tensor
        Values that are known.
    is_static : callable
        Whether a value depends on constants alone.

    Returns
    -------
    list of Spec
        In order.
    """
    graph = _Graph(specs, kept, constants)
    changed: dict[int, Spec | None] = {}
    for spec in specs:
        if spec.domain:
            continue
        if spec.operator == "Add":
            _join_bias(graph, spec, changed, is_static)
        elif spec.operator == "Mul":
            _join_activation(graph, spec, changed)
    found = [changed.get(id(spec), spec) for spec in specs]
    return [spec for spec in found if spec is not None]


def _join_bias(
    graph: _Graph, spec: Spec, changed: dict[int, Spec | None], is_static: Callable[[str], bool]
) -> None:
    """Find a layer without bias, and the sum of it and a constant for each channel."""
    for value, bias in (spec.inputs, spec.inputs[::-1]):
        layer = next((one for name in _LAYERS if (one := graph.find(value, name)) is not None), None)
        tensor = graph.constants.get(bias)
        if layer is None or tensor is None or len(layer.inputs) != 2 or not is_static(layer.inputs[1]):
            continue
        weight = graph.constants.get(layer.inputs[1])
        if layer.operator == "MatMul":
            if tensor.ndim == 1 and weight is not None and weight.ndim == 2 and len(tensor) == weight.shape[1]:
                # where the sum was: the constant may be known no earlier
                changed[id(layer)], changed[id(spec)] = (
                    None,
                    replace(layer, operator="_Linear", inputs=(*layer.inputs, bias), outputs=spec.outputs),
                )
            return
        if weight is None or not 3 <= weight.ndim <= 5:
            return
        channels = weight.shape[0] if layer.operator == "Conv" else weight.shape[1] * layer.get("group", 1)
        shape = (channels, *(1 for _ in weight.shape[2:]))
        if tensor.numel() == channels and tuple(tensor.shape[-len(shape) :]) == shape:
            changed[id(layer)], changed[id(spec)] = (
                None,
                replace(layer, inputs=(*layer.inputs, bias), outputs=spec.outputs),
            )
        return


def _join_activation(graph: _Graph, spec: Spec, changed: dict[int, Spec | None]) -> None:
    for x, gate in (spec.inputs, spec.inputs[::-1]):
        sigmoid = graph.find(gate, "Sigmoid")
        if sigmoid is not None and sigmoid.inputs == (x,):
            _replace(spec, [sigmoid], "_Silu", x, changed)
            return
        tanh = graph.find(gate, "Tanh")
        softplus = None if tanh is None else graph.find(tanh.inputs[0], "Softplus")
        if tanh is not None and softplus is not None and softplus.inputs == (x,):
            _replace(spec, [tanh, softplus], "Mish", x, changed)
            return
    gelu = _find_gelu(graph, spec)
    if gelu is not None:
        _replace(spec, gelu[1], "_Gelu", gelu[0], changed)


def _find_gelu(graph: _Graph, spec: Spec) -> tuple[str, list[Spec]] | None:
    """Find x and the nodes of x·½·(1 + erf(x/√2)), multiplied in any order."""
    factors, nodes = list(spec.inputs), []
    while len(factors) < 3:
        inner = next((one for name in factors if (one := graph.find(name, "Mul")) is not None), None)
        if inner is None:
            return None
        nodes.append(inner)
        factors.remove(inner.outputs[0])
        factors += inner.inputs
    halves = [name for name in factors if graph.read(name) == 0.5]
    sums = [(name, one) for name in factors if (one := graph.find(name, "Add")) is not None]
    if len(halves) != 1 or len(sums) != 1:
        return None
    (x,) = (name for name in factors if name not in {halves[0], sums[0][0]})
    total = sums[0][1]
    for of_erf, added in (total.inputs, total.inputs[::-1]):
        erf = graph.find(of_erf, "Erf")
        if erf is None or graph.read(added) != 1:
            continue
        for operator, factor in (("Div", math.sqrt(2)), ("Mul", math.sqrt(0.5))):
            scaled = graph.find(erf.inputs[0], operator)
            if scaled is not None and scaled.inputs[0] == x:
                number = graph.read(scaled.inputs[1])
                if number is not None and abs(number - factor) < _CLOSE:
                    return x, [*nodes, total, erf, scaled]
    return None


def _replace(spec: Spec, nodes: Sequence[Spec], operator: str, x: str, changed: dict[int, Spec | None]) -> None:
    changed.update({id(one): None for one in nodes})
    changed[id(spec)] = replace(spec, operator=operator, inputs=(x,), attributes={})
