"""Two commits timed in turns: a process of each side stays alive, one computes while the other waits.

The parent has both sides prepare a case, compares what they give, and then asks for blocks of calls, A B, B A and
so on, so that whatever happens to the machine happens to both. A replicate is a set of fresh processes. Judges
nothing: what it yields are records.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from deconvbench.measure.conditions import find_idle_core
from deconvbench.records.case import Case
from deconvbench.records.conditions import Conditions
from deconvbench.records.decoding import build
from deconvbench.records.pairs import PairRecord
from deconvbench.runner.child_process import ChannelError
from deconvbench.runner.pair_jobs import SIDES
from deconvbench.runner.worker import Worker, WorkerOptions
from deconvbench.system.scratch import make_scratch_folder

# what the idle side's threads would do otherwise is spin, for milliseconds, on the cores of the other
WAITING_VARIABLES = (("OMP_WAIT_POLICY", "passive"), ("KMP_BLOCKTIME", "0"))
# the same number of calls on both sides, unless one is that many times slower than the other
_MOST_UNEVEN = 4
# rounds of a case that are taken again because a block was disturbed
_MOST_REPEATS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPolicy:
    """How long a case is timed in one replicate.

    Parameters
    ----------
    min_block_s : float
        Least length of a block: long enough for the caches, which the other side leaves cold, not to count.
    warmup_s : float
        Seconds of calls of each side before the first block.
    rounds : int
        Rounds of one block of each side.
    fewest_rounds : int
        Taken whatever they cost.
    time_cap_s : float
        Seconds after which no further round begins, once there are `fewest_rounds`.
    """

    # a case takes a fifth of a second: both sides prepare (.03 s), find an idle core (.05 s), warm up (.04 s), and
    # take sixteen rounds of two blocks of 2 ms (.08 s). Processes differ by more than rounds do: few of these, and
    # many of those, know a ratio best
    min_block_s: float = 2e-3
    warmup_s: float = 0.02
    rounds: int = 16
    fewest_rounds: int = 8
    time_cap_s: float = 0.2


class SideError(Exception):
    """One side could not do what it was asked to.

    Parameters
    ----------
    side : str
        Which.
    status, message : str
        As in a record.
    """

    def __init__(self, side: str, status: str, message: str) -> None:
        super().__init__(message)
        self.side, self.status, self.message = side, status, message


class PairProcess(Worker):
    """The parent's end of one side: as a worker, but it is asked for one step of a measurement at a time.

    To start one does not wait for it: the sides of a replicate come up at the same time. Whoever asks for
    `environment` waits.
    """

    MODULE = "deconvbench.runner.pairing_main"

    def _come_up(self) -> None:
        pass

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Have the child do one thing.

        Parameters
        ----------
        request : mapping
            As `pairing_main` takes it.
        timeout_s : float
            Seconds after which it counts as hanging and is killed.

        Returns
        -------
        dict
            With ``status``, and ``message`` where that is not ``ok``. The process may be gone then: ask `alive`.
        """
        try:
            self._child.send(json.dumps(request))
            answer = self._child.receive(timeout_s)
            if answer is None:
                status, message = self._child.explain_end()
                return {"status": status, "message": message}
            found = json.loads(self._take_content(answer))
        except TimeoutError:
            self.kill()
            return {"status": "timeout", "message": f"no answer within {timeout_s:g} s"}
        except (ChannelError, ValueError) as error:
            self.kill()
            return {"status": "crashed", "message": f"the process sent something that is not an answer: {error}"}
        self._is_spent = bool(found.get("lasting")) or found["status"] == "crashed"
        return dict(found)


class SideProcess(Protocol):
    """What is needed of a side; `PairProcess` is the real one."""

    @property
    def environment(self) -> dict[str, Any]:
        """What it found about machine and software, once it has come up."""

    @property
    def alive(self) -> bool:
        """True while it can take another case."""

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Have it do one thing."""

    def kill(self) -> None:
        """End it at once."""


StartSide = Callable[[WorkerOptions], SideProcess]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSetup:
    """What is compared, and how.

    Parameters
    ----------
    base, head : WorkerOptions
        How the processes of each side are started.
    policy : PairPolicy
        How long each case is timed.
    timeout_s : float
        Seconds without an answer after which a side counts as hanging.
    find_core : callable
        Finds an idle core, or none, for both sides to share.
    logs : Path or None
        Folder that gets what the processes of each side print; None discards it.
    """

    base: WorkerOptions
    head: WorkerOptions
    policy: PairPolicy = PairPolicy()
    timeout_s: float = 120.0
    find_core: Callable[[], int | None] = find_idle_core
    logs: Path | None = None


def measure_pairs(
    setup: PairSetup,
    jobs: Sequence[PairRecord],
    *,
    start: StartSide = PairProcess,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[PairRecord]:
    """Measure one replicate, in processes that are started for it.

    Parameters
    ----------
    setup : PairSetup
        What is compared.
    jobs : sequence of PairRecord
        From `list_pair_jobs`; all of one replicate.
    start : callable
        Starts a process.
    clock : callable
        Seconds, for time caps.

    Yields
    ------
    PairRecord
        Each job filled in. A side that crashes, hangs or runs out of memory costs this case alone: it is replaced,
        and the others are measured.

    Raises
    ------
    WorkerError
        If a process cannot be started.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(make_scratch_folder())
        processes = _Processes(setup, start)
        stack.callback(processes.kill)
        processes.start(dict.fromkeys(name for job in jobs for name in SIDES[job.pair]))
        for position, job in enumerate(jobs):
            started = clock()
            names = SIDES[job.pair]
            # which side prepares first, and begins the first round, must not be the same each time
            order = names if (position + job.replicate) % 2 == 0 else names[::-1]
            sides = {name: processes.find(name) for name in order}
            record = _measure_pair(setup, job, sides, folder / "outputs.pt", clock)
            processes.drop(sides)
            yield _identify(replace(record, total_s=clock() - started), sides, names)


