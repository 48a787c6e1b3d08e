import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from deconvbench.errors import RunFolderError, SurroundingsError
from deconvbench.records.record import Latency, NumericsRecord, QualityRecord, Record, SpeedupRecord
from deconvbench.records.run_folder import JOURNAL_NAME, hold_folder, read_run_info, write_run_info
from deconvbench.runner.plan import (
    Plan,
    close_folder,
    guess_case_seconds,
    list_imprecise,
    list_jobs,
    list_replicate,
    list_speedups,
    open_folder,
    reopen_folder,
)
from tests.builders import make_case, make_grid, make_plan, make_record, make_speedup_grid

ENVIRONMENT: dict[str, Any] = {
    "machine_id": "m",
    "torch_version": "2",
    "code_version": "1",
    "python_version": "3.11",
}


def test_jobs_are_quality_and_numerics_once_then_every_case_per_replicate() -> None:
    plan = make_plan()
    first, *replicates = list_jobs(plan)
    assert [type(job) for job in first] == [QualityRecord, NumericsRecord]
    assert len(replicates) == 2
    for number, jobs in enumerate(replicates):
        assert {job.key for job in jobs} == {("record", case.case_id, number) for case in plan.cases}
        assert [job.order for job in jobs if isinstance(job, Record)] == [0, 1, 2]
    keys = [job.key for batch in list_jobs(plan) for job in batch]
    assert len(set(keys)) == len(keys)


def test_numerics_do_not_depend_on_the_size() -> None:
    plan = make_plan(make_grid(axes={"dtype": ["float32", "bfloat16"], "step": ["forward", "train"]}))
    numerics = [job for job in list_jobs(plan)[0] if isinstance(job, NumericsRecord)]
    assert [job.dtype for job in numerics] == ["float32", "bfloat16"]


def test_orders_are_fresh_in_each_replicate_and_follow_the_seed() -> None:
    grid = make_grid(axes={"height": list(range(1, 30))}, replicates=3)
    orders = [[job.key[1] for job in jobs] for jobs in list_jobs(make_plan(grid))[1:]]
    assert orders[0] != orders[1] != orders[2]
    assert orders == [[job.key[1] for job in jobs] for jobs in list_jobs(make_plan(grid))[1:]]
    assert orders != [[job.key[1] for job in jobs] for jobs in list_jobs(make_plan(grid, seed=8))[1:]]


@pytest.mark.parametrize("precision", [None, 0.02])
def test_plan_survives_run_json(tmp_path: Path, precision: float | None) -> None:
    plan = make_plan(upsamplers=("a.b:c",), command=("deconvbench", "run"), precision=precision)
    open_folder(plan, tmp_path / "run", ENVIRONMENT)
    assert Plan.from_dict(json.loads((tmp_path / "run" / "run.json").read_text())) == plan
    assert reopen_folder(tmp_path / "run", ENVIRONMENT) == plan
    assert read_run_info(tmp_path / "run")["resumed"][0]["differences"] == []


def test_a_folder_is_described_until_it_is_closed(tmp_path: Path) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    assert read_run_info(tmp_path)["finished_at"] is None
    close_folder(tmp_path, 0.9)
    close_folder(tmp_path, None)
    info = read_run_info(tmp_path)
    assert info["finished_at"]
    assert info["measuring_share"] == 0.9


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    with pytest.raises(RunFolderError, match="holds a run already; continue it with --resume"):
        open_folder(make_plan(), tmp_path, ENVIRONMENT)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="is a file, not a folder"):
        open_folder(make_plan(), tmp_path / "file", ENVIRONMENT)
    with pytest.raises(RunFolderError, match="--out: cannot make .*: Not a directory"):
        open_folder(make_plan(), tmp_path / "file" / "below", ENVIRONMENT)


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # chmod would not stop root, which is who runs the tests in continuous integration
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(RunFolderError, match="cannot be written: permission denied"):
        open_folder(make_plan(), tmp_path, ENVIRONMENT)


def test_a_full_disk_is_told_from_a_wrong_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, parents: bool, exist_ok: bool) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SurroundingsError, match="the disk is full"):
        open_folder(make_plan(), tmp_path / "run", ENVIRONMENT)


@pytest.mark.parametrize(
    ("key", "word"), [("machine_id", "machine"), ("torch_version", "torch"), ("code_version", "code")]
)
def test_a_changed_surrounding_is_refused_and_named_unless_told_otherwise(
    tmp_path: Path, key: str, word: str
) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    now = {**ENVIRONMENT, key: "other"}
    with pytest.raises(RunFolderError, match=rf"{word} was .*, is other; --resume-anyway"):
        reopen_folder(tmp_path, now)
    assert reopen_folder(tmp_path, now, anyway=True) == make_plan()
    assert read_run_info(tmp_path)["resumed"][-1]["differences"] == [f"{word} was {ENVIRONMENT[key]}, is other"]


def test_a_foreign_folder_cannot_be_resumed(tmp_path: Path) -> None:
    write_run_info(tmp_path, {"grid": 3})
    with pytest.raises(RunFolderError, match="does not describe a run"):
        reopen_folder(tmp_path, ENVIRONMENT)


@pytest.mark.parametrize(
    ("key", "value"),
    [("resumed", None), ("environment", []), ("grid", {"axes": []}), ("case_ids", None)],
    ids=["resumed", "environment", "axes", "cases"],
)
def test_a_description_with_foreign_values_cannot_be_resumed(tmp_path: Path, key: str, value: object) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    write_run_info(tmp_path, {**read_run_info(tmp_path), key: value})
    with pytest.raises(RunFolderError, match="does not describe a run"):
        reopen_folder(tmp_path, ENVIRONMENT)


