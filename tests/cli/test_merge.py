"""Runs merged from the command line, and what the other commands make of the folder."""

import json
from pathlib import Path

import pytest

from deconvbench.__main__ import main
from tests.made_machines import write_machines


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_machines(tmp_path, "a", "b")
    return tmp_path


@pytest.mark.usefixtures("here")
def test_merge_prints_what_it_has_and_the_folder_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", "a", "b", "--out", "m"]) == 0
    out, err = capsys.readouterr()
    assert out == "m\n"
    assert err == "36 records of 2 runs on 2 machines\n"
    assert main(["merge", "m", "a", "--out", "again"]) == 0
    assert capsys.readouterr().err == (
        "36 records of 2 runs on 2 machines; 18 given more than once, and counted once\n"
    )


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("merge a --out m", "merge: 1 run given; at least two are needed"),
        ("merge a b --out a", "is one of the runs that are merged; name a new folder"),
        ("merge a b", "--out"),
        ("merge --out m", "RUN"),
        ("merge a none --out m", "'none' does not exist"),
    ],
)
def test_wrong_use_is_one_line(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


@pytest.mark.usefixtures("here")
def test_recommend_and_claims_read_it(capsys: pytest.CaptureFixture[str]) -> None:
    main(["merge", "a", "b", "--out", "m"])
    capsys.readouterr()
    assert main(["recommend", "m", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["kind"] == "recommend"
    assert "2 machines, torch 2.13.0" in json.dumps(answer)


@pytest.mark.usefixtures("here")
def test_compare_takes_merged_runs_of_one_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (other,) = write_machines(tmp_path / "later", "a", seconds=1.5e-3)
    main(["merge", "a", str(other), "--out", "twice"])
    assert main(["compare", "twice", "a"]) == 0
    assert main(["merge", "a", "b", "--out", "m"]) == 0
    capsys.readouterr()
    assert main(["compare", "m", "a"]) == 2
    assert "was measured on several machines (a, b)" in capsys.readouterr().err
    assert main(["merge", "m", "--machine", "a", "--out", "only-a"]) == 0
    assert main(["compare", "only-a", "a"]) == 0
    capsys.readouterr()
    assert main(["merge", "m", "--machine", "x", "--out", "only-x"]) == 2
    assert "--machine: 'x' is not the id of a machine in these runs: a, b" in capsys.readouterr().err
    assert main(["merge", "m", "--machine", " ", "--out", "only-x"]) == 2
    assert "--machine: is empty" in capsys.readouterr().err
