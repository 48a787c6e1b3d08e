"""Every way of resizing that ONNX has, against onnxruntime; and which of them are torch's."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deconvbench.networks.onnx.operators.resizing import list_differences
from deconvbench.networks.onnx.specs import Spec
from tests.networks.onnx.graphs import Array, assert_same, check_node, draw, make_model, node

COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
SCALES = ((2.0, 2.0), (3.0, 2.0), (1.5, 1.25), (1.3, 2.6), (0.5, 0.7), (2.0, 0.5))


def make_scales(*scales: float) -> Array:
    return np.array(scales, np.float32)


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize(("coordinates", "rounding"), list(itertools.product(COORDINATES, ROUNDINGS)))
@pytest.mark.parametrize("by_size", [False, True])
def test_nearest(
    scales: tuple[float, ...], coordinates: str, rounding: str, by_size: bool, tmp_path: Path
) -> None:
    x = draw(1, 2, 10, 12)
    sizes = np.array([1, 2, *(int(side * scale) for side, scale in zip((10, 12), scales, strict=True))])
    values = [x, None, None, sizes] if by_size else [x, None, make_scales(1, 1, *scales)]
    check_node(
        "Resize",
        values,
        tmp_path,
        opset=19,
        mode="nearest",
        coordinate_transformation_mode=coordinates,
        nearest_mode=rounding,
    )


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "linear"},
        {"mode": "linear", "antialias": 1},
        {"mode": "cubic"},
        {"mode": "cubic", "cubic_coeff_a": -0.5},
        {"mode": "cubic", "exclude_outside": 1},
        {"mode": "cubic", "antialias": 1, "cubic_coeff_a": -0.5},
        {"mode": "cubic", "antialias": 1},
    ],
    ids=[
        "linear",
        "linear, antialias",
        "cubic",
        "cubic −0.5",
        "cubic inside",
        "cubic −0.5, antialias",
        "antialias",
    ],
)
def test_linear_and_cubic(
    scales: tuple[float, ...], coordinates: str, attributes: dict[str, Any], tmp_path: Path
) -> None:
    if coordinates == "half_pixel_symmetric" and attributes.get("antialias"):
        pytest.skip("onnxruntime computes it as half_pixel")
    values = [draw(1, 2, 10, 12), None, make_scales(1, 1, *scales)]
    check_node("Resize", values, tmp_path, opset=19, coordinate_transformation_mode=coordinates, **attributes)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("dims", [1, 3])
def test_other_numbers_of_axes(mode: str, dims: int, tmp_path: Path) -> None:
    options: dict[str, Any] = (
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if mode == "nearest" else {}
    )
    values = [draw(1, 2, *(6 for _ in range(dims))), None, make_scales(1, 1, *(2 for _ in range(dims)))]
    check_node("Resize", values, tmp_path, mode=mode, **options)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_channels_may_come_last(mode: str, tmp_path: Path) -> None:
    check_node("Resize", [draw(1, 6, 7, 3), None, make_scales(1, 2, 2, 1)], tmp_path, mode=mode)


def test_the_axes_may_be_given(tmp_path: Path) -> None:
    check_node("Resize", [draw(1, 2, 6, 7), None, make_scales(2, 3)], tmp_path, mode="linear", axes=[2, 3])


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_the_aspect_ratio_may_be_kept(policy: str, tmp_path: Path) -> None:
    values = [draw(1, 2, 6, 8), None, None, np.array([13, 20])]
    check_node("Resize", values, tmp_path, mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy)


def test_a_part_may_be_cut_out(tmp_path: Path) -> None:
    region = make_scales(0, 0, 0.4, 0.6, 1, 1, 0.6, 1.4)
    values = [draw(1, 2, 8, 9), region, None, np.array([1, 2, 12, 13])]
    options: dict[str, Any] = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 10.0}
    check_node("Resize", values, tmp_path, mode="linear", **options)


@pytest.mark.parametrize("scale", [2.0, 1.5, 0.5])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("kind", "opset"), [("Upsample", 7), ("Upsample", 9), ("Resize", 10)])
def test_the_oldest_operators(kind: str, opset: int, mode: str, scale: float, tmp_path: Path) -> None:
    if kind == "Upsample" and scale < 1:
        pytest.skip("makes nothing smaller")
    x, scales = draw(1, 2, 8, 10), make_scales(1, 1, scale, scale)
    if opset == 7:
        model = make_model([node(kind, ["x"], ["y"], mode=mode, scales=scales.tolist())], {"x": x}, opset=7)
    else:
        model = make_model(
            [node(kind, ["x", "s"], ["y"], mode=mode)], {"x": x}, weights={"s": scales}, opset=opset
        )
    assert_same(model, {"x": x}, tmp_path)


@pytest.mark.parametrize(
    ("attributes", "differences"),
    [
        pytest.param({"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}, [], id="nearest"),
        pytest.param({"nearest_mode": "round_prefer_ceil"}, [], id="nearest-exact"),
        pytest.param({}, ["half_pixel", "round_prefer_floor"], id="default"),
        pytest.param({"mode": "linear"}, [], id="linear"),
        pytest.param({"mode": "linear", "antialias": 1}, [], id="antialias of an enlargement"),
        pytest.param({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, [], id="corners"),
        pytest.param(
            {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, ["asymmetric"], id="asymmetric"
        ),
        pytest.param({"mode": "cubic"}, [], id="cubic"),
        pytest.param({"mode": "cubic", "cubic_coeff_a": -0.5}, ["cubic_coeff_a=-0.5"], id="coefficient"),
        pytest.param({"mode": "cubic", "antialias": 1}, ["antialias=1"], id="antialias of a cubic"),
        pytest.param({"mode": "cubic", "exclude_outside": 1}, ["exclude_outside=1"], id="outside"),
        pytest.param(
            {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"},
            ["tf_crop_and_resize"],
            id="crop",
        ),
    ],
)
def test_attributes_that_differ_are_named(attributes: dict[str, Any], differences: list[str]) -> None:
    spec = Spec(name="it", operator="Resize", opset=20, inputs=(), outputs=(), attributes=attributes)
    assert list_differences(spec, (8, 8), (16, 16), (2.0, 2.0)) == differences
