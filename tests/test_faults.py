"""Whatever goes wrong becomes a record, or one line and an exit code; what was measured stays."""

import errno
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from deconvbench.__main__ import main
from deconvbench.errors import SurroundingsError
from deconvbench.measure.job import Measuring
from deconvbench.progress import JobDone, describe_record
from deconvbench.records.journal import Journal
from deconvbench.records.record import (
    SCHEMA_VERSION,
    AnyRecord,
    NumericsRecord,
    QualityRecord,
    Record,
    encode_record,
)
from deconvbench.records.run_folder import JOURNAL_NAME, RUN_NAME, read_journal, read_run_info
from deconvbench.runner import batch_process
from deconvbench.runner.engine import PlannedRun, RunOutcome, run_plan, run_tasks
from deconvbench.runner.folder import open_folder, reopen_folder
from deconvbench.runner.plan import Plan, list_jobs
from deconvbench.runner.worker import Worker, WorkerOptions
from deconvbench.runner.worker_main import classify_failure, fill
from deconvbench.tables.files import load
from deconvbench.upsamplers import load_upsampler, register_upsampler, registry
from tests import faulty_upsamplers
from tests.builders import make_case, make_grid, make_plan, make_record
from tests.noop_run import ENVIRONMENT, NoopWorker

pytestmark = pytest.mark.process

TINY = ["--preset", "smoke", "-k", "nearest and 8x8 and not train", "--seed", "1"]


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.fixture
def faulty(own_registry: None) -> None:
    """All that go wrong are registered."""
    for name, found in vars(faulty_upsamplers).items():
        if getattr(found, "__module__", "") == faulty_upsamplers.__name__ and not name.startswith("_"):
            load_upsampler(f"{faulty_upsamplers.__name__}:{name}")


