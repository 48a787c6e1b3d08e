"""Commits checked out in throw-away repositories, with real worktrees."""

import subprocess
from pathlib import Path

import pytest

from deconvbench.errors import UsageError
from deconvbench.workflows.worktrees import check_out, list_changed_files, resolve_commit
from tests.repositories import git, list_worktrees, make_own_repository, make_users_repository

pytestmark = pytest.mark.process


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_own_repository(tmp_path / "repository")


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return make_users_repository(tmp_path / "users")


def test_a_commit_is_found_by_any_of_its_names(users: Path) -> None:
    head = git(users, "rev-parse", "HEAD")
    assert resolve_commit(users, "HEAD") == resolve_commit(users, head[:8]) == head


def test_an_unknown_commit_is_named(users: Path) -> None:
    with pytest.raises(UsageError, match="'no-such' is not a commit of this repository$"):
        resolve_commit(users, "no-such")


def test_a_shallow_clone_is_the_likely_reason(users: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{users}", str(shallow)], check=True)
    with pytest.raises(UsageError, match="'HEAD~1' is not a commit .* shallow: git fetch --unshallow"):
        resolve_commit(shallow, "HEAD~1")


def test_a_folder_without_git_has_no_commits(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a git checkout"):
        resolve_commit(tmp_path, "HEAD")


def test_worktrees_hold_the_commits_and_are_removed(repository: Path) -> None:
    layer = Path("src/deconvbench/upsamplers/resize_conv.py")
    (repository / layer).write_text("# not committed yet\n")
    with check_out(repository, ("HEAD~1", "HEAD")) as (base, head):
        assert "perf_counter" not in (base.worktree / layer).read_text()
        assert "perf_counter" in (head.worktree / layer).read_text()
        assert len(list_worktrees(repository)) == 3
        assert base.has_products
        assert head.has_products
    assert len(list_worktrees(repository)) == 1
    assert not base.worktree.exists()
    assert (repository / layer).read_text() == "# not committed yet\n"
    assert git(repository, "stash", "list") == ""


def test_worktrees_are_removed_when_something_stops_it(users: Path) -> None:
    with pytest.raises(KeyboardInterrupt), check_out(users, ("HEAD~1", "HEAD")):
        raise KeyboardInterrupt
    assert len(list_worktrees(users)) == 1


def test_a_commit_without_upsamplers_cannot_be_driven(repository: Path) -> None:
    git(repository, "rm", "-rq", "src/deconvbench/upsamplers")
    git(repository, "commit", "-qm", "nothing left")
    with (
        pytest.raises(
            UsageError, match=r"'HEAD' cannot be driven by this engine: it has no deconvbench\.upsamplers"
        ),
        check_out(repository, ("HEAD~1", "HEAD")),
    ):
        pass
    assert len(list_worktrees(repository)) == 1


def test_modules_of_a_user_are_looked_for_in_src_and_beside_it(users: Path) -> None:
    with check_out(users, ("HEAD~1", "HEAD")) as (base, head):
        assert not base.has_products
        assert base.folders == (base.worktree / "src", base.worktree)
        assert head.folders == (head.worktree / "src", head.worktree)


def test_those_below_the_current_folder_come_first(tmp_path: Path) -> None:
    folder = make_users_repository(tmp_path / "all", layout="part/src")
    with check_out(folder / "part", ("HEAD",)) as [head]:
        assert head.folders == (head.worktree / "part" / "src", head.worktree / "part", head.worktree)


def test_files_that_differ_are_listed(users: Path) -> None:
    assert list_changed_files(users, "HEAD~1", "HEAD") == ["src/mypkg/resizing.py"]
    assert list_changed_files(users, "HEAD", "HEAD") == []
