import contextlib
import itertools
import os
import resource
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from deconvbench.measure import noise
from deconvbench.measure.noise import BlockWatch, NoiseState, Source, explain_noise, read_noise_state
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


@pytest.mark.parametrize(
    ("pinned", "where"),
    [((), ""), ((3,), " 3, to which it was pinned"), ((0, 1), "")],
    ids=["free", "pinned", "two"],
)
def test_a_thread_that_waited_for_a_core_is_told(pinned: tuple[int, ...], where: str) -> None:
    before = replace(QUIET, waited_s={1: 5.0, 2: 0.0})
    # one thread came later, one has ended
    after = replace(QUIET, waited_s={1: 5.1, 3: 1.2})
    reason = explain_noise(before, after, 10.0, STEADY, 2, pinned)
    assert reason == f"12% of the time waiting for a core{where}"
    assert explain_noise(before, replace(QUIET, waited_s={1: 5.4}), 10.0, STEADY, 2, pinned) == ""


def test_wide_samples_are_told_and_reasons_add_up() -> None:
    latency = make_latency(1.0, 2.0, 3.0, 4.0, 5.0)
    after = NoiseState(load_average=9.0, stolen_s=None, throttled_s=None)
    first, second = explain_noise(QUIET, after, 10.0, latency, cores=2).split("; ")
    assert first.startswith("samples spread by ")
    assert second == "load 9.0 on 2 cores"


def test_what_the_system_does_not_tell_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_STAT", tmp_path / "stat")
    monkeypatch.setattr(noise, "_CPU_STAT", tmp_path / "cpu.stat")
    monkeypatch.setattr(noise, "_TASKS", tmp_path / "task")
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
    monkeypatch.setattr(noise, "_TASKS", tmp_path / "task")
    for thread, schedstat in (("12", "5 1500000000 7\n"), ("13", "\n")):
        (tmp_path / "task" / thread).mkdir(parents=True)
        (tmp_path / "task" / thread / "schedstat").write_text(schedstat)
    state = read_noise_state()
    assert (state.stolen_s, state.throttled_s, state.waited_s) == (8.5, 2.5, {12: 1.5})
    (tmp_path / "cpu.stat").write_text("usage_usec 5\n")
    assert read_noise_state().throttled_s is None


def make_source(what: str, readings_s: Iterable[float]) -> Source:
    left = iter(readings_s)
    return Source(what=what, read=lambda: next(left))


def test_a_block_is_judged_by_what_was_lost_within_it() -> None:
    stolen = make_source("stolen", [1.0, 1.0, 5.0, 5.3, 5.3, 5.34])
    quota = make_source("lost to the quota", [0.0, 0.0, 0.0, 0.1, 0.1, 0.1])
    watch = BlockWatch(sources=[stolen, quota])
    found = []
    for _ in range(3):
        watch.begin()
        found.append(watch.end(1.0))
    # what happened between two blocks belongs to neither, and a twentieth is nothing
    assert found == ["", "30% of the block stolen; 10% of the block lost to the quota", ""]


def test_of_several_threads_the_one_that_waited_longest_counts() -> None:
    sources = [make_source("waiting", [0.0, 0.1]), make_source("waiting", [2.0, 2.3])]
    watch = BlockWatch(sources=sources)
    watch.begin()
    assert watch.end(1.0) == "30% of the block waiting"


def test_a_clock_that_stands_still_tells_nothing() -> None:
    watch = BlockWatch(sources=[make_source("stolen", [0.0, 0.1])])
    watch.begin()
    assert watch.end(0.0) == ""


