"""A project's measurements over its commits: runs are found and read, commits put into their order, and judged.

The order is that of git where the repository knows all commits, else that of time. Draws and prints nothing.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from deconvbench.analysis.comparison_input import Side, read_side
from deconvbench.analysis.history import History, MeasuredCommit, find_history
from deconvbench.analysis.intervals import DEFAULT_LEVEL, DEFAULT_MARGIN
from deconvbench.errors import RunFolderError, UsageError, explain_os_error, quote
from deconvbench.records.run_folder import JOURNAL_NAME, RUN_NAME
from deconvbench.system.paths import check_path
from deconvbench.system.texts import tidy_line
from deconvbench.tables.files import TABLE_NAME
from deconvbench.workflows.worktrees import resolve_commit

# what marks a folder as one of a run
_RUN_FILES = (JOURNAL_NAME, RUN_NAME, TABLE_NAME)
# of a hash, in tables
_DIGITS = 10
_DIRTY = "+dirty"
_LEAST_SHA = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a run belongs.

    Parameters
    ----------
    commit : str
        Its name in tables.
    sha : str
        Its whole hash; empty where the repository does not know it.
    rank : tuple
        By which commits are ordered.
    """

    commit: str
    sha: str
    rank: tuple[float, bool, str]


def history(
    runs: str | Path | Sequence[str | Path],
    margin: float = DEFAULT_MARGIN,
    level: float = DEFAULT_LEVEL,
    repository: str | Path | None = None,
) -> pd.DataFrame:
    """Find the commits between which cases became slower or faster.

    Parameters
    ----------
    runs : str, Path or sequence of these
        Run folders, files that pytest-benchmark saved, or folders that hold them. Runs of one commit count
        together.
    margin : float
        Changes up to this share do not count, 0 and up, below 1.
    level : float
        Probability that nothing is found in any case of a machine where nothing changes.
    repository : str or Path, optional
        Checkout whose history orders the commits; the current folder by default. Where it does not know all of
        them, the time of each decides.

    Returns
    -------
    DataFrame
        Columns `deconvbench.analysis.history.HISTORY_COLUMNS`. A change is `slower` or `faster`, with the ratio of
        the level after it to that before and its interval, and lies in ``last_before..first_after`` with a
        probability of 95 %. A case without change has one row, `same`, or `inconclusive` with fewer than six
        commits. Memory, multiply-accumulates and artifacts are `larger` or `smaller` from one commit to the next.

    Raises
    ------
    UsageError
        If nothing can be read, there are fewer than two commits, a run is of several machines, margin or level is
        off, or `ruptures` is not installed.
    RunFolderError
        If one of the runs named is neither a run folder nor a file of pytest-benchmark.
    """
    return trace_history(runs, margin, level, repository).changes


def trace_history(
    runs: str | Path | Sequence[str | Path],
    margin: float = DEFAULT_MARGIN,
    level: float = DEFAULT_LEVEL,
    repository: str | Path | None = None,
) -> History:
    """Find the changes, with every point that they rest on.

    Parameters
    ----------
    runs, margin, level, repository
        As for `history`.
    """
    given = [runs] if isinstance(runs, str | Path) else [*runs]
    if not given:
        raise UsageError("RUN: none given; name run folders, files of pytest-benchmark, or folders that hold them")
    sides, notes = read_sides([check_path(path, "RUN") for path in given])
    checkout = Path() if repository is None else check_path(repository, "repository")
    places, order = place_sides(sides, checkout)
    measured: dict[str, list[Side]] = {}
    for place, side in sorted(zip(places, sides, strict=True), key=lambda pair: pair[0].rank):
        measured.setdefault(place.commit, []).append(side)
    found = find_history(
        [MeasuredCommit(commit=commit, sides=members) for commit, members in measured.items()], margin, level
    )
    shas = {place.commit: place.sha for place in places}
    counts = [
        _count_commits(checkout, shas.get(before, ""), shas.get(after, "")) or commits
        for before, after, commits in zip(
            found.changes["last_before"], found.changes["first_after"], found.changes["commits"], strict=True
        )
    ]
    return replace(
        found, changes=found.changes.assign(commits=counts), notes=(*filter(None, [order]), *notes, *found.notes)
    )


def read_sides(paths: Sequence[Path]) -> tuple[list[Side], list[str]]:
    """Read runs, and what folders hold of them.

    Parameters
    ----------
    paths : sequence of Path
        Run folders, files or folders of these.

    Returns
    -------
    sides, notes : list of Side, list of str
        What could be read, each file once, and which files of a folder could not.
    """
    sides: list[Side] = []
    unread: list[str] = []
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise RunFolderError(f"RUN: {quote(str(path))} does not exist")
        is_own = path.is_file() or _is_run(path)
        for source in [path] if is_own else _list_runs(path):
            if source.resolve() in seen:
                continue
            seen.add(source.resolve())
            try:
                sides.append(read_side(source))
            except RunFolderError:
                if is_own:
                    raise
                unread.append(str(source))
    if not sides:
        where = ", ".join(quote(str(path)) for path in paths)
        raise UsageError(f"RUN: {where} holds no run folder and no file of pytest-benchmark")
    if not unread:
        return sides, []
    others = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
    return sides, [f"not read, since it is not a run: {tidy_line(unread[0])}{others}"]


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _RUN_FILES)


