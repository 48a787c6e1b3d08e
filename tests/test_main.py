"""Errors become one line and an exit code, whatever typer and click call them."""

import subprocess
import sys

import pytest
import typer

from deconvbench.cli.app import run_app
from deconvbench.errors import DeconvbenchError, SurroundingsError, UsageError

app = typer.Typer(add_completion=False)


@app.command()
def fail(kind: str, number: int = 1) -> int:
    errors = {"usage": UsageError, "surroundings": SurroundingsError, "other": DeconvbenchError}
    if kind in errors:
        raise errors[kind](f"{kind}:\n  two lines")
    return number


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["usage"], 2, "deconvbench: usage: two lines\n"),
        (["surroundings"], 3, "deconvbench: surroundings: two lines\n"),
        (["other"], 1, "deconvbench: other: two lines\n"),
        (["none"], 1, ""),
        (["none", "--number", "0"], 0, ""),
    ],
    ids=["usage", "surroundings", "other", "one", "zero"],
)
def test_codes_and_lines(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, "test", words) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    "words", [[], ["none", "--number", "x"], ["none", "--what"]], ids=["few", "type", "unknown"]
)
def test_wrong_words_are_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, "test", words) == 2
    err = capsys.readouterr().err
    assert err.startswith("deconvbench: ")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_the_module_runs_as_a_program() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "deconvbench", "run", "--preset", "no"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("deconvbench: --preset: 'no' is not one of")
