"""Temporary folders are removed: by their owner, or by the next process once the owner was killed."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deconvbench.errors import SurroundingsError
from deconvbench.system.scratch import make_scratch_folder, sweep_scratch_folders

OWNER = """
import sys, time
from pathlib import Path
from deconvbench.errors import SurroundingsError
from deconvbench.system.scratch import make_scratch_folder
with make_scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "capture.bin").write_text("much")
    print(folder, flush=True)
    time.sleep(600)
"""


def make_old(folder: Path) -> None:
    then = time.time() - 3600
    os.utime(folder / ".owner", (then, then))


def list_left(parent: Path) -> list[str]:
    sweep_scratch_folders(parent)
    return sorted(path.name for path in parent.iterdir())


def test_a_folder_lasts_as_long_as_its_block(tmp_path: Path) -> None:
    with make_scratch_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").write_text("something")
        make_old(folder)
        assert list_left(tmp_path) == [folder.name]
    assert list_left(tmp_path) == []


@pytest.mark.process
def test_the_folder_of_a_killed_process_is_swept_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        make_old(folder)
        assert list_left(tmp_path) == [folder.name]
        owner.kill()
    assert (folder / "capture.bin").exists()
    assert list_left(tmp_path) == []


def name_like_ours(parent: Path) -> Path:
    """A folder of the user's whose name begins as ours do."""
    folder = parent / "deconvbench-results"
    folder.mkdir()
    return folder


def leave_young(parent: Path) -> Path:
    folder = name_like_ours(parent)
    (folder / ".owner").touch()
    return folder


def link_owner(parent: Path) -> Path:
    folder = name_like_ours(parent)
    (parent / "elsewhere").touch()
    (folder / ".owner").symlink_to(parent / "elsewhere")
    os.utime(folder / ".owner", (0, 0), follow_symlinks=False)
    return folder


def link_folder(parent: Path) -> Path:
    """A link with a name of ours to a folder that one could sweep."""
    real = parent / "real"
    real.mkdir()
    (real / ".owner").touch()
    make_old(real)
    (parent / "deconvbench-link").symlink_to(real)
    return real


@pytest.mark.parametrize("make", [name_like_ours, leave_young, link_owner, link_folder])
def test_what_is_not_known_to_be_left_stays(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert list_left(tmp_path) == before
    assert folder.exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_what_belongs_to_another_stays(tmp_path: Path) -> None:
    folder = leave_young(tmp_path)
    make_old(folder)
    os.chown(folder, 12345, -1)
    assert list_left(tmp_path) == [folder.name]


def test_a_folder_that_cannot_be_looked_at_is_no_error(tmp_path: Path) -> None:
    sweep_scratch_folders(tmp_path / "missing")


def test_a_temporary_folder_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with make_scratch_folder() as folder:
        (folder / "file").touch()
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(SurroundingsError, match="cannot make a temporary folder: No such .*; set TMPDIR"):
        make_scratch_folder().__enter__()
