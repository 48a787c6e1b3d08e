"""A child process that takes lines and answers with lines: both ends, for whatever it does with them.

The parent's end starts it below a `keeper`, which ends it and all that it started, whatever happens to either; the
child's end keeps foreign code away from the channel: what layers print is no answer, and what they read is empty.
What a line says, and what an end of the child means, is for its user to know.
"""

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TextIO

from deconvbench.errors import SurroundingsError, explain_os_error
from deconvbench.runner.oom import count_oom_kills
from deconvbench.system.imports import start_like_this
from deconvbench.system.writing import open_appending

_KEEPER = Path(__file__).with_name("keeper.py")
# a record of the longest run has some megabytes
MAX_LINE_BYTES = 1 << 26
# what the keeper needs to end what is left, and more
_END_TIMEOUT_S = 15.0
# the log's last lines, among which the last words are looked for
_LAST_BYTES = 1 << 16
# in the environment of a child, and of all that it starts
_MARK = "DECONVBENCH_CHILD"
# exit code of a child whose answers would not reach its parent
CHANNEL_LOST = 81


class ChannelError(Exception):
    """What came from the child is nothing that it could have sent; the child is not to be trusted any more."""


class ChildProcess:
    """The parent's end of a child that runs a module of this package.

    Parameters
    ----------
    module : str
        Run as ``python -m`` would, with modules from where this process took them.
    python : str or None
        The interpreter; None takes this one.
    search_path : sequence of str
        Folders that come first on the child's module search path; this process's own follow.
    environment : mapping of str to str
        Variables that differ from those of this process.
    log : Path or None
        File that collects what the child prints, within bounds; None discards it.
    descriptors : sequence of int
        Open files that it holds as long as it, or anything that it started, lives.

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
        descriptors: Sequence[int] = (),
    ) -> None:
        self._log = _open_log(log) if log else None
        self._mark = secrets.token_hex(8)
        self._log_start = self._log.tell() if self._log else 0
        try:
            with start_like_this(module, python=python, search_path=search_path) as (command, needed):
                order = json.dumps({"command": command, "log": log is not None})
                self._process = subprocess.Popen(
                    [command[0], "-I", "-S", str(_KEEPER), order],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log or subprocess.DEVNULL,
                    env={**os.environ, **(environment or {}), _MARK: self._mark},
                    pass_fds=(*needed, *descriptors),
                    # Ctrl-C must reach the parent alone, which then ends the child and all that it started
                    start_new_session=True,
                )
        except OSError:
            if self._log:
                self._log.close()
            raise
        self._buffer = bytearray()
        self._searched = 0  # how far there is no end of line in it
        self._ended = False
        self._oom_kills = count_oom_kills()

    @property
    def pid(self) -> int:
        """Process id of its keeper, which is that of a group too."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True until it has ended."""
        return self._process.poll() is None

    @property
    def is_silent(self) -> bool:
        """True while it has said nothing that was not read, which it should not have until it is asked."""
        return not self._buffer and not select.select([self], [], [], 0)[0]

    def fileno(self) -> int:
        """Descriptor that can be read when the child has something to say, or has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def send(self, line: str) -> None:
        """Send one line; one that the child did not live to read is lost, and its end tells why."""
        assert self._process.stdin is not None
        self._oom_kills = count_oom_kills()
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
        ChannelError
            If what comes is not text, or has no end.
        """
        deadline = time.monotonic() + timeout_s
        while (line := self._take_line()) is None:
            readable, _, _ = select.select([self], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise TimeoutError
            if not self._read_chunk():
                try:
                    self._process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired as error:
                    raise TimeoutError from error  # it closed its end and hangs
                return None
        return line

    def receive_some(self) -> list[str] | None:
        """Read the lines that have come since, perhaps none; blocks unless its descriptor can be read.

        Returns
        -------
        list of str or None
            None once the child has closed its end.

        Raises
        ------
        ChannelError
            As `receive`.
        """
        if not self._read_chunk():
            return None
        lines = []
        while (line := self._take_line()) is not None:
            lines.append(line)
        return lines

    def _take_line(self) -> str | None:
        """Take the next line out of what was read; None where its end was not read yet."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > MAX_LINE_BYTES:
                raise ChannelError(f"sent a line of more than {MAX_LINE_BYTES} bytes")
            return None
        content = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise ChannelError("sent something that is not text") from error

    def _read_chunk(self) -> bool:
        chunk = os.read(self.fileno(), 1 << 16)
        self._buffer += chunk
        return bool(chunk)

    def wait(self) -> int:
        """Wait for its end and return its code: minus the number of the signal that ended it, if one did."""
        return self._process.wait()

    def explain_end(self) -> tuple[str, str]:
        """Wait for its end and say how it came.

        Returns
        -------
        status, message : str
            ``oom`` where the kernel killed for memory since the last line was sent to it, otherwise ``crashed``.
        """
        code = self.wait()
        words = self.find_last_words()
        if code == -signal.SIGKILL and count_oom_kills() > self._oom_kills:
            return "oom", "killed by the kernel: out of memory (SIGKILL)"
        how = f"killed by {_name_signal(-code)}" if code < 0 else f"the process exited with code {code}"
        return "crashed", f"{how}: {words}" if words else how

    def find_last_words(self) -> str:
        """Find the line of its log that says most: Python's fatal error, or the last one."""
        if self._log is None:
            return ""
        with Path(self._log.name).open("rb") as file:
            file.seek(max(self._log_start, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith("Fatal Python error")]
        return (fatal or lines or [""])[-1][:300]

    def kill(self) -> None:
        """End the child and all that it started, at once."""
        if not self._ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left (macOS: but zombies)
                for number in (signal.SIGCONT, signal.SIGTERM):
                    os.kill(self._process.pid, number)
            self._await_keeper()
            # not collected yet, so its number is still that of its group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            # a keeper that was killed itself has ended nothing
            if self._process.wait() == -signal.SIGKILL:
                _kill_marked(self._mark)
        self._ended = True
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # a last flush to a child that is gone
                    stream.close()

    def _await_keeper(self) -> None:
        """Wait until the keeper has ended what there was."""
        deadline = time.monotonic() + _END_TIMEOUT_S
        pause_s = 0.0005
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with contextlib.suppress(ChildProcessError):  # collected before
            while os.waitid(os.P_PID, self._process.pid, how) is None and time.monotonic() < deadline:
                time.sleep(pause_s)
                pause_s = min(0.02, 2 * pause_s)


def _kill_marked(mark: str) -> None:
    """End the processes whose environment says that they descend from a child, as far as /proc tells."""
    wanted = f"{_MARK}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # those between SIGRTMIN and SIGRTMAX have none
        return f"signal {number}"


def _open_log(path: Path) -> IO[bytes]:
    try:
        # read again by its name, wherever this process is by then
        return open(path.absolute(), "ab", opener=lambda _, __: open_appending(path))
    except OSError as error:
        raise SurroundingsError(f"cannot write to {path}: {explain_os_error(error)}") from error


def open_channel() -> tuple[TextIO, Callable[[str], None]]:
    """Take standard input and output for the channel; layers find input at its end, and output on standard error.

    Returns
    -------
    source : text stream
        The lines of the parent.
    answer : callable
        Sends one line to the parent. It ends this process where that is a fork of the one that opened the channel,
        or the channel was closed: what it says would reach nobody, or another.
    """
    source, sink = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.dup2(2, 1)
    owner, channel = os.getpid(), _identify(sink)

    def let_go() -> None:
        for descriptor in (source, sink):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    os.register_at_fork(after_in_child=let_go)

    def answer(line: str) -> None:
        if os.getpid() != owner:
            os._exit(0)
        content = f"{line}\n".encode()
        try:
            if _identify(sink) != channel:
                raise OSError("another file has its place")  # noqa: TRY301 -- handled as the others
            while content:
                content = content[os.write(sink, content) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.write(2, f"the channel of this process was closed: {error}\n".encode())
            os._exit(CHANNEL_LOST)

    return os.fdopen(source, encoding="utf-8"), answer


def _identify(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
