import itertools
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deconvbench.errors import SurroundingsError
from deconvbench.measure.allocator import read_glibc_version
from deconvbench.records.record import QualityRecord, Record
from deconvbench.runner import child_process
from deconvbench.runner import worker as worker_process
from deconvbench.runner.child_process import ChildProcess
from deconvbench.runner.worker import Worker, WorkerError, WorkerOptions
from tests.builders import make_case, make_record
from tests.processes import have_ended

pytestmark = pytest.mark.process

FAULTY = "tests.faulty_upsamplers"
KINDS = (
    "Sound", "Segfaults", "Hangs", "Raises", "Exhausts", "KilledFromOutside", "Leaves", "WrongSize", "GivesNaN",
    "RaisesBackward", "ClosesItsEndAndHangs", "LeavesSomethingBehind", "TalksOnTheChannel", "TalksInBytes",
    "TalksWithoutEnd", "TalksOfAnother", "TalksLater", "Exits", "Interrupts", "Forks", "ReadsInput",
    "ClosesEverything", "TakesTheChannelsPlace", "SilencesItself", "KeepsAllBusy", "no_module",
)  # fmt: skip


def make_job(upsampler: str, **changes: object) -> Record:
    return make_record(status="error", case=make_case(upsampler=upsampler, **changes))


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> WorkerOptions:
    return WorkerOptions(
        upsamplers=tuple(f"{FAULTY}:{kind}" for kind in KINDS),
        policy=(("time_cap_s", 0.01),),
        log=tmp_path_factory.mktemp("worker") / "worker.log",
    )


@pytest.fixture(scope="module")
def shared(options: WorkerOptions) -> Iterator[Worker]:
    with Worker(options) as started:
        yield started


def test_a_case_is_measured_in_another_process(shared: Worker) -> None:
    record = shared.measure(make_job("sound"), 60)
    assert (record.status, record.message) == ("ok", "")
    assert record.latency is not None
    assert len(record.latency.samples_s) >= 10
    assert record.memory is not None
    assert record.macs == 4 * 2 * 9 * 16 * 16
    assert record.machine_id == shared.environment["machine_id"]
    assert record.latency_pass_s + record.memory_pass_s <= record.total_s


def test_quality_and_numerics_are_measured_too(shared: Worker) -> None:
    job = QualityRecord(upsampler="transposed", kernel_size=3, scale_factor=2, seed=0, channels=4, status="error")
    record = shared.measure(job, 60)
    assert record.status == "ok"
    assert record.metrics["overlap_cv"] == pytest.approx(0.4843, abs=1e-4)
    assert record.total_s > 0


@pytest.mark.parametrize(
    ("upsampler", "changes", "status", "message"),
    [
        ("raises", {}, "error", "LookupError: no such weights: layer 7 (faulty_upsamplers.py:"),
        ("exhausts", {}, "oom", "RuntimeError: "),
        ("wrongsize", {}, "error", "shape"),
        ("givesnan", {}, "error", "finite"),
        ("raisesbackward", {"step": "train"}, "error", "ArithmeticError: no way back"),
        ("no_module", {}, "error", "not an nn.Module"),
        ("transposed", {"kernel_size": 1}, "unsupported", "kernel"),
        ("nearest_conv", {"execution": "cudagraph"}, "unsupported", "CUDA"),
    ],
)
def test_failures_become_statuses_and_the_worker_lives_on(
    shared: Worker, upsampler: str, changes: dict[str, object], status: str, message: str
) -> None:
    record = shared.measure(make_job(upsampler, **changes), 60)
    assert record.status == status
    assert message in record.message
    assert "\n" not in record.message
    assert shared.alive


@pytest.mark.parametrize(
    ("upsampler", "status", "message"),
    [
        ("segfaults", "crashed", "killed by SIGSEGV: Fatal Python error: Segmentation fault"),
        ("killedfromoutside", "crashed", "killed by SIGKILL"),
        ("leaves", "crashed", "the process exited with code 7"),
    ],
)
def test_a_death_is_a_record(options: WorkerOptions, upsampler: str, status: str, message: str) -> None:
    with Worker(options) as worker:
        record = worker.measure(make_job(upsampler), 60)
        assert record.status == status
        assert record.message.startswith(message)
        assert not worker.alive
        # a job for a worker that is gone is answered, not raised
        assert worker.measure(make_job("sound"), 60).status == "crashed"


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.parametrize(
    ("upsampler", "status", "message"),
    [
        ("talksonthechannel", "crashed", "the worker sent something that is not an answer"),
        ("talksinbytes", "crashed", "the worker sent something that is not text"),
        ("talkswithoutend", "crashed", "the worker sent something that is not an answer"),
        ("talksofanother", "crashed", "the worker sent the record of another job"),
        ("exits", "crashed", "SystemExit: no more of this (faulty_upsamplers.py:"),
        ("interrupts", "crashed", "KeyboardInterrupt (faulty_upsamplers.py:"),
        ("closeseverything", "crashed", "the process exited with code 81"),
        (
            "takesthechannelsplace",
            "crashed",
            "the process exited with code 81: the channel of this process was closed",
        ),
        ("talkslater", "ok", ""),
        ("keepsallbusy", "ok", ""),
    ],
)
def test_a_worker_that_cannot_be_trusted_any_more_is_replaced(
    options: WorkerOptions, upsampler: str, status: str, message: str
) -> None:
    with Worker(options) as worker:
        record = worker.measure(make_job(upsampler), 60)
        assert (record.status, record.message[: len(message)]) == (status, message)
        # a fork ends as soon as it would say something, and then nothing is left of it
        assert not worker.alive or upsampler == "forks"


