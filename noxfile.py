"""What there is to do with this project: ``nox -l`` lists it, ``nox`` runs tests, lint and typecheck.

All sessions share one environment, ``.nox/shared``: torch takes more than a gigabyte, and one is enough.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import nox
from filelock import FileLock  # virtualenv, which nox is made of, brings it

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests", "lint", "typecheck"]
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
SHARED = ROOT / ".nox" / "shared"
BIN = SHARED / ("Scripts" if os.name == "nt" else "bin")
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
GROUPS = ("test", "lint", "typecheck", "docs")
# the run whose report is kept
QUICK = "results/reference/amd-epyc-2-cores/quick"
# what cog keeps up to date: tables made from results/reference and from the registry
GENERATED = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            "results",
            "metrics",
            "fast_layers",
            "article",
            "comparing",
            "recommending",
            "upsamplers",
            "audit",
            "training",
        )
    ),
)


def list_requirements() -> tuple[str, ...]:
    """Everything that the shared environment holds beside the package itself."""
    return nox.project.dependency_groups(PYPROJECT, *GROUPS)


def hold_environments() -> AbstractContextManager[object]:
    """Wait until no other nox makes an environment here."""
    SHARED.parent.mkdir(exist_ok=True)
    return FileLock(SHARED.parent / ".lock")


def prepare(session: nox.Session) -> None:
    """Make the shared environment, or leave it alone where nothing that decides on it has changed."""
    decisive = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    fingerprint = hashlib.sha256(b"".join(path.read_bytes() for path in decisive)).hexdigest()
    mark = SHARED / "fingerprint.txt"
    if mark.exists() and mark.read_text(encoding="ascii") == fingerprint:
        return
    with hold_environments():
        if mark.exists() and mark.read_text(encoding="ascii") == fingerprint:
            return  # another nox made it meanwhile
        session.run(sys.executable, "-m", "virtualenv", "--quiet", str(SHARED), silent=True, external=True)
        words = ("-m", "pip", "install", "-q", "-c", "constraints.txt", "-e", ".")
        run(session, "python", *words, *list_requirements())
        mark.write_text(fingerprint, encoding="ascii")


def run(session: nox.Session, program: str, *arguments: str, codes: tuple[int, ...] = (0,)) -> None:
    """Run a program of the shared environment."""
    session.run(str(BIN / program), *arguments, external=True, success_codes=list(codes))


# in every core, a file to a worker: what a module's fixtures make is made once
PYTEST = ("python", "-m", "pytest", "-ra", "-p", "no:benchmark", "-n", "logical", "--dist", "loadfile")
# what takes minutes and few installations could break
LONG = "slow or compile or process or browser"


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run what tells whether this installation can be trusted, in minutes; further words go to pytest."""
    prepare(session)
    run(session, *PYTEST, "-m", f"not ({LONG})", *session.posargs)


@nox.session(venv_backend="none", default=False)
def tests_all(session: nox.Session) -> None:
    """Run every test, or with ``-- --long`` those alone that the session `tests` leaves out."""
    prepare(session)
    words = [word for word in session.posargs if word != "--long"]
    chosen = () if words == list(session.posargs) else ("-m", LONG)
    run(session, *PYTEST, *chosen, *words)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check style, layers, and that the generated parts of README and docs are up to date."""
    prepare(session)
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")
    run(session, "lint-imports")
    run(session, "cog", "--check", "--diff", *GENERATED)


@nox.session(venv_backend="none")
def typecheck(session: nox.Session) -> None:
    """Check types with mypy, strictly."""
    prepare(session)
    run(session, "mypy", *session.posargs)


@nox.session(venv_backend="none", default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build; warnings are errors."""
    prepare(session)
    run(session, "python", "-m", "sphinx", "-W", "--keep-going", "-q", "docs", "docs/_build", *session.posargs)
    session.log("docs/_build/index.html")


@nox.session(venv_backend="none", default=False)
def bench(session: nox.Session) -> None:
    """Measure the preset `quick` through pytest-benchmark, save it, and write the report; words go to pytest."""
    prepare(session)
    saving = ["--benchmark-autosave", "--benchmark-save-data", "--benchmark-columns=min,median,rounds"]
    run(session, "python", "-m", "pytest", "-ra", "bench", *saving, *session.posargs)
    run(session, "deconvbench", "claims")
    run(session, "deconvbench", "report")


