"""A run on several machines: the same jobs, records and journal as on one, its groups handed out to workers.

One order at a time goes to each worker, so that a worker that is lost loses one group alone. Who measures what,
and how often it was tried, is decided here and nowhere else: a group whose worker was lost goes to another one
once, and what was lost twice becomes records that say so. How orders and answers travel is for a `Pool`.
"""

import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from deconvbench.errors import SurroundingsError
from deconvbench.progress import JobDone, JobObserver
from deconvbench.records.journal import Journal
from deconvbench.records.pairs import PairRecord
from deconvbench.records.record import AnyRecord, Record, decode_record, encode_record
from deconvbench.records.run_folder import read_journal
from deconvbench.runner.batch_process import find_next_index
from deconvbench.runner.engine import Finish, PlannedRun, RunOutcome, list_pending, list_refinements
from deconvbench.runner.grouping import split_groups
from deconvbench.runner.plan import Plan
from deconvbench.runner.remote import Answer, Order, complete_device, find_device
from deconvbench.runner.timing import Timing
from deconvbench.runner.worker import Worker
from deconvbench.units import format_moment

# a group is tried on one worker, and on another one where that is lost
MOST_ATTEMPTS = 2
LOST_TWICE = "the worker of the cluster was lost while it measured this, and so was the one that tried it again"
_WAIT_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A worker of a cluster that can measure.

    Parameters
    ----------
    name : str
        By which the pool knows it; another process may get it later.
    process : str
        As `identify_process` gives it.
    kind : str
        Name of the kind of machine; machines of one kind are equal.
    devices : frozenset of str
        What it offers a slot of, as `complete_device` names it.
    """

    name: str
    process: str
    kind: str
    devices: frozenset[str]


class Pool(Protocol):
    """Where orders go and answers come from."""

    def list_places(self) -> Sequence[Place]:
        """List the workers that are there now."""

    def submit(self, place: Place, order: Order) -> None:
        """Send an order to a worker that has none."""

    def collect(self, timeout_s: float) -> Sequence[tuple[Place, Answer | None]]:
        """Wait for answers, or for workers that are lost (None); none of either where the time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributedRun:
    """A run, and the machines that measure it.

    Parameters
    ----------
    run : PlannedRun
        Plan, folder and options.
    kind : str
        The kind of machines.
    """

    run: PlannedRun
    kind: str


@dataclass(slots=True)
class _Group:
    """Jobs that are measured together, and who has tried."""

    jobs: list[AnyRecord]
    attempt: int = 1
    tried: set[str] = field(default_factory=set)


class _Lane:
    """One run: what is waiting, what is being measured, and its journal."""

    def __init__(self, task: DistributedRun, journal: Journal) -> None:
        self.task = task
        self.journal = journal
        self.grid = task.run.plan.grid
        self.options = replace(task.run.complete_options(), log=None)
        self.pending = list_pending(task.run.plan, journal)
        self.running: dict[str, _Group] = {}
        self._waiting: deque[_Group] = deque()
        self._batch = ""
        self._refinements = list_refinements(task.run.plan, journal)
        self._is_refined = False
        self._indices: dict[tuple[int, str, int], int] = {}
        self._next_indices = {
            replicate: find_next_index(journal.records, replicate)
            for replicate in {r.replicate for r in journal.records if isinstance(r, Record)}
        }

    def advance(self, timing: Timing) -> bool:
        """Take up the next batch where this one is done; False where there is none."""
        while not self._waiting and not self.running:
            batch = self._take_batch(timing)
            if batch is None:
                return False
            self._batch = secrets.token_hex(8)
            self._waiting.extend(map(_Group, split_groups(batch)))
        return True

    def _take_batch(self, timing: Timing) -> list[AnyRecord] | None:
        if self.pending:
            return self.pending.pop(0)
        batch = next(self._refinements, None)
        if batch is not None:
            timing.expect(self.grid, batch)
        return batch

    def find_group(self, place: Place) -> _Group | None:
        """Take a group that a worker can measure, and has not tried before."""
        for group in self._waiting:
            device = find_device(group.jobs[0])
            if device not in place.devices or place.process in group.tried:
                continue
            self._waiting.remove(group)
            return group
        return None

    def make_order(self, group: _Group, place: Place) -> Order:
        return Order(
            process=place.process,
            batch=self._batch,
            device=find_device(group.jobs[0]),
            options=self.options,
            timeout_s=self.task.run.plan.grid.timeout_s,
            jobs=tuple(map(encode_record, group.jobs)),
        )

    def list_waiting_devices(self) -> list[str]:
        return [find_device(group.jobs[0]) for group in self._waiting]

    def settle(self, place: Place, answer: Answer | None) -> list[AnyRecord]:
        """Turn what came of an order into the records to be written, or try the group again."""
        group = self.running.pop(place.name)
        if (answer is None or answer.failure) and group.attempt < MOST_ATTEMPTS:
            again = _Group(group.jobs, group.attempt + 1, {*group.tried, place.process})
            self._waiting.appendleft(again)
            return []
        if answer is None:
            return [self._give_up(job, group.attempt) for job in group.jobs]
        if answer.failure:
            raise SurroundingsError(f"a worker of the cluster cannot measure: {answer.failure}")
        records = [decode_record(line, "answer of the cluster") for line in answer.records]
        if [record.key for record in records] != [job.key for job in group.jobs]:
            raise SurroundingsError("a worker of the cluster sent the records of other jobs")
        return [self._number(record, answer.batch_process, group.attempt) for record in records]

    def _give_up(self, job: AnyRecord, attempt: int) -> AnyRecord:
        lost = replace(job, status="crashed", message=LOST_TWICE)
        if isinstance(lost, Record):
            now = format_moment()
            lost = replace(lost, started_at=now, ended_at=now)
        return self._number(lost, "", attempt)

    def _number(self, record: AnyRecord, process: str, attempt: int) -> AnyRecord:
        """Give a record its attempt, and the index that its process has among all of its replicate."""
        assert not isinstance(record, PairRecord)
        if not isinstance(record, Record):
            return replace(record, attempt=attempt)
        key = (record.replicate, process, record.process_index)
        if key not in self._indices:
            self._indices[key] = self._next_indices.get(record.replicate, 0)
            self._next_indices[record.replicate] = self._indices[key] + 1
        return replace(record, attempt=attempt, process_index=self._indices[key])


