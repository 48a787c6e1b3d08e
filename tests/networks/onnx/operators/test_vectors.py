"""ONNX's own test vectors of every operator that torch computes here."""

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deconvbench.networks.onnx import load_onnx
from deconvbench.networks.onnx.libraries import DTYPES
from deconvbench.networks.onnx.module import Node
from deconvbench.networks.onnx.operators import OPERATORS
from deconvbench.networks.onnx.tensors import to_numpy, to_torch
from tests.networks.onnx.graphs import Array, onnx

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

# onnxruntime has other values than the vectors, and these are its; or they are random
OTHERWISE = (
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
    "test_maxunpool_export_with_output_shape",
    "test_bernoulli",
    "test_training_dropout",
)


def list_cases() -> list[Any]:
    """List the cases of one node that torch has a function for, of types that are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = importlib.import_module("onnx.backend.test.case.node").collect_testcases(None)
    return [case for case in cases if case.model is not None and is_ours(case)]


def is_ours(case: Any) -> bool:
    graph = case.model.graph
    types = [value.type for value in (*graph.input, *graph.output)]
    return (
        len(graph.node) == 1
        and graph.node[0].op_type in OPERATORS
        and not case.name.startswith(OTHERWISE)
        and all(one.version >= 7 for one in case.model.opset_import if not one.domain)
        and all(one.WhichOneof("value") == "tensor_type" and one.tensor_type.elem_type in DTYPES for one in types)
        # data of other types
        and all(np.asarray(value).dtype != object for pair in case.data_sets for one in pair for value in one)
    )


def is_computed_elsewhere(module: torch.nn.Module) -> bool:
    return any(isinstance(one, Node) and one._elsewhere._sessions for one in module.modules())


def compare(found: Tensor, wanted: Array) -> None:
    ours = to_numpy(found)
    assert ours.shape == wanted.shape
    is_float = found.is_floating_point()
    tolerance = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(found.dtype, 1e-3) if is_float else 0
    other = to_numpy(to_torch(wanted)) if found.dtype == torch.bfloat16 else wanted
    np.testing.assert_allclose(ours, other, rtol=tolerance, atol=tolerance / 100)


def test_vectors_of_onnx(tmp_path: Path) -> None:
    path, wrong, operators = tmp_path / "model.onnx", [], set()
    for case in list_cases():
        path.write_bytes(case.model.SerializeToString())
        module = load_onnx(path)
        names = [value.name for value in case.model.graph.input]
        for inputs, outputs in case.data_sets:
            try:
                with torch.no_grad():
                    given = zip(names, inputs, strict=True)
                    output = module(**{name: to_torch(np.asarray(value)) for name, value in given})
                if is_computed_elsewhere(module):
                    continue
                found = list(output.values()) if isinstance(output, dict) else [output]
                for one, other in zip(found, outputs, strict=True):
                    compare(one, np.asarray(other))
                operators.add(case.model.graph.node[0].op_type)
            except Exception as error:  # noqa: BLE001 -- all of them are listed
                if "onnxruntime cannot compute" not in str(error):
                    wrong.append(f"{case.name}: {' '.join(str(error).split())[:200]}")
    assert wrong == []
    assert len(operators) > 90
    assert onnx.defs.onnx_opset_version() >= 20
