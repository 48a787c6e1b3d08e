import json
import subprocess
from pathlib import Path

import pytest
import torch

from deconvbench.runner import environment
from deconvbench.runner.environment import (
    collect_environment,
    identify_code,
    identify_machine,
    identify_project,
    name_differences,
)
from tests.repositories import git


def test_record_is_plain_and_names_machine_torch_and_code() -> None:
    record = collect_environment()
    assert json.loads(json.dumps(record)) == record
    assert record["torch_version"] == torch.__version__
    assert record["machine_id"] == identify_machine()
    assert record["code_version"] == identify_code()
    assert record["project_commit"] == identify_project()
    assert record["memory_bytes"] > 2**28
    assert record["packages"]["torch"]


def test_machine_id_is_stable_and_depends_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identify_machine()
    assert before == identify_machine()
    assert len(before) == 12
    monkeypatch.setattr(environment, "_read_cpu_model", lambda: "another processor")
    assert identify_machine() != before


@pytest.mark.parametrize("found", [None, "", "uninitialized"])
def test_machine_id_has_no_name_of_the_host_in_it(found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no id of its own, the hardware names it, so that equal containers are one machine."""
    monkeypatch.setattr(environment, "_read_text", lambda _: found)
    ids = set()
    for name in ("alices-laptop", "f3a9c1d2"):
        monkeypatch.setattr("platform.node", lambda name=name: name)
        ids.add(identify_machine())
    monkeypatch.setattr(environment, "_read_memory_bytes", lambda: 2**40)
    assert len(ids) == 1
    assert identify_machine() not in ids


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout with one module, which takes the place of this package."""
    source = tmp_path / "runner" / "environment.py"
    source.parent.mkdir()
    source.write_text("a = 1\n")
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)
    monkeypatch.setattr(environment, "__file__", str(source))
    return tmp_path


def test_code_is_named_by_its_commit(checkout: Path) -> None:
    head = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert identify_code().endswith(f"+g{head}")


def test_changed_code_has_a_name_of_its_own(checkout: Path) -> None:
    clean = identify_code()
    (checkout / "runner" / "environment.py").write_text("a = 2\n")
    changed = identify_code()
    (checkout / "runner" / "environment.py").write_text("a = 3\n")
    assert len({clean, changed, identify_code()}) == 3
    assert changed.startswith(f"{clean}.d")


def test_installed_code_is_named_by_its_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "runner" / "environment.py"))
    assert "+g" not in identify_code()


def test_without_git_the_release_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "+g" not in identify_code()


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", None), ("150000 100000\n", 1.5), (None, None)],
    ids=["none", "1.5", "absent"],
)
def test_cpu_quota(text: str | None, cores: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_read_text", lambda path: text)
    assert environment._read_cpu_quota() == cores


def test_differences_are_named() -> None:
    before = {"machine_id": "a", "torch_version": "2", "code_version": "1", "load_average": 1}
    assert name_differences(before, {**before, "load_average": 2}) == []
    assert name_differences(before, {**before, "code_version": "3"}) == ["code was 1, is 3"]


def test_another_allocator_is_a_difference_and_other_variables_are_none() -> None:
    before = {"variables": {"OMP_NUM_THREADS": "1", "LD_PRELOAD": "libjemalloc.so.2"}}
    now = {"variables": {"OMP_NUM_THREADS": "2", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}}
    assert name_differences(before, now) == [
        "GLIBC_TUNABLES was unset, is glibc.malloc.hugetlb=1",
        "LD_PRELOAD was libjemalloc.so.2, is unset",
    ]
    assert name_differences(before, before) == name_differences({}, {"variables": None}) == []


def test_the_project_is_that_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert identify_project() is None
    git(tmp_path, "init", "-q")
    # no commit yet
    assert identify_project() is None
    Path("a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "a")
    commit = git(tmp_path, "rev-parse", "HEAD")[:12]
    Path("untracked").write_text("")
    assert identify_project() == commit
    Path("a").write_text("2")
    assert identify_project() == f"{commit}+dirty"
