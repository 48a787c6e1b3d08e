"""Comparing two commits of this repository: ``deconvbench compare-commits BASE [HEAD]``.

Both are checked out into git worktrees of their own, so the user's working tree is never touched. One engine, the
one that runs, drives the upsamplers of both, interleaved replicate by replicate, so drift hits both alike.
"""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from deconvbench.analysis.comparison import compare
from deconvbench.analysis.intervals import DEFAULT_MARGIN
from deconvbench.errors import UsageError
from deconvbench.progress import JobObserver
from deconvbench.runner.checkout import PRODUCTS
from deconvbench.runner.engine import PlannedRun, run_tasks
from deconvbench.runner.folder import open_folder
from deconvbench.runner.plan import Plan
from deconvbench.runner.worker import WorkerError, WorkerOptions
from deconvbench.system.scratch import make_scratch_folder, sweep_scratch_folders
from deconvbench.workflows.run import RESULTS, finish_folder, make_run_folder, read_environment

COMPARED_REPLICATES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One of the two commits, checked out.

    Parameters
    ----------
    name : str
        As the user wrote it.
    sha : str
        Its first twelve digits.
    worktree : Path
        Where it is checked out.
    """

    name: str
    sha: str
    worktree: Path


def resolve_commit(repository: Path, name: str) -> str:
    """Find a commit.

    Parameters
    ----------
    repository : Path
        A checkout.
    name : str
        A branch, tag, hash or ``HEAD~1``.

    Returns
    -------
    str
        Its hash.

    Raises
    ------
    UsageError
        If git does not know it; a shallow clone is named as the likely reason.
    """
    answer = _run_git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if answer.returncode == 0:
        return answer.stdout.strip()
    if _run_git(repository, "rev-parse", "--git-dir").returncode != 0:
        raise UsageError(f"{repository} is not a git checkout, so it has no commits to compare")
    shallow = _run_git(repository, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
    hint = "; this clone is shallow: git fetch --unshallow" if shallow else ""
    raise UsageError(f"{name!r} is not a commit of this repository{hint}")


def _run_git(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(repository), *words], capture_output=True, text=True, check=False)


@contextlib.contextmanager
def check_out(repository: Path, names: Sequence[str]) -> Iterator[list[Commit]]:
    """Check commits out into worktrees, and remove these again whatever happens.

    Parameters
    ----------
    repository : Path
        A checkout; its working tree is not touched.
    names : sequence of str
        Commits.

    Yields
    ------
    list of Commit
        In the order of the names.

    Raises
    ------
    UsageError
        If one is unknown or holds no upsamplers.
    """
    hashes = [resolve_commit(repository, name) for name in names]
    sweep_scratch_folders()
    with make_scratch_folder() as folder:
        commits = []
        try:
            for index, (name, sha) in enumerate(zip(names, hashes, strict=True)):
                worktree = folder / f"{index}-{sha[:12]}"
                made = _run_git(repository, "worktree", "add", "--detach", "--force", str(worktree), sha)
                if made.returncode != 0:
                    raise UsageError(f"{name!r} cannot be checked out: {made.stderr.strip().splitlines()[-1]}")
                commits.append(Commit(name=name, sha=sha[:12], worktree=worktree))
                for product in PRODUCTS:
                    if not (worktree / "src" / Path(*product.split(".")) / "__init__.py").exists():
                        raise UsageError(f"{name!r} cannot be driven by this engine: it has no {product}")
            yield commits
        finally:
            for commit in commits:
                _run_git(repository, "worktree", "remove", "--force", str(commit.worktree))
            _run_git(repository, "worktree", "prune")


def compare_commits(
    repository: Path,
    base: str,
    head: str,
    plan: Plan,
    *,
    results: Path = RESULTS,
    base_python: str | None = None,
    margin: float = DEFAULT_MARGIN,
    observer: JobObserver = lambda _: None,
) -> tuple[pd.DataFrame, list[Path]]:
    """Measure two commits, interleaved, and compare them.

    Parameters
    ----------
    repository : Path
        A checkout of this project.
    base, head : str
        Commits.
    plan : Plan
        What to measure of both.
    results : Path
        The folder that holds ``runs``.
    base_python : str, optional
        Interpreter of an environment with BASE's dependencies, where they differ.
    margin : float
        See `compare`.
    observer : callable
        Receives each job done.

    Returns
    -------
    DataFrame
        From `compare`.
    list of Path
        The two run folders.

    Raises
    ------
    UsageError
        If a commit is unknown or its upsamplers cannot be driven.
    """
    environment = read_environment()
    with check_out(repository, (base, head)) as commits:
        tasks = []
        for commit, python in zip(commits, (base_python, None), strict=True):
            labelled = replace(plan, grid=replace(plan.grid, name=f"{plan.grid.name}-{commit.sha}"))
            folder = make_run_folder(labelled, results)
            open_folder(labelled, folder, {**environment, "code_version": commit.sha})
            options = WorkerOptions(products=commit.worktree / "src", code_version=commit.sha, python=python)
            tasks.append(PlannedRun(plan=labelled, folder=folder, options=options))
        try:
            run_tasks(tasks, observer=observer, finish=finish_folder)
        except WorkerError as error:
            raise UsageError(f"{base!r} or {head!r} cannot be driven by this engine: {error}") from error
    folders = [task.folder for task in tasks]
    return compare(folders[0], folders[1], margin), folders


def list_dependencies(repository: Path, name: str) -> str:
    """Read what a commit says it depends on, to see whether another environment is needed.

    Parameters
    ----------
    repository : Path
        A checkout.
    name : str
        A commit.

    Returns
    -------
    str
        Its constraints, empty where it has none.
    """
    sha = resolve_commit(repository, name)
    return _run_git(repository, "show", f"{sha}:constraints.txt").stdout
