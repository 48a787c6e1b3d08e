"""A lock per device on each machine: whoever measures on it holds it, whatever process started it.

A worker of a cluster can be killed while its child still measures, for as long as the child's keeper needs to end
it. So the lock belongs to an open file that the children hold too: it is free when all of them have ended. It is
`flock`'s, which `filelock` uses as well, but which can be shared with children only by its descriptor.
"""

import contextlib
import errno
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from deconvbench.errors import SurroundingsError, explain_os_error

# what was asked for but is not there yet is asked for again after this long, at first and at most
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.05
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def name_device(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Name a device of this machine, whatever a process calls it.

    Parameters
    ----------
    device : str
        As torch names it, such as ``cpu``, ``cuda`` or ``cuda:1``.
    environment : mapping of str to str
        Where ``CUDA_VISIBLE_DEVICES`` says which devices the process sees, in which order.

    Returns
    -------
    str
        ``cpu``, ``cuda-1``, or ``cuda-`` and the name that the variable has for it.
    """
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return kind
    visible = [word.strip() for word in environment.get(_VISIBLE, "").split(",") if word.strip()]
    index = int(number or 0)
    name = visible[index] if kind == "cuda" and index < len(visible) else str(index)
    return f"{kind}-{name}"


class DeviceLock:
    """The lock of one device.

    Parameters
    ----------
    device : str
        As torch names it.
    folder : Path or None
        Where the file is; None: where the system has temporary files.

    Attributes
    ----------
    descriptor : int
        Of the open file that the lock belongs to.

    Raises
    ------
    SurroundingsError
        If the file cannot be opened.
    """

    def __init__(self, device: str, folder: Path | None = None) -> None:
        self._device = device
        self._path = (folder or Path(tempfile.gettempdir())) / f"deconvbench-slot-{name_device(device)}.lock"
        try:
            self.descriptor = _open_shared(self._path)
        except OSError as error:
            raise SurroundingsError(f"cannot lock {device}: {self._path}: {explain_os_error(error)}") from error

    @contextlib.contextmanager
    def hold(
        self,
        timeout_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> Iterator[None]:
        """Hold the device while the block lasts; wait for it.

        Parameters
        ----------
        timeout_s : float
            Seconds to wait at most.
        clock, sleep : callable
            Seconds.

        Raises
        ------
        SurroundingsError
            If another holds it for longer, or it cannot be locked.
        """
        import fcntl  # not on Windows, where nothing of this runs

        deadline = clock() + timeout_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    reason = explain_os_error(error)
                    raise SurroundingsError(f"cannot lock {self._device}: {self._path}: {reason}") from error
            if clock() >= deadline:
                raise SurroundingsError(f"{self._device} was held by another process for {timeout_s:g} s")
            sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
        try:
            yield
        finally:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; what children hold of it stays open."""
        os.close(self.descriptor)


def _open_shared(path: Path) -> int:
    """Open a file that users share: made once, never written, and not somebody's link to another."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):  # another came first
            os.close(os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644))
        descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file")
    return descriptor
