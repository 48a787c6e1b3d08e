"""A device belongs to one process at a time, and to whatever that has started, until all have ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deconvbench.errors import SurroundingsError
from deconvbench.runner.device_lock import DeviceLock, name_device


@pytest.mark.parametrize(
    ("device", "visible", "name"),
    [
        ("cpu", None, "cpu"),
        ("cuda", None, "cuda-0"),
        ("cuda:1", None, "cuda-1"),
        ("cuda:1", "3,5", "cuda-5"),
        ("cuda", "GPU-ab", "cuda-GPU-ab"),
        ("cuda:2", "3,5", "cuda-2"),
        ("mps", "3", "mps-0"),
    ],
)
def test_a_device_has_one_name_whatever_a_process_calls_it(device: str, visible: str | None, name: str) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert name_device(device, environment) == name


class Clock:
    """Seconds that pass while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_another_waits_and_then_says_how_long(tmp_path: Path) -> None:
    first, second, clock = DeviceLock("cpu", tmp_path), DeviceLock("cpu", tmp_path), Clock()
    with (
        first.hold(0),
        pytest.raises(SurroundingsError, match="cpu was held by another process for 2 s"),
        second.hold(2, clock=clock, sleep=clock.sleep),
    ):
        pass
    assert clock.now >= 2
    assert max(clock.pauses) <= 0.05
    with second.hold(0):
        pass
    first.close()
    second.close()


def test_devices_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with DeviceLock("cpu", tmp_path).hold(0), DeviceLock("cuda", tmp_path).hold(0):
        assert len([*tmp_path.iterdir()]) == 2


_HOLDER = """
import os, subprocess, sys, time
from pathlib import Path
from deconvbench.runner.device_lock import DeviceLock
lock = DeviceLock("cpu", Path(sys.argv[1]))
with lock.hold(5):
    child = subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"],
                             pass_fds=[lock.descriptor])
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.process
def test_it_stays_held_while_a_child_of_a_killed_holder_lives(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        holder.kill()
        holder.wait()
        lock = DeviceLock("cpu", tmp_path)
        with pytest.raises(SurroundingsError, match="held by another process"), lock.hold(0.1):
            pass
        os.kill(child, signal.SIGKILL)
        with lock.hold(30):
            pass
        lock.close()


def test_a_link_to_another_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    (tmp_path / "deconvbench-slot-cpu.lock").symlink_to(tmp_path / "other")
    with pytest.raises(SurroundingsError, match="cannot lock cpu"):
        DeviceLock("cpu", tmp_path)


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deconvbench-slot-cpu.lock").mkdir()
    with pytest.raises(SurroundingsError, match="not a file"):
        DeviceLock("cpu", tmp_path)
