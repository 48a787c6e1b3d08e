"""The parent's end of a worker: an isolated child process that measures one job after another.

A job is a record that is not filled in yet. The parent sends it as a line, the child (`worker`) measures and sends
it back filled in; whatever happens to the child (out of memory, a crash, a hang) happens to that job alone and
becomes its status. The child is started with `subprocess`, so that daemonic parents can have one too. Measures
nothing itself.
"""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self, TypeVar

from deconvbench.errors import SurroundingsError, explain_os_error
from deconvbench.records.record import AnyRecord, decode_record, encode_record

R = TypeVar("R", bound=AnyRecord)

START_TIMEOUT_S = 300.0  # importing torch from a cold disk takes tens of seconds
_CGROUP_EVENTS = Path("/sys/fs/cgroup/memory.events")


class WorkerError(SurroundingsError):
    """The worker could not be started at all, so no job can be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How to start a worker.

    Parameters
    ----------
    upsamplers : tuple of str
        ``pkg.mod:factory`` of further upsamplers.
    policy : dict
        Fields of `LatencyPolicy` that differ from its defaults.
    products : Path or None
        A source folder whose upsamplers take the place of ours (see `products`).
    code_version : str or None
        What records say they measured; None asks `identify_code`.
    python : str or None
        The interpreter that runs the child; None takes this one.
    slowdown : float
        Share by which every step is made slower, to see whether a comparison finds it.
    measures_memory : bool
        False leaves the memory pass out.
    search_path : tuple of str
        Folders that come first on the child's module search path.
    address_space_bytes : int or None
        Limit on the child's address space (Linux), so that a case meets MemoryError before the machine does.
    log : Path or None
        File that collects what the child prints; None discards it.
    """

    upsamplers: tuple[str, ...] = ()
    policy: tuple[tuple[str, Any], ...] = ()
    products: Path | None = None
    code_version: str | None = None
    python: str | None = None
    slowdown: float = 0.0
    measures_memory: bool = True
    search_path: tuple[str, ...] = ()
    address_space_bytes: int | None = None
    log: Path | None = None


class MeasuringProcess(Protocol):
    """What the engine needs of whatever measures its jobs; `Worker` is the real one."""

    @property
    def alive(self) -> bool:
        """True while it can take another job."""

    def measure(self, job: R, timeout_s: float) -> R:
        """Return the job filled in, with whatever status it earned."""

    def kill(self) -> None:
        """End it at once."""


class Worker:
    """The parent's end of one child process.

    Parameters
    ----------
    options : WorkerOptions
        How to start it.

    Attributes
    ----------
    environment : dict
        What the child found about machine and software.

    Raises
    ------
    WorkerError
        If it does not come up; the message is the child's.
    SurroundingsError
        If its log cannot be written.
    """

    def __init__(self, options: WorkerOptions) -> None:
        self._log = _open_log(options.log) if options.log else None
        self._log_start = self._log.tell() if self._log else 0
        paths = [*options.search_path, *(path for path in sys.path if path)]
        python = options.python or sys.executable
        try:
            self._process = subprocess.Popen(
                [python, "-m", "deconvbench.runner.worker_main"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log or subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                # Ctrl-C must reach the parent alone, which then ends the child and all that it started
                start_new_session=True,
            )
        except OSError as error:
            if self._log:
                self._log.close()
            raise WorkerError(f"the worker process did not start: {python}: {explain_os_error(error)}") from error
        self._buffer = b""
        self._ended = False
        answer = None
        try:
            self._send(json.dumps({**asdict(options), "parent": os.getpid()}, default=str))
            answer = self._receive(START_TIMEOUT_S)
        except TimeoutError:
            pass  # reported below, with the child's last words
        except BaseException:
            self.kill()
            raise
        if answer is None:
            self.kill()
            raise WorkerError(f"the worker process did not start: {self._last_words() or 'no answer'}")
        greeting = json.loads(answer)
        if "failure" in greeting:
            self.kill()
            raise WorkerError(greeting["failure"])
        self.environment: dict[str, Any] = greeting["environment"]

    @property
    def alive(self) -> bool:
        """True while the child can take another job."""
        return self._process.poll() is None

    def measure(self, job: R, timeout_s: float) -> R:
        """Have one job measured.

        Parameters
        ----------
        job : record
            Not filled in yet.
        timeout_s : float
            Seconds after which the child counts as hanging and is killed.

        Returns
        -------
        record
            The job filled in, with whatever status it earned. After `oom`, `crashed` and `timeout` the worker
            may be gone: ask `alive`.
        """
        kills_before = _count_oom_kills()
        started = time.monotonic()
        answer = None
        hung = False
        try:
            self._send(encode_record(job))
            answer = self._receive(timeout_s)
        except TimeoutError:
            hung = True
            self.kill()
        if answer is not None:
            filled = decode_record(answer, "answer of the worker")
            assert isinstance(filled, type(job))
            return filled
        spent = time.monotonic() - started
        if hung:
            return replace(job, status="timeout", message=f"no answer within {timeout_s:g} s", total_s=spent)
        status, message = self._explain_death(_count_oom_kills() > kills_before)
        return replace(job, status=status, message=message, total_s=spent)

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

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died before it read this; waiting for its answer tells why
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def _receive(self, timeout_s: float) -> str | None:
        """Wait for one line; None when the child ended without one."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise TimeoutError
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
            if not chunk:
                try:
                    self._process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired as error:
                    raise TimeoutError from error  # it closed its end and hangs
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def _explain_death(self, oom_killed: bool) -> tuple[str, str]:
        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            if code == -signal.SIGKILL and oom_killed:
                return "oom", "killed by the kernel: out of memory (SIGKILL)"
            words = self._last_words()
            return "crashed", f"killed by {name}" + (f": {words}" if words else "")
        return "crashed", f"the worker exited with code {code}: {self._last_words()}".rstrip(": ")

    def _last_words(self) -> str:
        """Find the line of the child's error output that says most: Python's fatal error, or the last one."""
        if self._log is None:
            return ""
        with Path(self._log.name).open("rb") as file:
            file.seek(self._log_start)
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith("Fatal Python error")]
        return (fatal or lines or [""])[-1][:300]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def _open_log(path: Path) -> IO[bytes]:
    try:
        return path.open("ab")
    except OSError as error:
        raise SurroundingsError(f"cannot write to {path}: {explain_os_error(error)}") from error


def _count_oom_kills() -> int:
    """How often the kernel killed for memory in this control group, 0 where it does not tell."""
    try:
        text = _CGROUP_EVENTS.read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0
