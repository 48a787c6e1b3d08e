# ruff: noqa: E501 -- a target is a line
"""Targets that cannot be audited, as a list: what each one does, and what its one line must name.

Every one ends with exit code 2, one line on standard error, nothing on standard output, and no process left.
"""

import os
from pathlib import Path

import psutil
import pytest
import torch

from deconvbench.__main__ import main

pytestmark = [pytest.mark.process, pytest.mark.slow]

HEAD = "import ctypes, os, signal, sys, threading, time\nimport torch\nfrom torch import nn\n"
NET = "def make():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 3, 2, 2))\n"


def forward(body: str) -> str:
    """A module whose network does that when it is run."""
    return (
        "class make(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        self.conv = nn.Conv2d(3, 3, 3)\n    def forward(self, x):\n        {body}\n"
    )


def make(body: str) -> str:
    """A module whose factory does that when it is called."""
    return f"def make():\n    {body}\n"


# name: source of the module, further words of the command, what the line must name
TARGETS: dict[str, tuple[str, str, str]] = {
    "torn": ("def make(:", "", "SyntaxError"),
    "raises": ("1 / 0", "", "cannot import 'raises': ZeroDivisionError: division by zero (raises.py:4)"),
    "imports": ("import no_such_module", "", "No module named 'no_such_module'"),
    "leaves": ("sys.exit(0)", "", "cannot import 'leaves': SystemExit: 0"),
    "exits": ("os._exit(0)", "", "the process exited with code 0"),
    "kills": ("os.kill(os.getpid(), signal.SIGKILL)", "", "killed by SIGKILL"),
    "terminates": ("os.kill(os.getpid(), signal.SIGTERM)", "", "killed by SIGTERM"),
    "segfaults": ("ctypes.string_at(0)", "", "Fatal Python error: Segmentation fault"),
    "aborts": ("os.abort()", "", "Fatal Python error: Aborted"),
    "hangs": ("time.sleep(1000)", "--timeout 2", "hangs:make: not done within 2 s (while loading the network)"),
    "forks": ("os.fork()\nos.fork()\ntime.sleep(1000)", "--timeout 2", "not done within 2 s"),
    "parts": ("if os.fork():\n    time.sleep(1000)\nos.setsid()\n" + NET, "--timeout 2", "not done within 2 s"),
    "prints": ("os.write(1, b'{}\\n' * 10)\nwhile True: print('x' * 10**6)", "--timeout 2", "not done within 2 s"),
    "interrupts": ("raise KeyboardInterrupt", "", "KeyboardInterrupt"),
    "closes": ("os.closerange(0, 99)\n" + NET, "", "the process exited with code"),
    "says": (
        "for n in range(3, 99):\n    try: os.write(n, b'x {}\\n')\n    except OSError: pass\n" + NET,
        "",
        "sent something that is not an answer",
    ),
    "forgets": ("sys.modules.clear()\ndef make(): import torch", "", "forgets"),
    "patches": ("torch.Tensor.__add__ = torch.add = nn.Module.__call__ = None\n" + NET, "", "is not callable"),
    "eats": ("kept = []\nwhile True: kept.append(torch.ones(2**24))", "--max-memory 500MB", "needs more memory than the 477 MiB"),
    "hoards": ("kept = []\nwhile True: kept.append(bytearray(2**24))", "--max-memory 500MB", "needs more memory"),
    "empty": ("", "", "'empty' has no 'make'"),
    "number": ("make = 3", "", "'number:make' is of type int; a network is needed"),
    "nothing": (make("pass"), "", "'nothing:make' returns None, not a torch.nn.Module"),
    "layer": (make("return nn.Conv2d"), "", "returns the class Conv2d, not a network of it"),
    "weights": (make("return nn.Conv2d(3, 3, 3).state_dict()"), "", "returns of type OrderedDict"),
    "later": ("async def make(): pass", "", "is an async function"),
    "asks": ("class make(nn.Module):\n    def __init__(self, width): pass", "", "takes (width) but is called without any"),
    "fails": (make("raise RuntimeError('no weights\\nhere')"), "", "RuntimeError: no weights here (fails.py:5 in make)"),
    "mute": (
        make("class Odd(Exception):\n        def __str__(self): raise ValueError\n    raise Odd"),
        "--input 1x3x8x8",
        "mute:make",
    ),
    "two": (
        "class make(nn.Module):\n    def forward(self, image, mask): return image",
        "",
        "--input: none is given; forward takes (image, mask): give its shapes",
    ),
    "wide": (NET, "--input 1x5x8x8", "the network does not run with 1x5x8x8: RuntimeError: Given groups=1"),
    "named": (NET, "--input photo=1x3x8x8", "unexpected keyword argument 'photo'"),
    "vast": (NET, "--input 64x3x2000x2000 --max-memory 1GiB", "needs more memory than the 1 GiB"),
    "broken": (forward("raise KeyError('skip')"), "--input 1x3x16x16", "KeyError: 'skip' (broken.py:9 in forward)"),
    "silent": (forward("return None"), "", "the network gives no tensor"),
    "dies": (forward("os._exit(3)"), "", "the process exited with code 3 (while trying an input of 1x3x256x256)"),
    "waits": (forward("time.sleep(1000)"), "--timeout 2 --input 1x3x16x16", "(while running the network once)"),
    "moved": (NET, "--device cuda:77", "device: 'cuda:77' is not on this machine"),
    "pictured": (NET, "--image pictured.py", "--image: cannot read"),
    "pickled": (NET, "--state-dict evil.pt", "evil.pt' holds objects besides tensors, which would run code"),
    "garbled": (NET, "--state-dict garbled.py", "is not a file that torch.save wrote"),
    "unfit": (
        NET,
        "--state-dict other.pt",
        "does not fit the network: 4 of 4 keys are missing: 0.weight, 0.bias, 1.weight, …; 2 of 2 keys in the file",
    ),
    "shaped": (NET, "--state-dict shaped.pt", "1 of 4 have another shape: 0.weight (4×3×5×5 there, 4×3×3×3 in the network)"),
    "listed": (NET, "--state-dict list.pt", "holds list, not tensors by name"),
    "piped": (NET, "--state-dict pipe", "pipe': not a regular file"),
}  # fmt: skip

