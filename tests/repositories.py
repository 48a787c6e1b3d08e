"""Throw-away git repositories: one that holds this package, and one of a user with a layer of his own."""

import shutil
import subprocess
from pathlib import Path

import deconvbench

SOURCE = Path(deconvbench.__file__).parents[1]
_IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@b.c")


def git(repository: Path, *words: str) -> str:
    command = ["git", "-C", str(repository), *_IDENTITY, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit_all(repository: Path, message: str) -> None:
    git(repository, "add", ".")
    git(repository, "commit", "-qm", message)


def list_worktrees(repository: Path) -> list[str]:
    return [line for line in git(repository, "worktree", "list", "--porcelain").splitlines() if "worktree" in line]


def slow_down_code(line: str, times: int) -> str:
    """Write a line of a method so that it takes some times as long, in a busy loop."""
    return (
        "        import time\n\n"
        "        started = time.perf_counter()\n"
        f"        {line}\n"
        f"        until = time.perf_counter() + {times - 1} * (time.perf_counter() - started)\n"
        "        while time.perf_counter() < until:\n"
        "            pass\n"
    )


def make_own_repository(folder: Path) -> Path:
    """Make a repository with this package in it, whose second commit makes `resize_conv` twenty times slower."""
    shutil.copytree(SOURCE, folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "-q")
    commit_all(folder, "base")
    layer = folder / "src" / "deconvbench" / "upsamplers" / "resize_conv.py"
    text = layer.read_text()
    quick = "        y: Tensor = self.conv(self.resize(x))\n"
    assert quick in text
    layer.write_text(text.replace(quick, slow_down_code(quick.strip(), 20)))
    commit_all(folder, "slower")
    return folder


_LAYERS = """
from torch import nn

from mypkg.resizing import Resize


class Mine(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, scale_factor):
        super().__init__()
        self.resize = Resize(scale_factor)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding="same")

    def forward(self, x):
        return self.conv(self.resize(x))

"""
_RESIZING = """
from torch import nn


class Resize(nn.Module):
    def __init__(self, scale_factor):
        super().__init__()
        self.up = nn.Upsample(scale_factor=scale_factor)

    def forward(self, x):
        y = self.up(x)
        return y
"""


def make_users_repository(folder: Path, *, layout: str = "src") -> Path:
    """Make a repository with a layer of its own, whose second commit makes its resizing a hundred times slower."""
    package = folder / layout / "mypkg"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text(_LAYERS)
    (package / "resizing.py").write_text(_RESIZING)
    git(folder, "init", "-q")
    commit_all(folder, "base")
    (package / "resizing.py").write_text(
        _RESIZING.replace("        y = self.up(x)\n", slow_down_code("y = self.up(x)", 100))
    )
    commit_all(folder, "slower")
    return folder
