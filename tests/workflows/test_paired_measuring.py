"""Replicates of pairs until enough is known, with sides that only pretend to compute."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deconvbench.analysis.pairing import PairedPlan
from deconvbench.progress import JobDone
from deconvbench.records.pairs import PairRecord
from deconvbench.records.run_folder import read_journal
from deconvbench.runner.pairing import PairSetup
from deconvbench.runner.worker import WorkerOptions
from deconvbench.workflows.paired_measuring import measure_replicates
from tests.builders import make_case

CASES = [make_case(upsampler=name, height=height) for name in ("nearest_conv", "carafe") for height in (4, 8, 16)]
PLAN = PairedPlan(first=5, further=2, most=9)


class FakeSide:
    """Takes a millisecond a call; HEAD longer by what `factors` says of a case, replicate by replicate."""

    factors: Mapping[str, list[float]] = {}
    failing: Mapping[str, str] = {}
    replicates = 0

    def __init__(self, options: WorkerOptions) -> None:
        self.name = str(options.code_version)
        self.environment: dict[str, Any] = {"machine_id": "m", "code_version": self.name}
        self.alive = True
        self._case = ""
        if self.name == "head":
            FakeSide.replicates += 1

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        self._case = request.get("case", self._case)
        if request["do"] == "prepare" and self.name == "head" and self._case in FakeSide.failing:
            return {"status": "error", "message": FakeSide.failing[self._case]}
        factors = FakeSide.factors.get(self._case, [1.0]) if self.name == "head" else [1.0]
        seconds = 1e-3 * factors[(FakeSide.replicates - 1) % len(factors)]
        answers: dict[str, dict[str, Any]] = {
            "prepare": {"digest": "d"},
            "settle": {"conditions": {}},
            "warm": {"calls": 1},
            "time": {"seconds": seconds, "disturbed": ""},
        }
        return {"status": "ok", **answers.get(request["do"], {})}

    def kill(self) -> None:
        self.alive = False


@pytest.fixture(autouse=True)
def fresh() -> None:
    FakeSide.factors, FakeSide.failing, FakeSide.replicates = {}, {}, 0


def measure(folder: Path, **changes: Any) -> list[PairRecord]:
    setup = PairSetup(
        base=WorkerOptions(code_version="base"), head=WorkerOptions(code_version="head"), find_core=lambda: None
    )
    words: dict[str, Any] = {"plan": PLAN, "margin": 0.05, "seed": 1, "start": FakeSide, **changes}
    return measure_replicates(setup, CASES, folder, **words)


def count(records: list[PairRecord], pair: str = "head") -> Counter[str]:
    return Counter(record.case.case_id for record in records if record.pair == pair)


def test_what_is_decided_at_the_first_look_is_not_measured_again(tmp_path: Path) -> None:
    # a third of the replicates a fifth slower, the others not: five of them decide nothing
    FakeSide.factors = {CASES[0].case_id: [1.2, 1.0, 0.9]}
    records = measure(tmp_path)
    counts = count(records)
    assert counts[CASES[0].case_id] > PLAN.first
    assert {counts[case.case_id] for case in CASES[1:]} == {PLAN.first}
    # the control is measured as long as anything is
    assert set(count(records, "control").values()) == {counts[CASES[0].case_id]}
    assert len(count(records, "control")) == 4


def test_nothing_is_measured_beyond_the_plan(tmp_path: Path) -> None:
    FakeSide.factors = {case.case_id: [1.3, 0.8] for case in CASES}
    assert set(count(measure(tmp_path)).values()) == {PLAN.most}


def test_a_case_that_fails_twice_is_given_up_and_costs_no_other(tmp_path: Path) -> None:
    FakeSide.failing = {CASES[2].case_id: "no such layer"}
    records = measure(tmp_path)
    failed = [record for record in records if record.status != "ok"]
    assert [(r.case, r.status, r.message, r.failed_side) for r in failed] == [
        (CASES[2], "error", "no such layer", "head")
    ] * 2
    assert {count(records)[case.case_id] for case in CASES if case != CASES[2]} == {PLAN.first}


def test_an_interrupted_comparison_measures_what_is_missing_alone(tmp_path: Path) -> None:
    for name in ("whole", "interrupted"):
        (tmp_path / name).mkdir()
    whole = measure(tmp_path / "whole")
    seen: list[JobDone] = []

    def interrupt(done: JobDone) -> None:
        seen.append(done)
        if len(seen) == 17:
            raise KeyboardInterrupt

    folder = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        measure(folder, observer=interrupt)
    before = list(read_journal(folder))
    assert len(before) == 17
    after = measure(folder)
    assert after[:17] == before
    assert sorted(record.key for record in after) == sorted(record.key for record in whole)


def test_progress_counts_up_to_what_is_left(tmp_path: Path) -> None:
    seen: list[JobDone] = []
    FakeSide.factors = {case.case_id: [1.3, 0.8] for case in CASES}
    measure(tmp_path, observer=seen.append)
    assert [done.done for done in seen] == list(range(1, len(seen) + 1))
    assert all(done.total >= done.done for done in seen)
    assert seen[-1].total == seen[-1].done == PLAN.most * (len(CASES) + 4)