# targets that are none at all
NAMES: dict[str, str] = {
    "no_such_module:make": "cannot import 'no_such_module': ModuleNotFoundError",
    "network": "'network' is not of the form pkg.mod:factory, file.py:factory or file.onnx",
    "none.py:make": "cannot read 'none.py': No such file",
    "folder.py:make": "cannot read 'folder.py': not a regular file",
    "empty.py": "'empty.py' names no function; write empty.py:NAME",
    "empty.py:make": "'empty.py' has no 'make'",
    "os:path": "'os:path' is of type module",
    "a b:c": "is not of the form pkg.mod:factory",
    "none.onnx": "none.onnx: ",
}


class Evil:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch was-here",)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files of weights that do not fit."""
    monkeypatch.chdir(tmp_path)
    torch.save({"0.weight": torch.ones(1), "x": Evil()}, tmp_path / "evil.pt")
    torch.save({"a.weight": torch.ones(1), "b": torch.ones(1)}, tmp_path / "other.pt")
    weights = {"0.weight": (4, 3, 5, 5), "0.bias": (4,), "1.weight": (4, 3, 2, 2), "1.bias": (3,)}
    torch.save({name: torch.ones(shape) for name, shape in weights.items()}, tmp_path / "shaped.pt")
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "empty.py").write_text("")
    return tmp_path


def check(words: list[str], named: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Run the command and look at its line."""
    assert main(["audit", *words]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    # where it takes long, it says in between what it is doing
    (line,) = [line for line in err.splitlines() if not line.startswith("[")]
    assert line.startswith("deconvbench: ")
    assert named in err
    assert len(err) < 1500
    assert "Traceback" not in err
    left = [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]
    assert left == []


def test_there_are_thirty() -> None:
    assert len(TARGETS) + len(NAMES) >= 30


@pytest.mark.parametrize("name", TARGETS)
def test_a_bad_target_is_one_line(here: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    source, words, named = TARGETS[name]
    (here / f"{name}.py").write_text(HEAD + source)
    check([f"{name}:make", *words.split()], named, capfd)
    assert not (here / "was-here").exists()


@pytest.mark.parametrize("target", NAMES)
def test_what_is_no_target_is_one_line(here: Path, target: str, capfd: pytest.CaptureFixture[str]) -> None:
    check([target], NAMES[target], capfd)
