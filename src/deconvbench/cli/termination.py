"""Ending a command by a signal as Ctrl-C does: what it started ends too, and it says how to continue."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

from deconvbench.errors import Terminated

# of kill and of systems that shut down, and of terminals that close (Windows has no such signal)
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def end_on_signals() -> Iterator[list[int]]:
    """Raise `Terminated` where a signal asks this process to end while the block lasts.

    A signal that is ignored, as ``nohup`` has it, stays so, and one that has a handler keeps it.

    Yields
    ------
    list of int
        The signal once it has come; what is raised may not reach the end of the block.
    """
    before: dict[int, Any] = {}
    received: list[int] = []

    def terminate(number: int, _frame: FrameType | None) -> NoReturn:
        # once is enough: the next must not interrupt the ending of what runs
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        received.append(number)
        raise Terminated(number)

    with contextlib.suppress(ValueError):  # only a main thread may
        for number in _SIGNALS:
            if signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, terminate)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
