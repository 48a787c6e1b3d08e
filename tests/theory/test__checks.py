"""Argument checks: what passes, and what the messages say."""

from typing import Any

import numpy as np
import pytest

from deconvbench.errors import UsageError
from deconvbench.theory._checks import check_array, check_groups, check_int


@pytest.mark.parametrize("value", [1, 7, np.int64(3)], ids=repr)
def test_whole_numbers_pass(value: Any) -> None:
    check_int("stride", value, 1)


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "2", None], ids=repr)
def test_anything_else_names_argument_value_and_limit(value: Any) -> None:
    with pytest.raises(UsageError, match=r"^stride: .* is not a whole number of at least 1$") as caught:
        check_int("stride", value, 1)
    assert repr(value) in str(caught.value)


def test_array_becomes_float64_and_keeps_its_shape() -> None:
    array = check_array("x", [[1, 2, 3]], "H W")
    assert array.dtype == np.float64
    assert array.shape == (1, 3)


@pytest.mark.parametrize("shape", [(2, 3), (4, 2, 3), (1, 4, 2, 3)], ids=str)
def test_leading_axes_are_free_behind_dots(shape: tuple[int, ...]) -> None:
    assert check_array("x", np.zeros(shape), "... H W").shape == shape


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((3,), "H W"), ((1, 2, 3), "H W"), ((3,), "... H W"), ((0, 3), "H W"), ((2, 0), "... H W")],
    ids=str,
)
def test_wrong_axes_are_named(shape: tuple[int, ...], layout: str) -> None:
    with pytest.raises(UsageError, match=r"^weight: shape \(.*\) is not \(.*H, W\)"):
        check_array("weight", np.zeros(shape), layout)


def test_groups_must_divide_the_channels() -> None:
    check_groups(6, 3, "in_channels")
    with pytest.raises(UsageError, match=r"^groups: 4 does not divide in_channels, 6$"):
        check_groups(6, 4, "in_channels")
    with pytest.raises(UsageError, match=r"^groups: 0 is not"):
        check_groups(6, 0, "in_channels")
