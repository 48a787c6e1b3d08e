"""What is written by this package is what the documents say."""

from pathlib import Path

import pytest

from deconvbench.records.decoding import DecodingError, build
from deconvbench.records.documents import ExperimentInfo, RunInfo, SavedBenchmarks, TrainingResult
from deconvbench.records.run_folder import read_run_info
from deconvbench.runner.folder import open_folder
from tests.builders import make_plan, make_speedup_grid
from tests.made_results import INFO
from tests.noop_run import ENVIRONMENT


def test_a_run_that_was_just_begun_is_described(tmp_path: Path) -> None:
    open_folder(make_plan(make_speedup_grid()), tmp_path / "run", ENVIRONMENT)
    info = read_run_info(tmp_path / "run")
    assert build(RunInfo, info) == info
    # what only a merged run has
    assert {*RunInfo.__annotations__} - {"merged"} <= {*info}


def test_experiments_are_described() -> None:
    assert build(ExperimentInfo, INFO) == INFO


@pytest.mark.parametrize("kind", [RunInfo, TrainingResult, SavedBenchmarks])
def test_an_empty_object_lacks_something(kind: type) -> None:
    with pytest.raises(DecodingError, match="is missing"):
        build(kind, {})
