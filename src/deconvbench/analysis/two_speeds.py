"""Do the processes of a case come in two speeds? One criterion, on one number for each process."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# of the processes; fewer are outliers, not a second speed
_LEAST_SHARE, _LEAST_COUNT = 0.1, 2
# in all; fewer fall into two groups by chance
_LEAST_PROCESSES = 20
# log ratio of the two speeds
_LEAST_STEP = math.log(1.05)
# distance of the means in pooled standard deviations: halves of a normal distribution are 2.6 apart, those of an
# even one 3.5
_LEAST_SEPARATION = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSpeeds:
    """Two groups of processes.

    Parameters
    ----------
    slow_share : float
        Share of the processes in the slower group.
    step : float
        By which share it is slower: 0.2 is 20 %.
    """

    slow_share: float
    step: float


def find_two_speeds(logs: Sequence[float]) -> TwoSpeeds | None:
    """Say whether the logarithms of a case's latencies fall into two groups.

    They are split where the two parts vary least within. The parts are two speeds if each has a tenth of the
    processes, two at least, their means are 5 % apart at least, and by six of the standard deviations within.

    Parameters
    ----------
    logs : sequence of float
        One logarithm for each process.

    Returns
    -------
    TwoSpeeds or None
        None where they do not, and of fewer than twenty processes.

    References
    ----------
    The separation is that of Ashman, Bird and Zepf, "Detecting bimodality in astronomical datasets", Astronomical
    Journal 108 (1994), with one deviation for both groups and a stricter limit.
    """
    values = np.sort(np.asarray(logs, dtype=np.float64))
    count = len(values)
    least = max(_LEAST_COUNT, math.ceil(_LEAST_SHARE * count))
    if count < _LEAST_PROCESSES:
        return None
    best = math.inf, 0
    for cut in range(least, count - least + 1):
        squares = float(np.var(values[:cut]) * cut + np.var(values[cut:]) * (count - cut))
        best = min(best, (squares, cut))
    squares, cut = best
    step = float(values[cut:].mean() - values[:cut].mean())
    within = math.sqrt(squares / (count - 2))
    if step < _LEAST_STEP or step < _LEAST_SEPARATION * within:
        return None
    return TwoSpeeds(slow_share=(count - cut) / count, step=math.expm1(step))