@nox.session(venv_backend="none", default=False)
def report(session: nox.Session) -> None:
    """Judge the article's claims and write the report, of the newest run or of those given."""
    prepare(session)
    words = list(session.posargs)
    results = words[words.index("--results") :][:2] if "--results" in words else []
    for folder in [word for word in words if word and (Path(word) / "run.json").exists()] or [""]:
        run(session, "deconvbench", "claims", *filter(None, [folder]), *results)
    run(session, "deconvbench", "report", *words)


@nox.session(venv_backend="none", default=False)
def reference_report(session: nox.Session) -> None:
    """Write the report of results/reference again, from its tables; ``-- --check`` says if it is current."""
    prepare(session)
    run(session, "python", "-m", "bench.reference_report", *session.posargs)


@nox.session(venv_backend="none", default=False)
def browser(session: nox.Session) -> None:
    """Run the tests that drive a real browser (Debian: apt-get install chromium); words go to pytest."""
    prepare(session)
    run(session, "python", "-m", "pytest", "-ra", "-p", "no:benchmark", "-m", "browser", *session.posargs)


@nox.session(venv_backend="none", default=False)
def compare(session: nox.Session) -> None:
    """Compare the upsamplers of two commits, ``-- BASE [HEAD] [--fail-on slower,inconclusive]``."""
    prepare(session)
    words = list(session.posargs)
    if words and not words[0].startswith("-"):
        words += prepare_base(session, words[0])
    run(session, "deconvbench", "compare-commits", *words)


def prepare_base(session: nox.Session, base: str) -> list[str]:
    """Make a second environment with BASE's versions, where its constraints are not ours."""
    asked = subprocess.run(["git", "show", f"{base}:constraints.txt"], capture_output=True, check=False)
    if asked.returncode != 0 or asked.stdout == (ROOT / "constraints.txt").read_bytes():
        return []  # the same versions, or a commit that the comparison itself will refuse by name
    folder = ROOT / ".nox" / f"base-{hashlib.sha256(asked.stdout).hexdigest()[:12]}"
    python = folder / BIN.name / "python"
    constraints = folder / "constraints.txt"
    with hold_environments():
        if not constraints.exists():
            session.run(sys.executable, "-m", "virtualenv", "--quiet", str(folder), silent=True, external=True)
            draft = folder / "asked.txt"
            draft.write_bytes(asked.stdout)
            words = ("-m", "pip", "install", "-q", "-c", str(draft), "-e", ".")
            session.run(str(python), *words, external=True)
            draft.replace(constraints)
    return ["--base-python", str(python)]


@nox.session(venv_backend="none", default=False)
def experiments(session: nox.Session) -> None:
    """Train the article's networks with exchanged upsamplers (estimated: half an hour); words go to `train`."""
    prepare(session)
    run(session, "deconvbench", "train", *session.posargs)


@nox.session(venv_backend="none", default=False)
def ship_trained(session: nox.Session) -> None:
    """Renew what ships of trained networks and every page that shows it, ``-- FOLDER...`` of `train`; minutes."""
    prepare(session)
    run(session, "python", "-m", "bench.ship_trained", *session.posargs)
    run(session, "deconvbench", "claims", QUICK, "--results", "src/deconvbench/tables/trained_results")
    shutil.copyfile(f"{QUICK}/claims.json", "results/reference/experiments/claims.json")
    run(session, "python", "-m", "bench.reference_report")
    run(session, "cog", "-r", *GENERATED)


@nox.session(venv_backend="none", default=False)
def goals(session: nox.Session) -> None:
    """Print each speed, rate and share that the project aims at, with its limit and the machine; always passes."""
    prepare(session)
    run(session, "python", "-m", "bench.goals", *session.posargs, codes=tuple(range(256)))


