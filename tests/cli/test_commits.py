"""The command that compares two commits: its words, and what goes wrong."""

import subprocess
from pathlib import Path

import pytest

from deconvbench.__main__ import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such"], "'no-such' is not a commit of this repository"),
        (["HEAD", "--margin", "much"], "--margin"),
        (["HEAD", "--preset", "no"], "no"),
        ([], "Missing argument"),
    ],
    ids=["commit", "margin", "preset", "none"],
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
