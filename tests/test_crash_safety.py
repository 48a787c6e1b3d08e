"""Runs cannot be lost: killed at any moment, they go on where they were and end as if nothing had happened."""

import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deconvbench.records.record import AnyRecord, Record
from deconvbench.records.run_folder import JOURNAL_NAME, read_journal, read_run_info
from deconvbench.runner.plan import Plan, list_jobs
from deconvbench.tables.files import load
from tests.builders import make_grid, make_plan
from tests.noop_run import FORKS, measure
from tests.processes import have_ended, watch_workers

pytestmark = pytest.mark.process

if sys.platform != "linux":
    pytest.skip("needs /proc and process descriptors", allow_module_level=True)

POLL_S = 0.0005
RECORD_BYTES = 800  # about; a run is killed every two records or so
WITHOUT_END = 2**62


def read_size(folder: Path) -> int:
    try:
        return (folder / JOURNAL_NAME).stat().st_size
    except FileNotFoundError:
        return 0


def run_until(plan: Plan, folder: Path, is_moment: Callable[[int], bool], limit: int) -> bool:
    """Start or resume a run and kill its group when the journal's length says so; True if it ended by itself."""
    process = FORKS.Process(target=measure, args=(plan, folder, limit), daemon=True)
    process.start()
    assert process.pid is not None
    while process.is_alive() and not is_moment(read_size(folder)):
        process.join(POLL_S)
    with suppress(ProcessLookupError):  # it came to its end
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


def choose_moment(chance: random.Random, size: int) -> tuple[Callable[[int], bool], int]:
    """Choose when to kill a run whose journal is `size` long, and the length at which it waits for that."""
    limit = size + chance.randint(1, 3 * RECORD_BYTES)
    match chance.choice(["held", "running", "recovering"]):
        case "held":  # at this very byte, be it within a line or between two
            return lambda now: now >= limit, limit
        case "running":  # wherever it is when we notice
            target = chance.randint(size + 1, limit)
            return lambda now: now >= target, limit
        case _:  # as soon as it touched the journal, be it to cut a torn line off
            return lambda now: now != size, limit


def read_keys(folder: Path) -> list[tuple[Any, ...]]:
    return [record.key for record in read_journal(folder)]


def check_process_indexes(records: Sequence[AnyRecord], boundaries: set[int]) -> None:
    """Within a replicate the index grows by one where the run was killed in between, and nowhere else."""
    for number in range(1, len(records)):
        before, after = records[number - 1], records[number]
        if isinstance(after, Record):
            if isinstance(before, Record) and before.replicate == after.replicate:
                assert after.process_index - before.process_index == (number in boundaries)
            else:
                assert after.process_index == 0


