import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.studies.claims import Finding, Verdict
from deconvbench.studies.claims.judging import (
    Interval,
    answer,
    combine,
    leave_undecided,
    needs,
    negate,
    put_interval,
    read_interval,
    read_number,
    write_number,
)

S, P, R, U = Verdict.SUPPORTED, Verdict.PARTLY, Verdict.REFUTED, Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("low", "high", "is_above"),
    [
        (1.1, 2.0, True),
        (0.2, 0.9, False),
        (0.9, 1.1, None),
        (1.0, 1.0, False),
        (1.0, 1.2, None),
        (None, None, None),
        (1.1, None, None),
    ],
    ids=["above", "below", "straddles", "on_it", "touches_it", "one_seed", "half_known"],
)
def test_an_interval_lies_on_a_side_of_a_limit(
    low: float | None, high: float | None, is_above: bool | None
) -> None:
    assert Interval(value=1.0, low=low, high=high).is_above(1.0) is is_above


@pytest.mark.parametrize(
    ("low", "high", "side"),
    [
        (0.05, 0.3, 1),
        (-0.3, -0.05, -1),
        (-0.1, 0.1, 0),
        (0.01, 0.02, 0),
        (-0.05, 0.3, None),
        (-0.3, 0.05, None),
        (None, None, None),
    ],
    ids=["above", "below", "within", "within_and_certain", "may_be_above", "may_be_below", "one_seed"],
)
def test_differences_within_a_margin_do_not_count(low: float | None, high: float | None, side: int | None) -> None:
    assert Interval(value=0.0, low=low, high=high).find_side(0.1) == side


def test_intervals_are_written_for_a_reader() -> None:
    assert str(Interval(value=2.3456, low=2.1, high=2.6)) == "2.35 (2.1 to 2.6)"
    assert str(Interval(value=2.0)) == "2"
    assert str(Interval(value=2.0, low=2.0, high=2.0)) == "2"
    assert [write_number(value) for value in (1234.5, 999.4, 0.0, 1.5e-16)] == ["1234", "999", "0", "1.5e-16"]


def test_what_is_put_is_read_back() -> None:
    evidence = put_interval("psnr_db", [1.0, 2.0, None, math.nan, math.inf, 3.0])
    assert evidence["psnr_db"] == 2
    found = read_interval(evidence, "psnr_db")
    # Student's quantile for 2 degrees of freedom, over the root of 3
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3))
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3))


def test_one_seed_has_no_interval_and_none_has_no_number() -> None:
    assert put_interval("x", [1.5]) == {"x": 1.5, "x_ci_low": None, "x_ci_high": None}
    assert put_interval("x", [None, math.nan]) == {}
    assert read_interval({"x": 1.5}, "x") == Interval(value=1.5)
    for evidence in ({}, {"x": None}):
        with pytest.raises(KeyError, match="x"):
            read_number(evidence, "x")
        with pytest.raises(KeyError, match="x"):
            read_interval(evidence, "x")


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([True, True], S),
        ([False], R),
        ([True, False], P),
        ([True, False, None], P),
        ([True, None], U),
        ([False, None], U),
        ([None], U),
        ([], U),
        ([S, True], S),
        ([P], P),
        ([P, True], P),
        ([P, R], P),
        ([P, U], P),
        ([U, S], U),
    ],
    ids=lambda value: "-".join(map(str, value)) or "nothing" if isinstance(value, list) else str(value),
)
def test_parts_are_combined(parts: list[bool | Verdict | None], verdict: Verdict) -> None:
    assert combine(parts) is verdict


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([True, False, None, *Verdict]), max_size=6), st.randoms())
def test_the_order_and_number_of_parts_do_not_matter(parts: list[bool | Verdict | None], random: object) -> None:
    shuffled = [*parts, *parts]
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis hands in a random.Random
    assert combine(shuffled) is combine(parts)


def test_answers_can_be_turned_round() -> None:
    assert [negate(value) for value in (True, False, None)] == [False, True, None]
    assert [answer(value) for value in (True, False, None)] == [S, R, U]


def test_a_rule_is_only_asked_where_its_evidence_is_there() -> None:
    asked = []

    @needs(("a", "b"), "run: deconvbench run")
    def judge(evidence: object) -> Finding:
        """Say yes."""
        asked.append(evidence)
        return Finding(verdict=S, sentence="Yes.")

    assert judge({"a": 1, "b": None}) == leave_undecided("run: deconvbench run")
    assert judge({"a": 1}).sentence == "Not measured: run: deconvbench run."
    assert asked == []
    assert judge({"a": 1, "b": 0}).verdict is S
    assert judge.__doc__ == "Say yes."
