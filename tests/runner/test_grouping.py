"""What is measured together, and what becomes of the others when one goes wrong."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest

from deconvbench.measure.capacity import count_host_bytes
from deconvbench.records.record import QualityRecord, Record
from deconvbench.runner import grouping
from deconvbench.runner.grouping import measure_group, split_groups
from deconvbench.runner.messages import Breakdown
from tests.builders import make_case, make_record

BASE = "transposed"


def make_job(name: str, baseline: str = BASE, **changes: object) -> Record:
    baseline_id = make_case(upsampler=baseline, **changes).case_id
    return make_record(case=make_case(upsampler=name, **changes), baseline_id=baseline_id, status="error")


class Process:
    """Measures what it is told to be sound; the others go wrong in their way, whoever is beside them."""

    def __init__(self, faults: dict[str, str] | None = None, *, unnamed: Collection[str] = ()) -> None:
        self.faults = faults or {}
        self.unnamed = unnamed  # faults that do not show in which case they happen
        self.asked: list[tuple[str, ...]] = []

    def ask(self, jobs: Sequence[Record]) -> list[Record] | Breakdown:
        names = tuple(job.case.upsampler for job in jobs)
        self.asked.append(names)
        for job in jobs:
            name = job.case.upsampler
            fault = self.faults.get(name, "ok")
            if fault in ("crashed", "timeout"):
                suspect = "" if name in self.unnamed else job.case.case_id
                return Breakdown(status=fault, message=name, suspect=suspect, is_fatal=True, process_index=7)
            if fault == "disturbs" and len(jobs) > 1:
                return Breakdown(status="error", message=name, suspect=job.case.case_id)
            if fault == "exhausts all" and len(jobs) > 2:
                return Breakdown(status="oom", message="killed", suspect=job.case.case_id, is_fatal=True)
            if fault == "meets" and len(jobs) > 2:
                return Breakdown(status="crashed", message=name, suspect=job.case.case_id, is_fatal=True)
        return [self._fill(job, jobs) for job in jobs]

    def _fill(self, job: Record, jobs: Sequence[Record]) -> Record:
        fault = self.faults.get(job.case.upsampler, "ok")
        status = {"error": "error", "oom": "oom", "unsupported": "unsupported"}.get(fault, "ok")
        if fault == "fits alone" and len(jobs) > 1:
            status = "oom"
        has_baseline = any(other.case.case_id == job.baseline_id for other in jobs)
        ratios = (float(len(jobs)),) if has_baseline and status == "ok" else ()
        return replace(job, status=status, message="", ratios=ratios)


def run(process: Process, *names: str, baseline: str = BASE) -> dict[str, tuple[str, bool]]:
    """Measure cases; return the status of each, and whether it has ratios."""
    jobs = [make_job(name, baseline) for name in names]
    records = measure_group(jobs, process.ask)
    assert [record.key for record in records] == [job.key for job in jobs]
    return {record.case.upsampler: (record.status, bool(record.ratios)) for record in records}


def test_a_group_without_faults_is_measured_at_once() -> None:
    process = Process()
    assert run(process, BASE, "subpixel", "carafe") == dict.fromkeys((BASE, "subpixel", "carafe"), ("ok", True))
    assert process.asked == [(BASE, "subpixel", "carafe")]


def test_a_baseline_that_is_not_to_be_measured_is_timed_along_and_not_returned() -> None:
    process = Process()
    assert run(process, "subpixel", "carafe") == {"subpixel": ("ok", True), "carafe": ("ok", True)}
    assert process.asked == [(BASE, "subpixel", "carafe")]


def test_a_failure_of_one_is_its_own_affair() -> None:
    process = Process({"subpixel": "error", "carafe": "unsupported"})
    found = run(process, BASE, "subpixel", "carafe")
    assert found == {BASE: ("ok", True), "subpixel": ("error", False), "carafe": ("unsupported", False)}
    assert len(process.asked) == 1


@pytest.mark.parametrize("fault", ["crashed", "timeout"])
@pytest.mark.parametrize("is_named", [True, False], ids=["named", "unnamed"])
def test_the_culprit_is_named_and_all_others_have_ratios(fault: str, is_named: bool) -> None:
    process = Process({"carafe": fault}, unnamed=() if is_named else {"carafe"})
    found = run(process, BASE, "subpixel", "carafe", "dysample")
    assert found == {
        BASE: ("ok", True), "subpixel": ("ok", True), "carafe": (fault, False), "dysample": ("ok", True),
    }  # fmt: skip
    together = [(BASE, "subpixel", "carafe", "dysample")]
    rest = [(BASE, "subpixel", "dysample")]
    if not is_named:
        pairs = [(BASE, name) for name in ("subpixel", "carafe", "dysample")]
        assert process.asked == [*together, (BASE,), *pairs]
    elif fault == "timeout":  # it has had its time
        assert process.asked == [*together, *rest]
    else:
        assert process.asked == [*together, ("carafe",), *rest]


def test_several_culprits_are_found_one_after_another() -> None:
    process = Process({"carafe": "crashed", "subpixel": "timeout", "sinc_conv": "oom"})
    found = run(process, BASE, "subpixel", "carafe", "dysample", "sinc_conv")
    assert {name: status for name, (status, _) in found.items()} == {
        BASE: "ok", "subpixel": "timeout", "carafe": "crashed", "dysample": "ok", "sinc_conv": "oom",
    }  # fmt: skip
    assert found["dysample"] == ("ok", True)


@pytest.mark.parametrize("is_named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("is_planned", [True, False], ids=["planned", "along"])
def test_without_a_sound_baseline_the_others_are_measured_all_the_same(is_named: bool, is_planned: bool) -> None:
    process = Process({BASE: "crashed"}, unnamed=() if is_named else {BASE})
    names = [BASE, "subpixel", "carafe"][0 if is_planned else 1 :]
    found = run(process, *names)
    assert found == {name: ("crashed" if name == BASE else "ok", False) for name in names}


def test_what_disturbs_others_is_measured_alone() -> None:
    process = Process({"carafe": "disturbs"})
    found = run(process, BASE, "subpixel", "carafe")
    assert found == {BASE: ("ok", True), "subpixel": ("ok", True), "carafe": ("ok", False)}
    assert process.asked == [(BASE, "subpixel", "carafe"), ("carafe",), (BASE, "subpixel")]


def test_what_did_not_fit_beside_others_is_measured_alone() -> None:
    process = Process({"carafe": "fits alone"})
    found = run(process, BASE, "subpixel", "carafe")
    assert found == {BASE: ("ok", True), "subpixel": ("ok", True), "carafe": ("ok", False)}
    assert process.asked == [(BASE, "subpixel", "carafe"), ("carafe",)]


def test_a_group_that_exhausts_the_machine_goes_in_pairs() -> None:
    process = Process({"carafe": "exhausts all"})
    assert run(process, BASE, "subpixel", "carafe") == dict.fromkeys((BASE, "subpixel", "carafe"), ("ok", True))
    assert process.asked[1:] == [(BASE,), (BASE, "subpixel"), (BASE, "carafe")]


def test_what_crashes_only_beside_others_goes_in_pairs() -> None:
    process = Process({"carafe": "meets"})
    assert run(process, BASE, "subpixel", "carafe") == dict.fromkeys((BASE, "subpixel", "carafe"), ("ok", True))
    assert process.asked[1:] == [("carafe",), (BASE,), (BASE, "subpixel"), (BASE, "carafe")]


def test_a_case_alone_that_takes_its_process_with_it_says_how_and_where() -> None:
    (record,) = measure_group([make_job(BASE)], Process({BASE: "crashed"}).ask)
    assert (record.status, record.message, record.process_index) == ("crashed", BASE, 7)


QUALITY = QualityRecord(
    upsampler=BASE, kernel_size=3, scale_factor=2, seed=0, channels=4, status="error", message="not measured"
)


def test_jobs_are_split_into_groups_of_neighbours() -> None:
    forward = [make_job(name) for name in (BASE, "subpixel")]
    train = [make_job(name, step="train") for name in (BASE, "subpixel")]
    parts = list(split_groups([QUALITY, QUALITY, *forward, *train]))
    assert parts == [[QUALITY], [QUALITY], forward, train]


def test_a_group_that_memory_does_not_hold_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [make_job(name) for name in (BASE, "subpixel", "carafe", "dysample", "sinc_conv")]
    each = count_host_bytes(jobs[0].case)
    monkeypatch.setattr(grouping, "read_host_bytes", lambda: 8 * each)
    assert list(split_groups(jobs)) == [jobs[:2], jobs[2:4], jobs[4:]]


def test_cases_that_are_too_large_to_be_tried_split_nothing() -> None:
    huge = [make_job(name, height=2**20, width=2**20, batch=64) for name in (BASE, "subpixel")]
    assert list(split_groups(huge)) == [huge]
