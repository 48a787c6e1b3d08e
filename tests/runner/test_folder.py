"""A run folder is made, taken up again and closed; what does not fit is refused before anything is written."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from deconvbench.errors import RunFolderError, SurroundingsError
from deconvbench.records.run_folder import JOURNAL_NAME, hold_folder, read_run_info, write_run_info
from deconvbench.runner.folder import close_folder, open_folder, reopen_folder
from deconvbench.runner.plan import Plan
from tests.builders import make_plan

ENVIRONMENT: dict[str, Any] = {
    "machine_id": "m",
    "torch_version": "2",
    "code_version": "1",
    "python_version": "3.11",
}


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
    with pytest.raises(RunFolderError, match=rf"{word} was .*, is other.*; pass --resume-anyway"):
        reopen_folder(tmp_path, now)
    assert reopen_folder(tmp_path, now, anyway=True) == make_plan()
    assert read_run_info(tmp_path)["resumed"][-1]["differences"] == [f"{word} was {ENVIRONMENT[key]}, is other"]


def test_a_foreign_folder_cannot_be_resumed(tmp_path: Path) -> None:
    write_run_info(tmp_path, {"grid": 3})
    with pytest.raises(RunFolderError, match="(is not a description of|does not describe) a run"):
        reopen_folder(tmp_path, ENVIRONMENT)


@pytest.mark.parametrize(
    ("key", "value"),
    [("resumed", None), ("environment", []), ("grid", {"axes": []}), ("case_ids", None)],
    ids=["resumed", "environment", "axes", "cases"],
)
def test_a_description_with_foreign_values_cannot_be_resumed(tmp_path: Path, key: str, value: object) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    write_run_info(tmp_path, {**read_run_info(tmp_path), key: value})
    with pytest.raises(RunFolderError, match="(is not a description of|does not describe) a run"):
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
