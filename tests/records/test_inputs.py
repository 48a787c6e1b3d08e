# ruff: noqa: E501 -- an input is a line
"""Inputs in words."""

import pytest

from deconvbench.errors import UsageError
from deconvbench.records.inputs import InputDescription, parse_input, parse_inputs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1x3x256x256", InputDescription(shape=(1, 3, 256, 256))),
        ("1×3×8×8", InputDescription(shape=(1, 3, 8, 8))),
        ("scalar", InputDescription(shape=())),
        ("1:int64", InputDescription(shape=(1,), dtype="int64")),
        ("image=1x3x64x64:float16:-1..1", InputDescription(shape=(1, 3, 64, 64), name="image", dtype="float16", low=-1, high=1)),
        ("1x3x8x8:0..255:float64", InputDescription(shape=(1, 3, 8, 8), dtype="float64", low=0, high=255)),
        ("z=1x4x32x32:normal", InputDescription(shape=(1, 4, 32, 32), name="z", is_normal=True)),
        ("input.1=1x77:int64:0..49407", InputDescription(shape=(1, 77), name="input.1", dtype="int64", low=0, high=49407)),
        ("a=b=1x2", InputDescription(shape=(1, 2), name="a=b")),
        (" x = 1x2 : 1e-3..2.5 ", InputDescription(shape=(1, 2), name="x", low=1e-3, high=2.5)),
    ],
)  # fmt: skip
def test_it_is_read_and_written_back(text: str, expected: InputDescription) -> None:
    assert parse_input(text) == expected
    assert parse_input(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "--input: '' is not of the form [NAME=]SHAPE[:DTYPE][:LOW..HIGH]"),
        ("3,256,256", "is not of the form"),
        ("1x3x", "is not of the form"),
        ("1x-3", "is not of the form"),
        ("1x٣", "is not of the form"),
        ("=1x3", "is not of the form"),
        ("1x3:", "is not of the form"),
        ("1x3:float32:0..1:0..1", "is not of the form"),
        ("1x3:0..1:normal", "is not of the form"),
        ("1x3:float32:int64", "is not of the form"),
        ("1x0x3", "1x0x3 has an axis of no length"),
        ("1x1x1x1x1x1x1x1x1", "more than 8 axes"),
        ("99999x99999", "has more than 2147483647 values"),
        ("9" * 5000, "is not of the form"),
        ("1x3:float31", "dtype 'float31' is not one of float32"),
        ("1x3:1..0", "range 1..0: the first number is not below the second"),
        ("1x3:0..1e999", "the first number is not below"),
        ("1x3:0..inf", "dtype '0..inf' is not one of"),
        ("1x3:int64:normal", "int64 cannot be normally distributed"),
    ],
)
def test_what_is_none_is_named(text: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_input(text)
    assert named in str(caught.value)


def test_all_have_names_or_none() -> None:
    assert [one.name for one in parse_inputs(["a=1x3", "b=1"])] == ["a", "b"]
    with pytest.raises(UsageError, match="input: 'a' has a name and '1x4' has none"):
        parse_inputs(["a=1x3", "1x4"])
    with pytest.raises(UsageError, match="input: 'a' is given twice"):
        parse_inputs(["a=1x3", "a=1x4"])
    with pytest.raises(UsageError, match="a range needs both ends"):
        InputDescription(shape=(1,), low=0.0)
