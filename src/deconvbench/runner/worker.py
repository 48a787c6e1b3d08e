"""The parent's end of a worker: an isolated child process that measures one job after another.

A job is a record that is not filled in yet. The parent sends it as a line, or several that are measured together
as one, the child (`worker_main`) measures and sends them back filled in. Whatever happens to the child (out of
memory, a crash, a hang) happens to that job alone and becomes its status, or makes a `Breakdown` of several. The
child is started with `subprocess`, so that daemonic parents can have one too. Measures nothing itself.
"""

import functools
import json
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

from deconvbench.errors import DeconvbenchError, SurroundingsError, explain_os_error
from deconvbench.records.record import AnyRecord, Record, decode_record, encode_record
from deconvbench.runner.child_process import ChannelError, ChildProcess
from deconvbench.runner.conditions import list_variables
from deconvbench.runner.messages import PROGRESS, READY, Breakdown, join_lines, split_lines

R = TypeVar("R", bound=AnyRecord)

START_TIMEOUT_S = 300.0  # importing torch from a cold disk takes tens of seconds


class WorkerError(SurroundingsError):
    """The worker could not be started at all, so no job can be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How to start a worker.

    Parameters
    ----------
    upsamplers : tuple of str
        ``pkg.mod:factory`` of further upsamplers.
    upsampler_digests : tuple of str
        Of each of them the digest of its source, as `identify_sources` gives it; none: whatever they are.
    policy : dict
        Fields of `LatencyPolicy` that differ from its defaults.
    products : Path or None
        A source folder whose upsamplers take the place of ours (see `products`).
    code_version : str or None
        What records say they measured; None asks `identify_code`.
    python : str or None
        The interpreter that runs the child; None takes this one.
    checkout : tuple of str
        Folders of a user's checkout; from them, and nowhere else, come the modules named by `checked_out`.
    checked_out : tuple of str
        Top-level modules of that checkout.
    slowdowns : tuple
        By upsampler the share by which its steps are made slower where pairs of processes are timed, to see
        whether a comparison finds it.
    measures_memory : bool
        False leaves the memory pass out.
    conditions : str
        The policy under which it times, one of `POLICIES`.
    search_path : tuple of str
        Folders that come first on the child's module search path.
    environment : tuple
        Names and values of variables that the child has beside those of this process.
    address_space_bytes : int or None
        Limit on the child's address space (Linux), so that a case meets MemoryError before the machine does.
    log : Path or None
        File that collects what the child prints; None discards it.
    descriptors : tuple of int
        Open files, such as a lock's, that are held as long as it, or anything that it started, lives.
    """

    upsamplers: tuple[str, ...] = ()
    upsampler_digests: tuple[str, ...] = ()
    policy: tuple[tuple[str, Any], ...] = ()
    products: Path | None = None
    code_version: str | None = None
    python: str | None = None
    checkout: tuple[str, ...] = ()
    checked_out: tuple[str, ...] = ()
    slowdowns: tuple[tuple[str, float], ...] = ()
    measures_memory: bool = True
    conditions: str = "system"
    search_path: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    address_space_bytes: int | None = None
    log: Path | None = None
    descriptors: tuple[int, ...] = ()


