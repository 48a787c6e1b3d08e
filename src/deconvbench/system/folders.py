"""Folders that users name, as lists of files: links followed, nothing twice, no loop walked round.

Opens no file. Standard library only.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from deconvbench.errors import explain_os_error


def list_files(folder: Path) -> tuple[list[Path], list[str]]:
    """List all files in a folder and in the folders within it.

    Links are followed, after all that lies in the folder itself, but not to folders that it lies in; what was
    reached already is not listed again.

    Parameters
    ----------
    folder : Path
        With files of any kind; what begins with a dot is passed over.

    Returns
    -------
    paths : list of Path
        Sorted; those that cannot be looked at are among them, since who reads them says why.
    skipped : list of str
        "NAME: reason" for each file or folder that is left out.
    """
    above = {(status.st_dev, status.st_ino) for status in _look_above(folder)}
    paths: list[Path] = []
    skipped: list[str] = []
    seen: dict[tuple[int, int], Path] = {}
    waiting, links = [folder], list[Path]()
    while waiting or links:
        path = waiting.pop() if waiting else links.pop(0)
        try:
            status = path.stat()
        except OSError:
            paths.append(path)
            continue
        if (status.st_dev, status.st_ino) in above:
            skipped.append(f"{name_within(path, folder)}: a link to a folder that this one lies in")
            continue
        first = seen.setdefault((status.st_dev, status.st_ino), path)
        if first is not path:
            skipped.append(f"{name_within(path, folder)}: the same as {name_within(first, folder)}")
        elif not stat.S_ISDIR(status.st_mode):
            paths.append(path)
        else:
            try:
                with os.scandir(path) as entries:
                    inside = sorted(Path(entry) for entry in entries if not entry.name.startswith("."))
            except OSError as error:
                skipped.append(f"{name_within(path, folder)}: {explain_os_error(error)}")
                continue
            links += [entry for entry in inside if entry.is_symlink()]
            waiting += [entry for entry in reversed(inside) if not entry.is_symlink()]
    return sorted(paths), skipped


def _look_above(folder: Path) -> Iterator[os.stat_result]:
    for parent in Path(os.path.realpath(folder)).parents:
        with contextlib.suppress(OSError):
            yield parent.stat()


def name_within(path: Path, folder: Path) -> str:
    """Name a file by its path within a folder; bytes that are not text are written as numbers.

    Parameters
    ----------
    path, folder : Path
        The file, and a folder above it.
    """
    return path.relative_to(folder).as_posix().encode(errors="backslashreplace").decode()
