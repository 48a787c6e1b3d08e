"""``deconvbench native`` as a user meets it."""

import shutil
from pathlib import Path

import pytest

from deconvbench.__main__ import main
from deconvbench.measure import native_gain
from deconvbench.upsamplers.fast.native import find_library


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_it_compiles_and_says_where(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(native_gain, "measure_native_gain", lambda: "it is fast")
    assert main(["native"]) == 0
    find_library.cache_clear()
    told = capsys.readouterr()
    path = Path(told.out.splitlines()[-1])
    assert path.is_file()
    assert path.is_relative_to(cache)
    assert "cc -O2" in told.err
    assert "it is fast" in told.err


def test_without_a_compiler_it_says_so_in_one_line(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert main(["native"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "CC: 'no-such-compiler' is not a working C compiler" in told.err
    assert len(told.err.splitlines()) == 1
