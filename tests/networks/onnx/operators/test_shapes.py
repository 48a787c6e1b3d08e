"""Shapes as values, against onnxruntime."""

from pathlib import Path

import numpy as np
import pytest

from tests.networks.onnx.graphs import Array, check_node, draw, numpy_helper

X = draw(2, 3, 4, 5)


@pytest.mark.parametrize("options", [{}, {"start": 1}, {"end": -1}, {"start": -3, "end": 3}])
def test_shapes(options: dict[str, int], tmp_path: Path) -> None:
    check_node("Shape", [X], tmp_path, **options)
    check_node("Size", [X], tmp_path)


@pytest.mark.parametrize("value", [None, np.array([3.5], np.float32), np.array([7]), np.array([True])])
@pytest.mark.parametrize("shape", [(2, 3), (0,), ()])
def test_tensors_of_one_value(value: Array | None, shape: tuple[int, ...], tmp_path: Path) -> None:
    options = {} if value is None else {"value": numpy_helper.from_array(value)}
    check_node("ConstantOfShape", [np.array(shape, np.int64)], tmp_path, **options)


@pytest.mark.parametrize(
    ("start", "end", "step", "dtype"),
    [(0, 7, 2, "int64"), (5, -3, -2, "int64"), (2, 2, 1, "int32"), (0.5, 3.0, 0.75, "float32")],
)
def test_counting(start: float, end: float, step: float, dtype: str, tmp_path: Path) -> None:
    check_node("Range", [np.array(one, dtype) for one in (start, end, step)], tmp_path)
