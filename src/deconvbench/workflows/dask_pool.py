"""The workers of a Dask scheduler as a `Pool`: which are there, what they are, and carrying orders and answers.

An order is pinned to the worker that it is for, takes that worker's slot (a resource), and is never repeated by
Dask: no ``retries``, and a task that the scheduler sends out again by itself reaches a process that refuses it. A
worker counts as lost when the scheduler has given it up.
"""

import contextlib
import pickle
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from deconvbench.errors import DeconvbenchError, SurroundingsError, UsageError, describe_failure
from deconvbench.runner.batch_process import StartWorker
from deconvbench.runner.distribution import Place
from deconvbench.runner.machine_kind import name_kind
from deconvbench.runner.remote import Answer, Order, complete_device
from deconvbench.runner.worker import START_TIMEOUT_S, Worker, WorkerOptions
from deconvbench.workflows.dask_connection import OPTION, SLOT_PREFIX, is_private
from deconvbench.workflows.dask_worker import probe_worker, release_worker, run_order

if TYPE_CHECKING:
    from distributed import Client, Future

# the scheduler is asked who is there this often, and a result is waited for this long
_REFRESH_S = 1.0
_GATHER_S = 10.0
_RELEASE_S = 5.0
# what must be the same on client and workers, in words
_VERSIONS = {
    "code_version": "deconvbench",
    "torch_version": "torch",
    "python_version": "Python",
    "distributed": "distributed",
}


