"""Runs over many commits: found, read, and in the order of git or of time."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import deconvbench
from deconvbench.errors import RunFolderError, UsageError
from deconvbench.records.journal import Journal
from deconvbench.records.run_folder import write_run_info
from deconvbench.workflows.history import history, list_commits_since, trace_history
from tests.analysis.test_comparison_input import measured
from tests.repositories import git

CASE = "nearest_conv-k3-s2-c4x2-8x8"
OTHER = "subpixel-k3-s2-c4x2-8x8"


def save(path: Path, commit: str | None, latency_s: float, *, time: str = "", **changes: Any) -> Path:
    """Write what pytest-benchmark saves of two cases at a commit."""
    infos = [
        {
            "case_id": case,
            "status": "ok",
            "replicate_latency_s": [value * (1 + 0.002 * index) for index in range(3)],
            "machine_id": "here",
            **changes,
        }
        for case, value in ((CASE, latency_s), (OTHER, 1e-3))
    ]
    document = {
        "machine_info": {},
        "commit_info": {"id": commit, "time": time},
        "benchmarks": [{"extra_info": info} for info in infos],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def make_repository(folder: Path, commits: int, title: str = "") -> list[str]:
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    hashes = []
    for number in range(commits):
        git(folder, "commit", "-q", "--allow-empty", "-m", f"{title}{number}")
        hashes.append(git(folder, "rev-parse", "HEAD"))
    return hashes


def save_all(folder: Path, hashes: Sequence[str], at: int, *, every: int = 1) -> Path:
    """Save every so many commits, under names in the wrong order; from one on the first case is slower."""
    for number in range(0, len(hashes), every):
        name = folder / "Linux" / f"{9999 - number}_x.json"
        save(name, hashes[number], 1.3e-3 if number >= at else 1e-3, time=f"2026-01-{1 + number % 28:02}")
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, list[str]]:
    return tmp_path / "repo", make_repository(tmp_path / "repo", 24)


def find_slower(changes: Any) -> dict[str, Any]:
    (row,) = changes[changes["verdict"] == "slower"].to_dict("records")
    return dict(row)


def test_commits_are_in_the_order_of_git_whatever_files_are_called(
    repository: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, hashes = repository
    found = trace_history(save_all(tmp_path / "saved", hashes, 13), repository=folder)
    assert found.commits == tuple(sha[:10] for sha in hashes)
    assert found.notes == ()
    row = find_slower(found.changes)
    assert (row["case_id"], row["last_before"], row["first_after"]) == (CASE, hashes[12][:10], hashes[13][:10])
    assert row["commits"] == 1


def test_commits_that_were_not_measured_count_in_the_range(
    repository: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, hashes = repository
    row = find_slower(history(save_all(tmp_path / "saved", hashes, 12, every=2), repository=folder))
    assert (row["last_before"], row["first_after"], row["commits"]) == (hashes[10][:10], hashes[12][:10], 2)


def test_elsewhere_time_decides_and_it_is_said(repository: tuple[Path, list[str]], tmp_path: Path) -> None:
    _, hashes = repository
    found = trace_history(save_all(tmp_path / "saved", hashes, 13), repository=tmp_path)
    assert found.commits == tuple(sha[:10] for sha in hashes)
    (note,) = found.notes
    assert note.startswith("commits are in the order of time: the repository does not know that of ")
    assert note.endswith(" and 23 more")
    assert find_slower(found.changes)["first_after"] == hashes[13][:10]


def test_run_folders_are_read_with_their_commit(repository: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, hashes = repository
    for number, sha in enumerate(hashes):
        run = tmp_path / "runs" / f"{99 - number}"
        run.mkdir(parents=True)
        with Journal(run) as journal:
            for replicate in range(3):
                journal.append(
                    measured(replicate, 1e-3 * (1 + 0.01 * replicate), code_version=f"0.1.0+g{sha[:7]}")
                )
        environment = {"project_commit": sha[:12]} if number % 2 else {}
        write_run_info(run, {"created_at": "2026-01-01T00:00:00+00:00", "environment": environment})
    found = trace_history(tmp_path / "runs", repository=folder)
    assert found.commits == tuple(sha[:10] for sha in hashes)


def test_a_changed_working_tree_comes_after_its_commit(repository: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, hashes = repository
    paths = [save(tmp_path / f"{n}.json", sha, 1e-3) for n, sha in enumerate(hashes[:3])]
    document = json.loads(paths[1].read_text())
    document["commit_info"]["dirty"] = True
    dirty = tmp_path / "dirty.json"
    dirty.write_text(json.dumps(document))
    found = trace_history([dirty, *paths], repository=folder)
    short = [sha[:10] for sha in hashes[:3]]
    assert found.commits == (short[0], short[1], f"{short[1]}+dirty", short[2])


def test_runs_of_one_commit_count_together(repository: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, hashes = repository
    save_all(tmp_path / "a", hashes[:6], 99)
    save_all(tmp_path / "b", hashes[:6], 99)
    single = trace_history(tmp_path / "a", repository=folder).points
    both = trace_history([tmp_path / "a", tmp_path / "b", tmp_path / "a"], repository=folder).points
    assert len(single) == len(both)
    width = (both["high"] - both["low"]).iloc[0]
    assert width < (single["high"] - single["low"]).iloc[0]


def test_what_else_lies_in_a_folder_is_named_not_refused(
    repository: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, hashes = repository
    saved = save_all(tmp_path / "saved", hashes, 99)
    (saved / "package.json").write_text("{}")
    (saved / "tsconfig.json").write_text("[]")
    (saved / "notes.txt").write_text("")
    found = trace_history(saved, repository=folder)
    assert len(found.commits) == 24
    assert found.notes == (f"not read, since it is not a run: {saved / 'package.json'} and 1 more",)


def test_what_is_named_itself_must_be_a_run(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(RunFolderError, match="neither a run folder nor what pytest-benchmark saves"):
        history(tmp_path / "package.json")
    with pytest.raises(RunFolderError, match=r"RUN: '.*none' does not exist"):
        history(tmp_path / "none")
    with pytest.raises(UsageError, match="holds no run folder and no file of pytest-benchmark"):
        history(tmp_path)
    with pytest.raises(UsageError, match="RUN: none given"):
        history([])


def test_runs_without_commit_or_time_are_ordered_by_their_names(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.json", None, 1e-3)
    found = trace_history(tmp_path, repository=tmp_path)
    assert [Path(commit).name for commit in found.commits] == ["0.json", "1.json", "2.json"]


@pytest.mark.parametrize("commit", ["HEAD", "--help", "abc; rm", "abcdefg\nHEAD"])
def test_a_commit_that_is_no_hash_is_not_asked_for(commit: str, tmp_path: Path) -> None:
    make_repository(tmp_path / "repo", 1)
    paths = [save(tmp_path / f"{n}.json", commit, 1e-3, time=f"2026-01-0{n + 1}") for n in range(2)]
    found = trace_history(paths, repository=tmp_path / "repo")
    assert "in the order of time" in found.notes[0]


def test_since_names_a_measured_commit_or_what_git_knows_of_it(
    repository: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, hashes = repository
    found = trace_history(save_all(tmp_path / "saved", hashes, 99), repository=folder)
    for name in (hashes[20], hashes[20][:10], "HEAD~3"):
        assert list_commits_since(found, name, folder) == [sha[:10] for sha in hashes[20:]]
    with pytest.raises(UsageError, match="--since: 'nonsense' is not a commit"):
        list_commits_since(found, "nonsense", folder)
    # one that was not measured: what came after it
    every_other = save_all(tmp_path / "part", hashes, 99, every=2)
    part = trace_history(every_other, repository=folder)
    assert list_commits_since(part, hashes[19], folder) == [sha[:10] for sha in hashes[20::2]]
    assert list_commits_since(part, "HEAD", folder) == []
    # whose commits, of the same moment, are others all the same
    make_repository(tmp_path / "other", 1, "other ")
    with pytest.raises(UsageError, match="knows none of the commits that were measured"):
        list_commits_since(part, "HEAD", tmp_path / "other")


def test_it_is_public(repository: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, hashes = repository
    changes = deconvbench.history(str(save_all(tmp_path / "saved", hashes, 13)), 0.05, repository=folder)
    assert find_slower(changes)["ratio"] == pytest.approx(1.3, rel=0.01)
    assert math.isnan(changes[changes["case_id"] == OTHER]["ratio"].iloc[0])
