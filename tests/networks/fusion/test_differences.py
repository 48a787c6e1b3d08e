"""How far one tensor is from another."""

import math

import pytest
import torch

from deconvbench.networks.fusion.differences import compare


def test_the_largest_difference_counts_over_the_largest_expected_magnitude() -> None:
    expected, found = torch.tensor([[1.0, -8.0]]), torch.tensor([[3.0, -7.0]])
    assert compare(expected, found) == 2 / 8
    assert compare(found, expected) == 2 / 7


def test_a_floor_keeps_small_things_small() -> None:
    expected, found = torch.tensor([1e-9]), torch.tensor([2e-9])
    assert compare(expected, found) == pytest.approx(1, rel=1e-6)
    assert compare(expected, found, floor=1.0) == pytest.approx(1e-9, rel=1e-6)


def test_zero_is_expected_of_zero() -> None:
    assert compare(torch.zeros(3), torch.zeros(3)) == 0
    assert compare(torch.zeros(3), torch.ones(3)) > 1e300


def test_half_precision_is_compared_in_double() -> None:
    # 60000 + 60000 is beyond float16
    assert compare(torch.tensor([60000.0]).half(), torch.tensor([-60000.0]).half()) == 2


def test_complex_numbers_differ_by_their_distance() -> None:
    assert compare(torch.tensor([3 + 4j]), torch.tensor([0j])) == pytest.approx(1)


@pytest.mark.parametrize(
    "found",
    [
        torch.ones(3),
        torch.ones(2, dtype=torch.float64),
        torch.tensor([1.0, math.nan]),
        torch.tensor([math.inf, 1.0]),
    ],
    ids=["shape", "dtype", "nan", "inf"],
)
def test_what_cannot_be_compared_is_infinitely_far(found: torch.Tensor) -> None:
    assert compare(torch.ones(2), found) == math.inf


def test_what_is_no_number_on_both_sides_does_not_count() -> None:
    expected = torch.tensor([math.nan, math.inf, 2.0])
    assert compare(expected, torch.tensor([math.nan, math.inf, 3.0])) == 0.5


def test_gradients_do_not_flow() -> None:
    assert compare(torch.ones(2, requires_grad=True), torch.zeros(2, requires_grad=True)) == 1
