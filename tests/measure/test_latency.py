import gc
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.measure import latency as latency_module
from deconvbench.measure.latency import (
    LatencyPolicy,
    StopRule,
    measure_accelerator_latency,
    measure_cpu_latency,
)
from deconvbench.measure.noise import BlockWatch
from tests.measure.simulated_device import SimulatedDevice

MICROSECOND, MILLISECOND, SECOND = 1_000, 1_000_000, 1_000_000_000


class FakeHost:
    """A clock that only moves when it is read or when its step runs."""

    def __init__(self, durations_ns: Iterable[int], reading_ns: int = 0) -> None:
        self._durations_ns = iter(durations_ns)
        self._reading_ns = reading_ns
        self.now_ns = 0
        self.calls = 0

    def clock(self) -> int:
        self.now_ns += self._reading_ns
        return self.now_ns

    def step(self) -> None:
        self.calls += 1
        self.now_ns += next(self._durations_ns)


def make_policy(**changes: Any) -> LatencyPolicy:
    """Make a policy that may stop as soon as it is precise, so that each other rule shows by itself."""
    return LatencyPolicy(**{"min_time_s": 0.0, **changes})


@pytest.fixture(autouse=True)
def no_real_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection of everything that pytest holds takes longer than a whole fake measurement."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


class ScriptedWatch(BlockWatch):
    """Finds the blocks of given numbers disturbed."""

    def __init__(self, disturbed: Collection[int]) -> None:
        super().__init__(sources=())
        self._disturbed = disturbed
        self.blocks = 0

    def end(self, seconds: float) -> str:
        self.blocks += 1
        return f"block {self.blocks - 1} was robbed" if self.blocks - 1 in self._disturbed else ""


def never_settling() -> Iterable[int]:
    """Two values in turn, far apart: their interval stays as wide as it is, whatever the number of samples."""
    return itertools.cycle([2 * MILLISECOND, 3 * MILLISECOND])


@pytest.mark.parametrize(
    ("step_ns", "reading_ns", "calls"),
    [
        (10 * MICROSECOND, 0, 32),
        (100 * MICROSECOND, 0, 2),
        (MILLISECOND, 0, 1),
        # reading the clock takes 1 us, so a block takes at least 1 ms
        (10 * MICROSECOND, MICROSECOND, 128),
        (MILLISECOND, MICROSECOND, 1),
    ],
    ids=["10us", "100us", "1ms", "10us-slow-clock", "1ms-slow-clock"],
)
def test_blocks_are_long_enough_for_the_clock(step_ns: int, reading_ns: int, calls: int) -> None:
    host = FakeHost(itertools.repeat(step_ns), reading_ns)
    found = measure_cpu_latency(host.step, make_policy(), host.clock)
    assert found.calls_per_sample == calls
    assert calls * step_ns >= 1000 * reading_ns
    # what a sample has too much is the reading of the clock, under a thousandth
    assert found.samples_s == pytest.approx([step_ns * 1e-9] * 10, rel=1.001e-3)


def test_a_disturbed_block_is_taken_again_and_kept() -> None:
    host = FakeHost(itertools.repeat(MILLISECOND))
    found = measure_cpu_latency(host.step, make_policy(), host.clock, ScriptedWatch({2, 5, 6}))
    # ten that nothing disturbed, and three more
    assert len(found.samples_s) == 13
    assert found.repeated == ((2, "block 2 was robbed"), (5, "block 5 was robbed"), (6, "block 6 was robbed"))
    assert found.stop_reason == "precision"


@pytest.mark.parametrize(
    ("changes", "samples", "repeats"),
    [
        ({}, 20, 10),
        ({"time_cap_s": 0.004}, 13, 3),
        ({"max_samples": 12}, 12, 10),
    ],
    ids=["ten at most", "within the time cap", "within the cap on samples"],
)
def test_where_all_is_disturbed_repeating_ends(changes: dict[str, Any], samples: int, repeats: int) -> None:
    host = FakeHost(itertools.repeat(MILLISECOND))
    watch = ScriptedWatch(range(10**6))
    found = measure_cpu_latency(host.step, make_policy(**changes), host.clock, watch)
    assert (len(found.samples_s), len(found.repeated)) == (samples, repeats)
    # the last was taken, not one that would have been repeated
    assert max(index for index, _ in found.repeated) < samples - 1


