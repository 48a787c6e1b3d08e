"""A real scheduler and real workers on loopback, of which one is killed and another stopped for a while."""

import os
import signal
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from bench.dask_cluster import start_cluster
from deconvbench.errors import RunFolderError, UsageError
from deconvbench.records.record import AnyRecord, Record
from deconvbench.records.run_folder import read_journal, read_run_info
from deconvbench.runner.distribution import Place
from deconvbench.runner.engine import run_plan
from deconvbench.runner.plan import list_jobs
from deconvbench.runner.remote import Answer, Order
from deconvbench.tables.files import load
from deconvbench.workflows import cluster as cluster_module
from deconvbench.workflows.cluster import Cluster, resume_on_cluster, start_on_cluster
from deconvbench.workflows.dask_pool import DaskPool
from deconvbench.workflows.selection import Selection, make_plan
from tests.noop_run import NoopWorker

pytestmark = [pytest.mark.process]
_WORKERS = 3
# the first orders with cases that get an accident
_KILLED, _STOPPED = 2, 6


class Accidents(DaskPool):
    """Kills one worker and stops another just after they got an order with cases."""

    seen = 0
    stopped: Place | None = None
    # of those that had an order with cases
    lost: list[Place]
    measuring: set[Place]

    def submit(self, place: Place, order: Order) -> None:
        super().submit(place, order)
        self.measuring.discard(place)
        if '"kind":"record"' not in order.jobs[0]:
            return
        self.measuring.add(place)
        type(self).seen += 1
        if self.seen == _KILLED:
            os.kill(_read_pid(place), signal.SIGKILL)
        elif self.seen == _STOPPED:
            type(self).stopped = place
            os.kill(_read_pid(place), signal.SIGSTOP)

    def collect(self, timeout_s: float, *, is_beginning: bool = False) -> Sequence[tuple[Place, Answer | None]]:
        found = super().collect(timeout_s, is_beginning=is_beginning)
        for place, answer in found:
            if answer is None and place in self.measuring:
                self.lost.append(place)
            # it goes on some time after it was missed
            if place == self.stopped and answer is None:
                threading.Timer(1.0, os.kill, (_read_pid(place), signal.SIGCONT)).start()
        return found


def _read_pid(place: Place) -> int:
    return int(place.process.partition("-")[0])


def list_keys(records: Sequence[AnyRecord]) -> list[str]:
    return sorted(str(record.key) for record in records)


@pytest.mark.slow
def test_a_killed_and_a_stopped_worker_cost_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "DaskPool", Accidents)
    monkeypatch.setattr(Accidents, "lost", [], raising=False)
    monkeypatch.setattr(Accidents, "measuring", set(), raising=False)
    plan = make_plan(Selection(preset="smoke", replicates=3, seed=1))
    for name in ("hosts", "local"):
        (tmp_path / name).mkdir()
    warnings: list[str] = []
    # without nannies nobody ends the stopped worker before it goes on
    with start_cluster(tmp_path / "hosts", _WORKERS, has_nannies=False) as address:
        choice = Cluster(scheduler=address, placement="spread")
        (found,) = start_on_cluster(plan, tmp_path / "run", choice, warn=warnings.append)
    # what is waited for, and no warning
    assert warnings == [
        f"--scheduler: connecting to {address}, for up to 15 s",
        "--scheduler: connected; asking the workers what they measure on",
    ]
    assert Accidents.seen > _STOPPED
    assert Accidents.stopped in Accidents.lost
    # on a machine that is busy enough, a sound worker may be missed too
    assert len(Accidents.lost) >= 2

    # every key once, as in a local run
    records = read_journal(found.folder)
    assert list_keys(records) == list_keys([job for batch in list_jobs(plan) for job in batch])
    local = run_plan(plan, tmp_path / "local", start_worker=NoopWorker)
    assert list_keys(records) == list_keys(local.records)
    keys = ["case_id", "replicate"]
    table = load(found.folder)
    assert not table.duplicated(keys).any()
    expected = {(r.case.case_id, r.replicate) for r in local.records if isinstance(r, Record)}
    assert {*table[keys].itertuples(index=False, name=None)} == expected

    # the groups that were lost were measured in a second attempt, and everything else in its first
    assert {record.status for record in records} == {"ok"}
    cases = [record for record in records if isinstance(record, Record)]
    again = {(r.replicate, r.baseline_id) for r in cases if r.attempt == 2}
    assert len(again) == len(Accidents.lost)
    assert {record.attempt for record in cases} == {1, 2}

    # one group at a time had the processor of this machine, whichever worker measured it
    spans = sorted({(record.started_at, record.ended_at) for record in cases})
    assert len(spans) == len({(r.replicate, r.baseline_id) for r in cases})
    assert all(start <= end for start, end in spans)
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))

    # and several took part: each replicate has its own processes
    for replicate in range(3):
        indices = {r.process_index for r in cases if r.replicate == replicate}
        assert indices == {*range(len(indices))}
    assert len({r.process_index for r in cases if r.replicate == 0}) > 1
    info = read_run_info(found.folder)
    assert info["cluster"]["placement"] == "spread"
    assert info["finished_at"]
    assert "MALLOC_TRIM_THRESHOLD_" not in info["environment"]["variables"]


@pytest.mark.slow
def test_a_run_goes_on_with_other_workers_of_the_kind(tmp_path: Path) -> None:
    plan = make_plan(Selection(preset="smoke", keyword="nearest and 8x8", replicates=2, seed=1))
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        start_on_cluster(plan, run, Cluster(scheduler="local:1"), observer=_interrupt)
    before = read_journal(run)
    assert len(before) == 1
    (found,) = resume_on_cluster(run, Cluster(scheduler="local:2"))
    records = read_journal(run)
    assert records[:1] == before
    assert list_keys(records) == list_keys([job for batch in list_jobs(plan) for job in batch])
    assert {record.status for record in records} == {"ok"}
    assert found.folder == run
    (resumed,) = read_run_info(run)["resumed"]
    assert resumed["differences"] == []
    with pytest.raises(RunFolderError, match="holds a run already"):
        start_on_cluster(plan, run, Cluster(scheduler="local:1"))


def _interrupt(_: object) -> None:
    raise KeyboardInterrupt


def test_a_placement_that_is_none_is_named() -> None:
    with pytest.raises(
        UsageError, match="--placement: 'spred' is not one of per-machine, spread .did you mean 'spread'"
    ):
        Cluster(scheduler="local:1", placement="spred")


def test_a_folder_without_a_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="--resume: .* holds no run"):
        resume_on_cluster(tmp_path, Cluster(scheduler="local:1"))
