"""What the sessions choose: ids, tags, interpreters; the workflow runs the same pairs."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
nox = pytest.importorskip("nox", reason="the group typecheck brings it")


@pytest.fixture(scope="module")
def noxfile() -> ModuleType:
    spec = importlib.util.spec_from_file_location("noxfile_under_test", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pairs_have_readable_ids_and_tags(noxfile: ModuleType) -> None:
    ids = [str(pair.id) for pair in noxfile.PAIRS]
    assert len(set(ids)) == len(noxfile.PYTHONS) * len(noxfile.TORCHES)
    assert "py3.12-torch2.13.0" in ids
    assert noxfile.PAIRS[0].tags == ["py3.11", "torch2.9.1"]


def test_the_workflow_runs_the_same_pairs(noxfile: ModuleType) -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    for name, releases in (("python", noxfile.PYTHONS), ("torch", noxfile.TORCHES)):
        listed = ", ".join(f'"{release}"' for release in releases)
        assert f"        {name}: [{listed}]\n" in text


def test_the_oldest_releases_are_those_of_pyproject(noxfile: ModuleType) -> None:
    project = noxfile.PYPROJECT["project"]
    assert project["requires-python"] == f">={noxfile.PYTHONS[0]}"
    assert f"torch>={noxfile.TORCHES[0].rpartition('.')[0]}" in project["dependencies"]
    classifiers = [f"Programming Language :: Python :: {release}" for release in noxfile.PYTHONS]
    assert [line for line in project["classifiers"] if ":: Python :: 3." in line] == classifiers


def test_an_interpreter_that_leads_nowhere_is_not_taken(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "bin" / "python3.99"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\necho no such version >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(shim.parent))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert noxfile.find_python("3.99") is None
    real = tmp_path / "pyenv" / "versions" / "3.99.1" / "bin" / "python3.99"
    real.parent.mkdir(parents=True)
    real.write_text("#!/bin/sh\necho 3.99\n")
    real.chmod(0o755)
    assert noxfile.find_python("3.99") == real
    own = "{}.{}".format(*sys.version_info[:2])
    assert noxfile.find_python(own) == Path(sys.executable)


class FakeSession:
    """A session that notes what it is told."""

    def __init__(self) -> None:
        self.posargs: list[str] = []
        self.warnings: list[str] = []

    def skip(self, reason: str) -> None:
        raise _SkippedError(reason)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class _SkippedError(Exception):
    pass


@pytest.fixture
def calls(noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the sessions would do, instead of doing it."""
    made: list[str] = []
    names = ("run_whole", "read_whole", "fill_environment")
    for name in names:
        monkeypatch.setattr(noxfile, name, lambda *words, name=name: made.append(name))

    def make(_session: object, name: str, _program: Path) -> Path:
        made.append(name)
        return Path("python")

    monkeypatch.setattr(noxfile, "make_environment", make)
    monkeypatch.setattr(noxfile, "WITHOUT_TORCH", set())
    return made


def test_a_missing_python_is_skipped_and_named_also_in_continuous_integration(
    noxfile: ModuleType, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(noxfile, "find_python", lambda _: None)
    session: Any = FakeSession()
    with pytest.raises(_SkippedError, match=r"^Python 3\.14 is not installed here$"):
        noxfile.matrix.func(session, "3.14", "2.13.0")
    assert calls == []


def test_without_torch_the_rest_runs_once_for_each_python(
    noxfile: ModuleType, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noxfile, "find_python", lambda _: Path(sys.executable))
    monkeypatch.setattr(noxfile, "can_install_torch", lambda _, torch: torch == "2.13.0")
    session: Any = FakeSession()
    noxfile.matrix.func(session, "3.12", "2.9.1")
    assert calls == ["matrix-py3.12", "fill_environment", "read_whole"]
    assert session.warnings == ["torch 2.9.1 cannot be installed here for Python 3.12: what needs it is left out"]
    with pytest.raises(_SkippedError, match="torch 2.10.0 cannot be installed here for Python 3.12"):
        noxfile.matrix.func(session, "3.12", "2.10.0")
    calls.clear()
    noxfile.matrix.func(session, "3.12", "2.13.0")
    assert calls == ["matrix-py3.12-torch2.13.0", "fill_environment", "run_whole"]
