"""The conditions under which this process times: what they are, and holding them while it does.

A thread that moves between cores loses its caches each time, so under the policy ``settled`` one that times is
bound to a core; but one that is bound cannot step aside, so only to a core that is idle, which is measured, and
never for longer than the timing lasts. What malloc does is set when a process starts (`runner.conditions`) and
only read here.
"""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from deconvbench.measure.allocator import identify_allocator, read_huge_pages
from deconvbench.records.conditions import Conditions

_STAT = Path("/proc/stat")
_TASKS = Path("/proc/self/task")
_CORES = Path("/sys/devices/system/cpu")
# five of the ticks that /proc/stat counts in
_WATCHED_S = 0.05


def list_cores() -> tuple[int, ...]:
    """List the cores that the calling thread may use; none where the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def read_conditions(policy: str) -> Conditions:
    """Read the conditions of this process and of the calling thread as they are.

    Parameters
    ----------
    policy : str
        What was asked for.
    """
    cores = list_cores()
    return Conditions(
        policy=policy,
        allocator=identify_allocator(),
        huge_pages=read_huge_pages(),
        pinned_cores=cores if len(cores) < (os.cpu_count() or 1) else (),
        priority=os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else None,
    )


@contextlib.contextmanager
def hold_conditions(
    policy: str, threads: int, *, pins: bool = True, find_core: Callable[[], int | None] | None = None
) -> Iterator[Conditions]:
    """Bring about what a policy asks for while something is timed; afterwards all is as it was.

    Under ``settled``, a thread that computes alone is pinned to a core that is idle, where there is a choice of
    cores. Threads of a pool are not: they are to work beside each other. What is started inside inherits the core,
    so compilers and other processes belong outside.

    Parameters
    ----------
    policy : str
        One of `POLICIES`.
    threads : int
        Threads that compute.
    pins : bool
        False pins nothing, as where a step is compiled in its first call, or waits for a device.
    find_core : callable, optional
        Finds a core, or none; `find_idle_core` by default.

    Yields
    ------
    Conditions
        What holds.
    """
    core = None
    if policy == "settled" and pins and threads == 1 and len(list_cores()) > 1:
        core = (find_core or find_idle_core)()
    with pin_to(() if core is None else (core,)):
        yield read_conditions(policy)


@contextlib.contextmanager
def pin_to(cores: Collection[int]) -> Iterator[tuple[int, ...]]:
    """Bind the calling thread to cores for a while; threads that it starts meanwhile are let go with it.

    Parameters
    ----------
    cores : collection of int
        Numbers of cores; none leaves it where it is.

    Yields
    ------
    tuple of int
        Those that it is bound to; none where the system does not let it.
    """
    before = frozenset(list_cores())
    wanted = frozenset(cores)
    if not wanted or not before:
        yield ()
        return
    others = _list_threads()
    try:
        os.sched_setaffinity(0, wanted)
    except OSError:
        yield ()
        return
    try:
        yield tuple(sorted(wanted))
    finally:
        # who was bound elsewhere meanwhile stays there, for others to see
        for thread in (0, *(_list_threads() - others)):
            with contextlib.suppress(OSError):  # it may have ended
                if os.sched_getaffinity(thread) == wanted:
                    os.sched_setaffinity(thread, before)


def find_idle_core(
    *,
    read: Callable[[], Mapping[int, tuple[int, int]]] | None = None,
    wait: Callable[[float], object] = time.sleep,
    allowed: Collection[int] | None = None,
    list_siblings: Callable[[int], Collection[int]] | None = None,
) -> int | None:
    """Find a core that has nothing to do, by watching all for a twentieth of a second.

    Parameters
    ----------
    read : callable, optional
        Returns the ticks that each core was busy and idle; those of ``/proc/stat`` by default.
    wait : callable
        Waits seconds.
    allowed : collection of int, optional
        Cores to choose from; those of the calling thread by default.
    list_siblings : callable, optional
        Lists the cores that share the arithmetic of one with it (hyper-threads); as the system tells by default.

    Returns
    -------
    int or None
        One whose siblings had least to do, among these one of the idlest, and of them the last, as the first serve
        most interrupts; None where each was busy for a tick, or the system does not tell.
    """
    read = read or _read_ticks
    cores = list_cores() if allowed is None else allowed
    before = read()
    wait(_WATCHED_S)
    after = read()
    idle = {
        core: after[core][1] - before[core][1]
        for core in cores
        if core in before and core in after and after[core][0] == before[core][0]
    }
    if not any(idle.values()):
        return None
    busy = {core: after[core][0] - before[core][0] for core in before.keys() & after.keys()}
    siblings = {core: (list_siblings or _list_siblings)(core) for core in idle}
    shared = {core: sum(busy.get(sibling, 0) for sibling in siblings[core]) for core in idle}
    return max(idle, key=lambda core: (-shared[core], idle[core], core))


def _list_siblings(core: int) -> list[int]:
    """Read which cores share the arithmetic of one, as in ``0-1,8`` (Linux: admin-guide/cputopology)."""
    try:
        words = (
            (_CORES / f"cpu{core}" / "topology" / "thread_siblings_list").read_text(encoding="ascii").split(",")
        )
        ends = [[int(end) for end in word.split("-")] for word in words]
    except (OSError, ValueError):
        return []
    return [sibling for first, *last in ends for sibling in range(first, max(last, default=first) + 1)]


def _list_threads() -> frozenset[int]:
    try:
        return frozenset(int(name) for name in os.listdir(_TASKS))  # noqa: PTH208 -- names, not paths
    except OSError:
        return frozenset()


def _read_ticks() -> dict[int, tuple[int, int]]:
    """Read for how many ticks each core was busy, stolen ones included, and idle (man 5 proc)."""
    found = {}
    with contextlib.suppress(OSError, ValueError):
        for line in _STAT.read_text(encoding="ascii").splitlines():
            name, *counters = line.split()
            if name.startswith("cpu") and name != "cpu":
                ticks = [int(counter) for counter in counters[:8]]
                idle = ticks[3] + ticks[4]
                found[int(name.removeprefix("cpu"))] = (sum(ticks) - idle, idle)
    return found
