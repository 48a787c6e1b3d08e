"""The workers of a real scheduler as a pool; what measures is a double, so that nothing imports torch there."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.dask_cluster import start_cluster
from bench.noop_worker import VERSIONS, NoopWorker
from deconvbench.errors import SurroundingsError, UsageError
from deconvbench.records.record import decode_record, encode_record
from deconvbench.runner.distribution import DistributedRun, Place, run_distributed
from deconvbench.runner.engine import PlannedRun
from deconvbench.runner.plan import list_jobs
from deconvbench.runner.remote import Answer, Order
from deconvbench.runner.worker import WorkerOptions
from deconvbench.workflows.dask_connection import connect
from deconvbench.workflows.dask_pool import DaskPool, name_version_differences
from tests.builders import make_plan
from tests.noop_children import FailingChild, MissingChild, StrangeChild

pytestmark = [pytest.mark.process]


def fail(line: str) -> None:
    raise AssertionError(line)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with start_cluster(tmp_path_factory.mktemp("hosts"), 2) as found:
        yield found


@pytest.fixture
def make_pool(address: str) -> Iterator[Callable[..., DaskPool]]:
    with connect(address, warn=fail) as client:

        def make(start: Any = NoopWorker, **changes: Any) -> DaskPool:
            values = {"warn": fail, **changes}
            return DaskPool(client, WorkerOptions(), VERSIONS, start_worker=start, **values)

        # both are there before anything is asked
        client.wait_for_workers(2, timeout=60)
        yield make


def collect_all(pool: DaskPool, count: int) -> list[tuple[Place, Answer | None]]:
    found: list[tuple[Place, Answer | None]] = []
    deadline = time.monotonic() + 60
    while len(found) < count and time.monotonic() < deadline:
        pool.list_places()
        found += pool.collect(0.2)
    return found


def make_order(place: Place, **changes: Any) -> Order:
    jobs = tuple(map(encode_record, list_jobs(make_plan())[1]))
    values: dict[str, Any] = {"process": place.process, "batch": "b", "device": "cpu", "options": WorkerOptions()}
    return Order(**{**values, "timeout_s": 5.0, "jobs": jobs, **changes})


def test_workers_say_what_they_are_and_measure(make_pool: Callable[..., DaskPool]) -> None:
    pool = make_pool()
    places = pool.wait_for_places()
    assert len(places) == len({place.process for place in places}) == 2
    assert len({place.kind for place in places}) == 1
    assert [*pool.find_environments().values()] == [NoopWorker.environment]
    for place in places:
        pool.submit(place, make_order(place))
    found = collect_all(pool, 2)
    assert {place.name for place, _ in found} == {place.name for place in places}
    for _, answer in found:
        assert answer is not None
        assert {decode_record(line, "answer").status for line in answer.records} == {"ok"}
    assert len({answer.batch_process for _, answer in found if answer is not None}) == 2
    pool.release()


def test_a_run_through_a_scheduler_has_every_key_once(make_pool: Callable[..., DaskPool], tmp_path: Path) -> None:
    pool, plan = make_pool(), make_plan()
    kind = pool.wait_for_places()[0].kind
    task = DistributedRun(run=PlannedRun(plan=plan, folder=tmp_path), kind=kind)
    (outcome,) = run_distributed([task], pool)
    planned = sorted(str(job.key) for batch in list_jobs(plan) for job in batch)
    assert sorted(str(record.key) for record in outcome.records) == planned


def test_an_order_for_another_process_is_not_measured(make_pool: Callable[..., DaskPool]) -> None:
    pool = make_pool()
    place = pool.wait_for_places()[0]
    pool.submit(place, make_order(place, process="one that was there before"))
    assert collect_all(pool, 1) == [(place, None)]


def test_other_versions_are_refused_with_the_difference(make_pool: Callable[..., DaskPool]) -> None:
    pool = make_pool(StrangeChild)
    with pytest.raises(UsageError, match=r"tcp://.*: versions differ: torch is 1\.9 there and 2 here$"):
        pool.wait_for_places()


def test_each_version_that_differs_is_named() -> None:
    here = {**VERSIONS, "distributed": "2026.8.0"}
    assert name_version_differences(here, dict(here)) == []
    there = {"code_version": "0", "torch_version": "1", "python_version": "2", "distributed": "2025.1.0"}
    assert name_version_differences(here, there) == [
        "deconvbench is 0 there and 1 here",
        "torch is 1 there and 2 here",
        "Python is 2 there and 3 here",
        "distributed is 2025.1.0 there and 2026.8.0 here",
    ]


def test_a_worker_whose_child_does_not_start_is_refused_with_the_reason(
    make_pool: Callable[..., DaskPool],
) -> None:
    with pytest.raises(UsageError, match="tcp://.*: the worker process did not start: no such interpreter"):
        make_pool(MissingChild).wait_for_places()


def test_what_fails_on_a_worker_is_told_in_one_line(make_pool: Callable[..., DaskPool]) -> None:
    pool = make_pool(FailingChild)
    place = pool.wait_for_places()[0]
    jobs = tuple(map(encode_record, list_jobs(make_plan())[0]))
    pool.submit(place, make_order(place, jobs=jobs))
    with pytest.raises(
        SurroundingsError, match=r"a worker of the cluster failed: ZeroDivisionError: never thought"
    ):
        collect_all(pool, 1)


def test_a_cluster_without_slots_is_named(tmp_path: Path) -> None:
    with start_cluster(tmp_path, 1, slot="other=1") as address, connect(address, warn=fail) as client:
        client.wait_for_workers(1, timeout=60)
        pool = DaskPool(client, WorkerOptions(), VERSIONS, warn=fail, start_worker=NoopWorker)
        with pytest.raises(UsageError, match="no worker offers a slot: 1 workers offer none; .*deconvbench-cpu=1"):
            pool.wait_for_places(patience_s=0)


def test_the_defaults_of_a_scheduler_are_warned_of(tmp_path: Path) -> None:
    warnings: list[str] = []
    with start_cluster(tmp_path, 0, settings={}) as address, connect(address, warn=warnings.append):
        pass
    assert len(warnings) == 1
    assert "worker-ttl" in warnings[0]


def test_a_lost_worker_is_noticed_and_its_successor_takes_its_place(tmp_path: Path) -> None:
    with start_cluster(tmp_path, 1) as address, connect(address, warn=fail) as client:
        client.wait_for_workers(1, timeout=60)
        pool = DaskPool(client, WorkerOptions(), VERSIONS, warn=fail, start_worker=NoopWorker)
        (place,) = pool.wait_for_places()
        os.kill(int(place.process.partition("-")[0]), signal.SIGKILL)
        pool.submit(place, make_order(place))
        assert collect_all(pool, 1) == [(place, None)]
        (successor,) = pool.wait_for_places()
        assert successor.process != place.process
        pool.submit(successor, make_order(successor))
        ((_, answer),) = collect_all(pool, 1)
        assert answer is not None
        assert answer.records


def test_a_scheduler_that_is_lost_ends_the_run(tmp_path: Path) -> None:
    with start_cluster(tmp_path, 1) as address, connect(address, warn=fail) as client:
        client.wait_for_workers(1, timeout=60)
        pool = DaskPool(client, WorkerOptions(), VERSIONS, warn=fail, start_worker=NoopWorker)
        pool.wait_for_places()
        pid = client.run_on_scheduler(os.getpid)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(SurroundingsError, match="--scheduler: the scheduler was lost"):
            collect_all(pool, 1)
