import errno
import os
import sys
from pathlib import Path

import pytest

from deconvbench.errors import RunFolderError, SurroundingsError
from deconvbench.records.journal import Journal
from deconvbench.records.record import encode_record
from deconvbench.records.run_folder import JOURNAL_NAME
from tests.builders import make_record


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    records = [make_record(replicate=index) for index in range(3)]
    with Journal(tmp_path) as journal:
        for record in records:
            journal.append(record)
        assert records[1].key in journal
        assert make_record(replicate=9).key not in journal
    with Journal(tmp_path) as journal:
        assert journal.records == records


def test_a_record_is_on_disk_when_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    real = os.fsync

    def spy(descriptor: int) -> None:
        real(descriptor)
        synced.append((tmp_path / JOURNAL_NAME).read_bytes())

    monkeypatch.setattr(os, "fsync", spy)
    with Journal(tmp_path) as journal:
        journal.append(make_record())
        assert synced[-1] == encode_record(make_record()).encode() + b"\n"


def test_torn_at_every_byte_of_the_last_record(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    first = encode_record(make_record()).encode() + b"\n"
    second = encode_record(make_record(replicate=1)).encode() + b"\n"
    for cut in range(len(second)):
        path.write_bytes(first + second[:cut])
        with Journal(tmp_path) as journal:
            assert journal.records == [make_record()]
            journal.append(make_record(replicate=2))
        with Journal(tmp_path) as journal:
            assert [record.key[2] for record in journal.records] == [0, 2]


def test_a_broken_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    line = encode_record(make_record()).encode() + b"\n"
    (tmp_path / JOURNAL_NAME).write_bytes(line + b"{oops\n" + line)
    with pytest.raises(RunFolderError, match=rf"{JOURNAL_NAME}:2: not a record"):
        Journal(tmp_path)
    # the failed opening let the folder go
    (tmp_path / JOURNAL_NAME).write_bytes(line)
    with Journal(tmp_path) as journal:
        assert len(journal.records) == 1


def test_a_newer_schema_is_refused_and_untouched(tmp_path: Path) -> None:
    content = encode_record(make_record()).replace('"schema_version":1', '"schema_version":99').encode() + b"\n"
    (tmp_path / JOURNAL_NAME).write_bytes(content)
    with pytest.raises(RunFolderError, match="schema 99; this version reads up to 1"):
        Journal(tmp_path)
    assert (tmp_path / JOURNAL_NAME).read_bytes() == content


def test_two_runs_never_write_one_folder(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(SurroundingsError, match="another run is writing this folder"):
        Journal(tmp_path)
    with Journal(tmp_path):
        pass


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(tmp_path) as journal:
        journal.append(make_record())
        real = os.write

        def write_half(descriptor: int, data: bytes) -> int:
            monkeypatch.setattr(os, "write", refuse)
            return real(descriptor, data[: len(data) // 2])

        def refuse(descriptor: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", write_half)
        with pytest.raises(SurroundingsError, match=r"journal\.jsonl: the disk is full"):
            journal.append(make_record(replicate=1))
    monkeypatch.undo()
    with Journal(tmp_path) as journal:
        assert journal.records == [make_record()]


def test_failing_to_cut_the_torn_line_still_says_why_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    with Journal(tmp_path) as journal:
        monkeypatch.setattr(os, "write", refuse)
        monkeypatch.setattr(os, "ftruncate", refuse)
        with pytest.raises(SurroundingsError, match="the file system is read-only"):
            journal.append(make_record())


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nobody may make files")
def test_a_folder_without_write_permission() -> None:
    with pytest.raises(SurroundingsError, match="cannot write to /proc"):
        Journal(Path("/proc"))


def test_a_folder_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(SurroundingsError, match="cannot write to"):
        Journal(tmp_path)


@pytest.mark.parametrize("fate", ["removed", "moved", "replaced"])
def test_what_would_be_lost_with_a_removed_file_is_refused(tmp_path: Path, fate: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with Journal(folder) as journal:
        journal.append(make_record())
        if fate == "removed":
            (folder / JOURNAL_NAME).unlink()
        else:
            folder.rename(tmp_path / "moved")
        if fate == "replaced":
            folder.mkdir()
            (folder / JOURNAL_NAME).touch()
        with pytest.raises(SurroundingsError, match=r"journal\.jsonl: it was removed, moved or replaced while"):
            journal.append(make_record(replicate=1))
    if fate != "removed":
        with Journal(tmp_path / "moved") as journal:
            assert journal.records == [make_record()]
    if fate == "replaced":
        assert (folder / JOURNAL_NAME).read_bytes() == b""


def test_a_pipe_in_the_place_of_a_journal_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / JOURNAL_NAME)
    with pytest.raises(SurroundingsError, match=r"cannot write to .*journal\.jsonl: it is a pipe, not a file"):
        Journal(tmp_path)


def test_a_journal_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / JOURNAL_NAME).symlink_to(tmp_path / "elsewhere.jsonl")
    with Journal(tmp_path / "run") as journal:
        journal.append(make_record())
    assert (tmp_path / "run" / JOURNAL_NAME).is_symlink()
    assert (tmp_path / "elsewhere.jsonl").read_bytes() == encode_record(make_record()).encode() + b"\n"


def test_keys_alone_can_be_kept_of_what_is_appended(tmp_path: Path) -> None:
    first, second = make_record(), make_record(replicate=1)
    with Journal(tmp_path) as journal:
        journal.append(first)
    with Journal(tmp_path, keeps_records=False) as journal:
        journal.append(second)
        assert journal.records == [first]
        assert second.key in journal
        assert len(journal) == 2
    with Journal(tmp_path) as journal:
        assert journal.records == [first, second]
