"""Trials of what a run survives: ``python -m bench.kill_trials [--trials N] [--seed S]``.

In each, a run with a real parent, keeper and worker, whose jobs take milliseconds, is killed, stopped or asked to
end at a random moment, or within a write, and resumed until it is complete. Then every job must be in its journal
once and in its place, what was there before must be there still, and no process may be left. Linux.
"""

import argparse
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from deconvbench.cli.termination import end_on_signals
from deconvbench.errors import DeconvbenchError, find_exit_code
from deconvbench.grid.grid import Grid
from deconvbench.records.run_folder import JOURNAL_NAME, RUN_NAME, read_journal
from deconvbench.runner.engine import run_plan
from deconvbench.runner.folder import open_folder, reopen_folder
from deconvbench.runner.plan import Plan, list_jobs
from deconvbench.runner.worker import Worker

_MARK = "DECONVBENCH_TRIAL"
_ENVIRONMENT = {"machine_id": "m", "torch_version": "2", "code_version": "1", "python_version": "3"}
_POLL_S = 0.0005
_RECORD_BYTES = 600
_WITHOUT_END = 1 << 62
_LONGEST_S = 120.0
_STOPPED_S = 0.02
_LONGEST_LEFT_S = 5.0
_MOST_MOMENT_S = 0.6

# what is sent, and to whom
WAYS = (
    ("SIGKILL", "parent"),
    ("SIGKILL", "within a write"),
    ("SIGKILL", "worker"),
    ("SIGKILL", "keeper"),
    ("SIGKILL", "group"),
    ("SIGKILL", "all"),
    ("SIGSTOP", "parent"),
    ("SIGSTOP", "worker"),
    ("SIGSTOP", "keeper"),
    ("SIGINT", "parent"),
    ("SIGTERM", "parent"),
    ("SIGHUP", "parent"),
)

_FORKS = get_context("forkserver")
# the next start of a run costs milliseconds then
_FORKS.set_forkserver_preload(["deconvbench.runner.engine", "deconvbench.runner.folder", "deconvbench.upsamplers"])


