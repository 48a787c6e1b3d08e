"""Machines side by side: which ratios carry over, and how the work grows."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deconvbench.analysis import machines as module
from deconvbench.analysis import overlay
from deconvbench.analysis.machines import MOST_IN_PAIRS, MachineComparison, compare_machines, lay_out_machines
from deconvbench.analysis.overlay import MIDDLE
from deconvbench.records.conditions import Conditions
from deconvbench.records.run_folder import read_run_info
from deconvbench.tables.files import load
from deconvbench.tables.table import build_table, summarise
from deconvbench.workflows.merge import merge_runs
from tests.made_machines import COSTS, make_machine_records, write_machines

INFO: dict[str, Any] = {
    "merged": [
        {"environment": {"machine_id": name, "cpu": cpu, "cores": 4}} for name, cpu in (("a", "One"), ("b", "Two"))
    ]
}
TURNED = {name: 1 / cost for name, cost in COSTS.items()}


def make_machines_table(*machines: tuple[str, Any], **changes: Any) -> pd.DataFrame:
    records = []
    for index, (name, costs) in enumerate(machines):
        for record in make_machine_records(name, costs, **changes):
            if record.KIND == "record":
                object.__setattr__(record, "replicate", record.replicate + 10 * index)  # type: ignore[union-attr]
            records.append(record)
    return build_table(records)


def compare(*machines: tuple[str, Any], info: dict[str, Any] | None = None, **changes: Any) -> MachineComparison:
    found = compare_machines(make_machines_table(*machines, **changes), INFO if info is None else info)
    assert found is not None
    return found


def test_a_run_of_one_machine_has_nothing_to_compare() -> None:
    assert compare_machines(make_machines_table(("a", COSTS)), INFO) is None
    assert compare_machines(build_table([]), {}) is None


def test_equal_ratios_carry_over_and_others_do_not() -> None:
    dearer = {**COSTS, "bilinear_conv": 3.0}
    found = compare(("a", COSTS), ("b", dearer))
    apart = {spread.case_id for spread in found.spreads if spread.is_apart}
    assert apart == {"bilinear_conv-k3-s2-c4x2-8x8"}
    worst = found.spreads[0]
    assert (worst.low_run, worst.high_run) == ("One, 4 cores", "Two, 4 cores")
    assert (worst.low, worst.high) == pytest.approx((2.4, 3.0), rel=0.02)
    assert len(found.spreads) == len(COSTS) - 1
    (agreement,) = found.agreements
    assert agreement.correlation == pytest.approx(1)
    assert found.level == pytest.approx(0.975)


def test_a_machine_that_turns_the_order_round_has_a_negative_correlation() -> None:
    (agreement,) = compare(("a", COSTS), ("b", TURNED)).agreements
    assert agreement.correlation < -0.5


def test_the_frame_has_a_row_for_each_case_and_machine() -> None:
    frame = lay_out_machines(compare(("a", COSTS), ("b", {**COSTS, "bilinear_conv": 4.0, "sinc_conv": 2.0})))
    assert frame.groupby("machine").size().to_dict() == {"One, 4 cores": 6, "Two, 4 cores": 7}
    verdicts = frame.drop_duplicates("case_id").set_index("upsampler")["carries_over"]
    assert verdicts["nearest_conv"]
    assert not verdicts["bilinear_conv"]
    assert pd.isna(verdicts["transposed"])
    assert pd.isna(verdicts["sinc_conv"])


def test_equal_hardware_is_told_apart_by_as_little_as_it_takes() -> None:
    same = {"merged": [{"environment": {"machine_id": n, "cpu": "One"}} for n in ("abcdef12", "abcdef99", "c")]}
    first, second, third = compare(("abcdef12", COSTS), ("abcdef99", COSTS), ("c", COSTS), info=same).names
    assert (first, second, third) == ("One, abcdef", "One, abcdef (2)", "One, c")
    assert compare(("a", COSTS), ("b", COSTS), info={}).names == ["machine a", "machine b"]


def test_versions_of_torch_and_policies_of_one_machine_are_machines_too() -> None:
    records = [
        *make_machine_records("a"),
        *make_machine_records("a", torch_version="2.9.0"),
        *make_machine_records(
            "a", conditions=Conditions(policy="settled", allocator="settled", huge_pages="malloc")
        ),
    ]
    for index, record in enumerate(records):
        if record.KIND == "record":
            object.__setattr__(record, "replicate", index)
    found = compare_machines(build_table(records), INFO)
    assert found is not None
    assert found.names == [
        "One, 4 cores, torch 2.13.0",
        "One, 4 cores, torch 2.9.0",
        "One, 4 cores, torch 2.13.0, settled",
    ]


def test_machines_without_a_common_case_stand_side_by_side_all_the_same() -> None:
    found = compare(("a", {"transposed": 1.0, "subpixel": 2.0}), ("b", {"nearest_conv": 1.0, "carafe": 2.0}))
    assert not found.shares_cases
    assert (found.agreements, found.spreads) == ((), ())


def test_a_machine_on_which_everything_failed_is_left_out() -> None:
    table = make_machines_table(("a", COSTS), ("b", COSTS))
    assert (
        compare_machines(table.assign(status=table["status"].where(table["machine_id"] == "a", "oom")), INFO)
        is None
    )


def test_many_machines_are_each_compared_with_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the comparisons grow with the machines, and each machine is summarised once."""
    counts = {"pairs": 0, "summaries": 0}
    measure = overlay._measure_pair

    def count_pair(*arguments: Any) -> Any:
        counts["pairs"] += 1
        return measure(*arguments)

    def count_summary(*arguments: Any) -> Any:
        counts["summaries"] += 1
        return summarise(*arguments)

    monkeypatch.setattr(overlay, "_measure_pair", count_pair)
    monkeypatch.setattr(module, "summarise", count_summary)
    for machines in (MOST_IN_PAIRS + 1, 2 * (MOST_IN_PAIRS + 1)):
        counts.update(pairs=0, summaries=0)
        names = [f"m{index}" for index in range(machines)]
        found = compare(*((name, TURNED if name == "m1" else COSTS) for name in names), info={})
        assert counts == {"pairs": machines, "summaries": machines}
        assert all(agreement.runs[1] == MIDDLE for agreement in found.agreements)
        correlations = {agreement.runs[0]: agreement.correlation for agreement in found.agreements}
        assert min(correlations, key=correlations.__getitem__) == "machine m1"
        assert max(correlations.values()) == pytest.approx(1)


def test_identical_machines_seldom_look_apart() -> None:
    """The level is shared out among the machines, so that many of them do not make one ratio look special."""
    apart = cases = 0
    for seed in range(4):
        found = compare(*((f"{seed}-{index}", COSTS) for index in range(8)), info={}, seconds=1e-3 * (1 + seed))
        apart += sum(spread.is_apart for spread in found.spreads)
        cases += len(found.spreads)
    assert (apart <= 2, cases) == (True, 20)


def test_it_reads_what_a_merge_wrote(tmp_path: Path) -> None:
    merge_runs(write_machines(tmp_path, "a", "b"), tmp_path / "m")
    found = compare_machines(load(tmp_path / "m"), read_run_info(tmp_path / "m"))
    assert found is not None
    assert [machine.hardware for machine in found.machines] == ["Processor a, 2 cores", "Processor b, 2 cores"]
    assert [machine.replicates for machine in found.machines] == [3, 3]