class Disk:
    """A small file system of its own, kept in memory."""

    def __init__(self, where: Path, size: str) -> None:
        self.where = where
        where.mkdir()
        answer = self._call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where))
        if answer.returncode != 0:
            pytest.skip(f"mounting is not permitted here: {answer.stderr.strip()}")

    @staticmethod
    def _call(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def remount(self, options: str) -> None:
        answer = self._call("mount", "-o", f"remount,{options}", str(self.where))
        assert answer.returncode == 0, answer.stderr

    def unmount(self) -> None:
        answer = self._call("umount", str(self.where))
        assert answer.returncode == 0, answer.stderr


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if sys.platform != "linux":
        pytest.skip("needs tmpfs")
    made = Disk(tmp_path / "disk", "64k")
    yield made
    made.unmount()


def run_noop(plan: Plan, folder: Path, observer: Callable[[JobDone], None] = lambda _: None) -> RunOutcome:
    return run_plan(plan, folder, observer=observer, start_worker=NoopWorker)


def read_keys(folder: Path) -> list[tuple[Any, ...]]:
    return [record.key for record in read_journal(folder)]


def list_keys(plan: Plan) -> list[tuple[Any, ...]]:
    return [job.key for batch in list_jobs(plan) for job in batch]


def expect_one_line(capsys: pytest.CaptureFixture[str], words: list[str], code: int, *parts: str) -> str:
    """Run a command line that is refused; its one line holds all parts."""
    capsys.readouterr()
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    complaint = [line for line in err.splitlines() if line.startswith("deconvbench: ")]
    assert len(complaint) == 1
    assert "Traceback" not in err
    for part in parts:
        assert part in complaint[0]
    return err


# what a layer does wrong


def measure_here(job: AnyRecord) -> AnyRecord:
    """Fill a job in as a worker does, without its process."""
    policy = {"time_cap_s": 0.0, "min_time_s": 0.0, "warmup_s": 0.0}
    measuring = Measuring(environment=ENVIRONMENT, policy=policy, measures_memory=False)
    if isinstance(job, Record):
        return measuring.measure_together([job], judge=classify_failure)[0]
    other: AnyRecord = job
    return fill(other, measuring.measure)


def make_layer_job(upsampler: str, kind: str) -> AnyRecord:
    layer: dict[str, Any] = {"upsampler": upsampler, "kernel_size": 3, "scale_factor": 2}
    if kind == "quality":
        return QualityRecord(**layer, seed=0, channels=3, status="error")
    if kind == "numerics":
        given: dict[str, Any] = {"in_channels": 4, "out_channels": 2, "dtype": "float32", "device": "cpu"}
        return NumericsRecord(**layer, **given, status="error")
    return make_record(status="error", case=make_case(upsampler=upsampler, step=kind))


BOTH_STEPS = ("forward", "train")
NUMBERS = ("numerics",)
EVERYWHERE = (*BOTH_STEPS, *NUMBERS)
FAULTS = [
    ("raises_when_called", EVERYWHERE, "ValueError: 4 channels are not enough"),
    ("no_module", EVERYWHERE, "upsampler: 'no_module' built a str, not an nn.Module"),
    (
        "takestwo",
        EVERYWHERE,
        "tests.faulty_upsamplers:TakesTwo takes (channels: int, scale_factor: int) -> None, but is called with"
        " (in_channels, out_channels, kernel_size, scale_factor), in this order",
    ),
    ("has_another_order", EVERYWHERE, "has_another_order takes (scale_factor: int, in_channels: int, "),
    ("raises", EVERYWHERE, "LookupError: no such weights: layer 7"),
    ("returnstuple", BOTH_STEPS, "upsampler 'returnstuple' gave a tuple, expected a tensor"),
    ("returnstuple", NUMBERS, "layer: returned a tuple, not a tensor"),
    ("wrongsize", BOTH_STEPS, "gave shape (1, 2, 16, 15), expected (1, 2, 16, 16): an input of shape (1, 4,"),
    ("wrongsize", NUMBERS, "shape (1, 2, 16, 15) for an input of shape (1, 4, 8, 8); scale_factor 2 asks for"),
    ("wrongchannels", BOTH_STEPS, "gave shape (1, 4, 16, 16), expected (1, 2, 16, 16)"),
    ("threeaxes", BOTH_STEPS, "gave shape (2, 16, 16), expected (1, 2, 16, 16)"),
    ("threeaxes", NUMBERS, "output of shape (2, 16, 16)"),
    ("wrongdtype", BOTH_STEPS, "gave dtype float64, expected that of its input and weights, float32"),
    ("givesnan", BOTH_STEPS, "gave values that are not finite, in float32, for a normal input"),
    ("givesnan", NUMBERS, "its output in float32 is not finite"),
    ("givesinfinity", BOTH_STEPS, "gave values that are not finite, in float32, for a normal input"),
    ("givesinfinity", NUMBERS, "its output in float32 is not finite"),
    ("changesinput", ("forward",), "changes its input in place, so each call sees another one"),
    ("changesinput", ("train",), "changes its input, or a parameter, in place: a leaf Variable"),
    ("changesinput", NUMBERS, "changes its input in place; let it work on a copy"),
    ("alwaysdropsout", NUMBERS, "draws random numbers in evaluation mode, so its output is not a function of"),
    ("detaches", ("train",), "gave an output without a gradient, so the step 'train' has no backward pass"),
    ("forgetsitsinput", ("train",), "gave an output that does not depend on its input for autograd"),
    ("givesnanbackward", ("train",), "gave its input a gradient that is not finite, in float32"),
    ("raisesbackward", ("train",), "ArithmeticError: no way back"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("upsampler", "kind", "message"),
    [
        pytest.param(upsampler, kind, message, id=f"{upsampler}-{kind}")
        for upsampler, kinds, message in FAULTS
        for kind in kinds
    ],
)
@pytest.mark.usefixtures("faulty")
def test_a_fault_is_explained_to_its_author(upsampler: str, kind: str, message: str) -> None:
    record = measure_here(make_layer_job(upsampler, kind))
    assert record.status == "error"
    assert message in record.message
    assert "\n" not in record.message
    # and the terminal says the same
    assert describe_record(record).endswith(f": error: {record.message}")


@pytest.mark.parametrize(
    "upsampler", ["detaches", "forgetsitsinput", "givesnanbackward", "raisesbackward", "alwaysdropsout"]
)
@pytest.mark.usefixtures("faulty")
def test_a_fault_of_training_or_of_the_numbers_leaves_the_forward_step_alone(upsampler: str) -> None:
    record = measure_here(make_layer_job(upsampler, "forward"))
    assert (record.status, record.message) == ("ok", "")


@pytest.mark.usefixtures("faulty")
def test_dropout_is_no_fault_of_training() -> None:
    assert measure_here(make_layer_job("alwaysdropsout", "train")).status == "ok"


@pytest.mark.parametrize(
    ("factory", "declared", "message"),
    [
        (
            faulty_upsamplers.Squares,
            {"linear": True, "shift_equivariant": True},
            "the layer is not linear and shift-equivariant, or reaches further",
        ),
        (
            faulty_upsamplers.AlwaysDropsOut,
            {"linear": True, "shift_equivariant": True},
            "draws random numbers in evaluation mode",
        ),
        (faulty_upsamplers.SquaresUnevenly, {"shift_equivariant": True}, "declares shift_equivariant=True, but"),
        (faulty_upsamplers.Squares, {"linear": True}, "declares linear=True, but a sum of inputs does not give"),
    ],
    ids=["both", "random", "equivariant", "linear"],
)
@pytest.mark.usefixtures("own_registry")
def test_a_false_declaration_stands_in_the_quality_record(
    factory: type[nn.Module], declared: dict[str, bool], message: str
) -> None:
    register_upsampler("claims", **declared)(factory)  # type: ignore[arg-type] # one of several flags
    record = measure_here(make_layer_job("claims", "quality"))
    assert record.status == "error"
    assert message in record.message
    # what it costs is another question, and has an answer
    assert measure_here(make_layer_job("claims", "forward")).status == "ok"


def test_a_layer_that_hangs_when_it_is_built_is_ended_at_its_timeout(tmp_path: Path) -> None:
    options = WorkerOptions(upsamplers=("tests.faulty_upsamplers:HangsWhenBuilt",), log=tmp_path / "worker.log")
    with Worker(options) as worker:
        record = worker.measure(make_layer_job("hangswhenbuilt", "forward"), 0.5)
    assert (record.status, record.message) == ("timeout", "no answer within 0.5 s")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
@pytest.mark.usefixtures("own_registry")
def test_a_run_goes_on_whatever_its_layers_do(tmp_path: Path) -> None:
    faults = {
        "segfaults": "crashed",
        "killedfromoutside": "crashed",
        "hangsbackward": "timeout",
        "raises": "error",
        "exhausts": "oom",
        "talksonthechannel": "crashed",
        "silencesitself": "error",
    }
    kinds = (
        "Sound", "Segfaults", "KilledFromOutside", "HangsBackward", "Raises", "Exhausts", "TalksOnTheChannel",
        "SilencesItself",
    )  # fmt: skip
    paths = tuple(f"tests.faulty_upsamplers:{kind}" for kind in kinds)
    for path in paths:
        load_upsampler(path)
    axes = {"upsampler": ["sound", *faults, "nearest_conv", "subpixel"], "height": [8], "step": ["train"]}
    grid = make_grid(axes=axes, replicates=1, timeout_s=6, time_cap_s=0.01)
    huge = make_case(upsampler="sound", height=16384, width=16384, batch=4, in_channels=4, out_channels=4)
    plan = make_plan(grid, cases=(*grid.expand(), huge), upsamplers=paths)
    options = WorkerOptions(address_space_bytes=6 * 2**30)
    (outcome,) = run_tasks([PlannedRun(plan=plan, folder=tmp_path, options=options)])

    assert [record.key for record in outcome.records] == list_keys(plan)
    cases = [record for record in outcome.records if isinstance(record, Record)]
    found = {record.case.case_id: record.status for record in cases}
    expected = {case.case_id: faults.get(case.upsampler, "ok") for case in grid.expand()}
    assert found == {**expected, huge.case_id: "oom"}
    assert all(record.message for record in cases if record.status != "ok")
    # whatever the others in the group did, the sound ones were timed together, the first being the baseline
    sound = [record for record in cases if record.status == "ok"]
    assert {record.case.upsampler for record in sound} == {"sound", "nearest_conv", "subpixel"}
    assert {record.baseline_id for record in sound} == {sound[0].case.case_id}
    assert len({(record.process_index, len(record.ratios)) for record in sound}) == 1
    assert sound[0].case.upsampler == "sound"
    assert set(sound[0].ratios) == {1.0} != set(sound[1].ratios)


# what the disk does


def test_a_full_disk_names_itself_and_the_run_goes_on_with_more_space(disk: Disk) -> None:
    plan = make_plan(make_grid(axes={"height": list(range(1, 100))}))
    folder = disk.where / "run"
    open_folder(plan, folder, ENVIRONMENT)
    with pytest.raises(SurroundingsError, match=rf"cannot write to .*{JOURNAL_NAME}: the disk is full"):
        run_noop(plan, folder)
    written = read_keys(folder)
    assert 0 < len(written) < len(list_keys(plan))
    assert written == list_keys(plan)[: len(written)]

    disk.remount("size=4m")
    assert reopen_folder(folder, ENVIRONMENT) == plan
    run_noop(plan, folder)
    assert read_keys(folder) == list_keys(plan)


@pytest.mark.slow
def test_a_full_disk_is_one_line_exit_code_3_and_a_way_to_go_on(
    disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = disk.where / "run"
    disk.remount("size=20k")
    words = ["run", *TINY, "--replicates", "2", "--out", str(folder)]
    resume = f"Continue with: deconvbench run --out {folder} --resume"
    expect_one_line(capsys, words, 3, "the disk is full", str(folder), "What was measured is kept", resume)
    written = read_keys(folder)
    assert written

    disk.remount("size=4m")
    assert main(["run", "--out", str(folder), "--resume"]) == 0
    assert read_keys(folder) == list_keys(Plan.from_dict(read_run_info(folder)))
    assert read_keys(folder)[: len(written)] == written
    assert len(load(folder)) == 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EROFS, "the file system is read-only"),
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EIO, "the disk reports an error"),
    ],
    ids=["read-only", "full", "quota", "broken"],
)
def test_a_disk_that_fails_in_the_middle_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, reason: str
) -> None:
    plan = make_plan()

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(code, os.strerror(code))

    def fail_after_three(progress: JobDone) -> None:
        if progress.done == 3:
            monkeypatch.setattr(os, "write", refuse)

    with pytest.raises(SurroundingsError, match=rf"cannot write to .*{JOURNAL_NAME}: {reason}") as caught:
        run_noop(plan, tmp_path, fail_after_three)
    assert caught.value.exit_code == 3
    monkeypatch.undo()
    assert read_keys(tmp_path) == list_keys(plan)[:3]
    run_noop(plan, tmp_path)
    assert read_keys(tmp_path) == list_keys(plan)


