"""Interleaved timing: with a simulated clock what is decided, on tiny layers what is filled in."""

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import pytest
from torch import Tensor, nn

from deconvbench.errors import UnsupportedError, UsageError
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.speedup import (
    FEWEST_ROUNDS,
    MIN_ROUNDS,
    divide_rounds,
    measure_speedup,
    take_rounds,
)
from deconvbench.records.record import SpeedupRecord, decode_record, encode_record
from deconvbench.upsamplers import register_upsampler, registry
from tests.builders import make_case

MILLISECOND = 1_000_000


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
    return LatencyPolicy(**{"min_time_s": 0.0, "warmup_s": 0.0, "time_cap_s": 10.0, **changes})


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
    found = take_rounds(steps, "plain", make_policy(time_cap_s=0.3), clock=host.clock)
    plain = found.samples_s["plain"]
    assert plain[-1] > 1.5 * plain[0]
    assert median(divide_rounds(found.samples_s, "plain", "fast")) == pytest.approx(3, rel=0.03)


def test_each_round_visits_all_in_an_order_of_its_own_that_follows_from_the_seed() -> None:
    def run(seed: int) -> list[tuple[str, ...]]:
        host = Host()
        steps = {name: host.make_step(name, lambda: 3 * MILLISECOND) for name in "abcd"}
        found = take_rounds(steps, "a", make_policy(), seed=seed, clock=host.clock)
        assert {len(samples) for samples in found.samples_s.values()} == {MIN_ROUNDS}
        turns = host.turns[4:]  # the first of each was its warm-up
        return [tuple(turns[i : i + 4]) for i in range(0, len(turns), 4)]

    first = run(1)
    assert all(sorted(visited) == list("abcd") for visited in first)
    assert len(set(first)) > 3
    assert first == run(1) != run(2)


def test_short_steps_are_called_in_blocks() -> None:
    host = Host()
    steps = {name: host.make_step(name, lambda: MILLISECOND / 4) for name in "ab"}
    found = take_rounds(steps, "a", make_policy(), clock=host.clock)
    assert set(found.samples_s["b"]) == {2.5e-4}
    assert len(host.turns) == 2 * (1 + 2 + 4 + 8) + 2 * 8 * MIN_ROUNDS


