"""Kills for want of memory are counted wherever the kernel tells of them; the trees here are made up."""

from pathlib import Path

import pytest

from deconvbench.runner.oom import count_oom_kills

V1 = "memory/a/b/memory.oom_control"
TREES: dict[str, tuple[str, dict[str, int], int]] = {
    # name: /proc/self/cgroup, counters, what they say
    "version 2": ("0::/user.slice/a.scope\n", {"sys/fs/cgroup/user.slice/a.scope/memory.events": 3}, 3),
    "version 2 in a container": ("0::/\n", {"sys/fs/cgroup/memory.events": 4}, 4),
    "version 2, whose path is not visible": ("0::/docker/0a1b\n", {"sys/fs/cgroup/memory.events": 5}, 5),
    "version 2 of a folder that is above": ("0::/../other\n", {"sys/fs/cgroup/memory.events": 5}, 5),
    "version 2, the innermost group": (
        "0::/a/b\n", {"sys/fs/cgroup/a/b/memory.events": 1, "sys/fs/cgroup/a/memory.events": 7}, 1),
    "version 2, only a group above counts": ("0::/a/b\n", {"sys/fs/cgroup/a/memory.events": 7}, 7),
    "version 1": ("4:memory:/a/b\n3:cpuset:/\n", {f"sys/fs/cgroup/{V1}": 2}, 2),
    "version 1 with others": ("4:hugetlb,memory:/a/b\n", {f"sys/fs/cgroup/{V1}": 2}, 2),
    "version 1 in a container": ("4:memory:/docker/0a\n", {"sys/fs/cgroup/memory/memory.oom_control": 6}, 6),
    "both versions": ("4:memory:/a/b\n0::/a\n", {f"sys/fs/cgroup/{V1}": 2, "proc/vmstat": 9}, 2),
    "version 2 beside version 1": ("1:cpu:/\n0::/a\n", {"sys/fs/cgroup/unified/a/memory.events": 8}, 8),
    "a path with colons": ("0::/a:b\n", {"sys/fs/cgroup/a:b/memory.events": 3}, 3),
    "no group counts": ("0::/\n", {"proc/vmstat": 11}, 11),
    "groups that are not told": ("", {"sys/fs/cgroup/memory.events": 1, "proc/vmstat": 11}, 1),
    "nothing": ("nonsense\n", {}, 0),
}  # fmt: skip


def write(root: Path, counters: dict[str, int]) -> None:
    for name, count in counters.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"low 0\noom 99\noom_kill_disable 0\noom_kill {count}\noom_group_kill 77\n")


@pytest.mark.parametrize("name", TREES)
def test_the_count(name: str, tmp_path: Path) -> None:
    groups, counters, expected = TREES[name]
    write(tmp_path, {"proc/self/unused": 0, **counters})
    (tmp_path / "proc/self/cgroup").write_text(groups)
    assert count_oom_kills(tmp_path) == expected
    write(tmp_path, {path: count + 1 for path, count in counters.items()})
    assert count_oom_kills(tmp_path) == expected + bool(counters)


def test_an_old_kernel_counts_in_no_group(tmp_path: Path) -> None:
    write(tmp_path, {"proc/vmstat": 3, "sys/fs/cgroup/memory/memory.oom_control": 0})
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/\n")
    (tmp_path / "sys/fs/cgroup/memory/memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\n")
    assert count_oom_kills(tmp_path) == 3


def test_a_system_that_tells_nothing(tmp_path: Path) -> None:
    assert count_oom_kills(tmp_path) == 0


def test_this_machine_is_asked() -> None:
    assert count_oom_kills() >= 0
