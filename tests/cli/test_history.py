"""A history from the command line."""

import json
from pathlib import Path

import pytest

from deconvbench.__main__ import main
from tests.json_schemas import check_output
from tests.workflows.test_history import CASE, make_repository, save_all


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A checkout with saved files of each commit, the first case slower from the fourteenth on."""
    hashes = make_repository(tmp_path / "repo", 24)
    monkeypatch.chdir(tmp_path / "repo")
    save_all(Path("saved"), hashes, 13)
    return hashes


def test_it_exits_1_where_something_became_slower(saved: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "saved"]) == 1
    out, err = capsys.readouterr()
    assert f"{saved[12][:10]}..{saved[13][:10]}" in out
    assert "2 cases over 24 commits: 1 slower, 0 faster, 1 same" in out
    assert err == ""
    assert main(["history", "saved", "--margin", "50%"]) == 0
    assert main(["history", "saved", "--fail-on", "inconclusive"]) == 0


def test_what_was_there_before_since_does_not_fail(saved: list[str]) -> None:
    assert main(["history", "saved", "--since", saved[13]]) == 1
    assert main(["history", "saved", "--since", "HEAD~3"]) == 0


@pytest.mark.usefixtures("saved")
def test_since_another_commit_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "saved", "--since", "nonsense"]) == 2
    assert "--since: 'nonsense' is not a commit of this repository" in capsys.readouterr().err


def test_json_is_one_strict_object_of_its_schema(saved: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "saved", "--json"]) == 1
    answer = check_output(capsys.readouterr().out)
    assert answer["commits"] == [sha[:10] for sha in saved]
    slower, same = answer["rows"]
    assert (slower["case_id"], slower["verdict"], slower["commits"]) == (CASE, "slower", 1)
    assert (same["verdict"], same["ratio"], same["last_before"]) == ("same", None, "")


@pytest.mark.usefixtures("saved", "capsys")
def test_it_writes_a_page_and_a_summary_and_replaces_its_own() -> None:
    words = ["history", "saved", "--html", "h.html", "--markdown", "h.md"]
    assert main(words) == 1
    assert Path("h.html").read_text().startswith("<!DOCTYPE html>")
    assert Path("h.md").read_text().startswith("### History of ")
    assert main(words) == 1
    assert main([*words, "--margin", "50%"]) == 0
    assert Path("h.md").read_text().startswith("**History of ")
    assert main(words) == 1
    Path("h.md").write_text("mine")
    assert main(words) == 2
    assert Path("h.md").read_text() == "mine"


@pytest.mark.parametrize("words", [["history", "saved"], ["compare", "saved/a.json", "saved/b.json"]])
@pytest.mark.usefixtures("saved")
def test_a_dashboard_gets_its_json_alone(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    newest = Path("saved/Linux/9976_x.json").read_text()
    for name in ("a", "b"):
        Path(f"saved/{name}.json").write_text(newest)
    main([*words, "--format", "bencher"])
    assert CASE in json.loads(capsys.readouterr().out)
    main([*words, "--format", "github-action-benchmark"])
    entries = json.loads(capsys.readouterr().out)
    assert entries[0]["name"].startswith(f"{CASE}: latency")


@pytest.mark.usefixtures("saved")
def test_a_format_and_json_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "saved", "--json", "--format", "bencher"]) == 2
    assert "--format and --json are mutually exclusive" in capsys.readouterr().err
    assert main(["history", "saved", "--format", "codspeed"]) == 2
    assert "--format: 'codspeed' is not one of github-action-benchmark, bencher" in capsys.readouterr().err
    assert main(["history"]) == 2


def test_a_report_for_a_dashboard_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = Path(__file__).parents[1] / "samples" / "before_packages" / "run"
    run = tmp_path / "run"
    run.mkdir()
    for name in ("journal.jsonl", "run.json"):
        (run / name).write_bytes((sample / name).read_bytes())
    assert main(["report", str(run), "--format", "bencher"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert any("latency" in measures for measures in found.values())
    assert not (run / "report.html").exists()
    assert main(["report", str(run), str(run), "--format", "bencher"]) == 2
    assert "a dashboard takes one at a time" in capsys.readouterr().err
