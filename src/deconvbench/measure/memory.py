"""Memory of one step: peak above the baseline, in a pass of its own.

On the CPU the peak is that of the heap, from memray, which sees every allocation of the process and so oneDNN's
hidden buffers too; where memray is missing it is None, never a guess. `measure_resident_peak` asks the kernel for
the same number in a fresh process, as a cross-check. Nothing here times anything, and no file is left behind.
"""

import gc
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from deconvbench.errors import DeconvbenchError, UnsupportedError
from deconvbench.measure.accelerator import Accelerator
from deconvbench.measure.allocator import drop_settled_tunables
from deconvbench.measure.step import PreparedStep, prepare_step
from deconvbench.records.case import Case
from deconvbench.records.record import Memory
from deconvbench.system.imports import start_like_this
from deconvbench.system.scratch import make_scratch_folder

# the first call sets up (weights in oneDNN's layout, code generation), the second shows it was the last to do so
_WARMUP_CALLS = 2
# the first pass in which memray sees a piece of code reads some kB more than all others: much for a small layer
_PASSES = 2
# man 3 mallopt: allocations from here on come from mmap and go back to the kernel when freed. Without them malloc
# keeps what is freed, the next step finds its memory there, and VmHWM reads low.
_MALLOC_SETTINGS = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
# man 5 proc: writing 5 resets the peak of the resident set
_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def measure_cpu_memory(step: PreparedStep) -> Memory:
    """Measure the peak heap of one step above what was there before it.

    Two calls come first and their outputs are freed, so what is set up once is not counted; of two that are
    watched the lower one counts, for a first time is read too high. A step keeps no gradients between calls, so
    those that `train` allocates are part of its peak.

    Parameters
    ----------
    step : PreparedStep
        On the CPU.

    Returns
    -------
    Memory
        `peak_memory_bytes` is None where memray is not installed (it does not exist for Windows).
    """
    for _ in range(_WARMUP_CALLS):
        step.run()
    peaks = [measure_heap_peak(step.run) for _ in range(_PASSES)]
    return _make_memory(step, min((peak for peak in peaks if peak is not None), default=None), None)


def measure_heap_peak(call: Callable[[], object]) -> int | None:
    """Measure the peak that a call allocates on the heap, above what was there before it.

    Parameters
    ----------
    call : callable
        Called once; what it returns is dropped.

    Returns
    -------
    int or None
        Bytes, of all threads and libraries; None where memray is not installed (it does not exist for Windows),
        and then nothing is called.

    Raises
    ------
    UnsupportedError
        If this process is being tracked by memray already, which has one tracker at a time.
    """
    try:
        import memray  # noqa: PLC0415 -- it does not exist for Windows
    except ImportError:
        return None
    gc.collect()
    with make_scratch_folder() as folder:
        capture = folder / "capture.bin"
        tracker = memray.Tracker(capture, file_format=memray.FileFormat.AGGREGATED_ALLOCATIONS)
        # memray warns of symbols that it had to look up twice; it cannot tell its level, so its default comes back
        memray.set_log_level(logging.ERROR)  # type: ignore[attr-defined] # missing from its stubs
        try:
            with ExitStack() as stack:
                try:
                    stack.enter_context(tracker)
                except RuntimeError as error:
                    raise UnsupportedError(f"peak memory cannot be measured: {error}") from error
                call()
        finally:
            memray.set_log_level(logging.WARNING)  # type: ignore[attr-defined] # the same
        with memray.FileReader(capture) as reader:
            peak = int(reader.metadata.peak_memory)
    return peak


def measure_accelerator_memory(step: PreparedStep, accelerator: Accelerator[Any]) -> Memory:
    """Measure the peak that one step allocates above what was there before it, and what the allocator held.

    Parameters
    ----------
    step : PreparedStep
        On the accelerator.
    accelerator : Accelerator
        Where it runs.

    Returns
    -------
    Memory
        `peak_memory_bytes` is None where the backend does not count, and for a CUDA graph: a graph allocates when
        it is captured, so its replay has no peak of its own (`peak_reserved_bytes` holds its pool).
        `peak_reserved_bytes` starts from an emptied cache: layer, input and one step.
    """
    for _ in range(_WARMUP_CALLS):
        step.run()
    peak, reserved = measure_allocated_peak(step.run, accelerator)
    return _make_memory(step, None if step.case.execution == "cudagraph" else peak, reserved)


