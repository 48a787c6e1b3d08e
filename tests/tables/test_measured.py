"""Records taken apart into columns, by which tables are built."""

from deconvbench.records.record import Latency, Memory
from deconvbench.tables.measured import LATENCY_FIELDS, MEMORY_FIELDS, PLAIN_FIELDS, gather_records
from tests.builders import make_case, make_record

LATENCY = Latency(samples_s=(2e-3, 1e-3), calls_per_sample=1, first_call_s=0.1, stop_reason="precision")
MEMORY = Memory(
    peak_memory_bytes=9,
    peak_reserved_bytes=None,
    input_bytes=1,
    output_bytes=2,
    parameter_bytes=3,
    gradient_bytes=0,
)
SMALL, LARGE = make_case(), make_case(height=16, width=16)
RECORDS = (
    make_record(case=SMALL, latency=LATENCY, memory=MEMORY, replicate=0),
    make_record(case=LARGE, status="oom", message="too large", replicate=1),
    make_record(case=SMALL, latency=LATENCY, replicate=2),
)


def test_a_case_stands_once_and_each_record_has_its_place() -> None:
    found = gather_records(RECORDS)
    assert len(found) == 3
    assert (found.cases, found.case) == ([SMALL, LARGE], [0, 1, 0])
    assert set(found.columns) == {
        *PLAIN_FIELDS, *LATENCY_FIELDS, *MEMORY_FIELDS, "conditions", "samples_s", "ratio",
    }  # fmt: skip
    assert all(len(values) == 3 for values in found.columns.values())
    assert found.columns["status"] == ["ok", "oom", "ok"]
    assert found.columns["stop_reason"] == ["precision", None, "precision"]
    assert found.columns["peak_memory_bytes"] == [9, None, None]
    assert found.columns["samples_s"] == [(2e-3, 1e-3), (), (2e-3, 1e-3)]


def test_some_are_kept_in_the_order_asked_for() -> None:
    kept = gather_records(RECORDS).take([2, 1])
    assert (kept.case, kept.columns["replicate"]) == ([0, 1], [2, 1])


def test_what_is_joined_is_as_if_it_had_been_gathered_together() -> None:
    first, second, third = (gather_records([record]) for record in RECORDS)
    joined = first.join(second, third)
    whole = gather_records(RECORDS)
    assert (joined.cases, joined.case, joined.columns) == (whole.cases, whole.case, whole.columns)
    assert len(first) == 1
    assert gather_records([]).join(whole).columns == whole.columns
