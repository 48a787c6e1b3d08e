"""Paths that users give: which are refused, whose files a folder holds, and names that are safe in a path.

Nothing is written here but folders; `writing` writes the files. Standard library only.
"""

import errno
import os
import unicodedata
from collections.abc import Collection
from pathlib import Path

from deconvbench.errors import RunFolderError, SurroundingsError, UsageError, explain_os_error, quote

# what no system takes in a name, or one of Windows and macOS gives a meaning
_RESERVED_CHARACTERS = frozenset('/\\:*?"<>|')
# a file name has 255 bytes at most, and what is made of a name gets a time before it and a number behind
_MAX_NAME_BYTES = 120
_SHOWN_ENTRIES = 3
_SHOWN_CHARACTERS = 60
# what stops a run that could go on elsewhere or later; everything else is a folder that was named wrongly
_SYSTEM_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def explain_bad_path(path: str | os.PathLike[str]) -> str:
    """Say why a text cannot be the path of anything.

    Parameters
    ----------
    path : str or path
        As given.

    Returns
    -------
    str
        The reason, with the path; empty where it may be one, whether or not there is something.
    """
    text = os.fspath(path)
    shown = repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")
    if not text.strip():
        return f"{shown} is empty; name a file or folder ('.' is the current one)"
    if "\0" in text:
        return f"{shown} has a NUL character, which no path can have"
    try:
        os.stat(text)  # noqa: PTH116 -- a Path of an empty text is the current folder
    except UnicodeEncodeError:
        return f"{shown} has characters that no path can have"
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return f"{shown} cannot be a path: {explain_os_error(error)}"
    return ""


def check_path(path: str | os.PathLike[str], option: str) -> Path:
    """Take a path as given; refuse what cannot be one.

    An empty text is refused: as a path it would mean the current folder, and is most often a variable without
    value.

    Parameters
    ----------
    path : str or path
        As given.
    option : str
        What it was given for, for the message.

    Raises
    ------
    UsageError
        If it is empty, has a NUL character, is too long, or is a circle of links.
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"{option}: {quote(path)} is not the path of a file or folder")
    reason = explain_bad_path(path)
    if reason:
        raise UsageError(f"{option}: {reason}")
    return Path(path)


def make_absolute(path: Path) -> Path:
    """Fix what a path means, wherever this process moves to.

    Parameters
    ----------
    path : Path
        Relative to the current folder, or absolute already; an empty one is the current folder.

    Raises
    ------
    SurroundingsError
        If the current folder was removed.
    """
    try:
        return path.absolute()
    except OSError as error:
        raise SurroundingsError("the current folder does not exist any more; change to another one") from error


def explain_no_folder(path: Path) -> str:
    """Say why a path that should be a folder is not one; empty where it is.

    Parameters
    ----------
    path : Path
        Of a folder to be read.

    Raises
    ------
    OSError
        If that cannot be found out: a name that is too long, a folder above it that may not be entered.
    """
    if path.is_dir():
        return ""
    return "is a file, not a folder" if os.path.lexists(path) else "does not exist"


def make_folder(folder: Path, option: str = "") -> None:
    """Make a folder, with those above it, where it is missing.

    Parameters
    ----------
    folder : Path
        Which.
    option : str
        The option that names it. Without one it lies in a folder that was taken already, where whatever goes wrong
        is the system's fault.

    Raises
    ------
    RunFolderError
        If the option names a file, or what may not be made or written.
    SurroundingsError
        If the disk is full; without an option, whatever the reason is.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        if not option or error.errno in _SYSTEM_FAULTS:
            raise SurroundingsError(f"cannot write to {folder}: {explain_os_error(error)}") from error
        if isinstance(error, FileExistsError):
            raise RunFolderError(f"{option}: {str(folder)!r} is a file, not a folder") from error
        raise RunFolderError(f"{option}: cannot make {str(folder)!r}: {explain_os_error(error)}") from error
    if option and not is_writable:
        raise RunFolderError(f"{option}: {str(folder)!r} cannot be written: permission denied")


def check_contents(folder: Path, own: Collection[str], option: str = "--out", *, force: bool = False) -> None:
    """Refuse a folder that holds files of others, before anything is written into it.

    Parameters
    ----------
    folder : Path
        Where results are to go; it may be missing.
    own : collection of str
        Names, or patterns such as ``runs/*/settings.json``, of files that mark a folder as one of this command's.
    option : str
        The option that names the folder, for the message.
    force : bool
        Take the folder whatever it holds.

    Raises
    ------
    RunFolderError
        If there is something in it, no file marks it, and `force` is false; or if it is not a folder.
    """
    try:
        entries = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        if folder.is_dir() or not folder.exists():
            return  # below a file: `make_folder` names the reason
        raise RunFolderError(f"{option}: {str(folder)!r} is a file, not a folder") from error
    except OSError as error:
        raise RunFolderError(f"{option}: cannot read {str(folder)!r}: {explain_os_error(error)}") from error
    # nothing that is written here begins with a dot but locks and drafts, and a folder is often kept by a .gitkeep
    foreign = [name for name in entries if not name.startswith(".")]
    if force or not foreign or any(any(folder.glob(pattern)) for pattern in own):
        return
    shown = ", ".join(map(repr, foreign[:_SHOWN_ENTRIES])) + (", …" if len(foreign) > _SHOWN_ENTRIES else "")
    raise RunFolderError(
        f"{option}: {str(folder)!r} holds other files ({shown}); name another folder, or pass --force to write"
        " beside them (files of the same names are replaced)"
    )


def make_file_name(text: str) -> str:
    """Make a text harmless as a part of the name of a file or folder, and leave it readable.

    Parameters
    ----------
    text : str
        Any, such as the name of a grid.

    Returns
    -------
    str
        Of at most 120 bytes; letters of all scripts stay, what has a meaning in paths or cannot be seen becomes a
        low line. Never empty.
    """
    characters = (
        "_" if character in _RESERVED_CHARACTERS or not character.isprintable() else character
        for character in unicodedata.normalize("NFC", text)
    )
    # a point or blank at the end is dropped by Windows, one at the start hides the file
    name = "".join(characters).encode()[:_MAX_NAME_BYTES].decode(errors="ignore").strip(" .")
    return name or "unnamed"