class Kernel:
    """A thread's clocks, in seconds, and how often it slept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.ran = self.waited = 0.0
        self.sleeps = 0
        monkeypatch.setattr(time, "perf_counter_ns", lambda: round(self.wall * 1e9))
        monkeypatch.setattr(time, "thread_time_ns", lambda: round(self.ran * 1e9))
        monkeypatch.setattr(resource, "getrusage", lambda who: self)

    @property
    def ru_nvcsw(self) -> int:
        return self.sleeps

    def pass_by(self, wall: float, ran: float = 0.0, waited: float = 0.0) -> None:
        self.wall, self.ran, self.waited = self.wall + wall, self.ran + ran, self.waited + waited


def test_what_is_taken_from_a_thread_is_told_from_waiting_and_sleeping(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    kernel.pass_by(wall=100.0, ran=3.0)
    source = Source(what="taken", read=noise._OffCore(lambda: kernel.waited).read)
    watch = BlockWatch(sources=[source])
    found = []
    for wall, ran, waited, sleeps in [
        (1, 1, 0, 0),
        (1, 0.7, 0, 0),
        (1, 0.6, 0.4, 0),
        (1, 0.5, 0, 1),
        (1, 0.9, 0, 0),
    ]:
        kernel.pass_by(wall=0.5, ran=0.1)  # between the blocks
        watch.begin()
        kernel.pass_by(wall, ran, waited)
        kernel.sleeps += sleeps
        found.append(watch.end(1.0))
    assert found == ["", "30% of the block taken", "", "", "10% of the block taken"]


def write_system(folder: Path, monkeypatch: pytest.MonkeyPatch, threads: Iterable[int]) -> None:
    for name, file in (("_STAT", "stat"), ("_CPU_STAT", "cpu.stat"), ("_TASKS", "task")):
        monkeypatch.setattr(noise, name, folder / file)
    (folder / "stat").write_text("cpu  1 2 3 4 5 6 7 850\ncpu0 1 2 3 4 5 6 7 500\ncpu1 1 2 3 4 5 6 7 350\n")
    (folder / "cpu.stat").write_text("throttled_usec 2500000\n")
    for thread in threads:
        (folder / "task" / str(thread)).mkdir(parents=True)
        (folder / "task" / str(thread) / "schedstat").write_text("5 1500000000 7\n")


@pytest.mark.skipif(sys.platform != "linux", reason="needs the clocks of Linux")
@pytest.mark.parametrize(
    ("threads", "cores", "block_s", "expected"),
    [
        (1, {0, 1}, 1.0, ["waiting", "taken", "lost"]),
        (1, {1}, 1.0, ["waiting", "taken", "lost", "stolen"]),
        (2, {0, 1}, 1.0, ["waiting", "taken", "waiting", "lost", "stolen"]),
        (2, {0, 1}, 1e-9, ["waiting", "taken"]),
    ],
    ids=["alone", "pinned", "a pool on all cores", "no time for more"],
)
def test_what_is_read_depends_on_what_computes_and_on_what_it_costs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    cores: set[int],
    block_s: float,
    expected: list[str],
) -> None:
    write_system(tmp_path, monkeypatch, [threading.get_native_id(), 1])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cores)
    with contextlib.ExitStack() as stack:
        found = list(noise._open_sources(threads, block_s, stack))
        assert [source.what.split()[0] for source in found] == expected
        readings = {source.what: source.read() for source in found}
        assert readings["waiting for a core"] == 1.5
        stolen = {1: 3.5, 2: 8.5}[max(cores) + len(cores) - 1]
        assert readings.get("stolen by the hypervisor", stolen) == stolen


def test_a_thread_that_has_ended_waits_no_more(tmp_path: Path) -> None:
    path = tmp_path / "schedstat"
    path.write_text("5 1500000000 7\n")
    with contextlib.ExitStack() as stack:
        file = noise._OpenFile(path, noise._parse_waited_s, stack)
        assert file.read() == 1.5
        path.write_text("")
        assert file.read() == 1.5


def test_a_system_that_tells_nothing_disturbs_no_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_system(tmp_path, monkeypatch, [])
    for name in ("stat", "cpu.stat"):
        (tmp_path / name).unlink()
    with BlockWatch() as watch:
        watch.begin()
        assert watch.end(1.0) == ""
    monkeypatch.setattr(sys, "platform", "darwin")
    with BlockWatch() as watch:
        watch.begin()
        assert watch.end(1.0) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_real_system_is_read_and_its_files_are_closed() -> None:
    opened = len(list(Path("/proc/self/fd").iterdir()))
    with BlockWatch(os.cpu_count() or 1, block_s=10.0) as watch:
        for _ in range(3):
            watch.begin()
            watch.end(10.0)
        assert len(list(Path("/proc/self/fd").iterdir())) > opened
    assert len(list(Path("/proc/self/fd").iterdir())) == opened


def test_the_cost_of_a_reading_is_that_of_the_quickest(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 3.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    assert noise._time_reading(make_source("any", itertools.count())) == 1.0
