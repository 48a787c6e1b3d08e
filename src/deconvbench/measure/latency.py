"""How long to measure a latency: what counts as enough samples, and when to give up. Takes none itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from deconvbench.errors import UsageError

# five samples or fewer give the median no interval that covers with 95 %
_MIN_SAMPLES = 6
# Independent samples narrow the interval by 29 % each time their number doubles. The interval's own width scatters
# by a third at ten samples, so three doublings are compared: with simulated independent samples of 3, 10 and 30 %
# deviation less than 3 % of the runs then stop early, with two doublings 15 %.
_LEAST_FALL_PER_DOUBLING = 0.10
_DOUBLINGS_COMPARED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyPolicy:
    """How long to measure.

    Parameters
    ----------
    precision : float
        Stop when the half-width of the median's interval is at most this share of the median: of every ratio to a
        baseline, or of the latency of what is timed without one.
    level : float
        Confidence level of that interval.
    min_time_s : float
        Sample at least this long, or until the cap: what disturbs a machine comes in bursts, and ten samples of a
        short step all fall into one, or between two, and look precise.
    min_samples : int
        Taken whatever happens: a step of which ten calls take longer than `time_cap_s` is still called so often.
    max_samples : int
        No more than these, but for those that are taken again because something disturbed them.
    time_cap_s : float
        Seconds of sampling after which no further sample is begun, once there are `min_samples`. Warm-up comes on
        top; who cannot wait for ten calls of a slow step needs a timeout around all of it.
    warmup_s : float
        Seconds of calls, at least one, between the first call and the first sample.
    min_block_s : float
        Least length of a block on the CPU; a clock that is slow to read makes it longer. Shorter ones would be
        over before the caches have forgotten the step that ran before.

    Raises
    ------
    UsageError
        If a number makes no sense.
    """

    precision: float = 0.02
    level: float = 0.95
    min_time_s: float = 0.2
    min_samples: int = 10
    max_samples: int = 2000
    time_cap_s: float = 1.0
    warmup_s: float = 0.1
    min_block_s: float = 4e-3

    def __post_init__(self) -> None:
        for name in ("precision", "level"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise UsageError(f"{name}: {value!r} is not a share between 0 and 1")
        for name in ("min_time_s", "time_cap_s", "warmup_s", "min_block_s"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise UsageError(f"{name}: {value!r} is not a number of seconds of at least 0")
        if self.min_samples < _MIN_SAMPLES:
            raise UsageError(f"min_samples: {self.min_samples!r} is not a whole number of at least {_MIN_SAMPLES}")
        if self.max_samples < self.min_samples:
            raise UsageError(f"max_samples: {self.max_samples!r} is below min_samples, {self.min_samples}")


class StopRule:
    """Says when there are enough samples; looks at them only when their number has doubled.

    So the analysis costs no more than the samples do, and few looks keep the chance of stopping on a lucky
    interval small. A cap makes it look once more: samples that are precise by then are called so.

    Parameters
    ----------
    policy : LatencyPolicy
        What counts as enough.
    allowance : int
        How many times over the policy's seconds may be spent.
    least : int
        Samples that are taken if that does not exceed `overtime` times the time cap.
    overtime : float
        See `least`.
    """

    def __init__(
        self, policy: LatencyPolicy, *, allowance: int = 1, least: int = 0, overtime: float = 1.0
    ) -> None:
        self._policy = policy
        self._allowance = allowance
        self._least = max(least, policy.min_samples)
        self._overtime = overtime
        self._next_look = self._least
        self._half_widths: list[float] = []

    def find_reason(self, count: int, elapsed_s: float, find_half_width: Callable[[], float]) -> str | None:
        """Say why to stop now, or None to go on.

        Parameters
        ----------
        count : int
            Samples so far.
        elapsed_s : float
            Seconds since the first of them began.
        find_half_width : callable
            Finds how far the interval reaches by now, as a share of what it is of: the widest, where there are
            several.

        Returns
        -------
        str or None
            ``precision``; ``noise_floor`` if over the last three doublings the interval became narrower by less
            than 10 % each, as it does when what disturbs the samples lasts longer than they do; ``time_cap`` or
            ``sample_cap``.
        """
        policy = self._policy
        overtime = self._overtime if count < self._least else 1.0
        cap = None
        if count >= policy.min_samples and elapsed_s >= overtime * self._allowance * policy.time_cap_s:
            cap = "time_cap"
        elif count >= max(policy.max_samples, self._least):
            cap = "sample_cap"
        if count < self._next_look and cap is None:
            return None
        self._next_look = 2 * count
        if cap is None and elapsed_s < self._allowance * policy.min_time_s:
            return None
        half_width = find_half_width()
        if half_width <= policy.precision:
            return "precision"
        self._half_widths.append(half_width)
        if cap is None and self._has_stopped_falling():
            return "noise_floor"
        return cap

    def _has_stopped_falling(self) -> bool:
        if len(self._half_widths) <= _DOUBLINGS_COMPARED:
            return False
        least = (1 - _LEAST_FALL_PER_DOUBLING) ** _DOUBLINGS_COMPARED
        return self._half_widths[-1] > least * self._half_widths[-1 - _DOUBLINGS_COMPARED]
