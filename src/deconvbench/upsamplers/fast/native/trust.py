"""Whether a compiled library may be loaded: only one that this user made, where nobody else could change it.

Loading a library runs it. So it, its folder and every folder above must belong to the user (or to root) and be
writable by nobody else, and its content must be what `build_native` recorded.
"""

import hashlib
import os
import stat
from pathlib import Path

from deconvbench.errors import UsageError, explain_os_error

# each line is the digest of a library that was built here; the earlier one, until the later is in its place
_DIGESTS_SUFFIX = ".sha256"
_MAX_LINKS = 40
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class DistrustError(Exception):
    """A library, or a place for one, that others can write; the message says which and what to do."""


def check_place(folder: Path) -> None:
    """Check that nobody else can change what a folder holds, nor put another in its place.

    Parameters
    ----------
    folder : Path
        Absolute; what of it is missing is not looked at.

    Raises
    ------
    DistrustError
        If someone else can: through the folder, one above it, or a link on the way.
    OSError
        If it cannot be looked at.
    """
    _follow(folder, 0)


def _follow(path: Path, links: int) -> Path:
    """Check every step of a path, links followed; returns where it leads."""
    if links > _MAX_LINKS:
        raise DistrustError(f"{path} is a circle of links")
    reached = Path(path.anchor)
    _check_folder(reached)
    for part in path.parts[1:]:
        if part == os.pardir:
            reached = reached.parent
            continue
        step = reached / part
        try:
            found = step.lstat()
        except FileNotFoundError:
            reached = step
            continue
        if found.st_uid not in _list_trusted():
            raise DistrustError(f"{step} belongs to another user")
        if stat.S_ISLNK(found.st_mode):
            reached = _follow(reached / step.readlink(), links + 1)
            continue
        reached = step
        if stat.S_ISDIR(found.st_mode):
            _check_folder(step)
    return reached


def _check_folder(folder: Path) -> None:
    found = folder.stat()
    if found.st_uid not in _list_trusted():
        raise DistrustError(f"{folder} belongs to another user")
    # in a sticky folder, such as /tmp, nobody can replace what belongs to another
    if found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
        raise DistrustError(f"{folder} can be written by others (chmod go-w {folder})")


def _list_trusted() -> tuple[int, int]:
    return os.geteuid(), 0


def make_private_folder(folder: Path) -> None:
    """Make a folder that only this user can write, or check one that is there.

    Parameters
    ----------
    folder : Path
        Absolute.

    Raises
    ------
    UsageError
        If others can write it, or a folder above it.
    OSError
        If it cannot be made.
    """
    try:
        check_place(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        check_place(folder)
    except DistrustError as error:
        raise UsageError(f"the cache folder is not safe: {error}") from error


def digest_library(path: Path) -> str:
    """Digest a library that was just built in a private folder.

    Parameters
    ----------
    path : Path
        Of the library.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record_digest(library: Path, digest: str) -> Path:
    """Write down that a library is one of ours, before it takes its place; until then the earlier one stays so.

    Parameters
    ----------
    library : Path
        Where it will be.
    digest : str
        Of `digest_library`.

    Returns
    -------
    Path
        The record.
    """
    record = library.with_suffix(_DIGESTS_SUFFIX)
    earlier = _read_private(record).decode(errors="replace").split() if record.exists() else []
    draft = record.with_name(f"{record.name}.{os.getpid()}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in dict.fromkeys((digest, *earlier[:1])))
    draft.replace(record)
    return record


def explain_distrust(library: Path) -> str | None:
    """Say why a library must not be loaded, or None where it may.

    Parameters
    ----------
    library : Path
        Absolute, and there.
    """
    record = library.with_suffix(_DIGESTS_SUFFIX)
    try:
        check_place(library.parent)
        digest = hashlib.sha256(_read_private(library)).hexdigest()
        known = _read_private(record).decode(errors="replace").split() if record.exists() else []
    except DistrustError as error:
        return str(error)
    except OSError as error:
        return f"{library}: {explain_os_error(error)}"
    return None if digest in known else f"{library} is not what was built here"


def _read_private(path: Path) -> bytes:
    """Read a file that is no link and that only this user can write."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise DistrustError(f"{path} is not a file")
        if found.st_uid != os.geteuid():
            raise DistrustError(f"{path} belongs to another user")
        if found.st_mode & _OTHERS_WRITE:
            raise DistrustError(f"{path} can be written by others")
        return file.read()