def test_a_disk_that_became_read_only_refuses_to_go_on(disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    folder = disk.where / "run"
    open_folder(make_plan(), folder, ENVIRONMENT)
    disk.remount("ro")
    words = ["run", "--out", str(folder), "--resume-anyway"]
    expect_one_line(capsys, words, 3, str(folder), "the file system is read-only")
    with pytest.raises(SurroundingsError, match="the file system is read-only"):
        run_noop(make_plan(), folder)


# what others do


@pytest.mark.parametrize("option", ["--resume", "--resume-anyway"])
def test_a_second_run_in_a_folder_leaves_the_first_unharmed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    from deconvbench.workflows.run import read_environment

    plan, environment = make_plan(), read_environment()
    open_folder(plan, tmp_path, environment)
    refused = []

    def interfere(progress: JobDone) -> None:
        before = (tmp_path / RUN_NAME).read_bytes(), (tmp_path / JOURNAL_NAME).read_bytes()
        refused.append(
            expect_one_line(capsys, ["run", "--out", str(tmp_path), option], 3, str(tmp_path), "another run")
        )
        assert ((tmp_path / RUN_NAME).read_bytes(), (tmp_path / JOURNAL_NAME).read_bytes()) == before

    run_noop(plan, tmp_path, lambda progress: interfere(progress) if progress.done in (1, 5) else None)
    assert len(refused) == 2
    assert read_keys(tmp_path) == list_keys(plan)
    assert reopen_folder(tmp_path, environment) == plan


def test_a_clock_that_jumps_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(make_grid(replicates=3))
    moments = (datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=day) for day in range(1000))
    monkeypatch.setattr(batch_process, "format_moment", lambda: next(moments).isoformat(timespec="milliseconds"))
    monkeypatch.setattr("time.time", lambda: next(moments).timestamp())

    def stop(progress: JobDone) -> None:
        if progress.done == 6:
            raise KeyboardInterrupt

    open_folder(plan, tmp_path, ENVIRONMENT)
    with pytest.raises(KeyboardInterrupt):
        run_noop(plan, tmp_path, stop)
    assert reopen_folder(tmp_path, ENVIRONMENT) == plan
    run_noop(plan, tmp_path)
    assert read_keys(tmp_path) == list_keys(plan)
    dates = [record.started_at for record in read_journal(tmp_path) if isinstance(record, Record)]
    assert dates == sorted(dates, reverse=True)
    table = load(tmp_path)
    assert not table.duplicated(["case_id", "replicate"]).any()
    assert list(table["replicate"]) == [0, 1, 2] * 3


