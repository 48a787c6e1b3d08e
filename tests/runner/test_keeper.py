"""Whatever a child starts ends when the child or the run ends, however that ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deconvbench.runner import keeper
from deconvbench.runner.child_process import ChildProcess
from deconvbench.runner.keeper import HEAD_BYTES, TAIL_BYTES, BoundedLog
from tests.processes import have_ended

pytestmark = pytest.mark.process

if sys.platform != "linux":
    pytest.skip("needs /proc and process descriptors", allow_module_level=True)

KEEPER = Path(keeper.__file__)
SLEEP = "['sleep', '600']"
# how a layer may start something; each prints its number
STARTS = {
    "a process": f"print(subprocess.Popen({SLEEP}).pid, flush=True)",
    "one in a session of its own": f"print(subprocess.Popen({SLEEP}, start_new_session=True).pid, flush=True)",
    "one that ignores what ends it": (
        "print(subprocess.Popen(['sh', '-c', 'trap \"\" HUP TERM INT; sleep 600']).pid, flush=True)"
    ),
    "a daemon": (
        "r, w = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    print(subprocess.Popen({SLEEP}, start_new_session=True).pid, flush=True)\n"
        "    os.close(w)\n"
        "    os._exit(0)\n"
        "os.close(w)\n"
        "os.read(r, 1)\n"
    ),
    "a stopped one": f"p = subprocess.Popen({SLEEP}); p.send_signal(19); print(p.pid, flush=True)",
}
IDLE = "\nsys.stdin.read() if False else time.sleep(600)"


def start_kept(script: str, *, log: bool = False, stderr: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", f"import os, signal, subprocess, sys, time\n{script}"]
    order = json.dumps({"command": command, "log": log})
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(KEEPER), order],
        stdin=pipe, stdout=pipe, stderr=stderr, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.fixture(params=STARTS)
def kept(request: pytest.FixtureRequest) -> Iterator[tuple["subprocess.Popen[str]", int, list[int]]]:
    """A keeper, the number of its child, and descriptors of the child and of what that started."""
    with start_kept(f"print(os.getpid(), flush=True)\n{STARTS[request.param]}{IDLE}") as process:
        assert process.stdout is not None
        child, started = int(process.stdout.readline()), int(process.stdout.readline())
        descriptors = [os.pidfd_open(child), os.pidfd_open(started)]
        yield process, child, descriptors
        process.kill()
    for descriptor in descriptors:
        os.close(descriptor)


Kept = tuple["subprocess.Popen[str]", int, list[int]]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGHUP])
def test_a_child_that_dies_takes_all_with_it(kept: Kept, number: signal.Signals) -> None:
    process, child, descriptors = kept
    os.kill(child, number)
    assert have_ended(descriptors)
    assert process.wait(30) == -number


@pytest.mark.parametrize("way", ["its end of the channel is closed", "SIGTERM", "SIGHUP", "SIGINT"])
def test_all_ends_when_the_run_is_gone(kept: Kept, way: str) -> None:
    process, _, descriptors = kept
    if way.startswith("SIG"):
        process.send_signal(getattr(signal, way))
    else:
        assert process.stdin is not None
        process.stdin.close()
    assert have_ended(descriptors)
    assert process.wait(30) == -signal.SIGKILL


def test_a_keeper_that_is_killed_takes_the_child_with_it() -> None:
    with start_kept(f"print(os.getpid(), flush=True){IDLE}") as process:
        assert process.stdout is not None
        child = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
        assert have_ended([child])
        os.close(child)


def test_a_run_that_is_killed_while_a_fork_of_it_holds_the_channel() -> None:
    """The channel stays open, so its end tells nothing."""
    script = f"""
import json, os, subprocess, sys, time
pipe = subprocess.PIPE
order = json.dumps({{"command": [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"], "log": False}})
process = subprocess.Popen([sys.executable, "-I", "-S", {str(KEEPER)!r}, order], stdin=pipe, stdout=pipe)
child = int(process.stdout.readline())
fork = os.fork()
if fork == 0:
    time.sleep(600)
print(child, fork, flush=True)
time.sleep(600)
"""  # noqa: E501
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        child, fork = map(int, run.stdout.readline().split())
        descriptor = os.pidfd_open(child)
        run.kill()
        assert have_ended([descriptor])
        os.close(descriptor)
        os.kill(fork, signal.SIGKILL)


@pytest.mark.parametrize("code", [0, 3, 255])
def test_it_ends_as_the_child_does(code: int) -> None:
    with start_kept(f"sys.exit({code})") as process:
        assert process.wait(30) == code


def test_what_the_child_reads_and_writes_is_not_touched() -> None:
    with start_kept("for line in sys.stdin: print(line.upper(), end='', flush=True)") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("a word\n")
        process.stdin.flush()
        assert process.stdout.readline() == "A WORD\n"
        os.kill(psutil.Process(process.pid).children()[0].pid, signal.SIGKILL)
        assert process.stdout.read() == ""


@pytest.mark.parametrize("stopped", ["child", "keeper"])
def test_being_stopped_for_a_while_ends_nothing(stopped: str) -> None:
    with start_kept("for line in sys.stdin: print(line, end='', flush=True)") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("a\n")
        process.stdin.flush()
        assert process.stdout.readline() == "a\n"
        (child,) = psutil.Process(process.pid).children()
        pid = process.pid if stopped == "keeper" else child.pid
        os.kill(pid, signal.SIGSTOP)
        process.stdin.write("b\n")
        process.stdin.flush()
        time.sleep(0.05)
        os.kill(pid, signal.SIGCONT)
        assert process.stdout.readline() == "b\n"
        process.stdin.close()
        process.wait(30)


def test_a_stopped_keeper_is_ended_all_the_same(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    child = ChildProcess("deconvbench.runner.worker_main", python=str(program))
    os.kill(child.pid, signal.SIGSTOP)
    keeper_descriptor = os.pidfd_open(child.pid)
    child.kill()
    assert have_ended([keeper_descriptor], 0)
    os.close(keeper_descriptor)


def test_a_log_has_its_head_and_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with (
        path.open("ab") as file,
        start_kept(
            "for number in range(30_000): print(f'{number:100}', file=sys.stderr)", log=True, stderr=file.fileno()
        ) as process,
    ):
        process.wait(60)
    lines = path.read_text().splitlines()
    assert path.stat().st_size < HEAD_BYTES + TAIL_BYTES + 100
    assert (lines[0].strip(), lines[-1].strip()) == ("0", "29999")
    (note,) = [line for line in lines if line.startswith("[")]
    assert note == f"[{30_000 * 101 - HEAD_BYTES - TAIL_BYTES} bytes left out]"


@pytest.mark.parametrize("size", [0, 3 * TAIL_BYTES])
def test_a_log_that_is_full_keeps_little_more(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LOG_BYTES", 2 * TAIL_BYTES)
    path = tmp_path / "log"
    path.write_bytes(b"-" * size)
    with path.open("ab") as file:
        log = BoundedLog(file.fileno())
        for _ in range(10):
            log.take(b"a" * TAIL_BYTES)
        log.close()
    room = 2 * TAIL_BYTES if size == 0 else TAIL_BYTES
    assert path.stat().st_size - size == room + TAIL_BYTES + len(f"\n[{9 * TAIL_BYTES - room} bytes left out]\n")


def test_a_full_disk_costs_the_log_alone() -> None:
    with Path("/dev/full").open("ab") as file:
        log = BoundedLog(file.fileno())
        log.take(b"something")
        log.close()
