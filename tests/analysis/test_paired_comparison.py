"""Two commits compared by what pairs of processes recorded: verdicts, reasons and the control."""

import math
import random
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from deconvbench.analysis.comparison_input import Side
from deconvbench.analysis.paired_comparison import (
    PAIRED_COLUMNS,
    PairedComparison,
    collect_log_ratios,
    compare_pairs,
    list_open,
)
from deconvbench.analysis.pairing import PairedPlan
from deconvbench.records.pairs import PairRecord
from deconvbench.report.comparison import count_verdicts, format_text, list_rows
from tests.builders import make_case, make_pair_record

CASES = [make_case(height=height) for height in (4, 8, 16, 32, 64, 128)]
IDS = [case.case_id for case in CASES]
EMPTY = Side(name="base", latencies_s={}, failures={}, metrics={})


def draw(pair: str = "head", *, ratios: dict[str, float] | None = None, count: int = 10) -> list[PairRecord]:
    """Draw replicates with one percent of noise each."""
    noise = random.Random(pair)
    return [
        make_pair_record(
            case=case,
            pair=pair,
            replicate=replicate,
            log_ratio=math.log((ratios or {}).get(case.case_id, 1.0)) + noise.gauss(0, 0.01),
        )
        for replicate in range(count)
        for case in CASES
    ]


def judge(records: Sequence[PairRecord], **changes: Any) -> PairedComparison:
    sides = {"base": EMPTY, "head": EMPTY, **changes}
    return compare_pairs(records, sides["base"], sides["head"], 0.05)


def find_row(found: PairedComparison, case: str, metric: str = "latency_s") -> pd.Series:
    rows = found.table[(found.table["case_id"] == case) & (found.table["metric"] == metric)]
    assert len(rows) == 1
    return rows.iloc[0]


def replace_case(records: Sequence[PairRecord], case: str, **changes: Any) -> list[PairRecord]:
    others = [record for record in records if record.case.case_id != case]
    mine = [record for record in records if record.case.case_id == case]
    return others + [make_pair_record(case=r.case, replicate=r.replicate, **changes) for r in mine]


def test_a_replicates_value_is_the_median_of_its_rounds() -> None:
    record = make_pair_record(base_samples_s=(1.0, 2.0, 4.0), head_samples_s=(1.1, 2.2, 40.0))
    assert collect_log_ratios([record], "head") == {record.case.case_id: [pytest.approx(math.log(1.1))]}
    assert collect_log_ratios([record], "control") == {}


def test_values_stand_in_the_order_of_the_replicates() -> None:
    records = [make_pair_record(replicate=replicate, log_ratio=replicate / 10) for replicate in (2, 0, 1)]
    records.append(make_pair_record(replicate=3, status="crashed", failed_side="head"))
    assert collect_log_ratios(records, "head") == {records[0].case.case_id: pytest.approx([0, 0.1, 0.2])}


def test_a_slower_case_is_found_and_the_others_are_the_same() -> None:
    found = judge(draw(ratios={IDS[2]: 1.15}))
    verdicts = dict(zip(found.table["case_id"], found.table["verdict"], strict=True))
    assert verdicts == dict.fromkeys(IDS, "same") | {IDS[2]: "slower"}
    row = find_row(found, IDS[2])
    assert row["low"] < row["ratio"] < row["high"]
    assert row["ratio"] == pytest.approx(1.15, rel=0.02)
    assert row["replicates"] == 10
    assert row["reason"] == ""
    assert list(found.table.columns) == list(PAIRED_COLUMNS)


def test_an_open_case_says_how_many_replicates_would_decide() -> None:
    records = draw(ratios={IDS[0]: 1.055})
    found = judge(records)
    row = find_row(found, IDS[0])
    assert row["verdict"] == "inconclusive"
    assert row["replicates_needed"] > 10
    assert f"about {row['replicates_needed']} replicates would decide" in row["reason"]
    assert f"about {row['replicates_needed']} replicates" in format_text(found.table, found.notes)
    assert list_open(records, 0.05, PairedPlan()) == [IDS[0]]


def test_a_case_on_the_margin_would_not_be_decided() -> None:
    records = [
        make_pair_record(case=CASES[0], replicate=r, log_ratio=math.log1p(0.05) + (0.3 if r % 2 else -0.3))
        for r in range(10)
    ]
    row = find_row(judge(records), IDS[0])
    assert row["reason"].endswith("no number of replicates up to 1000 would decide")
    assert row["replicates_needed"] is pd.NA


