"""What a worker of a cluster does: measures groups on its devices, each with the worker process of a local run.

An order holds the jobs of one group. A device takes one order at a time, whoever sent it, and keeps its child
process for the orders of one batch, so that a replicate is a fresh process here too. Knows neither journal nor
scheduler, and imports no torch: a process that answers a scheduler must not be held up by that.
"""

import atexit
import contextlib
import functools
import os
import secrets
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from deconvbench.errors import DeconvbenchError
from deconvbench.records.record import AnyRecord, decode_record, encode_record
from deconvbench.runner.batch_process import BatchProcess, StartWorker
from deconvbench.runner.device_lock import DeviceLock
from deconvbench.runner.grouping import split_groups
from deconvbench.runner.worker import MeasuringProcess, Worker, WorkerOptions
from deconvbench.system.scratch import make_scratch_folder, sweep_scratch_folders

# how long a device may be held by another, who measures a group there or was stopped while doing so
LOCK_TIMEOUT_S = 600.0
# a child that nothing was asked of for so long is ended
_IDLE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One group to be measured.

    Parameters
    ----------
    process : str
        Whom it is for, as `describe_process` said; no other measures it.
    batch : str
        Orders of one batch are measured in one child process, as long as that lives.
    device : str
        Whose slot it takes.
    options : WorkerOptions
        How to start the child; its log is the worker's own.
    timeout_s : float
        Seconds after which a job counts as hanging.
    jobs : tuple of str
        As `encode_record` writes them.
    """

    process: str
    batch: str
    device: str
    options: WorkerOptions
    timeout_s: float
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of an order.

    Parameters
    ----------
    records : tuple of str
        As `encode_record` writes them, in the order of the jobs; none where there is a failure, or it reached
        another process than it was for.
    batch_process : str
        Name of the series of children to which the records' `process_index` belongs.
    busy_s : float
        Seconds that it took, without waiting for the device and without starting a child.
    failure : str
        Why nothing can be measured here.
    """

    records: tuple[str, ...] = ()
    batch_process: str = ""
    busy_s: float = 0.0
    failure: str = ""


@functools.cache
def identify_process() -> str:
    """Name this process as nothing else is named, on whatever machine."""
    return f"{os.getpid()}-{secrets.token_hex(8)}"