class _Processes:
    """The processes of one replicate, replaced when they are gone."""

    def __init__(self, setup: PairSetup, start: StartSide) -> None:
        self._setup = setup
        self._start = start
        self._running: dict[str, SideProcess] = {}

    def start(self, names: Iterable[str]) -> None:
        """Start those that are not running, all at the same time, and wait until they have come up."""
        started = []
        for name in names:
            if name not in self._running:
                self._running[name] = self._start(self._choose_options(name))
                started.append(name)
        for name in started:
            _ = self._running[name].environment  # waits

    def _choose_options(self, name: str) -> WorkerOptions:
        options = self._setup.head
        if name != "head":
            # where calls of HEAD are slowed the clock is read around each; so it is on the other side then
            options = replace(self._setup.base, slowdowns=tuple((layer, 0.0) for layer, _ in options.slowdowns))
        return options if self._setup.logs is None else replace(options, log=self._setup.logs / f"{name}.log")

    def find(self, name: str) -> SideProcess:
        if not self._running[name].alive:
            self._running.pop(name).kill()
            self.start([name])
        return self._running[name]

    def drop(self, sides: Mapping[str, SideProcess]) -> None:
        """Have the sides forget their case, so that the next one meets what this one met."""
        for side in sides.values():
            if side.alive:
                side.ask({"do": "drop"}, self._setup.timeout_s)

    def kill(self) -> None:
        for process in self._running.values():
            process.kill()


def _identify(record: PairRecord, sides: Mapping[str, SideProcess], names: tuple[str, str]) -> PairRecord:
    """Say where, and of which code, a record is."""
    base, head = (sides[name].environment for name in names)
    return replace(
        record,
        machine_id=str(base.get("machine_id", "")),
        torch_version=str(base.get("torch_version", "")),
        base_code=str(base.get("code_version", "")),
        head_code=str(head.get("code_version", "")),
    )


def _measure_pair(
    setup: PairSetup,
    job: PairRecord,
    sides: Mapping[str, SideProcess],
    path: Path,
    clock: Callable[[], float],
) -> PairRecord:
    """Measure one job; what a side fails at becomes its status."""
    base, head = SIDES[job.pair]

    def ask(name: str, do: str, **words: Any) -> dict[str, Any]:
        answer = sides[name].ask({"do": do, **words}, setup.timeout_s)
        if answer["status"] != "ok":
            raise SideError(name, answer["status"], answer["message"])
        return answer

    filled = replace(job, first_side="base" if next(iter(sides)) == base else "head")
    try:
        digests = _prepare_both(ask, job, sides)
        difference = 0.0
        if digests[base] != digests[head]:
            ask(base, "write", path=str(path))
            difference = ask(head, "differ", path=str(path))["difference"]
        filled = replace(filled, output_difference=difference)
        policy = setup.policy
        # found anew for each case: what is idle now need not stay so
        core = setup.find_core() if _wants_core(setup, job.case) else None
        cores = [] if core is None else [core]
        settled = [ask(name, "settle", cores=cores)["conditions"] for name in sides]
        filled = replace(filled, conditions=build(Conditions, settled[0]))
        words = {"warmup_s": policy.warmup_s, "min_block_s": policy.min_block_s}
        found = [ask(name, "warm", **words)["calls"] for name in sides]
        calls = min(max(found), _MOST_UNEVEN * min(found))
        samples: dict[str, list[float]] = {name: [] for name in sides}
        repeated: list[tuple[int, str]] = []
        order = list(sides)
        started = clock()
        while (count := len(samples[base]) - len(repeated)) < policy.rounds:
            if count >= policy.fewest_rounds and clock() - started >= policy.time_cap_s:
                break
            blocks = {name: ask(name, "time", calls=calls) for name in order}
            for name, block in blocks.items():
                samples[name].append(block["seconds"])
            reasons = [f"{name}: {block['disturbed']}" for name, block in blocks.items() if block["disturbed"]]
            if reasons and len(repeated) < _MOST_REPEATS:
                repeated.append((len(samples[base]) - 1, "; ".join(reasons)))
            order.reverse()
    except SideError as failure:
        word = {base: "base", head: "head"}.get(failure.side, failure.side)
        return replace(filled, status=failure.status, message=failure.message, failed_side=word)
    return replace(
        filled,
        status="ok",
        message="",
        base_samples_s=tuple(samples[base]),
        head_samples_s=tuple(samples[head]),
        calls_per_sample=calls,
        repeated=tuple(repeated),
    )


def _wants_core(setup: PairSetup, case: Case) -> bool:
    """Say whether both sides are bound to one core: a thread that computes alone is, as in any other run."""
    is_alone = (case.device, case.execution, case.threads) == ("cpu", "eager", 1)
    return setup.base.conditions == "settled" and is_alone


def _prepare_both(
    ask: Callable[..., dict[str, Any]], job: PairRecord, sides: Mapping[str, object]
) -> dict[str, str]:
    """Have both sides prepare the case; where neither can, say so once."""
    digests: dict[str, str] = {}
    failures: list[SideError] = []
    for name in sides:
        try:
            digests[name] = ask(name, "prepare", case=job.case.case_id, seed=job.seed)["digest"]
        except SideError as failure:
            failures.append(failure)
    if len(failures) == 2:
        raise SideError("both", failures[0].status, failures[0].message)
    if failures:
        raise failures[0]
    return digests
