"""Interleaved timing, with simulated clocks and devices: what is sampled, in which order, until when."""

import gc
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.measure import rounds as rounds_module
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.rounds import Rounds, StepTiming, divide_rounds, take_rounds, time_first_call
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


class Host:
    """A clock that only its steps move; remembers who had the turn."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.turns: list[str] = []

    def clock(self) -> int:
        return self.now_ns

    def make_step(self, name: str, duration_ns: Callable[[], float]) -> Callable[[], None]:
        def step() -> None:
            self.turns.append(name)
            self.now_ns += round(duration_ns())

        return step


def make_policy(**changes: Any) -> LatencyPolicy:
    """Make a policy that may stop as soon as it is precise, so that each other rule shows by itself."""
    return LatencyPolicy(**{"min_time_s": 0.0, "min_block_s": 200e-6, **changes})


def make_rounds_policy(**changes: Any) -> LatencyPolicy:
    """Make a policy without a warm-up, so that every turn counts."""
    return LatencyPolicy(
        **{"min_time_s": 0.0, "warmup_s": 0.0, "time_cap_s": 10.0, "min_block_s": 2e-3, **changes}
    )


@pytest.fixture(autouse=True)
def no_real_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection of everything that pytest holds takes longer than a whole fake measurement."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


@dataclass(frozen=True)
class Alone:
    """What came of a step that was timed by itself."""

    rounds: Rounds

    @property
    def timing(self) -> StepTiming:
        return self.rounds.timings["step"]

    @property
    def samples_s(self) -> tuple[float, ...]:
        return self.timing.samples_s

    @property
    def stop_reason(self) -> str:
        return self.rounds.stop_reason


def time_alone(step: Callable[[], object], policy: LatencyPolicy, clock: Callable[[], int]) -> Alone:
    """Time one step, on the CPU."""
    return Alone(take_rounds({"step": step}, "step", policy, clock=clock))


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
    found = time_alone(host.step, make_policy(), host.clock)
    assert found.timing.calls_per_sample == calls
    assert calls * step_ns >= 1000 * reading_ns
    # what a sample has too much is the reading of the clock, under a thousandth
    assert found.samples_s == pytest.approx([step_ns * 1e-9] * 10, rel=1.001e-3)


def test_samples_begin_when_the_step_is_warm() -> None:
    host = FakeHost(itertools.chain(itertools.repeat(4 * MILLISECOND, 25), itertools.repeat(MILLISECOND)))
    found = time_alone(host.step, make_policy(warmup_s=0.1), host.clock)
    assert found.samples_s == pytest.approx([1e-3] * 10)
    assert host.calls == 25 + 10


def test_a_cold_start_does_not_fool_the_block_size() -> None:
    host = FakeHost(itertools.chain(itertools.repeat(MILLISECOND, 20), itertools.repeat(10 * MICROSECOND)))
    assert time_alone(host.step, make_policy(), host.clock).timing.calls_per_sample == 32


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
    found = time_alone(host.step, policy, host.clock)
    assert (found.stop_reason, len(found.samples_s)) == (reason, samples)
    assert found.timing.host_latency_s is None
    assert found.timing.launch_bound is None


def test_every_sample_is_kept_in_its_place() -> None:
    durations_ns = [MILLISECOND + index for index in range(10)]
    durations_ns[6] = 500 * MILLISECOND
    host = FakeHost([MILLISECOND, *durations_ns])
    found = time_alone(host.step, make_policy(warmup_s=0), host.clock)
    assert found.samples_s == pytest.approx([duration * 1e-9 for duration in durations_ns])


def record_looks(monkeypatch: pytest.MonkeyPatch, half_width: float) -> list[int]:
    looks: list[int] = []

    def look(samples: Sequence[float], level: float) -> float:
        looks.append(len(samples))
        return half_width / math.sqrt(len(samples))

    monkeypatch.setattr(rounds_module, "relative_half_width", look)
    return looks


def test_samples_are_looked_at_each_time_their_number_has_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = record_looks(monkeypatch, half_width=10.0)
    host = FakeHost(itertools.repeat(MILLISECOND))
    policy = make_policy(max_samples=1000, time_cap_s=100)
    assert time_alone(host.step, policy, host.clock).stop_reason == "sample_cap"
    assert looks == [10, 20, 40, 80, 160, 320, 640, 1000]


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
    found = time_alone(host.step, policy, host.clock)
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
            time_alone(step, make_policy(), device.clock)
        else:
            take(device, step)

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


def take(device: SimulatedDevice, step: Callable[[], object] | None = None, **policy: Any) -> Alone:
    """Time one step on a simulated device."""
    steps = {"step": step or device.step}
    return Alone(take_rounds(steps, "step", make_policy(**policy), accelerator=device, clock=device.clock))


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
    assert found.timing.host_latency_s == pytest.approx(launch_ns * 1e-9)
    assert found.timing.launch_bound is launch_bound
    assert found.timing.calls_per_sample == 1
    assert found.stop_reason == "precision"


def find_rounds(device: SimulatedDevice, samples: int) -> list[str]:
    """What the device did in its last samples, divided where it was waited for."""
    log = " ".join(device.log)
    parts = log.removesuffix(" synchronize").split(" synchronize ")
    found: list[str] = []
    while sum(part.count("step") for part in found) < samples:
        found.insert(0, parts.pop())
    return found


def test_the_cache_is_flushed_outside_the_events_and_a_round_is_waited_for_once() -> None:
    device = SimulatedDevice()
    steps = dict.fromkeys("abc", device.step)
    found = take_rounds(steps, "a", make_policy(), accelerator=device, clock=device.clock)
    assert {len(samples) for samples in found.samples_s.values()} == {10}
    rounds = find_rounds(device, 30)
    assert len(rounds) == 10
    for events in rounds:
        *before, after = events.split("record step record")
        assert after.strip() == ""
        assert len(before) == 3
        assert all(set(words.split()) == {"flush"} for words in before)


def test_the_device_is_waited_for_once_in_ten_samples_where_a_round_has_more() -> None:
    device = SimulatedDevice()
    steps = dict.fromkeys(map(str, range(24)), device.step)
    take_rounds(steps, "0", make_policy(), accelerator=device, clock=device.clock)
    assert [part.count("step") for part in find_rounds(device, 240)] == [10, 10, 4] * 10


def test_each_step_on_a_device_has_its_own_time_whatever_ran_before() -> None:
    device = SimulatedDevice()

    def make_step(step_ns: int, launch_ns: int) -> Callable[[], None]:
        def step() -> None:
            device.step_ns, device.step_launch_ns = step_ns, launch_ns
            device.step()

        return step

    steps = {
        "short": make_step(20_000, 200_000),
        "long": make_step(900_000, 20_000),
        "plain": make_step(60_000, 8_000),
    }
    found = take_rounds(steps, "plain", make_policy(), accelerator=device, clock=device.clock)
    samples_s = found.samples_s
    assert {name: median(values) for name, values in samples_s.items()} == pytest.approx(
        {"short": 20e-6, "long": 900e-6, "plain": 60e-6}
    )
    assert divide_rounds(samples_s, "plain", "long") == pytest.approx([60 / 900] * 10)
    assert {name: timing.launch_bound for name, timing in found.timings.items()} == {
        "short": True, "long": False, "plain": False,
    }  # fmt: skip


def test_a_device_faster_than_any_filler_is_told_to_be_launch_bound() -> None:
    # a flush is over before the next one is launched: the device waits for the host, and the samples show it
    device = SimulatedDevice(flush_ns=2 * MICROSECOND, step_launch_ns=200 * MICROSECOND, step_ns=20 * MICROSECOND)
    found = take(device)
    assert found.timing.launch_bound is True
    assert min(found.samples_s) > 100e-6
    assert device.log[-44:-4] == ["flush"] * 40


def test_a_device_slower_than_the_host_needs_no_filler() -> None:
    device = SimulatedDevice(flush_ns=2 * MICROSECOND, step_ns=900 * MICROSECOND)
    assert take(device).timing.launch_bound is False


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
    steps: dict[str, Callable[[], object]] = {"one": lambda: x @ x, "two": lambda: x @ x @ x}
    found = take_rounds(steps, "one", LatencyPolicy(time_cap_s=0.05), accelerator=TorchAccelerator("cuda"))
    for timing in found.timings.values():
        assert min(timing.samples_s) > 0
        assert timing.host_latency_s is not None
        assert timing.host_latency_s > 0


def test_precision_counts_only_after_the_least_time() -> None:
    """A burst that lasts longer than ten short samples must not be taken for a precise measurement."""
    burst = itertools.chain(itertools.repeat(3 * MILLISECOND, 60), itertools.repeat(2 * MILLISECOND))
    host = FakeHost(burst)
    found = time_alone(host.step, make_policy(warmup_s=0.01, min_time_s=0.2), host.clock)
    assert sum(found.samples_s) >= 0.2
    assert min(found.samples_s) == pytest.approx(2e-3)
    early = FakeHost(itertools.repeat(3 * MILLISECOND))
    assert len(time_alone(early.step, make_policy(), early.clock).samples_s) == 10


def test_the_cap_is_stronger_than_the_least_time() -> None:
    host = FakeHost(itertools.repeat(MILLISECOND))
    found = time_alone(host.step, make_policy(time_cap_s=0.05, min_time_s=0.2), host.clock)
    assert len(found.samples_s) <= 51


def drift(host: Host) -> Iterator[float]:
    """A machine that becomes slower all the time."""
    while True:
        yield 1 + host.now_ns / (300 * MILLISECOND)


def test_what_drifts_cancels_from_ratios() -> None:
    host = Host()
    slow = drift(host)
    steps = {
        "plain": host.make_step("plain", lambda: 6 * MILLISECOND * next(slow)),
        "fast": host.make_step("fast", lambda: 2 * MILLISECOND * next(slow)),
    }
    found = take_rounds(steps, "plain", make_rounds_policy(time_cap_s=0.3), clock=host.clock)
    plain = found.samples_s["plain"]
    assert plain[-1] > 1.5 * plain[0]
    assert median(divide_rounds(found.samples_s, "plain", "fast")) == pytest.approx(3, rel=0.03)


def test_each_round_visits_all_in_an_order_of_its_own_that_follows_from_the_seed() -> None:
    def run(seed: int) -> list[tuple[str, ...]]:
        host = Host()
        steps = {name: host.make_step(name, lambda: 3 * MILLISECOND) for name in "abcd"}
        found = take_rounds(steps, "a", make_rounds_policy(), seed=seed, clock=host.clock)
        assert {len(samples) for samples in found.samples_s.values()} == {10}
        turns = host.turns[4:]  # the first of each was its warm-up
        return [tuple(turns[i : i + 4]) for i in range(0, len(turns), 4)]

    first = run(1)
    assert all(sorted(visited) == list("abcd") for visited in first)
    assert len(set(first)) > 3
    assert first == run(1) != run(2)


def test_short_steps_are_called_in_blocks() -> None:
    host = Host()
    steps = {name: host.make_step(name, lambda: MILLISECOND / 4) for name in "ab"}
    found = take_rounds(steps, "a", make_rounds_policy(), clock=host.clock)
    assert set(found.samples_s["b"]) == {2.5e-4}
    assert len(host.turns) == 2 * (1 + 2 + 4 + 8) + 2 * 8 * 10


@pytest.mark.parametrize(
    ("settings", "rounds", "reason"),
    [
        ({}, 15, "precision"),
        ({"min_time_s": 0.3}, 60, "precision"),
        ({"wobble": 0.5, "time_cap_s": 0.4}, 64, "time_cap"),
        ({"wobble": 0.5, "max_samples": 40}, 40, "sample_cap"),
        ({"wobble": 0.5, "time_cap_s": 0.08}, 15, "time_cap"),
        ({"wobble": 0.5, "time_cap_s": 0.004}, 10, "time_cap"),
        ({"wobble": 0.5, "time_cap_s": 0.08, "unjudged": {"b"}}, 15, "precision"),
    ],
    ids=["precise", "not before its time", "time", "samples", "fifteen whatever happens", "ten", "nobody judged"],
)
def test_when_there_are_enough_rounds(settings: dict[str, Any], rounds: int, reason: str) -> None:
    policy = {name: value for name, value in settings.items() if name not in {"wobble", "unjudged"}}
    wobble: float = settings.get("wobble", 0.0)
    unjudged: set[str] = settings.get("unjudged", set())
    host = Host()
    state = [0]

    def wander() -> float:
        state[0] += 1
        return 3 * MILLISECOND * (1 + wobble * (state[0] % 2))

    steps = {"a": host.make_step("a", lambda: 3 * MILLISECOND), "b": host.make_step("b", wander)}
    found = take_rounds(
        steps, "a", make_rounds_policy(**policy), least=15, overtime=10, unjudged=unjudged, clock=host.clock
    )
    assert found.stop_reason == reason
    # a time cap falls where the steps happen to wander
    is_capped = reason == "time_cap" and rounds > 15
    assert len(found.samples_s["a"]) == pytest.approx(rounds, abs=10 if is_capped else 0)


def test_the_first_call_is_told_apart() -> None:
    host = FakeHost(itertools.chain([3 * SECOND], itertools.repeat(MILLISECOND)))
    assert time_first_call(host.step, clock=host.clock) == pytest.approx(3)
    assert host.calls == 1


def test_the_first_call_on_a_device_includes_its_work() -> None:
    device = SimulatedDevice(step_launch_ns=100, step_ns=10 * MILLISECOND, kernels=1)
    device.step()  # what was in the queue before is not its own
    device.log.clear()
    assert time_first_call(device.step, device, device.clock) == pytest.approx(10e-3, rel=1e-4)
    assert device.log == ["synchronize", "step", "synchronize"]


class FakeWatch:
    """Finds the blocks disturbed that it is told to."""

    def __init__(self, disturbed: Collection[int]) -> None:
        self._disturbed = disturbed
        self.blocks_s: list[float] = []
        self._has_begun = False

    def begin(self) -> None:
        assert not self._has_begun
        self._has_begun = True

    def end(self, seconds: float) -> str:
        assert self._has_begun
        self._has_begun = False
        self.blocks_s.append(seconds)
        return f"block {len(self.blocks_s) - 1}" if len(self.blocks_s) - 1 in self._disturbed else ""


def test_a_disturbed_block_is_taken_again_in_its_round_and_both_are_kept() -> None:
    host = Host()
    taken = {"a": 0, "b": 0}
    disturbed = {4, 7, 11}

    def make_duration(name: str) -> Callable[[], float]:
        def draw() -> float:
            taken[name] += 1
            return (3 if name == "a" else 6) * MILLISECOND * (5 if len(watch.blocks_s) in disturbed else 1)

        return draw

    watch = FakeWatch(disturbed)
    steps = {name: host.make_step(name, make_duration(name)) for name in "ab"}
    found = take_rounds(steps, "a", make_rounds_policy(), watch=watch, clock=host.clock)
    assert len(watch.blocks_s) == 20
    repeated = {name: timing.repeated for name, timing in found.timings.items()}
    assert sorted(reason for pairs in repeated.values() for _, reason in pairs) == [
        "block 11",
        "block 4",
        "block 7",
    ]
    for name, timing in found.timings.items():
        usual_s = 3e-3 if name == "a" else 6e-3
        assert timing.rounds_s == pytest.approx([usual_s] * 10)
        assert len(timing.samples_s) == 10 + len(timing.repeated)
        for index, _ in timing.repeated:
            assert timing.samples_s[index : index + 2] == pytest.approx((5 * usual_s, usual_s))
    assert divide_rounds(found.samples_s, "b", "a") == pytest.approx([2] * 10)


def test_where_all_is_disturbed_repeating_ends() -> None:
    host = Host()
    steps = {name: host.make_step(name, lambda: 3 * MILLISECOND) for name in "ab"}
    watch = FakeWatch(range(10**6))
    found = take_rounds(steps, "a", make_rounds_policy(min_time_s=0.2), watch=watch, clock=host.clock)
    for timing in found.timings.values():
        assert [index for index, _ in timing.repeated] == list(range(0, 20, 2))
        assert len(timing.samples_s) == len(timing.rounds_s) + 10 >= 30


@pytest.mark.parametrize("kind", ["cpu", "accelerator"])
@pytest.mark.parametrize("fails_at", [1, 9], ids=["warm-up", "rounds"])
@pytest.mark.parametrize("name", ["a", "b"], ids=["baseline", "other"])
def test_a_step_that_raises_is_left_out_and_the_others_go_on(kind: str, fails_at: int, name: str) -> None:
    device = SimulatedDevice(step_ns=4 * MILLISECOND)
    turns = {"a": 0, "b": 0, "c": 0}

    def make_step(own: str) -> Callable[[], None]:
        def step() -> None:
            turns[own] += 1
            device.step()
            device.now_ns += 4 * MILLISECOND
            if own == name and turns[own] == fails_at:
                raise MemoryError(own)

        return step

    failures: dict[str, BaseException] = {}
    found = take_rounds(
        {each: make_step(each) for each in "abc"},
        "a",
        make_policy(warmup_s=0.0),
        accelerator=device if kind == "accelerator" else None,
        on_failure=failures.__setitem__,
        clock=device.clock,
    )
    assert {each: str(error) for each, error in failures.items()} == {name: name}
    assert set(found.timings) == {"a", "b", "c"} - {name}
    assert {len(timing.rounds_s) for timing in found.timings.values()} == {10}
    assert found.stop_reason == "precision"


def test_where_every_step_raises_nothing_is_left() -> None:
    def fail() -> None:
        raise ValueError

    failures: dict[str, BaseException] = {}
    found = take_rounds({"a": fail, "b": fail}, "a", make_policy(), on_failure=failures.__setitem__)
    assert (found.timings, found.stop_reason, set(failures)) == ({}, "", {"a", "b"})
    with pytest.raises(ValueError):  # noqa: PT011 -- it has no words
        take_rounds({"a": fail}, "a", make_policy())


def test_seconds_are_for_each_step_where_that_is_allowed() -> None:
    host = Host()
    state = itertools.cycle([1, 1.5])
    steps = {name: host.make_step(name, lambda: 3 * MILLISECOND * next(state)) for name in "abcde"}
    found = take_rounds(steps, "a", make_rounds_policy(time_cap_s=0.2), allowance=5, clock=host.clock)
    assert found.stop_reason == "time_cap"
    assert sum(map(sum, found.samples_s.values())) == pytest.approx(1.0, abs=0.03)


def test_what_is_next_is_reported_by_name_once_and_then_that_it_goes_on() -> None:
    host = Host()
    said: list[str] = []
    steps = {name: host.make_step(name, lambda: 3 * MILLISECOND) for name in "ab"}
    take_rounds(steps, "a", make_rounds_policy(), report=said.append, clock=host.clock)
    assert said == ["a", "b", *[""] * 20]
