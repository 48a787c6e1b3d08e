from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deconvbench.engine import Outcome, Progress, run_plan
from deconvbench.errors import SurroundingsError
from deconvbench.journal import Journal
from deconvbench.plan import Plan, list_jobs
from deconvbench.record import Record
from deconvbench.run_folder import JOURNAL_NAME
from deconvbench.worker import MeasuringProcess, R, WorkerOptions
from tests.builders import make_grid, make_plan


class Clock:
    """Seconds that pass only when something takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeWorker:
    """Fills jobs in without measuring; dies or raises at the jobs it is told to."""

    def __init__(self, clock: Clock, accidents: dict[int, str], counter: list[int]) -> None:
        self.alive = True
        self.killed = False
        self._clock = clock
        self._accidents = accidents
        self._counter = counter

    def measure(self, job: R, timeout_s: float) -> R:
        assert self.alive
        number = self._counter[0]
        self._counter[0] += 1
        self._clock.now += 2.0
        match self._accidents.get(number):
            case "interrupt":
                raise KeyboardInterrupt
            case str(status):
                self.alive = False
                return replace(job, status=status, message="died", total_s=2.0)
        done = replace(job, status="ok", message="", total_s=2.0)
        if isinstance(done, Record):
            done = replace(done, latency_pass_s=1.0, memory_pass_s=0.5)
        return done

    def kill(self) -> None:
        self.killed = True


class Setting:
    """A plan, a clock and the workers that were started."""

    def __init__(self, plan: Plan | None = None, accidents: dict[int, str] | None = None) -> None:
        self.plan = plan or make_plan()
        self.accidents = accidents or {}
        self.clock = Clock()
        self.counter = [0]
        self.workers: list[FakeWorker] = []
        self.options: list[WorkerOptions] = []
        self.progress: list[Progress] = []

    def start(self, options: WorkerOptions) -> MeasuringProcess:
        self.clock.now += 3.0
        self.options.append(options)
        self.workers.append(FakeWorker(self.clock, self.accidents, self.counter))
        return self.workers[-1]

    def run(self, folder: Path, observer: Callable[[Progress], None] | None = None) -> Outcome:
        return run_plan(
            self.plan,
            folder,
            observer=observer or self.progress.append,
            start_worker=self.start,
            clock=self.clock,
        )


def read_keys(folder: Path) -> list[tuple[object, ...]]:
    with Journal(folder) as journal:
        return [record.key for record in journal.records]


def test_every_job_is_measured_once_in_the_planned_order(tmp_path: Path) -> None:
    setting = Setting()
    setting.run(tmp_path)
    assert read_keys(tmp_path) == [job.key for batch in list_jobs(setting.plan) for job in batch]


def test_each_replicate_has_a_process_of_its_own(tmp_path: Path) -> None:
    setting = Setting()
    setting.run(tmp_path)
    assert len(setting.workers) == 3  # quality and numerics, two replicates
    assert all(worker.killed for worker in setting.workers)


def test_workers_are_told_what_the_plan_says(tmp_path: Path) -> None:
    setting = Setting(make_plan(make_grid(time_cap_s=0.25), upsamplers=("a.b:c",)))
    setting.run(tmp_path)
    assert setting.options[0].upsamplers == ("a.b:c",)
    assert dict(setting.options[0].policy) == {"time_cap_s": 0.25}
    assert setting.options[0].log == tmp_path / "worker.log"


def test_a_dead_worker_is_replaced_and_the_replicate_says_so(tmp_path: Path) -> None:
    setting = Setting(accidents={3: "crashed"})  # the second case of replicate 0
    outcome = setting.run(tmp_path)
    cases = [record for record in outcome.records if isinstance(record, Record)]
    assert [record.status for record in cases] == ["ok", "crashed", "ok", "ok", "ok", "ok"]
    assert [record.process_index for record in cases] == [0, 0, 1, 0, 0, 0]
    assert len(setting.workers) == 4


def test_progress_counts_to_the_end_and_time_left_falls_to_nothing(tmp_path: Path) -> None:
    setting = Setting()
    setting.run(tmp_path)
    assert [(step.done, step.total) for step in setting.progress] == [(n + 1, 8) for n in range(8)]
    assert setting.progress[2].remaining_s == pytest.approx(5 * 2.0)
    assert setting.progress[-1].remaining_s == 0


def test_share_of_measuring_leaves_start_up_out(tmp_path: Path) -> None:
    outcome = Setting().run(tmp_path)
    # 8 jobs take 2 s each, of which the 6 cases measure for 1.5 s; three starts of 3 s do not count
    assert outcome.measuring_share == pytest.approx(6 * 1.5 / 16)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    setting = Setting(accidents={4: "interrupt"})
    with pytest.raises(KeyboardInterrupt):
        setting.run(tmp_path)
    assert setting.workers[-1].killed
    assert len(read_keys(tmp_path)) == 4

    setting.accidents = {}
    outcome = setting.run(tmp_path)
    assert read_keys(tmp_path) == [job.key for batch in list_jobs(setting.plan) for job in batch]
    cases = [record for record in outcome.records if isinstance(record, Record)]
    assert [record.process_index for record in cases] == [0, 0, 1, 0, 0, 0]
    assert (setting.progress[-1].done, setting.progress[-1].total) == (8, 8)


def test_a_finished_run_starts_nothing(tmp_path: Path) -> None:
    setting = Setting()
    setting.run(tmp_path)
    again = Setting()
    assert again.run(tmp_path).measuring_share is None
    assert again.workers == []


def test_a_case_is_on_disk_before_the_next_one_starts(tmp_path: Path) -> None:
    setting = Setting()
    lines: list[int] = []

    def count(progress: Progress) -> None:
        lines.append((tmp_path / JOURNAL_NAME).read_bytes().count(b"\n"))

    setting.run(tmp_path, count)
    assert lines == list(range(1, 9))


def test_a_full_disk_ends_the_run_and_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Journal, record: object) -> None:
        raise SurroundingsError("the disk is full")

    monkeypatch.setattr(Journal, "append", refuse)
    setting = Setting()
    with pytest.raises(SurroundingsError):
        setting.run(tmp_path)
    assert setting.workers[-1].killed
