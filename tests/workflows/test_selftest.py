"""The self-test from end to end, with an engine that measures nothing."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deconvbench.analysis.selftest import (
    format_selftest,
    to_dict,
)
from deconvbench.errors import UsageError
from deconvbench.progress import JobObserver
from deconvbench.records.record import Record
from deconvbench.runner.engine import Finish, PlannedRun, RunOutcome
from deconvbench.runner.plan import list_jobs
from deconvbench.workflows import selftest as workflow
from deconvbench.workflows.selection import Selection
from deconvbench.workflows.selftest import run_selftest
from tests.tables.made_records import make_latency


class Engine:
    """Measures nothing: draws latencies, slower where the worker would have been."""

    def __init__(self) -> None:
        self.interleaved: list[list[str]] = []

    def __call__(self, tasks: Sequence[PlannedRun], *, observer: JobObserver, finish: Finish) -> list[RunOutcome]:
        self.interleaved.append([task.folder.name for task in tasks])
        outcomes = [RunOutcome(records=tuple(self._measure(task)), measuring_share=0.8) for task in tasks]
        for task, outcome in zip(tasks, outcomes, strict=True):
            finish(task.folder, outcome)
        return outcomes

    def _measure(self, task: PlannedRun) -> list[Record]:
        assert not task.options.measures_memory
        rng = np.random.default_rng(sum(task.folder.name.encode()))
        jobs = [job for batch in list_jobs(task.plan) for job in batch if isinstance(job, Record)]
        return [
            replace(
                job,
                status="ok",
                message="",
                latency=make_latency(
                    *(1e-3 * (1 + task.options.slowdown) * np.exp(0.004 * rng.standard_normal(5)))
                ),
            )
            for job in jobs
        ]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    fake = Engine()
    monkeypatch.setattr(workflow, "run_tasks", fake)
    return fake


SMALL = Selection(preset="selftest", keyword="8x8 and k3", replicates=3)


def test_five_runs_are_measured_and_the_result_is_written(tmp_path: Path, engine: Engine) -> None:
    result, folder = run_selftest(SMALL, 0.2, tmp_path / "out")
    assert folder == tmp_path / "out"
    assert engine.interleaved == [["a", "b", "slowed"], ["c", "d"]]
    assert {path.name for path in folder.iterdir()} == {
        "a",
        "b",
        "c",
        "d",
        "slowed",
        "selftest.md",
        "selftest.json",
    }
    for name in ("a", "b", "c", "d", "slowed"):
        info = json.loads((folder / name / "run.json").read_text())
        assert info["finished_at"] is not None
        assert info["measuring_share"] == 0.8
    assert set(result.slowed_verdicts) == {"slower"}
    assert (folder / "selftest.md").read_text() == format_selftest(result) + "\n"
    text = (folder / "selftest.json").read_text()
    assert "NaN" not in text
    assert json.loads(text) == {"schema_version": 1, **json.loads(json.dumps(to_dict(result)))}


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (replace(SMALL, replicates=2), "--replicates: 2 is too few to compare; at least 3"),
        (replace(SMALL, settings=("device=cpu,cuda",)), "--set device: 'cuda' cannot be made slower"),
        (replace(SMALL, keyword="nothing"), "-k: 'nothing' matches none"),
    ],
    ids=["replicates", "device", "keyword"],
)
def test_a_selection_that_cannot_be_tested_is_refused_before_anything_is_made(
    tmp_path: Path, engine: Engine, selection: Selection, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run_selftest(selection, 0.1, tmp_path / "out")
    assert engine.interleaved == []
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_a_selftest_is_refused(tmp_path: Path, engine: Engine) -> None:
    run_selftest(SMALL, 0.1, tmp_path)
    with pytest.raises(UsageError, match="holds a run already"):
        run_selftest(SMALL, 0.1, tmp_path)


def test_a_folder_with_files_of_others_is_refused_before_anything_is_made(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="--out: .* holds other files"):
        run_selftest(SMALL, 0.2, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert engine.interleaved == []
    run_selftest(SMALL, 0.2, tmp_path, force=True)
    assert (tmp_path / "selftest.json").exists()
    with pytest.raises(UsageError, match="holds a run already"):
        run_selftest(SMALL, 0.2, tmp_path)
