"""How a device is kept busy while the host launches the step that is to be timed.

A device that waits for the host between two events shows the host's time as its own. Work that is queued before
the step, flushes of the cache, gives the host its time; how many it takes is found by trying.
"""

import math
from collections.abc import Callable
from statistics import median
from typing import Any

from deconvbench.measure.accelerator import Accelerator
from deconvbench.measure.blocks import NS, Clock

_CALIBRATION_CALLS = 5
# the host is on time even when it takes this many times longer than in calibration
_FILLER_MARGIN = 1.5
# CUDA's launch queue takes 1024 entries and makes the host wait beyond; a batch of ten samples stays below with 40
# flushes a sample and steps of up to 60 kernels
_MAX_FLUSHES = 40


def time_synchronized(step: Callable[[], object], accelerator: Accelerator[Any], clock: Clock) -> float:
    """Time a step on an idle device until the device has done its work, in seconds on the host's clock."""
    started = clock()
    step()
    accelerator.synchronize()
    return (clock() - started) * NS


def count_flushes(step: Callable[[], object], accelerator: Accelerator[Any], clock: Clock) -> tuple[int, bool]:
    """Count the flushes that keep the device busy while the host launches the step and its two events.

    n flushes take the device n·f seconds and the host n·h to launch; the step reaches the queue in time if
    n·f ≥ n·h + the launch of the step. So n = launch / (f − h), and a margin.

    Parameters
    ----------
    step : callable
        Launches the step once; warm.
    accelerator : Accelerator
        Where it runs.
    clock : callable
        Nanoseconds on the host.

    Returns
    -------
    flushes : int
        At least 1, at most 40.
    suffice : bool
        Whether so many keep it busy for long enough.
    """
    start, end = accelerator.make_event(), accelerator.make_event()
    accelerator.flush_l2()  # allocates its buffer
    launches_s = []
    for _ in range(_CALIBRATION_CALLS):
        accelerator.synchronize()
        began = clock()
        start.record()
        step()
        end.record()
        launches_s.append((clock() - began) * NS)
    # what further flushes add: the end of the last one, which the host does not wait for, is in both
    few, many = (_time_flushes(accelerator, clock, count * _CALIBRATION_CALLS) for count in (1, 2))
    gain_s = (many[0] - few[0] - (many[1] - few[1])) / _CALIBRATION_CALLS
    needed = math.ceil(_FILLER_MARGIN * median(launches_s) / gain_s) if gain_s > 0 else _MAX_FLUSHES + 1
    return min(max(1, needed), _MAX_FLUSHES), needed <= _MAX_FLUSHES


def _time_flushes(accelerator: Accelerator[Any], clock: Clock, count: int) -> tuple[float, float]:
    """Time some flushes on an idle device: seconds that they take there, and that their launch takes the host."""
    start, end = accelerator.make_event(), accelerator.make_event()
    accelerator.synchronize()
    start.record()
    began = clock()
    for _ in range(count):
        accelerator.flush_l2()
    launch_s = (clock() - began) * NS
    end.record()
    accelerator.synchronize()
    return accelerator.elapsed_s(start, end), launch_s