def test_a_copy_that_a_layer_made_of_its_process_answers_nothing(options: WorkerOptions) -> None:
    with Worker(options) as worker:
        record = worker.measure(make_job("forks"), 60)
        assert (record.status, record.message) == ("ok", "")
        # which of the two ends first is chance: a copy that still runs takes the worker with it, one that has
        # ended does not, and in neither case is its answer taken for that of the next job
        record = worker.measure(make_job("sound"), 60) if worker.alive else record
        assert (record.status, record.message) == ("ok", "")


@pytest.mark.parametrize(
    ("upsampler", "status", "message"),
    [
        ("readsinput", "error", "EOFError: EOF when reading a line"),
        ("silencesitself", "ok", ""),
    ],
)
def test_what_a_layer_leaves_does_not_reach_the_next(
    shared: Worker, upsampler: str, status: str, message: str
) -> None:
    record = shared.measure(make_job(upsampler), 60)
    assert (record.status, record.message[: len(message)]) == (status, message)
    assert shared.alive
    following = shared.measure(make_job("sound", step="train"), 60)
    assert (following.status, following.message) == ("ok", "")
    assert following.latency is not None


def test_a_source_that_changed_is_not_measured(options: WorkerOptions, tmp_path: Path) -> None:
    changed = replace(options, upsamplers=(f"{FAULTY}:Sound",), upsampler_digests=("0" * 12,))
    with pytest.raises(WorkerError, match=r"changed since the run began: .*:Sound had source 0+, has .*\.py$"):
        Worker(changed)


def test_a_hang_is_ended_at_its_timeout(options: WorkerOptions) -> None:
    with Worker(options) as worker:
        record = worker.measure(make_job("hangs"), 0.5)
        assert (record.status, record.message) == ("timeout", "no answer within 0.5 s")
        assert not worker.alive


def test_a_child_that_closes_its_end_and_hangs_is_ended_at_its_timeout(options: WorkerOptions) -> None:
    with Worker(options) as worker:
        record = worker.measure(make_job("closesitsendandhangs"), 2.5)
        assert (record.status, record.message) == ("timeout", "no answer within 2.5 s")
        assert not worker.alive


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_what_a_dead_child_started_has_ended_with_it(options: WorkerOptions) -> None:
    with Worker(options) as worker:
        record = worker.measure(make_job("leavessomethingbehind"), 60)
        assert record.status == "crashed"
        assert not Path("/proc", record.message.rpartition(" ")[2]).exists()


