"""The compiled form is found where it belongs to this source, processor and torch, and may be absent."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.choice import NATIVE
from deconvbench.upsamplers.fast.native import Library, find_library, library
from deconvbench.upsamplers.fast.native.library import PARTS, SOURCE, locate_library
from tests.upsamplers.fast.native.conftest import SWITCH

X = torch.zeros(1, 8, 16, 16)


def place(content: bytes) -> None:
    path = locate_library()
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def test_where_nothing_is_everything_works(cache: Path) -> None:
    assert find_library() is None
    layer = ResizeConv2d(8, 4, implementation="tiled")
    assert layer.choose(X) == "tiled"
    assert layer(X).shape == (1, 4, 32, 32)
    assert not cache.exists()


def test_what_is_no_library_is_as_if_it_were_not_there(cache: Path) -> None:
    place(b"not a library")
    assert find_library() is None


def test_another_library_is_as_if_it_were_not_there(cache: Path) -> None:
    found = next(Path(torch.__file__).parent.glob("lib/libc10.*"))
    place(found.read_bytes())
    assert find_library() is None


def test_without_a_home_there_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", refuse)
    assert find_library() is None


def test_it_lies_in_the_user_s_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate_library().parent == cache / "deconvbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(cache))
    assert locate_library().parent == cache / ".cache" / "deconvbench"


def test_its_name_tells_source_processor_and_torch(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [locate_library().name]
    assert names == [locate_library().name]
    monkeypatch.setattr(torch, "__version__", "0.0.1")
    names.append(locate_library().name)
    monkeypatch.setattr(library, "_read_processor", lambda: ["another"])
    names.append(locate_library().name)
    for part in ("SOURCE", "PARTS"):
        other = tmp_path / part
        other.write_text("int other;")
        monkeypatch.setattr(library, part, other if part == "SOURCE" else (other,))
        names.append(locate_library().name)
    assert len(set(names)) == 5


def test_its_parts_are_all_that_is_included() -> None:
    assert {SOURCE, *PARTS} == {path for ending in "ch" for path in SOURCE.parent.glob(f"*.{ending}")}


def test_a_system_that_does_not_tell_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> str:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert len(library._read_processor()) == 1


def test_it_is_looked_for_once(native: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise AssertionError("again")

    monkeypatch.setattr(library, "locate_library", fail)
    layer = ResizeConv2d(8, 4, implementation="tiled")
    assert layer.choose(X) == NATIVE
    assert find_library() is native


def test_it_can_be_switched_off(native: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    find_library.cache_clear()
    assert find_library() is None
    assert ResizeConv2d(8, 4, implementation="tiled").choose(X) == "tiled"


def test_importing_does_not_look(native: Library) -> None:
    code = (
        "import deconvbench.nn\n"
        "from deconvbench.upsamplers.fast.native import find_library\n"
        "assert find_library.cache_info().currsize == 0\n"
        "assert find_library() is not None\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