def test_an_output_that_changed_is_said() -> None:
    records = replace_case(draw(), IDS[1], output_difference=0.25)
    assert find_row(judge(records), IDS[1])["reason"].endswith(
        "its output changed, by 2.5e-01 of the largest value"
    )
    rounding = replace_case(draw(), IDS[1], output_difference=1e-6)
    assert "changed" not in find_row(judge(rounding), IDS[1])["reason"]


@pytest.mark.parametrize(
    ("side", "verdict", "word"),
    [("head", "slower", "HEAD"), ("base", "inconclusive", "BASE"), ("both", "inconclusive", "BASE and HEAD")],
)
def test_what_no_longer_works_is_slower(side: str, verdict: str, word: str) -> None:
    records = replace_case(draw(), IDS[0], status="crashed", message="killed by SIGSEGV", failed_side=side)
    row = find_row(judge(records), IDS[0])
    assert (row["verdict"], row["reason"]) == (verdict, f"crashed in {word}: killed by SIGSEGV")
    assert math.isnan(row["ratio"])
    assert list_open(records, 0.05, PairedPlan()) == []


def test_a_replicate_that_failed_is_told_beside_the_verdict() -> None:
    records = draw()
    broken = next(r for r in records if r.case.case_id == IDS[0])
    index = records.index(broken)
    records[index] = make_pair_record(
        case=broken.case, replicate=broken.replicate, status="oom", message="too large", failed_side="head"
    )
    row = find_row(judge(records), IDS[0])
    assert row["reason"].endswith("oom in HEAD in 1 of 10 replicates: too large")
    # nine of ten: it is measured again, until the next look
    assert row["verdict"] == "inconclusive"
    assert list_open(records, 0.05, PairedPlan()) == [IDS[0]]


def test_what_no_commit_can_build_is_left_out() -> None:
    records = replace_case(draw(), IDS[0], status="unsupported", message="k < s", failed_side="both")
    assert IDS[0] not in set(judge(records).table["case_id"])


def test_memory_and_artifacts_are_compared_with_tolerances() -> None:
    before = Side(
        name="b", latencies_s={}, failures={}, metrics={IDS[0]: {"macs": 100.0, "peak_memory_bytes": 1e6}}
    )
    after = Side(
        name="h", latencies_s={}, failures={}, metrics={IDS[0]: {"macs": 200.0, "peak_memory_bytes": 1e6}}
    )
    found = judge(draw(), base=before, head=after)
    assert find_row(found, IDS[0], "macs")["verdict"] == "larger"
    assert find_row(found, IDS[0], "peak_memory_bytes")["verdict"] == "same"
    assert count_verdicts(found.table).endswith("1 larger")
    assert all(row["replicates"] is None for row in list_rows(found.table) if row["metric"] == "macs")


def test_the_control_says_how_far_identical_code_was_apart() -> None:
    found = judge(draw() + draw("control"))
    assert not found.control.is_void
    [line, common] = found.notes
    assert line.startswith("control: BASE against BASE in 6 cases: off by up to ")
    assert common.startswith("all cases together: HEAD/BASE 0.999 (")


def test_a_control_that_is_slower_voids_the_comparison() -> None:
    found = judge(draw() + draw("control", ratios={IDS[3]: 1.2}))
    assert found.control.is_void
    assert any(note.startswith("VOID: ") and IDS[3] in note for note in found.notes)


def test_a_control_that_could_not_be_measured_is_said() -> None:
    assert judge(draw()).notes[0] == "control: none of BASE against BASE could be measured"


def test_what_all_cases_share_is_told_and_is_no_verdict_of_its_own() -> None:
    found = judge(draw(ratios=dict.fromkeys(IDS, 1.02)) + draw("control"))
    assert set(found.table["verdict"]) == {"same"}
    assert found.notes[-1].startswith("all cases together: HEAD/BASE 1.019 (")


def test_what_the_rule_says_beside_a_verdict_is_a_reason() -> None:
    shared = judge(draw(ratios=dict.fromkeys(IDS, 1.2)))
    assert find_row(shared, IDS[0])["verdict"] == "slower"
    assert find_row(shared, IDS[0])["reason"].startswith("as most cases are (1.")
    slow = [replicate % 2 for replicate in range(30)]
    records = [
        make_pair_record(case=CASES[0], replicate=replicate, log_ratio=0.3 * is_slow)
        for replicate, is_slow in enumerate(slow)
    ]
    row = find_row(judge(records), IDS[0])
    assert row["verdict"] == "inconclusive"
    assert row["reason"].startswith("slower in 15 of 30 pairs only: two speeds; about ")
