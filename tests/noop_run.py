"""A run whose measure does nothing, in a process made to be killed.

Its children are forked from a server that imported torch once, so that one more start costs milliseconds.
"""

import os
import random
import signal
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

from deconvbench.records.record import Latency, Record
from deconvbench.records.run_folder import RUN_NAME
from deconvbench.runner.engine import run_plan
from deconvbench.runner.folder import open_folder, reopen_folder
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
        done = replace(job, status="ok", message="")
        if isinstance(done, Record):
            # cases of even height differ between replicates by a few percent, the others hardly
            width = 0.05 if done.case.height % 2 == 0 else 0.0005
            drawn = 1 + random.Random(str(done.key)).uniform(-width, width)
            latency = Latency(samples_s=(drawn,), calls_per_sample=1, first_call_s=1, stop_reason="precision")
            done = replace(done, latency=latency)
        return done

    def kill(self) -> None:
        """Nothing to end."""


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