class MeasuringProcess(Protocol):
    """What the engine needs of whatever measures its jobs; `Worker` is the real one."""

    @property
    def alive(self) -> bool:
        """True while it can take another job."""

    def measure(self, job: R, timeout_s: float) -> R:
        """Return the job filled in, with whatever status it earned."""

    def measure_together(self, jobs: Sequence[Record], timeout_s: float) -> list[Record] | Breakdown:
        """Return the jobs filled in, or why they cannot be measured together."""

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
    MODULE : str
        What the child runs.

    Raises
    ------
    WorkerError
        If it does not come up; the message is the child's.
    SurroundingsError
        If its log cannot be written.
    """

    MODULE = "deconvbench.runner.worker_main"

    def __init__(self, options: WorkerOptions) -> None:
        python = options.python or sys.executable
        try:
            self._child = ChildProcess(
                self.MODULE,
                python=python,
                search_path=options.search_path,
                environment={**list_variables(options.conditions), **dict(options.environment)},
                log=options.log,
                descriptors=options.descriptors,
            )
        except OSError as error:
            raise WorkerError(f"the worker process did not start: {python}: {explain_os_error(error)}") from error
        self._token = secrets.token_hex(8)
        self._is_spent = False
        self._child.send(json.dumps({**asdict(options), "token": self._token}, default=str))
        self._come_up()

    def _come_up(self) -> None:
        """Wait until the child is there."""
        _ = self.environment

    @functools.cached_property
    def environment(self) -> dict[str, Any]:
        """What the child found about machine and software; who asks first waits until it has come up."""
        answer = None
        try:
            answer = self._child.receive(START_TIMEOUT_S)
        except (TimeoutError, ChannelError):
            pass  # reported below, with the child's last words
        except BaseException:
            self.kill()
            raise
        if answer is None:
            self.kill()
            raise WorkerError(f"the worker process did not start: {self._child.find_last_words() or 'no answer'}")
        token, _, content = answer.partition(" ")
        if token != self._token:
            self.kill()
            raise WorkerError("the worker process did not start: it sent something that is not an answer")
        greeting = json.loads(content)
        if "failure" in greeting:
            self.kill()
            raise WorkerError(greeting["failure"])
        return dict(greeting["environment"])

    @property
    def alive(self) -> bool:
        """True while the child can take another job: it is as it was when it started, and waits for one."""
        return not self._is_spent and self._child.alive and self._child.is_silent

    def measure(self, job: R, timeout_s: float) -> R:
        """Have one job measured.

        Parameters
        ----------
        job : record
            Not filled in yet.
        timeout_s : float
            Seconds after which the child counts as hanging and is killed; those in which it was stopped count too.

        Returns
        -------
        record
            The job filled in, with whatever status it earned. The worker may be gone then: ask `alive`.
        """
        found = self._exchange([job], timeout_s)
        if isinstance(found, Breakdown):
            return replace(job, status=found.status, message=found.message, total_s=found.total_s)
        return found[0]

    def measure_together(self, jobs: Sequence[Record], timeout_s: float) -> list[Record] | Breakdown:
        """Have the cases of a group measured, their timing interleaved.

        Parameters
        ----------
        jobs : sequence of Record
            Not filled in yet; see `deconvbench.measure.group.measure_group`.
        timeout_s : float
            Seconds for each. The child counts as hanging, and is killed, when it says nothing for so long, or
            takes longer than all of them may together.

        Returns
        -------
        list of Record, or Breakdown
            The jobs filled in, in order. The worker may be gone then: ask `alive`.
        """
        return self._exchange(jobs, timeout_s)

    def _exchange(self, jobs: Sequence[R], timeout_s: float) -> list[R] | Breakdown:
        """Send jobs that are measured together, and wait for the answer."""
        started = time.monotonic()
        deadline = started + timeout_s * len(jobs)
        suspect = ""
        try:
            self._child.send(join_lines(map(encode_record, jobs)))
            while (answer := self._child.receive(min(timeout_s, deadline - time.monotonic()))) is not None:
                state, content = self._split_answer(answer)
                if state != PROGRESS:
                    return self._read_answer(state, content, jobs)
                suspect = content
            status, message = self._child.explain_end()
        except TimeoutError:
            self.kill()
            if time.monotonic() >= deadline and len(jobs) > 1:
                suspect = ""  # it did not hang, it was slow
            status, message = "timeout", f"no answer within {timeout_s:g} s"
        except ChannelError as error:
            self.kill()
            status, message = "crashed", f"the worker {error}"
        total_s = time.monotonic() - started
        return Breakdown(status=status, message=message, suspect=suspect, is_fatal=True, total_s=total_s)

    def _take_content(self, answer: str) -> str:
        token, _, content = answer.partition(" ")
        if token != self._token:
            raise ChannelError("sent something that is not an answer")
        return content

    def _split_answer(self, answer: str) -> tuple[str, str]:
        state, _, content = self._take_content(answer).partition(" ")
        return state, content

    def _read_answer(self, state: str, content: str, jobs: Sequence[R]) -> list[R] | Breakdown:
        try:
            breakdown = Breakdown.decode(content)
            parts = [] if breakdown is not None else split_lines(content)
            filled = [decode_record(part, "answer of the worker") for part in parts]
        except (DeconvbenchError, ValueError, TypeError) as error:
            raise ChannelError(f"sent something that is not a record: {error}") from error
        if breakdown is None and [record.key for record in filled] != [job.key for job in jobs]:
            raise ChannelError("sent the record of another job")
        self._is_spent = state != READY
        if breakdown is not None:
            return breakdown
        # a key begins with the kind
        return cast(list[R], filled)

    def kill(self) -> None:
        """End the child and all that it started, at once."""
        self._child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
