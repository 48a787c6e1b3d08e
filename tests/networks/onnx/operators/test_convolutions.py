"""Convolutions and products of every kind, against onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deconvbench.networks.onnx import OnnxModule
from deconvbench.networks.onnx.module import Node
from tests.networks.onnx.graphs import assert_same, check_node, draw, make_model, node


def list_calls(module: OnnxModule) -> list[str]:
    """Nodes that onnxruntime has computed."""
    return [one.spec.name for one in module.modules() if isinstance(one, Node) and one._elsewhere._sessions]


@pytest.mark.parametrize(
    ("sides", "channels", "attributes"),
    [
        pytest.param((9,), (4, 6), {}, id="1-D"),
        pytest.param((8, 9), (4, 6), {"pads": [1, 2, 1, 2], "strides": [2, 1]}, id="pads"),
        pytest.param((8, 9), (4, 6), {"pads": [0, 0, 1, 1]}, id="pads at the end"),
        pytest.param((8, 9), (4, 6), {"group": 2, "dilations": [2, 1]}, id="groups"),
        pytest.param((8, 9), (4, 6), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, id="upper"),
        pytest.param((8, 9), (4, 6), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, id="lower"),
        pytest.param((8, 9), (4, 6), {"auto_pad": "VALID"}, id="valid"),
        pytest.param((5, 6, 7), (4, 6), {"pads": [1] * 6}, id="3-D"),
    ],
)
@pytest.mark.parametrize("with_bias", [False, True])
def test_convolutions(
    sides: tuple[int, ...], channels: tuple[int, int], attributes: dict[str, Any], with_bias: bool, tmp_path: Path
) -> None:
    inside, outside = channels
    weight = draw(outside, inside // attributes.get("group", 1), *(3 for _ in sides), seed=1)
    bias = [draw(outside, seed=2)] if with_bias else []
    module = check_node("Conv", [draw(2, inside, *sides), weight, *bias], tmp_path, **attributes)
    assert list_calls(module) == []


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"pads": [1, 1, 1, 1]}, id="pads"),
        pytest.param({"pads": [1, 1, 1, 1], "output_padding": [1, 1]}, id="output padding"),
        pytest.param({"pads": [0, 0, 1, 1]}, id="cut at the end"),
        pytest.param({"pads": [1, 1, 0, 0]}, id="cut at the beginning"),
        pytest.param({"pads": [2, 1, 0, 0]}, id="cut more than the stride"),
        pytest.param({"auto_pad": "SAME_UPPER"}, id="upper"),
        pytest.param({"auto_pad": "SAME_LOWER"}, id="lower"),
        pytest.param({"auto_pad": "VALID"}, id="valid"),
        pytest.param({"output_shape": [12, 14]}, id="shape"),
        pytest.param({"output_shape": [12, 14], "auto_pad": "SAME_UPPER"}, id="shape, upper"),
        pytest.param({"output_shape": [12, 14], "auto_pad": "SAME_LOWER"}, id="shape, lower"),
        pytest.param({"output_shape": [15, 17]}, id="large shape"),
        pytest.param({"group": 2, "dilations": [2, 1]}, id="groups"),
    ],
)
def test_transposed_convolutions(size: int, attributes: dict[str, Any], tmp_path: Path) -> None:
    x, weight, bias = (
        draw(2, 4, 6, 7),
        draw(4, 3, size, size, seed=1),
        draw(3 * attributes.get("group", 1), seed=2),
    )
    if size == 1 and "pads" in attributes and attributes["pads"][0] == 2:
        pytest.skip("more is cut than there is")
    if size < 4 and attributes.get("output_shape") == [15, 17]:
        pytest.skip("onnxruntime adds less than a stride")
    module = check_node("ConvTranspose", [x, weight, bias], tmp_path, strides=[2, 2], **attributes)
    assert list_calls(module) == []


@pytest.mark.parametrize("dims", [1, 3])
def test_transposed_convolutions_along_other_numbers_of_axes(dims: int, tmp_path: Path) -> None:
    x, weight = draw(1, 2, *(5 for _ in range(dims))), draw(2, 3, *(4 for _ in range(dims)), seed=1)
    check_node("ConvTranspose", [x, weight], tmp_path, strides=[2] * dims, pads=[1] * 2 * dims)


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("shape", [None, (6,), (1,), (4, 1), (4, 6)])
def test_linear_layers(
    turned: tuple[int, int], factors: tuple[float, float], shape: tuple[int, ...] | None, tmp_path: Path
) -> None:
    a, b = draw(4, 5), draw(5, 6, seed=1)
    values = [a.T.copy() if turned[0] else a, b.T.copy() if turned[1] else b]
    values += [] if shape is None else [draw(*shape, seed=2)]
    options: dict[str, Any] = {"transA": turned[0], "transB": turned[1], "alpha": factors[0], "beta": factors[1]}
    check_node("Gemm", values, tmp_path, **options)


@pytest.mark.parametrize(
    ("first", "second"),
    [((4, 5), (5, 6)), ((2, 3, 4, 5), (5, 6)), ((2, 1, 4, 5), (3, 5, 6)), ((5,), (5, 6)), ((4, 5), (5,))],
)
@pytest.mark.parametrize("is_weight", [False, True])
def test_products(first: tuple[int, ...], second: tuple[int, ...], is_weight: bool, tmp_path: Path) -> None:
    a, b = draw(*first), draw(*second, seed=1)
    inputs = {"a": a} if is_weight else {"a": a, "b": b}
    model = make_model([node("MatMul", ["a", "b"], ["y"])], inputs, weights={"b": b} if is_weight else {})
    assert_same(model, inputs, tmp_path)


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize(
    ("kind", "shape", "bias"),
    [
        ("Conv", (6, 4, 3, 3), (6, 1, 1)),
        ("Conv", (6, 4, 3, 3), (1, 6, 1, 1)),
        ("ConvTranspose", (4, 6, 3, 3), (6, 1, 1)),
        ("MatMul", (9, 5), (5,)),
        # these are not one for each channel
        ("Conv", (6, 4, 3, 3), (1, 1, 1, 1)),
        ("Conv", (6, 4, 3, 3), (2, 6, 1, 1)),
        ("Conv", (7, 4, 3, 3), (7,)),
        ("MatMul", (9, 5), (8, 5)),
    ],
)
def test_a_bias_that_is_added_belongs_to_the_layer(
    is_first: bool, kind: str, shape: tuple[int, ...], bias: tuple[int, ...], tmp_path: Path
) -> None:
    terms = ["b", "h"] if is_first else ["h", "b"]
    nodes = [node(kind, ["x", "w"], ["h"], name="layer"), node("Add", terms, ["y"], name="sum")]
    x = draw(2, 4, 8, 9)
    model = make_model(nodes, {"x": x}, weights={"w": draw(*shape, seed=1), "b": draw(*bias, seed=2)})
    module = assert_same(model, {"x": x}, tmp_path)
    is_joined = bias in {(6, 1, 1), (1, 6, 1, 1), (5,)}
    assert [one.spec.name for one in module.list_nodes()] == (["layer"] if is_joined else ["layer", "sum"])


def test_a_layer_whose_output_is_needed_is_left_alone(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["y"])]
    weights = {"w": draw(6, 4, 3, 3), "b": draw(6, 1, 1)}
    x = draw(2, 4, 8, 9)
    module = assert_same(make_model(nodes, {"x": x}, ["y", "h"], weights), {"x": x}, tmp_path)
    assert len(module.list_nodes()) == 2


def test_patches_are_put_together(tmp_path: Path) -> None:
    inputs = {"x": draw(1, 8, 16), "sides": np.array([8, 8]), "block": np.array([2, 2])}
    nodes = [node("Col2Im", ["x", "sides", "block"], ["y"], strides=[2, 2])]
    module = assert_same(make_model(nodes, inputs), inputs, tmp_path)
    assert list_calls(module) == []


def test_weights_of_half_precision_are_computed_as_they_are(tmp_path: Path) -> None:
    weights = {"w": draw(4, 3, 4, 4).astype("float16")}
    x = draw(1, 4, 8, 8).astype("float16")
    model = make_model([node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])], {"x": x}, weights=weights)
    module = assert_same(model, {"x": x}, tmp_path, tolerance=2e-3)
    assert next(module.parameters()).dtype == torch.float16
