"""What there is to do with this project: ``nox -l`` lists it, ``nox`` runs tests, lint and typecheck.

All sessions share one environment, ``.nox/shared``: torch takes more than a gigabyte, and one is enough.
"""

import hashlib
import os
import shutil
import subprocess
import sys
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


@nox.session(python=["3.11", "3.12", "3.13"], default=False)
def matrix(session: nox.Session) -> None:
    """Run the tests on every supported Python that this machine has."""
    session.install("-c", "constraints.txt", "-e", ".", *nox.project.dependency_groups(PYPROJECT, "test"))
    session.run("python", "-m", "pytest", "-p", "no:benchmark", *session.posargs)


@nox.session(python="3.11", default=False)
def minimums(session: nox.Session) -> None:
    """Run the tests with the oldest versions that pyproject.toml allows."""
    declared = PYPROJECT["project"]["dependencies"]
    oldest = [requirement.split(";")[0].replace(">=", "==").strip() for requirement in declared]
    session.install(*oldest, "hypothesis", "-e", ".")
    session.run("python", "-m", "pytest", "-p", "no:benchmark", *session.posargs)


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build sdist and wheel into dist/, and check that both carry their data files."""
    session.install("build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *(str(path) for path in Path("dist").glob("*")))
