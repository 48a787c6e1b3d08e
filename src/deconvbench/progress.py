"""Showing how far a run is: a bar on a terminal, plain lines elsewhere, always on standard error.

rich draws the bar, in colours unless ``NO_COLOR`` is set, and shows the cursor again however the block ends.
"""

import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO

from deconvbench.records.case import name_layer
from deconvbench.records.pairs import PairRecord
from deconvbench.records.ratio import find_log_ratio, find_ratio
from deconvbench.records.record import AnyRecord, Record, SpeedupRecord
from deconvbench.system.texts import tidy_line
from deconvbench.units import format_bytes, format_duration, format_seconds

LINE_EVERY_S = 10.0
_DRAWN_PER_S = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDone:
    """One job was done.

    Parameters
    ----------
    done, total : int
        Jobs so far, and in all.
    record : record
        The one just measured.
    remaining_s : float or None
        Estimated seconds until the end; None where too little was done to tell.
    """

    done: int
    total: int
    record: AnyRecord
    remaining_s: float | None


JobObserver = Callable[[JobDone], None]


def describe_record(record: AnyRecord) -> str:
    """Say in a few words what was measured.

    Parameters
    ----------
    record : record
        Of any kind.
    """
    if isinstance(record, Record):
        name = record.case.case_id
        if record.latency is not None and record.status == "ok":
            samples = sorted(record.latency.samples_s)
            peak = record.memory.peak_memory_bytes if record.memory else None
            found = find_ratio(record) if record.baseline_id != name else None
            compared = "" if found is None else f" ({found:.3g} of the baseline's)"
            return f"{name}: {format_seconds(samples[len(samples) // 2])}{compared}, {format_bytes(peak)}"
    elif isinstance(record, PairRecord):
        name = f"{record.pair} against base: {record.case.case_id}"
        if record.status == "ok":
            ratio = math.exp(find_log_ratio(record.base_samples_s, record.head_samples_s))
            return f"{name}: {ratio:.3f} in {len(record.base_samples_s)} rounds"
    elif isinstance(record, SpeedupRecord):
        name = f"speed-ups over {record.case.case_id}{', frozen' if record.is_frozen else ''}"
        if record.status == "ok":
            rounds = len(record.samples_s.get(record.case.case_id, ()))
            return f"{name}: {len(record.samples_s)} layers, {rounds} rounds"
    else:
        name = f"{record.KIND} of {name_layer(record.upsampler, record.kernel_size, record.scale_factor)}"
    return name if record.status == "ok" else f"{name}: {record.status}: {record.message}"


