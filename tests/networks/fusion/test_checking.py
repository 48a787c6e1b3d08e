"""Comparing outputs and gradients."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.networks.fusion.checking import (
    TOLERANCES,
    compare_gradients,
    compare_outputs,
    compute_gradients,
)
from deconvbench.networks.fusion.observation import copy_input, find_tensors, split_input
from deconvbench.networks.fusion.tensors import compare

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("expected", "found", "error"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0.0),
        ([1.0, -4.0], [2.0, -4.0], 0.25),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([NAN, 4.0], [NAN, 5.0], 0.25),
        ([NAN, 4.0], [0.0, 4.0], INF),
        ([INF, 4.0], [INF, 5.0], 0.25),
        ([INF, 4.0], [-INF, 4.0], INF),
        ([1.0], [1.0, 1.0], INF),
        ([], [], 0.0),
        ([2 + 2j], [2 + 2j], 0.0),
        ([3j], [4j], 1 / 3),
    ],
)
def test_relative_errors(expected: Any, found: Any, error: float) -> None:
    assert compare(torch.tensor(expected), torch.tensor(found)) == pytest.approx(error)


def test_another_dtype_is_a_difference() -> None:
    assert compare(torch.ones(1), torch.ones(1, dtype=torch.float64)) == INF


def test_integers_must_be_equal() -> None:
    error, is_close = compare_outputs(torch.tensor([3]), torch.tensor([4]), TOLERANCES)
    assert error == pytest.approx(1 / 3)
    assert not is_close
    assert compare_outputs(torch.tensor([3]), torch.tensor([3]), TOLERANCES) == (0.0, True)


@dataclass
class Output:
    sample: Tensor
    name: str = "x"


def test_tensors_are_found_in_containers() -> None:
    one, two, three, four = (torch.tensor(float(number)) for number in range(4))
    value = [one, ({"a": two, "b": 3}, Output(three)), "text", Output, None, {"c": [four]}]
    assert [id(tensor) for tensor in find_tensors(value)] == [id(tensor) for tensor in (one, two, three, four)]


def test_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="the model's output holds no tensors"):
        compare_outputs([3, "text"], [3, "text"], TOLERANCES)


def test_gradients_count_against_their_own_size_but_for_negligible_ones() -> None:
    large, small, noise = torch.tensor([1.0]), torch.tensor([0.02]), torch.tensor([1e-9])
    assert compare_gradients([large, small], [large, small * 1.1]) == pytest.approx(0.1, rel=1e-3)
    assert compare_gradients([large, noise], [large, -noise]) == pytest.approx(2e-7, rel=1e-3)
    assert compare_gradients([large, None], [large, None]) == 0
    assert compare_gradients([large, None], [large, small]) == INF
    assert compare_gradients([large, small], [large, None]) == INF
    assert compare_gradients([], []) == 0


def test_examples() -> None:
    x = torch.ones(1, requires_grad=True)
    assert split_input(x) == ((x,), {})
    assert split_input([x, 3]) == ((x, 3), {})
    assert split_input({"x": x}) == ((), {"x": x})
    copied = copy_input({"x": x, "more": [x, "text"]})
    assert copied["x"] is not x
    assert copied["x"].requires_grad
    assert copied["more"][1] == "text"


def test_what_is_drawn_is_the_same_whatever_the_default_device_and_type_are() -> None:
    model, x = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Sigmoid()), torch.randn(1, 2, 5, 5)
    expected = compute_gradients(model, x)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            found = compute_gradients(model, x)
    finally:
        torch.set_default_dtype(torch.float32)
    assert compare_gradients(expected, found) == 0
