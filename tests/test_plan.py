import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from deconvbench.errors import RunFolderError, SurroundingsError
from deconvbench.plan import Plan, close_folder, guess_case_seconds, list_jobs, open_folder, reopen_folder
from deconvbench.record import NumericsRecord, QualityRecord, Record
from deconvbench.run_folder import read_run_info, write_run_info
from tests.builders import make_grid, make_plan

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


def test_plan_survives_run_json(tmp_path: Path) -> None:
    plan = make_plan(upsamplers=("a.b:c",), command=("deconvbench", "run"))
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


def test_the_guess_grows_with_the_cap() -> None:
    assert guess_case_seconds(make_grid(time_cap_s=3)) > guess_case_seconds(make_grid(time_cap_s=1))