def _list_runs(folder: Path) -> Iterator[Path]:
    """List the run folders and JSON files below a folder, in the order of their names."""

    def refuse(error: OSError) -> None:
        raise RunFolderError(f"RUN: cannot read {quote(str(folder))}: {explain_os_error(error)}") from error

    for here, folders, files in os.walk(folder, onerror=refuse):
        if _is_run(Path(here)):
            folders.clear()
            yield Path(here)
            continue
        folders.sort()
        yield from (Path(here, name) for name in sorted(files) if name.endswith(".json"))


def place_sides(sides: Sequence[Side], repository: Path) -> tuple[list[_Place], str]:
    """Find the commit and the place of each run.

    Parameters
    ----------
    sides : sequence of Side
        The runs.
    repository : Path
        A checkout, or any other folder.

    Returns
    -------
    places, note : list, str
        In the order of the runs, and what must be known of the order; empty where it is that of git.
    """
    names = {name.removesuffix(_DIRTY) for side in sides for name in side.commits}
    known = _resolve_all(repository, sorted(names))
    ranks = _rank_commits(repository, {*known.values()})
    chosen = [next((name for name in side.commits if name.removesuffix(_DIRTY) in known), None) for side in sides]
    if None not in chosen:
        places = []
        for name in filter(None, chosen):
            sha, is_dirty = known[name.removesuffix(_DIRTY)], name.endswith(_DIRTY)
            label = f"{sha[:_DIGITS]}{_DIRTY * is_dirty}"
            places.append(_Place(commit=label, sha=sha, rank=(ranks[sha], is_dirty, label)))
        return places, ""
    unknown = [side for side, name in zip(sides, chosen, strict=True) if name is None]
    places = [_place_by_time(side) for side in sides]
    # runs of one commit belong together, at the time of the first
    first = {place.commit: min(other.rank for other in places if other.commit == place.commit) for place in places}
    return [replace(place, rank=first[place.commit]) for place in places], (
        f"commits are in the order of time: the repository does not know that of {tidy_line(unknown[0].name)}"
        f"{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''}"
    )


def _place_by_time(side: Side) -> _Place:
    moment = _parse_time(side.measured_at)
    label = _shorten(side.commits[0]) if side.commits else tidy_line(side.measured_at or side.name)
    return _Place(commit=label, sha="", rank=(moment, False, side.name))


def _shorten(name: str) -> str:
    return f"{name.removesuffix(_DIRTY)[:_DIGITS]}{_DIRTY * name.endswith(_DIRTY)}"


def _parse_time(text: str) -> float:
    """Seconds since 1970; of a text that is not a time, minus infinity."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return float("-inf")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _resolve_all(repository: Path, names: Sequence[str]) -> dict[str, str]:
    """Find the whole hash of each commit that the repository knows, in one call."""
    asked = [name for name in names if _LEAST_SHA.fullmatch(name)]
    lines = _ask_git(
        repository, "cat-file", "--batch-check", typed="".join(f"{name}^{{commit}}\n" for name in asked)
    )
    # a name that is ambiguous or missing has a line too
    return {
        name: words[0]
        for name, words in zip(asked, map(str.split, lines), strict=False)
        if len(words) == 3 and words[1] == "commit"
    }


def _rank_commits(repository: Path, shas: Iterable[str]) -> dict[str, int]:
    """Put commits into an order in which each comes after its ancestors."""
    asked = [*shas]
    if not asked:
        return {}
    lines = _ask_git(
        repository, "rev-list", "--topo-order", "--reverse", "--stdin", typed="".join(f"{sha}\n" for sha in asked)
    )
    places = {sha: place for place, sha in enumerate(lines)}
    return {sha: places.get(sha, -1) for sha in asked}


def _count_commits(repository: Path, before: str, after: str) -> int:
    if not (before and after):
        return 0
    lines = _ask_git(repository, "rev-list", "--count", f"{before}..{after}")
    return int(lines[0]) if lines and lines[0].isdigit() else 0


def _ask_git(repository: Path, *words: str, typed: str = "") -> list[str]:
    try:
        answer = subprocess.run(
            ["git", "-C", str(repository), *words], input=typed, capture_output=True, text=True, check=False
        )
    except OSError:  # git is not installed
        return []
    return answer.stdout.splitlines() if answer.returncode == 0 else []


def list_commits_since(found: History, since: str, repository: Path) -> list[str]:
    """List the measured commits from one on.

    Parameters
    ----------
    found : History
        From `trace_history`.
    since : str
        One of its commits, or any that the repository knows: then it and all that it does not have in its past.
    repository : Path
        The checkout.

    Raises
    ------
    UsageError
        If it is unknown, or the repository knows none of the commits that were measured.
    """
    if since in found.commits:
        return [*found.commits[found.commits.index(since) :]]
    try:
        sha = resolve_commit(repository, since)
    except UsageError as error:
        raise UsageError(f"--since: {error}") from error
    labels = {commit: commit.removesuffix(_DIRTY) for commit in found.commits}
    known = _resolve_all(repository, sorted({*labels.values()}))
    if not known:
        raise UsageError(f"--since: {quote(since)}: the repository knows none of the commits that were measured")
    typed = "".join(f"{name}\n" for name in (*known.values(), f"^{sha}"))
    later = {sha, *_ask_git(repository, "rev-list", "--stdin", typed=typed)}
    return [commit for commit, label in labels.items() if known.get(label) in later]
