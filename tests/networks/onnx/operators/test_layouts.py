"""Shuffles and repeats as graphs write them: values as onnxruntime has them, and the sites of an audit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import deconvbench
from deconvbench.networks.onnx import OnnxModule
from deconvbench.records.sites import Site
from tests.networks.onnx.graphs import Array, assert_same, check_node, draw, make_model, node

X = draw(1, 4, 12, 12)
W = draw(12, 4, 3, 3, seed=1)
CONV = node("Conv", ["x", "w"], ["h"], name="conv", pads=[1, 1, 1, 1])


def find_sites(module: OnnxModule, x: Array = X) -> list[Site]:
    return [report.site for report in deconvbench.audit(module, torch.from_numpy(x)).sites]


def number(*values: int) -> Array:
    return np.array(values)


def check_graph(nodes: list[Any], folder: Path, **weights: Array) -> list[Site]:
    model = make_model(nodes, {"x": X}, weights={"w": W, **weights})
    return find_sites(assert_same(model, {"x": X}, folder))


@pytest.mark.parametrize(("mode", "order"), [("DCR", "i j c"), ("CRD", "c i j"), (None, "i j c")])
def test_both_orders_of_a_shuffle(mode: str | None, order: str, tmp_path: Path) -> None:
    options = {} if mode is None else {"mode": mode}
    shuffle = node("DepthToSpace", ["h"], ["y"], name="shuffle", blocksize=2, **options)
    (site,) = check_graph([CONV, shuffle], tmp_path)
    assert (site.path, site.kind, site.order) == ("shuffle", "subpixel_convolution", order)
    assert (site.scale, site.kernel_size, site.out_shape, site.is_last) == ((2, 2), (3, 3), (1, 3, 24, 24), True)


@pytest.mark.parametrize(
    ("split", "order", "name"),
    [((1, 3, 2, 2, 12, 12), (0, 1, 4, 2, 5, 3), "c i j"), ((1, 2, 2, 3, 12, 12), (0, 3, 4, 1, 5, 2), "i j c")],
)
def test_a_shuffle_of_reshapes(split: tuple[int, ...], order: tuple[int, ...], name: str, tmp_path: Path) -> None:
    nodes = [
        CONV,
        node("Reshape", ["h", "split"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=order),
        node("Reshape", ["b", "last"], ["y"], name="whole"),
    ]
    (site,) = check_graph(nodes, tmp_path, split=number(*split), last=number(1, 3, 24, 24))
    assert (site.path, site.kind, site.order) == ("whole", "subpixel_convolution", name)


def test_a_shuffle_whose_shape_is_computed(tmp_path: Path) -> None:
    nodes = [
        CONV,
        node("Shape", ["h"], ["shape"]),
        node("Slice", ["shape", "two", "four"], ["sides"]),
        node("Concat", ["front", "sides"], ["split"], axis=0),
        node("Reshape", ["h", "split"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 1, 4, 2, 5, 3]),
        node("Mul", ["sides", "twice"], ["large"]),
        node("Concat", ["whole", "large"], ["last"], axis=0),
        node("Reshape", ["b", "last"], ["y"]),
    ]
    weights = {
        "two": number(2),
        "four": number(4),
        "front": number(1, 3, 2, 2),
        "whole": number(1, 3),
        "twice": number(2),
    }
    (site,) = check_graph(nodes, tmp_path, **weights)
    assert (site.kind, site.order, site.out_shape) == ("subpixel_convolution", "c i j", (1, 3, 24, 24))


@pytest.mark.parametrize("kind", ["Expand", "Tile"])
def test_repeated_pixels(kind: str, tmp_path: Path) -> None:
    nodes = [
        node("Unsqueeze", ["x", "axes"], ["a"]),
        node(kind, ["a", "repeats"], ["b"]),
        node("Reshape", ["b", "last"], ["c"], name="whole"),
        node("Conv", ["c", "w"], ["y"]),
    ]
    repeats = number(1, 4, 12, 2, 12, 2) if kind == "Expand" else number(1, 1, 1, 2, 1, 2)
    weights = {"axes": number(3, 5), "repeats": repeats, "last": number(1, 4, 24, 24)}
    (site,) = check_graph(nodes, tmp_path, **weights)
    assert (site.path, site.kind, site.kernel_size) == ("whole", "resize_convolution", (3, 3))
    assert site.operation == "repeated values"


def test_a_picture_that_is_cut_into_patches_is_not_upsampled(tmp_path: Path) -> None:
    nodes = [node("SpaceToDepth", ["x"], ["h"], blocksize=2), node("Relu", ["h"], ["y"])]
    assert check_graph(nodes, tmp_path) == []


def test_max_unpooling(tmp_path: Path) -> None:
    nodes = [
        node("MaxPool", ["x"], ["h", "i"], kernel_shape=[2, 2], strides=[2, 2]),
        node("MaxUnpool", ["h", "i"], ["k"], name="back", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["k", "w"], ["y"]),
    ]
    (site,) = check_graph(nodes, tmp_path)
    assert (site.path, site.kind, site.scale) == ("back", "max_unpooling", (2, 2))


@pytest.mark.parametrize(
    ("kind", "attributes", "finding"),
    [
        pytest.param("nearest", {}, "half_pixel, round_prefer_floor, which at a whole factor takes", id="default"),
        pytest.param("linear", {"coordinate_transformation_mode": "asymmetric"}, "asymmetric", id="asymmetric"),
        pytest.param("cubic", {"cubic_coeff_a": -0.5}, "cubic_coeff_a=-0.5", id="cubic"),
        pytest.param("cubic", {}, None, id="cubic of torch"),
        pytest.param("linear", {}, None, id="linear of torch"),
    ],
)
@pytest.mark.parametrize("with_conv", [False, True])
def test_resizes_with_other_attributes_are_sites_with_a_finding(
    kind: str, attributes: dict[str, Any], finding: str | None, with_conv: bool, tmp_path: Path
) -> None:
    nodes = [node("Resize", ["x", "", "s"], ["h"], name="up", mode=kind, **attributes)]
    nodes += [node("Conv", ["h", "w"], ["y"])] if with_conv else [node("Relu", ["h"], ["y"])]
    weights = {"s": np.array([1, 1, 2, 2], np.float32), "w": W}
    module = assert_same(make_model(nodes, {"x": X}, weights=weights), {"x": X}, tmp_path)
    audit = deconvbench.audit(module, torch.from_numpy(X))
    (report,) = audit.sites
    assert report.site.kind == ("resize_convolution" if with_conv else "resize")
    assert (report.site.path, report.site.scale, report.site.out_shape) == ("up", (2, 2), (1, 4, 24, 24))
    assert (report.gains_from, report.period) == ("construction", 2)
    messages = [one.message for one in audit.findings if one.code == "DB010"]
    assert len(messages) == (0 if finding is None else 1)
    assert all(f"Resize of mode {kind} with {finding}" in message for message in messages)
    assert audit.judgement == "clean"


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1, 2], [5, 100], [2, 3], [1, 1]),
        ([-4], [2**62], [-1], [1]),
        ([0, 1], [10, -1], [2, 3], [2, 3]),
        ([-1], [-(2**62)], [3], [-1]),
        ([8, 1], [2, 6], [2, 1], [-2, 1]),
        ([5], [5], [2], [1]),
    ],
)
def test_slices(starts: list[int], ends: list[int], axes: list[int], steps: list[int], tmp_path: Path) -> None:
    check_node("Slice", [X, *(np.array(one) for one in (starts, ends, axes, steps))], tmp_path)


def test_slices_of_the_oldest_kind(tmp_path: Path) -> None:
    check_node("Slice", [X], tmp_path, opset=9, starts=[1, -5], ends=[3, 100], axes=[1, 2])


@pytest.mark.parametrize("indices", [np.array(2), np.array(-1), number(1, -2, 0), np.array([[0, 1], [2, -3]])])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gathering(indices: Array, axis: int, tmp_path: Path) -> None:
    check_node("Gather", [draw(3, 4, 5), indices], tmp_path, axis=axis)


@pytest.mark.parametrize(
    ("mode", "pads", "axes"),
    [
        ("constant", [0, 0, 1, 2, 0, 0, 3, 4], None),
        ("constant", [0, 1, -1, 0, 1, 0, -2, 0], None),
        ("constant", [1, 2, 3, 4], [-2, 1]),
        ("reflect", [0, 0, 1, 2, 0, 0, 3, 4], None),
        ("reflect", [2, 2], [2]),
        ("edge", [0, 0, 20, 2, 0, 0, 3, 4], None),
        ("edge", [1, 0, 1, 2, 0, 0, 3, 4], None),
        ("wrap", [0, 0, 1, 2, 0, 0, 3, 4], None),
    ],
)
def test_padding(mode: str, pads: list[int], axes: list[int] | None, tmp_path: Path) -> None:
    value = np.array(1.5, np.float32) if mode == "constant" else None
    values = [X, np.array(pads), value, *([] if axes is None else [np.array(axes)])]
    check_node("Pad", values, tmp_path, mode=mode)


def test_padding_of_the_oldest_kind(tmp_path: Path) -> None:
    check_node("Pad", [X], tmp_path, opset=10, mode="constant", pads=[0, 0, 1, 2, 0, 0, 3, 4], value=2.0)


@pytest.mark.parametrize(
    ("shape", "options"), [((0, -1, 4), {}), ((4, -1), {}), ((1, 0, 2, 0), {"allowzero": 0}), ((-1,), {})]
)
def test_reshaping(shape: tuple[int, ...], options: dict[str, int], tmp_path: Path) -> None:
    check_node("Reshape", [draw(1, 4, 2, 4), number(*shape)], tmp_path, **options)


@pytest.mark.parametrize(("opset", "options"), [(11, {"axis": 1}), (18, {"axis": 1, "num_outputs": 3})])
def test_splitting_in_equal_parts(opset: int, options: dict[str, int], tmp_path: Path) -> None:
    sides = 6 if opset == 11 else 7
    check_node("Split", [draw(2, sides)], tmp_path, opset=opset, outputs=3, **options)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_flattening(axis: int, tmp_path: Path) -> None:
    check_node("Flatten", [draw(2, 3, 4)], tmp_path, axis=axis)
