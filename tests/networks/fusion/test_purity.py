"""Functions of torch that change nothing do so indeed; those that may are not taken for such."""

import operator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.calls import KINDS
from deconvbench.networks.fusion.functions import BINARY_FUNCTIONS, NUMBER_FUNCTIONS, POINTWISE_FUNCTIONS
from deconvbench.networks.fusion.purity import METADATA, is_harmless, is_pure, split_inplace


def test_purity_depends_on_the_arguments() -> None:
    assert is_pure(functional.relu, (), {"inplace": False})
    assert not is_pure(functional.relu, (), {"inplace": True})
    assert not is_pure(torch.add, (), {"out": torch.zeros(1)})
    assert not is_pure(Tensor.view, (), {})
    assert is_harmless(Tensor.view, (), {})
    assert not is_harmless(Tensor.add_, (), {})
    assert not is_harmless(functional.dropout, (), {"inplace": True})
    assert not is_harmless(print, (), {})


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (functional.leaky_relu, (0.2, True)),
        (functional.selu, (True,)),
        (functional.hardtanh, (-1.0, 1.0, True)),
        (functional.dropout, (0.5, False, True)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_work_in_place_is_seen_by_position_too(function: Any, args: tuple[Any, ...]) -> None:
    assert not is_pure(function, ("x", *args), {})
    assert not is_harmless(function, ("x", *args), {})
    assert is_harmless(function, ("x", *args[:-1]), {})
    assert split_inplace(function, ("x", *args), {}) == (function, ("x", *args[:-1], False), {}, True)
    assert split_inplace(function, ("x",), {"inplace": True}) == (function, ("x",), {}, True)
    assert split_inplace(function, ("x", *args[:-1]), {}) == (function, ("x", *args[:-1]), {}, False)


def test_other_functions_have_no_flag_to_split_off() -> None:
    assert split_inplace(torch.relu, ("x", True), {}) == (torch.relu, ("x", True), {}, False)


ONE_IMAGE = (torch.rand(1, 4, 4, 4) + 1,)
CALLS_OF_PURE: dict[Any, tuple[Any, ...]] = {
    functional.pad: ((0, 0, 0, 0),),
    functional.interpolate: (None, 1),
    functional.pixel_shuffle: (1,),
    functional.adaptive_avg_pool2d: (4,),
    functional.avg_pool2d: (1,),
    functional.max_pool2d: (1,),
    functional.softmax: (1,),
    torch.cat: (),
    torch.clamp: (0,),
    torch.pow: (1,),
    Tensor.repeat: (1, 1, 1, 1),
    Tensor.clone: (),
    Tensor.cumsum: (0,),
    Tensor.masked_fill: (torch.zeros(1, 1, 1, 1, dtype=torch.bool), 0),
}


@pytest.mark.parametrize("function", CALLS_OF_PURE, ids=lambda function: function.__name__)
def test_what_changes_nothing_is_a_copy_all_the_same(function: Any) -> None:
    given: Any = [ONE_IMAGE] if function is torch.cat else [*ONE_IMAGE]
    y = function(*given, *CALLS_OF_PURE[function])
    assert is_pure(function, (), {})
    assert y.untyped_storage().data_ptr() != ONE_IMAGE[0].untyped_storage().data_ptr()


def test_a_sum_over_nothing_may_be_a_view() -> None:
    y = torch.einsum("abcd->abcd", *ONE_IMAGE)
    assert y.data_ptr() == ONE_IMAGE[0].data_ptr()
    assert is_harmless(torch.einsum, (), {})
    assert not is_pure(torch.einsum, (), {})


def test_what_is_followed_writes_to_nothing() -> None:
    for function, kind in KINDS.items():
        assert is_harmless(function, (), {}) or kind == "cast", function


def test_pointwise_functions_are_pure_indeed() -> None:
    x = torch.linspace(-2, 2, 16).view(1, 4, 2, 2)
    before = x.clone()
    with_numbers = [(function, (2,)) for function in NUMBER_FUNCTIONS]
    for function, numbers in [*((function, ()) for function in POINTWISE_FUNCTIONS), *with_numbers]:
        y = function(x, *numbers)
        assert is_pure(function, (), {}), function
        assert torch.equal(x, before), function
        assert y.untyped_storage().data_ptr() != x.untyped_storage().data_ptr(), function


def test_functions_of_two_are_pure_indeed() -> None:
    x, y = torch.ones(2), torch.full((2,), 3.0)
    memory = {x.untyped_storage().data_ptr(), y.untyped_storage().data_ptr()}
    for function in BINARY_FUNCTIONS:
        z = function(x, y)
        assert is_pure(function, (), {}), function
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
    assert not is_harmless(function, (), {})
