import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deconvbench.measure import allocator
from deconvbench.measure.allocator import (
    drop_settled_tunables,
    identify_allocator,
    list_settled_tunables,
    read_glibc_version,
    read_huge_pages,
)

GLIBC = (2, 36)
ALL = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184"
    ":glibc.malloc.top_pad=67108864"
)
needs_glibc = pytest.mark.skipif(read_glibc_version() < (2, 35), reason="needs glibc 2.35 or later")


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """Nothing is remembered from one test to the next."""
    for function in (identify_allocator, read_huge_pages):
        function.cache_clear()
    yield
    for function in (identify_allocator, read_huge_pages):
        function.cache_clear()


def test_all_that_settles_is_set() -> None:
    assert list_settled_tunables({"PATH": "/bin"}, GLIBC) == {"GLIBC_TUNABLES": ALL}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"},
            f"glibc.malloc.arena_max=1:{ALL}",
        ),
        (
            {"GLIBC_TUNABLES": "glibc.malloc.top_pad=0:glibc.malloc.hugetlb=0"},
            "glibc.malloc.top_pad=0:glibc.malloc.hugetlb=0:glibc.malloc.mmap_threshold=4294967296"
            ":glibc.malloc.trim_threshold=17179869184",
        ),
        (
            {"MALLOC_MMAP_THRESHOLD_": "1000", "MALLOC_TRIM_THRESHOLD_": "1000"},
            "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=67108864",
        ),
    ],
    ids=["others", "of the same name", "in the older variables"],
)
def test_what_the_user_set_wins(environment: dict[str, str], expected: str) -> None:
    assert list_settled_tunables(environment, GLIBC) == {"GLIBC_TUNABLES": expected}


def test_nothing_is_set_that_is_set_already() -> None:
    assert list_settled_tunables({"GLIBC_TUNABLES": ALL}, GLIBC) == {}


@pytest.mark.parametrize(
    ("version", "names"),
    [((), []), ((2, 17), []), ((2, 34), ["trim_threshold", "top_pad"])],
    ids=["no glibc", "before tunables", "before huge pages"],
)
def test_nothing_is_set_that_the_library_does_not_have(version: tuple[int, ...], names: list[str]) -> None:
    found = list_settled_tunables({}, version).get("GLIBC_TUNABLES", "")
    assert [entry.partition("=")[0] for entry in found.split(":") if entry] == [
        f"glibc.malloc.{name}" for name in names
    ]


@pytest.mark.parametrize(
    ("environment", "kept"),
    [
        ({"GLIBC_TUNABLES": ALL, "HOME": "/"}, {"HOME": "/"}),
        (
            {"GLIBC_TUNABLES": f"glibc.malloc.arena_max=1:{ALL}"},
            {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"},
        ),
        ({"MALLOC_TOP_PAD_": "1", "MALLOC_ARENA_MAX": "1"}, {"MALLOC_ARENA_MAX": "1"}),
        ({"HOME": "/"}, {"HOME": "/"}),
    ],
    ids=["ours", "ours beside others", "older variables", "none"],
)
def test_a_process_with_settings_of_its_own_has_none_of_these(
    environment: dict[str, str], kept: dict[str, str]
) -> None:
    assert drop_settled_tunables(environment) == kept


def test_another_c_library_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: "musl 1.2", raising=False)
    assert read_glibc_version() == ()
    monkeypatch.setattr(os, "confstr_names", {}, raising=False)
    assert read_glibc_version() == ()


ASK = (
    "from deconvbench.measure.allocator import identify_allocator, read_huge_pages\n"
    "print(identify_allocator()); print(read_huge_pages())"
)


def ask(environment: dict[str, str], preload: Path | None = None) -> list[str]:
    """Ask a process with these variables what its memory comes from, and how large its pages are."""
    added = {} if preload is None else {"LD_PRELOAD": str(preload)}
    return run_with({**environment, **added}, ASK).split("\n")[:2]


def run_with(environment: dict[str, str], code: str) -> str:
    """Run code in a process with these variables, and none else of malloc."""
    clean = drop_settled_tunables(os.environ)
    search = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **search, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout


@pytest.mark.process
@needs_glibc
def test_a_process_is_settled_by_its_variables_alone() -> None:
    plain, pages = ask({})
    settled, settled_pages = ask(list_settled_tunables({}, read_glibc_version()))
    assert (plain, settled) == ("system", "settled")
    assert (pages, settled_pages) in {("madvise", "malloc"), ("always", "always"), ("never", "never"), ("", "")}


@pytest.mark.process
@needs_glibc
@pytest.mark.parametrize(
    "tunables",
    ["glibc.malloc.mmap_threshold=1000000", "glibc.malloc.trim_threshold=100000:glibc.malloc.top_pad=0"],
    ids=["mapped", "given back"],
)
def test_a_setting_of_the_users_that_unsettles_is_seen(tunables: str) -> None:
    variables = list_settled_tunables({"GLIBC_TUNABLES": tunables}, read_glibc_version())
    assert ask(variables)[0] == "system"


@pytest.mark.process
@needs_glibc
def test_an_allocator_that_took_mallocs_place_is_named(tmp_path: Path) -> None:
    compiler = next((Path(p, "cc") for p in os.environ["PATH"].split(os.pathsep) if Path(p, "cc").exists()), None)
    if compiler is None:
        pytest.skip("no C compiler")
    source = tmp_path / "other.c"
    source.write_text(
        "#include <stddef.h>\nextern void *__libc_malloc(size_t);\n"
        "void *malloc(size_t size) { return __libc_malloc(size); }\n"
    )
    library = tmp_path / "libothermalloc.so.2"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    found, _ = ask(list_settled_tunables({}, read_glibc_version()), library)
    assert found == "libothermalloc.so.2"