def run_distributed(
    tasks: Sequence[DistributedRun],
    pool: Pool,
    *,
    observer: JobObserver = lambda _: None,
    finish: Finish = lambda *_: None,
    patience_s: float = 120.0,
    clock: Callable[[], float] = time.monotonic,
) -> list[RunOutcome]:
    """Measure runs on the machines of a cluster, each on those of one kind.

    Parameters
    ----------
    tasks : sequence of DistributedRun
        What to measure, and where; each with a folder of its own, whose journal is kept and not measured again.
    pool : Pool
        The workers.
    observer : callable
        Receives each job done.
    finish : callable
        Receives each folder and its outcome once all is measured, while the folders are still locked.
    patience_s : float
        Seconds to wait for a worker that can go on, where there is none.
    clock : callable
        Seconds.

    Returns
    -------
    list of RunOutcome
        For each task its records and the share of the workers' time that was spent measuring.

    Raises
    ------
    SurroundingsError
        If the workers or the scheduler are lost, a worker cannot measure, or a folder cannot be written. What was
        measured is kept.
    """
    with contextlib.ExitStack() as stack:
        lanes = [
            # refinements look at what was measured
            _Lane(task, stack.enter_context(Journal(task.run.folder, keeps_records=bool(task.run.plan.precision))))
            for task in tasks
        ]
        pending = ((lane.grid, job) for lane in lanes for batch in lane.pending for job in batch)
        timing = Timing(clock, pending, Worker)
        busy_s = _Distribution(lanes, pool, timing, observer, patience_s, clock).run()
        # of several runs at a time, the share is that of all together
        share = timing.measuring_share(busy_s) if busy_s else None
        outcomes = []
        for lane in lanes:
            lane.journal.check_place()
            folder = lane.task.run.folder
            outcomes.append(RunOutcome(records=tuple(read_journal(folder)), measuring_share=share))
            finish(folder, outcomes[-1])
        return outcomes


class _Distribution:
    """Hands out groups, and writes what comes back."""

    def __init__(
        self,
        lanes: Sequence[_Lane],
        pool: Pool,
        timing: Timing,
        observer: JobObserver,
        patience_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._lanes = lanes
        self._by_kind = {lane.task.kind: lane for lane in lanes}
        self._pool = pool
        self._timing = timing
        self._observer = observer
        self._patience_s = patience_s
        self._clock = clock
        self._busy_s = 0.0

    def run(self) -> float:
        """Measure everything; return the seconds that the workers were busy with it."""
        stuck_since: float | None = None
        while self._advance():
            places = self._pool.list_places()
            self._hand_out(places)
            if any(lane.running for lane in self._lanes):
                stuck_since = None
            else:
                stuck_since = self._clock() if stuck_since is None else stuck_since
                if self._clock() - stuck_since >= self._patience_s:
                    raise SurroundingsError(self._explain_standstill(len(places)))
            for place, answer in self._pool.collect(_WAIT_S):
                self._take(place, answer, max(1, len(places)))
        return self._busy_s

    def _advance(self) -> bool:
        """Let every lane take up its next batch; False where none has one."""
        going_on = [lane.advance(self._timing) for lane in self._lanes]
        return any(going_on)

    def _hand_out(self, places: Sequence[Place]) -> None:
        for place in places:
            lane = self._by_kind.get(place.kind)
            if lane is None or place.name in lane.running:
                continue
            group = lane.find_group(place)
            if group is not None:
                self._pool.submit(place, lane.make_order(group, place))
                lane.running[place.name] = group

    def _take(self, place: Place, answer: Answer | None, width: int) -> None:
        lane = self._by_kind[place.kind]
        if answer is not None:
            self._busy_s += answer.busy_s
        # of two records of one key the first one counts
        records = [record for record in lane.settle(place, answer) if record.key not in lane.journal]
        self._timing.learn(lane.grid, records)
        for record in records:
            lane.journal.append(record)
            self._timing.add(lane.grid, record)
            done, left_s = sum(len(each.journal) for each in self._lanes), self._timing.remaining_s()
            self._observer(
                JobDone(
                    done=done,
                    total=done + self._timing.waiting,
                    record=record,
                    remaining_s=None if left_s is None else left_s / width,
                )
            )

    def _explain_standstill(self, workers: int) -> str:
        devices = ", ".join(dict.fromkeys(d for lane in self._lanes for d in lane.list_waiting_devices()))
        return f"no worker of the cluster offers a slot of {devices} ({workers} are there)"


def list_needed_devices(plan: Plan) -> list[str]:
    """List the devices that a plan is measured on, each once.

    Parameters
    ----------
    plan : Plan
        What will be measured.

    Returns
    -------
    list of str
        As `complete_device`; ``cpu`` is the first, as artifacts are measured on it.
    """
    cases = (*plan.cases, *plan.settings)
    return list(dict.fromkeys(("cpu", *(complete_device(case.device) for case in cases))))
