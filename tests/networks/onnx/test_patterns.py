"""What exporters write out in several nodes is one function again, where it is the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks.onnx.graphs import assert_same, draw, make_model, node

X = draw(1, 4, 6, 6)


def list_operators(
    nodes: list[Any], folder: Path, outputs: list[str] | None = None, **weights: float
) -> list[str]:
    constants = {name: np.array(value, np.float32) for name, value in weights.items()}
    model = make_model(nodes, {"x": X}, outputs or ["y"], constants)
    return [one.spec.operator for one in assert_same(model, {"x": X}, folder).list_nodes()]


@pytest.mark.parametrize("factors", [["x", "g"], ["g", "x"]])
@pytest.mark.parametrize("kind", ["Sigmoid", "Mish"])
def test_gates(factors: list[str], kind: str, tmp_path: Path) -> None:
    gate = [node("Softplus", ["x"], ["p"]), node("Tanh", ["p"], ["g"])]
    nodes = [*(gate if kind == "Mish" else [node("Sigmoid", ["x"], ["g"])]), node("Mul", factors, ["y"])]
    assert list_operators(nodes, tmp_path) == ["Mish" if kind == "Mish" else "_Silu"]


def write_gelu(order: str, number: float = 2**0.5) -> list[Any]:
    """Write a GELU with its three factors multiplied in an order."""
    names = {"x": "x", "h": "half", "s": "sum"}
    first, second, third = (names[one] for one in order)
    scale = "Div" if number > 1 else "Mul"
    return [
        node(scale, ["x", "number"], ["a"]),
        node("Erf", ["a"], ["b"]),
        node("Add", ["b", "one"], ["sum"]),
        node("Mul", [first, second], ["p"]),
        node("Mul", ["p", third], ["y"]),
    ]


@pytest.mark.parametrize("order", ["xhs", "xsh", "hsx", "shx"])
@pytest.mark.parametrize("number", [2**0.5, 0.5**0.5])
def test_gelu_in_any_order(order: str, number: float, tmp_path: Path) -> None:
    found = list_operators(write_gelu(order, number), tmp_path, number=number, half=0.5, one=1.0)
    assert found == ["_Gelu"]


@pytest.mark.parametrize(("number", "half", "one"), [(1.5, 0.5, 1.0), (2**0.5, 0.6, 1.0), (2**0.5, 0.5, 2.0)])
def test_what_only_looks_like_a_gelu_is_left_alone(number: float, half: float, one: float, tmp_path: Path) -> None:
    found = list_operators(write_gelu("xhs"), tmp_path, number=number, half=half, one=one)
    assert found == ["Div", "Erf", "Add", "Mul", "Mul"]


def test_a_gate_of_something_else_is_left_alone(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["r"]), node("Sigmoid", ["r"], ["g"]), node("Mul", ["x", "g"], ["y"])]
    assert list_operators(nodes, tmp_path) == ["Relu", "Sigmoid", "Mul"]


def test_a_gate_that_others_need_is_left_alone(tmp_path: Path) -> None:
    nodes = [node("Sigmoid", ["x"], ["g"]), node("Mul", ["x", "g"], ["y"])]
    assert list_operators(nodes, tmp_path, ["y", "g"]) == ["Sigmoid", "Mul"]
    nodes.append(node("Relu", ["g"], ["z"]))
    assert list_operators(nodes, tmp_path, ["y", "z"]) == ["Sigmoid", "Mul", "Relu"]