def test_the_first_call_is_told_apart() -> None:
    host = FakeHost(itertools.chain([3 * SECOND], itertools.repeat(MILLISECOND)))
    found = measure_cpu_latency(host.step, make_policy(), host.clock)
    assert found.first_call_s == pytest.approx(3)
    assert max(found.samples_s) == pytest.approx(1e-3)


def test_samples_begin_when_the_step_is_warm() -> None:
    host = FakeHost(itertools.chain(itertools.repeat(4 * MILLISECOND, 26), itertools.repeat(MILLISECOND)))
    found = measure_cpu_latency(host.step, make_policy(warmup_s=0.1), host.clock)
    assert found.samples_s == pytest.approx([1e-3] * 10)
    assert host.calls == 1 + 25 + 10


def test_a_cold_start_does_not_fool_the_block_size() -> None:
    host = FakeHost(itertools.chain(itertools.repeat(MILLISECOND, 20), itertools.repeat(10 * MICROSECOND)))
    assert measure_cpu_latency(host.step, make_policy(), host.clock).calls_per_sample == 32


@pytest.mark.parametrize(
    ("durations_ns", "policy", "reason", "samples"),
    [
        (itertools.repeat(MILLISECOND), make_policy(), "precision", 10),
        (never_settling(), make_policy(time_cap_s=100), "noise_floor", 80),
        (never_settling(), make_policy(time_cap_s=0.06), "time_cap", 24),
        (never_settling(), make_policy(max_samples=33), "sample_cap", 33),
        # ten calls of a slow step, although one of them takes longer than the cap
        (itertools.cycle([2 * SECOND, 3 * SECOND]), make_policy(time_cap_s=1), "time_cap", 10),
        (itertools.repeat(2 * SECOND), make_policy(time_cap_s=1), "precision", 10),
    ],
    ids=["steady", "never-settling", "time-cap", "sample-cap", "slow-unsteady", "slow-steady"],
)
def test_reasons_to_stop(durations_ns: Iterable[int], policy: LatencyPolicy, reason: str, samples: int) -> None:
    host = FakeHost(durations_ns)
    found = measure_cpu_latency(host.step, policy, host.clock)
    assert (found.stop_reason, len(found.samples_s)) == (reason, samples)
    assert found.host_latency_s is None
    assert found.launch_bound is None


def test_every_sample_is_kept_in_its_place() -> None:
    durations_ns = [MILLISECOND + index for index in range(10)]
    durations_ns[6] = 500 * MILLISECOND
    host = FakeHost([MILLISECOND, MILLISECOND, *durations_ns])
    found = measure_cpu_latency(host.step, make_policy(warmup_s=0), host.clock)
    assert found.samples_s == pytest.approx([duration * 1e-9 for duration in durations_ns])


def record_looks(monkeypatch: pytest.MonkeyPatch, half_width: float) -> list[int]:
    looks: list[int] = []

    def look(samples: Sequence[float], level: float) -> float:
        looks.append(len(samples))
        return half_width / math.sqrt(len(samples))

    monkeypatch.setattr(latency_module, "relative_half_width", look)
    return looks


def test_samples_are_looked_at_each_time_their_number_has_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = record_looks(monkeypatch, half_width=10.0)
    host = FakeHost(itertools.repeat(MILLISECOND))
    policy = make_policy(max_samples=1000, time_cap_s=100)
    assert measure_cpu_latency(host.step, policy, host.clock).stop_reason == "sample_cap"
    assert looks == [10, 20, 40, 80, 160, 320, 640, 1000]


def test_a_cap_looks_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = record_looks(monkeypatch, half_width=0.02 * math.sqrt(15))
    rule = StopRule(make_policy(time_cap_s=1))
    assert rule.find_reason([1.0] * 10, 0.5) is None
    assert rule.find_reason([1.0] * 15, 0.9) is None
    assert rule.find_reason([1.0] * 15, 1.0) == "precision"
    assert looks == [10, 15]