# what a folder holds


def write_folder(folder: Path, **changes: Any) -> Plan:
    """A run of this machine that was cut off after some records, which say what `changes` say."""
    from deconvbench.workflows.run import read_environment

    environment = {**read_environment(), **changes}
    grid = make_grid(replicates=1, time_cap_s=0.01)
    plan = make_plan(grid)
    open_folder(plan, folder, environment)
    identity = {key: environment[key] for key in ("machine_id", "torch_version", "code_version")}
    with Journal(folder) as journal:
        for job in [job for batch in list_jobs(plan) for job in batch][:-1]:
            done = replace(job, status="ok", message="")
            journal.append(replace(done, **identity) if isinstance(done, Record) else done)
    return plan


def test_a_journal_of_a_newer_schema_is_refused_and_nothing_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path)
    path = tmp_path / JOURNAL_NAME
    newer = path.read_text().replace(f'"schema_version":{SCHEMA_VERSION}', '"schema_version":99')
    path.write_text(newer)
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    message = f"schema 99; this version reads up to {SCHEMA_VERSION}"
    for option in ("--resume", "--resume-anyway"):
        expect_one_line(capsys, ["run", "--out", str(tmp_path), option], 2, f"{path}:1", message)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before


def test_a_description_of_a_newer_schema_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path)
    path = tmp_path / RUN_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    expect_one_line(capsys, ["run", "--out", str(tmp_path), "--resume"], 2, str(path), "schema 99")