class _TrialWorker(Worker):
    """A worker that needs no torch."""

    MODULE = "bench.trial_child"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a trial went.

    Parameters
    ----------
    way : tuple of str
        Of `WAYS`.
    hits : int
        How often it was sent to something that lived.
    faults : tuple of str
        What should not be; none where all is well.
    """

    way: tuple[str, str]
    hits: int
    faults: tuple[str, ...]


def _make_plan() -> Plan:
    axes = {
        "upsampler": ["nearest_conv", "transposed", "subpixel"], "kernel_size": [3], "scale_factor": [2],
        "in_channels": [2], "height": list(range(1, 5)),
    }  # fmt: skip
    grid = Grid.from_dict({"replicates": 2, "axes": axes, "quality": {"seeds": 1}}, "trial")
    return Plan(grid=grid, cases=tuple(grid.expand()), seed=1)


def _measure(folder: Path, mark: str, limit: int) -> None:
    """Start or resume the run, in a session of its own; hold it where its journal is `limit` long."""
    os.setsid()
    os.environ[_MARK] = mark
    write = os.write

    def write_up_to_limit(descriptor: int, data: bytes) -> int:
        with suppress(OSError):
            if Path(f"/proc/self/fd/{descriptor}").readlink().name == JOURNAL_NAME:
                room = limit - os.fstat(descriptor).st_size
                while room <= 0:
                    signal.pause()
                return write(descriptor, data[:room])
        return write(descriptor, data)

    try:
        with end_on_signals(), mock.patch.object(os, "write", write_up_to_limit):
            # the forkserver ignores it
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if (folder / RUN_NAME).exists():
                plan = reopen_folder(folder, _ENVIRONMENT)
            else:
                plan = _make_plan()
                open_folder(plan, folder, _ENVIRONMENT)
            run_plan(plan, folder, start_worker=_TrialWorker)
    except KeyboardInterrupt as error:
        os._exit(find_exit_code(error))
    except DeconvbenchError as error:  # a worker that was killed before it could say anything
        os._exit(error.exit_code)


def run_trial(seed: int, folder: Path) -> Outcome:
    """Kill a run once or several times, resume it until it is complete, and look for faults.

    Parameters
    ----------
    seed : int
        Decides how and when.
    folder : Path
        An empty one.
    """
    chance = random.Random(seed)
    way = WAYS[seed % len(WAYS)]
    mark = secrets.token_hex(8)
    expected = [job.key for batch in list_jobs(_make_plan()) for job in batch]
    faults: list[str] = []
    hits = 0
    before: list[Any] = []
    for attempt in range(len(expected) + 10):
        disturbs = attempt < chance.choice((1, 1, 2, 3))
        code, was_hit = _disturb(folder, mark, way, chance) if disturbs else _run_through(folder, mark)
        hits += was_hit
        # where all are killed at once there is nothing that could end what a layer has started
        if left := [name for name in _find_left(mark) if way[1] != "all" or "sleep" not in name]:
            faults.append(f"left over: {', '.join(left)}")
        records = read_journal(folder) if (folder / JOURNAL_NAME).exists() else []
        keys = [record.key for record in records]
        if keys[: len(before)] != before:
            faults.append("what was measured is lost")
        if keys != expected[: len(keys)]:
            faults.append("a record is missing, doubled or out of place")
        crashed = sum(record.status != "ok" for record in records)
        if crashed > hits or (crashed and way[1] not in ("worker", "keeper", "group", "all")):
            faults.append(f"{crashed} records say that the worker crashed")
        before = keys
        if code is None:
            faults.append("it did not end")
        elif code not in _list_codes(way):
            faults.append(f"it ended with {code}")
        if faults or (code == 0 and len(keys) == len(expected)):
            break
    else:
        faults.append("it is never complete")
    return Outcome(way=way, hits=hits, faults=tuple(faults))


def _list_codes(way: tuple[str, str]) -> tuple[int, ...]:
    """List the exit codes that a run may have; at its very beginning and end, signals do what they always do."""
    number = getattr(signal, way[0])
    return (0, 3, -number, 128 + number, *((1,) if number == signal.SIGINT else ()))


def _start(folder: Path, mark: str, limit: int) -> BaseProcess:
    process = _FORKS.Process(target=_measure, args=(folder, mark, limit), daemon=True)
    process.start()
    return process


def _run_through(folder: Path, mark: str) -> tuple[int | None, bool]:
    process = _start(folder, mark, _WITHOUT_END)
    process.join(_LONGEST_S)
    return process.exitcode, False


def _disturb(folder: Path, mark: str, way: tuple[str, str], chance: random.Random) -> tuple[int | None, bool]:
    """Run it, and do what the trial does to it at a random moment."""
    size = _read_size(folder)
    limit = size + chance.randint(1, 6 * _RECORD_BYTES)
    is_within_write = way[1] == "within a write"
    process = _start(folder, mark, limit if is_within_write else _WITHOUT_END)
    assert process.pid is not None
    if is_within_write or chance.random() < 0.6:
        while process.is_alive() and _read_size(folder) < limit:
            process.join(_POLL_S)
    else:
        process.join(chance.uniform(0, _MOST_MOMENT_S))
    was_hit = _send(process.pid, way, chance)
    process.join(_LONGEST_S)
    if process.exitcode is None:
        for left in psutil.Process(process.pid).children(recursive=True):
            left.kill()
        process.kill()
        return None, was_hit
    return process.exitcode, was_hit


def _read_size(folder: Path) -> int:
    try:
        return (folder / JOURNAL_NAME).stat().st_size
    except FileNotFoundError:
        return 0


def _send(parent: int, way: tuple[str, str], chance: random.Random) -> bool:
    number = getattr(signal, way[0])
    try:
        below = psutil.Process(parent).children(recursive=True)
        keepers = [process for process in below if any(word.endswith("keeper.py") for word in process.cmdline())]
        workers = [process for process in below if _TrialWorker.MODULE in process.cmdline()]
        targets = {"keeper": keepers, "worker": workers, "group": workers, "all": [*workers, *keepers]}
        pids = [process.pid for process in targets.get(way[1], [])]
        if way[1] in ("parent", "within a write", "all"):
            # all at once, or the first would have ended the others
            pids = [parent, *pids]
        if way[1] == "group" and pids and (group := os.getpgid(pids[0])) != os.getpgid(0):
            os.killpg(group, number)
        else:
            for pid in pids:
                os.kill(pid, number)
        if number == signal.SIGSTOP and pids:
            time.sleep(chance.uniform(0, _STOPPED_S))
            os.kill(pids[0], signal.SIGCONT)
    except (psutil.Error, ProcessLookupError):
        return False  # it was quicker
    return bool(pids)


def _find_left(mark: str) -> list[str]:
    """Find what a trial left running, a few seconds after its end."""
    deadline = time.monotonic() + _LONGEST_LEFT_S
    while True:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        if not found or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    names = []
    for process in found:
        with suppress(psutil.Error):
            names.append(" ".join(process.cmdline())[-80:])
            process.kill()
    return names


def main() -> int:
    """Run the command.

    Returns
    -------
    int
        1 where a trial has a fault.
    """
    parser = argparse.ArgumentParser("python -m bench.kill_trials", description=f"{__doc__}".split(":")[0])
    parser.add_argument("--trials", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    given = parser.parse_args()
    hits = faulty = 0
    for seed in range(given.seed, given.seed + given.trials):
        with tempfile.TemporaryDirectory(prefix="kill-trial-") as folder:
            outcome = run_trial(seed, Path(folder))
        hits += outcome.hits
        faulty += bool(outcome.faults)
        if outcome.faults or seed % 20 == 19:
            print(f"{seed}: {' to '.join(outcome.way)}: {'; '.join(outcome.faults) or 'well'}", flush=True)
    print(f"{given.trials} trials, {hits} hits, {faulty} with faults")
    return int(faulty > 0)


if __name__ == "__main__":
    sys.exit(main())