class _Slot:
    """A device of this process: its lock, and the child that measures there, if there is one."""

    def __init__(self, device: str, start: StartWorker) -> None:
        self.start_worker = start
        self._mutex = threading.Lock()
        self._lock = DeviceLock(device)
        self._batch = ""
        self._name = ""
        self._process: BatchProcess | None = None
        self._spare: tuple[WorkerOptions, MeasuringProcess] | None = None
        self._start_up_s = 0.0
        self._timer: threading.Timer | None = None
        sweep_scratch_folders()
        # removed when this process ends, or by the next one after it was killed
        self._held = contextlib.ExitStack()
        self._held.callback(self._lock.close)
        self._log = self._held.enter_context(make_scratch_folder()) / "worker.log"
        atexit.register(self.dispose)

    def describe(self, options: WorkerOptions) -> dict[str, Any]:
        """Start a child, which the first batch can have, and return what it found about machine and software."""
        with self._mutex, self._lock.hold(LOCK_TIMEOUT_S):
            self._end_children()
            complete = self._complete(options)
            child = self.start_worker(complete)
            self._spare = (complete, child)
            self._expire()
            return dict(getattr(child, "environment", {}))

    def measure(self, order: Order) -> Answer:
        """Measure one group."""
        with self._mutex, self._lock.hold(LOCK_TIMEOUT_S):
            if self._timer is not None:
                self._timer.cancel()
            started, self._start_up_s = time.monotonic(), 0.0
            if order.batch != self._batch or self._process is None:
                self._begin(order)
            assert self._process is not None
            records: list[AnyRecord] = []
            # as many at once as the memory of this machine holds
            for jobs in split_groups([decode_record(line, "order") for line in order.jobs]):
                records += self._process.measure_group(jobs)
                self._process.take_unreported(records)
            self._expire()
            return Answer(
                records=tuple(map(encode_record, records)),
                batch_process=self._name,
                busy_s=time.monotonic() - started - self._start_up_s,
            )

    def _begin(self, order: Order) -> None:
        """Take up another batch."""
        if self._process is not None:
            self._process.kill()
        self._batch, self._name = order.batch, secrets.token_hex(8)
        self._process = BatchProcess(self._start, self._complete(order.options), order.timeout_s)

    def _complete(self, options: WorkerOptions) -> WorkerOptions:
        return replace(options, log=self._log, descriptors=(self._lock.descriptor,))

    def _start(self, options: WorkerOptions) -> MeasuringProcess:
        """Start a child, or take the one that is there already and has measured nothing."""
        started = time.monotonic()
        spare, self._spare = self._spare, None
        try:
            if spare is not None:
                known, child = spare
                if known == options and child.alive:
                    return child
                child.kill()
            return self.start_worker(options)
        finally:
            self._start_up_s += time.monotonic() - started

    def _expire(self) -> None:
        """Have the children ended where nothing more is asked of them."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(_IDLE_S, self.close)
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        """End the children; the next order starts another."""
        if self._mutex.acquire(blocking=False):  # else they are at work
            try:
                self._end_children()
            finally:
                self._mutex.release()

    def dispose(self) -> None:
        """End everything, for good."""
        atexit.unregister(self.dispose)
        # children at work end with this process
        if self._mutex.acquire(timeout=1.0):
            try:
                self._end_children()
                self._held.close()
            finally:
                self._mutex.release()

    def _end_children(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._process is not None:
            self._process.kill()
            self._process = None
        if self._spare is not None:
            self._spare[1].kill()
            self._spare = None
        with contextlib.suppress(OSError):  # there is none yet
            os.truncate(self._log, 0)


_SLOTS: dict[str, _Slot] = {}
_SLOTS_MUTEX = threading.Lock()


def _find_slot(device: str, start: StartWorker) -> _Slot:
    with _SLOTS_MUTEX:
        if device not in _SLOTS:
            _SLOTS[device] = _Slot(device, start)
        _SLOTS[device].start_worker = start
        return _SLOTS[device]


def describe_process(device: str, options: WorkerOptions, start: StartWorker = Worker) -> dict[str, Any]:
    """Say which process this is, and what a child finds about machine and software.

    Parameters
    ----------
    device : str
        A device that it offers.
    options : WorkerOptions
        Those of the orders to come.
    start : callable
        Starts a child.

    Returns
    -------
    dict
        ``process``, and ``environment`` or ``failure``.
    """
    try:
        return {"process": identify_process(), "environment": _find_slot(device, start).describe(options)}
    except DeconvbenchError as error:
        return {"process": identify_process(), "failure": str(error)}


def measure_order(order: Order, start: StartWorker = Worker) -> Answer | None:
    """Measure one group.

    Parameters
    ----------
    order : Order
        What, and for whom.
    start : callable
        Starts a child.

    Returns
    -------
    Answer or None
        None where the order is for another process: a scheduler may send one that was lost out again by itself.
    """
    if order.process != identify_process():
        return None
    try:
        return _find_slot(order.device, start).measure(order)
    except DeconvbenchError as error:
        return Answer(failure=str(error))


def close_slots() -> None:
    """End the children of all devices that are not at work."""
    for slot in [*_SLOTS.values()]:
        slot.close()


def find_device(job: AnyRecord) -> str:
    """Say which device a job is measured on.

    Parameters
    ----------
    job : record
        Of any kind; what has no device is measured on the ``cpu``.

    Returns
    -------
    str
        As `complete_device`.
    """
    case = getattr(job, "case", None)
    return complete_device(getattr(job if case is None else case, "device", "cpu"))


def complete_device(device: str) -> str:
    """Give a device its number where it has none, so that each has one name.

    Parameters
    ----------
    device : str
        As torch names it.

    Returns
    -------
    str
        ``cpu``, ``cuda:0`` for ``cuda``.
    """
    return device if device == "cpu" or ":" in device else f"{device}:0"
