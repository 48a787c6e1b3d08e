from itertools import chain
from typing import Any

import pytest

from deconvbench.records.case import CASE_FIELDS
from deconvbench.records.schema import MEASURED_DTYPES, SUMMARY_DTYPES
from deconvbench.tables.pooling import pool_columns
from tests.builders import make_case


def make_row(case: Any = None, **changes: Any) -> dict[str, Any]:
    """One row of the table, of which nothing was measured but what is given."""
    case = case or make_case()
    row = {name: getattr(case, name) for name in ("case_id", *CASE_FIELDS)}
    row |= {
        "replicate": 0,
        "process_index": 0,
        "seed": 1,
        "order": 0,
        "started_at": "",
        "ended_at": "",
        "attempt": 1,
    }
    row |= {"status": "ok", "message": "", "noisy": False, "noise_reason": ""}
    return {**row, **dict.fromkeys(MEASURED_DTYPES), **changes}


def make_rows(latencies: list[float | None], **changes: Any) -> list[dict[str, Any]]:
    return [make_row(replicate=index, latency_s=value, **changes) for index, value in enumerate(latencies)]


def pool_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(chain(make_row(), *rows))
    return pool_columns({name: [row.get(name) for row in rows] for name in names})


def test_a_pooled_row_has_the_columns_of_the_summary() -> None:
    (pooled,) = pool_rows(make_rows([1.0, 2.0]))
    assert set(pooled) == {*SUMMARY_DTYPES, "run"}


def test_no_rows_pool_to_none() -> None:
    assert pool_rows([]) == []


def test_numbers_are_medians_and_samples_a_sum() -> None:
    rows = [
        make_row(replicate=index, latency_s=latency, samples=10 + index, peak_memory_bytes=peak, phase_ripple=0.25)
        for index, (latency, peak) in enumerate([(3.0, 100), (1.0, 103), (2.0, None), (9.0, None)])
    ]
    (pooled,) = pool_rows(rows)
    assert pooled["latency_s"] == 2.5
    assert pooled["samples"] == 46
    assert pooled["peak_memory_bytes"] == 102  # 101.5, and bytes are whole
    assert isinstance(pooled["peak_memory_bytes"], int)
    assert pooled["phase_ripple"] == 0.25
    assert pooled["macs"] is None
    assert pooled["replicates"] == 4


@pytest.mark.parametrize(
    ("flags", "expected"),
    [([True, None, True], True), ([True, False], True), ([False, False, True], False), ([None], None)],
    ids=str,
)
def test_launch_bound_is_what_at_least_half_say(flags: list[bool | None], expected: bool | None) -> None:
    rows = [make_row(replicate=index, launch_bound=flag) for index, flag in enumerate(flags)]
    assert pool_rows(rows)[0]["launch_bound"] is expected


def test_texts_that_differ_stand_side_by_side() -> None:
    rows = [
        make_row(replicate=index, stop_reason=reason, machine_id=machine, code_version="1")
        for index, (reason, machine) in enumerate([("precision", "a"), ("time_cap", ""), ("precision", "a")])
    ]
    (pooled,) = pool_rows(rows)
    assert pooled["stop_reason"] == "precision, time_cap"
    assert pooled["machine_id"] == "a"
    assert pooled["code_version"] == "1"


def test_two_rows_of_one_process_are_one_replicate() -> None:
    rows = [make_row(latency_s=value) for value in (1.0, 3.0)] + [make_row(process_index=1, latency_s=6.0)]
    (pooled,) = pool_rows(rows)
    assert (pooled["latency_s"], pooled["replicates"]) == (4.0, 2)


def test_cases_keep_the_order_of_their_first_row_and_runs_stay_apart() -> None:
    tall, flat = make_case(height=9), make_case(height=7)
    rows = [
        make_row(case, run=run, latency_s=latency)
        for case, run, latency in [(tall, "b", 1.0), (flat, "a", 2.0), (tall, "a", 3.0), (tall, "b", 5.0)]
    ]
    pooled = pool_rows(rows)
    assert [(row["height"], row["run"], row["latency_s"]) for row in pooled] == [
        (9, "b", 3.0),
        (7, "a", 2.0),
        (9, "a", 3.0),
    ]


def test_only_replicates_that_are_ok_count_where_there_are_any() -> None:
    rows = [
        *make_rows([1.0, 1.1]),
        make_row(replicate=2, status="oom", message="boom", latency_s=99.0, noisy=True),
    ]
    (pooled,) = pool_rows(rows)
    assert (pooled["status"], pooled["replicates"]) == ("ok", 2)
    assert pooled["latency_s"] == pytest.approx(1.05)
    assert pooled["message"] == "replicate 2: oom: boom"
    assert pooled["noisy"] is False


