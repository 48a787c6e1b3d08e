"""The command that compares two commits: its words, how it ends, and what goes wrong."""

import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deconvbench.__main__ import main
from deconvbench.analysis.comparison_input import Side
from deconvbench.analysis.paired_comparison import compare_pairs
from deconvbench.workflows import commits
from deconvbench.workflows.commits import CommitComparison, CommitSelection
from tests.builders import make_case, make_pair_record

CASES = [make_case(height=height) for height in (4, 8, 16, 32)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such"], "'no-such' is not a commit of this repository"),
        (["HEAD", "--margin", "much"], "--margin"),
        (["HEAD", "--preset", "no"], "no"),
        (["HEAD", "--fail-on", "no"], "--fail-on: 'no' is not one of slower, inconclusive"),
        (["HEAD", "--conditions", "no"], "--conditions: 'no' is not one of settled, system"),
        ([], "Missing argument"),
    ],
    ids=["commit", "margin", "preset", "verdict", "conditions", "none"],
)
def test_what_is_wrong_is_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    assert main(["compare-commits", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[Any, ...]]]:
    """Replace the measuring by ratios: one for each case, of HEAD and of the control."""

    def make(head: float = 1.0, control: float = 1.0, scatter: float = 0.001) -> list[tuple[Any, ...]]:
        asked: list[tuple[Any, ...]] = []
        records = [
            make_pair_record(
                case=case,
                pair=pair,
                replicate=replicate,
                log_ratio=math.log(ratio) + scatter * (1 if (replicate + index) % 2 else -1),
            )
            for pair, ratio in (("head", head), ("control", control))
            for index, case in enumerate(CASES)
            for replicate in range(10)
        ]

        def compare(
            folder: Path, base: str, new: str, selection: CommitSelection, **words: Any
        ) -> CommitComparison:
            asked.append((base, new, selection, words["out"]))
            words["announce"](["measured at the sizes of smoke: x"], Path("results/c"))
            side = Side(name="", latencies_s={}, failures={}, metrics={})
            found = compare_pairs(records, side, side, selection.margin)
            return CommitComparison(found=found, folder=Path("results/c"), lines=("measured: x",))

        monkeypatch.setattr(commits, "compare_commits", compare)
        return asked

    return make


@pytest.mark.parametrize(
    ("ratios", "words", "code"),
    [
        ({}, [], 0),
        ({"head": 1.2}, [], 1),
        ({"head": 1.2}, ["--fail-on", "inconclusive"], 0),
        ({"head": 1.05, "scatter": 0.1}, [], 0),
        ({"head": 1.05, "scatter": 0.1}, ["--fail-on", "slower", "--fail-on", "inconclusive"], 1),
        ({"control": 1.2}, [], 4),
        ({"head": 1.2, "control": 1.2}, [], 4),
    ],
    ids=["same", "slower", "slower allowed", "open", "open refused", "void", "void and slower"],
)
def test_the_exit_code_says_what_was_found(
    give: Callable[..., object],
    ratios: dict[str, float],
    words: list[str],
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    give(**ratios)
    assert main(["compare-commits", "main", *words]) == code
    out, err = capsys.readouterr()
    assert "control: BASE against BASE in 4 cases: off by up to" in out
    assert "all cases together: HEAD/BASE" in out
    assert "measured: x" in out
    assert ("deconvbench: void: " in err) == (code == 4)


def test_the_words_reach_the_comparison(
    give: Callable[..., list[tuple[Any, ...]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = give()
    words = [
        "compare-commits", "v1", "v2", "--preset", "quick", "--set", "height=8", "-k", "near",
        "--upsampler", "a.b:C",
        "--replicates", "12", "--margin", "2%", "--seed", "3", "--conditions", "system",
        "--slow-down", "carafe=5%",
        "--out", str(tmp_path / "c"), "--html", str(tmp_path / "c.html"), "--markdown", str(tmp_path / "c.md"),
    ]  # fmt: skip
    assert main(words) == 0
    [(base, head, selection, out)] = asked
    assert (base, head, out) == ("v1", "v2", tmp_path / "c")
    assert (selection.preset, selection.settings, selection.keyword) == ("quick", ("height=8",), "near")
    assert (selection.upsamplers, selection.replicates, selection.margin) == (("a.b:C",), 12, 0.02)
    assert (selection.seed, selection.conditions, selection.slowdowns) == (3, "system", (("carafe", 0.05),))
    assert "off by up to" in (tmp_path / "c.md").read_text()
    assert "off by up to" in (tmp_path / "c.html").read_text()
    assert "comparison folder: results/c" in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, announce: Callable[[list[str], Path], None], **__: object) -> None:
        announce(["x"], Path("results/c"))
        raise KeyboardInterrupt

    monkeypatch.setattr(commits, "compare_commits", stop)
    monkeypatch.setattr("sys.argv", ["deconvbench", "compare-commits", "main"])
    assert main(["compare-commits", "main"]) == 130
    assert "Continue with: deconvbench compare-commits main --out results/c" in capsys.readouterr().err
