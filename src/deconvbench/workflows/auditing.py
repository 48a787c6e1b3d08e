"""From the name of a target to its audit: everything about the target runs in a child process with limits.

The child (`networks.inspection.audit_main`) may end in any way and say anything; each becomes one line.
"""

import dataclasses
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from deconvbench.errors import SurroundingsError, UsageError, explain_os_error
from deconvbench.measure.capacity import read_available_bytes
from deconvbench.records.audit import Audit
from deconvbench.records.audit_request import AuditRequest
from deconvbench.records.decoding import DecodingError, build, parse_json
from deconvbench.runner.child_process import ChannelError, ChildProcess
from deconvbench.runner.worker import START_TIMEOUT_S
from deconvbench.system.scratch import make_scratch_folder, sweep_scratch_folders
from deconvbench.system.texts import tidy_line
from deconvbench.units import format_bytes, format_duration
from deconvbench.workflows.audit_settings import AuditSettings, find_configuration, merge

_MODULE = "deconvbench.networks.inspection.audit_main"
TIMEOUT_S = 600.0
# of what is free, that an audit may take where no limit is given
_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetAudit:
    """The audit of a target.

    Parameters
    ----------
    audit : Audit
        What was found.
    target : str
        As given.
    inputs : tuple of str
        What the network was given, in words.
    is_guessed : bool
        Whether these were not given.
    notes : tuple of str
        What else a reader must know: what was seen through in files.
    """

    audit: Audit
    target: str
    inputs: tuple[str, ...]
    is_guessed: bool = False
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        guessed = " (guessed)" if self.is_guessed else ""
        lines = [tidy_line(self.target), f"input: {', '.join(map(tidy_line, self.inputs))}{guessed}"]
        lines += [f"note: {tidy_line(note)}" for note in self.notes]
        return "\n".join([*lines, str(self.audit)])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What the child sends, a part at a time."""

    progress: str | None = None
    error: str | None = None
    status: str = ""
    trace: str = ""
    audit: dict[str, Any] | None = None
    inputs: tuple[str, ...] = ()
    is_guessed: bool = False
    notes: tuple[str, ...] = ()


class _TargetError(Exception):
    """What was raised in the child, with its own traceback for a text."""


def audit_target(
    request: AuditRequest,
    *,
    timeout_s: float = TIMEOUT_S,
    max_memory_bytes: int | None = None,
    observer: Callable[[str], None] = lambda _: None,
) -> TargetAudit:
    """Audit a target in a process of its own.

    Parameters
    ----------
    request : AuditRequest
        What is asked for; the limit on memory in it is replaced.
    timeout_s : float
        Seconds after which it counts as hanging and is ended; what torch needs to start is not counted.
    max_memory_bytes : int or None
        How much memory the audit may take beyond what torch itself does; None: 90 % of what is free.
    observer : callable
        Is told what is done next.

    Returns
    -------
    TargetAudit

    Raises
    ------
    UsageError
        If the target cannot be audited, for whatever reason; in one line.
    SurroundingsError
        If no process can be started, or the kernel ended it for want of memory.
    """
    limit = max_memory_bytes or round(_SHARE * read_available_bytes())
    request = replace(request, max_memory_bytes=limit)
    observer("starting")
    sweep_scratch_folders()
    with make_scratch_folder() as folder:
        try:
            child = ChildProcess(_MODULE, log=folder / "target.log")
        except OSError as error:
            raise SurroundingsError(f"cannot start a process: {explain_os_error(error)}") from error
        try:
            return _converse(child, request, timeout_s, observer)
        finally:
            child.kill()


def _converse(
    child: ChildProcess, request: AuditRequest, timeout_s: float, observer: Callable[[str], None]
) -> TargetAudit:
    """Send the request, pass on what is done next, and read the answer."""
    token = secrets.token_hex(8)
    # what torch needs to come up is not the target's
    deadline = time.monotonic() + START_TIMEOUT_S
    doing = ""
    child.send(json.dumps({"token": token, "request": dataclasses.asdict(request)}))
    try:
        while (line := child.receive(max(0.0, deadline - time.monotonic()))) is not None:
            answer = _read_answer(line, token)
            if answer.progress is None:
                return _take(answer, request)
            if not doing:
                deadline = time.monotonic() + timeout_s
            doing = tidy_line(answer.progress, 200)
            observer(doing)
        _, message = _explain_end(child)
    except TimeoutError as error:
        if not doing:
            raise SurroundingsError(
                f"the process did not start: {child.find_last_words() or 'no answer'}"
            ) from error
        limit = format_duration(timeout_s) if timeout_s >= 1 else f"{timeout_s:g} s"
        raise UsageError(
            f"{request.target}: not done within {limit} (while {doing}); --timeout allows more"
        ) from error
    except ChannelError as error:
        raise UsageError(f"{request.target}: its process {error}") from error
    if not doing:
        raise SurroundingsError(f"the process did not start: {message}")
    raise UsageError(f"{request.target}: {message} (while {doing})")


def _explain_end(child: ChildProcess) -> tuple[str, str]:
    status, message = child.explain_end()
    if status == "oom":
        raise SurroundingsError(f"{message}; --max-memory sets a limit before that")
    return status, message


def _read_answer(line: str, token: str) -> _Answer:
    first, _, content = line.partition(" ")
    if first != token:
        raise ChannelError("sent something that is not an answer")
    try:
        return build(_Answer, parse_json(content))
    except DecodingError as error:
        raise ChannelError(f"sent something that is not an answer: {error}") from error


def _take(answer: _Answer, request: AuditRequest) -> TargetAudit:
    if answer.error is not None:
        _refuse(answer, answer.error, request)
    try:
        audit = Audit.from_dict(answer.audit or {})
    except DecodingError as error:
        raise ChannelError(f"sent something that is not an audit: {error}") from error
    return TargetAudit(
        audit=audit, target=request.target, inputs=answer.inputs, is_guessed=answer.is_guessed, notes=answer.notes
    )


def _refuse(answer: _Answer, message: str, request: AuditRequest) -> NoReturn:
    if answer.status == "oom":
        limit = format_bytes(request.max_memory_bytes)
        raise UsageError(
            f"{request.target}: needs more memory than the {limit} that it may take ({message});"
            " --max-memory allows more, a smaller --input takes less"
        ) from _TargetError(answer.trace)
    is_named = message.startswith(("TARGET: ", "--", f"{request.target}: "))
    named = message if is_named else f"{request.target}: {message}"
    raise UsageError(named) from _TargetError(answer.trace)


def make_request(given: AuditSettings) -> tuple[AuditSettings, AuditRequest]:
    """Put together what is asked for from the command line and the project's own settings.

    Parameters
    ----------
    given : AuditSettings
        On the command line.

    Returns
    -------
    settings : AuditSettings
        All together.
    request : AuditRequest
        Of them; the paths of the file are those below its folder.

    Raises
    ------
    UsageError
        If no target is named, or as `find_configuration`.
    """
    here = Path.cwd()
    configured, home = find_configuration(here)
    # in which the child works: paths of another one are made absolute
    folder = here if given.target is not None else home
    settings = merge(_move_paths(given, here, folder), _move_paths(configured, home, folder))
    if settings.target is None:
        raise UsageError(
            "TARGET: none is given; name pkg.mod:factory, file.py:factory or a file of ONNX, here or as target in"
            " [tool.deconvbench.audit] of pyproject.toml"
        )
    return settings, AuditRequest(
        target=settings.target,
        folder=str(folder),
        state_dict=settings.state_dict or "",
        inputs=settings.input or (),
        images=settings.image or (),
        output_range=settings.range,
        device=settings.device or "cpu",
        dtype=settings.dtype or "",
        threads=settings.threads,
        measure_fuse=bool(settings.measure_fuse),
        ignore=settings.ignore or (),
    )


def _move_paths(settings: AuditSettings, home: Path, folder: Path) -> AuditSettings:
    """Have the paths of settings hold in another folder."""
    if home == folder:
        return settings
    return replace(
        settings,
        state_dict=None if settings.state_dict is None else str(home / settings.state_dict),
        image=None if settings.image is None else tuple(str(home / path) for path in settings.image),
    )
