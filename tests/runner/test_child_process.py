"""Both ends of a child process that takes lines and answers with lines."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from deconvbench.errors import SurroundingsError
from deconvbench.runner import child_process
from deconvbench.runner.child_process import ChannelError, ChildProcess
from tests.processes import have_ended

pytestmark = pytest.mark.process


Start = Callable[..., ChildProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a script in place of the interpreter; it is told the module's name and ignores it."""
    started: list[ChildProcess] = []

    def start_one(script: str, log: Path | None = None, descriptors: Sequence[int] = ()) -> ChildProcess:
        program = tmp_path / f"python-{len(started)}"
        program.write_text(f"#!{sys.executable}\nimport os, signal, subprocess, sys, time\n{script}")
        program.chmod(0o755)
        given = {"GIVEN": "yes"}
        started.append(
            ChildProcess("any.module", python=str(program), environment=given, log=log, descriptors=descriptors)
        )
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


def test_it_holds_files_until_it_has_ended(start: Start) -> None:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    child = start("print('up', flush=True)\ntime.sleep(60)", descriptors=[theirs])
    os.close(theirs)
    assert child.receive(10) == "up"
    with pytest.raises(BlockingIOError):
        os.read(ours, 1)
    child.kill()
    assert os.read(ours, 1) == b""
    os.close(ours)


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


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_keeper_that_is_killed_leaves_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    started = "print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True)"
    monkeypatch.setattr(child_process, "start_like_this", lambda module, **_: like_a_module(started))
    child = ChildProcess("any.module")
    left = os.pidfd_open(int(child.receive(10) or 0))
    os.kill(child.pid, signal.SIGKILL)
    child.kill()
    assert have_ended([left])
    os.close(left)


@contextlib.contextmanager
def like_a_module(script: str) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    yield [sys.executable, "-c", f"import os, subprocess, sys, time\n{script}\ntime.sleep(600)"], ()


def test_a_line_without_end_is_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "MAX_LINE_BYTES", 100_000)
    child = start("while True: sys.stdout.write('a' * 10_000)")
    with pytest.raises(ChannelError, match="sent a line of more than 100000 bytes"):
        child.receive(30)
    other = start("sys.stdout.write('a' * 99_999 + '\\n')")
    assert len(other.receive(10) or "") == 99_999


def test_what_was_not_asked_for_is_noticed(start: Start) -> None:
    child = start("sys.stdin.readline()\nprint('a\\nb', flush=True)\ntime.sleep(60)")
    silences = [child.is_silent]
    child.send("speak")
    for expected in ("a", "b"):
        assert child.receive(10) == expected
        silences.append(child.is_silent)
    assert silences == [True, False, True]


@pytest.mark.parametrize(("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGRTMIN + 5, "signal 39")])
def test_the_end_is_explained(number: int, name: str, start: Start, tmp_path: Path) -> None:
    child = start(
        f"print('last words', file=sys.stderr, flush=True)\nos.kill(os.getpid(), {int(number)})", tmp_path / "log"
    )
    assert child.explain_end() == ("crashed", f"killed by {name}: last words")


NOT_READ = """
import os, sys
from deconvbench.runner.child_process import open_channel
source, answer = open_channel()
try:
    input("more? ")
except EOFError:
    answer(f"nothing, but {source.readline().strip()}")
if os.fork() == 0:
    answer("from a fork")
os.wait()
answer("the end")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_layers_read_nothing_and_forks_say_nothing() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", NOT_READ], input="a job\n", capture_output=True, text=True, check=True
    )
    assert ended.stdout == "nothing, but a job\nthe end\n"
