"""Calls as people spell them, read as data; and unexpected calls."""

import operator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.calls import (
    BINARY_FUNCTIONS,
    KINDS,
    METADATA,
    POINTWISE_FUNCTIONS,
    ConvolveCall,
    JoinCall,
    PadCall,
    UpsampleCall,
    is_harmless,
    is_pure,
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
    ("function", "args", "kwargs", "expected"),
    [
        (Tensor.float, (), {}, torch.float32),
        (Tensor.half, (), {}, torch.float16),
        (Tensor.to, (torch.float64,), {}, torch.float64),
        (Tensor.to, (), {"dtype": torch.bfloat16}, torch.bfloat16),
        (Tensor.to, ("cpu",), {}, None),
        (Tensor.to, (torch.float64, True), {}, None),
        (Tensor.float, (), {"memory_format": torch.channels_last}, None),
    ],
)
def test_casts(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], expected: torch.dtype | None) -> None:
    assert read_cast(function, args, kwargs) == expected


def test_pairs() -> None:
    assert make_pair(2) == make_pair([2]) == make_pair((2, 2)) == (2, 2)
    assert make_pair((1, 2, 3)) == (1, 2, 3)


def test_purity_depends_on_the_arguments() -> None:
    assert is_pure(functional.relu, {"inplace": False})
    assert not is_pure(functional.relu, {"inplace": True})
    assert not is_pure(torch.add, {"out": torch.zeros(1)})
    assert not is_pure(Tensor.view, {})
    assert is_harmless(Tensor.view, {})
    assert not is_harmless(Tensor.add_, {})
    assert not is_harmless(functional.dropout, {"inplace": True})
    assert not is_harmless(print, {})


def test_what_is_followed_writes_to_nothing() -> None:
    for function, kind in KINDS.items():
        assert is_harmless(function, {}) or kind == "cast", function


def test_pointwise_functions_are_pure_indeed() -> None:
    x = torch.linspace(-2, 2, 16).view(1, 4, 2, 2)
    before = x.clone()
    for function in POINTWISE_FUNCTIONS:
        y = function(x)
        assert is_pure(function, {}), function
        assert torch.equal(x, before), function
        assert y.untyped_storage().data_ptr() != x.untyped_storage().data_ptr(), function


def test_functions_of_two_are_pure_indeed() -> None:
    x, y = torch.ones(2), torch.full((2,), 3.0)
    memory = {x.untyped_storage().data_ptr(), y.untyped_storage().data_ptr()}
    for function in BINARY_FUNCTIONS:
        z = function(x, y)
        assert is_pure(function, {}), function
        assert (x.tolist(), y.tolist()) == ([1, 1], [3, 3]), function
        assert z.untyped_storage().data_ptr() not in memory, function


def test_shape_and_type_are_metadata_and_pixels_are_not() -> None:
    assert {Tensor.shape.__get__, Tensor.size, Tensor.dtype.__get__} <= METADATA  # type: ignore[attr-defined] # descriptors
    assert Tensor.data.__get__ not in METADATA  # type: ignore[attr-defined] # a descriptor
    assert Tensor.item not in METADATA


@pytest.mark.parametrize(
    "function", [operator.iadd, Tensor.copy_, torch.relu_, Tensor.numpy], ids=lambda function: function.__name__
)
def test_what_writes_or_hands_memory_out_is_not_harmless(function: Any) -> None:
    assert not is_harmless(function, {})
