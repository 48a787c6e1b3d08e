import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deconvbench.errors import SurroundingsError
from deconvbench.progress import JobDone
from deconvbench.records.journal import Journal
from deconvbench.records.record import Latency, Record, SpeedupRecord
from deconvbench.records.run_folder import JOURNAL_NAME
from deconvbench.runner import engine
from deconvbench.runner.engine import REFINEMENT_LIMIT, PlannedRun, RunOutcome, run_plan, run_tasks
from deconvbench.runner.messages import Breakdown
from deconvbench.runner.plan import Plan, list_jobs
from deconvbench.runner.precision import list_imprecise
from deconvbench.runner.worker import MeasuringProcess, R, WorkerError, WorkerOptions
from tests.builders import make_case, make_grid, make_plan, make_record, make_speedup_grid


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
        self.latencies: dict[int, list[float]] = {}
        self._clock = clock
        self._accidents = accidents
        self._counter = counter

    def measure(self, job: R, timeout_s: float) -> R:
        if status := self._count():
            return replace(job, status=status, message="died", total_s=2.0)
        done = replace(job, status="ok", message="", total_s=2.0)
        return replace(done, measuring_s=1.0) if isinstance(done, SpeedupRecord) else done

    def measure_together(self, jobs: Sequence[Record], timeout_s: float) -> list[Record] | Breakdown:
        for job in jobs:
            if status := self._count():
                return Breakdown(
                    status=status, message="died", suspect=job.case.case_id, is_fatal=True, total_s=2.0
                )
        return [self._fill(job, jobs) for job in jobs]

    def _fill(self, job: Record, jobs: Sequence[Record]) -> Record:
        done = replace(job, status="ok", message="", total_s=2.0, latency_pass_s=1.0, memory_pass_s=0.5)
        if any(other.case.case_id == job.baseline_id for other in jobs):
            done = replace(done, ratios=(1.0,))
        if self.latencies:
            median = self.latencies[done.case.height][done.replicate]
            latency = Latency(samples_s=(median,), calls_per_sample=1, first_call_s=1, stop_reason="precision")
            done = replace(done, latency=latency)
        return done

    def _count(self) -> str | None:
        """Let a job's time pass, and say what becomes of it, if not what should."""
        assert self.alive
        number = self._counter[0]
        self._counter[0] += 1
        self._clock.now += 2.0
        status = self._accidents.get(number)
        if status == "interrupt":
            raise KeyboardInterrupt
        self.alive = status is None
        return status

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
        self.progress: list[JobDone] = []

    def start(self, options: WorkerOptions) -> MeasuringProcess:
        self.clock.now += 3.0
        self.options.append(options)
        self.workers.append(FakeWorker(self.clock, self.accidents, self.counter))
        return self.workers[-1]

    def run(self, folder: Path, observer: Callable[[JobDone], None] | None = None) -> RunOutcome:
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
    assert setting.progress[0].remaining_s is None  # one of eight tells nothing
    # by the first case, with what it takes of those beside it
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

    def count(progress: JobDone) -> None:
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


@pytest.mark.parametrize("policy", ["settled", "system"])
def test_workers_are_started_under_the_conditions_of_the_plan(tmp_path: Path, policy: str) -> None:
    setting = Setting(make_plan(conditions=policy))
    setting.run(tmp_path)
    assert {options.conditions for options in setting.options} == {policy}


def test_tasks_are_interleaved_replicate_by_replicate(tmp_path: Path) -> None:
    setting = Setting(make_plan(make_grid(replicates=4)))
    tasks = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        options = WorkerOptions(policy=(("relative_precision", 0.5),), code_version=name)
        tasks.append(PlannedRun(plan=setting.plan, folder=tmp_path / name, options=options))
    first, second = run_tasks(
        tasks, observer=setting.progress.append, start_worker=setting.start, clock=setting.clock
    )
    # the artifacts of each, then four replicates
    assert [options.code_version for options in setting.options] == list("abbaabbaab")
    assert all(options.log == tmp_path / str(options.code_version) / "worker.log" for options in setting.options)
    assert dict(setting.options[0].policy) == {"time_cap_s": 1.0, "relative_precision": 0.5}
    for outcome in (first, second):
        keys = [record.key for record in outcome.records]
        assert keys == [job.key for batch in list_jobs(setting.plan) for job in batch]
    assert [(step.done, step.total) for step in setting.progress] == [(n + 1, 28) for n in range(28)]


