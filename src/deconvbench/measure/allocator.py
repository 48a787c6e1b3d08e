"""What allocates the memory of a process: malloc's settings, and reading back what malloc really does.

By what a process did before, glibc's malloc keeps a large buffer that is freed, or it maps one anew at every call,
which the kernel then fills with zeros page by page. Settled, it always keeps it. The settings are read by glibc
when a process starts, so they are given to a child and cannot be had in this process.
"""

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

# glibc's manual, "Memory Allocation Tunables": no buffer is mapped by itself (below 4 GiB), nothing that is freed
# goes back to the kernel (below 16 GiB), the heap grows by 64 MiB, and malloc asks for huge pages. With the
# version from which on each is there: hugetlb came with 2.35, and so did thresholds above 32 MiB
_SETTLED = {
    "glibc.malloc.hugetlb": ("1", (2, 35)),
    "glibc.malloc.mmap_threshold": (str(4 << 30), (2, 35)),
    "glibc.malloc.trim_threshold": (str(16 << 30), (2, 26)),
    "glibc.malloc.top_pad": (str(64 << 20), (2, 26)),
}
# variables of older versions that still set the same
_ALIASES = {
    "MALLOC_MMAP_THRESHOLD_": "glibc.malloc.mmap_threshold",
    "MALLOC_TRIM_THRESHOLD_": "glibc.malloc.trim_threshold",
    "MALLOC_TOP_PAD_": "glibc.malloc.top_pad",
}
TUNABLES = "GLIBC_TUNABLES"
# glibc's threshold adapts to what is freed, up to 32 MiB; freeing one that is larger leaves it where it is
_LARGE_BYTES = 33 << 20
_MAPS = Path("/proc/self/maps")
_SMAPS = Path("/proc/self/smaps")
_STATUS = Path("/proc/self/status")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
# files that hold the system's own malloc: glibc's, musl's
_SYSTEM_LIBRARY = re.compile(r"libc[.-].*|ld-musl-.*")


def read_glibc_version() -> tuple[int, ...]:
    """Read the version of glibc that this process runs with; empty where it is another library."""
    names = getattr(os, "confstr_names", {})
    text = (os.confstr("CS_GNU_LIBC_VERSION") or "") if "CS_GNU_LIBC_VERSION" in names else ""
    found = re.fullmatch(r"glibc (\d+)\.(\d+).*", text)
    return (int(found[1]), int(found[2])) if found else ()


def list_settled_tunables(environment: Mapping[str, str], version: tuple[int, ...]) -> dict[str, str]:
    """List the variables with which a process keeps its large buffers.

    Parameters
    ----------
    environment : mapping of str to str
        Variables that the process would have; what they set of malloc stays as it is.
    version : tuple of int
        Of glibc, from `read_glibc_version`; of what it does not have nothing is set.

    Returns
    -------
    dict of str to str
        `GLIBC_TUNABLES`, or nothing where there is nothing to set.
    """
    given = environment.get(TUNABLES, "")
    taken = {entry.partition("=")[0] for entry in given.split(":")}
    taken |= {tunable for alias, tunable in _ALIASES.items() if alias in environment}
    added = [
        f"{name}={value}" for name, (value, since) in _SETTLED.items() if version >= since and name not in taken
    ]
    return {TUNABLES: ":".join(filter(None, [given, *added]))} if added else {}


def drop_settled_tunables(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out of variables what settles malloc, whoever set it, for a process with settings of its own.

    Parameters
    ----------
    environment : mapping of str to str
        Variables of a process.
    """
    entries = environment.get(TUNABLES, "").split(":")
    kept = ":".join(entry for entry in entries if entry.partition("=")[0] not in _SETTLED)
    others = {name: value for name, value in environment.items() if name != TUNABLES and name not in _ALIASES}
    return {**others, TUNABLES: kept} if kept else others


@cache
def identify_allocator() -> str:
    """Find out what serves the memory of this process; asked of malloc itself, once, as it is set at the start.

    Returns
    -------
    str
        ``settled``, ``system``, or the file name of what took malloc's place.
    """
    if sys.platform != "linux":
        return "system"
    library = ctypes.CDLL(None)
    file = _find_file(ctypes.cast(library.malloc, ctypes.c_void_p).value or 0)
    if file and not _SYSTEM_LIBRARY.fullmatch(file):
        return file
    return "settled" if read_glibc_version() and _keeps_large_buffers(library) else "system"


def give_back_memory() -> None:
    """Give the kernel what a settled malloc keeps though it is free, so that it does not pile up between cases."""
    if identify_allocator() == "settled":
        ctypes.CDLL(None).malloc_trim(0)


def _find_file(address: int) -> str:
    """Find the name of the file that an address was loaded from; empty where that cannot be told."""
    with contextlib.suppress(OSError), _MAPS.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(maxsplit=5)
            low, _, high = fields[0].partition("-")
            if int(low, 16) <= address < int(high, 16):
                return Path(fields[5]).name if len(fields) > 5 else ""
    return ""


class _Mallinfo(ctypes.Structure):
    """man 3 mallinfo; its numbers wrap around, which leaves them good enough to see that they changed."""

    _fields_ = tuple(
        (name, ctypes.c_int)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
            "keepcost",
        )
    )  # fmt: skip


def _keeps_large_buffers(library: ctypes.CDLL) -> bool:
    """Say whether a large buffer comes from the heap and stays in it when it is freed; no page is touched."""
    library.mallinfo.restype = _Mallinfo
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    before = library.mallinfo()
    # larger than all that is free in the heap, so that more has to be asked of the kernel
    buffer = library.malloc(_LARGE_BYTES + max(before.fordblks, 0))
    if buffer is None:  # a process with little address space
        return False
    held = library.mallinfo()
    library.free(buffer)
    return bool(held.hblks == before.hblks and library.mallinfo().arena == held.arena)


@cache
def read_huge_pages() -> str:
    """Find out when this process gets huge pages; see `Conditions`. Asked once, as it is set at the start."""
    try:
        words = _HUGE_PAGES.read_text(encoding="ascii")
    except OSError:
        return ""
    found = re.search(r"\[(\w+)\]", words)
    chosen = found[1] if found else ""
    if chosen == "never" or _has_no_huge_pages():
        return "never"
    identify_allocator()  # so that there is a heap to look at
    return "malloc" if chosen == "madvise" and _asks_for_huge_pages() else chosen


def _has_no_huge_pages() -> bool:
    """Say whether huge pages are switched off for this process alone (man 2 prctl, PR_SET_THP_DISABLE)."""
    with contextlib.suppress(OSError):
        return "THP_enabled:\t0" in _STATUS.read_text(encoding="ascii", errors="replace")
    return False


def _asks_for_huge_pages() -> bool:
    """Say whether malloc has asked for huge pages for its heap (man 5 proc, VmFlags: hg)."""
    is_heap = False
    with contextlib.suppress(OSError), _SMAPS.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            is_heap = is_heap or line.rstrip().endswith("[heap]")
            if is_heap and line.startswith("VmFlags:"):
                return "hg" in line.split()
    return False
