import errno
import os
from pathlib import Path

import pytest
import torch

from deconvbench.errors import RunFolderError, SurroundingsError
from deconvbench.studies.training.checkpoints import (
    CHECKPOINT_NAME,
    LOG_NAME,
    append_row,
    keep_rows,
    load_checkpoint,
    read_json,
    read_log,
    save_checkpoint,
    write_json,
)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, "cpu") is None
    state = {"step": 3, "network": {"weight": torch.rand(2, 3)}, "row": {"loss": None, "seconds": 0.1}}
    save_checkpoint(tmp_path, state)
    back = load_checkpoint(tmp_path, "cpu")
    assert back is not None
    assert torch.equal(back.pop("network")["weight"], state["network"]["weight"])  # type: ignore[index] # a dict
    assert back == {"step": 3, "row": {"loss": None, "seconds": 0.1}}


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


@pytest.mark.parametrize("kind", ["torn", "foreign", "empty", "harmful"])
def test_what_is_no_checkpoint_is_named_and_never_executed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / CHECKPOINT_NAME
    save_checkpoint(tmp_path, {"step": 3})
    if kind == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "harmful":
        torch.save({"step": Harmful()}, path)
    else:
        path.write_bytes(b"no checkpoint" if kind == "foreign" else b"")
    with pytest.raises(RunFolderError, match=r"checkpoint\.pt cannot be read as a checkpoint"):
        load_checkpoint(tmp_path, "cpu")


def test_a_log_grows_by_lines_and_a_torn_one_is_read_over(tmp_path: Path) -> None:
    assert read_log(tmp_path) == []
    for step in range(3):
        append_row(tmp_path, {"step": step, "loss": None if step == 0 else 1 / 3})
    with (tmp_path / LOG_NAME).open("ab") as file:
        file.write(b'{"step": 3, "lo')
    assert [row["step"] for row in read_log(tmp_path)] == [0, 1, 2]
    keep_rows(tmp_path, lambda row: row["step"] != 1)
    append_row(tmp_path, {"step": 4})
    assert read_log(tmp_path) == [{"step": 0, "loss": None}, {"step": 2, "loss": 1 / 3}, {"step": 4}]


def test_a_broken_log_is_named(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_text('{"step": 1}\nno row\n{"step": 2}\n')
    with pytest.raises(RunFolderError, match=r"log\.jsonl:2: not a row of a log: not JSON"):
        read_log(tmp_path)


def test_a_full_disk_stops_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SurroundingsError, match="the disk is full"):
        append_row(tmp_path, {"step": 0})


def test_objects_come_back(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    assert read_json(path) is None
    write_json(path, {"a": [1, None]})
    assert read_json(path) == {"a": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read"), ("[]", "is not an object")])
def test_what_is_no_object_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(RunFolderError, match=message):
        read_json(tmp_path / "result.json")
