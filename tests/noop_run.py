"""A run whose measure does nothing, in a process made to be killed.

Its children are forked from a server that imported torch once, so that one more start costs milliseconds.
"""

import os
import random
import signal
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

from deconvbench.records.record import Latency, Record
from deconvbench.records.run_folder import RUN_NAME
from deconvbench.runner.engine import run_plan
from deconvbench.runner.folder import open_folder, reopen_folder
from deconvbench.runner.messages import Breakdown
from deconvbench.runner.plan import Plan
from deconvbench.runner.worker import R, WorkerOptions

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["tests.noop_run"])

ENVIRONMENT: dict[str, Any] = {"machine_id": "m", "torch_version": "2", "code_version": "1", "python_version": "3"}


class NoopWorker:
    """Fills jobs in with values that depend on nothing but the job."""

    alive = True

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options

    def measure(self, job: R, timeout_s: float) -> R:
        return replace(job, status="ok", message="")

    def measure_together(self, jobs: Sequence[Record], timeout_s: float) -> list[Record] | Breakdown:
        return [measure_case(job, jobs) for job in jobs]

    def kill(self) -> None:
        """Nothing to end."""


def measure_case(job: Record, jobs: Sequence[Record]) -> Record:
    """Fill a case in; its ratios are what its baseline draws."""
    latency = Latency(samples_s=(draw(job),), calls_per_sample=1, first_call_s=1, stop_reason="precision")
    ratios = [draw(job) / draw(other) for other in jobs if other.case.case_id == job.baseline_id]
    return replace(job, status="ok", message="", latency=latency, ratios=tuple(ratios))


def draw(job: Record) -> float:
    # cases of even height differ between replicates by a few percent, the others hardly
    width = 0.05 if job.case.height % 2 == 0 else 0.0005
    return 1 + random.Random(str(job.key)).uniform(-width, width)


def measure(plan: Plan, folder: Path, limit: int) -> None:
    """Start or resume a run in a process group of its own; hold it for good where its journal is `limit` long."""
    os.setsid()
    if (folder / RUN_NAME).exists():
        plan = reopen_folder(folder, ENVIRONMENT)
    else:
        open_folder(plan, folder, ENVIRONMENT)
    write = os.write

    def write_up_to_limit(descriptor: int, data: bytes) -> int:
        room = limit - os.fstat(descriptor).st_size
        if room <= 0:
            signal.pause()
        return write(descriptor, data[:room])

    with mock.patch.object(os, "write", write_up_to_limit):
        run_plan(plan, folder, start_worker=NoopWorker)
