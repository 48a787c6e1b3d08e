"""Writing files: whole or not at all, and only what a path names.

Everything this package writes goes through here. A file is drafted under a name of its own beside its target and
renamed over it, so a reader, a full disk or a kill never meets half of one. Links are followed, devices are
written to, and what is neither is refused. Standard library only.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from deconvbench.errors import SurroundingsError, UsageError, explain_os_error

if sys.platform != "win32":
    import fcntl

_DRAFT_PREFIX, _DRAFT_SUFFIX = ".deconvbench-", ".tmp"
# a draft this old was left by a process that was killed
_ABANDONED_S = 3600.0
_TURN_TIMEOUT_S, _TURN_POLL_S = 60.0, 0.005
_MAX_LINKS = 40  # as Linux has it
_HEAD_BYTES = 1 << 12
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a disk"),
)


class _NotAFileError(OSError):
    """What a path leads to can be neither replaced nor written to."""


def write_whole(path: Path, content: bytes, *, parents: bool = False) -> None:
    """Write a file whole or not at all, whatever happens meanwhile.

    A link stays, and what it leads to gets the content. A file keeps its mode, and its owner where that is
    permitted; a new one gets those of any new file. Other names of a file (hard links) keep what was there. A
    character device, or an open file of this process such as ``/dev/stdout``, is written to.

    Parameters
    ----------
    path : Path
        A file that is there is replaced.
    content : bytes
        All of it.
    parents : bool
        Make the folders above it where they are missing.

    Raises
    ------
    SurroundingsError
        If it cannot be written, or is a folder, a pipe, a socket or a disk; what was there before is still there.
    """
    if parents:
        with _explain(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    with _draft(path, content) as publish:
        publish()


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files that belong together: all are drafted before the first is published.

    They are published in one go while no other process publishes in this folder, so of two writers at once the
    files of one are left, never some of each.

    Parameters
    ----------
    folder : Path
        Where they lie; it must exist.
    contents : mapping of str to bytes
        By name, such as ``table.csv`` or ``figures/memory.png``. Published in this order.

    Raises
    ------
    SurroundingsError
        As `write_whole`; where one cannot even be drafted, all are as they were.
    """
    paths = {folder / name: content for name, content in contents.items()}
    for parent in dict.fromkeys(path.parent for path in paths if path.parent != folder):
        with _explain(parent):
            parent.mkdir(exist_ok=True)
    with contextlib.ExitStack() as drafts:
        publishers = [drafts.enter_context(_draft(path, content)) for path, content in paths.items()]
        with _explain(folder), _take_turn(folder):
            for publish in publishers:
                publish()


def open_appending(path: Path) -> int:
    """Open a file to write at its end; it is made where it is missing.

    Parameters
    ----------
    path : Path
        A file, a link to one, or a character device.

    Returns
    -------
    int
        Its descriptor.

    Raises
    ------
    OSError
        If it cannot be opened, or is a folder, a pipe, a socket or a disk.
    """
    _look_at(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    if os.fstat(descriptor).st_size == 0:
        _sync_folder(path.parent)  # a file survives a loss of power only if its name does
    return descriptor


def check_target(path: Path, option: str, own: re.Pattern[bytes], *, force: bool = False) -> None:
    """Refuse, before anything else is done, a file that cannot be written or that holds the work of others.

    Parameters
    ----------
    path : Path
        As the user named it.
    option : str
        The option that names it, for the message.
    own : pattern
        How a file begins that this command wrote.
    force : bool
        Replace a file whatever it holds.

    Raises
    ------
    UsageError
        If it is not a file, its folder is missing, or it is a file that begins otherwise and is not empty, unless
        `force`.
    SurroundingsError
        If it cannot be read.
    """
    try:
        if _find_descriptor(path) is not None:
            return
        found = _look_at(path)
        if found is None:
            Path(os.path.realpath(path)).parent.stat()  # raises what is wrong with it
        if force or found is None or not stat.S_ISREG(found.st_mode):
            return
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except _NotAFileError as error:
        raise UsageError(f"{option}: {str(path)!r} cannot be written: {error.strerror}") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"{option}: {str(path)!r} cannot be written: there is no folder {str(path.parent)!r}"
        ) from error
    except OSError as error:
        raise _wrap(path, error) from error
    if head and not own.match(head):
        raise UsageError(
            f"{option}: {str(path)!r} was not written by this command; name another file, or pass --force to"
            " replace it"
        )


