"""How often the kernel killed for want of memory, as far as it tells; by that a kill is known to be `oom`.

Control groups count the kills among their own processes, in version 2 (``memory.events``) and 1
(``memory.oom_control``); the whole machine counts all (``/proc/vmstat``), which says something of us only where no
group of ours counts. Linux; elsewhere nothing is counted.
"""

import re
from pathlib import Path

_ROOT = Path("/")


def count_oom_kills(root: Path = _ROOT) -> int:
    """Count the kills for want of memory around this process; what grew since an earlier count happened meanwhile.

    Parameters
    ----------
    root : Path
        Below which ``proc`` and ``sys`` are.

    Returns
    -------
    int
        0 where the system does not tell.
    """
    counts = [count for group in _list_groups(root) if (count := _read_innermost(group)) is not None]
    return sum(counts) if counts else (_read_count(root / "proc/vmstat") or 0)


def _list_groups(root: Path) -> list[list[Path]]:
    """List the groups that this process may be in: for each the places of its counter, the innermost first."""
    mounted = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = []
    # man 7 cgroups: hierarchy-ID:controller-list:cgroup-path; version 2 has no controllers there
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers == "":
            # beside version 1 it is mounted in a folder of its own
            found += [_climb(folder, path, "memory.events") for folder in (mounted, mounted / "unified")]
        elif "memory" in controllers.split(","):
            found.append(_climb(mounted / "memory", path, "memory.oom_control"))
    return found or [[mounted / "memory.events"], [mounted / "memory/memory.oom_control"]]


def _climb(mounted: Path, path: str, name: str) -> list[Path]:
    # a container may not see the folders of its own path: what is mounted there is its group
    parts = [part for part in path.split("/") if part and part != ".."]
    return [mounted.joinpath(*parts[:length], name) for length in range(len(parts), -1, -1)]


def _read_innermost(paths: list[Path]) -> int | None:
    """Read the first counter that there is; those around it count kills of others as well."""
    return next((count for path in paths if (count := _read_count(path)) is not None), None)


def _read_count(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else None
