import errno
import fcntl
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from deconvbench.errors import RunFolderError, SurroundingsError, UsageError
from deconvbench.records.run_folder import (
    JOURNAL_NAME,
    RUN_NAME,
    find_newest_run,
    hold_folder,
    list_hardware,
    read_run_info,
    write_run_info,
)
from tests.noop_run import FORKS


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_run_info(tmp_path, {"seed": 3})
    write_run_info(tmp_path, {"seed": 4})
    assert read_run_info(tmp_path) == {"schema_version": 1, "seed": 4}
    assert [path.name for path in tmp_path.iterdir()] == [RUN_NAME]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="'.*/no' does not exist"):
        read_run_info(tmp_path / "no")
    with pytest.raises(SurroundingsError, match="cannot write to"):
        write_run_info(tmp_path / "no", {})


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "{", '{"schema_version": "1"}'],
    ids=["empty", "list", "no version", "torn", "version in words"],
)
def test_foreign_description(tmp_path: Path, content: str) -> None:
    (tmp_path / RUN_NAME).write_text(content)
    with pytest.raises(RunFolderError, match="is not a description of a run"):
        read_run_info(tmp_path)


def test_folder_that_is_not_ours(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"has no run\.json, so it is not one of deconvbench"):
        read_run_info(tmp_path)


def test_unreadable_description(tmp_path: Path) -> None:
    (tmp_path / RUN_NAME).mkdir()
    with pytest.raises(RunFolderError, match="cannot read"):
        read_run_info(tmp_path)


def test_newer_schema(tmp_path: Path) -> None:
    (tmp_path / RUN_NAME).write_text(json.dumps({"schema_version": 2}))
    with pytest.raises(RunFolderError, match="has schema 2; this version reads up to 1"):
        read_run_info(tmp_path)


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with hold_folder(tmp_path), pytest.raises(SurroundingsError, match="another run is writing this folder"):
        hold_folder(tmp_path).__enter__()
    with hold_folder(tmp_path):
        pass


def test_what_is_no_folder_cannot_be_held(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SurroundingsError, match="cannot write to .*file: "):
        hold_folder(tmp_path / "file").__enter__()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param(
            {"cpu": "X", "machine_id": "ab", "cores": 1, "memory_bytes": 2**33}, ["X", "1 core", "8 GiB"], id="cpu"
        ),
        pytest.param({"machine_id": "ab", "cores": 2}, ["ab", "2 cores"], id="a machine without a name"),
        pytest.param({"accelerator": {"type": "cuda", "devices": [{"name": "H"}, {}]}}, ["H"], id="accelerators"),
        pytest.param({"accelerator": None, "gpus": [{"name": "G"}, "T"]}, ["G", "T"], id="gpus"),
    ],
)
def test_hardware_is_named_as_far_as_it_is_known(environment: dict[str, Any], words: list[str]) -> None:
    assert list_hardware(environment) == words


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_lock_that_is_not_a_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / ".lock")
    with pytest.raises(SurroundingsError, match="cannot write to .*: .lock in it is not a file of its own"):
        hold_folder(tmp_path).__enter__()


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    (tmp_path / "victim").write_text("precious")
    link(tmp_path / "victim", tmp_path / ".lock")
    with pytest.raises(SurroundingsError, match=".lock in it is not a file"):
        hold_folder(tmp_path).__enter__()
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize(
    "fault",
    [OSError(errno.ENOSYS, "Function not implemented"), OSError(errno.ENOLCK, "No locks available")],
    ids=["not implemented", "none left"],
)
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError
) -> None:
    def refuse(*_: object) -> None:
        raise fault

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(
        SurroundingsError, match="its file system has no locks, so two runs could write it at once"
    ):
        hold_folder(tmp_path).__enter__()


def test_an_older_lock_that_needs_a_real_one_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(SurroundingsError, match="its file system has no locks"):
        hold_folder(tmp_path).__enter__()


def hold_until_killed(folder: Path) -> None:
    with hold_folder(folder):
        (folder / "held").touch()
        signal.pause()


@pytest.mark.process
def test_a_lock_whose_owner_died_is_no_obstacle(tmp_path: Path) -> None:
    process = FORKS.Process(target=hold_until_killed, args=(tmp_path,))
    process.start()
    while not (tmp_path / "held").exists():
        process.join(0.005)
        assert process.is_alive()
    with pytest.raises(SurroundingsError, match="another run is writing this folder"):
        hold_folder(tmp_path).__enter__()
    process.kill()
    process.join()
    with hold_folder(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_drafts_of_killed_runs_are_removed_by_the_next(tmp_path: Path) -> None:
    draft = tmp_path / ".deconvbench-0123456789abcdef.tmp"
    draft.touch()
    with hold_folder(tmp_path):
        assert draft.exists()
    os.utime(draft, (0, 0))
    with hold_folder(tmp_path):
        assert not draft.exists()


def test_a_run_that_vanishes_while_the_newest_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / JOURNAL_NAME).touch()
    list_paths = Path.glob

    def list_and_remove(self: Path, pattern: str) -> list[Path]:
        found = sorted(list_paths(self, pattern))
        found[-1].unlink()
        return found

    monkeypatch.setattr(Path, "glob", list_and_remove)
    assert find_newest_run(tmp_path) == tmp_path / "runs" / "a"
    with pytest.raises(UsageError, match="no run folder"):
        find_newest_run(tmp_path)
