"""Rows of any length, kept as one array: what comes out is what lists of lists would give."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvbench.tables.ragged import Ragged, are_times

ROWS = [[3.0, 1.0], [], [2.0], [], [5.0, 4.0], [6.0, 7.0, 8.0], []]

any_rows = st.lists(st.lists(st.floats(allow_nan=False), max_size=5), max_size=8)


def list_rows(ragged: Ragged) -> list[list[float]]:
    return [ragged.list_row(place) for place in range(len(ragged))]


@given(any_rows, any_rows, any_rows)
def test_rows_come_back_as_they_were_also_joined(
    first: list[list[float]], second: list[list[float]], third: list[list[float]]
) -> None:
    joined = Ragged.gather(first).join(Ragged.gather(second), Ragged.gather(third))
    assert list_rows(joined) == [*first, *second, *third]
    assert list_rows(Ragged.gather(first).join()) == first


def test_there_may_be_no_row_and_no_number() -> None:
    assert list_rows(Ragged()) == list_rows(Ragged().join(Ragged())) == list_rows(Ragged().take([])) == []
    assert [*Ragged().group()] == [*Ragged.gather([[], []]).group()] == []
    empty = Ragged.gather([[], []])
    assert empty.count(are_times(empty.values)).tolist() == [0, 0]


@given(st.data())
def test_rows_are_taken_in_the_order_given(data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(ROWS) - 1)))
    assert list_rows(Ragged.gather(ROWS).take(places)) == [ROWS[place] for place in places]


@pytest.mark.parametrize("least", [0, 1, 2, 5, 9])
def test_numbers_are_counted_and_kept_row_by_row(least: int) -> None:
    ragged = Ragged.gather(ROWS)
    expected = [[number for number in row if number >= least] for row in ROWS]
    mask = ragged.values >= least
    assert ragged.count(mask).tolist() == [*map(len, expected)]
    assert list_rows(ragged.keep(mask)) == expected


def test_rows_of_one_length_are_one_array_shortest_first() -> None:
    found = [(places.tolist(), numbers.tolist()) for places, numbers in Ragged.gather(ROWS).group()]
    assert found == [([2], [[2.0]]), ([0, 4], [[3.0, 1.0], [5.0, 4.0]]), ([5], [[6.0, 7.0, 8.0]])]


def test_a_time_is_above_zero_and_finite() -> None:
    numbers = np.array([1e-300, 5e-324, 1e308, 0.0, -0.0, -1.0, math.inf, -math.inf, math.nan])
    assert are_times(numbers).tolist() == [True] * 3 + [False] * 6
