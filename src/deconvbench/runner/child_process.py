"""A child process that takes lines and answers with lines: both ends, for whatever it does with them.

The parent's end starts it in a process group of its own and ends the whole group; the child's end dies with its
parent and keeps what foreign code prints out of the channel. What a line says, and what an end of the child means,
is for its user to know.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from deconvbench.errors import SurroundingsError, explain_os_error
from deconvbench.writing import open_appending

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class ChildProcess:
    """The parent's end of a child that runs a module of this package.

    Parameters
    ----------
    module : str
        Run with ``python -m``.
    python : str or None
        The interpreter; None takes this one.
    search_path : sequence of str
        Folders that come first on the child's module search path; this process's own follow.
    environment : mapping of str to str
        Variables that differ from those of this process.
    log : Path or None
        File that collects what the child prints; None discards it.

    Raises
    ------
    SurroundingsError
        If the log cannot be written.
    OSError
        If the interpreter cannot be started.
    """

    def __init__(
        self,
        module: str,
        *,
        python: str | None = None,
        search_path: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self._log = _open_log(log) if log else None
        self._log_start = self._log.tell() if self._log else 0
        paths = [*search_path, *(path for path in sys.path if path)]
        try:
            self._process = subprocess.Popen(
                [python or sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log or subprocess.DEVNULL,
                env={**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(paths)},
                # Ctrl-C must reach the parent alone, which then ends the child and all that it started
                start_new_session=True,
            )
        except OSError:
            if self._log:
                self._log.close()
            raise
        self._buffer = b""
        self._ended = False

    @property
    def pid(self) -> int:
        """Its process id, which is that of its group too."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True until it has ended."""
        return self._process.poll() is None

    def fileno(self) -> int:
        """Descriptor that can be read when the child has something to say, or has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def send(self, line: str) -> None:
        """Send one line; one that the child did not live to read is lost, and its end tells why."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def receive(self, timeout_s: float) -> str | None:
        """Wait for one line.

        Parameters
        ----------
        timeout_s : float
            Seconds.

        Returns
        -------
        str or None
            None when the child ended without one.

        Raises
        ------
        TimeoutError
            If neither comes in time.
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([self], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise TimeoutError
            if not self._read_chunk():
                try:
                    self._process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired as error:
                    raise TimeoutError from error  # it closed its end and hangs
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def receive_some(self) -> list[str] | None:
        """Read the lines that have come since, perhaps none; blocks unless its descriptor can be read.

        Returns
        -------
        list of str or None
            None once the child has closed its end.
        """
        if not self._read_chunk():
            return None
        *lines, self._buffer = self._buffer.split(b"\n")
        return [line.decode() for line in lines]

    def _read_chunk(self) -> bool:
        chunk = os.read(self.fileno(), 1 << 16)
        self._buffer += chunk
        return bool(chunk)

    def wait(self) -> int:
        """Wait for its end and return its code: minus the number of the signal that ended it, if one did."""
        return self._process.wait()

    def find_last_words(self) -> str:
        """Find the line of its log that says most: Python's fatal error, or the last one."""
        if self._log is None:
            return ""
        with Path(self._log.name).open("rb") as file:
            file.seek(self._log_start)
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith("Fatal Python error")]
        return (fatal or lines or [""])[-1][:300]

    def kill(self) -> None:
        """End the child and all that it started, at once; what it started may outlive a child that crashed."""
        if not self._ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left (macOS: but zombies)
                os.killpg(self._process.pid, signal.SIGKILL)
        self._ended = True
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # a last flush to a child that is gone
                    stream.close()


def _open_log(path: Path) -> IO[bytes]:
    try:
        # read again by its name, wherever this process is by then
        return open(path.absolute(), "ab", opener=lambda _, __: open_appending(path))
    except OSError as error:
        raise SurroundingsError(f"cannot write to {path}: {explain_os_error(error)}") from error


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends, however that ends (Linux).

    Parameters
    ----------
    parent : int
        Its process id, as the parent gave it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            raise SystemExit(1)  # it ended before we asked


def open_channel() -> Callable[[str], None]:
    """Take standard output for the answers of this child; what layers print goes to standard error from now on.

    Returns
    -------
    callable
        Sends one line to the parent.
    """
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(line: str) -> None:
        channel.write(line + "\n")
        channel.flush()

    return answer
