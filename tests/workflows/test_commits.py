"""Two commits compared: in throw-away repositories, with real worktrees and, once, with real workers."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deconvbench.errors import UsageError
from deconvbench.progress import JobDone
from deconvbench.runner.engine import PlannedRun, RunOutcome
from deconvbench.runner.plan import Plan
from deconvbench.workflows.commits import check_out, compare_commits, resolve_commit
from tests.builders import make_grid, make_plan

pytestmark = pytest.mark.process

SOURCE = Path(__file__).parents[2] / "src"


def git(repository: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    command = ["git", "-C", str(repository), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with this package in it, and a second commit that makes one upsampler twenty times slower.

    No noise of a machine does that: what is asserted is whose layer was measured, not how fast it is.
    """
    folder = tmp_path / "repository"
    shutil.copytree(SOURCE, folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "base")
    layer = folder / "src" / "deconvbench" / "upsamplers" / "resize_conv.py"
    text = layer.read_text()
    quick = "        y: Tensor = self.conv(self.resize(x))\n"
    slow = (
        "        import time\n\n"
        "        started = time.perf_counter()\n"
        f"{quick}"
        "        until = time.perf_counter() + 19 * (time.perf_counter() - started)\n"
        "        while time.perf_counter() < until:\n"
        "            pass\n"
    )
    assert quick in text
    layer.write_text(text.replace(quick, slow))
    git(folder, "commit", "-qam", "slower")
    return folder


def list_worktrees(repository: Path) -> list[str]:
    return [line for line in git(repository, "worktree", "list", "--porcelain").splitlines() if "worktree" in line]


def test_a_commit_is_found_by_any_of_its_names(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    assert resolve_commit(repository, "HEAD") == resolve_commit(repository, head[:8]) == head


def test_an_unknown_commit_is_named(repository: Path) -> None:
    with pytest.raises(UsageError, match="'no-such' is not a commit of this repository$"):
        resolve_commit(repository, "no-such")


def test_a_shallow_clone_is_the_likely_reason(repository: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{repository}", str(shallow)], check=True)
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
    assert len(list_worktrees(repository)) == 1
    assert not base.worktree.exists()
    assert (repository / layer).read_text() == "# not committed yet\n"
    assert git(repository, "stash", "list") == ""


def test_worktrees_are_removed_when_something_stops_it(repository: Path) -> None:
    with pytest.raises(KeyboardInterrupt), check_out(repository, ("HEAD~1", "HEAD")):
        raise KeyboardInterrupt
    assert len(list_worktrees(repository)) == 1


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


def make_small_plan() -> Plan:
    axes = {"upsampler": ["nearest_conv", "conv_nearest"], "height": [16], "in_channels": [8]}
    return make_plan(make_grid(axes=axes, replicates=3, time_cap_s=0.05))


@pytest.mark.slow
def test_the_slower_upsampler_is_caught_and_named(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[JobDone] = []
    found, folders = compare_commits(
        repository, "HEAD~1", "HEAD", make_small_plan(), results=tmp_path / "results", observer=seen.append
    )
    timed = found[found["metric"] == "latency_s"].set_index("case_id")
    ratios = {str(case): float(ratio) for case, ratio in timed["ratio"].items()}
    assert timed["verdict"]["nearest_conv-k3-s2-c8x8-16x16"] == "slower"
    assert ratios["nearest_conv-k3-s2-c8x8-16x16"] > 10
    assert ratios["conv_nearest-k3-s2-c8x8-16x16"] < 5
    assert set(found.loc[found["metric"] != "latency_s", "verdict"]) == {"same"}
    assert len(seen) == 2 * (2 + 2 + 3 * 2)
    assert [folder.name.rpartition("-")[2] for folder in folders] == [
        git(repository, "rev-parse", "HEAD~1")[:12],
        git(repository, "rev-parse", "HEAD")[:12],
    ]
    assert len(list_worktrees(repository)) == 1


@pytest.mark.slow
def test_an_interface_that_does_not_fit_is_named(repository: Path, tmp_path: Path) -> None:
    package = repository / "src" / "deconvbench" / "upsamplers" / "__init__.py"
    package.write_text("from deconvbench.theory import a_name_of_another_time\n")
    git(repository, "commit", "-qam", "another interface")
    with pytest.raises(UsageError, match="cannot be driven by this engine: ImportError: .*a_name_of_another_time"):
        compare_commits(repository, "HEAD", "HEAD~1", make_small_plan(), results=tmp_path / "results")
    assert len(list_worktrees(repository)) == 1


@pytest.mark.slow
def test_a_terminated_comparison_leaves_no_worktree(repository: Path) -> None:
    command = [sys.executable, "-m", "deconvbench", "compare-commits", "HEAD~1", "HEAD"]
    with subprocess.Popen(command, cwd=repository, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("[1/")
        assert len(list_worktrees(repository)) == 3
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGTERM)
        process.wait(60)
    assert process.returncode == 128 + signal.SIGTERM
    assert len(list_worktrees(repository)) == 1
    assert psutil.wait_procs(children, 10)[1] == []


def test_the_command_line_names_what_is_wrong(repository: Path) -> None:
    command = [sys.executable, "-m", "deconvbench", "compare-commits", "no-such"]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "deconvbench: 'no-such' is not a commit of this repository\n")


def test_the_folders_are_those_of_the_commits(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each commit's worker takes the upsamplers of its own worktree, and its records say which commit that is."""
    from deconvbench.workflows import commits

    found: list[PlannedRun] = []

    def look(tasks: list[PlannedRun], observer: object, finish: object) -> list[RunOutcome]:
        found.extend(tasks)
        raise KeyboardInterrupt

    monkeypatch.setattr(commits, "run_tasks", look)
    with pytest.raises(KeyboardInterrupt):
        compare_commits(
            repository, "HEAD~1", "HEAD", make_small_plan(), results=tmp_path, base_python="/other/python"
        )
    base, head = (task.options for task in found)
    assert (base.python, head.python) == ("/other/python", None)
    assert base.code_version == git(repository, "rev-parse", "HEAD~1")[:12]
    assert base.products is not None
    assert head.products is not None
    assert base.products.parent.name.startswith("0-")
    assert head.products.parent.name.startswith("1-")
