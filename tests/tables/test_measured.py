"""Records taken apart into columns, joined and chosen from, with each case kept once."""

from dataclasses import replace

import pytest

from deconvbench.records.record import Record
from deconvbench.tables.measured import LATENCY_FIELDS, MEMORY_FIELDS, PLAIN_FIELDS, Measured, gather_records
from tests.builders import make_case, make_record
from tests.tables.made_records import make_latency, make_memory

SMALL, LARGE = make_case(), make_case(height=64, width=64)


def make_timed(replicate: int, **changes: object) -> Record:
    record = make_record(replicate=replicate, latency=make_latency(3.0, 1.0), memory=make_memory())
    return replace(record, **changes)  # type: ignore[arg-type]


def list_rows(measured: Measured) -> list[tuple[str, int]]:
    """Case and replicate of each record."""
    replicates = measured.columns["replicate"]
    return [
        (measured.cases[place].case_id, number) for place, number in zip(measured.case, replicates, strict=True)
    ]


def test_each_record_gives_one_value_to_each_column() -> None:
    records = [make_timed(0, case=SMALL), make_timed(1, case=LARGE, baseline_id=SMALL.case_id, ratios=(2.0, 8.0))]
    found = gather_records(records)
    assert len(found) == 2
    assert {len(values) for values in found.columns.values()} == {2}
    for name in PLAIN_FIELDS:
        assert found.columns[name] == [getattr(record, name) for record in records]
    assert found.columns["samples_s"] == [(3.0, 1.0), (3.0, 1.0)]
    assert found.columns["peak_memory_bytes"] == [1000, 1000]
    # tenth percentiles: 1.2 s of 3 and 1 s, over .2625 s of the baseline's 1.5 and .125 s
    assert found.columns["ratio"] == [None, pytest.approx(1.2 / 0.2625)]


def test_what_was_not_measured_is_empty() -> None:
    found = gather_records([make_record(status="crashed")])
    assert found.columns["samples_s"] == [()]
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
