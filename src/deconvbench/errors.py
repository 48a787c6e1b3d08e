"""The exceptions of the package, and the exit code that each one means.

Every error a user can cause or meet is a `DeconvbenchError`; the command line prints its message as one
line and exits with its code. Imports nothing but the standard
library's error numbers.
"""

import errno

_EXPLANATIONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "the disk reports an error",
}


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


class FusionError(DeconvbenchError):
    """A fused model that differs from the original by more than rounding; nothing was changed."""


class SurroundingsError(DeconvbenchError):
    """Stopped by the surroundings (disk full, folder read-only, lock held): the run can be resumed."""

    exit_code = 3


def explain_os_error(error: OSError) -> str:
    """Say in a few words what the system refused.

    Parameters
    ----------
    error : OSError
        As raised by a file operation.
    """
    return _EXPLANATIONS.get(error.errno or 0, error.strerror or str(error))