HEIGHTS = {"height": list(range(1, 41))}
# ten groups of four, one of which is what the others are compared with
GROUPS = {
    "upsampler": ["nearest_conv", "transposed", "subpixel", "bilinear_conv"],
    "height": list(range(1, 11)),
}
PLANS = {
    "planned replicates": make_plan(make_grid(axes=HEIGHTS, replicates=3)),
    "further replicates for precision": make_plan(make_grid(axes=HEIGHTS, replicates=2), precision=0.03),
    "groups": make_plan(make_grid(axes=GROUPS, replicates=3)),
    "groups with another baseline": make_plan(make_grid(axes=GROUPS, replicates=3), baseline=("carafe", 3)),
    "further replicates of groups": make_plan(make_grid(axes=GROUPS, replicates=2), precision=0.03),
}


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_killed_at_random_moments_nothing_is_lost_or_repeated(plan: Plan, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_until(plan, whole, lambda size: False, WITHOUT_END)
    expected = read_keys(whole)
    planned = sum(len(batch) for batch in list_jobs(plan))
    assert (len(expected) > planned) == (plan.precision is not None)

    chance = random.Random(20260101)
    boundaries: list[int] = []
    torn = 0
    while not run_until(plan, killed, *choose_moment(chance, read_size(killed))):
        keys = read_keys(killed) if read_size(killed) else []
        assert keys == expected[: len(keys)]
        assert len(keys) >= max(boundaries, default=0)
        boundaries.append(len(keys))
        torn += not (killed / JOURNAL_NAME).read_bytes().endswith(b"\n")

    assert len(boundaries) >= 25
    assert torn >= 5
    assert len(read_run_info(killed)["resumed"]) == len(boundaries)
    assert read_keys(killed) == expected
    records, undisturbed = read_journal(killed), read_journal(whole)
    assert [r.order for r in records if isinstance(r, Record)] == [
        r.order for r in undisturbed if isinstance(r, Record)
    ]
    check_process_indexes(records, set(boundaries))
    for record, other in zip(records, undisturbed, strict=True):
        if isinstance(record, Record) and isinstance(other, Record):
            # whether its baseline was measured in the same process, or before it was killed
            assert record.baseline_id == other.baseline_id
            assert record.ratios == other.ratios != ()
    table = load(killed)
    assert not table.duplicated(["case_id", "replicate"]).any()
    columns = ["case_id", "replicate", "order", "status", "latency_s"]
    assert table[columns].equals(load(whole)[columns])


COMMAND = [sys.executable, "-m", "deconvbench", "run"]
# artifacts and rounding error are three records; then there are cases left for some seconds
SIZES = ["--set", "height=4,6,8,10,12", "--set", "step=forward"]
CHOICE = ["--preset", "smoke", "-k", "nearest", *SIZES, "--replicates", "4", "--seed", "1"]


def start(*words: str) -> "subprocess.Popen[str]":
    """Start the command line in a process group of its own."""
    pipe = subprocess.PIPE
    # a shell's background jobs ignore Ctrl-C, and so would their children
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen([*COMMAND, *words], stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_records(process: "subprocess.Popen[str]", folder: Path, count: int) -> None:
    while read_size(folder) == 0 or len(read_keys(folder)) < count:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
            pytest.fail(f"the run ended early: {process.communicate()}")


def check_complete(folder: Path) -> None:
    """Everything planned stands in the journal once and in order, and in the tables."""
    plan = Plan.from_dict(read_run_info(folder))
    assert read_keys(folder) == [job.key for batch in list_jobs(plan) for job in batch]
    assert set(load(folder)["status"]) == {"ok"}
    assert (folder / "table.csv").read_text().count("\n") == 1 + len(plan.cases) * plan.grid.replicates


@pytest.mark.slow
def test_a_real_run_that_is_killed_leaves_no_worker_and_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with start(*CHOICE, "--out", str(folder)) as process:
        wait_for_records(process, folder, 4)
        with watch_workers(process.pid) as workers:
            os.killpg(process.pid, signal.SIGKILL)
            assert len(workers) == 1
            assert have_ended(workers)
    before = read_keys(folder)
    assert len(before) >= 4
    assert read_run_info(folder)["finished_at"] is None

    with start("--resume", "--out", str(folder)) as process:
        out, err = process.communicate()
    assert (process.returncode, out) == (0, f"{folder}\n"), err
    assert read_keys(folder)[: len(before)] == before
    check_complete(folder)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_and_the_like_keep_everything_and_say_how_to_go_on(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "a  run; with $(words)"
    with start(*CHOICE, "--out", str(folder)) as process:
        wait_for_records(process, folder, 4)
        with watch_workers(process.pid) as workers:
            process.send_signal(number)
            out, err = process.communicate()
            assert len(workers) == 1
            assert have_ended(workers)
    assert (process.returncode, out) == (128 + number, "")
    last = err.splitlines()[-1]
    assert last.startswith(
        "deconvbench: interrupted; everything measured is kept. Continue with: deconvbench run "
    )
    assert "Traceback" not in err
    before = read_keys(folder)
    assert len(before) >= 4

    words = shlex.split(last.partition("Continue with: deconvbench run ")[2])
    with start(*words) as process:
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert read_keys(folder)[: len(before)] == before
    check_complete(folder)
