"""What oneDNN, which computes torch's convolutions on a CPU, says of itself: its primitives, and their time.

On request it prints a line for each primitive that it runs ("verbose mode"), to standard output and from C, so the
lines are caught at the file descriptor. Nothing here is timed for a result, and nothing stays switched on.
"""

import contextlib
import ctypes
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# its names for itself, newest first; the second is that of versions 1 and 2, the third that before 1.0
_LINE = re.compile(r"^(?:onednn|dnnl|mkldnn)_verbose,(.+)$", re.MULTILINE)
_ENGINE = re.compile(r"(?:cpu|gpu)\d*")
# with one of these it speaks all the time, and what it says is for its user to choose
_SWITCHES = ("ONEDNN_VERBOSE", "DNNL_VERBOSE", "MKLDNN_VERBOSE")
# a layer may print whatever it likes meanwhile
_MOST_BYTES = 1 << 22
# of standard output and error
_OUTPUTS = (1, 2)
_CPU_FACTS = Path("/proc/cpuinfo")
# what Linux calls the instructions that multiply numbers of the type: x86, then Arm. AVX-NE-CONVERT is not one of
# them, as it only converts.
_NATIVE_FLAGS: Mapping[str, frozenset[str]] = {
    "bfloat16": frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"}),
    "float16": frozenset({"avx512_fp16", "amx_fp16", "asimdhp"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Primitives:
    """The primitives, or operators, behind a call.

    Parameters
    ----------
    spent_s : mapping of str to float
        By primitive and implementation, such as ``deconvolution ref``: seconds.
    wall_s : float
        Seconds that the call took, what lies outside of them included.
    """

    spent_s: Mapping[str, float]
    wall_s: float


@dataclass(slots=True)
class Captured:
    """What was printed while it was caught; the text is there once that has ended."""

    text: str = ""


@contextlib.contextmanager
def capture_output(descriptors: Collection[int] = _OUTPUTS) -> Iterator[Captured]:
    """Catch what this process prints, from C too, for as long as the block lasts.

    Parameters
    ----------
    descriptors : collection of int
        Of standard output (1), standard error (2) or both.

    Yields
    ------
    Captured
        Of more than some megabytes, the first.

    Raises
    ------
    OSError
        If one of the descriptors is closed, or there is no place for temporary files.
    """
    captured = Captured()
    # it has no name, so nothing is left of it
    with tempfile.TemporaryFile() as file:
        with contextlib.ExitStack() as stack:
            _flush()
            for descriptor in descriptors:
                kept = os.dup(descriptor)
                # called in the opposite order, whatever happens in between
                stack.callback(os.close, kept)
                stack.callback(os.dup2, kept, descriptor)
                os.dup2(file.fileno(), descriptor)
            stack.callback(_flush)
            yield captured
        file.seek(0)
        captured.text = file.read(_MOST_BYTES).decode(errors="replace")


def _flush() -> None:
    """Empty the buffers of Python and of C, so that nothing is printed to where it was not meant to go."""
    for stream in (sys.stdout, sys.stderr):
        # a layer may have closed or replaced it; there is none in a process without a terminal
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()
    with contextlib.suppress(TypeError, OSError, AttributeError):  # Windows has no library without a name
        ctypes.CDLL(None).fflush(None)


def watch_primitives(run: Callable[[], object], calls: int) -> Primitives:
    """Run something with oneDNN's verbose mode, and collect which primitives it took.

    Parameters
    ----------
    run : callable
        What is run; its result is freed at once.
    calls : int
        How often.

    Returns
    -------
    Primitives
        Of one call; none where oneDNN takes no part, or torch was built without it.

    Raises
    ------
    OSError
        As `capture_output`.
    """
    return take_least(_watch_once(run) for _ in range(calls))


def _watch_once(run: Callable[[], object]) -> Primitives:
    with capture_output((1,)) as captured:
        started = time.perf_counter()
        with _speak():
            run()
        wall_s = time.perf_counter() - started
    return Primitives(spent_s=parse_verbose(captured.text), wall_s=wall_s)


def take_least(found: Iterable[Primitives]) -> Primitives:
    """Take of each time the shortest: what was interrupted in one call was not in another.

    Parameters
    ----------
    found : iterable of Primitives
        Of one call each, at least one.
    """
    every = list(found)
    names = dict.fromkeys(name for one in every for name in one.spent_s)
    return Primitives(
        spent_s={name: min(one.spent_s[name] for one in every if name in one.spent_s) for name in names},
        wall_s=min(one.wall_s for one in every),
    )


def _speak() -> contextlib.AbstractContextManager[object]:
    """Switch the verbose mode on and off again, unless its user did."""
    mkldnn: Any = torch.backends.mkldnn  # torch has no types here
    if not mkldnn.is_available() or any(os.environ.get(name) for name in _SWITCHES):
        return contextlib.nullcontext()
    switched: contextlib.AbstractContextManager[object] = mkldnn.verbose(mkldnn.VERBOSE_ON)
    return switched


def parse_verbose(text: str) -> dict[str, float]:
    """Read what oneDNN printed in its verbose mode.

    Parameters
    ----------
    text : str
        Lines of any version; those of others, or on anything but a primitive that ran, are skipped.

    Returns
    -------
    dict of str to float
        By primitive and implementation: seconds.

    References
    ----------
    oneDNN Developer Guide, "Verbose Mode".
    """
    spent_s: defaultdict[str, float] = defaultdict(float)
    for line in _LINE.findall(text):
        fields = [field.strip() for field in line.split(",")]
        if "exec" not in fields:
            continue
        start = fields.index("exec") + 1
        # a version of the format, a time stamp and the word "primitive" may come first; "graph" is another matter
        if "graph" in fields[:start]:
            continue
        # versions before 1.0 name no engine
        start += bool(_ENGINE.fullmatch(fields[start])) if start < len(fields) else 0
        try:
            primitive, implementation, milliseconds = fields[start], fields[start + 1], float(fields[-1])
        except (IndexError, ValueError):
            continue
        spent_s[f"{primitive} {implementation}"] += milliseconds * 1e-3
    return dict(spent_s)


def explain_emulation(dtype: str, facts: str | None = None) -> str:
    """Say that a CPU has no instructions for a type, so that what is computed in it is computed in another.

    Parameters
    ----------
    dtype : str
        Such as ``bfloat16``.
    facts : str, optional
        The text of ``/proc/cpuinfo``; that of this machine by default.

    Returns
    -------
    str
        A short note; empty where the CPU has them, and where the system does not tell (it is not Linux).
    """
    wanted = _NATIVE_FLAGS.get(dtype)
    if wanted is None:
        return ""
    if facts is None:
        try:
            facts = _CPU_FACTS.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", facts, re.MULTILINE)
    if not lines or wanted & {*lines[0].split()}:
        return ""
    return f"computed in float32: this CPU has no {dtype}"
