"""A run on several machines: every key once, whatever happens to the workers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from deconvbench.errors import SurroundingsError
from deconvbench.progress import JobDone
from deconvbench.records.record import AnyRecord, Record, decode_record, encode_record
from deconvbench.records.run_folder import read_journal
from deconvbench.runner.distribution import (
    LOST_TWICE,
    DistributedRun,
    Place,
    list_needed_devices,
    run_distributed,
)
from deconvbench.runner.engine import PlannedRun, RunOutcome, run_plan
from deconvbench.runner.plan import Plan, list_jobs
from deconvbench.runner.remote import Answer, Order, complete_device, find_device
from tests.builders import make_case, make_grid, make_plan, make_record, make_speedup_grid
from tests.noop_run import NoopWorker, measure_case


class FakePool:
    """Workers that answer at once; what happens to an order is decided by `fate`."""

    def __init__(self, places: Sequence[Place], fate: Callable[[int, Place], str] = lambda *_: "") -> None:
        self.places = list(places)
        self.orders: list[tuple[Place, Order]] = []
        self.now = 0.0
        self._fate = fate
        self._done: list[tuple[Place, Answer | None]] = []
        self._outstanding: set[str] = set()

    def clock(self) -> float:
        return self.now

    def list_places(self) -> list[Place]:
        return list(self.places)

    def submit(self, place: Place, order: Order) -> None:
        assert order.process == place.process
        assert place.name not in self._outstanding, "a worker has one order at a time"
        self._outstanding.add(place.name)
        self.orders.append((place, order))
        fate = self._fate(len(self.orders), place)
        if fate == "lost":
            self._done.append((place, None))
        elif fate == "broken":
            self._done.append((place, Answer(failure="the disk is full")))
        else:
            jobs = [decode_record(line, "order") for line in order.jobs]
            records = jobs[::-1] if fate == "others" else _fill(jobs)
            lines = tuple(map(encode_record, records))
            self._done.append(
                (place, Answer(records=lines, batch_process=place.process + order.batch, busy_s=1.0))
            )

    def collect(self, timeout_s: float) -> list[tuple[Place, Answer | None]]:
        self.now += timeout_s
        found, self._done = self._done, []
        self._outstanding -= {place.name for place, _ in found}
        return found


def _fill(jobs: Sequence[AnyRecord]) -> list[AnyRecord]:
    cases = [job for job in jobs if isinstance(job, Record)]
    return [
        measure_case(job, cases) if isinstance(job, Record) else replace(job, status="ok", message="")
        for job in jobs
    ]


def make_places(count: int, kind: str = "k") -> list[Place]:
    return [
        Place(name=f"{kind}{n}", process=f"{kind}p{n}", kind=kind, devices=frozenset({"cpu"}))
        for n in range(count)
    ]


def run(
    plan: Plan, folder: Path, pool: FakePool, observer: Callable[[JobDone], None] = lambda _: None
) -> RunOutcome:
    task = DistributedRun(run=PlannedRun(plan=plan, folder=folder), kind="k")
    return run_distributed([task], pool, observer=observer, clock=pool.clock, patience_s=5)[0]


def list_keys(records: Sequence[AnyRecord]) -> list[str]:
    return sorted(str(record.key) for record in records)


def list_planned(plan: Plan) -> list[str]:
    return list_keys([job for batch in list_jobs(plan) for job in batch])


PLANS = {"cases": make_plan(), "speed-ups": make_plan(make_speedup_grid())}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("workers", [1, 3])
def test_every_key_is_measured_once_as_by_a_local_run(tmp_path: Path, plan: Plan, workers: int) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "cluster").mkdir()
    local = run_plan(plan, tmp_path / "local", start_worker=NoopWorker)
    outcome = run(plan, tmp_path / "cluster", FakePool(make_places(workers)))
    assert list_keys(outcome.records) == list_keys(local.records) == list_planned(plan)
    assert {record.attempt for record in outcome.records if isinstance(record, Record)} == {1}


def test_a_batch_is_done_before_the_next_one_begins(tmp_path: Path) -> None:
    pool = FakePool(make_places(2))
    run(make_plan(), tmp_path, pool)
    batches = [order.batch for _, order in pool.orders]
    assert len(set(batches)) == 3  # artifacts, and two replicates
    assert batches == sorted(batches, key=batches.index)


def test_processes_of_a_replicate_have_an_index_each(tmp_path: Path) -> None:
    outcome = run(make_plan(), tmp_path, FakePool(make_places(3)))
    cases = [record for record in outcome.records if isinstance(record, Record)]
    for replicate in (0, 1):
        assert sorted(r.process_index for r in cases if r.replicate == replicate) == [0, 1, 2]


def test_what_a_lost_worker_had_is_measured_elsewhere_and_says_so(tmp_path: Path) -> None:
    pool = FakePool(make_places(2), lambda number, place: "lost" if number == 4 else "")
    plan = make_plan()
    outcome = run(plan, tmp_path, pool)
    assert list_keys(outcome.records) == list_planned(plan)
    again = [record for record in outcome.records if record.attempt == 2]  # type: ignore[union-attr]
    (lost_at, lost) = pool.orders[3]
    assert [encode_record(record).split('"')[5] for record in again] == [lost.jobs[0].split('"')[5]]
    (repeat_at,) = [place for place, order in pool.orders[4:] if order.jobs == lost.jobs]
    assert repeat_at != lost_at
    assert {record.status for record in outcome.records} == {"ok"}


def test_what_is_lost_twice_becomes_a_record(tmp_path: Path) -> None:
    plan = make_plan()
    target = str(list_jobs(plan)[1][0].key)
    pool = FakePool(make_places(3))
    submit = pool.submit

    def lose(place: Place, order: Order) -> None:
        keys = {str(decode_record(line, "order").key) for line in order.jobs}
        pool._fate = lambda *_: "lost" if target in keys else ""
        submit(place, order)

    pool.submit = lose  # type: ignore[method-assign]
    outcome = run(plan, tmp_path, pool)
    assert list_keys(outcome.records) == list_planned(plan)
    (lost,) = [record for record in outcome.records if record.status != "ok"]
    assert (str(lost.key), lost.status, lost.message) == (target, "crashed", LOST_TWICE)
    assert isinstance(lost, Record)
    assert lost.attempt == 2
    assert lost.started_at
    assert sum(target in str([decode_record(j, "").key for j in order.jobs]) for _, order in pool.orders) == 2


def test_a_worker_that_cannot_measure_is_left_and_two_end_the_run(tmp_path: Path) -> None:
    outcome = run(make_plan(), tmp_path, FakePool(make_places(2), lambda n, _: "broken" if n == 2 else ""))
    assert list_keys(outcome.records) == list_planned(make_plan())
    (tmp_path / "other").mkdir()
    broken = FakePool(make_places(2), lambda *_: "broken")
    with pytest.raises(SurroundingsError, match="cannot measure: the disk is full"):
        run(make_plan(), tmp_path / "other", broken)


def test_answers_to_other_jobs_are_refused(tmp_path: Path) -> None:
    plan = make_plan(make_grid(axes={"upsampler": ["nearest_conv", "transposed"]}))
    with pytest.raises(SurroundingsError, match="the records of other jobs"):
        run(plan, tmp_path, FakePool(make_places(1), lambda *_: "others"))


def test_a_run_whose_workers_are_gone_ends_and_goes_on_later(tmp_path: Path) -> None:
    plan = make_plan()
    pool = FakePool(make_places(1), lambda number, _: "lost" if number >= 4 else "")
    with pytest.raises(SurroundingsError, match=r"no worker of the cluster offers a slot of cpu \(1 are there\)"):
        run(plan, tmp_path, pool)
    before = read_journal(tmp_path)
    assert len(before) == 3
    again = FakePool(make_places(1))
    outcome = run(plan, tmp_path, again)
    assert list_keys(outcome.records) == list_planned(plan)
    assert outcome.records[:3] == tuple(before)
    measured = [decode_record(line, "order").key for _, order in again.orders for line in order.jobs]
    assert not {record.key for record in before} & set(measured)


def test_a_replicate_that_goes_on_later_has_further_processes(tmp_path: Path) -> None:
    plan = make_plan()
    # artifacts and rounding error are two orders, and two cases of replicate 0 follow
    with pytest.raises(SurroundingsError):
        run(plan, tmp_path, FakePool(make_places(1), lambda number, _: "lost" if number >= 5 else ""))
    outcome = run(plan, tmp_path, FakePool(make_places(1)))
    cases = [record for record in outcome.records if isinstance(record, Record)]
    assert [record.process_index for record in cases if record.replicate == 0] == [0, 0, 1]
    assert {record.process_index for record in cases if record.replicate == 1} == {0}


def test_a_worker_that_comes_back_measures_again(tmp_path: Path) -> None:
    pool = FakePool(make_places(1))
    (place,) = pool.places

    def restart(number: int, _: Place) -> str:
        if number == 2:
            pool.places = [replace(place, process="restarted")]
            return "lost"
        return ""

    pool._fate = restart
    outcome = run(make_plan(), tmp_path, pool)
    assert {record.status for record in outcome.records} == {"ok"}
    assert {order.process for _, order in pool.orders[2:]} == {"restarted"}


def test_each_kind_of_machine_measures_its_own_run(tmp_path: Path) -> None:
    plan = make_plan()
    pool = FakePool([*make_places(2, "a"), *make_places(1, "b"), *make_places(1, "stranger")])
    folders = [tmp_path / kind for kind in "ab"]
    for folder in folders:
        folder.mkdir()
    tasks = [DistributedRun(run=PlannedRun(plan=plan, folder=f), kind=f.name) for f in folders]
    finished: list[Path] = []
    seen: list[JobDone] = []
    outcomes = run_distributed(
        tasks, pool, observer=seen.append, finish=lambda folder, _: finished.append(folder), clock=pool.clock
    )
    assert finished == folders
    for outcome in outcomes:
        assert list_keys(outcome.records) == list_planned(plan)
    assert not [place for place, _ in pool.orders if place.kind == "stranger"]
    assert [step.done for step in seen] == [*range(1, len(seen) + 1)]
    assert {step.total for step in seen} == {2 * len(list_planned(plan))}
    assert seen[-1].remaining_s == 0


def test_imprecise_cases_get_further_replicates_here_too(tmp_path: Path) -> None:
    plan = make_plan(precision=1e-9)
    (tmp_path / "local").mkdir()
    (tmp_path / "cluster").mkdir()
    local = run_plan(plan, tmp_path / "local", start_worker=NoopWorker)
    outcome = run(plan, tmp_path / "cluster", FakePool(make_places(2)))
    assert list_keys(outcome.records) == list_keys(local.records)
    assert max(r.replicate for r in outcome.records if isinstance(r, Record)) > 1


def test_a_slot_of_each_device_is_needed() -> None:
    grid = make_grid(axes={"device": ["cpu", "cuda", "cuda:1"]})
    assert list_needed_devices(make_plan(grid)) == ["cpu", "cuda:0", "cuda:1"]
    assert find_device(make_record(case=make_case(device="cuda"))) == "cuda:0"
    assert complete_device("mps") == "mps:0"


def test_cases_go_where_their_device_is(tmp_path: Path) -> None:
    plan = make_plan(make_grid(axes={"device": ["cpu", "cuda"]}))
    processor, graphics = make_places(2)
    pool = FakePool([processor, replace(graphics, devices=frozenset({"cuda:0"}))])
    outcome = run(plan, tmp_path, pool)
    assert list_keys(outcome.records) == list_planned(plan)
    for place, order in pool.orders:
        assert order.device in place.devices
