"""Normalisations, against onnxruntime."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deconvbench.networks.onnx.operators.norms import normalise_groups
from deconvbench.networks.onnx.specs import Spec
from tests.networks.onnx.graphs import check_node, draw

X = draw(2, 6, 5, 7)
SCALE, BIAS = draw(6, seed=1), draw(6, seed=2)


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5), (2, 6, 5, 7), (2, 6, 3, 4, 5)])
@pytest.mark.parametrize("opset", [9, 15])
def test_batches(shape: tuple[int, ...], opset: int, tmp_path: Path) -> None:
    values = [draw(*shape), SCALE, BIAS, draw(6, seed=3), np.abs(draw(6, seed=4)) + np.float32(0.5)]
    check_node("BatchNormalization", values, tmp_path, opset=opset, epsilon=1e-3)


@pytest.mark.parametrize("shape", [(2, 6, 5), (2, 6, 5, 7), (2, 6, 1, 1)])
def test_instances(shape: tuple[int, ...], tmp_path: Path) -> None:
    check_node("InstanceNormalization", [draw(*shape), SCALE, BIAS], tmp_path, epsilon=1e-3)


@pytest.mark.parametrize("groups", [1, 3, 6])
def test_groups(groups: int, tmp_path: Path) -> None:
    check_node("GroupNormalization", [X, SCALE, BIAS], tmp_path, opset=21, num_groups=groups)


def test_groups_had_one_scale_each_before_opset_21() -> None:
    # a form that ONNX took back, and its checker refuses
    spec = Spec(
        name="it", operator="GroupNormalization", opset=18, inputs=(), outputs=(), attributes={"num_groups": 3}
    )
    x, scale, bias = torch.from_numpy(X), torch.from_numpy(SCALE[:3]), torch.from_numpy(BIAS[:3])
    wanted = torch.nn.functional.group_norm(x, 3, scale.repeat_interleave(2), bias.repeat_interleave(2))
    torch.testing.assert_close(normalise_groups(spec, x, scale, bias), wanted)


@pytest.mark.parametrize(("axis", "shape"), [(-1, (7,)), (2, (5, 7)), (1, (6, 5, 7)), (2, (7,))])
@pytest.mark.parametrize("with_bias", [False, True])
def test_layers(axis: int, shape: tuple[int, ...], with_bias: bool, tmp_path: Path) -> None:
    values = [X, draw(*shape, seed=1), *([draw(*shape, seed=2)] if with_bias else [])]
    check_node("LayerNormalization", values, tmp_path, axis=axis)


def test_magnitudes(tmp_path: Path) -> None:
    check_node("RMSNormalization", [X, draw(7, seed=1)], tmp_path, opset=23)
