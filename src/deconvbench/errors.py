"""The exceptions of the package, and the exit code that each one means.

Every error a user can cause or meet is a `DeconvbenchError`; the command line prints its message as one
line and exits with its code. What other people's code raises is described in one line too: an upsampler of a
user's own runs below frames of torch and of this package, and its author wants the line that is theirs. Standard
library only.
"""

import difflib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterable
from types import FrameType

_EXPLANATIONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "the disk reports an error",
}


_NOT_THEIRS = {"deconvbench", "torch"}
_MAX_CHARACTERS = 400  # torch lists every key that does not match; the place comes after that
_MAX_QUOTED = 120


class DeconvbenchError(Exception):
    """Base of all errors raised on purpose by this package."""

    exit_code = 1


class UsageError(DeconvbenchError):
    """Wrong use: the message names the argument, the value and what is allowed."""

    exit_code = 2


class GridError(UsageError):
    """A grid that cannot be read or expanded; the message names file and key."""


class RunFolderError(UsageError):
    """A run folder that is missing, unreadable, foreign or does not fit the request."""


class UnsupportedError(DeconvbenchError):
    """A combination that an upsampler cannot build; becomes a record, never a bad grid."""


class TooLargeError(DeconvbenchError, MemoryError):
    """What was asked for cannot fit into the memory of this machine; becomes a record with status `oom`."""


class FusionError(DeconvbenchError):
    """A fused model that differs from the original by more than rounding; nothing was changed."""


class SurroundingsError(DeconvbenchError):
    """Stopped by the system (disk full, folder read-only, lock held): the run can be resumed."""

    exit_code = 3


class Terminated(KeyboardInterrupt):
    """Asked to end by a signal; ends what runs as Ctrl-C does, with an exit code of its own.

    Parameters
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def find_exit_code(error: KeyboardInterrupt) -> int:
    """Return the exit code of what was interrupted: 128 and the number of the signal, 130 after Ctrl-C.

    Parameters
    ----------
    error : KeyboardInterrupt
        As caught.
    """
    return 128 + (error.number if isinstance(error, Terminated) else signal.SIGINT)


def explain_os_error(error: OSError) -> str:
    """Say in a few words what the system refused.

    Parameters
    ----------
    error : OSError
        As raised by a file operation.
    """
    return _EXPLANATIONS.get(error.errno or 0, error.strerror or str(error))


def quote(value: object) -> str:
    """Write a value that was given, for a message: as Python does, without the middle where it is long.

    Parameters
    ----------
    value : object
        Of any kind and size.
    """
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # whole numbers of thousands of digits are not written
        text = f"{type(value).__name__} of {value.bit_length()} bits" if isinstance(value, int) else "a long value"
    return text if len(text) <= _MAX_QUOTED else f"{text[: _MAX_QUOTED // 2]} … {text[-_MAX_QUOTED // 4 :]}"


def suggest(word: object, known: Iterable[str]) -> str:
    """Name what was probably meant by a name that is unknown.

    Parameters
    ----------
    word : object
        What was given.
    known : iterable of str
        The names that there are.

    Returns
    -------
    str
        `` (did you mean 'quick'?)``, or nothing.
    """
    near = difflib.get_close_matches(word, list(known), n=1) if isinstance(word, str) else []
    return f" (did you mean {near[0]!r}?)" if near else ""


def describe_failure(error: BaseException) -> str:
    """Say in one line what was raised, and where in the code that is neither torch's, Python's nor ours.

    Parameters
    ----------
    error : BaseException
        As caught.

    Returns
    -------
    str
        ``ValueError: 3 channels are odd (my_layers.py:17 in forward)``; errors of this package without their type.
        Without the place where no such code took part. Of several packages that did, the one that was called first
        is the author's: the place is the innermost line of it.
    """
    text = " ".join(str(error).split())
    if len(text) > _MAX_CHARACTERS:
        text = f"{text[:_MAX_CHARACTERS].rstrip()} …"
    if isinstance(error, DeconvbenchError):
        message = text  # written for the reader, so its type says nothing more
    else:
        message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    place = _find_place(error)
    return f"{message} ({place})" if place else message


def _find_place(error: BaseException) -> str:
    theirs = [
        (package, frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if (package := _name_package(frame)) not in _NOT_THEIRS and package not in sys.stdlib_module_names
    ]
    if not theirs:
        return ""
    author = theirs[0][0]
    frame, line = next((frame, line) for package, frame, line in reversed(theirs) if package == author)
    function = frame.f_code.co_name
    place = f"{os.path.basename(frame.f_code.co_filename)}:{line}"  # noqa: PTH119 -- a name such as <string> is not a path
    return place if function.startswith("<") else f"{place} in {function}"


def _name_package(frame: FrameType) -> str:
    """Name the top-level package whose code a frame runs; importlib's frozen frames have its name too."""
    # what was started with python -m calls itself __main__, but its spec does not
    spec = frame.f_globals.get("__spec__")
    name: str = spec.name if spec is not None else frame.f_globals.get("__name__", "")
    return name.partition(".")[0]
