"""What the machine is asked for is checked before anything starts."""

import os
from pathlib import Path

import pytest

from deconvbench.errors import UsageError
from deconvbench.runner.folder import open_folder, reopen_folder
from deconvbench.runner.limits import check_count, check_threads, limit_threads
from deconvbench.studies.training.workflow import run_experiments
from tests.builders import make_case, make_grid, make_plan
from tests.noop_run import ENVIRONMENT
from tests.tiny_training import TINY


@pytest.mark.parametrize(("cores", "limit"), [(1, 16), (2, 16), (8, 32), (64, 256), (None, 16)])
def test_the_limit_grows_with_the_machine(cores: int | None, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert limit_threads() == limit
    check_count("threads", limit)
    with pytest.raises(
        UsageError, match=f"threads: {limit + 1} is not from 1 to {limit}, the most on this machine"
    ):
        check_count("threads", limit + 1)


@pytest.mark.parametrize("threads", [5_000, 1_000_000, 2**31 - 1])
def test_a_run_of_too_many_threads_makes_no_folder(threads: int, tmp_path: Path) -> None:
    plan = make_plan(make_grid(axes={"threads": [1, threads]}))
    with pytest.raises(UsageError, match=f"^threads: {threads} is not from 1 to "):
        open_folder(plan, tmp_path / "run", ENVIRONMENT)
    assert not (tmp_path / "run").exists()


def test_a_run_from_a_larger_machine_is_not_continued_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as larger:
        larger.setattr(os, "cpu_count", lambda: 10**6)
        open_folder(make_plan(make_grid(axes={"threads": [10**6]})), tmp_path, ENVIRONMENT)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(UsageError, match="^threads: 1000000 is not from 1 to "):
        reopen_folder(tmp_path, ENVIRONMENT)
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [("OMP_NUM_THREADS", "1000000"), ("OMP_NUM_THREADS", "2, 70000"), ("MKL_NUM_THREADS", "9" * 5000)],
)
def test_what_the_environment_asks_for_counts(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}: [79]?[0-9]+ is not from 1 to "):
        check_threads([make_case()], {name: value})
    check_threads([make_case()], {name: "2", "OMP_SCHEDULE": "dynamic,70000"})
    check_threads([make_case()], {name: "many"})


@pytest.mark.parametrize("jobs", [1_000_000, 0])
def test_too_many_trainings_at_a_time(jobs: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^--jobs: {jobs} is not from 1 to "):
        run_experiments([TINY], tmp_path / "out", jobs=jobs)
    assert not (tmp_path / "out").exists()
