"""Records taken apart into columns, joined and chosen from, with each case kept once."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvbench.records.ratio import compute_ratio
from deconvbench.records.record import Record
from deconvbench.tables import measured
from deconvbench.tables.measured import (
    LATENCY_FIELDS,
    MEMORY_FIELDS,
    PLAIN_FIELDS,
    Measured,
    compute_ratios,
    gather_records,
)
from deconvbench.tables.ragged import Ragged
from tests.builders import make_case, make_record
from tests.tables.made_records import make_latency, make_memory

SMALL, LARGE = make_case(), make_case(height=64, width=64)


def make_timed(replicate: int, **changes: object) -> Record:
    record = make_record(replicate=replicate, latency=make_latency(3.0, 1.0), memory=make_memory())
    return replace(record, **changes)  # type: ignore[arg-type]


def list_rows(found: Measured) -> list[tuple[str, int]]:
    """Case and replicate of each record."""
    replicates = found.columns["replicate"]
    return [(found.cases[place].case_id, number) for place, number in zip(found.case, replicates, strict=True)]


def test_each_record_gives_one_value_to_each_column() -> None:
    records = [make_timed(0, case=SMALL), make_timed(1, case=LARGE, baseline_id=SMALL.case_id, ratios=(2.0, 8.0))]
    found = gather_records(records)
    assert len(found) == 2
    assert {len(values) for values in found.columns.values()} == {2}
    for name in PLAIN_FIELDS:
        assert found.columns[name] == [getattr(record, name) for record in records]
    assert [found.samples_s.list_row(place) for place in range(2)] == [[3.0, 1.0], [3.0, 1.0]]
    assert found.columns["peak_memory_bytes"] == [1000, 1000]
    # tenth percentiles: 1.2 s of 3 and 1 s, over .2625 s of the baseline's 1.5 and .125 s
    assert found.columns["ratio"] == [None, pytest.approx(1.2 / 0.2625)]


def test_what_was_not_measured_is_empty() -> None:
    found = gather_records([make_record(status="crashed")])
    assert found.samples_s.list_row(0) == []
    assert all(found.columns[name] == [None] for name in (*LATENCY_FIELDS, *MEMORY_FIELDS, "ratio", "conditions"))


def test_a_case_is_kept_once_however_often_it_was_measured() -> None:
    found = gather_records(make_timed(number, case=case) for number in range(3) for case in (SMALL, LARGE))
    assert found.cases == [SMALL, LARGE]
    assert found.case == [0, 1, 0, 1, 0, 1]


def test_others_come_behind_and_their_cases_are_found_among_those_known() -> None:
    first = gather_records([make_timed(0, case=SMALL)])
    second = gather_records([make_timed(1, case=LARGE), make_timed(2, case=SMALL)])
    joined = first.join(second, gather_records([]))
    assert joined.cases == [SMALL, LARGE]
    assert list_rows(joined) == [(SMALL.case_id, 0), (LARGE.case_id, 1), (SMALL.case_id, 2)]
    # those that were joined stay as they were
    assert (len(first), first.cases) == (1, [SMALL])
    assert list_rows(second) == [(LARGE.case_id, 1), (SMALL.case_id, 2)]


def test_some_are_taken_in_the_order_given() -> None:
    found = gather_records(make_timed(number, case=case) for number, case in enumerate((SMALL, LARGE, SMALL)))
    assert list_rows(found.take([2, 1])) == [(SMALL.case_id, 2), (LARGE.case_id, 1)]
    assert len(found.take([])) == 0
    assert {len(values) for values in found.take([]).columns.values()} == {0}


def test_samples_follow_their_records() -> None:
    first = gather_records([make_timed(0), make_timed(1, latency=None)])
    second = gather_records([make_timed(2, latency=make_latency(5.0))])
    joined = first.join(second).take([2, 1, 0])
    assert [joined.samples_s.list_row(place) for place in range(3)] == [[5.0], [], [3.0, 1.0]]


ROWS: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "usual": ([3.0, 1.0, 2.0], [1.5, 2.0, 4.0]),
    "eleven": ([2.0 + 0.1 * number for number in range(11)], [1.0 + 0.2 * number for number in range(11)]),
    "as the baseline": ([0.3, 0.1, 0.7], [1.0] * 3),
    "a round": ([3.0], [1.5]),
    "no baseline": ([3.0, 1.0, 2.0], []),
    "no sample": ([], [1.5, 2.5]),
    "neither": ([], []),
    "not as many": ([1.0, 2.0], [3.0, 5.0, 4.0]),
    "a baseline of 0": ([3.0, 1.0, 2.0], [math.inf, math.inf, math.inf]),
    "a baseline too small for a number": ([5e-324] * 3, [3.0, 4.0, 5.0]),
    "a ratio of 0": ([3.0, 1.0, 2.0], [0.0, 2.0, 4.0]),
    "a sample of 0": ([0.0, 1.0, 2.0], [1.0, 2.0, 4.0]),
    "a sample below 0": ([-1.0, 1.0, 2.0], [1.0, 2.0, 4.0]),
    "a ratio that is none": ([3.0, 1.0, 2.0], [math.nan, 2.0, 4.0]),
    "a sample that is none": ([3.0, math.nan, 2.0], [1.0, 2.0, 4.0]),
    "a sample without end": ([3.0, math.inf, 2.0], [1.0, 2.0, 4.0]),
    "too large for a number": ([1e308, 1.5e308], [1e300, 1e300]),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_ratio_of_a_row_is_that_which_it_has_alone(name: str) -> None:
    samples_s, ratios = ROWS[name]
    assert compute_ratios(Ragged.gather([samples_s]), Ragged.gather([ratios])) == [
        compute_ratio(samples_s, ratios)
    ]


def test_rows_of_every_kind_and_length_keep_their_ratios_side_by_side() -> None:
    samples_s, ratios = zip(*ROWS.values(), strict=True)
    found = compute_ratios(Ragged.gather(samples_s), Ragged.gather(ratios))
    assert found == [*map(compute_ratio, samples_s, ratios)]
    assert compute_ratios(Ragged(), Ragged()) == []


times = st.floats(1e-9, 1e3)


@given(st.lists(st.lists(st.tuples(times, times), max_size=23), max_size=6))
def test_many_ratios_are_to_the_last_bit_those_computed_one_at_a_time(
    rounds: list[list[tuple[float, float]]],
) -> None:
    samples_s = [[own for own, _ in row] for row in rounds]
    ratios = [[over for _, over in row] for row in rounds]
    found = compute_ratios(Ragged.gather(samples_s), Ragged.gather(ratios))
    assert found == [*map(compute_ratio, samples_s, ratios)]


def test_one_at_a_time_are_computed_only_those_that_are_not_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    odd: list[Sequence[float]] = []

    def note(samples_s: Sequence[float], ratios: Sequence[float]) -> float | None:
        odd.append(samples_s)
        return compute_ratio(samples_s, ratios)

    monkeypatch.setattr(measured, "compute_ratio", note)
    usual = [[1.0, 2.0]] * 50 + [[1.0, 2.0, 3.0]] * 50
    compute_ratios(Ragged.gather([*usual, [0.0, 7.0]]), Ragged.gather([*usual, [1.0, 1.0]]))
    assert odd == [[0.0, 7.0]]
