import os
import sys
from pathlib import Path
from typing import Any

import pytest

from deconvbench.errors import SurroundingsError
from deconvbench.studies.training.process import TrainingProcess
from tests.processes import have_ended
from tests.tiny_training import TINY

pytestmark = pytest.mark.process

OPTIONS: dict[str, Any] = {"images": None, "smallest": 1, "sources": [], "digests": [], "code_version": "1"}


def become(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """Start a script in place of the interpreter: torch takes seconds to import."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{script}")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def read_all(process: TrainingProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while (answers := process.read()) is not None:
        found += answers
    return found


def test_options_and_jobs_go_in_and_answers_come_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    become(
        monkeypatch,
        tmp_path,
        "import json, os, sys\n"
        "options = json.loads(sys.stdin.readline())\n"
        "settings = json.loads(sys.stdin.readline())\n"
        "say = lambda content, end: print(options['token'], json.dumps(content), end=end)\n"
        "say({**options, 'threads': os.environ['OMP_NUM_THREADS']}, '\\n')\n"
        "say(settings, '')\n"  # an answer may come in pieces
        "sys.stdout.flush()\n"
        "print('\\nto the log', file=sys.stderr)\n"
        "print()\n",
    )
    process = TrainingProcess(OPTIONS, tmp_path)
    process.train(TINY)
    first, second = read_all(process)
    assert first.pop("token")
    assert first == {**OPTIONS, "root": str(tmp_path), "threads": "1"}
    assert (second["upsampler"], second["steps"]) == ("transposed", 12)
    message = f"the process exited with code 0: to the log; see {tmp_path / 'training.log'}"
    assert process.explain_end() == ("crashed", message)
    assert (tmp_path / "training.log").read_text() == "\nto the log\n"
    process.kill()
    process.kill()


def test_a_child_that_was_killed_says_by_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    become(monkeypatch, tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    process = TrainingProcess(OPTIONS, tmp_path)
    assert read_all(process) == []
    process.train(TINY)  # it is gone, which is not an error yet
    assert process.explain_end() == ("crashed", f"killed by SIGSEGV; see {tmp_path / 'training.log'}")
    process.kill()


@pytest.mark.parametrize("line", ["{}", "nonsense", '[1, 2] {"status": "ok"}', "\\xff"])
def test_what_is_not_an_answer_ends_the_child(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = f"import sys, time\nsys.stdout.buffer.write(b'{line}\\n')\nsys.stdout.flush()\ntime.sleep(60)"
    become(monkeypatch, tmp_path, script)
    process = TrainingProcess(OPTIONS, tmp_path)
    assert read_all(process) == []
    status, message = process.explain_end()
    assert status == "crashed"
    assert message.startswith("the training process sent something that is not")


@pytest.mark.skipif(sys.platform != "linux", reason="needs process descriptors")
def test_killing_it_ends_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    become(
        monkeypatch,
        tmp_path,
        "import json, subprocess, sys\n"
        "token = json.loads(sys.stdin.readline())['token']\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print(token, '{\"pid\": %d}' % child.pid, flush=True)\n"
        "child.wait()\n",
    )
    process = TrainingProcess(OPTIONS, tmp_path)
    answers: list[dict[str, Any]] | None = []
    while answers == []:  # a line may come in pieces
        answers = process.read()
    assert answers is not None
    started = os.pidfd_open(answers[0]["pid"])
    process.kill()
    assert have_ended([started])
    os.close(started)


def test_what_cannot_be_started_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with pytest.raises(SurroundingsError, match="no training process: No such file or directory"):
        TrainingProcess(OPTIONS, tmp_path)
    with pytest.raises(SurroundingsError, match=r"cannot write to .*training\.log"):
        TrainingProcess(OPTIONS, tmp_path / "missing")
