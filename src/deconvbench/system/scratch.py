"""Temporary folders that do not outlive a process that was killed: the next one to need them removes them.

Each holds a file that its owner has locked as long as it lives; the system lets go of a lock when a process ends.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from deconvbench.errors import SurroundingsError, explain_os_error

_PREFIX = "deconvbench-"
_OWNER_NAME = ".owner"
# from when a folder is made until its owner has locked it, and many times more
_LEAST_AGE_S = 60.0


@contextlib.contextmanager
def make_scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a temporary folder, which is removed when the block ends, or later if this process is killed.

    Parameters
    ----------
    parent : Path or None
        Where; None: where the system has such folders.

    Yields
    ------
    Path
        The folder, which only this user can read.

    Raises
    ------
    SurroundingsError
        If there is no place for temporary files, or it is full.
    OSError
        If it cannot be made in the folder that was named.
    """
    try:
        made = tempfile.TemporaryDirectory(dir=parent, prefix=_PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        if parent is not None:
            raise
        reason = explain_os_error(error)
        raise SurroundingsError(
            f"cannot make a temporary folder: {reason}; set TMPDIR to a folder that can be written"
        ) from error
    with made as name:
        folder = Path(name)
        with FileLock(folder / _OWNER_NAME, timeout=0):
            yield folder


def sweep_scratch_folders(parent: Path | None = None) -> None:
    """Remove the folders of `make_scratch_folder` whose owners were killed.

    Parameters
    ----------
    parent : Path or None
        Where; None: where the system has such folders.
    """
    try:
        home = Path(tempfile.gettempdir()) if parent is None else parent
    except OSError:  # there is no such place, which whoever needs one is told
        return
    for folder in home.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, Timeout):
            if _is_left(folder / _OWNER_NAME):
                with FileLock(folder / _OWNER_NAME, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)


def _is_left(owner: Path) -> bool:
    """Say whether it is a file of ours, in a folder of ours, and old enough to be locked if its owner lives."""
    folder, file = owner.parent.lstat(), owner.lstat()
    is_ours = folder.st_uid == file.st_uid == os.geteuid()
    is_plain = not owner.parent.is_symlink() and not owner.is_symlink()
    return is_ours and is_plain and time.time() - file.st_mtime > _LEAST_AGE_S