def measure_allocated_peak(
    call: Callable[[], object], accelerator: Accelerator[Any]
) -> tuple[int | None, int | None]:
    """Measure the peak that a call allocates on an accelerator.

    Parameters
    ----------
    call : callable
        Called once; what it returns is dropped.
    accelerator : Accelerator
        Where it runs.

    Returns
    -------
    peak : int or None
        Bytes above what was there before the call; None where the backend does not count.
    reserved : int or None
        Bytes that the allocator held, from an emptied cache.
    """
    gc.collect()
    accelerator.synchronize()
    accelerator.empty_cache()
    accelerator.reset_peak()
    before = accelerator.allocated_bytes()
    call()
    accelerator.synchronize()
    peak, reserved = accelerator.peak_allocated_bytes(), accelerator.peak_reserved_bytes()
    return None if before is None or peak is None else peak - before, reserved


def _make_memory(step: PreparedStep, peak_memory_bytes: int | None, peak_reserved_bytes: int | None) -> Memory:
    return Memory(
        peak_memory_bytes=peak_memory_bytes,
        peak_reserved_bytes=peak_reserved_bytes,
        input_bytes=step.input_bytes,
        output_bytes=step.output_bytes,
        parameter_bytes=step.parameter_bytes,
        gradient_bytes=step.gradient_bytes,
    )


def measure_resident_peak(case_id: str, *, seed: int = 0, timeout_s: float = 300.0) -> int:
    """Measure by how much one step raises the process's resident memory, in a fresh process (Linux).

    The kernel's own count, so it sees whatever memray might miss; but it counts whole pages, and only those
    that were touched, so it is of use for steps of tens of MiB and more.

    Parameters
    ----------
    case_id : str
        A case on the CPU.
    seed : int
        See `prepare_step`.
    timeout_s : float
        Seconds after which the process is given up.

    Returns
    -------
    int
        VmHWM of the step less VmRSS before it, in bytes.

    Raises
    ------
    UsageError
        If the text is not the id of a case.
    UnsupportedError
        If the case is not on the CPU, the system is not Linux, or the peak cannot be reset.
    DeconvbenchError
        If the process fails; the message is its last line.
    """
    case = Case.from_id(case_id)
    if case.device != "cpu":
        raise UnsupportedError(
            f"the resident peak is that of the CPU's memory, and {case_id} runs on {case.device}"
        )
    if sys.platform != "linux":
        raise UnsupportedError(f"the resident peak is read from Linux's /proc, which {sys.platform} has not")
    environment = {**drop_settled_tunables(os.environ), **_MALLOC_SETTINGS}
    try:
        with start_like_this("deconvbench.measure.memory", case_id, str(seed)) as (command, descriptors):
            answer = subprocess.run(
                command,
                env=environment,
                pass_fds=descriptors,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise DeconvbenchError(f"{case_id}: no resident peak within {timeout_s:g} s") from error
    if answer.returncode != 0:
        words = answer.stderr.strip().rpartition("\n")[2] or f"exit code {answer.returncode}"
        raise DeconvbenchError(f"{case_id}: no resident peak: {words}")
    found = json.loads(answer.stdout)
    if "unsupported" in found:
        raise UnsupportedError(found["unsupported"])
    return int(found["resident_peak_bytes"])


def read_resident_peak(step: PreparedStep) -> int:
    """Measure by how much one step raises the resident memory of this process.

    Of use only in a process whose malloc gives freed memory back: see `measure_resident_peak`.

    Parameters
    ----------
    step : PreparedStep
        On the CPU.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    UnsupportedError
        If the system does not let the peak be reset.
    """
    for _ in range(_WARMUP_CALLS):
        step.run()
    gc.collect()
    try:
        _CLEAR_REFS.write_text("5", encoding="ascii")
    except OSError as error:
        raise UnsupportedError(f"{_CLEAR_REFS}: the peak of the resident set cannot be reset: {error}") from error
    before = _read_status_bytes("VmRSS")
    step.run()
    return _read_status_bytes("VmHWM") - before


def _read_status_bytes(name: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise UnsupportedError(f"{_STATUS} has no {name}")
    return int(found[1]) * 1024


def main(arguments: Sequence[str]) -> None:
    """Print the resident peak of a case's step as a JSON object.

    Parameters
    ----------
    arguments : sequence of str
        The id of the case and, optionally, the seed.
    """
    case_id, *rest = arguments
    case = Case.from_id(case_id)
    torch.set_num_threads(case.threads)
    step = prepare_step(case, int(rest[0]) if rest else 0)
    try:
        answer: dict[str, Any] = {"case_id": case_id, "resident_peak_bytes": read_resident_peak(step)}
    except UnsupportedError as error:
        answer = {"case_id": case_id, "unsupported": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
