"""Functions of each value, against onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks.onnx.graphs import Array, check_node, draw

X = draw(2, 3, 4, 5)
POSITIVE = np.abs(X) + np.float32(0.1)
WHOLE = np.array([[7, -7, 3], [-3, 8, 1]])
SCALAR, NEGATIVE = np.array(0.5, np.float32), np.array(-0.5, np.float32)


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "Abs",
            "Neg",
            "Ceil",
            "Floor",
            "Round",
            "Exp",
            "Sin",
            "Cos",
            "Tan",
            "Atan",
            "Sinh",
            "Cosh",
            "Asinh",
            "Erf",
        ),
        *("Sign", "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSwish", "Mish", "Identity", "IsNaN"),
        *("Elu", "Celu", "Selu", "LeakyRelu", "HardSigmoid", "Gelu", "Softmax", "LogSoftmax"),
    ],
)
def test_functions_of_any_number(kind: str, tmp_path: Path) -> None:
    check_node(kind, [X], tmp_path)


@pytest.mark.parametrize("kind", ["Sqrt", "Log", "Reciprocal", "Acosh"])
def test_functions_of_positive_numbers(kind: str, tmp_path: Path) -> None:
    check_node(kind, [POSITIVE + (kind == "Acosh")], tmp_path)


@pytest.mark.parametrize("kind", ["Asin", "Acos", "Atanh"])
def test_functions_of_small_numbers(kind: str, tmp_path: Path) -> None:
    check_node(kind, [np.tanh(X)], tmp_path)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (5,), (3, 1, 1), ()])
@pytest.mark.parametrize(
    "kind",
    ["Add", "Sub", "Mul", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Sum"],
)
def test_functions_of_two(kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    check_node(kind, [X, np.array(draw(*shape, seed=1), np.float32)], tmp_path)


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min"])
@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_functions_of_whole_numbers(kind: str, dtype: str, tmp_path: Path) -> None:
    check_node(kind, [WHOLE.astype(dtype), np.array([2, -3, 5], dtype)], tmp_path)


@pytest.mark.parametrize("kind", ["And", "Or", "Xor"])
def test_logic(kind: str, tmp_path: Path) -> None:
    check_node(kind, [X > 0, X[0] > 0.5], tmp_path)
    check_node("Not", [X > 0], tmp_path)


@pytest.mark.parametrize(
    ("kind", "values", "attributes"),
    [
        ("Mod", [X, POSITIVE], {"fmod": 1}),
        ("Mean", [X, POSITIVE, X], {}),
        ("Pow", [POSITIVE, X], {}),
        ("Pow", [X, np.array(2, np.int64)], {}),
        ("Pow", [WHOLE, np.array(2, np.int64)], {}),
        ("Where", [X > 0, X, SCALAR], {}),
        ("LeakyRelu", [X], {"alpha": 0.3}),
        ("Elu", [X], {"alpha": 0.3}),
        ("Celu", [X], {"alpha": 0.3}),
        ("Selu", [X], {"alpha": 1.1, "gamma": 2.0}),
        ("HardSigmoid", [X], {"alpha": 1 / 6, "beta": 0.5}),
        ("Gelu", [X], {"approximate": "tanh"}),
        ("PRelu", [X, draw(3, 1, 1, seed=1)], {}),
        ("PRelu", [X, draw(1, seed=1)], {}),
        ("PRelu", [X, draw(3, 4, 5, seed=1)], {}),
        ("PRelu", [X, draw(5, seed=1)], {}),
        ("Softmax", [X], {"axis": 1}),
        ("Cast", [X], {"to": 7}),
        ("Cast", [X], {"to": 10}),
        ("Cast", [X > 0], {"to": 1}),
        ("CastLike", [X, WHOLE], {}),
        ("Dropout", [X], {}),
        ("DequantizeLinear", [WHOLE.astype(np.uint8), SCALAR, np.array(128, np.uint8)], {}),
    ],
)
def test_functions_with_attributes(
    kind: str, values: list[Array], attributes: dict[str, Any], tmp_path: Path
) -> None:
    check_node(kind, values, tmp_path, **attributes)


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [1, 2, 3, -1])
@pytest.mark.parametrize("opset", [11, 13])
def test_what_a_softmax_is_of_has_changed(kind: str, axis: int, opset: int, tmp_path: Path) -> None:
    check_node(kind, [X], tmp_path, opset=opset, axis=axis)


@pytest.mark.parametrize(
    ("opset", "values", "attributes"),
    [
        (9, [X], {"min": -0.5, "max": 0.25}),
        (9, [X], {}),
        (20, [X, NEGATIVE, SCALAR], {}),
        (20, [X, None, SCALAR], {}),
        (20, [X, NEGATIVE], {}),
        (20, [WHOLE, np.array(-2), np.array(5)], {}),
    ],
)
def test_clipping(opset: int, values: list[Array | None], attributes: dict[str, Any], tmp_path: Path) -> None:
    check_node("Clip", values, tmp_path, opset=opset, **attributes)


def test_the_mask_of_a_dropout_that_drops_nothing(tmp_path: Path) -> None:
    check_node("Dropout", [X], tmp_path, outputs=2)
