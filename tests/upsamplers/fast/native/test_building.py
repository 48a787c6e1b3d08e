"""Compiling on request: what is kept works, and whatever goes wrong is one clear line with nothing kept."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from deconvbench.errors import SurroundingsError, UsageError
from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.choice import NATIVE
from deconvbench.upsamplers.fast.native import build_native, building, find_library
from deconvbench.upsamplers.fast.native.library import PARTS, SOURCE, locate_library


def write_compiler(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a compiler of one's own."""
    path = folder / "my cc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("CC", f"'{path}'")
    return path


def list_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


def test_what_was_built_is_found_from_then_on(compiler: str, cache: Path) -> None:
    layer, x = ResizeConv2d(8, 4, implementation="tiled"), torch.zeros(1, 8, 16, 16)
    assert layer.choose(x) == "tiled"
    build = build_native()
    assert layer.choose(x) == NATIVE
    assert build.path == locate_library()
    assert list_files(cache) == [build.path.with_suffix(".sha256").name, build.path.name]
    assert build.error < 2e-6
    found = find_library()
    assert found is not None
    assert found.is_threaded == build.is_threaded


def test_it_is_tried_out_whatever_the_default_device_and_type_are(compiler: str, cache: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert build_native().error < 1e-6
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell what is loaded")
def test_it_works_in_torch_s_threads(compiler: str, cache: Path) -> None:
    if not torch.backends.openmp.is_available():  # type: ignore[no-untyped-call] # torch has no types here
        pytest.skip("torch has no OpenMP")
    (found,) = building._find_threading()
    assert Path(found).is_file()
    assert build_native().is_threaded == (b"GOMP_parallel" in Path(found).read_bytes())


def test_without_torch_s_threads_it_works_in_one(
    compiler: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_find_threading", lambda: iter(()))
    build = build_native()
    assert not build.is_threaded
    assert "-fopenmp" not in build.command


@pytest.mark.slow
def test_threads_that_cannot_be_linked_are_left_out(
    compiler: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_find_threading", lambda: iter(["/nowhere/libgomp.so"]))
    assert not build_native().is_threaded


def test_a_system_that_does_not_tell_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> str:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert list(building._find_threading()) == []


def test_a_compiler_that_does_not_know_the_processor(
    compiler: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f'case "$*" in *=native*) echo "error: unknown processor" >&2; exit 1;; esac\nexec {compiler} "$@"'
    write_compiler(tmp_path, script, monkeypatch)
    build = build_native()
    assert "native" not in build.command
    assert build.error < 2e-6


def test_no_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no-such-compiler", "/etc/passwd", "/etc/passwd/cc"):
        monkeypatch.setenv("CC", name)
        with pytest.raises(UsageError, match=f"^CC: '{name}' is not a working C compiler; install one"):
            build_native()
    assert list_files(cache) == []
    assert find_library() is None


def test_no_command(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "'cc")
    with pytest.raises(UsageError, match="is not a valid command line: No closing quotation"):
        build_native()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('echo "in file tiled.c:" >&2; echo "tiled.c:1: error: no luck" >&2; exit 1', "tiled.c:1: error: no luck"),
        ('echo "no license" >&2; exit 1', "no license"),
        ("exit 3", "exit status 3"),
        (
            'for last in "$@"; do :; done; echo nonsense > "$last"',
            "file too short|invalid ELF header|not a mach-o",
        ),
    ],
    ids=["an error", "a complaint", "silence", "nonsense"],
)
def test_a_compiler_that_fails(
    script: str, message: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_compiler(tmp_path, script, monkeypatch)
    with pytest.raises(
        UsageError, match=f"^CC: .*my cc.* cannot compile the native form: .*({message})"
    ) as caught:
        build_native()
    assert "\n" not in str(caught.value)
    assert list_files(cache) == []


def test_a_compiler_that_takes_forever(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: Any, timeout: float, **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UsageError, match="cc' took longer than 120 s to compile the native form"):
        build_native()


def test_a_folder_that_cannot_be_written(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(SurroundingsError, match=f"^cannot write {cache}"):
        build_native()


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("axes.h", "= p[at_sum] - p[at_difference]", "= p[at_sum] + p[at_difference]"),
        ("axes.h", "p[n++] = first - second", "p[n++] = second - first"),
        ("backward.c", "kinds[AFTER] - kinds[DIFFERENCE]", "kinds[AFTER] + kinds[DIFFERENCE]"),
        ("axes.h", "sum + difference, sum - difference", "sum + difference, sum + difference"),
    ],
    ids=["forward", "backward", "to the input", "to the weight"],
)
def test_what_computes_something_else_is_not_kept(
    name: str, right: str, wrong: str, compiler: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (SOURCE, *PARTS):
        shutil.copy(path, tmp_path)
    changed = tmp_path / name
    text = changed.read_text()
    assert text.count(right) == 1
    changed.write_text(text.replace(right, wrong))
    monkeypatch.setattr(building, "SOURCE", tmp_path / SOURCE.name)
    with pytest.raises(
        SurroundingsError, match=r"^the compiled form is off by \d\.\de[-+]\d+ of the largest value"
    ):
        build_native()
    assert list_files(cache) == []


def test_building_again_replaces_what_was_there_and_a_failure_leaves_it(
    compiler: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = locate_library()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"of old")
    assert build_native().path == path
    content = path.read_bytes()
    assert content != b"of old"
    write_compiler(tmp_path, "exit 1", monkeypatch)
    with pytest.raises(UsageError):
        build_native()
    assert path.read_bytes() == content
    assert sorted(os.listdir(path.parent)) == [path.with_suffix(".sha256").name, path.name]  # noqa: PTH208 # temporary folders too