@nox.session(venv_backend="none", default=False)
def cuda(session: nox.Session) -> None:
    """Run the tests that need a CUDA device, in the Python that runs nox (which must have a CUDA torch)."""
    session.run(
        sys.executable,
        *("-m", "pytest", "-p", "no:benchmark", "-m", "cuda", *session.posargs),
        env={"PYTHONPATH": "src"},
        external=True,
    )


# the last patch of every release of torch from the oldest that pyproject.toml allows
TORCHES = ("2.9.1", "2.10.0", "2.11.0", "2.12.1", "2.13.0", "2.14.1", "2.15.0")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PAIRS = [
    nox.param(python, torch, id=f"py{python}-torch{torch}", tags=[f"py{python}", f"torch{torch}"])
    for python in PYTHONS
    for torch in TORCHES
]
# what runs where torch is not installed; modules that need it all the same are skipped (tests/conftest.py)
TORCH_FREE = (
    *("records", "tables", "analysis", "plots", "report", "theory", "system"),
    *("test_statistics.py", "test_replicates.py", "test_units.py", "workflows/test_merge.py"),
)
# a run that is kept for tests: with its tables, so nothing of it needs torch
SAMPLE = ROOT / "tests" / "samples" / "before_packages" / "run"
WITHOUT_TORCH: set[str] = set()


@nox.session(venv_backend="none", default=False)
@nox.parametrize(["release", "torch"], PAIRS)
def matrix(session: nox.Session, release: str, torch: str) -> None:
    """Run the tests and the smallest preset with another Python and torch; words go to pytest.

    A Python that is not installed is skipped. Where the torch cannot be installed, what does without it runs, once
    for each Python.
    """
    program = find_python(release)
    if program is None:
        session.skip(f"Python {release} is not installed here")
    can_install = can_install_torch(release, torch)
    if not can_install and release in WITHOUT_TORCH:
        session.skip(f"torch {torch} cannot be installed here for Python {release}; what does without it has run")
    name = f"py{release}-torch{torch}" if can_install else f"py{release}"
    python = make_environment(session, f"matrix-{name}", program)
    fill_environment(session, python, name_torch(torch) if can_install else "")
    with tempfile.TemporaryDirectory() as scratch:
        if can_install:
            run_whole(session, python, Path(scratch) / "run")
        else:
            session.warn(f"torch {torch} cannot be installed here for Python {release}: what needs it is left out")
            WITHOUT_TORCH.add(release)
            read_whole(session, python, Path(scratch))


def run_whole(session: nox.Session, python: Path, folder: Path) -> None:
    """Run the tests that tell whether an installation can be trusted, and the smallest preset."""
    call(session, python, *PYTEST[1:], "-m", f"not ({LONG})", *session.posargs)
    call(session, python, "-m", "deconvbench", "run", "--preset", "smoke", "--out", str(folder))
    call(session, python, "-m", "deconvbench", "report", str(folder))


def read_whole(session: nox.Session, python: Path, scratch: Path) -> None:
    """Run the tests of what needs no torch, and reports and comparisons of a run that is there."""
    tests = [str(Path("tests") / name) for name in TORCH_FREE]
    call(session, python, *PYTEST[1:], "-m", f"not ({LONG})", *tests, *session.posargs)
    for name in "ab":
        shutil.copytree(SAMPLE, scratch / name)
    call(session, python, "-m", "deconvbench", "report", str(scratch / "a"))
    call(session, python, "-m", "deconvbench", "compare", str(scratch / "a"), str(scratch / "b"))


def call(session: nox.Session, python: Path, *words: str) -> None:
    """Run Python of another environment."""
    session.run(str(python), *words, external=True)