@pytest.mark.parametrize(
    ("settings", "rounds", "reason"),
    [
        ({}, 15, "precision"),
        ({"min_time_s": 0.3}, 60, "precision"),
        ({"wobble": 0.5, "time_cap_s": 0.4}, 64, "time_cap"),
        ({"wobble": 0.5, "max_samples": 40}, 40, "sample_cap"),
        ({"wobble": 0.5, "time_cap_s": 0.08}, 15, "time_cap"),
        ({"wobble": 0.5, "time_cap_s": 0.004}, FEWEST_ROUNDS, "time_cap"),
        ({"wobble": 0.5, "time_cap_s": 0.08, "unjudged": {"b"}}, 15, "precision"),
    ],
    ids=["precise", "not before its time", "time", "samples", "fifteen whatever happens", "nine", "nobody judged"],
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
    found = take_rounds(steps, "a", make_policy(**policy), unjudged=unjudged, clock=host.clock)
    assert found.stop_reason == reason
    # a time cap falls where the steps happen to wander
    is_capped = reason == "time_cap" and rounds > MIN_ROUNDS
    assert len(found.samples_s["a"]) == pytest.approx(rounds, abs=10 if is_capped else 0)


CASE = make_case(in_channels=8, out_channels=4, height=4, width=6)


def make_job(**changes: Any) -> SpeedupRecord:
    case = changes.pop("case", CASE)
    ids = {name: case.case_id.replace("nearest_conv-", f"{name}-") for name in registry.list_upsamplers()}
    values: dict[str, Any] = {
        "case": case,
        "twins": tuple(ids[name] for name in changes.pop("twins", ("nearest_conv_fast", "nearest_conv_minimal"))),
        "rivals": tuple(ids[name] for name in changes.pop("rivals", ("transposed",))),
        "is_frozen": False,
        "replicate": 0,
        "seed": 5,
        "status": "error",
        "message": "not measured",
    }
    return SpeedupRecord(**{**values, **changes})


def finish(job: SpeedupRecord, **settings: Any) -> SpeedupRecord:
    return list(measure_speedup(job, LatencyPolicy(time_cap_s=0.0, warmup_s=0.0, min_time_s=0.0), **settings))[-1]


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize(("step", "is_frozen"), [("forward", False), ("forward", True), ("train", False)])
def test_a_setting_is_filled_in(memory_format: str, step: str, is_frozen: bool) -> None:
    case = make_case(in_channels=8, out_channels=4, height=4, width=6, step=step, memory_format=memory_format)
    job = make_job(case=case, is_frozen=is_frozen)
    done = finish(job)
    names = {case.case_id, *job.twins, *job.rivals}
    assert (done.status, done.message, done.key) == ("ok", "", job.key)
    assert set(done.samples_s) == set(done.peak_memory_bytes) == names
    rounds = len(done.ceiling_flops_per_s)
    assert {len(samples) for samples in done.samples_s.values()} == {rounds}
    assert rounds >= FEWEST_ROUNDS
    assert set(done.macs) == (names if step == "forward" else set())
    assert list(done.implementations) == [job.twins[0]]
    assert done.measuring_s > 0
    assert decode_record(encode_record(done), "here") == done


def test_macs_are_those_of_the_layer_as_it_runs() -> None:
    job = make_job(is_frozen=True, twins=("nearest_conv_transposed",))
    done = finish(job, measures_memory=False)
    assert done.macs[CASE.case_id] == 9 * 8 * 4 * 8 * 12
    assert done.macs[job.twins[0]] == 4 * 8 * 4 * 8 * 12
    live = finish(make_job(twins=("nearest_conv_transposed",)), measures_memory=False)
    assert live.macs[job.twins[0]] > done.macs[job.twins[0]]
    assert done.peak_memory_bytes == {}


def test_memory_is_measured_in_the_first_replicate() -> None:
    assert finish(make_job(replicate=1)).peak_memory_bytes == {}


class _Wrong(nn.Module):
    """Looks like a resize-convolution and computes something else, or learns something else."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=1)
        self.scale_factor = scale_factor

    def upsample(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(x, scale_factor=self.scale_factor)


class _Off(_Wrong):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.upsample(x))
        return y + 1e-3 * y.detach().abs().max()


class _Stops(_Wrong):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.upsample(x))
        return y + (x.sum() - x.sum().detach())


class _Deaf(_Wrong):
    def forward(self, x: Tensor) -> Tensor:
        large = self.upsample(x)
        y: Tensor = self.conv(large.detach())
        # the right value and gradient of the input, and half of the weight's
        return 0.5 * (y - y.detach()) + nn.functional.conv2d(
            large, self.conv.weight.detach(), self.conv.bias, padding=1
        )


class _Scaled(_Wrong):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.upsample(x))
        return y * (1 + 1e-3)


class _Larger(_Wrong):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__(in_channels, out_channels, 5, scale_factor)

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize(
    ("layer", "step", "message"),
    [
        (_Off, "forward", "its output differs by"),
        (_Scaled, "forward", "its output differs by 1.0e-03 of the largest value, more than 1e-05"),
        (_Stops, "train", "its gradient of the input differs by"),
        (_Deaf, "train", "its gradient of a parameter differs by"),
        (
            _Larger,
            "forward",
            r"has parameters of shapes \(4, 8, 5, 5\), \(4,\); those of the baseline are \(4, 8, 3, 3\)",
        ),
    ],
    ids=["output", "scale", "input", "weight", "shape"],
)
def test_a_wrong_equivalent_is_an_error_and_never_fast(layer: type[nn.Module], step: str, message: str) -> None:
    register_upsampler("wrong")(layer)
    case = make_case(in_channels=8, out_channels=4, step=step)
    steps = measure_speedup(make_job(case=case, twins=("wrong",)), make_policy())
    with pytest.raises(UsageError, match=message):
        list(steps)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"case": make_case(device="cuda")}, "on the cpu and eager only, not cuda and eager"),
        ({"case": make_case(execution="compile")}, "not cpu and compile"),
        ({"case": make_case(step="train"), "is_frozen": True}, "a frozen layer keeps its weight"),
        (
            {"case": make_case(kernel_size=5), "twins": ("nearest_conv_tiled",)},
            "kernel_size 3 and scale_factor 2 only",
        ),
    ],
    ids=["device", "execution", "frozen training", "layer"],
)
def test_what_cannot_be_timed_interleaved_is_unsupported(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        finish(make_job(**changes))
