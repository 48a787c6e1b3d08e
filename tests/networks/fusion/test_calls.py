"""Calls as people spell them, read as data; and unexpected calls."""

import operator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.calls import (
    ConvolveCall,
    JoinCall,
    PadCall,
    UpsampleCall,
    is_linear,
    make_pair,
    read_call,
    read_cast,
)


def test_interpolation() -> None:
    expected = UpsampleCall(image="x", size=None, scale_factor=2, mode="nearest")
    for args, kwargs in (
        (("x", None, 2), {}),
        (("x",), {"scale_factor": 2, "mode": "nearest"}),
        ((), {"input": "x", "scale_factor": 2, "recompute_scale_factor": True}),
        (("x", None, 2, "nearest", None, None, False), {}),
    ):
        assert read_call(functional.interpolate, args, kwargs) == expected


def test_convolution() -> None:
    expected = ConvolveCall(
        image="x", weight="w", bias=None, stride=(1, 1), padding=(2, 2), dilation=(1, 1), groups=3
    )
    for args, kwargs in (
        (("x", "w", None, 1, 2, 1, 3), {}),
        (("x",), {"weight": "w", "padding": [2], "groups": 3}),
        ((), {"input": "x", "weight": "w", "padding": (2, 2), "dilation": 1, "groups": 3}),
    ):
        assert read_call(torch.conv2d, args, kwargs) == expected


def test_padding() -> None:
    zeros = PadCall(image="x", amounts=(1, 1, 1, 1), mode="zeros")
    assert read_call(functional.pad, ("x", [1, 1, 1, 1]), {}) == zeros
    assert read_call(torch._C._nn.pad, ("x", (1, 1, 1, 1), "constant", 0.0), {}) == zeros
    found = read_call(functional.pad, ("x", (1, 1)), {"mode": "constant", "value": 2})
    assert found == PadCall(image="x", amounts=(1, 1), mode="constant")


def test_concatenation() -> None:
    assert read_call(torch.cat, (["x", "y"], 1), {}) == JoinCall(images=("x", "y"), axis=1)
    assert read_call(torch.concat, (("x", "y"),), {}) == JoinCall(images=("x", "y"), axis=0)


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (functional.interpolate, ("x",), {"antialias": True}),
        (functional.interpolate, ("x",), {"align_corners": False}),
        (functional.interpolate, ("x",), {"unknown": 1}),
        (functional.interpolate, tuple("abcdefgh"), {}),
        (torch.conv2d, ("x",), {}),
        (torch.conv2d, (), {}),
        (functional.pad, ("x", "amounts"), {}),
        (functional.pad, (), {}),
        (torch.cat, ("x", 1), {}),
        (torch.cat, (["x"],), {"out": "y"}),
        (torch.relu, ("x",), {}),
        (torch.stack, (["x"],), {}),
    ],
)
def test_unexpected_arguments_are_not_read(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert read_call(function, args, kwargs) is None


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (Tensor.float, (), torch.float32),
        (Tensor.half, (), torch.float16),
        (Tensor.to, (torch.float64,), torch.float64),
        (Tensor.to, ("cpu",), None),
        (Tensor.to, (torch.float64, True), None),
        (Tensor.float, (torch.channels_last,), None),
        (Tensor.type_as, (torch.float64,), None),
    ],
)
def test_casts(function: Any, given: tuple[Any, ...], expected: torch.dtype | None) -> None:
    assert read_cast(function, given) == expected


def test_pairs() -> None:
    assert make_pair(2) == make_pair([2]) == make_pair((2, 2)) == (2, 2)
    assert make_pair((1, 2, 3)) == (1, 2, 3)


def test_a_gradient_may_depend_on_no_values() -> None:
    assert is_linear(torch.cat, 2)
    assert is_linear(functional.interpolate, 1)
    assert is_linear(operator.add, 2)
    assert is_linear(torch.mul, 1)
    assert not is_linear(torch.mul, 2)
    assert not is_linear(functional.relu, 1)
    assert not is_linear(torch.conv2d, 3)