def test_falling_noise_is_no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = iter([0.50, 0.49, 0.48, 0.36, 0.35, 0.34, 0.33])
    monkeypatch.setattr(latency_module, "relative_half_width", lambda samples, level: next(widths))
    rule = StopRule(make_policy())
    # .36 is .72 of .50, .35 is .71 of .49, .34 is .71 of .48: below .9³ = .729 each; .33 is .92 of .36
    reasons = [rule.find_reason([1.0] * (10 * 2**doubling), 0) for doubling in range(7)]
    assert reasons == [None] * 6 + ["noise_floor"]


@settings(deadline=None, max_examples=50)
@given(
    durations_ns=st.lists(st.integers(MILLISECOND, SECOND), min_size=1, max_size=30),
    min_samples=st.integers(6, 40),
    more=st.integers(0, 60),
    time_cap_s=st.floats(0, 5),
)
def test_the_number_of_samples_stays_within_its_limits(
    durations_ns: list[int], min_samples: int, more: int, time_cap_s: float
) -> None:
    policy = make_policy(
        min_samples=min_samples, max_samples=min_samples + more, time_cap_s=time_cap_s, warmup_s=0
    )
    host = FakeHost(itertools.cycle(durations_ns))
    found = measure_cpu_latency(host.step, policy, host.clock)
    assert min_samples <= len(found.samples_s) <= min_samples + more
    # no sample is begun after the cap, but for those that are always taken
    assert sum(found.samples_s[:-1]) < time_cap_s or len(found.samples_s) == min_samples