def name_version_differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Name the versions that differ between a client and a worker.

    Parameters
    ----------
    here, there : mapping
        From `collect_environment`, with the version of ``distributed``.

    Returns
    -------
    list of str
        One for each that differs.
    """
    return [
        f"{word} is {there.get(key)} there and {here.get(key)} here"
        for key, word in _VERSIONS.items()
        if there.get(key) != here.get(key)
    ]


@dataclass(slots=True)
class _Member:
    """A worker that offers a slot: asked what it is, then a place, unless it does not fit."""

    address: str
    resources: dict[str, str]
    identity: tuple[Any, ...]
    place: Place | None = None
    environment: Mapping[str, Any] | None = None
    future: "Future[Any] | None" = None
    is_left_out: bool = False


class DaskPool:
    """The workers of a scheduler.

    Parameters
    ----------
    client : Client
        Of `distributed`.
    options : WorkerOptions
        How children are started to say what they find.
    environment : mapping
        Of the client, from `collect_environment`, whose versions the workers must have.
    warn : callable
        Receives which workers are left out, and why.
    insecure : bool
        Accept workers that are reached without TLS on other machines.
    start_worker : callable
        Starts what measures, on the worker; importable there.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        client: "Client",
        options: WorkerOptions,
        environment: Mapping[str, Any],
        *,
        warn: Callable[[str], None],
        insecure: bool = False,
        start_worker: StartWorker = Worker,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        import distributed

        self._client = client
        self._options = options
        self._here = {**environment, "distributed": distributed.__version__}
        self._warn = warn
        self._insecure = insecure
        self._start = start_worker
        self._clock = clock
        self._members: dict[str, _Member] = {}
        self._others = 0
        self._lost: list[Place] = []
        self._done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        # results that did not come in time
        self._unread: list[Future[Any]] = []
        self._addresses: dict[Any, str] = {}
        self._refreshed: float | None = None
        self._call = _make_call()

    def list_places(self) -> list[Place]:
        """List the workers that are there and fit."""
        if self._refreshed is None or self._clock() - self._refreshed >= _REFRESH_S:
            self._refresh()
        return [m.place for m in self._members.values() if m.place is not None and not m.is_left_out]

    def find_environments(self) -> dict[str, Mapping[str, Any]]:
        """Return the environment of one worker of each kind."""
        found: dict[str, Mapping[str, Any]] = {}
        for member in self._members.values():
            if member.place is not None and member.environment is not None and not member.is_left_out:
                found.setdefault(member.place.kind, member.environment)
        return found

    def wait_for_places(self, patience_s: float = 60.0) -> list[Place]:
        """Wait until every worker that is there has said what it is.

        Parameters
        ----------
        patience_s : float
            Seconds to wait for the first worker.

        Raises
        ------
        UsageError
            If there is none with a slot, or one has other versions than this client.
        SurroundingsError
            If the scheduler is lost.
        """
        started = self._clock()
        while True:
            places = self.list_places()
            asked = [m for m in self._members.values() if m.place is None and not m.is_left_out]
            if places and not asked:
                return places
            waited_s = self._clock() - started
            if not asked and not places and waited_s >= patience_s:
                there = f"{self._others} workers offer none" if self._others else "it has no workers"
                raise UsageError(
                    f"{OPTION}: no worker offers a slot: {there}; start them with --resources {SLOT_PREFIX}cpu=1"
                )
            if asked and waited_s >= START_TIMEOUT_S:
                raise SurroundingsError(f"{OPTION}: no answer from {', '.join(m.address for m in asked)}")
            self.collect(_REFRESH_S, is_beginning=True)

    def _refresh(self) -> None:
        """Ask the scheduler who is there: send newcomers a question, and give up who has gone."""
        present = self._ask_scheduler()
        self._refreshed = self._clock()
        slots = {address: _find_slots(worker) for address, worker in present.items()}
        self._others = sum(not found for found in slots.values())
        for address, member in [*self._members.items()]:
            if address not in present or _identify(present[address]) != member.identity:
                self._drop(member)
        for address, resources in slots.items():
            if resources and address not in self._members and present[address].get("status") == "running":
                self._welcome(address, resources, _identify(present[address]))

    def _ask_scheduler(self) -> Mapping[str, Mapping[str, Any]]:
        scheduler = self._client.scheduler
        if scheduler is None or self._client.status != "running":
            raise self._explain_loss()
        try:
            # not `scheduler_info`, which a heartbeat of the client may replace before it is read
            return dict(self._client.sync(scheduler.identity, n_workers=-1)["workers"])
        except (OSError, TimeoutError, RuntimeError) as error:
            raise self._explain_loss() from error

    def _explain_loss(self) -> SurroundingsError:
        return SurroundingsError(f"{OPTION}: the scheduler was lost")

    def _welcome(self, address: str, resources: dict[str, str], identity: tuple[Any, ...]) -> None:
        member = self._members[address] = _Member(address, resources, identity)
        if not self._insecure and not is_private(address):
            member.is_left_out = True
            self._warn(f"{OPTION}: {address} is left out: it is another machine without TLS; see --insecure")
            return
        device = min(resources, key=lambda name: name != "cpu")
        self._send(member, device, partial(probe_worker, device, self._options, self._start))

    def _send(self, member: _Member, device: str, work: Callable[[], Any]) -> None:
        try:
            member.future = self._client.submit(
                self._call,
                pickle.dumps(work),
                workers=[member.address],
                allow_other_workers=False,
                resources={member.resources[device]: 1},
                retries=0,
                pure=False,
            )
        except (OSError, TimeoutError, RuntimeError) as error:
            raise self._explain_loss() from error
        self._addresses[member.future.key] = member.address
        member.future.add_done_callback(self._done.put)

    def submit(self, place: Place, order: Order) -> None:
        """Send an order to a worker that has none."""
        member = self._members.get(place.name)
        if member is None or member.place != place:
            self._lost.append(place)
            return
        self._send(member, order.device, partial(run_order, order, self._start))

    def _drop(self, member: _Member) -> None:
        """Forget a worker; what it was asked is lost."""
        del self._members[member.address]
        if member.future is not None:
            self._addresses.pop(member.future.key, None)
            member.future.cancel(force=True)
            if member.place is not None:
                self._lost.append(member.place)

    def collect(self, timeout_s: float, *, is_beginning: bool = False) -> Sequence[tuple[Place, Answer | None]]:
        """Wait for answers, or for workers that are lost.

        Parameters
        ----------
        timeout_s : float
            Seconds to wait at most.
        is_beginning : bool
            Refuse a worker that does not fit, instead of leaving it out.

        Returns
        -------
        sequence of (Place, Answer or None)
            None where the worker is lost.

        Raises
        ------
        UsageError
            If a worker does not fit and `is_beginning`.
        SurroundingsError
            If the scheduler is lost, or what runs on a worker fails otherwise than by what it measures.
        """
        found: list[tuple[Place, Answer | None]] = []
        unread, self._unread = self._unread, []
        for future in unread:
            future.add_done_callback(self._done.put)
        wait_s = 0.0 if self._lost else timeout_s
        while True:
            try:
                future = self._done.get(timeout=wait_s) if wait_s else self._done.get_nowait()
            except queue.Empty:
                break
            wait_s = 0.0
            found += self._receive(future, is_beginning)
        lost, self._lost = self._lost, []
        return [*found, *((place, None) for place in lost)]

    def _receive(self, future: "Future[Any]", is_beginning: bool) -> list[tuple[Place, Answer | None]]:
        address = self._addresses.get(future.key)
        if address is None:
            return []  # of a worker that was given up
        member = self._members[address]
        try:
            result = self._read(future)
        except TimeoutError:  # its worker may be gone: that is asked before it is read again
            self._unread.append(future)
            return []
        except _LostError:
            self._drop(member)
            return []
        except UsageError as error:
            if is_beginning:
                raise
            self._leave_out(member, str(error))
            return []
        member.future = None
        del self._addresses[future.key]
        return self._settle(member, result, is_beginning)

    def _settle(self, member: _Member, result: Any, is_beginning: bool) -> list[tuple[Place, Answer | None]]:
        """Say what a result is: that of a question, or of an order."""
        if member.place is None:
            self._settle_probe(member, result, is_beginning)
            return []
        if result is None:  # another process has the address by now
            del self._members[member.address]
        return [(member.place, result)]

    def _read(self, future: "Future[Any]") -> Any:
        """Fetch a result."""
        from distributed import KilledWorker

        if future.cancelled():
            if self._client.status != "running":
                raise self._explain_loss()
            raise _LostError
        try:
            return future.result(timeout=_GATHER_S)
        except KilledWorker as error:
            raise _LostError from error
        except (ModuleNotFoundError, AttributeError) as error:
            # the worker could not read what it was sent
            raise UsageError(
                f"{OPTION}: a worker cannot import what measures; install the same deconvbench there: {error}"
            ) from error
        except (DeconvbenchError, TimeoutError):
            raise
        except Exception as error:
            # whatever a worker raised is not what it measures, which has a status
            raise SurroundingsError(f"a worker of the cluster failed: {describe_failure(error)}") from error

    def _settle_probe(self, member: _Member, found: Mapping[str, Any], is_beginning: bool) -> None:
        """Make a place of a worker that has said what it is, where it fits."""
        reason = found.get("failure", "")
        if not reason:
            there = {**found["environment"], "distributed": found["distributed"]}
            reason = "; ".join(name_version_differences(self._here, there))
            reason = f"versions differ: {reason}" if reason else ""
        if reason and is_beginning:
            raise UsageError(f"{OPTION}: {member.address}: {reason}")
        if reason:
            self._leave_out(member, reason)
            return
        member.environment = found["environment"]
        member.place = Place(
            name=member.address,
            process=found["process"],
            kind=name_kind(found["environment"]),
            devices=frozenset(member.resources),
        )

    def _leave_out(self, member: _Member, reason: str) -> None:
        member.is_left_out = True
        member.future = None
        self._warn(f"{OPTION}: {member.address} is left out: {reason}")

    def release(self) -> None:
        """Take back what is still asked, and have the workers end children that have nothing to do."""
        futures = [member.future for member in self._members.values() if member.future is not None]
        idle = [m.address for m in self._members.values() if m.place is not None and m.future is None]
        if self._client.status != "running":
            return
        # children end by themselves when nothing is asked of them
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):
            if futures:
                self._client.cancel(futures, force=True)
            if idle:
                self._client.run(release_worker, workers=idle, on_error="ignore")


def _make_call() -> Callable[[bytes], Any]:
    """Make what a worker runs: it travels as it is, and what it imports it imports in the task's own thread.

    A function of this package would be imported where the worker answers the scheduler, which could then miss it.
    """

    def call(work: bytes) -> Any:
        import pickle

        return pickle.loads(work)()

    return call


class _LostError(Exception):
    """The scheduler gave up a task because its worker is gone."""


def _find_slots(worker: Mapping[str, Any]) -> dict[str, str]:
    """Find the devices that a worker offers a slot of, and what their resources are called."""
    resources = worker.get("resources") or {}
    return {
        complete_device(name.removeprefix(SLOT_PREFIX)): name
        for name, amount in resources.items()
        if name.startswith(SLOT_PREFIX) and amount >= 1
    }


def _identify(worker: Mapping[str, Any]) -> tuple[Any, ...]:
    """Tell one process from the next one with its address, as far as the scheduler does."""
    return worker.get("name"), worker.get("nanny"), worker.get("local_directory")