@pytest.mark.parametrize(
    ("key", "word"),
    [("machine_id", "machine"), ("torch_version", "torch"), ("code_version", "code")],
    ids=["machine", "torch", "code"],
)
def test_a_run_of_another_environment_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, word: str
) -> None:
    write_folder(tmp_path, **{key: "elsewhere"})
    before = (tmp_path / RUN_NAME).read_bytes()
    words = ["run", "--out", str(tmp_path), "--resume"]
    expect_one_line(capsys, words, 2, f"{word} was elsewhere, is ", "pass --resume-anyway to continue")
    assert (tmp_path / RUN_NAME).read_bytes() == before


@pytest.mark.slow
def test_going_on_elsewhere_is_recorded_and_each_record_tells_where(tmp_path: Path) -> None:
    elsewhere = {"machine_id": "m0", "torch_version": "t0", "code_version": "c0"}
    plan = write_folder(tmp_path, **elsewhere)
    assert main(["run", "--out", str(tmp_path), "--resume-anyway"]) == 0
    assert read_keys(tmp_path) == list_keys(plan)
    (resumed,) = read_run_info(tmp_path)["resumed"]
    assert [line.split(", is ")[0] for line in resumed["differences"]] == [
        "machine was m0", "torch was t0", "code was c0",
    ]  # fmt: skip
    *earlier, last = [record for record in read_journal(tmp_path) if isinstance(record, Record)]
    assert last.status == "ok"
    for key, value in elsewhere.items():
        assert {getattr(record, key) for record in earlier} == {value}
        assert getattr(last, key) not in ("", value)
    assert last.process_index == 1


def test_a_torn_line_is_measured_again_after_resuming(tmp_path: Path) -> None:
    plan = make_plan()
    open_folder(plan, tmp_path, ENVIRONMENT)
    run_noop(plan, tmp_path)
    content = (tmp_path / JOURNAL_NAME).read_bytes()
    last = encode_record(read_journal(tmp_path)[-1])
    cut = random.Random(5).randrange(1, len(last))
    (tmp_path / JOURNAL_NAME).write_bytes(content[: -cut - 1])
    assert reopen_folder(tmp_path, ENVIRONMENT) == plan
    assert read_keys(tmp_path) == list_keys(plan)[:-1]
    run_noop(plan, tmp_path)
    assert read_keys(tmp_path) == list_keys(plan)