KEEPS = """
import ctypes, re
from pathlib import Path
from deconvbench.measure.allocator import give_back_memory
def read_mib():
    return int(re.search(r"VmRSS:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
give_back_memory()
before = read_mib()
malloc = ctypes.CDLL(None).malloc
malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
free = ctypes.CDLL(None).free
free.argtypes = [ctypes.c_void_p]
blocks = [malloc(100 << 20) for _ in range(2)]
for block in blocks:
    ctypes.memset(block, 1, 100 << 20)
    free(block)
kept = read_mib()
give_back_memory()
print(round(kept - before), round(read_mib() - before))
"""


@pytest.mark.process
@needs_glibc
def test_what_a_settled_process_keeps_is_given_back_when_it_should() -> None:
    kept, left = map(int, run_with(list_settled_tunables({}, read_glibc_version()), KEEPS).split())
    assert kept >= 190
    assert left <= 10


class Library:
    """A malloc that gives what it is told to."""

    def __init__(self, buffer: int | None, blocks: tuple[int, int], arenas: tuple[int, int]) -> None:
        states = iter([(blocks[0], 0), (blocks[1], arenas[0]), (blocks[1], arenas[1])])

        class Function:
            def __call__(self) -> Any:
                mapped, arena = next(states)
                return allocator._Mallinfo(hblks=mapped, arena=arena, fordblks=1 << 20)

        class Malloc:
            def __call__(self, size: int) -> int | None:
                assert size > 33 << 20
                return buffer

        class Free:
            def __call__(self, address: int) -> None:
                assert address == buffer

        self.mallinfo, self.malloc, self.free = Function(), Malloc(), Free()


@pytest.mark.parametrize(
    ("library", "keeps"),
    [
        (Library(1, (2, 2), (7, 7)), True),
        (Library(1, (2, 3), (7, 7)), False),
        (Library(1, (2, 2), (7, 1)), False),
        (Library(None, (2, 2), (7, 7)), False),
    ],
    ids=["kept", "mapped by itself", "given back", "no room to try"],
)
def test_malloc_is_asked_by_trying(library: Any, keeps: bool) -> None:
    assert allocator._keeps_large_buffers(library) is keeps


def test_elsewhere_memory_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert identify_allocator() == "system"


MAPS = """\
00400000-00500000 r-xp 00000000 fe:00 1    /usr/bin/python3.11
7f0000000000-7f0000100000 r-xp 00026000 fe:00 2    /usr/lib/with a space/libc.so.6
7f0000200000-7f0000300000 rw-p 00000000 00:00 0
"""


@pytest.mark.parametrize(
    ("address", "file"),
    [(0x7F0000000001, "libc.so.6"), (0x400000, "python3.11"), (0x7F0000200000, ""), (0x1, "")],
    ids=["a library", "the program itself", "no file", "nowhere"],
)
def test_the_file_of_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: int, file: str) -> None:
    maps = tmp_path / "maps"
    maps.write_text(MAPS)
    monkeypatch.setattr(allocator, "_MAPS", maps)
    assert allocator._find_file(address) == file
    monkeypatch.setattr(allocator, "_MAPS", tmp_path / "gone")
    assert allocator._find_file(address) == ""


HEAP = "02f45000-03081000 rw-p 00000000 00:00 0     [heap]\nRss:   4 kB\nVmFlags: rd wr mr mw me ac{flag}\n"
OTHER = "00400000-00500000 r-xp 00000000 fe:00 1    /usr/bin/python3.11\nVmFlags: rd ex hg\n"


@pytest.mark.parametrize(
    ("kernel", "flag", "status", "expected"),
    [
        ("always [madvise] never", " hg", "THP_enabled:\t1", "malloc"),
        ("always [madvise] never", "", "THP_enabled:\t1", "madvise"),
        ("always [madvise] never", " hg", "THP_enabled:\t0", "never"),
        ("[always] madvise never", " hg", "", "always"),
        ("always madvise [never]", " hg", "", "never"),
        ("something else", " hg", "", ""),
        (None, " hg", "", ""),
    ],
    ids=["asked for", "not asked for", "off for this process", "always", "never", "unknown words", "no such file"],
)
def test_huge_pages(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kernel: str | None,
    flag: str,
    status: str,
    expected: str,
) -> None:
    contents = {"_HUGE_PAGES": kernel, "_SMAPS": OTHER + HEAP.format(flag=flag), "_STATUS": status}
    for name, content in contents.items():
        path = tmp_path / name
        if content is not None:
            path.write_text(content)
        monkeypatch.setattr(allocator, name, path)
    assert read_huge_pages() == expected


def test_a_heap_that_cannot_be_read_asks_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_SMAPS", "_STATUS"):
        monkeypatch.setattr(allocator, name, tmp_path / "gone")
    assert not allocator._asks_for_huge_pages()
    assert not allocator._has_no_huge_pages()
    (tmp_path / "gone").write_text(OTHER)
    assert not allocator._asks_for_huge_pages()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_this_process_has_an_allocator() -> None:
    assert identify_allocator()
