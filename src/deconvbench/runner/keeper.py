"""The process between a run and a child that runs layers: it ends all that the child started, whatever happens.

What a layer starts may leave its group and outlive it, and a run may be killed at any moment. So the child is
started by this small process, to which the system gives whatever loses its parent (Linux). It waits
until the child ends or the run is gone, ends everything that is left, and then ends as the child did. What the
child prints passes through here, so that a log stays within bounds.

Run as a file by any Python, apart from this package: standard library only. Its one argument is JSON:
``command``, and ``log``, whether standard error is a log to be bounded.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from types import FrameType

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# of what one child prints the first and the last bytes are kept, and of a whole log about this much
HEAD_BYTES = 1 << 20
TAIL_BYTES = 1 << 14
LOG_BYTES = 1 << 24
_CHUNK_BYTES = 1 << 16
# how long what cannot be ended (a process in the kernel, one of another user) is waited for
_END_TIMEOUT_S = 10.0
_NOT_STARTED = 127


class BoundedLog:
    """What a child prints, from its end of a pipe to a file, without the middle of what is too long.

    Parameters
    ----------
    target : int
        Descriptor of the log, which others may append to as well.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._room = max(TAIL_BYTES, min(HEAD_BYTES, LOG_BYTES - os.fstat(target).st_size))
        self._tail = b""
        self._beyond = 0

    def take(self, chunk: bytes) -> None:
        """Keep some output.

        Parameters
        ----------
        chunk : bytes
            What was printed.
        """
        head, rest = chunk[: self._room], chunk[self._room :]
        self._room -= len(head)
        self._write(head)
        self._beyond += len(rest)
        self._tail = (self._tail + rest)[-TAIL_BYTES:]

    def close(self) -> None:
        """Write the end of what was too long."""
        left_out = self._beyond - len(self._tail)
        note = f"\n[{left_out} bytes left out]\n".encode() if left_out else b""
        self._write(note + self._tail)

    def _write(self, content: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk costs the log, not the measurement
            while content:
                content = content[os.write(self._target, content) :]


class _Keeper:
    """Starts the child, waits, and ends what is left."""

    def __init__(self, command: list[str], *, bounds_log: bool) -> None:
        self._parent = os.getppid()
        self._is_asked_to_end = False
        self._status: int | None = None
        self._wakes, waker = os.pipe()
        for descriptor in (self._wakes, waker):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self._ask_to_end)
        for number in (signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)  # only wakes
        _control(_PR_SET_CHILD_SUBREAPER, 1)
        # the system says so even where a fork of the run holds the other end of our standard input
        _control(_PR_SET_PDEATHSIG, signal.SIGUSR1)
        self._log = BoundedLog(2) if bounds_log else None
        self._prints, prints = os.pipe() if self._log else (-1, 2)
        self._child = os.fork()
        if self._child == 0:
            _become(command, os.getppid(), prints)
        if self._log:
            os.close(prints)
            os.set_blocking(self._prints, False)
        # the run must see the end of the child's answers, however long we live
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)

    def _ask_to_end(self, _number: int, _frame: FrameType | None) -> None:
        self._is_asked_to_end = True

    def wait(self) -> None:
        """Wait until the child ends or nobody needs it any more."""
        poller = select.poll()
        poller.register(0, 0)  # tells when the run's end is closed; what it says is for the child
        poller.register(self._wakes, select.POLLIN)
        if self._log:
            poller.register(self._prints, select.POLLIN)
        while self._status is None and not self._is_asked_to_end and os.getppid() == self._parent:
            for descriptor, _ in poller.poll():
                if descriptor == 0:
                    return
                if descriptor == self._wakes:
                    os.read(self._wakes, _CHUNK_BYTES)
                elif not self._drain(once=True):
                    poller.unregister(self._prints)
            self._collect()

    def _collect(self) -> bool:
        """Take note of the processes that ended; False where none is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._child:
                self._status = status

    def end(self) -> int:
        """End all that is left, and return the status of the child."""
        deadline = time.monotonic() + _END_TIMEOUT_S
        pause_s = 0.0005
        while self._collect() and time.monotonic() < deadline:
            if self._status is None:
                _kill(self._child)
            for pid in list_children():
                _kill(pid)
            time.sleep(pause_s)
            pause_s = min(0.05, 2 * pause_s)
        if self._log:
            self._drain()
            self._log.close()
        return signal.SIGKILL if self._status is None else self._status

    def _drain(self, *, once: bool = False) -> bool:
        """Keep what was printed; False at its end."""
        assert self._log is not None
        while True:
            try:
                chunk = os.read(self._prints, _CHUNK_BYTES)
            except BlockingIOError:
                return True
            self._log.take(chunk)
            if once or not chunk:
                return bool(chunk)


def _control(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _become(command: list[str], keeper: int, prints: int) -> None:
    """Be the child: in a session of its own, so that neither Ctrl-C nor a signal to its group reaches another."""
    try:
        os.setsid()
        os.dup2(prints, 2)
        _control(_PR_SET_CHILD_SUBREAPER, 1)
        _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == keeper:
            os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(_NOT_STARTED)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    if sys.platform != "linux":  # there is no /proc that tells what else there is
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def list_children() -> list[int]:
    """List the processes whose parent is this one, the lost ones among them."""
    found = []
    # without pathlib, whose import would double the start
    for name in os.listdir("/proc") if sys.platform == "linux" else ():  # noqa: PTH208
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{int(name)}/stat", "rb") as file:  # noqa: PTH123
                # the name before it may hold anything, brackets too
                parent = file.read().rpartition(b")")[2].split()[1]
            if int(parent) == os.getpid():
                found.append(int(name))
    return found


def _end_like(status: int) -> None:
    """End as the child did, without another core dump."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError, ValueError):  # SIGKILL needs no default
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def main() -> None:
    """Keep the child that the argument names, then end as it did."""
    order = json.loads(sys.argv[1])
    keeper = _Keeper(order["command"], bounds_log=order["log"])
    keeper.wait()
    _end_like(keeper.end())


if __name__ == "__main__":
    main()
