"""What people see: a run on a terminal of its own, and without one; at the end the cursor is shown again."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

TINY = (
    "run",
    "--preset",
    "smoke",
    "-k",
    "(nearest_conv or conv_nearest or subpixel) and 8x8 and not train",
    "--seed",
    "1",
)
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
COLOUR = re.compile(r"\x1b\[[0-9;]*[1-9][0-9;]*m")


def run_on_terminal(
    words: Sequence[str], folder: Path, number: int | None = None, **variables: str
) -> tuple[int, str]:
    """Run a command whose standard streams are a terminal; a signal is sent as soon as a bar is shown."""
    master, slave = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR"}}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "160", "LINES": "40", **variables}
    process = subprocess.Popen(
        [sys.executable, "-m", "deconvbench", *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                part = os.read(master, 65536)
            except OSError:  # how Linux says that the other end was closed
                break
            if not part:
                break
            shown += part
        if number is not None and b"left" in shown:
            process.send_signal(number)
            number = None
    code = process.wait(timeout=60)
    with contextlib.suppress(OSError):
        os.close(master)
    return code, shown.decode(errors="replace")


def test_a_terminal_gets_a_bar_with_the_time_left_and_a_table_at_the_end(tmp_path: Path) -> None:
    code, shown = run_on_terminal(TINY, tmp_path)
    assert code == 0
    assert re.search(r"\d+/\d+.* left", shown)
    assert COLOUR.search(shown)
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    end = shown.rpartition(SHOW)[2]
    assert "records: " in end
    assert re.search(r"layer +ratio +95 % +ripple +verdict", end)


def test_colours_obey_no_color(tmp_path: Path) -> None:
    code, shown = run_on_terminal(TINY, tmp_path, NO_COLOR="1")
    assert code == 0
    assert " left" in shown
    # bold is not a colour
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[0-9;]*m", shown)


def test_a_terminal_that_cannot_draw_over_a_line_gets_plain_lines(tmp_path: Path) -> None:
    code, shown = run_on_terminal(TINY, tmp_path, TERM="dumb")
    assert code == 0
    assert "\x1b" not in shown
    assert re.search(r"^\[\d+/\d+\] .* left", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_a_run_that_is_stopped_leaves_the_terminal_in_order(
    tmp_path: Path, number: signal.Signals, expected: int
) -> None:
    code, shown = run_on_terminal(TINY, tmp_path, number)
    assert code == expected
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    assert "Continue with: deconvbench run" in shown.rpartition(SHOW)[2]
    assert "Traceback" not in shown


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}], ids=["usual", "forced"])
def test_a_pipe_gets_plain_lines(tmp_path: Path, variables: dict[str, str]) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "deconvbench", *TINY],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TERM": "xterm-256color", **variables},
    )
    assert "\x1b" not in answer.stdout + answer.stderr
    assert re.search(r"^\[\d+/\d+\] .* left", answer.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    ("shell", "written"),
    [
        ("bash", ".bash_completions/deconvbench.sh"),
        ("zsh", ".zfunc/_deconvbench"),
        ("fish", ".config/fish/completions/deconvbench.fish"),
    ],
)
def test_completion_is_installed_and_completes(tmp_path: Path, shell: str, written: str) -> None:
    variables = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-m", "deconvbench"]
    subprocess.run([*command, "--install-completion", shell], check=True, capture_output=True, env=variables)
    assert "_DECONVBENCH_COMPLETE" in (tmp_path / written).read_text()
    asked = {"_DECONVBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "deconvbench re", "COMP_CWORD": "1"}
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=variables | asked)
    assert answer.stdout.split() == ["report", "recommend"]
