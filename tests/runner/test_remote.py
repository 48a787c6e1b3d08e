"""What a worker of a cluster does with orders; the children are doubles."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bench.noop_worker import NoopWorker
from deconvbench.errors import SurroundingsError
from deconvbench.records.record import Record, decode_record, encode_record
from deconvbench.runner import remote
from deconvbench.runner.device_lock import DeviceLock
from deconvbench.runner.plan import list_jobs
from deconvbench.runner.remote import (
    Order,
    close_slots,
    describe_process,
    identify_process,
    measure_order,
)
from deconvbench.runner.worker import WorkerError, WorkerOptions
from tests.builders import make_plan

OPTIONS = WorkerOptions()


class Child(NoopWorker):
    """A child that knows whether it lives."""

    started: list["Child"]

    def __init__(self, options: WorkerOptions) -> None:
        super().__init__(options)
        self.started.append(self)

    def kill(self) -> None:
        self.alive = False


@pytest.fixture(autouse=True)
def children(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Child]]:
    """All children that were started; slots are new, and are disposed of."""
    started: list[Child] = []
    monkeypatch.setattr(Child, "started", started, raising=False)
    monkeypatch.setattr(remote, "_SLOTS", {})
    monkeypatch.setattr(remote, "LOCK_TIMEOUT_S", 30.0)
    yield started
    for slot in remote._SLOTS.values():
        slot.dispose()


def make_order(**changes: Any) -> Order:
    jobs = tuple(map(encode_record, list_jobs(make_plan())[1][:1]))
    values: dict[str, Any] = {"process": identify_process(), "batch": "b", "device": "cpu", "options": OPTIONS}
    return Order(**{**values, "timeout_s": 5.0, "jobs": jobs, **changes})


def measure(**changes: Any) -> Record:
    answer = measure_order(make_order(**changes), Child)
    assert answer is not None
    assert answer.failure == ""
    (record,) = [decode_record(line, "answer") for line in answer.records]
    assert isinstance(record, Record)
    return record


def test_a_child_measures_the_orders_of_a_batch(children: list[Child]) -> None:
    record = measure()
    assert (record.status, record.process_index) == ("ok", 0)
    assert record.started_at <= record.ended_at
    measure()
    assert len(children) == 1
    # another batch is measured in a fresh process
    measure(batch="c")
    assert [child.alive for child in children] == [False, True]


def test_a_child_holds_the_lock_of_its_device(children: list[Child]) -> None:
    measure()
    ((descriptor,), log) = (children[0].options.descriptors, children[0].options.log)
    assert descriptor > 2
    assert log is not None
    # between orders it is free
    lock = DeviceLock("cpu")
    with lock.hold(0):
        pass
    lock.close()


def test_a_device_that_another_holds_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "LOCK_TIMEOUT_S", 0.05)
    lock = DeviceLock("cpu")
    with lock.hold(30):
        answer = measure_order(make_order(), Child)
    lock.close()
    assert answer is not None
    assert answer.failure == "cpu was held by another process for 0.05 s"
    assert answer.records == ()


def test_a_dead_child_is_replaced_and_counted(children: list[Child]) -> None:
    first = measure_order(make_order(), Child)
    children[0].alive = False
    second = measure_order(make_order(), Child)
    assert first is not None
    assert second is not None
    assert first.batch_process == second.batch_process
    (record,) = [decode_record(line, "answer") for line in second.records]
    assert isinstance(record, Record)
    assert record.process_index == 1


def test_an_order_for_another_process_is_left_alone(children: list[Child]) -> None:
    assert measure_order(make_order(process="another"), Child) is None
    assert children == []


def test_the_child_that_was_asked_first_measures_the_first_batch(children: list[Child]) -> None:
    found = describe_process("cpu", OPTIONS, Child)
    assert found == {"process": identify_process(), "environment": NoopWorker.environment}
    measure()
    assert len(children) == 1
    # but not where another kind of child is asked for
    describe_process("cpu", OPTIONS, Child)
    measure(batch="c", options=replace(OPTIONS, conditions="settled"))
    assert [child.alive for child in children] == [False, False, True]


def test_a_child_that_does_not_start_is_told() -> None:
    def refuse(_: WorkerOptions) -> Child:
        raise WorkerError("no interpreter")

    assert describe_process("cpu", OPTIONS, refuse)["failure"] == "no interpreter"
    answer = measure_order(make_order(), refuse)
    assert answer is not None
    assert answer.failure == "no interpreter"


def test_children_with_nothing_to_do_are_ended(children: list[Child]) -> None:
    measure()
    describe_process("cpu", OPTIONS, Child)
    close_slots()
    assert not [child for child in children if child.alive]
    measure(batch="c")  # the next order starts another


def test_each_device_has_a_slot_of_its_own(children: list[Child]) -> None:
    measure()
    measure(device="cuda:0")
    assert [child.alive for child in children] == [True, True]


@pytest.mark.process
def test_a_worker_imports_neither_torch_nor_pandas() -> None:
    code = (
        "import sys, deconvbench.workflows.dask_worker as w; print(*sorted({'torch', 'pandas'} & {*sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_names_of_processes_stay() -> None:
    assert identify_process() == identify_process()


def test_a_lock_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> DeviceLock:
        raise SurroundingsError("cannot lock cpu")

    monkeypatch.setattr(remote, "DeviceLock", refuse)
    assert describe_process("cpu", OPTIONS, Child)["failure"] == "cannot lock cpu"
