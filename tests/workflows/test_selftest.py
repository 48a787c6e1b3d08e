"""The self-test from end to end: with processes that measure nothing, and once with real ones."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deconvbench.errors import UsageError
from deconvbench.progress import JobDone
from deconvbench.records.pairs import PairRecord
from deconvbench.records.run_folder import read_journal
from deconvbench.report.selftest import format_selftest, to_dict
from deconvbench.runner.worker import WorkerOptions
from deconvbench.workflows.selection import Selection
from deconvbench.workflows.selftest import run_selftest

SMALL = Selection(preset="selftest", keyword="8x8 and k3", replicates=10, seed=3, conditions="system")


class Side:
    """A process that draws latencies, slower where its options say so."""

    count = 0

    def __init__(self, options: WorkerOptions) -> None:
        assert options.conditions == "system"
        self.environment = {"machine_id": "m", "torch_version": "t", "code_version": "c"}
        self.alive = True
        self._slowdowns = dict(options.slowdowns)
        self._rng = np.random.default_rng(Side.count)
        Side.count += 1
        self._factor = 1.0

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        match request["do"]:
            case "prepare":
                upsampler = request["case"].partition("-")[0]
                slower = 1 + self._slowdowns.get(upsampler, 0.0)
                self._factor = slower * float(np.exp(0.004 * self._rng.standard_normal()))
                return {"status": "ok", "digest": "same"}
            case "settle":
                return {"status": "ok", "conditions": {"policy": "system"}}
            case "warm":
                return {"status": "ok", "calls": 4}
            case "time":
                return {"status": "ok", "seconds": 1e-3 * self._factor, "disturbed": ""}
        return {"status": "ok"}

    def kill(self) -> None:
        self.alive = False


def run(out: Path, selection: Selection = SMALL, slowdown: float = 0.2, **options: Any) -> Any:
    return run_selftest(selection, slowdown, out, start=Side, **options)


def test_pairs_are_measured_and_the_result_is_written(tmp_path: Path) -> None:
    told: list[JobDone] = []
    result, folder = run(tmp_path / "out", observer=told.append)
    assert folder == tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == {"pairs", "selftest.md", "selftest.json"}
    records = [record for record in read_journal(folder / "pairs") if isinstance(record, PairRecord)]
    counts = Counter((record.pair, record.replicate) for record in records)
    assert len(records) == told[-1].done == told[-1].total
    assert {replicate for _, replicate in counts} == set(range(10))
    assert counts["control", 0] > counts["head", 0] >= 4
    assert result.replicates == 10
    assert {rule.false_alarms for rule in result.rules if rule.rule == "paired"} == {0}
    assert result.slowed.verdicts[0.05] == {"slower": counts["head", 0]}
    assert (folder / "selftest.md").read_text() == format_selftest(result) + "\n"
    text = (folder / "selftest.json").read_text()
    assert "NaN" not in text
    document = json.loads(text)
    assert (document["schema_version"], document["conditions"]) == (1, "system")
    assert {**document, **json.loads(json.dumps(to_dict(result)))} == document


def refuse_to_start(options: WorkerOptions) -> Any:
    pytest.fail("a process was started")


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
    tmp_path: Path, selection: Selection, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run_selftest(selection, 0.1, tmp_path / "out", start=refuse_to_start)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_a_selftest_is_refused(tmp_path: Path) -> None:
    run(tmp_path, replace(SMALL, replicates=3))
    with pytest.raises(UsageError, match="--out: .* holds a selftest already"):
        run(tmp_path)


def test_a_folder_with_files_of_others_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="--out: .* holds other files"):
        run_selftest(SMALL, 0.2, tmp_path, start=refuse_to_start)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    run(tmp_path, replace(SMALL, replicates=3), force=True)
    assert (tmp_path / "selftest.json").exists()


@pytest.mark.process
@pytest.mark.slow
def test_real_processes_find_a_slowdown_of_a_half(tmp_path: Path) -> None:
    selection = replace(SMALL, keyword="8x8 and k3 and (nearest_conv or subpixel)", replicates=3)
    result, folder = run_selftest(selection, 0.5, tmp_path / "out")
    assert result.replicates == 3
    assert result.slowed.ratio > 1.2
    records = [record for record in read_journal(folder / "pairs") if isinstance(record, PairRecord)]
    assert {record.status for record in records} == {"ok"}
    assert {record.first_side for record in records} == {"base", "head"}