def test_a_kill_for_memory_is_told_from_other_kills(
    options: WorkerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = itertools.count(4)
    monkeypatch.setattr(child_process, "count_oom_kills", lambda: next(counts))
    with Worker(options) as worker:
        record = worker.measure(make_job("killedfromoutside"), 60)
    assert (record.status, record.message) == ("oom", "killed by the kernel: out of memory (SIGKILL)")


def test_a_limit_on_the_address_space_makes_an_oom(options: WorkerOptions) -> None:
    with Worker(replace(options, address_space_bytes=6 * 2**30)) as worker:
        record = worker.measure(make_job("sound", height=16384, width=16384, batch=4), 60)
        assert record.status == "oom"
        assert worker.measure(make_job("sound"), 60).status == "ok"


@pytest.mark.skipif(read_glibc_version() < (2, 35), reason="needs glibc 2.35 or later")
def test_the_conditions_asked_for_reach_the_child_which_reads_them_back(options: WorkerOptions) -> None:
    found = {}
    for policy in ("settled", "system"):
        with Worker(replace(options, conditions=policy)) as worker:
            record = worker.measure(make_job("sound"), 60)
            assert (record.status, record.message) == ("ok", "")
            # what pins a thread lets it go, or the process would be taken for spent
            assert worker.alive
            assert worker.measure(make_job("sound", step="train"), 60).status == "ok"
        found[policy] = record.conditions
    assert found["settled"] is not None
    assert found["system"] is not None
    assert (found["settled"].policy, found["settled"].allocator) == ("settled", "settled")
    assert (found["system"].policy, found["system"].allocator) == ("system", "system")


def test_a_settled_child_with_a_limit_on_its_address_space(options: WorkerOptions) -> None:
    limited = replace(options, address_space_bytes=6 * 2**30, conditions="settled")
    with Worker(limited) as worker:
        record = worker.measure(make_job("sound", height=16384, width=16384, batch=4), 60)
        assert record.status == "oom"
        assert worker.measure(make_job("sound"), 60).status == "ok"


def test_a_worker_that_cannot_start_says_why(options: WorkerOptions) -> None:
    with pytest.raises(WorkerError, match=r"--upsampler: cannot import 'no\.such'"):
        Worker(replace(options, upsamplers=("no.such:thing",)))


def test_a_worker_that_cannot_start_stops_the_run_which_can_go_on_later(options: WorkerOptions) -> None:
    assert WorkerError.exit_code == 3
    with pytest.raises(WorkerError, match=r"did not start: /no/python: No such file or directory"):
        Worker(replace(options, python="/no/python"))


def test_a_log_that_cannot_be_written_stops_the_run(options: WorkerOptions, tmp_path: Path) -> None:
    with pytest.raises(SurroundingsError, match=r"cannot write to .*worker\.log: No such file"):
        Worker(replace(options, log=tmp_path / "gone" / "worker.log"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs process descriptors")
def test_ctrl_c_while_a_worker_starts_leaves_none(options: WorkerOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def interrupt(child: ChildProcess, timeout_s: float) -> None:
        started.append(os.pidfd_open(child.pid))
        raise KeyboardInterrupt

    monkeypatch.setattr(ChildProcess, "receive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Worker(options)
    assert len(started) == 1
    assert have_ended(started)
    os.close(started[0])


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize(
    ("script", "reason"),
    [("exit 3", "no answer"), ("echo 'no such module' >&2", "no such module"), ("exec sleep 60", "no answer")],
    ids=["silent", "with last words", "hanging"],
)
def test_an_interpreter_that_does_not_serve(
    options: WorkerOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    monkeypatch.setattr(worker_process, "START_TIMEOUT_S", 0.5)
    (tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(WorkerError, match=f"the worker process did not start: {reason}"):
        Worker(replace(options, python=str(tmp_path / "python"), log=tmp_path / "worker.log"))


def copy_products(target: Path) -> Path:
    """Another checkout, whose layers include one that ours have not."""
    package = Path(worker_process.__file__).parents[1]
    for name in ("upsamplers", "theory"):
        shutil.copytree(package / name, target / "deconvbench" / name)
    (target / "deconvbench" / "upsamplers" / "foreign.py").write_text(
        "from torch import nn\n"
        "from deconvbench.upsamplers.registry import register_upsampler\n\n"
        "@register_upsampler('foreign', has_kernel=False)\n"
        "def foreign(in_channels, out_channels, kernel_size, scale_factor):\n"
        "    return nn.ConvTranspose2d(in_channels, out_channels, scale_factor, scale_factor)\n"
    )
    with (target / "deconvbench" / "upsamplers" / "__init__.py").open("a") as file:
        file.write("\nfrom deconvbench.upsamplers import foreign\n")
    return target


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_options_reach_the_child(options: WorkerOptions, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho started with mine >&2\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    chosen = replace(
        options,
        products=copy_products(tmp_path / "src"),
        code_version="1a2b3c4",
        python=str(python),
        measures_memory=False,
        log=tmp_path / "worker.log",
    )
    with Worker(chosen) as worker:
        assert worker.environment["code_version"] == "1a2b3c4"
        record = worker.measure(make_job("foreign", kernel_size=None), 60)
    assert (record.status, record.message, record.code_version) == ("ok", "", "1a2b3c4")
    assert record.latency is not None
    assert (record.memory, record.memory_pass_s) == (None, 0.0)
    assert (tmp_path / "worker.log").read_text().startswith("started with mine\n")


def test_a_worker_that_does_not_come_up_at_all(options: WorkerOptions, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('this torch is broken')")
    with pytest.raises(WorkerError, match="did not start: this torch is broken"):
        Worker(replace(options, search_path=(str(tmp_path),)))


def test_killing_ends_what_the_child_started(options: WorkerOptions) -> None:
    worker = Worker(options)
    group = os.getpgid(worker._child.pid)
    assert group == worker._child.pid != os.getpgid(0)
    worker.kill()
    worker.kill()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
