import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.studies.claims import Finding, Verdict
from deconvbench.studies.claims.judging import (
    Interval,
    answer,
    combine,
    conclude,
    leave_undecided,
    list_effects,
    needs,
    negate,
    put_interval,
    read_interval,
    read_number,
)

S, P, R, U = Verdict.SUPPORTED, Verdict.PARTLY, Verdict.REFUTED, Verdict.UNDECIDED


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


def test_what_holds_is_told_by_its_parts() -> None:
    finding = conclude(
        [("a", True), ("b", False), ("c", None), ("d", P), ("e", True), ("a", True)], "So.", size="9 seeds"
    )
    assert finding.verdict is P
    assert finding.holds == "Holds: a, e; holds in part: d; does not hold: b; undecided: c."
    assert (finding.sentence, finding.size, finding.effects) == ("So.", "9 seeds", ())
    assert conclude([("a", True)], "So.", verdict=R).verdict is R
    parts = [(f"{what} ({where})", True) for where in ("one, with norm", "two") for what in ("a", "b")]
    assert conclude(parts, "So.").holds == "Holds: a (one, with norm; two), b (one, with norm; two)."
    assert leave_undecided("run: it").holds == "Not measured: run: it."


def test_effects_are_what_is_known_of_them() -> None:
    evidence = {"x": 1.0, "x_ci_low": 0.5, "x_ci_high": 1.5, "y": 2.0, "z": None}
    names = {"x": ("an x", "dB"), "y": ("a y", ""), "z": ("a z", ""), "w": ("a w", "")}
    assert list(map(str, list_effects(evidence, names))) == ["an x: 1 (0.5 to 1.5) dB", "a y: 2"]


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
