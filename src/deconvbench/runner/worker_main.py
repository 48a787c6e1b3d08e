"""The child's end of a worker, ``python -m deconvbench.runner.worker_main``: measures one job after another.

A job is a record that is not filled in yet. It comes as a line from the parent (`worker`), or several that are
measured together do, and goes back filled in; what the job raises becomes its status. Meanwhile a line says now
and then that work goes on.
"""

import faulthandler
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from deconvbench.errors import DeconvbenchError, UnsupportedError, UsageError, describe_failure
from deconvbench.measure.allocator import give_back_memory
from deconvbench.records.record import AnyRecord, Record, SpeedupRecord, decode_record, encode_record
from deconvbench.runner.checkout import take_modules_from, take_products_from
from deconvbench.runner.child_process import open_channel
from deconvbench.runner.messages import PROGRESS, READY, SPENT, Breakdown, join_lines, split_lines

if TYPE_CHECKING:
    from deconvbench.measure.job import Measuring
    from deconvbench.runner.process_state import Changes, ProcessState

R = TypeVar("R", bound=AnyRecord)

_REPORT_EVERY_S = 0.5

_OOM_MESSAGES = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cannot allocate memory|bad_alloc|"
    r"CUBLAS_STATUS_ALLOC_FAILED|could not create a memory object",
    re.IGNORECASE,
)


def classify_failure(error: BaseException) -> tuple[str, str]:
    """Turn what a job raised into a status and one line.

    Parameters
    ----------
    error : BaseException
        As caught.

    Returns
    -------
    status, message : str
        `unsupported` for what an upsampler cannot build, `oom` for a failed allocation, `crashed` for what ends a
        process, otherwise `error`.
    """
    if not isinstance(error, Exception):
        return "crashed", describe_failure(error)
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
    begun = greet(options, answer)
    if begun is None:
        return
    measuring, state = begun
    token = options["token"]  # by which the parent knows its answers
    for line in source:
        jobs = [decode_record(part, "job") for part in split_lines(line)]
        found: Sequence[AnyRecord] | Breakdown
        if isinstance(jobs[0], Record):
            found = fill_together(jobs, measuring, state, _make_reporter(token, answer))
        else:
            job: AnyRecord = jobs[0]
            found = [fill(job, measuring.measure)]
        changes = state.restore()
        give_back_memory()
        if not isinstance(found, Breakdown):
            found = blame(found, changes)
        is_spent = bool(changes.lasting) or _is_spent(found)
        content = found.encode() if isinstance(found, Breakdown) else join_lines(map(encode_record, found))
        answer(f"{token} {SPENT if is_spent else READY} {content}")


def greet(options: dict[str, Any], answer: Callable[[str], None]) -> tuple["Measuring", "ProcessState"] | None:
    """Prepare this process as its options say, and tell the parent what it found, or why it cannot measure.

    Parameters
    ----------
    options : dict
        As `WorkerOptions` has them, with the token that answers begin with.
    answer : callable
        Sends one line to the parent.

    Returns
    -------
    tuple or None
        What measures, and the state that each job leaves behind; None where the parent was told a failure.
    """
    token = options["token"]
    if options["address_space_bytes"] is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (options["address_space_bytes"],) * 2)
    if options["products"] is not None:
        take_products_from(Path(options["products"]))
    if options["checkout"]:
        take_modules_from([Path(folder) for folder in options["checkout"]], options["checked_out"])
    try:
        measuring, environment, state = _prepare(options)
    except (DeconvbenchError, ImportError, AttributeError, TypeError) as error:
        # the last three are how a foreign upsampler, or another commit's, fails to fit
        failure = str(error) if isinstance(error, DeconvbenchError) else f"{type(error).__name__}: {error}"
        answer(f"{token} {json.dumps({'failure': failure})}")
        return None
    answer(f"{token} {json.dumps({'environment': environment})}")
    return measuring, state


