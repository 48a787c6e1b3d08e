"""What counts as an ordinary tensor, where its memory is, and how far it is from another."""

import math

import pytest
import torch
from torch import Tensor, nn

from deconvbench.networks.fusion.tensors import (
    compare,
    find_layout,
    find_memory,
    find_numbers,
    find_tensors,
    is_usable,
)


class Special(Tensor):
    pass


def test_ordinary_tensors() -> None:
    assert is_usable(torch.ones(1, 1, 2, 2))
    assert is_usable(nn.Parameter(torch.ones(1, dtype=torch.float16)))
    for other in (
        torch.ones(1).as_subclass(Special),
        torch.ones(1, dtype=torch.complex64),
        torch.ones(1, dtype=torch.int32),
        torch.ones(1, device="meta"),
        torch.ones(2, 2).to_sparse(),
        torch.ones(0),
        3,
    ):
        assert not is_usable(other)


def test_views_have_one_memory() -> None:
    x = torch.ones(4)
    assert find_memory(x[2:]) == find_memory(x.detach()) == find_memory(x) is not None
    assert find_memory(x) != find_memory(x.clone())
    assert find_memory(x.to_sparse()) is None
    assert find_memory(x.as_subclass(Special)) is None


def test_numbers_are_found_in_arguments() -> None:
    assert find_numbers((1, [2.0, ("x", torch.ones(1))], None, {"more": 3})) == [1, [2.0, ["x"]], None]


def test_layouts() -> None:
    x = torch.ones(1, 2, 3, 4)
    assert find_layout(x) == ((1, 2, 3, 4), (24, 12, 4, 1), torch.float32, torch.device("cpu"))
    assert find_layout(x.contiguous(memory_format=torch.channels_last)) != find_layout(x)
    assert find_layout(x.to_sparse()) is None
    assert find_layout(x.as_subclass(Special)) is None


def test_tensors_are_found_in_arguments() -> None:
    one, two, three = torch.ones(1), torch.ones(1), torch.ones(1)
    found = find_tensors((one, [two, (3, "text")], {"more": [three]}))
    assert [id(tensor) for tensor in found] == [id(tensor) for tensor in (one, two, three)]


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
