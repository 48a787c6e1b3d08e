import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Required, TypedDict

import pytest

from deconvbench.errors import UsageError
from deconvbench.records.decoding import DecodingError, build, make_strict, parse_json, show_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"size: {self.size} is below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    KIND: ClassVar[str] = "outer"

    inner: Inner
    times: tuple[float, ...]
    name: str = ""
    peak: int | None = None
    counts: dict[str, int | None] = field(default_factory=dict)
    is_frozen: bool = False


class Document(TypedDict, total=False):
    version: Required[int]
    words: list[str] | str
    rest: Mapping[str, Any]


GOOD: dict[str, Any] = {"inner": {"size": 2}, "times": [1.5, 2], "name": "a", "peak": None, "counts": {"b": 3}}


def test_a_dataclass_is_built_with_its_types() -> None:
    built = build(Outer, GOOD)
    assert built == Outer(inner=Inner(size=2), times=(1.5, 2.0), name="a", counts={"b": 3})
    assert [type(time) for time in built.times] == [float, float]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": None}, "times: null is not a list"),
        ({"times": [1.0, "2"]}, "times[1]: '2' is not a number"),
        ({"times": [True]}, "times[0]: true is not a number"),
        ({"peak": 1.5}, "peak: 1.5 is not a whole number or null"),
        ({"peak": False}, "peak: false is not a whole number or null"),
        ({"name": 3}, "name: 3 is not text"),
        ({"is_frozen": 1}, "is_frozen: 1 is not true or false"),
        ({"counts": []}, "counts: [] is not an object"),
        ({"counts": {"b": "3"}}, "counts.b: '3' is not a whole number or null"),
        ({"inner": [2]}, "inner: [2] is not an object"),
        ({"inner": {}}, "inner: size is missing"),
        ({"inner": {"size": 0}}, "inner: size: 0 is below 1"),
        ({"colour": "red"}, "'colour' is not one of its fields, inner, times, name, peak, counts, is_frozen"),
        ({"KIND": "x"}, "'KIND' is not one of its fields"),
    ],
    ids=str,
)
def test_what_is_there_and_what_is_allowed_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DecodingError) as caught:
        build(Outer, {**GOOD, **change})
    assert str(caught.value).startswith(message)


def test_a_typed_dict_keeps_what_it_does_not_know() -> None:
    assert build(Document, {"version": 1, "new": [1], "words": "a"}) == {"version": 1, "new": [1], "words": "a"}
    for wrong, message in (
        ({}, "version is missing"),
        ({"version": 1, "words": 2}, "words: 2 is not a list or text"),
        ({"version": 1, "words": ["a", 2]}, r"words\[1\]: 2 is not text"),
        ([], r"\[\] is not an object"),
    ):
        with pytest.raises(DecodingError, match=message):
            build(Document, wrong)


def test_what_nothing_is_said_of_may_not_be_deep() -> None:
    deep: Any = 1
    for _ in range(60):
        deep = {"a": deep}
    with pytest.raises(DecodingError, match="rest.a: nested more than 50 levels deep"):
        build(Document, {"version": 1, "rest": {"a": deep}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not JSON: Expecting value \(column 1\)"),
        (b'{\n"a" 1}', r"not JSON: Expecting ':' delimiter \(line 2, column 5\)"),
        (b'{"a": 1, "a": 2}', "the key 'a' is given twice in one object"),
        (b"[" * 10**5, "nested too deeply"),
        (b"1" * 5000, "not JSON: Exceeds the limit"),
        (b'"\xff"', "not JSON: it is not UTF-8"),
    ],
    ids=["empty", "torn", "twice", "deep", "digits", "bytes"],
)
def test_what_is_no_json_is_named(content: bytes, message: str) -> None:
    with pytest.raises(DecodingError, match=message):
        parse_json(content)


def test_numbers_of_others_are_read() -> None:
    huge, infinite, nan, large = parse_json(b"[18446744073709551616, Infinity, NaN, 1e400]")
    assert (huge, infinite, large) == (2**64, math.inf, math.inf)
    assert math.isnan(nan)
    assert build(tuple[float, ...], [10**400, -(10**400)]) == (math.inf, -math.inf)


def test_a_tuple_of_fixed_length_has_a_type_at_each_place() -> None:
    hint: Any = tuple[tuple[int, str], ...]
    assert build(hint, [[3, "stolen"], [4, ""]]) == ((3, "stolen"), (4, ""))
    for value, message in (
        ([[3]], "[0]: [3] is not a list of 2"),
        ([[3, "a", 1]], "[0]: [3, 'a', 1] is not a list of 2"),
        ([[3, 4]], "[0][1]: 4 is not text"),
        ([["3", ""]], "[0][0]: '3' is not a whole number"),
        ([{}], "[0]: {} is not a list of 2"),
    ):
        with pytest.raises(DecodingError) as caught:
            build(hint, value)
        assert str(caught.value) == message


def test_a_long_value_is_shortened() -> None:
    assert len(show_value(["x" * 1000] * 1000)) < 300
    assert show_value({"a": {"b": {"c": 1}}}) == "{'a': {'b': {...}}}"


def test_numbers_that_json_has_no_word_for_become_null() -> None:
    assert make_strict({"a": [1.0, math.nan, (math.inf, 2)], "b": "x"}) == {"a": [1.0, None, [None, 2]], "b": "x"}
