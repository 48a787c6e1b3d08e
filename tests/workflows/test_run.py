"""The main job as Python calls it: choices become a plan, a run becomes a folder, an outcome becomes words."""

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

import deconvbench
from deconvbench.errors import UsageError
from deconvbench.progress import JobDone
from deconvbench.records.record import Latency, Record
from deconvbench.runner import folder as run_folders
from deconvbench.runner.conditions import choose_policy
from deconvbench.runner.engine import RunOutcome
from deconvbench.runner.plan import Plan
from deconvbench.upsamplers import register_upsampler, registry
from deconvbench.upsamplers.sources import identify_sources
from deconvbench.workflows import run as workflow
from deconvbench.workflows.run import make_run_folder, resume_plan, summarise_outcome
from deconvbench.workflows.selection import Selection, make_plan
from tests.builders import make_case, make_grid, make_record
from tests.builders import make_plan as make_small_plan
from tests.faulty_upsamplers import Sound
from tests.made_speedups import make_speedup_record


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


def test_settings_of_an_absent_device_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    plan = make_small_plan(settings=(make_case(device="xpu:7"),))
    with pytest.raises(UsageError, match="xpu:7"):
        workflow.start_folder(plan, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_outcome_counts_what_was_timed_interleaved() -> None:
    records = (make_record(), make_speedup_record(make_case()), make_speedup_record(make_case(), status="error"))
    text = summarise_outcome(make_small_plan(), RunOutcome(records=records, measuring_share=None))
    assert text.startswith("1 records: 1 ok; 2 settings with interleaved timing: 1 ok, 1 error")


def test_folders_are_named_after_time_and_grid_and_never_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Stopped":
            return cls(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    monkeypatch.setattr(run_folders, "datetime", Stopped)
    plan = make_small_plan()
    first = make_run_folder(plan, tmp_path)
    assert first == tmp_path / "runs" / "20260102T030405Z-test"
    assert make_run_folder(plan, tmp_path).name == "20260102T030405Z-test-2"


@pytest.mark.slow
def test_run_and_load(tmp_path: Path) -> None:
    grid = make_grid(axes={"height": [4]}, replicates=1, time_cap_s=0.01)
    seen: list[JobDone] = []
    folder = deconvbench.run(grid, out=tmp_path / "run", seed=3, observer=seen.append)
    table = deconvbench.load(folder)
    assert list(table["case_id"]) == ["nearest_conv-k3-s2-c4x4-4x4"]
    assert list(table["status"]) == ["ok"]
    assert len(seen) == 3
    joined = deconvbench.join_tradeoff(table)
    assert list(joined["on_frontier"]) == [True]


def test_run_takes_presets_and_files_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plans: list[Plan] = []

    def start(plan: Plan, out: Path | None, force: bool) -> Path:
        plans.append(plan)
        return tmp_path

    monkeypatch.setattr(workflow, "start_folder", start)
    monkeypatch.setattr(workflow, "measure", lambda plan, folder, observer: None)
    file = tmp_path / "mine.toml"
    file.write_text("[axes]\nupsampler='subpixel'\nkernel_size=3\nscale_factor=2\nin_channels=4\nheight=8\n")
    assert deconvbench.run("smoke", keyword="subpixel") == tmp_path
    deconvbench.run(file)
    deconvbench.run(make_grid(), conditions="system")
    assert [plan.grid.name for plan in plans] == ["smoke", "mine", "test"]
    assert [plan.conditions for plan in plans] == [choose_policy(None), choose_policy(None), "system"]
    assert {case.upsampler for case in plans[0].cases} == {"subpixel_icnr"}
    with pytest.raises(UsageError, match="'no' is not one of"):
        deconvbench.run("no")
    with pytest.raises(UsageError, match="^conditions: 'no' is not one of settled, system$"):
        deconvbench.run("smoke", conditions="no")


def test_resume_takes_everything_from_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = make_small_plan(upsamplers=("tests.faulty_upsamplers:Sound",))
    folder = workflow.start_folder(plan, None)
    (folder / "journal.jsonl").touch()
    # earlier versions recorded no digests; from now on there are
    known = replace(plan, upsampler_digests=identify_sources(plan.upsamplers))
    assert resume_plan(None, Selection()) == (known, folder)
    assert "sound" in registry._REGISTRY
    with pytest.raises(UsageError, match="give none of them"):
        resume_plan(folder, Selection(seed=1))


def test_resume_with_another_file_of_the_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = ("tests.faulty_upsamplers:Sound",)
    folder = workflow.start_folder(make_small_plan(upsamplers=source, upsampler_digests=("0" * 12,)), None)
    before = (folder / "run.json").read_bytes()
    with pytest.raises(
        UsageError, match=r"^--resume: .*tests\.faulty_upsamplers:Sound had source 0+, has \w+ in /.*\.py"
    ):
        resume_plan(folder, Selection())
    assert (folder / "run.json").read_bytes() == before
    plan, _ = resume_plan(folder, Selection(), anyway=True)
    assert plan.upsampler_digests == identify_sources(source)


def make_timed(replicate: int, median_s: float, noise: str = "") -> Record:
    latency = Latency(
        samples_s=(median_s,) * 10, calls_per_sample=1, first_call_s=median_s, stop_reason="precision"
    )
    case = make_small_plan().cases[0]
    return make_record(case=case, replicate=replicate, latency=latency, noisy=bool(noise), noise_reason=noise)


def test_an_outcome_is_told_in_words() -> None:
    plan = make_small_plan()
    records = (
        make_timed(0, 1.0),
        make_timed(1, 1.0, "load 9.0 on 2 cores"),
        make_record(status="oom", message="too large"),
    )
    text = summarise_outcome(plan, RunOutcome(records=records, measuring_share=0.9))
    assert text.splitlines() == [
        "3 records: 2 ok, 1 oom; 90% of the time after start-up went into latency and memory passes",
        "noisy: nearest_conv-k3-s2-c4x4-4x4: replicate 1: load 9.0 on 2 cores",
    ]
    assert summarise_outcome(plan, RunOutcome(records=(), measuring_share=None)) == "0 records: "


def test_cells_that_stayed_imprecise_are_named() -> None:
    plan = replace(make_small_plan(), precision=0.02)
    records = (make_timed(0, 1.0), make_timed(1, 1.5))
    text = summarise_outcome(plan, RunOutcome(records=records, measuring_share=None))
    assert text.splitlines()[1] == "still wider than ±2.0%: nearest_conv-k3-s2-c4x4-4x4"


def test_a_long_list_is_cut_short() -> None:
    plan = make_small_plan(make_grid(axes={"height": list(range(1, 13))}))
    records = tuple(make_record(case=case, noisy=True, noise_reason="load") for case in plan.cases)
    lines = summarise_outcome(plan, RunOutcome(records=records, measuring_share=None)).splitlines()
    assert len(lines) == 1 + 8 + 1
    assert lines[-1] == "and 4 more, all marked in table and report"


def test_workers_are_told_where_a_script_registered_its_upsamplers(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ModuleType("their_script")
    monkeypatch.setitem(sys.modules, "their_script", script)
    vars(script).update(register_upsampler=register_upsampler, Sound=Sound)
    exec("register_upsampler('theirs')(Sound)", vars(script))
    selection = Selection(preset="smoke", settings=("upsampler=theirs,nearest_conv",))
    assert make_plan(selection).upsamplers == ("their_script:Sound",)
    register_upsampler("local")(lambda c_in, c_out, k, s: Sound(c_out, c_in, k, s))
    with pytest.raises(UsageError, match="'local' is .*<lambda>, registered in .*; write it at the top level"):
        make_plan(replace(selection, settings=("upsampler=local",)))


@pytest.mark.slow
def test_a_run_stays_in_its_folder_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    grid = make_grid(axes={"height": [4]}, replicates=1, time_cap_s=0.01)
    deconvbench.run(grid, out="run", observer=lambda _: os.chdir(tmp_path / "there"))
    assert (tmp_path / "here" / "run" / "table.csv").exists()
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize("out", ["", " ", "a\0b", "x" * 300, 3], ids=ascii)
def test_a_folder_that_cannot_be_one_is_refused(out: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="^out: "):
        deconvbench.run(make_grid(), out=out)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_of_others_is_taken_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "measure", lambda plan, folder, observer: None)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        deconvbench.run(make_grid(), out=tmp_path)
    assert deconvbench.run(make_grid(), out=tmp_path, force=True) == tmp_path
    # early versions of filelock take the lock's file away again
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"notes.txt", "run.json"}
