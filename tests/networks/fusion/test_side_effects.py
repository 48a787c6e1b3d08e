"""Which functions of torch leave their arguments alone."""

import operator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.calls import BINARY_FUNCTIONS, KINDS, POINTWISE_FUNCTIONS
from deconvbench.networks.fusion.side_effects import METADATA, is_harmless, is_pure


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
