"""Blocks of calls: what every timing on the CPU is made of.

A block is timed as a whole and is long enough that reading the clock does not count.
"""

import contextlib
import gc
import itertools
from collections.abc import Callable, Iterator

Clock = Callable[[], int]  # nanoseconds, from any origin

NS = 1e-9
_CLOCK_READINGS = 1000
# a block lasts this many clock readings, so the timer's share stays under 1e-3
_BLOCK_PER_CLOCK_COST = 1000


@contextlib.contextmanager
def pause_collector() -> Iterator[None]:
    """Collect garbage now and not again until the end; then all is as it was, also after an exception."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def spare_collector() -> Iterator[None]:
    """Collect garbage now, and until the end pass over all that is left: each further collection is quick."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def time_block(step: Callable[[], object], calls: int, clock: Clock) -> float:
    """Time a block of calls.

    Parameters
    ----------
    step : callable
        Runs the step once; what it returns is freed at once.
    calls : int
        How often.
    clock : callable
        Nanoseconds.

    Returns
    -------
    float
        Seconds for all of them.
    """
    # as timeit does it: the cheapest loop that Python has
    repeats = itertools.repeat(None, calls)
    started = clock()
    for _ in repeats:
        step()
    return (clock() - started) * NS


def find_block_length(min_block_s: float, clock: Clock) -> float:
    """Find how long a block must last on this clock.

    Parameters
    ----------
    min_block_s : float
        No shorter than this.
    clock : callable
        Nanoseconds; one that is slow to read makes blocks longer.

    Returns
    -------
    float
        Seconds.
    """
    started = clock()
    for _ in range(_CLOCK_READINGS - 1):
        clock()
    return max(min_block_s, _BLOCK_PER_CLOCK_COST * (clock() - started) * NS / _CLOCK_READINGS)


def warm_up(step: Callable[[], object], warmup_s: float, min_block_s: float, clock: Clock) -> int:
    """Call a step until it is warm, in blocks of twice as many calls each time until one is long enough.

    Parameters
    ----------
    step : callable
        Runs the step once.
    warmup_s : float
        Seconds of calls at least.
    min_block_s : float
        Seconds that a block must last.
    clock : callable
        Nanoseconds.

    Returns
    -------
    int
        Calls that make such a block.
    """
    calls = 1
    spent_s = 0.0
    while True:
        block_s = time_block(step, calls, clock)
        spent_s += block_s
        if block_s < min_block_s:
            calls *= 2
        elif spent_s >= warmup_s:
            return calls