@pytest.mark.parametrize("was_enabled", [True, False], ids=["enabled", "disabled"])
@pytest.mark.parametrize("fails_at", [None, 1, 5], ids=["ends-well", "fails-at-once", "fails-later"])
@pytest.mark.parametrize("kind", ["cpu", "accelerator"])
def test_the_garbage_collector_rests_meanwhile(kind: str, fails_at: int | None, was_enabled: bool) -> None:
    states: list[bool] = []
    device = SimulatedDevice()

    def step() -> None:
        states.append(gc.isenabled())
        device.now_ns += MILLISECOND
        if len(states) == fails_at:
            raise MemoryError

    def measure() -> None:
        if kind == "cpu":
            measure_cpu_latency(step, make_policy(), device.clock)
        else:
            measure_accelerator_latency(step, device, make_policy(), device.clock)

    before = gc.isenabled()
    try:
        (gc.enable if was_enabled else gc.disable)()
        if fails_at is None:
            measure()
        else:
            with pytest.raises(MemoryError):
                measure()
        assert gc.isenabled() is was_enabled
    finally:
        (gc.enable if before else gc.disable)()
    assert states
    assert not any(states)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": 0}, "precision: 0 "),
        ({"level": 1.0}, "level: 1.0 "),
        ({"time_cap_s": -1}, "time_cap_s: -1 "),
        ({"warmup_s": math.inf}, "warmup_s: inf "),
        ({"min_block_s": math.nan}, "min_block_s: nan "),
        ({"min_samples": 5}, "min_samples: 5 .* at least 6"),
        ({"max_samples": 9}, "max_samples: 9 is below min_samples, 10"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_policy_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LatencyPolicy(**changes)


def take(device: SimulatedDevice, step: Callable[[], object] | None = None, **policy: Any) -> Any:
    return measure_accelerator_latency(step or device.step, device, make_policy(**policy), device.clock)


@pytest.mark.parametrize(
    ("launch_ns", "step_ns", "launch_bound"),
    [
        (20 * MICROSECOND, 400 * MICROSECOND, False),
        (200 * MICROSECOND, 20 * MICROSECOND, True),
        (2 * MILLISECOND, 40 * MICROSECOND, True),
    ],
    ids=["device-slower", "host-slower", "host-much-slower"],
)
def test_device_and_host_are_timed_side_by_side(launch_ns: int, step_ns: int, launch_bound: bool) -> None:
    device = SimulatedDevice(step_launch_ns=launch_ns, step_ns=step_ns)
    found = take(device)
    # exactly the device's own time: the queue never ran dry between two events, however slow the host
    assert found.samples_s == pytest.approx([step_ns * 1e-9] * 10)
    assert found.host_latency_s == pytest.approx(launch_ns * 1e-9)
    assert found.launch_bound is launch_bound
    assert found.calls_per_sample == 1
    assert found.stop_reason == "precision"


def test_the_cache_is_flushed_outside_the_events_and_samples_do_not_wait() -> None:
    device = SimulatedDevice()
    found = take(device, max_samples=30, precision=1e-9)
    assert len(found.samples_s) == 10
    *_, sampling = " ".join(device.log).removesuffix(" synchronize").rpartition("synchronize ")
    samples = sampling.split("record step record")
    assert len(samples) == 11
    assert samples.pop() == ""
    for before in samples:
        assert set(before.split()) == {"flush"}


def test_the_device_is_waited_for_once_in_ten_samples() -> None:
    device = SimulatedDevice()

    def step() -> None:
        device.step_ns = 100_000 if device.step_ns == 50_000 else 50_000
        device.step()

    found = take(device, step, max_samples=35)
    assert (found.stop_reason, len(found.samples_s)) == ("sample_cap", 35)
    first_sample = len(device.log) - 1 - device.log[::-1].index("step")
    for _ in range(34):
        first_sample = len(device.log[:first_sample]) - 1 - device.log[:first_sample][::-1].index("step")
    assert device.log[first_sample:].count("synchronize") == 4


def test_a_device_faster_than_any_filler_is_told_to_be_launch_bound() -> None:
    # a flush is over before the next one is launched: the device waits for the host, and the samples show it
    device = SimulatedDevice(flush_ns=2 * MICROSECOND, step_launch_ns=200 * MICROSECOND, step_ns=20 * MICROSECOND)
    found = take(device)
    assert found.launch_bound is True
    assert min(found.samples_s) > 100e-6
    assert device.log[-44:-4] == ["flush"] * 40


def test_a_device_slower_than_the_host_needs_no_filler() -> None:
    device = SimulatedDevice(flush_ns=2 * MICROSECOND, step_ns=900 * MICROSECOND)
    assert take(device).launch_bound is False


def test_the_first_call_on_a_device_includes_its_work() -> None:
    device = SimulatedDevice(step_launch_ns=100, step_ns=10 * MILLISECOND, kernels=1)
    assert take(device).first_call_s == pytest.approx(10e-3, rel=1e-4)


@pytest.mark.parametrize("fails_at", [1, 4, 12, 20], ids=["first", "warm-up", "calibration", "sampling"])
def test_running_out_of_memory_reaches_the_caller(fails_at: int) -> None:
    device = SimulatedDevice(step_ns=20 * MILLISECOND)

    def step() -> None:
        device.step()
        if device.log.count("step") == fails_at:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        take(device, step)


@pytest.mark.cuda
def test_a_real_device_is_timed() -> None:
    from deconvbench.measure.accelerator import TorchAccelerator

    x = torch.randn(256, 256, device="cuda")
    found = measure_accelerator_latency(lambda: x @ x, TorchAccelerator("cuda"), LatencyPolicy(time_cap_s=0.05))
    assert min(found.samples_s) > 0
    assert found.host_latency_s is not None
    assert found.host_latency_s > 0


def test_precision_counts_only_after_the_least_time() -> None:
    """A burst that lasts longer than ten short samples must not be taken for a precise measurement."""
    burst = itertools.chain(itertools.repeat(3 * MILLISECOND, 60), itertools.repeat(2 * MILLISECOND))
    host = FakeHost(burst)
    found = measure_cpu_latency(host.step, LatencyPolicy(warmup_s=0.01, min_time_s=0.2), host.clock)
    assert sum(found.samples_s) >= 0.2
    assert min(found.samples_s) == pytest.approx(2e-3)
    early = FakeHost(itertools.repeat(3 * MILLISECOND))
    assert len(measure_cpu_latency(early.step, make_policy(), early.clock).samples_s) == 10


def test_the_cap_is_stronger_than_the_least_time() -> None:
    host = FakeHost(itertools.repeat(MILLISECOND))
    found = measure_cpu_latency(host.step, LatencyPolicy(time_cap_s=0.05, min_time_s=0.2), host.clock)
    assert len(found.samples_s) <= 51
