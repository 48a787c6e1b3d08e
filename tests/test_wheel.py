"""The package as others get it: built from the source distribution, installed where there is no source tree.

The environment is empty but for the wheel; what the package needs is found in the tests' own one, by its folders
alone, so that an editable install there is not seen.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.process]

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "deconvbench"


def call(*words: str | Path, cwd: Path, **variables: str) -> str:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "DECONVBENCH_NATIVE")}
    answer = subprocess.run(
        list(map(str, words)), cwd=cwd, env={**kept, **variables}, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def build(kind: str, source: Path, out: Path) -> Path:
    """Build with the backend that pyproject.toml names, as pip would, but without an environment of its own."""
    # the backend may be on the path that other commands must not have
    variables = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    call(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", out, cwd=source, **variables)
    (made,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the unpacked source distribution, so that whatever that lacks the wheel lacks too."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    return build("wheel", source, folder / "dist")


class Installed:
    """A virtual environment with the wheel, and a folder to work in."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        home = folder / "venv"
        call(sys.executable, "-m", "venv", "--without-pip", home, cwd=folder)
        places = {"base": str(home), "platbase": str(home)}
        self.python = Path(sysconfig.get_path("scripts", "venv", places)) / Path(sys.executable).name
        self.site = Path(sysconfig.get_path("purelib", "venv", places))
        needed = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
        (self.site / "needed.pth").write_text("\n".join(needed))
        options = ("--isolated", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check")
        call(sys.executable, "-m", "pip", "--python", self.python, "install", *options, wheel, cwd=folder)

    def run(self, *words: str) -> str:
        """Run the installed command; the last line of what it prints."""
        program = self.python.with_name("deconvbench")
        cache = {"XDG_CACHE_HOME": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"}
        return call(program, *words, cwd=self.folder, **cache).strip().rpartition("\n")[2]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


def list_sources() -> set[str]:
    found = (path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def test_the_wheel_is_pure_and_has_every_file_of_the_package(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == list_sources()
    assert {Path(name).suffix for name in names} >= {
        ".c",
        ".h",
        ".css",
        ".j2",
        ".js",
        ".json",
        ".parquet",
        ".toml",
    }


def test_the_source_distribution_has_what_its_sessions_run(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"noxfile.py", "constraints.txt", "pyproject.toml", "tests/conftest.py", "bench/goals.py"} <= names
    assert {f"src/{name}" for name in list_sources()} <= names


def test_it_runs_where_there_is_no_source_tree(installed: Installed) -> None:
    where = call(installed.python, "-c", "import deconvbench; print(deconvbench.__file__)", cwd=installed.folder)
    assert Path(where.strip()).is_relative_to(installed.site)
    assert installed.run("--version") == f"deconvbench {read_version()}"

    run = installed.folder / installed.run("run", "--preset", "smoke", "--replicates", "1", "--out", "smoke")
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert info["environment"]["code_version"] == read_version()  # of no checkout, wherever this runs
    assert installed.run("claims", "smoke")
    assert json.loads((run / "claims.json").read_text(encoding="utf-8"))["rows"]
    page = installed.folder / installed.run("report", "smoke")
    assert "<!DOCTYPE html>" in page.read_text(encoding="utf-8")[:200]
    assert installed.run("recommend", "--json")  # from the tables that ship with the package


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_it_compiles_its_native_form(installed: Installed) -> None:
    library = Path(installed.run("native"))
    assert library.is_file()
    assert library.is_relative_to(installed.folder)


def read_version() -> str:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version ="))