def test_tasks_of_different_lengths_each_come_to_their_end(tmp_path: Path) -> None:
    tasks = []
    for name, replicates in (("short", 1), ("long", 3)):
        (tmp_path / name).mkdir()
        plan = make_plan(make_grid(replicates=replicates))
        tasks.append(PlannedRun(plan=plan, folder=tmp_path / name, options=WorkerOptions(code_version=name)))
    setting = Setting()
    outcomes = run_tasks(tasks, start_worker=setting.start, clock=setting.clock)
    for task, outcome in zip(tasks, outcomes, strict=True):
        assert len(outcome.records) == sum(len(batch) for batch in list_jobs(task.plan))
    order = [options.code_version for options in setting.options]
    assert order == ["short", "long", "long", "short", "long", "long"]


def test_folders_are_finished_while_they_are_still_held(tmp_path: Path) -> None:
    setting = Setting()
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    seen: list[tuple[Path, int]] = []

    def finish(folder: Path, outcome: RunOutcome) -> None:
        seen.append((folder, len(outcome.records)))
        for each in folders:
            with pytest.raises(SurroundingsError, match="another run is writing this folder"):
                Journal(each)

    tasks = [PlannedRun(plan=setting.plan, folder=folder) for folder in folders]
    outcomes = run_tasks(tasks, finish=finish, start_worker=setting.start, clock=setting.clock)
    assert seen == [(folder, len(outcome.records)) for folder, outcome in zip(folders, outcomes, strict=True)]


def test_a_folder_that_was_moved_away_is_not_finished(tmp_path: Path) -> None:
    setting = Setting()
    (tmp_path / "run").mkdir()
    total = sum(map(len, list_jobs(setting.plan)))

    def move(progress: JobDone) -> None:
        if progress.done == total:
            (tmp_path / "run").rename(tmp_path / "moved")

    with pytest.raises(SurroundingsError, match="it was removed, moved or replaced"):
        run_plan(
            setting.plan, tmp_path / "run", observer=move, finish=lambda *_: pytest.fail("finished"),
            start_worker=setting.start, clock=setting.clock,
        )  # fmt: skip


def test_two_tasks_cannot_share_a_folder(tmp_path: Path) -> None:
    setting = Setting()
    with pytest.raises(SurroundingsError, match="another run is writing this folder"):
        run_tasks([PlannedRun(plan=setting.plan, folder=tmp_path)] * 2, start_worker=setting.start)
    assert setting.workers == []
    setting.run(tmp_path)  # and it is free again


@pytest.mark.parametrize("moment", [3, 6, 9, 13])
def test_speedups_resume_as_if_nothing_had_happened(tmp_path: Path, moment: int) -> None:
    setting = Setting(make_plan(make_speedup_grid()), accidents={moment: "interrupt"})
    planned = [job.key for batch in list_jobs(setting.plan) for job in batch]
    assert len(planned) == 2 + 2 * (1 + 6)
    with pytest.raises(KeyboardInterrupt):
        setting.run(tmp_path)
    assert read_keys(tmp_path) == planned[:moment]
    setting.accidents = {}
    outcome = setting.run(tmp_path)
    assert read_keys(tmp_path) == planned
    assert all(isinstance(r, SpeedupRecord) or r.KIND != "speedup" for r in outcome.records)


def test_speedups_count_as_measuring_and_are_guessed_at_until_one_was_measured(tmp_path: Path) -> None:
    setting = Setting(make_plan(make_speedup_grid()))
    outcome = setting.run(tmp_path)
    # 2 cases measure for 1.5 s, 12 speed-ups for 1 s, of 16 jobs of 2 s
    assert outcome.measuring_share == pytest.approx((2 * 1.5 + 12 * 1.0) / 32)
    # after two jobs of other kinds and a case: the other case, and twelve speed-ups, which are guessed at
    left_s = setting.progress[2].remaining_s
    assert left_s is not None
    assert left_s > 2.0 + 12 * 1.0
    # two sizes, which differ by next to nothing
    assert setting.progress[3].remaining_s == pytest.approx(12 * 2.0, rel=1e-3)


# seconds by height and replicate: one case that repeats, one that wanders, and one that settles in the third pass
NARROW = [1.0, 1.001, 0.999, 1.0, 1.001, 0.999]
WIDE = [1.0, 1.5, 0.7, 1.4, 0.8, 1.1]


class PreciseSetting(Setting):
    """Workers whose latencies come from a list."""

    def __init__(self, latencies: dict[int, list[float]], interrupt_at: int | None = None, **plan: object) -> None:
        grid = make_grid(axes={"height": list(latencies)})
        accidents = {} if interrupt_at is None else {interrupt_at: "interrupt"}
        super().__init__(make_plan(grid, **{"precision": 0.05, **plan}), accidents)
        self.latencies = latencies

    def start(self, options: WorkerOptions) -> MeasuringProcess:
        super().start(options)
        self.workers[-1].latencies = self.latencies
        return self.workers[-1]


def count_replicates(folder: Path) -> dict[int, list[int]]:
    with Journal(folder) as journal:
        cases = [record for record in journal.records if isinstance(record, Record)]
    heights = sorted({record.case.height for record in cases})
    return {height: [r.replicate for r in cases if r.case.height == height] for height in heights}


