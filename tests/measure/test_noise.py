import os
from pathlib import Path

import pytest

from deconvbench.measure import noise
from deconvbench.measure.noise import NoiseState, explain_noise, read_noise_state
from deconvbench.records.record import Latency

QUIET = NoiseState(load_average=0.5, stolen_s=10.0, throttled_s=1.0)


def make_latency(*samples_s: float) -> Latency:
    return Latency(samples_s=samples_s, calls_per_sample=1, first_call_s=1.0, stop_reason="precision")


STEADY = make_latency(*[1.0, 1.01, 0.99, 1.0] * 3)


def test_a_quiet_pass_has_no_reason() -> None:
    assert explain_noise(QUIET, QUIET, 10.0, STEADY, cores=2) == ""


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (NoiseState(load_average=0.5, stolen_s=11.0, throttled_s=1.0), "10% of the time stolen by the hypervisor"),
        (NoiseState(load_average=0.5, stolen_s=10.0, throttled_s=1.5), "5% of the time lost to the CPU quota"),
        (NoiseState(load_average=4.2, stolen_s=10.0, throttled_s=1.0), "load 4.2 on 2 cores"),
    ],
    ids=["stolen", "throttled", "load"],
)
def test_disturbances_are_told_in_numbers(after: NoiseState, reason: str) -> None:
    assert explain_noise(QUIET, after, 10.0, STEADY, cores=2) == reason


@pytest.mark.parametrize(
    ("first", "reason"),
    [(1.35, "first sample 35% slower"), (1.19, ""), (0.5, "")],
    ids=["slow", "within what is usual", "fast"],
)
def test_a_slow_first_sample_is_told(first: float, reason: str) -> None:
    latency = make_latency(first, *STEADY.samples_s)
    assert explain_noise(QUIET, QUIET, 10.0, latency, cores=2) == reason


@pytest.mark.parametrize("samples_s", [(1.0,), (1.0, 0.0, 0.0)], ids=["one sample", "a clock that stands still"])
def test_too_little_to_tell_a_slow_start(samples_s: tuple[float, ...]) -> None:
    assert "first sample" not in explain_noise(QUIET, QUIET, 10.0, make_latency(*samples_s), cores=2)


def test_a_slow_start_joins_the_other_reasons() -> None:
    after = NoiseState(load_average=9.0, stolen_s=11.0, throttled_s=None)
    latency = make_latency(2.0, *STEADY.samples_s)
    reasons = explain_noise(QUIET, after, 10.0, latency, cores=2).split("; ")
    expected = ["10% of the time stolen by the hypervisor", "first sample 100% slower", "load 9.0 on 2 cores"]
    assert reasons == expected


def test_wide_samples_are_told_and_reasons_add_up() -> None:
    latency = make_latency(1.0, 2.0, 3.0, 4.0, 5.0)
    after = NoiseState(load_average=9.0, stolen_s=None, throttled_s=None)
    first, second = explain_noise(QUIET, after, 10.0, latency, cores=2).split("; ")
    assert first.startswith("samples spread by ")
    assert second == "load 9.0 on 2 cores"


def test_what_the_system_does_not_tell_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_STAT", tmp_path / "stat")
    monkeypatch.setattr(noise, "_CPU_STAT", tmp_path / "cpu.stat")
    monkeypatch.delattr(os, "getloadavg")
    nothing = read_noise_state()
    assert nothing == NoiseState(load_average=None, stolen_s=None, throttled_s=None)
    assert explain_noise(nothing, nothing, 1.0, STEADY, cores=2) == ""


def test_what_the_system_tells_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_STAT", tmp_path / "stat")
    monkeypatch.setattr(noise, "_CPU_STAT", tmp_path / "cpu.stat")
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 850 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 5\nthrottled_usec 2500000\n")
    state = read_noise_state()
    assert (state.stolen_s, state.throttled_s) == (8.5, 2.5)
    (tmp_path / "cpu.stat").write_text("usage_usec 5\n")
    assert read_noise_state().throttled_s is None
