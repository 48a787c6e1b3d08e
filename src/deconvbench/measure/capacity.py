"""Whether the maps of a case can fit into this machine's memory at all, before anything is allocated.

A bound from below: what a layer needs beside its input and output is only known by running it. Asks no
accelerator, whose allocators refuse what is too much; a host grants more than it has, and ends some process later.
"""

import functools
import math
from pathlib import Path

import psutil

from deconvbench.errors import TooLargeError
from deconvbench.records.case import Case
from deconvbench.units import format_bytes

_ITEM_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
_DRAWN_BYTES = 4  # inputs are drawn in float32, whatever they become
# what a control group may use: version 2, version 1
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def count_host_bytes(case: Case) -> int:
    """Count the bytes of host memory that the maps of a case take at least.

    On the CPU the input and the output, and in training the gradient of each; on an accelerator what is drawn on
    the host before it is moved.

    Parameters
    ----------
    case : Case
        What would be run.
    """
    entries, results = math.prod(case.input_shape), math.prod(case.output_shape)
    is_trained = case.step == "train"
    if case.device != "cpu":
        return _DRAWN_BYTES * max(entries, results if is_trained else 0)
    held = (2 if is_trained else 1) * (entries + results) * _ITEM_BYTES[case.dtype]
    return max(held, _DRAWN_BYTES * entries)


@functools.cache
def read_host_bytes() -> int:
    """Read how much memory a process may use: the machine's, or less where a control group limits it."""
    limits = [int(psutil.virtual_memory().total)]
    for path in _LIMITS:
        try:
            text = path.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdecimal():
            limits.append(int(text))
    return min(limits)


def read_available_bytes() -> int:
    """Read how much memory a process may take now: what is free, at most what a process may use at all."""
    return min(read_host_bytes(), int(psutil.virtual_memory().available))


def explain_size(case: Case) -> str | None:
    """Say how much memory a case needs and how much there is, or None where its maps fit.

    Parameters
    ----------
    case : Case
        What would be run.
    """
    needed, available = count_host_bytes(case), read_host_bytes()
    if needed <= available:
        return None
    return (
        f"its maps take at least {format_bytes(needed)}, and this machine has {format_bytes(available)} of memory"
    )


def check_memory(case: Case) -> None:
    """Check that the maps of a case can fit.

    Parameters
    ----------
    case : Case
        What would be run.

    Raises
    ------
    TooLargeError
        If they cannot; the message says how much is needed and how much there is.
    """
    reason = explain_size(case)
    if reason is not None:
        raise TooLargeError(reason)
