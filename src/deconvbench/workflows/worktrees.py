"""Commits of a repository, in git worktrees of their own: the user's working tree is never touched."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deconvbench.errors import UsageError
from deconvbench.runner.checkout import PRODUCTS
from deconvbench.system.scratch import make_scratch_folder, sweep_scratch_folders


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
    folders : tuple of Path
        In which its top-level modules are looked for, in this order: ``src`` and the folder itself, first those
        below the current folder, then those of the repository.
    has_products : bool
        True where it is a commit of this package, whose upsamplers alone are then measured.
    """

    name: str
    sha: str
    worktree: Path
    folders: tuple[Path, ...] = ()
    has_products: bool = True


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
    # a name that git would take for an option is not a commit either
    if not name.startswith("-"):
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
        If one is unknown, or holds no upsamplers although it is of this package.
    """
    hashes = [resolve_commit(repository, name) for name in names]
    prefix = _run_git(repository, "rev-parse", "--show-prefix").stdout.strip()
    sweep_scratch_folders()
    with make_scratch_folder() as folder:
        commits = []
        try:
            for index, (name, sha) in enumerate(zip(names, hashes, strict=True)):
                worktree = folder / f"{index}-{sha[:12]}"
                made = _run_git(repository, "worktree", "add", "--detach", "--force", str(worktree), sha)
                if made.returncode != 0:
                    raise UsageError(f"{name!r} cannot be checked out: {made.stderr.strip().splitlines()[-1]}")
                commits.append(_describe(name, sha, worktree, prefix))
            _check_products(commits)
            yield commits
        finally:
            for commit in commits:
                _run_git(repository, "worktree", "remove", "--force", str(commit.worktree))
            _run_git(repository, "worktree", "prune")


def _describe(name: str, sha: str, worktree: Path, prefix: str) -> Commit:
    places = dict.fromkeys((worktree / prefix / "src", worktree / prefix, worktree / "src", worktree))
    return Commit(
        name=name,
        sha=sha[:12],
        worktree=worktree,
        folders=tuple(place for place in places if place.is_dir()),
        has_products=not _list_missing(worktree),
    )


def _list_missing(worktree: Path) -> list[str]:
    """List the packages that are measured of a commit of this package, and that are not there."""
    source = worktree / "src"
    return [name for name in PRODUCTS if not (source / Path(*name.split(".")) / "__init__.py").exists()]


def _check_products(commits: Sequence[Commit]) -> None:
    """Refuse a commit of this package without upsamplers beside one that has them."""
    if any(commit.has_products for commit in commits):
        for commit in commits:
            for product in _list_missing(commit.worktree):
                raise UsageError(f"{commit.name!r} cannot be driven by this engine: it has no {product}")


def list_changed_files(repository: Path, base: str, head: str) -> list[str]:
    """List the files that differ between two commits.

    Parameters
    ----------
    repository : Path
        A checkout.
    base, head : str
        Commits.

    Returns
    -------
    list of str
        Paths from the top of the repository, with ``/`` between.
    """
    answer = _run_git(repository, "diff", "--name-only", "--no-renames", "-z", base, head)
    return [path for path in answer.stdout.split("\0") if path]