def test_what_a_failed_case_did_measure_is_kept() -> None:
    rows = make_rows([1.0, 1.2], status="oom", message="boom", samples=5)
    (pooled,) = pool_rows(rows)
    assert (pooled["status"], pooled["message"], pooled["samples"]) == ("oom", "boom", 10)
    assert pooled["latency_s"] == pytest.approx(1.1)


def test_a_case_without_any_latency_has_none() -> None:
    (pooled,) = pool_rows(make_rows([None, None], status="timeout", message="no answer within 3 s"))
    assert (pooled["status"], pooled["message"]) == ("timeout", "no answer within 3 s")
    assert (pooled["latency_s"], pooled["latency_ci_low_s"], pooled["latency_ci_high_s"]) == (None, None, None)
    assert (pooled["samples"], pooled["replicates"]) == (None, 0)


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (("error", "oom", "timeout"), "oom"),
        (("crashed", "timeout"), "timeout"),
        (("error", "crashed"), "crashed"),
        (("unsupported", "error"), "error"),
        (("oom", "ok"), "ok"),
    ],
    ids=str,
)
def test_the_most_telling_status_stands_for_the_case(statuses: tuple[str, ...], status: str) -> None:
    rows = [
        make_row(replicate=index, status=each, message="" if each == "ok" else f"why {index}")
        for index, each in enumerate(statuses)
    ]
    (pooled,) = pool_rows(rows)
    assert pooled["status"] == status
    said = [f"replicate {i}: {each}: why {i}" for i, each in enumerate(statuses) if each != "ok"]
    assert pooled["message"] == "; ".join(said)


def test_replicates_that_failed_alike_with_other_words_are_told_apart() -> None:
    rows = [make_row(replicate=index, status="error", message=f"why {index}") for index in range(2)]
    assert pool_rows(rows)[0]["message"] == "replicate 0: why 0; replicate 1: why 1"


def test_a_case_is_noisy_when_half_of_its_replicates_are() -> None:
    rows = make_rows([1.0, 1.1])
    rows[1] |= {"noisy": True, "noise_reason": "load 3.1 on 2 cores"}
    (pooled,) = pool_rows(rows)
    assert pooled["noisy"] is True
    assert pooled["noise_reason"] == "replicate 1: load 3.1 on 2 cores"


def draw_rows(spreads: dict[int, float], device: str = "cpu") -> list[dict[str, Any]]:
    """Three replicates of a case per height, whose logarithms lie evenly within ± its spread."""
    return [
        make_row(make_case(height=height, device=device), replicate=index, latency_s=1 + (index - 1) * spread)
        for height, spread in spreads.items()
        for index in range(3)
    ]


def measure_width(row: dict[str, Any]) -> float:
    return float(row["latency_ci_high_s"] - row["latency_ci_low_s"])


def test_the_other_cases_steady_an_interval() -> None:
    calm = dict.fromkeys(range(1, 9), 0.01)
    lonely = pool_rows(draw_rows({99: 1e-6}))[0]
    among = pool_rows(draw_rows({**calm, 99: 1e-6}))[-1]
    assert measure_width(lonely) < 1e-5
    assert measure_width(among) > 1e-3


def test_cases_of_other_devices_and_runs_have_no_say() -> None:
    calm = dict.fromkeys(range(1, 9), 0.01)
    alone = pool_rows(draw_rows({99: 0.05}, device="cuda"))[0]
    beside_cpu = pool_rows([*draw_rows(calm), *draw_rows({99: 0.05}, device="cuda")])[-1]
    assert measure_width(beside_cpu) == pytest.approx(measure_width(alone))
    other_run = [row | {"run": "other"} for row in draw_rows(calm, device="cuda")]
    beside_run = pool_rows([*other_run, *draw_rows({99: 0.05}, device="cuda")])[-1]
    assert measure_width(beside_run) == pytest.approx(measure_width(alone))


@pytest.mark.parametrize(("disturbed", "is_noisy"), [(0, False), (3, False), (4, True), (8, True)])
def test_of_many_replicates_fewer_than_half_do_not_make_a_case_noisy(disturbed: int, is_noisy: bool) -> None:
    reason = "samples spread by 12%"
    rows = [make_row(replicate=number) for number in range(8)]
    for row in rows[:disturbed]:
        row |= {"noisy": True, "noise_reason": reason}
    (pooled,) = pool_rows(rows)
    # what disturbed them is told in any case
    assert (pooled["noisy"], reason in pooled["noise_reason"]) == (is_noisy, disturbed > 0)