def find_python(release: str) -> Path | None:
    """Find an interpreter of a release: on the path, or where pyenv and uv keep theirs."""
    name = f"python{release}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    homes = (pyenv / "versions", Path.home() / ".local" / "share" / "uv" / "python")
    kept = [path for home in homes for path in sorted(home.glob(f"*{release}.*/bin/{name}"), reverse=True)]
    found = shutil.which(name)
    for program in (Path(sys.executable), *([Path(found)] if found else []), *kept):
        # one on the path may be a shim that leads nowhere
        question = [str(program), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        answer = subprocess.run(question, capture_output=True, text=True, check=False)
        if answer.stdout.strip() == release:
            return program
    return None


def name_torch(release: str) -> str:
    """Name a release of torch for pip: without CUDA, which takes gigabytes, where there is such a build."""
    has_both = sys.platform == "linux" and platform.machine() == "x86_64"
    return f"torch=={release}{'+cpu' * has_both}"


def can_install_torch(python: str, release: str) -> bool:
    """Ask pip whether it finds this torch for that Python; nothing is downloaded but what describes it."""
    with tempfile.TemporaryDirectory() as scratch:
        words = [
            "-m",
            "pip",
            "install",
            "-q",
            "--dry-run",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--target",
            scratch,
        ]
        words += ["--python-version", python, name_torch(release)]
        return subprocess.run([sys.executable, *words], capture_output=True, check=False).returncode == 0


def make_environment(session: nox.Session, name: str, program: Path) -> Path:
    """Make an environment beside the shared one, and return its Python."""
    folder = ROOT / ".nox" / name
    words = ("-m", "virtualenv", "--quiet", "-p", str(program), str(folder))
    session.run(sys.executable, *words, silent=True, external=True)
    return folder / BIN.name / "python"


def fill_environment(session: nox.Session, python: Path, torch: str) -> None:
    """Install the package with what it and its tests need, pinned but for torch, which is given or left out."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    constraints = python.parents[1] / "constraints.txt"
    constraints.write_text("\n".join(line for line in pins if not line.startswith("torch==")), encoding="utf-8")
    needed = [*PYPROJECT["project"]["dependencies"], *nox.project.dependency_groups(PYPROJECT, "test")]
    needed = [requirement for requirement in needed if not requirement.startswith("torch")]
    pip = ("-m", "pip", "install", "-q", "-c", str(constraints))
    call(session, python, *pip, *needed, *filter(None, [torch]))
    call(session, python, *pip, "--no-deps", "-e", ".")


@nox.session(venv_backend="none", default=False)
def minimums(session: nox.Session) -> None:
    """Run the tests with the oldest versions that pyproject.toml allows, on the oldest Python; words go to pytest.

    Where the oldest torch cannot be installed, that of constraints.txt takes its place, and is named.
    """
    program = find_python(PYTHONS[0])
    if program is None:
        session.skip(f"Python {PYTHONS[0]} is not installed here")
    declared = [requirement.split(";")[0].strip() for requirement in PYPROJECT["project"]["dependencies"]]
    oldest = [requirement.replace(">=", "==") for requirement in declared if not requirement.startswith("torch")]
    (torch,) = [requirement.partition(">=")[2] for requirement in declared if requirement.startswith("torch")]
    oldest_torch = f"{torch}.0"
    if not can_install_torch(PYTHONS[0], oldest_torch):
        pinned = re.search(
            r"^torch==([\d.]+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
        )
        assert pinned is not None
        session.warn(f"torch {oldest_torch} cannot be installed here: torch {pinned[1]} takes its place")
        oldest_torch = pinned[1]
    python = make_environment(session, "minimums", program)
    # of what the tests alone need, any version will do; of what memray brings, one that goes with the oldest rich
    tests = ["textual<1"]
    tests += [r for r in nox.project.dependency_groups(PYPROJECT, "test") if not r.startswith("pytest>")]
    call(session, python, "-m", "pip", "install", "-q", *oldest, name_torch(oldest_torch), *tests)
    call(session, python, "-m", "pip", "install", "-q", "--no-deps", "-e", ".")
    # an old matplotlib calls what its own needs deprecate by now
    old = ("-W", "ignore::DeprecationWarning")
    call(session, python, *PYTEST[1:], *old, "-m", f"not ({LONG})", *session.posargs)


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build sdist and wheel into dist/, check them, and run the wheel where there is no source tree."""
    session.install("build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *(str(path) for path in Path("dist").glob("*")))
    prepare(session)
    run(
        session,
        *PYTEST[:3],
        "-ra",
        "-p",
        "no:benchmark",
        "-p",
        "no:xdist",
        "tests/test_wheel.py",
        *session.posargs,
    )
