"""The compiled form, compiled once for all its tests, and where they are skipped if there is no compiler."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deconvbench.upsamplers.fast.native import Library, build_native, building, find_library

SWITCH = "DECONVBENCH_NATIVE"
# where it was compiled: once for the tests of all folders, each of which has fixtures of its own
_BUILT: list[Path] = []


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, in which the compiled form is looked for; what is built there has one plan."""
    # all of them take ten seconds
    monkeypatch.setattr(building, "_FLAGS", (*building._FLAGS, "-DDECONVBENCH_FIRST_PLAN"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(SWITCH)
    find_library.cache_clear()
    yield tmp_path / "cache"
    find_library.cache_clear()


@pytest.fixture(scope="session")
def compiler() -> str:
    """The system's compiler."""
    found = shutil.which(os.environ.get("CC", "cc"))
    if found is None:
        pytest.skip("needs a C compiler")
    return found


@pytest.fixture(scope="session")
def compiled(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the compiled form in it."""
    if _BUILT:
        return _BUILT[0]
    folder = tmp_path_factory.mktemp("native")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        build_native()
    find_library.cache_clear()
    _BUILT.append(folder)
    return folder


@pytest.fixture
def native(compiled: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """The compiled form, found by every layer."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(compiled))
    library = find_library()
    assert library is not None
    return library
