"""What disturbs a timing, in numbers: other load, CPU-quota throttling, stolen time, spread, a slow start.

Linux tells most of it through files that cost microseconds to read; elsewhere these readings are None and
only the spread of the samples speaks. `explain_noise` judges a whole pass, `BlockWatch` each block of it, with
what is cheap enough to be read before and after each.
"""

import contextlib
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

from deconvbench.records.record import Latency
from deconvbench.statistics import spread

# a robust relative spread above this is wider than what a quiet machine shows (about 0.5 to 3 %)
MAX_SPREAD = 0.10
# share of the pass that the hypervisor gave to others, or that the quota took, before we call it disturbed
MAX_STOLEN_SHARE = 0.02
# share of the pass that one of our threads waited for a core
MAX_WAITING_SHARE = 0.05
# share of a block that may be lost before the block is called disturbed; interrupts take less
MAX_BLOCK_SHARE = 0.05
# a first sample further above the median of the rest than this was taken while something still warmed up
MAX_FIRST_SLOWER = 0.20

_STAT = Path("/proc/stat")
_CPU_STAT = Path("/sys/fs/cgroup/cpu.stat")
_TASKS = Path("/proc/self/task")
# of a file, which is read in one go
_MOST_BYTES = 1 << 16
# what both readings of a source may take, as a share of a block; each is read outside of the block
_MOST_COST_SHARE = 0.05
_COST_READINGS = 3
_WAITING = "waiting for a core"
_STOLEN = "stolen by the hypervisor"
_TAKEN = "taken by the hypervisor or by interrupts"
_THROTTLED = "lost to the CPU quota"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseState:
    """Readings at one moment; differences between two moments tell what happened in between.

    Parameters
    ----------
    load_average : float or None
        Mean number of runnable processes over the last minute.
    stolen_s : float or None
        Seconds that the hypervisor gave to others, summed over cores, since boot.
    throttled_s : float or None
        Seconds that the control group's CPU quota held us back, since it was made.
    waited_s : mapping of int to float
        Of each thread of this process, by its number: seconds that it could have run, had a core been free.
    """

    load_average: float | None
    stolen_s: float | None
    throttled_s: float | None
    waited_s: Mapping[int, float] = field(default_factory=dict)


def read_noise_state() -> NoiseState:
    """Read what the system tells about disturbance now."""
    return NoiseState(
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        stolen_s=_read(_STAT, _parse_stolen_s),
        throttled_s=_read(_CPU_STAT, _parse_throttled_s),
        waited_s=_read_waits_s(),
    )


_Parse = Callable[[bytes], float]


def _parse_stolen_s(content: bytes, cores: Collection[int] = ()) -> float:
    """Eighth counter of the first line of /proc/stat, or of the lines of cores, in clock ticks (man 5 proc)."""
    names = {b"cpu%d" % core for core in cores} or {b"cpu"}
    lines = [words for line in content.split(b"\n") if (words := line.split()) and words[0] in names]
    return sum(int(words[8]) for words in lines) / os.sysconf("SC_CLK_TCK")


def _parse_throttled_s(content: bytes) -> float:
    """Microseconds behind a word of cpu.stat (Linux: Documentation/admin-guide/cgroup-v2)."""
    words = content.split()
    return int(words[words.index(b"throttled_usec") + 1]) * 1e-6


def _parse_waited_s(content: bytes) -> float:
    """Second number of a schedstat, in nanoseconds (Linux: Documentation/scheduler/sched-stats)."""
    return int(content.split()[1]) * 1e-9


def _read(path: Path, parse: _Parse) -> float | None:
    """Read a number; None where the system does not tell."""
    try:
        return parse(path.read_bytes())
    except (OSError, IndexError, ValueError):
        return None


def _read_waits_s() -> dict[int, float]:
    found = {thread: _read(_TASKS / str(thread) / "schedstat", _parse_waited_s) for thread in _list_threads()}
    return {thread: waited_s for thread, waited_s in found.items() if waited_s is not None}


def _list_threads() -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(_TASKS))  # noqa: PTH208 -- names, not paths
    except OSError:
        return []


