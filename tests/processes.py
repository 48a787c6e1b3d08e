"""Following processes that are none of our children: has every one of them ended?"""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def watch_workers(parent: int, module: str = "deconvbench.runner.worker_main") -> Iterator[list[int]]:
    """Give a descriptor for each worker below a process; unlike its number, none is ever used again."""
    below = psutil.Process(parent).children(recursive=True)
    descriptors = [os.pidfd_open(p.pid) for p in below if module in _read_command(p)]
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _read_command(process: psutil.Process) -> list[str]:
    """Read the words of a process that may have ended since it was listed."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie is one, too
        return []


def have_ended(descriptors: list[int], timeout_s: float = 30) -> bool:
    """True once each process has ended, whether or not its exit status was collected."""
    return all(select.select([descriptor], [], [], timeout_s)[0] for descriptor in descriptors)
