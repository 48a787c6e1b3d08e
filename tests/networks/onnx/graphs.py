"""Graphs made by hand, and what onnxruntime makes of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deconvbench.networks.onnx import OnnxModule, load_onnx

onnx: Any = pytest.importorskip("onnx")
runtime: Any = pytest.importorskip("onnxruntime")
helper: Any = pytest.importorskip("onnx.helper")
numpy_helper: Any = pytest.importorskip("onnx.numpy_helper")

Array = np.ndarray[Any, Any]


def draw(*shape: int, seed: int = 0) -> Array:
    """Draw an array of float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def declare(name: str, shape: Sequence[int | str | None] | None, dtype: Any = np.float32) -> Any:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def make_model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Any],
    outputs: Sequence[str] = ("y",),
    weights: Mapping[str, Array] | None = None,
    opset: int = 20,
    *,
    opsets: Mapping[str, int] | None = None,
    functions: Sequence[Any] = (),
    ir_version: int = 9,
) -> Any:
    """Make a model; inputs are arrays, or what was declared."""
    declared = [
        declare(name, value.shape, value.dtype) if isinstance(value, np.ndarray) else value
        for name, value in inputs.items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "graph",
        declared,
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    for output in graph.output:
        # the checker wants to know what it is, and nobody else does
        output.type.tensor_type.elem_type = 1
        output.type.tensor_type.shape.SetInParent()
    versions = {"": opset, **(opsets or {})}
    imports = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=ir_version)


def forget_types(model: Any) -> Any:
    """Copy a model without the types of its outputs, which onnxruntime finds by itself."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    for output in copied.graph.output:
        output.ClearField("type")
    return copied


def load(model: Any, folder: Path) -> OnnxModule:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return load_onnx(path)


def run_runtime(model: Any, inputs: Mapping[str, Array]) -> list[Array]:
    """Run a whole model in onnxruntime."""
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(
        forget_types(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[Array] = session.run(None, dict(inputs))
    return found


def run_module(module: OnnxModule, inputs: Mapping[str, Array]) -> list[Tensor]:
    with torch.no_grad():
        output = module(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    return list(output.values()) if isinstance(output, dict) else [output]


def assert_same(model: Any, inputs: Mapping[str, Array], folder: Path, tolerance: float = 1e-5) -> OnnxModule:
    """Assert that a module gives what onnxruntime gives, within rounding of float32."""
    module = load(model, folder)
    ours, theirs = run_module(module, inputs), run_runtime(model, inputs)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert tuple(one.shape) == other.shape
        assert one.numpy().dtype == other.dtype
        scale = max(1.0, float(np.abs(other).max())) if other.size and other.dtype.kind == "f" else 1.0
        np.testing.assert_allclose(one.numpy() / scale, other / scale, rtol=0, atol=tolerance)
    return module


def check_node(
    kind: str,
    values: Sequence[Array | None],
    folder: Path,
    *,
    opset: int = 20,
    outputs: int = 1,
    **attributes: Any,
) -> OnnxModule:
    """Assert that one node gives what onnxruntime gives."""
    names = ["" if value is None else f"x{number}" for number, value in enumerate(values)]
    inputs = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    results = [f"y{number}" for number in range(outputs)]
    model = make_model([node(kind, names, results, name="it", **attributes)], inputs, results, opset=opset)
    return assert_same(model, inputs, folder)
