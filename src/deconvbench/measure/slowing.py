"""Making a step slower by a known share, to see whether a comparison finds it."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def slow_down(
    step: Callable[[], T], share: float, clock: Callable[[], int] = time.perf_counter_ns
) -> Callable[[], T]:
    """Wrap a step so that each call takes longer by a share of what it took, in a busy loop.

    Parameters
    ----------
    step : callable
        Runs on the CPU.
    share : float
        0.1 makes it 10 % slower; 0 and up.
    clock : callable
        Nanoseconds.

    Returns
    -------
    callable
        Returns what the step returns.
    """

    def slowed() -> T:
        started = clock()
        result = step()
        ended = clock()
        until = ended + share * (ended - started)
        while clock() < until:
            pass
        return result

    return slowed
