"""Both ends of a child process that takes lines and answers with lines."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deconvbench.errors import SurroundingsError
from deconvbench.runner.child_process import ChildProcess
from tests.processes import have_ended

pytestmark = pytest.mark.process


Start = Callable[..., ChildProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a script in place of the interpreter; it is told the module's name and ignores it."""
    started: list[ChildProcess] = []

    def start_one(script: str, log: Path | None = None) -> ChildProcess:
        program = tmp_path / f"python-{len(started)}"
        program.write_text(f"#!{sys.executable}\nimport os, signal, subprocess, sys, time\n{script}")
        program.chmod(0o755)
        started.append(ChildProcess("any.module", python=str(program), environment={"GIVEN": "yes"}, log=log))
        return started[-1]

    yield start_one
    for child in started:
        child.kill()


def test_lines_go_in_and_come_out(start: Start) -> None:
    child = start("for line in sys.stdin:\n    print(line.upper(), os.environ['GIVEN'], flush=True)")
    child.send("word")
    assert [child.receive(10) for _ in range(2)] == ["WORD", " yes"]
    assert child.alive
    child.kill()
    assert not child.alive


def test_answers_may_come_in_pieces(start: Start) -> None:
    child = start("print('a' * 70_000, flush=True)\nprint('b', end='', flush=True)")
    found: list[str] = []
    while (lines := child.receive_some()) is not None:
        found += lines
    assert found == ["a" * 70_000]  # what has no end of line was never said
    assert child.wait() == 0


def test_silence_is_a_time_out_and_an_end_is_none(start: Start) -> None:
    silent = start("time.sleep(60)")
    with pytest.raises(TimeoutError):
        silent.receive(0.2)
    ended = start("os.kill(os.getpid(), signal.SIGSEGV)")
    assert ended.receive(10) is None
    assert ended.wait() == -signal.SIGSEGV
    ended.send("this is not read, and nothing breaks")


def test_a_child_that_closed_its_end_and_hangs_is_a_time_out(start: Start) -> None:
    child = start("os.close(1)\ntime.sleep(60)")
    with pytest.raises(TimeoutError):
        child.receive(2)
    child.kill()


def test_all_that_it_started_ends_with_it(start: Start) -> None:
    child = start("print(subprocess.Popen(['sleep', '60']).pid, flush=True)\ntime.sleep(60)")
    grandchild = os.pidfd_open(int(child.receive(10) or 0))
    child.kill()
    child.kill()
    assert have_ended([grandchild])
    os.close(grandchild)


def test_the_log_has_what_it_printed_and_its_last_words_are_its_own(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Fatal Python error: of another\n")
    child = start("print('Fatal Python error: mine\\n  in a file', file=sys.stderr)", log)
    child.wait()
    assert child.find_last_words() == "Fatal Python error: mine"
    child.kill()
    assert start("").find_last_words() == ""


def test_a_log_that_cannot_be_written_is_named(start: Start, tmp_path: Path) -> None:
    with pytest.raises(SurroundingsError, match="cannot write to .*: "):
        start("", tmp_path)


def test_no_interpreter_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ChildProcess("any.module", python=str(tmp_path / "none"))


CHILD = """
import sys
from deconvbench.runner.child_process import open_channel
source, answer = open_channel()
print("a layer prints this")
sys.stdout.flush()
answer("an answer")
"""


def test_what_layers_print_is_no_answer() -> None:
    ended = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("an answer\n", "a layer prints this\n")
