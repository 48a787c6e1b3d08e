"""What a run costs around its measurements: a measure that does nothing, on this machine and through Dask."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import psutil

from bench.dask_cluster import start_cluster
from bench.noop_worker import VERSIONS, NoopWorker
from deconvbench.grid.grid import Grid
from deconvbench.progress import JobDone
from deconvbench.runner.distribution import DistributedRun, run_distributed
from deconvbench.runner.engine import PlannedRun, run_plan
from deconvbench.runner.plan import Plan
from deconvbench.runner.worker import WorkerOptions
from deconvbench.workflows.dask_connection import connect
from deconvbench.workflows.dask_pool import DaskPool


@dataclass(slots=True, kw_only=True)
class Overhead:
    """What a run cost beside its measurements.

    Parameters
    ----------
    cases : int
        How many there were.
    total_s, fsync_s : float
        Seconds of everything from the first to the last record, and of the disk's own part in it.
    resident_bytes : list of int
        Of this process, after each tenth of the cases.
    """

    cases: int
    total_s: float = 0.0
    fsync_s: float = 0.0
    resident_bytes: list[int] = field(default_factory=list)

    @property
    def case_s(self) -> float:
        """Seconds per case, without the disk's."""
        return (self.total_s - self.fsync_s) / self.cases

    @property
    def growth_bytes(self) -> int:
        """Bytes by which this process grew from the second tenth, when all is set up, to the last."""
        return self.resident_bytes[-1] - self.resident_bytes[1]


def make_plan(cases: int) -> Plan:
    """Plan cases that are a group each, so that nothing is shared among them.

    Parameters
    ----------
    cases : int
        At most ten thousand; a multiple of a hundred, or less than one.
    """
    width = min(cases, 100)
    axes = {
        "upsampler": ["nearest_conv"],
        "kernel_size": [3],
        "scale_factor": [2],
        "in_channels": [4],
        "height": list(range(1, cases // width + 1)),
        "width": list(range(1, width + 1)),
    }
    grid = Grid.from_dict({"replicates": 1, "quality": {"seeds": 1}, "axes": axes}, "overhead")
    return Plan(grid=grid, cases=tuple(grid.expand()), seed=0)


def measure_locally(plan: Plan, folder: Path) -> Overhead:
    """Run a plan on the local engine.

    Parameters
    ----------
    plan : Plan
        From `make_plan`.
    folder : Path
        An empty folder.
    """
    return _measure(plan, lambda observe: run_plan(plan, folder, observer=observe, start_worker=NoopWorker))


def measure_through_dask(plan: Plan, folder: Path, workers: int = 3) -> Overhead:
    """Run a plan through a scheduler and workers on loopback.

    Parameters
    ----------
    plan : Plan
        From `make_plan`.
    folder : Path
        An empty folder.
    workers : int
        How many.
    """
    hosts, run = folder / "hosts", folder / "run"
    hosts.mkdir()
    run.mkdir()
    with start_cluster(hosts, workers) as address, connect(address, warn=_refuse) as client:
        client.wait_for_workers(workers, timeout=120)
        pool = DaskPool(client, WorkerOptions(), VERSIONS, warn=_refuse, start_worker=NoopWorker)
        kind = pool.wait_for_places()[0].kind
        task = DistributedRun(run=PlannedRun(plan=plan, folder=run), kind=kind)
        found = _measure(plan, lambda observe: run_distributed([task], pool, observer=observe))
        pool.release()
    return found


def _refuse(line: str) -> None:
    raise RuntimeError(line)


def _measure(plan: Plan, run: Callable[[Callable[[JobDone], None]], object]) -> Overhead:
    found = Overhead(cases=len(plan.cases))
    process = psutil.Process()

    def observe(progress: JobDone) -> None:
        if progress.done * 10 // progress.total > len(found.resident_bytes):
            found.resident_bytes.append(process.memory_info().rss)

    with _time_fsync(found):
        started = time.perf_counter()
        run(observe)
        found.total_s = time.perf_counter() - started
    return found


@contextlib.contextmanager
def _time_fsync(found: Overhead) -> Iterator[None]:
    """Count the seconds that the disk needs to say that something is on it."""
    fsync = os.fsync

    def timed(descriptor: int) -> None:
        started = time.perf_counter()
        fsync(descriptor)
        found.fsync_s += time.perf_counter() - started

    with mock.patch.object(os, "fsync", timed):
        yield
