"""An isolated child process that measures one job after another.

A job is a record that is not filled in yet. The parent sends it as a line, the child measures and sends it back
filled in; whatever happens to the child (out of memory, a crash, a hang) happens to that job alone and becomes
its status. The child is started with `subprocess`, so that daemonic parents can have one too.
"""

import contextlib
import ctypes
import faulthandler
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Protocol, Self, TextIO, TypeVar

from deconvbench.errors import DeconvbenchError, SurroundingsError, UnsupportedError, explain_os_error
from deconvbench.failures import describe_failure
from deconvbench.products import take_products_from
from deconvbench.record import AnyRecord, decode_record, encode_record

if TYPE_CHECKING:
    from deconvbench.measure.measuring import Measuring

R = TypeVar("R", bound=AnyRecord)

START_TIMEOUT_S = 300.0  # importing torch from a cold disk takes tens of seconds
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OOM_MESSAGES = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cannot allocate memory|bad_alloc|"
    r"CUBLAS_STATUS_ALLOC_FAILED|could not create a memory object",
    re.IGNORECASE,
)
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
                [python, "-m", "deconvbench.worker"],
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
            pass  # told below, with the child's last words
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


def classify_failure(error: BaseException) -> tuple[str, str]:
    """Turn what a job raised into a status and one line.

    Parameters
    ----------
    error : BaseException
        As caught.

    Returns
    -------
    status, message : str
        `unsupported` for what an upsampler cannot build, `oom` for a failed allocation, otherwise `error`.
    """
    if isinstance(error, UnsupportedError):
        return "unsupported", " ".join(str(error).split())
    is_oom = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _OOM_MESSAGES.search(str(error))
    )
    return ("oom" if is_oom else "error"), describe_failure(error)


def serve(source: TextIO, answer: Callable[[str], None]) -> None:
    """Be the child: read jobs from `source` until it ends, answer each with a line.

    Parameters
    ----------
    source : text stream
        First the options, then one job a line.
    answer : callable
        Sends one line to the parent.
    """
    options = json.loads(source.readline())
    die_with_parent(options["parent"])
    if options["address_space_bytes"] is not None:
        import resource  # noqa: PLC0415 -- Unix only

        resource.setrlimit(resource.RLIMIT_AS, (options["address_space_bytes"],) * 2)
    if options["products"] is not None:
        take_products_from(Path(options["products"]))
    try:
        measuring, environment = _prepare(options)
    except (DeconvbenchError, ImportError, AttributeError, TypeError) as error:
        # the last three are how a foreign upsampler, or another commit's, fails to fit
        failure = str(error) if isinstance(error, DeconvbenchError) else f"{type(error).__name__}: {error}"
        answer(json.dumps({"failure": failure}))
        return
    answer(json.dumps({"environment": environment}))
    for line in source:
        answer(encode_record(fill(decode_record(line, "job"), measuring.measure)))


def _prepare(options: dict[str, Any]) -> tuple["Measuring", dict[str, Any]]:
    """Import torch and the measures: the parent needs neither, and a failure is the child's to tell."""
    from deconvbench.environment import collect_environment  # noqa: PLC0415
    from deconvbench.measure.accelerator import describe_accelerator  # noqa: PLC0415
    from deconvbench.measure.measuring import Measuring  # noqa: PLC0415
    from deconvbench.upsamplers import load_upsampler  # noqa: PLC0415

    for path in options["upsamplers"]:
        load_upsampler(path)
    environment = {**collect_environment(), "accelerator": describe_accelerator()}
    if options["code_version"] is not None:
        environment["code_version"] = options["code_version"]
    measuring = Measuring(
        environment=environment,
        policy=dict(options["policy"]),
        slowdown=options["slowdown"],
        measures_memory=options["measures_memory"],
    )
    return measuring, environment


def fill(job: R, measure: Callable[[R], Iterator[R]]) -> R:
    """Measure one job; what it raises becomes its status, and what was measured before that is kept.

    Parameters
    ----------
    job : record
        Not filled in yet.
    measure : callable
        Yields it, filled in a little more each time.
    """
    started = time.monotonic()
    filled = job
    try:
        for filled in measure(job):  # noqa: B007 -- the last one is what counts
            pass
    except Exception as error:  # noqa: BLE001 -- the boundary that keeps one layer's failure from ending the run
        status, message = classify_failure(error)
        filled = replace(filled, status=status, message=message)
    return replace(filled, total_s=time.monotonic() - started)


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


def main() -> None:
    """Serve the parent on standard input and output; whatever layers print goes to standard error."""
    faulthandler.enable()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(line: str) -> None:
        channel.write(line + "\n")
        channel.flush()

    serve(sys.stdin, answer)


if __name__ == "__main__":
    main()
