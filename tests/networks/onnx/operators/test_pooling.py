"""Pooling, against onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks.onnx.graphs import assert_same, check_node, draw, make_model, node

X = draw(2, 3, 9, 10)
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strides": {"strides": [2, 2]},
    "pads": {"strides": [2, 2], "pads": [1, 1, 1, 1]},
    "pads at the end": {"strides": [2, 2], "pads": [0, 0, 1, 1]},
    "large pads": {"pads": [2, 2, 2, 2]},
    "ceil": {"strides": [2, 2], "ceil_mode": 1},
    "dilations": {"dilations": [2, 2]},
    "upper": {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "lower": {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
    "valid": {"strides": [2, 2], "auto_pad": "VALID"},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_windows(name: str, kind: str, tmp_path: Path) -> None:
    check_node(kind, [X], tmp_path, kernel_shape=[3, 3], **OPTIONS[name])


@pytest.mark.parametrize("name", ["plain", "pads", "pads at the end", "upper"])
def test_averages_may_count_what_is_padded(name: str, tmp_path: Path) -> None:
    check_node("AveragePool", [X], tmp_path, kernel_shape=[3, 3], count_include_pad=1, **OPTIONS[name])


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("dims", [1, 3])
def test_other_numbers_of_axes(kind: str, dims: int, tmp_path: Path) -> None:
    x = draw(1, 2, *(6 for _ in range(dims)))
    check_node(kind, [x], tmp_path, kernel_shape=[2] * dims, strides=[2] * dims)


@pytest.mark.parametrize("name", ["plain", "strides", "pads", "upper", "dilations"])
def test_where_the_maxima_are(name: str, tmp_path: Path) -> None:
    check_node("MaxPool", [X], tmp_path, outputs=2, kernel_shape=[3, 3], **OPTIONS[name])


@pytest.mark.parametrize("sides", [None, (8, 10)])
def test_unpooling(sides: tuple[int, int] | None, tmp_path: Path) -> None:
    x = draw(2, 3, 8, 10)
    nodes = [
        node("MaxPool", ["x"], ["h", "i"], kernel_shape=[2, 2], strides=[2, 2]),
        node("MaxUnpool", ["h", "i", "s"][: 2 + (sides is not None)], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    weights = {} if sides is None else {"s": np.array([*x.shape[:2], *sides])}
    assert_same(make_model(nodes, {"x": x}, weights=weights), {"x": x}, tmp_path)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3)])
def test_unpooling_of_another_size_puts_values_where_onnxruntime_does(
    shape: tuple[int, int], tmp_path: Path
) -> None:
    x = draw(*shape, 8, 10)
    nodes = [
        node("MaxPool", ["x"], ["h", "i"], kernel_shape=[2, 2], strides=[2, 2]),
        node("MaxUnpool", ["h", "i", "s"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    weights = {"s": np.array([*shape, 9, 11])}
    assert_same(make_model(nodes, {"x": x}, weights=weights), {"x": x}, tmp_path)


def test_unpooling_of_padded_windows(tmp_path: Path) -> None:
    x = draw(1, 2, 8, 10)
    options = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [node("MaxPool", ["x"], ["h", "i"], **options), node("MaxUnpool", ["h", "i"], ["y"], **options)]
    assert_same(make_model(nodes, {"x": x}), {"x": x}, tmp_path)


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
def test_whole_maps(kind: str, tmp_path: Path) -> None:
    check_node(kind, [X], tmp_path)
