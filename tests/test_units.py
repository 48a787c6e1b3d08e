import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.units import (
    format_bytes,
    format_count,
    format_duration,
    format_seconds,
    parse_bytes,
    parse_fraction,
    parse_margin,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0, "0 s"),
        (1.5, "1.5 s"),
        (1500.4, "1500 s"),
        (1, "1 s"),
        (0.9994, "999 ms"),
        (0.00123456, "1.23 ms"),
        (12.3e-6, "12.3 µs"),
        (45e-9, "45 ns"),
        (1.25e-10, "0.125 ns"),
        (-0.002, "-2 ms"),
    ],
)
def test_format_seconds(value: float | None, text: str) -> None:
    assert format_seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1010 * 2**10, "1010 KiB"),
        (2**20, "1 MiB"),
        (3.25 * 2**30, "3.25 GiB"),
        (5 * 2**40, "5 TiB"),
        (5000 * 2**40, "5000 TiB"),
        (-(2**20), "-1 MiB"),
    ],
)
def test_format_bytes(value: float | None, text: str) -> None:
    assert format_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9996, "1000 ms"), (999.6, "1000 s"), (999.7e-6, "1000 µs")],
)
def test_seconds_just_below_a_thousand_are_written_out(value: float, text: str) -> None:
    assert format_seconds(value) == text


def test_bytes_just_below_a_thousand_are_written_out() -> None:
    assert format_bytes(999.7 * 2**10) == "1000 KiB"


_FACTORS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "B": 1.0}
_FACTORS |= {f"{prefix}iB": 1024.0**power for power, prefix in enumerate("KMGT", 1)}


def _read(text: str) -> float:
    number, unit = text.split()
    assert "e" not in number, f"{text} is not a way to write for a reader"
    return float(number) * _FACTORS[unit]


@settings(deadline=None, max_examples=200)
@given(st.floats(1e-9, 1e6))
def test_written_seconds_read_back_to_three_digits(value: float) -> None:
    assert _read(format_seconds(value)) == pytest.approx(value, rel=5.1e-3)


@settings(deadline=None, max_examples=200)
@given(st.floats(200, 2**55))
def test_written_bytes_read_back_to_three_digits(value: float) -> None:
    assert _read(format_bytes(value)) == pytest.approx(value, rel=5.1e-3)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (45.4, "45 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_format_duration(value: float, text: str) -> None:
    assert format_duration(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("2%", 0.02), (" 2 % ", 0.02), ("0.02", 0.02), (".5", 0.5), ("2e-2", 0.02), ("12.5%", 0.125)],
)
def test_parse_fraction(text: str, value: float) -> None:
    assert parse_fraction(text, "--precision") == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["", "0", "0%", "1", "100%", "-2%", "2 percent", "nan", "1e999", "1e-999", "2%%", "0,02"]
)
def test_parse_fraction_names_the_argument_the_value_and_what_is_allowed(text: str) -> None:
    with pytest.raises(UsageError, match=r"share between 0 and 1; write for example 2% or 0\.02") as caught:
        parse_fraction(text, "--precision")
    assert str(caught.value).startswith(f"--precision: {text!r} is not")


@settings(deadline=None)
@given(st.floats(0.0001, 99.99))
def test_a_share_and_its_per_cent_are_one(percent: float) -> None:
    assert parse_fraction(f"{percent:.6f}%", "x") == pytest.approx(parse_fraction(f"{percent / 100:.8f}", "x"))


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0.0), (" 0% ", 0.0), ("5%", 0.05), ("0.05", 0.05), ("99.9%", 0.999)]
)
def test_parse_margin(text: str, value: float) -> None:
    assert parse_margin(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "-5%", "100%", "120%", "1", "nan", "inf", "five", "0,05"])
def test_parse_margin_names_the_argument_and_the_value(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_margin(text)
    assert str(caught.value).startswith(f"--margin: {text!r} is not a share")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        (4096, 4096),
        ("64MiB", 64 * 2**20),
        ("1.5 GB", 1_500_000_000),
        (" 2kb ", 2000),
        ("3 B", 3),
        ("1TiB", 2**40),
    ],
)
def test_bytes_are_read(text: object, size: int) -> None:
    assert parse_bytes(text, "memory") == size


@given(st.integers(1, 999), st.sampled_from(["B", "KiB", "MiB", "GiB", "TiB"]))
def test_bytes_are_read_as_they_are_written(number: int, unit: str) -> None:
    text = f"{number} {unit}"
    assert format_bytes(parse_bytes(text, "memory")) == text


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "MiB", "1iB", "1 QB", "1e9", "٣", "1.5.2GB", "nan", True, None, 0.2, "9" * 99]
)
def test_no_bytes(text: object) -> None:
    with pytest.raises(UsageError, match="memory: .* is not a number of bytes above 0; write for example 64MiB"):
        parse_bytes(text, "memory")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (1250, "1.25 k"), (4_718_592, "4.72 M"), (12.44e9, "12.4 G"), (3e15, "3000 T")],
)
def test_large_counts_have_a_prefix(value: float, text: str) -> None:
    assert format_count(value) == text
