"""Standard streams as they may be, for every command that prints: exit codes, and no traceback."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deconvbench.__main__ import main
from deconvbench.cli.terminal import GuardedStream, guard_streams
from deconvbench.errors import SurroundingsError

CATALOGUE = ["grid", "--preset", "smoke"]


class Refusing(io.StringIO):
    """A stream whose writes fail in a way of their own."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.tries = 0

    def write(self, text: str) -> int:
        self.tries += 1
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "cp932", "utf-16", "utf-8"])
def test_letters_that_an_encoding_lacks_are_replaced(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    with guard_streams():
        print("Σ∗ᵀ ⌈café⌉ \udce9")
    assert output.errors == "strict"
    output.flush()
    assert "caf" in raw.getvalue().decode(encoding)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EBADF])
def test_a_result_that_was_not_written_is_told_at_the_end(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Refusing(number)
    monkeypatch.setattr(sys, "stdout", stream)
    done = []

    def work() -> None:
        with guard_streams():
            print("one")
            print("two")
            done.append(True)

    with pytest.raises(SurroundingsError, match="^cannot write to standard output: "):
        work()
    assert done
    assert stream.tries == 1
    assert sys.stdout is stream


def test_a_pipe_that_nobody_reads_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Refusing(errno.EPIPE))
    assert main(CATALOGUE) == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EIO])
def test_progress_that_cannot_be_shown_stops_nothing(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Refusing(number))
    assert main(CATALOGUE) == 0
    assert main(["grid", "--preset", "quik"]) == 2


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_closed_stream_takes_everything(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, name, None)
    assert main(CATALOGUE) == 0
    assert getattr(sys, name) is None


def test_a_full_disk_is_exit_code_3_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Refusing(errno.ENOSPC))
    assert main(CATALOGUE) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "deconvbench: cannot write to standard output: the disk is full"
    assert not any("Traceback" in line for line in lines)


def test_a_guarded_stream_is_as_its_stream() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors="replace")
    guarded = GuardedStream(raw)
    assert (guarded.encoding, guarded.errors, guarded.isatty(), guarded.writable()) == (
        "cp1252",
        "replace",
        False,
        True,
    )
    assert guarded.write("abc") == 3


@pytest.mark.parametrize("word", ["\x1b[31mred\x07", "\u202egnp", "a\rb"])
def test_an_error_shows_nothing_that_a_terminal_obeys(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grid", "--preset", word]) == 2
    assert main(["grid", f"--{word}"]) == 2
    err = capsys.readouterr().err
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(err)


SHELL = [
    (">&-", 0),
    ("2>&-", 0),
    (">&- 2>&- <&-", 0),
    (">/dev/full", 3),
    ("2>/dev/full", 0),
    ("| head -c 1 >/dev/null", 0),
    ("| true", 0),
    ("2>&1 >/dev/full | grep -q 'cannot write to standard output: the disk is full'", 3),
]
SURROUNDINGS = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "utf-16"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"COLUMNS": "1", "TERM": "dumb", "NO_COLOR": "1"},
]


@pytest.mark.process
@pytest.mark.parametrize(("redirection", "code"), SHELL, ids=[words for words, _ in SHELL])
def test_the_shell_gives_any_streams(tmp_path: Path, redirection: str, code: int) -> None:
    command = f"'{sys.executable}' -m deconvbench grid --preset smoke {redirection}"
    script = f"set -o pipefail; {command}; echo $? > code"
    ended = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (tmp_path / "code").read_text().strip() == str(code), ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.process
@pytest.mark.parametrize("variables", SURROUNDINGS, ids=["ascii", "utf-16", "C", "narrow"])
@pytest.mark.parametrize("words", ["--help", "grid --help", "grid --preset smoke", "grid --preset quük"])
def test_any_locale_and_terminal_will_do(tmp_path: Path, variables: dict[str, str], words: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "deconvbench", *words.split()],
        cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == (2 if "quük" in words else 0)
    assert b"Traceback" not in ended.stderr
