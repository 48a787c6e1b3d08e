"""The command `claims`: what it prints, what it writes, and what it refuses."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deconvbench.__main__ import main
from deconvbench.progress import PartDone
from deconvbench.studies import claims
from deconvbench.studies.claims import CLAIMS, ClaimResult
from tests.json_schemas import check_output
from tests.studies.claims.made_evidence import FLIPS
from tests.studies.claims.test_table import write_results, write_run, write_speedups


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path | None, Path | None]]:
    """Judge evidence made by hand instead of measuring, and note what was asked for."""
    found: list[tuple[Path | None, Path | None]] = []

    def evaluate(run: Path | None, results: Path | None, observer: Any) -> Sequence[ClaimResult]:
        found.append((run, results))
        observer(PartDone(done=18, total=18, title="claim 18: supported"))
        return [
            ClaimResult(claim=claim, evidence=(evidence := FLIPS[claim.id][0][1]), finding=claim.judge(evidence))
            for claim in CLAIMS
        ]

    monkeypatch.setattr(claims, "evaluate_claims", evaluate)
    return found


def test_without_a_run_the_claims_table_is_printed_and_nothing_written(
    here: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims"]) == 0
    out, err = capsys.readouterr()
    assert asked == [(None, None)]
    assert out.startswith("id  claim ")
    assert "18 claims: " in out
    assert max(map(len, out.splitlines())) <= 100
    assert err.startswith("[18/18] ")
    assert list(here.iterdir()) == []


def test_json_is_one_object(here: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--json"]) == 0
    document = check_output(capsys.readouterr().out)
    assert document["kind"] == "claims"
    assert [row["id"] for row in document["rows"]] == list(range(1, 19))
    assert set(document["rows"][0]) >= {
        "id",
        "claim",
        "source",
        "verdict",
        "evidence",
        "sentence",
        "holds",
        "effects",
    }


def test_the_claims_table_is_kept_in_the_run(
    here: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(here / "results" / "runs" / "first")
    (run / "journal.jsonl").write_text("")
    write_results(here / "mine")
    assert main(["claims", "--results", "mine"]) == 0
    assert asked == [(Path("results/runs/first"), Path("mine"))]
    assert len(json.loads((run / "claims.json").read_text(encoding="utf-8"))["rows"]) == 18
    assert capsys.readouterr().err.endswith("written: results/runs/first/claims.json\n")


def test_a_run_and_a_file_can_be_named(here: Path, asked: list[Any]) -> None:
    run = write_run(here / "run")
    before = {path.name for path in run.iterdir()}
    assert main(["claims", "run", "--out", "claims.json"]) == 0
    assert asked == [(Path("run"), None)]
    assert {path.name for path in run.iterdir()} == before
    assert json.loads((here / "claims.json").read_text(encoding="utf-8"))["rows"][0]["figure"] == "figure_2"


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        ("claims none", "run folder: 'none' does not exist", 2),
        ("claims empty", "run folder: 'empty' has no journal.jsonl", 2),
        ("claims --results none", "results: 'none' is not a folder", 2),
        ("claims --results empty", "results: 'empty' holds no results of deconvbench train", 2),
        ("claims --result empty", "--result", 2),
    ],
)
def test_what_is_missing_is_told_in_one_line(
    here: Path, words: str, message: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "empty").mkdir()
    assert main(words.split()) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("deconvbench: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_file_in_no_folder_ends_with_2(here: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--out", "none/claims.json"]) == 2
    assert "--out: 'none/claims.json' cannot be written: there is no folder 'none'" in capsys.readouterr().err


def test_the_whole_way_from_files_to_verdicts(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_speedups(here / "fast")
    write_results(here / "trained")
    assert main(["claims", "fast", "--results", "trained", "--json"]) == 0
    printed = check_output(capsys.readouterr().out)["rows"]
    kept = json.loads((here / "fast" / "claims.json").read_text(encoding="utf-8"))["rows"]
    assert printed == [{name: value for name, value in row.items() if name != "figure"} for row in kept]
    verdicts = {row["id"]: row["verdict"] for row in printed}
    # for which results of this version are not scored
    assert [number for number, verdict in verdicts.items() if verdict == "undecided"] == [18]