def explain_noise(
    before: NoiseState,
    after: NoiseState,
    duration_s: float,
    latency: Latency,
    cores: int,
    pinned_cores: Sequence[int] = (),
) -> str:
    """Say why a latency should not be trusted.

    Parameters
    ----------
    before, after : NoiseState
        Around the timed pass.
    duration_s : float
        Seconds of the timed pass.
    latency : Latency
        What it gave.
    cores : int
        Cores that this process may use.
    pinned_cores : sequence of int
        The cores that the timed thread was bound to.

    Returns
    -------
    str
        Reasons with their numbers, joined by semicolons; empty when nothing speaks against it.
    """
    reasons = []
    for name, then, now in (
        (_STOLEN, before.stolen_s, after.stolen_s),
        (_THROTTLED, before.throttled_s, after.throttled_s),
    ):
        if then is not None and now is not None and now - then > MAX_STOLEN_SHARE * duration_s:
            reasons.append(f"{(now - then) / duration_s:.0%} of the time {name}")
    waited_s = max((now - before.waited_s.get(thread, 0.0) for thread, now in after.waited_s.items()), default=0.0)
    if waited_s > MAX_WAITING_SHARE * duration_s:
        bound = f" {pinned_cores[0]}, to which it was pinned" if len(pinned_cores) == 1 else ""
        reasons.append(f"{waited_s / duration_s:.0%} of the time {_WAITING}{bound}")
    width = spread(latency.samples_s)
    if width > MAX_SPREAD:
        reasons.append(f"samples spread by {width:.0%}")
    first, *rest = latency.samples_s
    usual = median(rest or [first])
    if first > (1 + MAX_FIRST_SLOWER) * usual > 0:
        reasons.append(f"first sample {first / usual - 1:.0%} slower")
    # our own process makes one; a thread pool of ours can make as many as it has cores
    if after.load_average is not None and after.load_average > cores + 1:
        reasons.append(f"load {after.load_average:.1f} on {cores} cores")
    return "; ".join(reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A number that rises by the time that is lost.

    Parameters
    ----------
    what : str
        As in "12% of the block stolen by the hypervisor".
    read : callable
        Returns seconds, from any origin.
    """

    what: str
    read: Callable[[], float]


class BlockWatch:
    """Tells of each block whether something took time from it; to be closed, or used in a ``with``.

    Two readings of a few microseconds each, before and after the block. The files are opened when the first block
    begins, so that the threads of a pool that was warmed up are among those that are watched.

    Parameters
    ----------
    threads : int
        Threads that compute.
    block_s : float
        How long a block lasts, about: what would cost more than a twentieth of that is not read.
    sources : sequence of Source, optional
        What is read; by default what this system tells.
    """

    def __init__(
        self, threads: int = 1, *, block_s: float = 4e-3, sources: Sequence[Source] | None = None
    ) -> None:
        self._threads = threads
        self._block_s = block_s
        self._sources = sources
        self._stack = contextlib.ExitStack()
        self._before: list[float] = []

    def begin(self) -> None:
        """Read, just before the block."""
        if self._sources is None:
            is_told = sys.platform == "linux"
            self._sources = [*_open_sources(self._threads, self._block_s, self._stack)] if is_told else []
        self._before = [source.read() for source in self._sources]

    def end(self, seconds: float) -> str:
        """Read, just after the block.

        Parameters
        ----------
        seconds : float
            How long the block took.

        Returns
        -------
        str
            Why it was disturbed, with numbers; empty where nothing took more than a twentieth of it.
        """
        lost: dict[str, float] = {}
        for source, before in zip(self._sources or (), self._before, strict=True):
            lost[source.what] = max(lost.get(source.what, 0.0), source.read() - before)
        return "; ".join(
            f"{lost_s / seconds:.0%} of the block {what}"
            for what, lost_s in lost.items()
            if lost_s > MAX_BLOCK_SHARE * seconds > 0
        )

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _OpenFile:
    """A number in a file of the system that stays open."""

    def __init__(self, path: Path, parse: _Parse, stack: contextlib.ExitStack) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        stack.callback(os.close, self._descriptor)
        self._parse = parse
        self._last_s = 0.0

    def read(self) -> float:
        """Read it again; what cannot be read any more, as of a thread that has ended, stays as it was."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            self._last_s = self._parse(os.pread(self._descriptor, _MOST_BYTES, 0))
        return self._last_s


class _OffCore:
    """Time in which the calling thread had a core and did not run: what a hypervisor or an interrupt takes.

    The kernel's clock of a thread stands still meanwhile, where it knows what the hypervisor takes. It does so too
    while a thread sleeps or waits for one that it gave work to, so stretches in which it did are left out.
    """

    def __init__(self, read_waited_s: Callable[[], float]) -> None:
        self._read_waited_s = read_waited_s
        self._lost_s = self._last_s = 0.0
        self._sleeps = -1

    def read(self) -> float:
        sleeps = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        off_s = (time.perf_counter_ns() - time.thread_time_ns()) * 1e-9 - self._read_waited_s()
        if sleeps == self._sleeps:
            self._lost_s += off_s - self._last_s
        self._last_s, self._sleeps = off_s, sleeps
        return self._lost_s


def _open_sources(threads: int, block_s: float, stack: contextlib.ExitStack) -> Iterator[Source]:
    """Open what this system tells: of the calling thread always, of others and of the cores where it is cheap."""
    own, cores = threading.get_native_id(), os.sched_getaffinity(0)
    with contextlib.suppress(OSError):
        waited = _OpenFile(_TASKS / str(own) / "schedstat", _parse_waited_s, stack)
        yield Source(what=_WAITING, read=waited.read)
        yield Source(what=_TAKEN, read=_OffCore(waited.read).read)
    others = [thread for thread in _list_threads() if thread != own] if threads > 1 else []
    files = [(_WAITING, _TASKS / str(thread) / "schedstat", _parse_waited_s) for thread in others]
    files.append((_THROTTLED, _CPU_STAT, _parse_throttled_s))
    if len(cores) <= threads:  # what is stolen from these cores is stolen from us
        files.append((_STOLEN, _STAT, lambda content: _parse_stolen_s(content, cores)))
    budget_s = _MOST_COST_SHARE * block_s
    for what, path, parse in files:
        if _read(path, parse) is None:
            continue
        source = Source(what=what, read=_OpenFile(path, parse, stack).read)
        budget_s -= 2 * _time_reading(source)
        if budget_s >= 0:
            yield source


def _time_reading(source: Source) -> float:
    """Seconds that a reading takes, at best of a few."""
    costs_s = []
    for _ in range(_COST_READINGS):
        started = time.perf_counter()
        source.read()
        costs_s.append(time.perf_counter() - started)
    return min(costs_s)
