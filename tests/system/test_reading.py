import os
import socket
from pathlib import Path

import pytest

from deconvbench.errors import explain_os_error
from deconvbench.system import reading
from deconvbench.system.reading import decode_text, read_file


def test_a_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\0all\n")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_file(tmp_path / "a") == read_file(tmp_path / "b") == b"\0all\n"
    assert b"MemTotal" in read_file(Path("/proc/meminfo")) or os.name != "posix"


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "it is a pipe, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a file"),
        (lambda path: path.symlink_to("/dev/tty"), None),
        (os.mkdir, "(it is a folder, not a file|Is a directory)"),
        (make_socket, None),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: None, "No such file"),
    ],
    ids=["pipe", "zero", "terminal", "folder", "socket", "circle", "nothing"],
)
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object, reason: str | None
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
    assert callable(make)
    make(Path("x"))
    with pytest.raises(OSError, match=reason) as caught:
        read_file(Path("x"))
    assert explain_os_error(caught.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 2**40)
    with pytest.raises(OSError, match="it has more than 1,073,741,824 bytes"):
        read_file(tmp_path / "sparse")
    # the size that a file says may be none at all
    monkeypatch.setattr(reading, "MOST_BYTES", 3)
    (tmp_path / "a").write_bytes(b"1234")
    with pytest.raises(OSError, match="more than 3 bytes"):
        read_file(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a".encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (b"\xfe\xff\0a", "it is UTF-16; save it as UTF-8"),
        ("a".encode("utf-32"), "it is UTF-32; save it as UTF-8"),
        (b"one\ncaf\xe9", "it is not UTF-8: line 2 has the byte 0xe9"),
    ],
)
def test_text_of_another_encoding_is_named(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_text(content)


def test_a_byte_order_mark_is_not_a_part_of_the_text() -> None:
    assert decode_text(b"\xef\xbb\xbfa\r\n") == "a\r\n"
