"""What a grid says, value by value; whole grids are in test_grid.py."""

from typing import Any

import pytest

from deconvbench.errors import GridError
from deconvbench.grid.reading import (
    check_upsamplers,
    read_axes,
    read_constraints,
    read_positive,
    read_text,
    read_whole,
)


def test_an_axis_is_a_value_or_a_list() -> None:
    axes = read_axes({"height": 8, "dtype": ["float32", "float64"]}, ("height", "dtype"), "f: axes")
    assert axes == {"height": (8,), "dtype": ("float32", "float64")}


def test_what_is_right_comes_back() -> None:
    assert read_constraints(["height > 2"], "f: constraints") == ("height > 2",)
    assert (read_text("a", "f"), read_whole(3, "f"), read_positive(2, "f")) == ("a", 3, 2.0)
    check_upsamplers(["nearest_conv"], "f")


@pytest.mark.parametrize(
    ("read", "value", "message"),
    [
        (read_text, 3, "f: k: 3 is not text"),
        (read_whole, True, "f: k: True is not a whole number of at least 1"),
        (read_positive, float("inf"), "f: k: inf is not a number of seconds above 0"),
        (read_constraints, ["hight > 1"], "f: k: .*'hight'"),
        (check_upsamplers, ["deconv"], "f: k: 'deconv' is unknown"),
    ],
    ids=["text", "whole", "positive", "constraint", "upsampler"],
)
def test_what_is_wrong_is_named(read: Any, value: Any, message: str) -> None:
    with pytest.raises(GridError, match=rf"^{message}"):
        read(value, "f: k")
