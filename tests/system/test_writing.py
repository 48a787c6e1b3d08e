"""Files are whole, only files are replaced, and nobody else's file is touched."""

import errno
import fcntl
import os
import re
import secrets
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deconvbench.errors import SurroundingsError, UsageError
from deconvbench.system import writing
from deconvbench.system.writing import (
    check_target,
    open_appending,
    remove_abandoned_drafts,
    write_files,
    write_whole,
)
from tests.noop_run import FORKS


def make_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except OSError:
        pytest.skip("making device nodes is not permitted here")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def list_drafts(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


@pytest.fixture
def ours() -> Iterator[Path]:
    """A folder that everybody may enter, and a user who is not root, whom permissions do not stop."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(before)


# what a path leads to


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    make_device(tmp_path / "null")
    (tmp_path / "link").symlink_to("null")
    for name in ("null", "link"):
        write_whole(tmp_path / name, b"gone")
        assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)
    assert (tmp_path / "link").is_symlink()
    with pytest.raises(SurroundingsError, match="cannot write to /dev/full: the disk is full"):
        write_whole(Path("/dev/full"), b"x")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(os.mkfifo, "it is a pipe, not a file", id="pipe"),
        pytest.param(make_socket, "it is a socket, not a file", id="socket"),
        pytest.param(os.mkdir, "it is a folder, not a file", id="folder"),
        pytest.param(make_loop, "Too many levels of symbolic links", id="loop"),
    ],
)
@pytest.mark.parametrize("is_linked", [False, True], ids=["itself", "by a link"])
def test_what_is_not_a_file_is_refused_and_stays(
    tmp_path: Path, make: Callable[[Path], None], reason: str, is_linked: bool
) -> None:
    make(tmp_path / "there")
    path = tmp_path / "there"
    if is_linked:
        path = tmp_path / "link"
        path.symlink_to("there")
    before = path.lstat()
    for write in (write_whole, lambda path, content: write_files(path.parent, {path.name: content})):
        with pytest.raises(SurroundingsError, match=f"cannot write to .*: {reason}"):
            write(path, b"new")
    with pytest.raises(OSError, match=reason):
        open_appending(path)
    assert path.lstat().st_ino == before.st_ino
    assert list_drafts(tmp_path) == []


@pytest.mark.parametrize("exists", [True, False], ids=["to a file", "to nothing yet"])
def test_a_link_stays_and_its_target_gets_the_content(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "page.html"
    if exists:
        target.write_text("old")
    (tmp_path / "second").symlink_to("elsewhere/page.html")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    write_whole(tmp_path / "first", b"new")
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert not target.is_symlink()
    assert target.read_text() == "new"


def test_another_name_of_a_file_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    os.link(tmp_path / "precious", tmp_path / "page.html")
    write_whole(tmp_path / "page.html", b"new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "page.html").read_text() == "new"


def test_a_link_to_nowhere_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("no/page.html")
    with pytest.raises(SurroundingsError, match="cannot write to .*link: No such file or directory"):
        write_whole(tmp_path / "link", b"new")


@pytest.mark.parametrize("is_linked", [False, True], ids=["itself", "by a link"])
def test_an_open_file_of_this_process_is_written_to(tmp_path: Path, is_linked: bool) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source:
        path = Path(f"/dev/fd/{writer}")
        if is_linked:
            (tmp_path / "link").symlink_to(path)
            path = tmp_path / "link"
        check_target(path, "--html", re.compile(b"ours"))
        write_whole(path, b"content")
        os.close(writer)
        assert source.read() == b"content"


def test_standard_output_in_a_file_keeps_what_was_printed(tmp_path: Path) -> None:
    with (tmp_path / "out.txt").open("wb") as out:
        out.write(b"printed\n")
        out.flush()
        write_whole(Path(f"/proc/self/fd/{out.fileno()}"), b"content\n")
        out.write(b"later\n")
    assert (tmp_path / "out.txt").read_text() == "printed\ncontent\nlater\n"


# drafts


@pytest.mark.parametrize(
    "name", ["page.html.tmp", ".page.html.tmp", "page.tmp", ".deconvbench-0000000000000000.tmp"]
)
def test_a_planted_name_is_neither_followed_nor_removed(tmp_path: Path, name: str) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / name).symlink_to("victim")
    write_whole(tmp_path / "page.html", b"new")
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / name).is_symlink()


def test_a_draft_is_made_anew_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda count: "known")
    (tmp_path / "victim").write_text("precious")
    (tmp_path / ".deconvbench-known.tmp").symlink_to("victim")
    with pytest.raises(SurroundingsError, match="cannot write to .*page.html: File exists"):
        write_whole(tmp_path / "page.html", b"new")
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / ".deconvbench-known.tmp").is_symlink()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), SurroundingsError),
        (OSError(errno.EIO, "Input/output error"), SurroundingsError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["full", "broken", "interrupted"],
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_was_there_stays_whole_and_no_draft_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, expected: type[BaseException], step: str
) -> None:
    (tmp_path / "a").write_text("old")

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with pytest.raises(expected):
        write_whole(tmp_path / "a", b"new")
    with pytest.raises(expected):
        write_files(tmp_path, {"a": b"new", "b": b"new"})
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_drafts_of_the_killed_are_removed_when_they_are_old(tmp_path: Path) -> None:
    for name in (".deconvbench-1.tmp", ".deconvbench-2.tmp", "mine.tmp"):
        (tmp_path / name).touch()
        if name != ".deconvbench-2.tmp":
            os.utime(tmp_path / name, (time.time() - 7200,) * 2)
    remove_abandoned_drafts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".deconvbench-2.tmp", "mine.tmp"]
    remove_abandoned_drafts(tmp_path / "none")


# modes and owners


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002], ids=oct)
def test_a_new_file_has_the_mode_of_any_new_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "page", b"")
        os.close(open_appending(tmp_path / "log"))
    finally:
        os.umask(before)
    for name in ("page", "log"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o755], ids=oct)
def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    (tmp_path / "page").touch()
    (tmp_path / "page").chmod(mode)
    write_whole(tmp_path / "page", b"new")
    assert stat.S_IMODE((tmp_path / "page").stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_that_is_there_keeps_its_owner_where_that_is_permitted(tmp_path: Path) -> None:
    (tmp_path / "page").touch()
    os.chown(tmp_path / "page", 1234, 4321)
    write_whole(tmp_path / "page", b"new")
    found = (tmp_path / "page").stat()
    assert (found.st_uid, found.st_gid) == (1234, 4321)


def test_what_an_ordinary_writer_may_not_write_is_refused(ours: Path) -> None:
    (ours / "page").write_text("old")
    (ours / "page").chmod(0o444)
    with pytest.raises(SurroundingsError, match="cannot write to .*page: permission denied"):
        write_whole(ours / "page", b"new")
    assert (ours / "page").read_text() == "old"
    assert list_drafts(ours) == []


# files that belong together


def test_where_one_cannot_be_drafted_all_stay_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")
    (tmp_path / "c.csv").mkdir()
    with pytest.raises(SurroundingsError, match=r"cannot write to .*c\.csv: it is a folder"):
        write_files(tmp_path, {"a.csv": b"new", "figures/b.png": b"new", "c.csv": b"new"})
    assert (tmp_path / "a.csv").read_text() == "old"
    assert list((tmp_path / "figures").iterdir()) == []
    assert list_drafts(tmp_path) == []


def test_a_folder_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(SurroundingsError, match="cannot write to .*: No such file or directory"):
        write_files(tmp_path / "gone", {"figures/a.png": b"new"})
    assert list(tmp_path.iterdir()) == []


def test_one_writer_publishes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_TURN_TIMEOUT_S", 0.02)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(SurroundingsError, match="another process is writing there"):
        write_files(tmp_path, {"a": b"new"})
    assert list(tmp_path.iterdir()) == []
    os.close(descriptor)
    write_files(tmp_path, {"a": b"new"})
    assert (tmp_path / "a").read_text() == "new"


def test_without_locks_files_are_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write_files(tmp_path, {"a": b"new"})
    assert (tmp_path / "a").read_text() == "new"


NAMES = ("a.csv", "b.csv", "c.csv")


def write_often(folder: Path, letter: bytes, rounds: int) -> None:
    """Write one letter many times, with a length of its own, into one file and into three that belong together."""
    content = letter * (100_000 + 1000 * letter[0])
    for _ in range(rounds):
        write_whole(folder / "alone", content)
        write_files(folder, dict.fromkeys(NAMES, content))


@pytest.mark.process
def test_many_writers_at_once_never_publish_a_mixture(tmp_path: Path) -> None:
    letters = [bytes([letter]) for letter in b"ABCDEF"]
    processes = [FORKS.Process(target=write_often, args=(tmp_path, letter, 30)) for letter in letters]
    for process in processes:
        process.start()
    seen = set()
    while any(process.is_alive() for process in processes):
        for name in ("alone", NAMES[0]):
            if (tmp_path / name).exists():
                content = (tmp_path / name).read_bytes()
                assert len(content) == 100_000 + 1000 * content[0]
                assert len(set(content)) == 1
                seen.add(content[0])
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(letters)
    assert len(seen) > 1
    assert len({(tmp_path / name).read_bytes() for name in NAMES}) == 1
    assert list_drafts(tmp_path) == []


# what users name


OURS = re.compile(b"<page>")


@pytest.mark.parametrize("content", [None, "", "<page>as before"], ids=["missing", "empty", "ours"])
def test_a_file_of_ours_may_be_replaced(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "page").write_text(content)
    check_target(tmp_path / "page", "--html", OURS)


def test_a_file_of_others_is_replaced_by_force_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("my notes")
    (tmp_path / "link").symlink_to("notes")
    for name in ("notes", "link"):
        with pytest.raises(UsageError, match=f"--html: '.*{name}' was not written by this command; .* --force"):
            check_target(tmp_path / name, "--html", OURS)
        check_target(tmp_path / name, "--html", OURS, force=True)


@pytest.mark.parametrize("make", [os.mkfifo, make_socket, os.mkdir], ids=["pipe", "socket", "folder"])
def test_what_is_not_a_file_is_wrong_use_even_by_force(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "there")
    with pytest.raises(UsageError, match="--html: '.*there' cannot be written: it is a .*, not a file"):
        check_target(tmp_path / "there", "--html", OURS, force=True)


def test_a_missing_folder_is_found_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for parent in ("no", "file"):
        with pytest.raises(
            UsageError, match=f"--html: '.*page' cannot be written: there is no folder '.*{parent}'"
        ):
            check_target(tmp_path / parent / "page", "--html", OURS)


def test_nothing_is_written_past_this_module() -> None:
    source = Path(writing.__file__).parent.parent
    bypass = re.compile(
        r"\.write_(?:text|bytes)\(|os\.(?:replace|rename)\(|\b(?:NamedTemporaryFile|mkstemp|mkdtemp)\b"
    )
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if bypass.search(path.read_text("utf-8"))
    }
    assert found == {"measure/memory.py"}  # a switch of the kernel, in /proc