def test_further_replicates_go_to_wide_cases_and_end_at_the_limit(tmp_path: Path) -> None:
    setting = PreciseSetting({height: WIDE if height == 8 else NARROW for height in range(4, 14)})
    setting.run(tmp_path)
    counts = count_replicates(tmp_path)
    limit = setting.plan.grid.replicates * REFINEMENT_LIMIT
    assert counts.pop(8) == list(range(limit)) == list(range(6))
    assert all(replicates == [0, 1] for replicates in counts.values())


def test_precise_cases_are_measured_as_often_as_planned(tmp_path: Path) -> None:
    PreciseSetting(dict.fromkeys((4, 8, 16), NARROW)).run(tmp_path)
    assert set(map(tuple, count_replicates(tmp_path).values())) == {(0, 1)}


def test_without_a_precision_nothing_is_measured_again(tmp_path: Path) -> None:
    PreciseSetting(dict.fromkeys((4, 8, 16), WIDE), precision=None).run(tmp_path)
    assert set(map(tuple, count_replicates(tmp_path).values())) == {(0, 1)}


def test_progress_stays_consistent_while_the_total_grows(tmp_path: Path) -> None:
    setting = PreciseSetting({4: NARROW, 8: WIDE, 16: WIDE})
    setting.run(tmp_path)
    assert [step.done for step in setting.progress] == list(range(1, len(setting.progress) + 1))
    assert all(step.done <= step.total for step in setting.progress)
    assert all((step.remaining_s or 0) >= 0 for step in setting.progress)
    last = setting.progress[-1]
    assert last.done == last.total == len(read_keys(tmp_path)) > 8
    assert last.remaining_s == 0


# seconds of twenty cases: every other one wanders by a few percent and settles sooner or later, the rest repeat
WANDERING = {
    height: [1 + random.Random(10 * height + i).uniform(-0.05, 0.05) * (1 - 0.99 * (height % 2)) for i in range(6)]
    for height in range(4, 24)
}


@pytest.mark.parametrize("moment", range(1, 24, 2))
def test_further_replicates_resume_as_if_nothing_had_happened(tmp_path: Path, moment: int) -> None:
    (tmp_path / "whole").mkdir()
    whole = PreciseSetting(WANDERING, precision=0.03)
    whole.run(tmp_path / "whole")
    assert len(set(map(len, count_replicates(tmp_path / "whole").values()))) >= 3
    planned = sum(len(batch) for batch in list_jobs(whole.plan))

    (tmp_path / "cut").mkdir()
    with pytest.raises(KeyboardInterrupt):
        PreciseSetting(WANDERING, interrupt_at=planned + moment, precision=0.03).run(tmp_path / "cut")
    resumed = PreciseSetting(WANDERING, precision=0.03)
    resumed.run(tmp_path / "cut")
    # the medians of all cases decide together what is wide, so a decision taken later would be another
    assert read_keys(tmp_path / "cut") == read_keys(tmp_path / "whole")
    assert all(step.done <= step.total for step in resumed.progress)


def test_an_imprecise_case_that_fails_later_is_not_measured_for_ever(tmp_path: Path) -> None:
    setting = PreciseSetting({8: WIDE})
    setting.accidents = dict.fromkeys(range(4, 100), "oom")
    outcome = setting.run(tmp_path)
    assert list_imprecise(setting.plan, outcome.records)
    assert count_replicates(tmp_path) == {8: [0, 1, 2, 3, 4, 5]}


@pytest.mark.parametrize(
    ("statuses", "is_failure"),
    [
        (["error", "crashed"], True),
        (["oom", "unsupported"], True),
        (["error", "ok"], False),
        (["unsupported", "unsupported"], False),
        ([], False),
    ],
    ids=str,
)
def test_a_run_of_which_nothing_was_measured_is_a_failure(statuses: list[str], is_failure: bool) -> None:
    records = tuple(make_record(status=status) for status in statuses)
    assert RunOutcome(records=records, measuring_share=None).is_failure is is_failure


@pytest.mark.parametrize(("upsampler", "count"), [("nearest_conv_native", 1), ("nearest_conv", 0)])
def test_the_layer_that_must_be_compiled_is_compiled_before_any_worker_starts(
    upsampler: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def compile_it() -> str:
        events.append("compiled")
        return "no C compiler"

    def start(options: WorkerOptions) -> Any:
        events.append("started")
        raise WorkerError("seen enough")

    monkeypatch.setattr(engine, "ensure_native", compile_it)
    plan = make_plan(cases=(make_case(upsampler=upsampler),))
    with pytest.raises(WorkerError, match="seen enough"):
        run_plan(plan, tmp_path, start_worker=start)
    assert events == ["compiled"] * count + ["started"]
