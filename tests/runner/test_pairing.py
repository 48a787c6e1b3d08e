"""Two processes that take turns: in which order, what each failure costs, and that nothing is left behind."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from deconvbench.records.pairs import PairRecord
from deconvbench.runner.pair_jobs import list_pair_jobs
from deconvbench.runner.pairing import WAITING_VARIABLES, PairPolicy, PairProcess, PairSetup, measure_pairs
from deconvbench.runner.worker import WorkerOptions
from tests.builders import make_case

BASE, HEAD = WorkerOptions(code_version="base"), WorkerOptions(code_version="head")
CASES = [make_case(height=height) for height in (4, 8, 16, 32)]


class FakeSide:
    """A side that answers as it is told to, and keeps what it was asked."""

    asked: ClassVar[list[tuple[str, str, str]]] = []
    started: ClassVar[list["FakeSide"]] = []
    # by side and request: what to answer instead, once each
    failures: ClassVar[dict[tuple[str, str], dict[str, Any]]] = {}
    digests: ClassVar[Mapping[str, str]] = {}

    def __init__(self, options: WorkerOptions) -> None:
        self.name = str(options.code_version)
        self.options = options
        self.environment = {"machine_id": "m", "torch_version": "t", "code_version": self.name}
        self.alive = True
        self.was_killed = False
        self.case = ""
        FakeSide.started.append(self)

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        do = request["do"]
        self.case = request.get("case", self.case)
        FakeSide.asked.append((self.name, do, self.case))
        if (failure := FakeSide.failures.pop((self.name, do), None)) is not None:
            self.alive = failure["status"] not in ("crashed", "timeout")
            return failure
        answers: dict[str, dict[str, Any]] = {
            "prepare": {"digest": FakeSide.digests.get(self.name, "same")},
            "differ": {"difference": 0.25},
            "settle": {"conditions": {"policy": "settled", "pinned_cores": request.get("cores", [])}},
            "warm": {"calls": 8 if self.name == "head" else 4},
            "time": {"seconds": 2.0 if self.name == "head" else 1.0, "disturbed": ""},
        }
        return {"status": "ok", **answers.get(do, {})}

    def kill(self) -> None:
        self.alive = False
        self.was_killed = True


@pytest.fixture(autouse=True)
def fresh() -> None:
    FakeSide.asked, FakeSide.started, FakeSide.failures, FakeSide.digests = [], [], {}, {}


def tick() -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += 0.01


def measure(jobs: list[PairRecord], **changes: Any) -> list[PairRecord]:
    ticks = tick()
    policy = changes.pop("policy", PairPolicy(rounds=4, fewest_rounds=2))
    setup = PairSetup(base=BASE, head=HEAD, policy=policy, find_core=lambda: 1, **changes)
    return list(measure_pairs(setup, jobs, start=FakeSide, clock=lambda: next(ticks)))


def list_times(case_id: str) -> list[str]:
    return [name for name, do, case in FakeSide.asked if do == "time" and case == case_id]


def test_blocks_alternate_in_pairs_of_rounds() -> None:
    jobs = list_pair_jobs(CASES[:1], [], seed=1, replicate=0)
    [record] = measure(jobs)
    assert list_times(CASES[0].case_id) == ["base", "head", "head", "base"] * 2
    assert (record.status, record.message, record.failed_side) == ("ok", "", "")
    assert record.first_side == "base"
    assert record.base_samples_s == (1.0,) * 4
    assert record.head_samples_s == (2.0,) * 4
    assert record.calls_per_sample == 8
    assert record.output_difference == 0
    assert (record.base_code, record.head_code, record.machine_id) == ("base", "head", "m")


def test_the_side_that_comes_first_changes_with_the_replicate() -> None:
    firsts = []
    for replicate in (0, 1):
        FakeSide.asked = []
        measure(list_pair_jobs(CASES[:1], [], seed=1, replicate=replicate))
        firsts.append(list_times(CASES[0].case_id)[0])
    assert firsts == ["base", "head"]


def test_rounds_end_at_the_time_cap_but_not_before_the_fewest() -> None:
    jobs = list_pair_jobs(CASES[:1], [], seed=1, replicate=0)
    [record] = measure(jobs, policy=PairPolicy(rounds=50, fewest_rounds=3, time_cap_s=0))
    assert len(record.base_samples_s) == 3


def test_a_round_with_a_disturbed_block_is_taken_again_and_kept() -> None:
    disturbed = {"status": "ok", "seconds": 9.0, "disturbed": "30% of the block stolen"}
    FakeSide.failures = {("head", "time"): disturbed}
    [record] = measure(list_pair_jobs(CASES[:1], [], seed=1, replicate=0))
    assert record.repeated == ((0, "head: 30% of the block stolen"),)
    assert record.head_samples_s == (9.0, 2.0, 2.0, 2.0, 2.0)
    assert record.base_samples_s == (1.0,) * 5


def test_a_machine_that_disturbs_every_block_does_not_hold_a_case_up() -> None:
    class Disturbed(FakeSide):
        def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
            return {**super().ask(request, timeout_s), "disturbed": "all of it"}

    setup = PairSetup(base=BASE, head=HEAD, policy=PairPolicy(rounds=4, fewest_rounds=2), find_core=lambda: 1)
    [record] = measure_pairs(setup, list_pair_jobs(CASES[:1], [], seed=1, replicate=0), start=Disturbed)
    assert [index for index, _ in record.repeated] == list(range(8))
    assert len(record.base_samples_s) == 12
    assert record.repeated[0][1] in ("base: all of it; head: all of it", "head: all of it; base: all of it")


def test_a_replicate_is_three_fresh_processes() -> None:
    records = measure(list_pair_jobs(CASES, CASES[:2], seed=1, replicate=0))
    assert Counter(side.name for side in FakeSide.started) == {"base": 2, "head": 1}
    assert all(side.was_killed for side in FakeSide.started)
    assert Counter((r.pair, r.head_code) for r in records) == {("head", "head"): 4, ("control", "base"): 2}
    assert [do for name, do, _ in FakeSide.asked if name == "head"].count("drop") == 4


def test_outputs_are_compared_where_their_digests_differ() -> None:
    FakeSide.digests = {"head": "other"}
    [record] = measure(list_pair_jobs(CASES[:1], [], seed=1, replicate=0))
    done = [(name, do) for name, do, _ in FakeSide.asked]
    assert done.index(("base", "write")) < done.index(("head", "differ")) < done.index(("base", "time"))
    assert record.output_difference == 0.25
    assert record.status == "ok"


@pytest.mark.parametrize("do", ["prepare", "warm", "time"])
@pytest.mark.parametrize("name", ["base", "head"])
@pytest.mark.parametrize("status", ["crashed", "oom", "error", "timeout"])
def test_a_failing_side_costs_its_case_alone(status: str, name: str, do: str) -> None:
    FakeSide.failures = {(name, do): {"status": status, "message": "boom"}}
    failed, *others = measure(list_pair_jobs(CASES, [], seed=1, replicate=0))
    assert (failed.status, failed.message, failed.failed_side) == (status, "boom", name)
    assert failed.base_samples_s == failed.head_samples_s == ()
    assert [other.status for other in others] == ["ok"] * 3
    is_replaced = status in ("crashed", "timeout")
    assert Counter(side.name for side in FakeSide.started)[name] == 1 + is_replaced
    assert all(side.was_killed for side in FakeSide.started)


def test_what_neither_side_can_build_is_said_once() -> None:
    answer = {"status": "unsupported", "message": "k < s"}
    FakeSide.failures = {("base", "prepare"): answer, ("head", "prepare"): answer}
    first, *_ = measure(list_pair_jobs(CASES, [], seed=1, replicate=0))
    assert (first.status, first.message, first.failed_side) == ("unsupported", "k < s", "both")


def test_both_sides_share_a_core_where_conditions_are_settled() -> None:
    options = WorkerOptions(conditions="settled")
    setup = PairSetup(
        base=options, head=options, policy=PairPolicy(rounds=2, fewest_rounds=1), find_core=lambda: 5
    )
    cases = [make_case(), make_case(threads=2)]
    records = list(measure_pairs(setup, list_pair_jobs(cases, [], seed=1, replicate=0), start=FakeSide))
    found = {record.case.threads: record.conditions.pinned_cores for record in records if record.conditions}
    assert found == {1: (5,), 2: ()}


def test_system_conditions_bind_nothing() -> None:
    [record] = measure(list_pair_jobs(CASES[:1], [], seed=1, replicate=0))
    assert record.conditions is not None
    assert record.conditions.pinned_cores == ()


def test_each_side_has_a_log_of_its_own(tmp_path: Path) -> None:
    measure(list_pair_jobs(CASES[:1], CASES[:1], seed=1, replicate=0), logs=tmp_path)
    logs = {side.options.log.name for side in FakeSide.started if side.options.log}
    assert logs == {"base.log", "head.log", "control.log"}


def test_where_head_is_slowed_the_clock_is_read_on_all_sides() -> None:
    setup = PairSetup(base=BASE, head=replace(HEAD, slowdowns=(("carafe", 0.05),)), find_core=lambda: 1)
    list(measure_pairs(setup, list_pair_jobs(CASES[:1], CASES[:1], seed=1, replicate=0), start=FakeSide))
    shares = [dict(side.options.slowdowns)["carafe"] for side in FakeSide.started]
    assert sorted(shares) == [0.0, 0.0, 0.05]


def test_all_sides_are_started_before_one_is_waited_for() -> None:
    events: list[str] = []

    class Slow(FakeSide):
        def __init__(self, options: WorkerOptions) -> None:
            super().__init__(options)
            events.append("started")

        def __getattribute__(self, name: str) -> Any:
            if name == "environment" and "started" in events[-1:]:
                events.append("waited")
            return super().__getattribute__(name)

    jobs = list_pair_jobs(CASES[:1], CASES[:1], seed=1, replicate=0)
    list(measure_pairs(PairSetup(base=BASE, head=HEAD, find_core=lambda: 1), jobs, start=Slow))
    assert events == ["started", "started", "started", "waited"]


def test_an_interruption_ends_all_processes() -> None:
    class Interrupted(FakeSide):
        def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
            if request["do"] == "time":
                raise KeyboardInterrupt
            return super().ask(request, timeout_s)

    setup = PairSetup(base=BASE, head=HEAD)
    with pytest.raises(KeyboardInterrupt):
        list(measure_pairs(setup, list_pair_jobs(CASES, [], seed=1, replicate=0), start=Interrupted))
    assert len(FakeSide.started) == 2
    assert all(side.was_killed for side in FakeSide.started)


@pytest.mark.process
@pytest.mark.slow
def test_real_processes_take_turns_and_survive_a_crash(tmp_path: Path) -> None:
    options = WorkerOptions(
        upsamplers=("tests.faulty_upsamplers:Sound", "tests.faulty_upsamplers:Segfaults"),
        environment=WAITING_VARIABLES,
    )
    setup = PairSetup(base=options, head=options, policy=PairPolicy(rounds=4, fewest_rounds=2), logs=tmp_path)
    cases = [make_case(upsampler=name, height=height) for name in ("sound", "segfaults") for height in (4, 8)]
    processes: list[PairProcess] = []

    def start(chosen: WorkerOptions) -> PairProcess:
        processes.append(PairProcess(chosen))
        return processes[-1]

    records = list(measure_pairs(setup, list_pair_jobs(cases, cases[:1], seed=1, replicate=0), start=start))
    for record in records:
        if record.case.upsampler == "sound":
            assert (record.status, record.message, record.output_difference) == ("ok", "", 0.0)
            assert 2 <= len(record.base_samples_s) - len(record.repeated) <= 4
            assert len(record.head_samples_s) == len(record.base_samples_s)
            assert min(record.base_samples_s + record.head_samples_s) > 0
        else:
            assert record.status == "crashed"
            assert "SIGSEGV" in record.message
            # whose process ended: as the first of both it was, the other one was not asked any more
            assert record.failed_side in ("base", "head", "both")
    assert not any(process.alive for process in processes)


@pytest.mark.process
@pytest.mark.slow
def test_a_side_that_hangs_is_ended() -> None:
    options = WorkerOptions(upsamplers=("tests.faulty_upsamplers:Hangs",))
    setup = PairSetup(base=options, head=options, timeout_s=1)
    jobs = list_pair_jobs([make_case(upsampler="hangs")], [], seed=1, replicate=0)
    [record] = measure_pairs(setup, jobs)
    assert (record.status, record.failed_side, record.message) == ("timeout", "both", "no answer within 1 s")