def test_a_folder_that_another_run_holds_is_not_written(tmp_path: Path) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    with hold_folder(tmp_path), pytest.raises(SurroundingsError, match="another run is writing this folder"):
        reopen_folder(tmp_path, ENVIRONMENT)
    assert read_run_info(tmp_path)["resumed"] == []
    assert reopen_folder(tmp_path, ENVIRONMENT) == make_plan()


def test_a_journal_that_cannot_be_read_is_refused_before_anything_changes(tmp_path: Path) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(SurroundingsError, match="cannot read .*: Is a directory"):
        reopen_folder(tmp_path, ENVIRONMENT)
    (tmp_path / JOURNAL_NAME).rmdir()
    (tmp_path / JOURNAL_NAME).write_text("{oops\n")
    with pytest.raises(RunFolderError, match=f"{JOURNAL_NAME}:1: not a record"):
        reopen_folder(tmp_path, ENVIRONMENT)
    assert read_run_info(tmp_path)["resumed"] == []


def measured(height: int, *medians: float | None) -> list[Record]:
    """Records of one case, one replicate for each median; None is one that failed."""
    records = []
    for replicate, median in enumerate(medians):
        case = make_case(height=height, width=height, out_channels=4)
        if median is None:
            records.append(make_record(case=case, replicate=replicate, status="oom"))
            continue
        latency = Latency(
            samples_s=(median / 2, median, median * 2), calls_per_sample=1, first_call_s=1, stop_reason="precision"
        )
        records.append(make_record(case=case, replicate=replicate, latency=latency))
    return records


QUIET = {height: measured(height, 1.0, 1.001, 0.999) for height in (4, 16)}


@pytest.mark.parametrize(
    ("medians", "is_wide"),
    [
        ((1.0, 1.0, 1.001), False),
        ((1.0, 1.5, 0.7), True),
        ((1.0,), False),
        ((None, None), False),
        ((1.0, None, 1.5), True),
        ((), False),
    ],
    ids=["narrow", "wide", "single replicate", "failed", "wide where it did not fail", "not measured"],
)
def test_imprecise_cases_are_those_with_a_wide_interval(medians: tuple[float | None, ...], is_wide: bool) -> None:
    plan = make_plan(precision=0.05)
    records = [*QUIET[4], *measured(8, *medians), *QUIET[16]]
    assert [case.height for case in list_imprecise(plan, records)] == ([8] if is_wide else [])


def test_what_is_imprecise_depends_on_the_precision() -> None:
    records = [*QUIET[4], *measured(8, 1.0, 1.5, 0.7), *QUIET[16]]
    assert list_imprecise(make_plan(precision=None), records) == []
    assert list_imprecise(make_plan(precision=100.0), records) == []
    assert len(list_imprecise(make_plan(precision=1e-9), records)) == 3


def test_records_of_other_cases_and_kinds_do_not_matter() -> None:
    plan = make_plan(precision=0.05)
    others = [*list_jobs(plan)[0], *measured(99, 1.0, 2.0)]
    records = [*QUIET[4], *measured(8, 1.0, 1.5, 0.7), *QUIET[16]]
    assert list_imprecise(plan, [*others, *records]) == list_imprecise(plan, records)


def test_a_further_replicate_lists_some_cases_in_an_order_of_its_own() -> None:
    cases = make_plan(make_grid(axes={"height": list(range(1, 30))})).cases[:20]
    jobs = list_replicate(cases, 7, 5)
    assert {job.key for job in jobs} == {("record", case.case_id, 5) for case in cases}
    assert [job.order for job in jobs if isinstance(job, Record)] == list(range(20))
    assert [job.key for job in jobs] != [("record", case.case_id, 5) for case in cases]
    assert jobs == list_replicate(cases, 7, 5)


def test_the_guess_grows_with_the_cap() -> None:
    assert guess_case_seconds(make_grid(time_cap_s=3)) > guess_case_seconds(make_grid(time_cap_s=1))


def test_speedups_follow_the_cases_of_each_replicate_frozen_ones_forward_only() -> None:
    plan = make_plan(make_speedup_grid())
    for number, jobs in enumerate(list_jobs(plan)[1:]):
        assert isinstance(jobs[0], Record)
        found = [job for job in jobs[1:] if isinstance(job, SpeedupRecord)]
        assert len(found) == len(jobs) - 1
        kinds = sorted((job.case.height, job.case.step, job.is_frozen) for job in found)
        assert kinds == [
            (side, step, frozen)
            for side in (4, 6)
            for step, frozen in (("forward", False), ("forward", True), ("train", False))
        ]
        assert {job.replicate for job in found} == {number}
        assert found[0].twins == (found[0].case.case_id.replace("nearest_conv", "nearest_conv_transposed"),)
        assert found[0].rivals == (found[0].case.case_id.replace("nearest_conv", "transposed"),)


def test_orders_of_speedups_follow_seed_and_replicate() -> None:
    plan = make_plan(make_speedup_grid())
    orders = [[job.key[:3] for job in list_speedups(plan, number)] for number in (0, 1, 0)]
    assert orders[0] != orders[1]
    assert orders[0] == orders[2]


def test_a_grid_without_speedups_has_none() -> None:
    assert list_speedups(make_plan(), 0) == []


def test_a_plan_of_before_speedups_is_read() -> None:
    info = {name: value for name, value in make_plan().to_dict().items() if name != "setting_ids"}
    assert Plan.from_dict(info) == make_plan()
    plan = make_plan(make_speedup_grid())
    assert Plan.from_dict(plan.to_dict()) == plan
