"""Reading files that others may have written: only files, not too large, and text.

Opening a pipe waits for a writer that never comes, and a device never ends; both are refused before a byte is
read. Standard library only.
"""

import errno
import os
import stat
from pathlib import Path

MOST_BYTES = 2**30
"""Of any file that is read whole; a journal of a hundred thousand records has a tenth of it."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def read_file(path: Path) -> bytes:
    """Read a whole file.

    Parameters
    ----------
    path : Path
        A file, or a link to one.

    Returns
    -------
    bytes
        All of it, at most `MOST_BYTES`.

    Raises
    ------
    OSError
        If it cannot be opened, is a folder, a pipe, a socket or a device, or is larger; `explain_os_error` says
        which.
    """
    # without O_NONBLOCK, opening a pipe waits
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123 -- it is open already
        mode, size = os.fstat(descriptor).st_mode, os.fstat(descriptor).st_size
        for is_kind, name in _KINDS:
            if is_kind(mode):
                raise OSError(errno.EINVAL, f"it is {name}, not a file", str(path))
        content = b"" if size > MOST_BYTES else file.read(MOST_BYTES + 1)
    if max(size, len(content)) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {MOST_BYTES:,} bytes", str(path))
    return content


def decode_text(content: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Parameters
    ----------
    content : bytes
        Of a whole file.

    Raises
    ------
    ValueError
        If it is something else; the message says what, and where it begins.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            raise ValueError(f"it is {name}; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"it is not UTF-8: line {line} has the byte 0x{content[error.start]:02x}") from error
