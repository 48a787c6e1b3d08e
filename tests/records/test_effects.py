import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvbench.records.effects import Effect, Interval, describe_experiment, write_number


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
        (0.15, 0.3, 1),
        (-0.3, -0.15, -1),
        (-0.1, 0.1, 0),
        (0.01, 0.02, 0),
        (-0.05, 0.3, None),
        (-0.3, 0.05, None),
        (0.05, 0.3, None),
        (-0.3, -0.05, None),
        (None, None, None),
    ],
    ids=[
        "above",
        "below",
        "within",
        "within_and_certain",
        "may_be_above",
        "may_be_below",
        "may_be_little_above",
        "may_be_little_below",
        "one_seed",
    ],
)
def test_differences_within_a_margin_do_not_count(low: float | None, high: float | None, side: int | None) -> None:
    assert Interval(value=0.0, low=low, high=high).find_side(0.1) == side


ENDS = st.floats(-2, 2)


@given(st.lists(ENDS, min_size=4, max_size=4))
def test_a_narrower_interval_keeps_the_side(numbers: list[float]) -> None:
    """Questions that are decided at a level stay so at a lower one."""
    low, inner_low, inner_high, high = sorted(numbers)
    wide, narrow = Interval(value=0.0, low=low, high=high), Interval(value=0.0, low=inner_low, high=inner_high)
    assert wide.find_side(0.5) in (None, narrow.find_side(0.5))


def test_intervals_are_written_for_a_reader() -> None:
    assert str(Interval(value=2.3456, low=2.1, high=2.6)) == "2.35 (2.1 to 2.6)"
    assert str(Interval(value=2.0)) == "2"
    assert str(Interval(value=2.0, low=2.0, high=2.0)) == "2"
    assert [write_number(value) for value in (1234.5, 999.4, 0.0, 1.5e-16)] == ["1234", "999", "0", "1.5e-16"]


@pytest.mark.parametrize(
    ("unit", "ends", "text"),
    [
        ("levels", (0.5, 1.5), "k4 less k3: 1 (0.5 to 1.5) levels"),
        ("", (None, None), "k4 less k3: 1"),
    ],
    ids=["with_interval", "bare"],
)
def test_an_effect_is_written_for_a_reader(unit: str, ends: tuple[float | None, float | None], text: str) -> None:
    assert str(Effect(name="k4 less k3", unit=unit, value=1.0, low=ends[0], high=ends[1])) == text


def test_an_experiment_has_a_level_where_it_has_intervals() -> None:
    exact, measured = Effect(name="a", unit="", value=1.0), Effect(name="b", unit="", value=1.0, low=0.5, high=1.5)
    assert describe_experiment("9 seeds", [exact, measured], 1 - 0.05 / 9) == "9 seeds; intervals of 99.4%"
    assert describe_experiment("9 seeds", [exact], 0.95) == "9 seeds"
    assert describe_experiment("", [measured], 0.95) == ""
