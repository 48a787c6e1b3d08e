"""A process that is to run what this one has takes its modules from the same files."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deconvbench.system.imports import list_taken, order_path, search_current_folder, start_like_this

REPORT = "import mine, sys; print(mine.WHO)"
HOSTILE = "raise SystemExit('the {} of the user')"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Search paths and modules of its own, in an empty folder."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mine", "reporting")]:
        del sys.modules[name]


def run(module: str, **options: object) -> subprocess.CompletedProcess[str]:
    with start_like_this(module, **options) as (command, descriptors):  # type: ignore[arg-type] # as a test gives them
        return subprocess.run(command, pass_fds=descriptors, capture_output=True, text=True, check=False)


def as_file(folder: Path) -> None:
    write(folder / "elsewhere" / "mine.py", "WHO = __file__")


def as_package(folder: Path) -> None:
    write(folder / "elsewhere" / "mine" / "__init__.py", "from mine.parts import WHO")
    write(folder / "elsewhere" / "mine" / "parts.py", "WHO = __file__")


def as_zip(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    with zipfile.ZipFile(folder / "elsewhere" / "all.zip", "w") as file:
        file.writestr("mine.py", "WHO = __file__")
    sys.path.append(str(folder / "elsewhere" / "all.zip"))


def as_bytecode(folder: Path) -> None:
    import py_compile

    source = write(folder / "source.py", "WHO = 'bytecode'")
    py_compile.compile(str(source), str(folder / "elsewhere" / "mine.pyc"))


@pytest.mark.process
@pytest.mark.parametrize("make", [as_file, as_package, as_zip, as_bytecode])
@pytest.mark.parametrize("later", ["path gone", "folder changed", "another of the name"])
def test_what_was_imported_here_is_imported_there(
    make: Callable[[Path], None], later: str, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(clean)
    sys.path.insert(0, "elsewhere")  # relative, as scripts have it
    import mine  # type: ignore[import-not-found] # just made

    write(clean / "other" / "reporting.py", REPORT)
    sys.path.append(str(clean / "other"))
    if later == "path gone":
        sys.path.remove("elsewhere")
    elif later == "folder changed":
        write(clean / "third" / "elsewhere" / "mine.py", "WHO = 'another'")
        monkeypatch.chdir(clean / "third")
    else:
        write(clean / "other" / "mine.py", "WHO = 'another'")
        sys.path.insert(0, str(clean / "other"))
    ended = run("reporting")
    assert (ended.stdout, ended.returncode) == (f"{mine.WHO}\n", 0), ended.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    "name", ["random", "types", "json", "runpy", "contextlib", "torch", "typing", "encodings"]
)
def test_a_file_in_the_current_folder_takes_no_module_s_place(name: str, clean: Path) -> None:
    write(clean / f"{name}.py", HOSTILE.format(name))
    write(clean / name / "__init__.py", HOSTILE.format(name))
    write(clean / "other" / "reporting.py", f"import deconvbench.errors, {name}; print({name}.__file__)")
    sys.path.append(str(clean / "other"))
    sys.path.insert(0, "")  # as in a notebook
    ended = run("reporting")
    assert ended.returncode == 0, ended.stderr
    assert str(clean) not in ended.stdout


@pytest.mark.process
def test_another_interpreter_keeps_its_own_packages(clean: Path, tmp_path: Path) -> None:
    other = clean / "bin" / "python"
    write(other, f'#!/bin/sh\nexec "{sys.executable}" -I "$@"\n').chmod(0o755)
    write(clean / "user" / "reporting.py", "import deconvbench, sys; print(deconvbench.__file__); print(sys.path)")
    sys.path.insert(0, str(clean / "user"))
    sys.path.append("/of/the/first/site-packages")
    ended = run("reporting", python=str(other))
    place, path = ended.stdout.splitlines()
    assert place == sys.modules["deconvbench"].__file__
    assert path.index("lib-dynload") < path.index(str(clean / "user"))  # behind its own


def test_folders_that_are_named_come_first(clean: Path) -> None:
    write(clean / "elsewhere" / "mine.py", "WHO = 'elsewhere'")
    sys.path.append(str(clean / "elsewhere"))
    import mine  # noqa: F401 -- to have a place

    write(clean / "named" / "mine.py", "WHO = 'named'")
    write(clean / "named" / "reporting.py", REPORT)
    assert run("reporting", search_path=["named"]).stdout == "named\n"


def test_the_current_folder_comes_behind_the_standard_library(clean: Path) -> None:
    library = str(Path(os.__file__).parent)
    sys.path[:] = ["", str(clean), "/first", library, f"{library}/lib-dynload", "/site-packages"]
    assert order_path() == ["/first", library, f"{library}/lib-dynload", str(clean), "/site-packages"]
    sys.path[:] = ["/first", library, "/site-packages", "", "relative"]
    expected = ["/first", library, "/site-packages", str(clean), str(clean / "relative")]
    assert order_path() == expected


def test_a_current_folder_that_is_gone_is_left_out(clean: Path) -> None:
    gone = clean / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    sys.path.insert(0, "")
    assert "" not in order_path()
    assert str(gone) not in order_path()


def test_modules_that_are_none_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blocked", None)
    monkeypatch.setitem(sys.modules, "strange", object())
    taken = list_taken()
    assert not {"blocked", "strange", "sys", "__main__"} & taken.keys()
    assert taken["json"][0] == sys.modules["json"].__file__


def test_a_layer_s_module_is_found_in_the_current_folder_first_and_all_else_last(clean: Path) -> None:
    write(clean / "elsewhere" / "mine.py", "WHO = 'elsewhere'")
    write(clean / "elsewhere" / "reporting.py", "WHO = 'elsewhere'")
    sys.path.insert(0, str(clean / "elsewhere"))
    write(clean / "mine.py", "WHO = 'here'")
    write(clean / "reporting.py", "WHO = 'here'")
    search_current_folder(["mine", "not_there.at_all"])
    import mine
    import reporting  # type: ignore[import-not-found] # just made

    assert (mine.WHO, reporting.WHO) == ("here", "elsewhere")
    assert sys.path[-1] == str(clean)
