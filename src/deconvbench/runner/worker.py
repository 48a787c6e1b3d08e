"""The parent's end of a worker: an isolated child process that measures one job after another.

A job is a record that is not filled in yet. The parent sends it as a line, the child (`worker`) measures and sends
it back filled in; whatever happens to the child (out of memory, a crash, a hang) happens to that job alone and
becomes its status. The child is started with `subprocess`, so that daemonic parents can have one too. Measures
nothing itself.
"""

import json
import os
import re
import signal
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from deconvbench.errors import SurroundingsError, explain_os_error
from deconvbench.records.record import AnyRecord, decode_record, encode_record
from deconvbench.runner.child_process import ChildProcess

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
        python = options.python or sys.executable
        try:
            self._child = ChildProcess(
                "deconvbench.runner.worker_main", python=python, search_path=options.search_path, log=options.log
            )
        except OSError as error:
            raise WorkerError(f"the worker process did not start: {python}: {explain_os_error(error)}") from error
        answer = None
        try:
            self._child.send(json.dumps({**asdict(options), "parent": os.getpid()}, default=str))
            answer = self._child.receive(START_TIMEOUT_S)
        except TimeoutError:
            pass  # reported below, with the child's last words
        except BaseException:
            self.kill()
            raise
        if answer is None:
            self.kill()
            raise WorkerError(f"the worker process did not start: {self._child.find_last_words() or 'no answer'}")
        greeting = json.loads(answer)
        if "failure" in greeting:
            self.kill()
            raise WorkerError(greeting["failure"])
        self.environment: dict[str, Any] = greeting["environment"]

    @property
    def alive(self) -> bool:
        """True while the child can take another job."""
        return self._child.alive

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
            self._child.send(encode_record(job))
            answer = self._child.receive(timeout_s)
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
        self._child.kill()

    def _explain_death(self, oom_killed: bool) -> tuple[str, str]:
        code = self._child.wait()
        if code < 0:
            name = signal.Signals(-code).name
            if code == -signal.SIGKILL and oom_killed:
                return "oom", "killed by the kernel: out of memory (SIGKILL)"
            words = self._child.find_last_words()
            return "crashed", f"killed by {name}" + (f": {words}" if words else "")
        return "crashed", f"the worker exited with code {code}: {self._child.find_last_words()}".rstrip(": ")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def _count_oom_kills() -> int:
    """How often the kernel killed for memory in this control group, 0 where it does not tell."""
    try:
        text = _CGROUP_EVENTS.read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0