def remove_abandoned_drafts(folder: Path) -> None:
    """Remove the drafts that killed processes left in a folder: those older than an hour.

    Parameters
    ----------
    folder : Path
        Only the folder itself is searched.
    """
    with contextlib.suppress(OSError):  # they do no harm
        for draft in folder.glob(f"{_DRAFT_PREFIX}*{_DRAFT_SUFFIX}"):
            if time.time() - draft.lstat().st_mtime > _ABANDONED_S:
                draft.unlink()


def _look_at(path: Path) -> os.stat_result | None:
    """Look at what a path leads to, None for nothing; refuse what is neither a file nor a character device."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    for is_kind, name in _KINDS:
        if is_kind(found.st_mode):
            raise _NotAFileError(errno.EINVAL, f"it is {name}, not a file", str(path))
    return found


def _find_descriptor(path: Path) -> int | None:
    """Find the open file of this process that a path such as /dev/stdout stands for."""
    if os.name != "posix":
        return None
    for _ in range(_MAX_LINKS):
        if path.name.isdecimal() and os.path.realpath(path.parent) in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
            return int(path.name)
        try:
            path = path.parent / os.readlink(path)  # noqa: PTH115 -- Path.readlink is the same, a Path more
        except OSError:  # not a link
            return None
    return None


def _wrap(path: Path, error: OSError) -> SurroundingsError:
    return SurroundingsError(f"cannot write to {path}: {explain_os_error(error)}")


@contextlib.contextmanager
def _explain(path: Path) -> Iterator[None]:
    """Say of what the system refuses which path it was."""
    try:
        yield
    except OSError as error:
        raise _wrap(path, error) from error


@contextlib.contextmanager
def _draft(path: Path, content: bytes) -> Iterator[Callable[[], None]]:
    """Have a file ready to be published by what is yielded; whatever happens, no draft is left."""
    with _explain(path):
        descriptor = _find_descriptor(path)
        found = _look_at(path) if descriptor is None else None
        target = Path(os.path.realpath(path))
    if descriptor is not None or (found is not None and stat.S_ISCHR(found.st_mode)):
        yield lambda: _write_through(path, descriptor, content)
        return
    draft = target.with_name(f"{_DRAFT_PREFIX}{secrets.token_hex(8)}{_DRAFT_SUFFIX}")
    try:
        with _explain(path):
            if found is not None:
                os.close(os.open(target, os.O_WRONLY))  # refused where an ordinary writer would be
            # made anew, or not at all: whatever has this name already is not ours
            with draft.open("xb") as file:
                _take_over(file.fileno(), found)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        yield lambda: _publish(draft, target, path)
    except BaseException as error:
        if not isinstance(error.__cause__, FileExistsError):
            with contextlib.suppress(OSError):  # what refused the file may refuse this too
                draft.unlink()
        raise


def _take_over(descriptor: int, found: os.stat_result | None) -> None:
    """Give a draft the owner, where that is permitted, and the mode of the file that it will replace."""
    if found is None or sys.platform == "win32":
        return
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != (found.st_uid, found.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, found.st_uid, found.st_gid)
    os.fchmod(descriptor, found.st_mode & 0o777)


def _publish(draft: Path, target: Path, path: Path) -> None:
    with _explain(path):
        draft.replace(target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk, where its file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_through(path: Path, descriptor: int | None, content: bytes) -> None:
    with _explain(path):
        if descriptor is None:
            descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
        else:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()  # what was printed before comes first
            descriptor = os.dup(descriptor)
        with open(descriptor, "wb") as file:  # noqa: PTH123 -- it has no path
            file.write(content)


@contextlib.contextmanager
def _take_turn(folder: Path) -> Iterator[None]:
    """Keep other processes from publishing in a folder meanwhile, where its file system has locks."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + _TURN_TIMEOUT_S
    try:
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise SurroundingsError(f"cannot write to {folder}: another process is writing there; wait for it")
            time.sleep(_TURN_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # no locks here: each file is whole all the same
    return True
