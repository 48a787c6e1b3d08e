"""Sums, means and extremes, against onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks.onnx.graphs import check_node, draw

X = np.abs(draw(2, 3, 4, 5)) + np.float32(0.1)
KINDS = ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [[1], [2, 3], [-1, 0], None])
@pytest.mark.parametrize("keep", [0, 1])
def test_axes_are_an_input(kind: str, axes: list[int] | None, keep: int, tmp_path: Path) -> None:
    values = [X, *([] if axes is None else [np.array(axes)])]
    check_node(f"Reduce{kind}", values, tmp_path, keepdims=keep)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{"axes": [1, -1]}, {"axes": [2], "keepdims": 0}, {}])
def test_axes_are_an_attribute(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    check_node(f"Reduce{kind}", [X], tmp_path, opset=11, **options)


@pytest.mark.parametrize("kind", ["Mean", "Sum", "Max", "Prod", "SumSquare"])
@pytest.mark.parametrize("noop", [0, 1])
def test_no_axes_are_all_or_none(kind: str, noop: int, tmp_path: Path) -> None:
    if kind == "SumSquare" and noop:
        pytest.skip("onnxruntime and ONNX do not agree")
    check_node(f"Reduce{kind}", [X, np.array([], np.int64)], tmp_path, noop_with_empty_axes=noop)


@pytest.mark.parametrize("kind", ["Mean", "Sum", "Max", "Min", "Prod", "L1"])
def test_whole_numbers(kind: str, tmp_path: Path) -> None:
    check_node(f"Reduce{kind}", [np.array([[3, -5, 7], [2, 2, 9]], np.int32), np.array([1])], tmp_path)


@pytest.mark.parametrize("kind", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("options", [{}, {"axis": -1, "keepdims": 0}, {"axis": 1, "select_last_index": 1}])
def test_where_extremes_are(kind: str, options: dict[str, int], tmp_path: Path) -> None:
    check_node(kind, [np.round(X)], tmp_path, **options)
