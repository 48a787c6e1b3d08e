import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deconvbench.measure import conditions
from deconvbench.measure.conditions import find_idle_core, hold_conditions, pin_to, read_conditions

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs the affinity of Linux")
several_cores = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs two cores"
)
# of each core: busy ticks, idle ticks
Ticks = dict[int, tuple[int, int]]
BEFORE: Ticks = dict.fromkeys(range(4), (100, 1000))
IDLE: Ticks = dict.fromkeys(range(4), (100, 1005))


class Watch:
    """Ticks of the cores before and after, and how long was waited between."""

    def __init__(self, after: Ticks) -> None:
        self._readings = iter([BEFORE, after])
        self.waited_s = 0.0

    def read(self) -> Mapping[int, tuple[int, int]]:
        return next(self._readings)

    def wait(self, seconds: float) -> None:
        self.waited_s += seconds


@pytest.mark.parametrize(
    ("after", "allowed", "core"),
    [
        ({0: (100, 1005), 1: (103, 1002), 2: (100, 1004), 3: (105, 1000)}, range(4), 0),
        ({0: (100, 1005), 1: (100, 1005), 2: (100, 1005), 3: (101, 1004)}, range(4), 2),
        (dict.fromkeys(range(4), (101, 1004)), range(4), None),
        (IDLE, [1], 1),
        (IDLE, [], None),
        ({0: (100, 1005)}, range(4), 0),
        (BEFORE, range(4), None),
        ({}, range(4), None),
    ],
    ids=[
        "the idlest",
        "of equals the last",
        "all busy",
        "of those allowed",
        "none allowed",
        "cores that went offline",
        "ticks that stand still",
        "a system that does not tell",
    ],
)
def test_an_idle_core_is_found_by_watching(after: Ticks, allowed: list[int], core: int | None) -> None:
    watch = Watch(after)
    alone: dict[str, Any] = {"allowed": allowed, "list_siblings": lambda core: []}
    assert find_idle_core(read=watch.read, wait=watch.wait, **alone) == core
    assert watch.waited_s == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("busy", "core"),
    [([], 3), ([2], 1), ([0, 2], 3), ([0, 2, 3], 1), ([0, 3], 2), ([0, 1, 2], 3)],
    ids=[
        "all idle",
        "a core to itself",
        "all shared",
        "one is left",
        "of the shared the last",
        "busy pair beside",
    ],
)
def test_a_core_whose_hyper_thread_computes_is_the_second_choice(busy: list[int], core: int) -> None:
    # 0 and 1 share their arithmetic, and 2 and 3
    watch = Watch({number: (105, 1000) if number in busy else (100, 1005) for number in range(4)})
    pairs = {number: [number, number ^ 1] for number in range(4)}
    found = find_idle_core(read=watch.read, wait=watch.wait, allowed=range(4), list_siblings=pairs.__getitem__)
    assert found == core


@pytest.mark.parametrize(
    ("text", "siblings"),
    [("0-1\n", [0, 1]), ("0,32\n", [0, 32]), ("0-1,8-9\n", [0, 1, 8, 9]), ("0\n", [0]), ("odd", []), (None, [])],
)
def test_siblings_are_read_from_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, siblings: list[int]
) -> None:
    monkeypatch.setattr(conditions, "_CORES", tmp_path)
    folder = tmp_path / "cpu0" / "topology"
    folder.mkdir(parents=True)
    if text is not None:
        (folder / "thread_siblings_list").write_text(text)
    assert conditions._list_siblings(0) == siblings


STAT = """\
cpu  4 4 4 4 4 4 4 4 4 4
cpu0 10 1 5 900 50 2 3 4 7 7
cpu11 20 0 0 800 0
intr 5 6
"""


def test_ticks_are_read_from_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    stat.write_text(STAT)
    monkeypatch.setattr(conditions, "_STAT", stat)
    # guest ticks are among those of users already
    assert conditions._read_ticks() == {0: (25, 950), 11: (20, 800)}
    monkeypatch.setattr(conditions, "_STAT", tmp_path / "gone")
    assert conditions._read_ticks() == {}


@linux
def test_the_real_cores_are_watched() -> None:
    core = find_idle_core(wait=lambda _: None)
    assert core is None or core in os.sched_getaffinity(0)


@several_cores
def test_a_thread_is_pinned_and_let_go() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    with pin_to([core]) as cores:
        assert cores == (core,)
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before
    with pytest.raises(RuntimeError), pin_to([core]):
        raise RuntimeError
    assert os.sched_getaffinity(0) == before


@several_cores
def test_a_thread_started_while_pinned_is_let_go_too() -> None:
    before = os.sched_getaffinity(0)
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    with pin_to([max(before)]):
        thread.start()
        assert thread.native_id is not None
        assert os.sched_getaffinity(thread.native_id) == {max(before)}
    assert os.sched_getaffinity(thread.native_id) == before
    leave.set()
    thread.join()


@several_cores
def test_a_layer_that_binds_itself_elsewhere_is_not_covered_up() -> None:
    before = os.sched_getaffinity(0)
    first, *_, last = sorted(before)
    try:
        with pin_to([last]):
            os.sched_setaffinity(0, {first})
        assert os.sched_getaffinity(0) == {first}
    finally:
        os.sched_setaffinity(0, before)


@linux
@pytest.mark.parametrize("cores", [(), (4095,)], ids=["none", "one that is not there"])
def test_what_cannot_be_pinned_stays_where_it_is(cores: tuple[int, ...]) -> None:
    before = os.sched_getaffinity(0)
    with pin_to(cores) as bound:
        assert bound == ()
        assert os.sched_getaffinity(0) == before
    assert os.sched_getaffinity(0) == before


@several_cores
@pytest.mark.parametrize(
    ("policy", "threads", "pins", "is_idle", "is_pinned"),
    [
        ("settled", 1, True, True, True),
        ("settled", 1, True, False, False),
        ("settled", 1, False, True, False),
        ("settled", 2, True, True, False),
        ("system", 1, True, True, False),
    ],
    ids=["an idle core", "none is idle", "compiled", "several threads", "system"],
)
def test_who_is_pinned(policy: str, threads: int, pins: bool, is_idle: bool, is_pinned: bool) -> None:
    before = os.sched_getaffinity(0)
    core = min(before) if is_idle else None
    free = read_conditions(policy).pinned_cores
    with hold_conditions(policy, threads, pins=pins, find_core=lambda: core) as held:
        assert os.sched_getaffinity(0) == ({core} if is_pinned else before)
    assert held.policy == policy
    assert held.pinned_cores == ((core,) if is_pinned else free)
    assert held.priority == os.getpriority(os.PRIO_PROCESS, 0)
    assert os.sched_getaffinity(0) == before


def test_a_system_without_affinity_and_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sched_getaffinity", "getpriority"):
        monkeypatch.delattr(os, name, raising=False)
    with hold_conditions("settled", 1, find_core=lambda: pytest.fail("no core can be chosen")) as held:
        assert (held.pinned_cores, held.priority) == ((), None)
    with pin_to([0]) as bound:
        assert bound == ()


@linux
def test_threads_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "_TASKS", tmp_path / "gone")
    assert conditions._list_threads() == frozenset()
