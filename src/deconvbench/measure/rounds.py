"""Interleaved rounds: the one way in which steps are timed, several together or one alone.

Every round visits all steps once, in a new random order, so that numbers of one round can be divided by each
other: what drifts meanwhile cancels. On the CPU a step has a block of calls in each round, on an accelerator one
call between two events of the device's own queue. Clock, steps and device are arguments. Nothing here builds a
layer or looks at its output; no sample is dropped: a block that was disturbed is taken again, and both are kept.
"""

import math
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

from deconvbench.measure.accelerator import Accelerator
from deconvbench.measure.blocks import NS, Clock, find_block_length, pause_collector, time_block, warm_up
from deconvbench.measure.filling import count_flushes, time_synchronized
from deconvbench.measure.latency import LatencyPolicy, StopRule
from deconvbench.statistics import relative_half_width

Step = Callable[[], object]
# receives the name of the step that is about to run for the first time, or an empty one within the rounds
Report = Callable[[str], object]
# receives the name of a step that raised, and what
Failure = Callable[[str, BaseException], object]

# the device is waited for at least once in so many samples
_SAMPLES_PER_BATCH = 10
# of one step; where more blocks are disturbed, their repeats would be too
_MOST_REPEATS = 10
_WAITING_SHARE = 0.9


class Watch(Protocol):
    """Says whether a block was disturbed; `deconvbench.measure.noise.BlockWatch` is the real one."""

    def begin(self) -> None:
        """Notice that a block begins."""

    def end(self, seconds: float) -> str:
        """Say what disturbed the block that took so long, in a few words; nothing if nothing did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming:
    """What the rounds gave of one step.

    Parameters
    ----------
    samples_s : tuple of float
        Seconds per call, all that were taken, in order.
    rounds_s : tuple of float
        Seconds per call, one for each round: where a sample was taken again, the later one.
    calls_per_sample : int
        Calls in a block (1 on an accelerator).
    repeated : tuple of (int, str)
        Indices of the samples that were disturbed, each with the reason; the next sample is the repetition.
    host_latency_s, launch_bound
        As in `records.record.Latency`; accelerators only.
    """

    samples_s: tuple[float, ...]
    rounds_s: tuple[float, ...]
    calls_per_sample: int
    repeated: tuple[tuple[int, str], ...] = ()
    host_latency_s: float | None = None
    launch_bound: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """What a number of rounds gave.

    Parameters
    ----------
    timings : dict of str to StepTiming
        By step; those that raised are not among them.
    stop_reason : str
        ``precision``, ``noise_floor``, ``time_cap`` or ``sample_cap``; empty where every step raised.
    """

    timings: dict[str, StepTiming]
    stop_reason: str

    @property
    def samples_s(self) -> dict[str, tuple[float, ...]]:
        """By step: seconds per call, one for each round."""
        return {name: timing.rounds_s for name, timing in self.timings.items()}


@dataclass(slots=True)
class _Track:
    """A step, and what was collected of it so far."""

    name: str
    step: Step
    calls: int = 1
    flushes: int = 1
    is_covered: bool = True
    samples_s: list[float] = field(default_factory=list)
    rounds_s: list[float] = field(default_factory=list)
    repeated: list[tuple[int, str]] = field(default_factory=list)
    host_s: list[float] = field(default_factory=list)

    def finish(self) -> StepTiming:
        if not self.host_s:
            host_latency_s, launch_bound = None, None
        else:
            host_latency_s = median(self.host_s)
            # a device that waits for the host takes as long as the host does, and a little more: to record an
            # event
            threshold = 1.0 if self.is_covered else _WAITING_SHARE
            launch_bound = host_latency_s > threshold * median(self.samples_s)
        return StepTiming(
            samples_s=tuple(self.samples_s),
            rounds_s=tuple(self.rounds_s),
            calls_per_sample=self.calls,
            repeated=tuple(self.repeated),
            host_latency_s=host_latency_s,
            launch_bound=launch_bound,
        )


def take_rounds(
    steps: Mapping[str, Step],
    baseline: str,
    policy: LatencyPolicy,
    *,
    accelerator: Accelerator[Any] | None = None,
    seed: int = 0,
    allowance: int = 1,
    least: int = 0,
    overtime: float = 1.0,
    unjudged: Collection[str] = (),
    watch: Watch | None = None,
    on_failure: Failure | None = None,
    report: Report = lambda _: None,
    clock: Clock = time.perf_counter_ns,
) -> Rounds:
    """Time steps, interleaved, until the ratios to one of them are precise.

    Each step is warmed up first. On the CPU the number of its calls in a block is doubled meanwhile until a block
    lasts `policy.min_block_s` and 1000 readings of the clock: what the step before it left in the caches wears off
    within a block. On an accelerator a sample is: flushes of the L2 cache, event, step, event. The flushes are as
    many as keep the device busy until the host has launched the whole step, so the device never waits for the host
    between the two events and a short step is not measured longer than it is; the device is waited for once a
    round, or once in ten samples. Where even 40 flushes are too short for a very slow host, its delays are part of
    the samples, and `launch_bound` says so. Python's garbage collector is off meanwhile.

    The median over blocks leaves rare stalls out, where `torch.utils.benchmark.Timer`, whose blocks are longer,
    averages them in and so can read a few per cent more on a busy machine.

    Parameters
    ----------
    steps : mapping of str to callable
        By name; what they return is freed at once. On an accelerator they only launch.
    baseline : str
        The step that all are compared with. Where it is the only one, is not among them, or raises, the steps are
        judged by how precise their own medians are.
    policy : LatencyPolicy
        How long to measure.
    accelerator : Accelerator, optional
        Where the steps run, if not on the CPU.
    seed : int
        Of the orders.
    allowance : int
        How many times over the policy's seconds are for all steps together.
    least : int
        Rounds that are taken if that does not exceed `overtime` times the time cap; `policy.min_samples` are taken
        whatever happens.
    overtime : float
        See `least`.
    unjudged : collection of str
        Steps that need not be precise.
    watch : Watch, optional
        Says which blocks were disturbed, on the CPU; each is taken again, once, in the same round, and at most ten
        of a step.
    on_failure : callable, optional
        Receives the name of each step that raises, and what; the others go on without it. By default the exception
        is passed on.
    report : callable
        Receives the name of each step before it is warmed up, and an empty one before each block or batch.
    clock : callable
        Nanoseconds on the host.

    Returns
    -------
    Rounds
        Every sample is the mean seconds per call over one block, or what the device took for one call.
    """
    shuffler = random.Random(seed)
    tracks = {name: _Track(name, step) for name, step in steps.items()}

    def drop(track: _Track, error: BaseException) -> None:
        if on_failure is None:
            raise error
        del tracks[track.name]
        on_failure(track.name, error)

    with pause_collector():
        timer: _BlockTimer | _EventTimer
        if accelerator is None:
            timer = _BlockTimer(policy, watch, report, clock)
        else:
            timer = _EventTimer(accelerator, report, clock)
        for track in list(tracks.values()):
            report(track.name)
            try:
                timer.warm(track, policy.warmup_s * allowance / len(steps))
            except BaseException as error:  # noqa: BLE001 -- the caller says what it means
                drop(track, error)
        rule = StopRule(policy, allowance=allowance, least=least, overtime=overtime)
        started, rounds, reason = clock(), 0, None
        while tracks and reason is None:
            order = list(tracks.values())
            shuffler.shuffle(order)
            timer.time_round(order, drop)
            rounds += 1
            reason = rule.find_reason(
                rounds, (clock() - started) * NS, lambda: _find_width(tracks, baseline, unjudged, policy.level)
            )
    # a step that raised may have been all that there was
    return Rounds(
        timings={name: track.finish() for name, track in tracks.items()},
        stop_reason=(reason or "") if tracks else "",
    )


def _find_width(tracks: Mapping[str, _Track], baseline: str, unjudged: Collection[str], level: float) -> float:
    """Find the relative half-width of the interval that is the widest."""
    samples_s = {name: track.rounds_s for name, track in tracks.items()}
    judged = [name for name in samples_s if name not in unjudged]
    if baseline in samples_s and len(samples_s) > 1:
        values = [divide_rounds(samples_s, baseline, name) for name in judged if name != baseline]
    else:
        values = [samples_s[name] for name in judged]
    return max((relative_half_width(found, level) if found else math.inf for found in values), default=0.0)


def divide_rounds(samples_s: Mapping[str, Sequence[float]], baseline: str, alternative: str) -> list[float]:
    """Divide the baseline's time by an alternative's, round by round: how many times faster it is.

    Parameters
    ----------
    samples_s : mapping of str to sequence of float
        As in `Rounds`.
    baseline, alternative : str
        Names in it.

    Returns
    -------
    list of float
        Above 1 where the alternative is faster. A round in which either took no time that the clock can tell is
        left out.
    """
    pairs = zip(samples_s[baseline], samples_s[alternative], strict=True)
    return [ours / theirs for ours, theirs in pairs if ours > 0 and theirs > 0]


def time_first_call(
    step: Step, accelerator: Accelerator[Any] | None = None, clock: Clock = time.perf_counter_ns
) -> float:
    """Time the very first call of a step, which pays for allocation and set-up; best with the collector paused.

    Parameters
    ----------
    step : callable
        Not run yet.
    accelerator : Accelerator, optional
        Where it runs, if not on the CPU; it is waited for.
    clock : callable
        Nanoseconds on the host.

    Returns
    -------
    float
        Seconds.
    """
    if accelerator is None:
        return time_block(step, 1, clock)
    accelerator.synchronize()
    return time_synchronized(step, accelerator, clock)


class _BlockTimer:
    """Times blocks of calls by the wall clock."""

    def __init__(self, policy: LatencyPolicy, watch: Watch | None, report: Report, clock: Clock) -> None:
        self._min_block_s = find_block_length(policy.min_block_s, clock)
        self._watch = watch
        self._report = report
        self._clock = clock

    def warm(self, track: _Track, warmup_s: float) -> None:
        track.calls = warm_up(track.step, warmup_s, self._min_block_s, self._clock)

    def time_round(self, order: Sequence[_Track], drop: Callable[[_Track, BaseException], None]) -> None:
        for track in order:
            self._report("")
            try:
                self._time(track)
            except BaseException as error:  # noqa: BLE001 -- the caller says what it means
                drop(track, error)

    def _time(self, track: _Track) -> None:
        clock, calls = self._clock, track.calls
        if self._watch is None:
            sample_s = time_block(track.step, calls, clock) / calls
        else:
            self._watch.begin()
            block_s = time_block(track.step, calls, clock)
            sample_s = block_s / calls
            reason = self._watch.end(block_s)
            if reason and len(track.repeated) < _MOST_REPEATS:
                track.repeated.append((len(track.samples_s), reason))
                track.samples_s.append(sample_s)
                sample_s = time_block(track.step, calls, clock) / calls
        track.samples_s.append(sample_s)
        track.rounds_s.append(sample_s)


class _EventTimer:
    """Times single calls by events in a device's queue."""

    def __init__(self, accelerator: Accelerator[Any], report: Report, clock: Clock) -> None:
        self._accelerator = accelerator
        self._report = report
        self._clock = clock
        self._pairs = [(accelerator.make_event(), accelerator.make_event()) for _ in range(_SAMPLES_PER_BATCH)]

    def warm(self, track: _Track, warmup_s: float) -> None:
        self._accelerator.synchronize()
        warm_s = 0.0
        while True:
            warm_s += time_synchronized(track.step, self._accelerator, self._clock)
            if warm_s >= warmup_s:
                break
        track.flushes, track.is_covered = count_flushes(track.step, self._accelerator, self._clock)

    def time_round(self, order: Sequence[_Track], drop: Callable[[_Track, BaseException], None]) -> None:
        for first in range(0, len(order), _SAMPLES_PER_BATCH):
            self._report("")
            self._time_batch(order[first : first + _SAMPLES_PER_BATCH], drop)

    def _time_batch(self, batch: Sequence[_Track], drop: Callable[[_Track, BaseException], None]) -> None:
        accelerator, clock = self._accelerator, self._clock
        launched: list[tuple[_Track, Any, Any]] = []
        for track, (start, end) in zip(batch, self._pairs, strict=False):
            for _ in range(track.flushes):
                accelerator.flush_l2()
            start.record()
            began = clock()
            try:
                track.step()
            except BaseException as error:  # noqa: BLE001 -- the caller says what it means
                drop(track, error)
                continue
            track.host_s.append((clock() - began) * NS)
            end.record()
            launched.append((track, start, end))
        accelerator.synchronize()
        for track, start, end in launched:
            sample_s = accelerator.elapsed_s(start, end)
            track.samples_s.append(sample_s)
            track.rounds_s.append(sample_s)