def _make_reporter(token: str, answer: Callable[[str], None]) -> Callable[[str], None]:
    """Make what tells the parent which case is next, or now and then that rounds go on."""
    last_s = time.monotonic()

    def report(case_id: str) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        # a line wakes the parent, which takes its time on another core
        if case_id or now_s - last_s >= _REPORT_EVERY_S:
            last_s = now_s
            answer(f"{token} {PROGRESS} {case_id}")

    return report


def blame(records: Sequence[AnyRecord], changes: "Changes") -> Sequence[AnyRecord] | Breakdown:
    """Take back what was timed of several layers, one of which changed the conditions of the others.

    Parameters
    ----------
    records : sequence of record
        Filled in; of one layer it stays as it is, as no other was measured beside it.
    changes : Changes
        What they left behind.
    """
    if not changes.disturbing:
        return records
    message = f"one of these layers changed {', '.join(changes.disturbing)}, and the others were timed with that"
    if len(records) > 1:
        return Breakdown(status="error", message=message)
    (record,) = records
    if not isinstance(record, SpeedupRecord) or record.status != "ok":
        return records
    return [replace(record, status="error", message=message)]


def fill_together(
    jobs: Sequence[AnyRecord], measuring: "Measuring", state: "ProcessState", report: Callable[[str], None]
) -> Sequence[AnyRecord] | Breakdown:
    """Measure the cases of a group; what each raises becomes its status.

    Parameters
    ----------
    jobs : sequence of Record
        Not filled in yet.
    measuring : Measuring
        What measures them.
    state : ProcessState
        Asked after each first call whether that layer changed what others are measured with.
    report : callable
        Receives the id of the case that is next.

    Returns
    -------
    list of Record, or Breakdown
        The latter where they cannot be measured together.
    """
    from deconvbench.measure.group import DisturbanceError

    cases = [job for job in jobs if isinstance(job, Record)]
    try:
        return measuring.measure_together(cases, judge=classify_failure, look=state.find_disturbed, report=report)
    except DisturbanceError as error:
        return Breakdown(status="error", message=str(error), suspect=error.case_id)
    except BaseException as error:  # noqa: BLE001 -- as in `fill`
        status, message = classify_failure(error)
        return Breakdown(status=status, message=message, is_fatal=True)


def _is_spent(found: Sequence[AnyRecord] | Breakdown) -> bool:
    """Say whether something happened after which nothing should be measured in this process."""
    if isinstance(found, Breakdown):
        return found.is_fatal
    return any(record.status == "crashed" for record in found)


def _prepare(options: dict[str, Any]) -> tuple["Measuring", dict[str, Any], "ProcessState"]:
    """Import torch and the measures: the parent needs neither, and a failure is the child's to tell."""
    from deconvbench.measure.accelerator import describe_accelerator
    from deconvbench.measure.job import Measuring
    from deconvbench.runner.environment import collect_environment
    from deconvbench.runner.process_state import read_process_state
    from deconvbench.upsamplers import load_upsampler

    state = read_process_state()
    for path in options["upsamplers"]:
        load_upsampler(path)
        state.settle_imports()
    if options["upsampler_digests"]:
        from deconvbench.upsamplers.sources import name_changed_sources  # earlier commits have none

        if changed := name_changed_sources(options["upsamplers"], options["upsampler_digests"]):
            raise UsageError(f"--upsampler: changed since the run began: {'; '.join(changed)}")
    environment = {**collect_environment(), "accelerator": describe_accelerator()}
    if options["code_version"] is not None:
        environment["code_version"] = options["code_version"]
    measuring = Measuring(
        environment=environment,
        policy=dict(options["policy"]),
        measures_memory=options["measures_memory"],
        conditions=options["conditions"],
    )
    return measuring, environment, state


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
    except BaseException as error:  # noqa: BLE001 -- the boundary that keeps one layer's failure from ending the run
        status, message = classify_failure(error)
        filled = replace(filled, status=status, message=message)
    return replace(filled, total_s=time.monotonic() - started)


def main() -> None:
    """Serve the parent on standard input and output; whatever layers print goes to standard error."""
    faulthandler.enable()
    serve(*open_channel())


if __name__ == "__main__":
    main()