@contextmanager
def show_progress(stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> Iterator[JobObserver]:
    """Show a run's progress while the block lasts.

    Parameters
    ----------
    stream : text stream
        Usually standard error.
    clock : callable
        Seconds, for the plain lines.

    Yields
    ------
    callable
        The observer to hand to the engine.
    """
    if can_show_bar(stream):
        yield from _show_bar(stream, clock)
    else:
        yield _make_line_printer(stream, clock)


def can_show_bar(stream: TextIO) -> bool:
    """Say whether a stream is a terminal on which a line can be drawn over.

    Parameters
    ----------
    stream : text stream
        Usually standard error.
    """
    return stream.isatty() and os.environ.get("TERM", "") not in {"dumb", "unknown"}


def open_bar(stream: TextIO, *columns: Any) -> Any:
    """Make a bar that leaves nothing behind.

    Parameters
    ----------
    stream : text stream
        A terminal.
    *columns : ProgressColumn or str
        Of rich.

    Returns
    -------
    Progress
        Of rich; to be entered.
    """
    from rich.console import Console  # noqa: PLC0415 -- only where there is a terminal
    from rich.progress import Progress  # noqa: PLC0415

    # what is drawn takes time from what is measured
    return Progress(*columns, console=Console(file=stream), transient=True, refresh_per_second=_DRAWN_PER_S)


def _is_failure(record: AnyRecord) -> bool:
    return record.status not in ("ok", "unsupported")


def _show_bar(stream: TextIO, clock: Callable[[], float]) -> Iterator[JobObserver]:
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    class LeftColumn(ProgressColumn):
        """What is left: the last estimate, less the time since."""

        def render(self, task: Task) -> Text:
            ends_at = task.fields["ends_at"]
            return Text("? left" if ends_at is None else f"{format_duration(max(ends_at - clock(), 0.0))} left")

    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        LeftColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with open_bar(stream, *columns) as bar:
        task = bar.add_task("starting", total=None, ends_at=None)

        def observe(progress: JobDone) -> None:
            text = describe_record(progress.record)
            ends_at = None if progress.remaining_s is None else clock() + progress.remaining_s
            bar.update(task, completed=progress.done, total=progress.total, description=text, ends_at=ends_at)
            if _is_failure(progress.record):
                bar.console.print(text, markup=False, highlight=False)

        yield observe


def _make_line_printer(stream: TextIO, clock: Callable[[], float]) -> JobObserver:
    last: float | None = None

    def observe(progress: JobDone) -> None:
        nonlocal last
        now = clock()
        due = last is None or now - last >= LINE_EVERY_S or progress.done == progress.total
        if due or _is_failure(progress.record):
            last = now
            left = "?" if progress.remaining_s is None else format_duration(progress.remaining_s)
            text = describe_record(progress.record)
            print(f"[{progress.done}/{progress.total}] {left} left  {text}", file=stream, flush=True)

    return observe


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDone:
    """A part of some work was done.

    Parameters
    ----------
    done, total : int
        Parts so far, and in all.
    title : str
        Of the part just done.
    note : str
        What must not be passed over, such as a failure; empty for none.
    """

    done: int
    total: int
    title: str
    note: str = ""


PartObserver = Callable[[PartDone], None]


@contextmanager
def show_steps(stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> Iterator[PartObserver]:
    """Show how far some work is while the block lasts: a bar on a terminal, plain lines elsewhere.

    Parameters
    ----------
    stream : text stream
        Usually standard error.
    clock : callable
        Seconds.

    Yields
    ------
    callable
        To receive each step.
    """
    if can_show_bar(stream):
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        columns = (
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
        )
        with open_bar(stream, *columns) as bar:
            task = bar.add_task("starting", total=None)

            def update(step: PartDone) -> None:
                bar.update(task, completed=step.done, total=step.total, description=tidy_line(step.title))
                if step.note:
                    bar.console.print(tidy_line(step.note), markup=False, highlight=False)

            yield update
        return
    last = clock() - LINE_EVERY_S
    first: tuple[float, PartDone] | None = None

    def print_step(step: PartDone) -> None:
        nonlocal last, first
        now = clock()
        if step.note:
            print(tidy_line(step.note), file=stream, flush=True)
        if not step.done:
            return
        # what was there before, or what the first part had to load, tells nothing of how long the others take
        if first is None or step.done < first[1].done or step.total != first[1].total:
            first = (now, step)  # another total is other work
        if now - last >= LINE_EVERY_S or step.done >= step.total:
            last = now
            parts = step.done - first[1].done
            each = (now - first[0]) / parts if parts else None
            # at the end nothing is left, however many parts there were
            left_s = 0.0 if step.done >= step.total else each and each * (step.total - step.done)
            left = "?" if left_s is None else format_duration(left_s)
            print(f"[{step.done}/{step.total}] {left} left  {tidy_line(step.title)}", file=stream, flush=True)

    yield print_step


@contextmanager
def show_stages(stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[str], None]]:
    """Show what is being done, where how much there is to do is not known: a line that moves, or plain lines.

    Parameters
    ----------
    stream : text stream
        Usually standard error.
    clock : callable
        Seconds.

    Yields
    ------
    callable
        To receive what is done next.
    """
    if can_show_bar(stream):
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
        with open_bar(stream, *columns) as bar:
            task = bar.add_task("starting", total=None)
            yield lambda text: bar.update(task, description=tidy_line(text))
        return
    started = clock()
    last = started

    def print_stage(text: str) -> None:
        nonlocal last
        now = clock()
        if now - last >= LINE_EVERY_S:
            last = now
            print(f"[{format_duration(now - started)}] {tidy_line(text)}", file=stream, flush=True)

    yield print_stage


def print_interruption(what: str, command: Sequence[str]) -> None:
    """Say on standard error that a command was interrupted, and how to continue.

    Parameters
    ----------
    what : str
        Such as ``measured``.
    command : sequence of str
        Words; quoted for the shell.
    """
    with suppress(OSError, ValueError):  # the terminal may be what has ended
        print(
            f"deconvbench: interrupted; everything {what} is kept. Continue with: {shlex.join(command)}",
            file=sys.stderr,
        )
