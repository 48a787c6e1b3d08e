"""Latency of one step: how samples are taken, and when there are enough of them.

On the CPU a sample is the mean over a block of calls, long enough that reading the clock does not count; on an
accelerator it is one call between two events of the device's own queue. Clock, step and device are arguments.
Nothing here builds a layer, looks at its output or drops a sample.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from deconvbench.errors import UsageError
from deconvbench.measure.accelerator import Accelerator, E
from deconvbench.measure.blocks import NS, Clock, find_block_length, pause_collector, time_block, warm_up
from deconvbench.measure.noise import BlockWatch
from deconvbench.records.record import Latency
from deconvbench.statistics import relative_half_width

# five samples or fewer give the median no interval that covers with 95 %
_MIN_SAMPLES = 6
# Independent samples narrow the interval by 29 % each time their number doubles. The interval's own width scatters
# by a third at ten samples, so three doublings are compared: with simulated independent samples of 3, 10 and 30 %
# deviation less than 3 % of the runs then stop early, with two doublings 15 %.
_LEAST_FALL_PER_DOUBLING = 0.10
_DOUBLINGS_COMPARED = 3
_SAMPLES_PER_BATCH = 10
# of one case; where more blocks are disturbed, their repeats would be too
MOST_REPEATS = 10
_CALIBRATION_CALLS = 5
# the host is on time even when it takes this many times longer than in calibration
_FILLER_MARGIN = 1.5
# CUDA's launch queue takes 1024 entries and makes the host wait beyond; a batch stays below with 40 flushes a
# sample and steps of up to 60 kernels
_MAX_FLUSHES = 40
_WAITING_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyPolicy:
    """How long to measure.

    Parameters
    ----------
    precision : float
        Stop when the half-width of the median's interval is at most this share of the median.
    level : float
        Confidence level of that interval.
    min_time_s : float
        Sample at least this long, or until the cap: what disturbs a machine comes in bursts, and ten samples of a
        short step all fall into one, or between two, and look precise.
    min_samples : int
        Taken whatever happens: a step of which ten calls take longer than `time_cap_s` is still called so often.
    max_samples : int
        No more than these.
    time_cap_s : float
        Seconds of sampling after which no further sample is begun, once there are `min_samples`. Warm-up comes on
        top; who cannot wait for ten calls of a slow step needs a timeout around all of it.
    warmup_s : float
        Seconds of calls, at least one, between the first call and the first sample.
    min_block_s : float
        Least length of a block on the CPU; a clock that is slow to read makes it longer.

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
    min_block_s: float = 200e-6

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
    """

    def __init__(self, policy: LatencyPolicy) -> None:
        self._policy = policy
        self._next_look = policy.min_samples
        self._half_widths: list[float] = []

    def find_reason(self, samples_s: Sequence[float], elapsed_s: float, repeats: int = 0) -> str | None:
        """Say why to stop now, or None to go on.

        Parameters
        ----------
        samples_s : sequence of float
            All samples so far.
        elapsed_s : float
            Seconds since the first of them began.
        repeats : int
            How many of them were disturbed and taken again; these are no reason to stop earlier.

        Returns
        -------
        str or None
            ``precision``; ``noise_floor`` if over the last three doublings the interval became narrower by less
            than 10 % each, as it does when what disturbs the samples lasts longer than they do; ``time_cap`` or
            ``sample_cap``.
        """
        policy = self._policy
        count = len(samples_s) - repeats
        cap = None
        if count >= policy.min_samples and elapsed_s >= policy.time_cap_s:
            cap = "time_cap"
        elif len(samples_s) >= policy.max_samples:
            cap = "sample_cap"
        if count < self._next_look and cap is None:
            return None
        self._next_look = 2 * count
        if cap is None and elapsed_s < policy.min_time_s:
            return None
        half_width = relative_half_width(samples_s, policy.level)
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


def measure_cpu_latency(
    step: Callable[[], object],
    policy: LatencyPolicy,
    clock: Clock = time.perf_counter_ns,
    watch: BlockWatch | None = None,
) -> Latency:
    """Time a step on the CPU by the wall clock.

    The first call is timed by itself. Warm-up then doubles the number of calls in a block until a block lasts
    `min_block_s` and 1000 readings of the clock. Python's garbage collector is off meanwhile.

    The median over short blocks leaves rare stalls out, long blocks average them in. So
    `torch.utils.benchmark.Timer`, whose blocks last about 20 ms for short steps, can read a few per cent more on a
    busy machine; with blocks of one length the two agree.

    A block from which something took time, as far as `watch` can tell, is taken again, at most ten times and
    within the time cap. Both samples are kept.

    Parameters
    ----------
    step : callable
        Runs the step once; what it returns is freed at once.
    policy : LatencyPolicy
        How long to measure.
    clock : callable
        Nanoseconds.
    watch : BlockWatch, optional
        Tells which blocks were disturbed; by default none is.

    Returns
    -------
    Latency
        Each sample is the mean seconds per call over one block.
    """
    with pause_collector():
        first_call_s = time_block(step, 1, clock)
        min_block_s = find_block_length(policy.min_block_s, clock)
        calls = warm_up(step, policy.warmup_s, min_block_s, clock)
        rule = StopRule(policy)
        samples_s: list[float] = []
        repeated: list[tuple[int, str]] = []
        watch = watch or BlockWatch(sources=())
        started = clock()
        reason = None
        while reason is None:
            watch.begin()
            block_s = time_block(step, calls, clock)
            disturbance = watch.end(block_s)
            samples_s.append(block_s / calls)
            elapsed_s = (clock() - started) * NS
            may_repeat = len(samples_s) < policy.max_samples and elapsed_s < policy.time_cap_s
            if disturbance and may_repeat and len(repeated) < MOST_REPEATS:
                repeated.append((len(samples_s) - 1, disturbance))
                continue
            reason = rule.find_reason(samples_s, elapsed_s, len(repeated))
    return Latency(
        samples_s=tuple(samples_s),
        calls_per_sample=calls,
        first_call_s=first_call_s,
        stop_reason=reason,
        repeated=tuple(repeated),
    )


def measure_accelerator_latency(
    step: Callable[[], object],
    accelerator: Accelerator[E],
    policy: LatencyPolicy,
    clock: Clock = time.perf_counter_ns,
) -> Latency:
    """Time a step on an accelerator by events in its queue.

    A sample is: flushes of the L2 cache, event, step, event. The flushes are as many as keep the device busy
    until the host has launched the whole step, so the device never waits for the host between the two events and
    a short step is not measured longer than it is. The device is waited for once in ten samples. Where even 40
    flushes are too short for a very slow host, its delays are part of the samples, and `launch_bound` says so.

    Parameters
    ----------
    step : callable
        Launches the step once, without waiting for it.
    accelerator : Accelerator
        Where it runs.
    policy : LatencyPolicy
        How long to measure; `min_block_s` plays no part.
    clock : callable
        Nanoseconds on the host.

    Returns
    -------
    Latency
        Samples in seconds on the device; `host_latency_s` is the median time that the host takes to launch the
        step, and `launch_bound` whether that is more than the device takes to run it.
    """
    with pause_collector():
        accelerator.synchronize()
        first_call_s = _time_synchronized(step, accelerator, clock)
        warm_s = 0.0
        while True:
            warm_s += _time_synchronized(step, accelerator, clock)
            if warm_s >= policy.warmup_s:
                break
        flushes, suffice = _count_flushes(step, accelerator, clock)
        pairs = [(accelerator.make_event(), accelerator.make_event()) for _ in range(_SAMPLES_PER_BATCH)]
        rule = StopRule(policy)
        samples_s: list[float] = []
        host_s: list[float] = []
        started = clock()
        reason = None
        while reason is None:
            batch = pairs[: policy.max_samples - len(samples_s)]
            for start, end in batch:
                for _ in range(flushes):
                    accelerator.flush_l2()
                start.record()
                launched = clock()
                step()
                host_s.append((clock() - launched) * NS)
                end.record()
            accelerator.synchronize()
            samples_s.extend(accelerator.elapsed_s(start, end) for start, end in batch)
            reason = rule.find_reason(samples_s, (clock() - started) * NS)
    host_latency_s, device_latency_s = median(host_s), median(samples_s)
    # a device that waits for the host takes as long as the host does, and a little more: to record an event
    threshold = 1.0 if suffice else _WAITING_SHARE
    return Latency(
        samples_s=tuple(samples_s),
        calls_per_sample=1,
        first_call_s=first_call_s,
        stop_reason=reason,
        host_latency_s=host_latency_s,
        launch_bound=host_latency_s > threshold * device_latency_s,
    )


def _time_synchronized(step: Callable[[], object], accelerator: Accelerator[E], clock: Clock) -> float:
    started = clock()
    step()
    accelerator.synchronize()
    return (clock() - started) * NS


def _count_flushes(step: Callable[[], object], accelerator: Accelerator[E], clock: Clock) -> tuple[int, bool]:
    """Count the flushes that keep the device busy while the host launches the step and its two events.

    Also say whether they do: their number is limited.

    n flushes take the device n·f seconds and the host n·h to launch; the step reaches the queue in time if
    n·f ≥ n·h + the launch of the step. So n = launch / (f − h), and a margin.
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
    accelerator.synchronize()
    start.record()
    began = clock()
    for _ in range(_CALIBRATION_CALLS):
        accelerator.flush_l2()
    flush_launch_s = (clock() - began) * NS / _CALIBRATION_CALLS
    end.record()
    accelerator.synchronize()
    gain_s = accelerator.elapsed_s(start, end) / _CALIBRATION_CALLS - flush_launch_s
    needed = math.ceil(_FILLER_MARGIN * median(launches_s) / gain_s) if gain_s > 0 else _MAX_FLUSHES + 1
    return min(max(1, needed), _MAX_FLUSHES), needed <= _MAX_FLUSHES
