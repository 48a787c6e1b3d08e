import builtins
import gc
import json
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import memray
import pytest
import torch
from torch import Tensor

from deconvbench.errors import DeconvbenchError, UnsupportedError, UsageError
from deconvbench.measure import memory
from deconvbench.measure.memory import (
    main,
    measure_accelerator_memory,
    measure_cpu_memory,
    measure_resident_peak,
    read_resident_peak,
)
from deconvbench.measure.step import PreparedStep, prepare_step
from deconvbench.records.case import Case
from tests.builders import make_case
from tests.measure.simulated_device import SimulatedDevice

pytestmark = pytest.mark.process

MIB = 2**20

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def make_step(work: Callable[[], Tensor], case: Case | None = None) -> PreparedStep:
    """A step of any work, with nothing to check."""

    def run(look: object) -> Tensor:
        return work()

    return PreparedStep(
        case or make_case(), run, input_bytes=1, output_bytes=2, parameter_bytes=3, gradient_bytes=4
    )


@linux_only
def test_the_peak_is_that_of_one_step_above_its_baseline() -> None:
    kept = torch.zeros(8 * MIB, dtype=torch.int8)

    def work() -> Tensor:
        hidden = torch.zeros(5 * MIB, dtype=torch.int8)
        output = torch.zeros(3 * MIB, dtype=torch.int8)
        del hidden
        torch.zeros(4 * MIB, dtype=torch.int8)
        return output

    found = measure_cpu_memory(make_step(work))
    assert found.peak_memory_bytes == pytest.approx(8 * MIB, rel=0.01)
    assert found.peak_reserved_bytes is None
    assert (found.input_bytes, found.output_bytes, found.parameter_bytes, found.gradient_bytes) == (1, 2, 3, 4)
    assert kept.nbytes == 8 * MIB


@linux_only
def test_two_calls_come_first_and_their_outputs_are_gone() -> None:
    outputs: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def work() -> Tensor:
        alive.append(sum(output() is not None for output in outputs))
        output = torch.zeros(MIB, dtype=torch.int8)
        if len(outputs) < 2:
            torch.zeros(20 * MIB, dtype=torch.int8)  # what is set up once is not a cost of the step
        outputs.append(weakref.ref(output))
        return output

    assert measure_cpu_memory(make_step(work)).peak_memory_bytes == pytest.approx(MIB, rel=0.02)
    assert alive == [0, 0, 0, 0]


@linux_only
@pytest.mark.parametrize("upsampler", ["nearest_conv", "transposed"])
def test_a_small_layer_reads_the_same_the_first_time_and_later(upsampler: str) -> None:
    step = prepare_step(make_case(upsampler=upsampler), 0)
    peaks = [measure_cpu_memory(step).peak_memory_bytes for _ in range(3)]
    assert len(set(peaks)) == 1


@linux_only
def test_what_only_the_first_watched_call_allocates_is_not_counted() -> None:
    calls: list[int] = []

    def work() -> Tensor:
        calls.append(1)
        return torch.zeros((20 if len(calls) == 3 else 1) * MIB, dtype=torch.int8)

    assert measure_cpu_memory(make_step(work)).peak_memory_bytes == pytest.approx(MIB, rel=0.02)


@linux_only
def test_the_hidden_buffer_of_a_transposed_convolution_is_seen() -> None:
    case = make_case(upsampler="transposed", kernel_size=4, in_channels=16, out_channels=8, height=64, width=64)
    found = measure_cpu_memory(prepare_step(case, 0))
    assert found.output_bytes == 4 * 8 * 128 * 128
    assert found.peak_memory_bytes is not None
    assert found.peak_memory_bytes >= found.output_bytes


@linux_only
def test_gradients_are_part_of_every_training_step() -> None:
    case = make_case(in_channels=32, out_channels=8, height=48, width=48, step="train")
    found = measure_cpu_memory(prepare_step(case, 0))
    assert found.gradient_bytes > 4 * 32 * 48 * 48
    assert found.peak_memory_bytes is not None
    assert found.peak_memory_bytes >= found.output_bytes + found.gradient_bytes


@linux_only
def test_the_capture_is_removed_also_when_the_step_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    measure_cpu_memory(make_step(lambda: torch.zeros(1)))
    seen: list[bool] = []

    def fail() -> Tensor:
        seen.append(any(tmp_path.iterdir()))
        if len(seen) == 3:
            raise MemoryError
        return torch.zeros(1)

    with pytest.raises(MemoryError):
        measure_cpu_memory(make_step(fail))
    # the capture existed in the measured call only
    assert seen == [False, False, True]
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_memray_is_silent_during_the_pass_only(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[int] = []
    monkeypatch.setattr(memray, "set_log_level", levels.append)
    states: list[list[int]] = []

    def work() -> Tensor:
        states.append(list(levels))
        return torch.zeros(1)

    measure_cpu_memory(make_step(work))
    assert states == [[], [], [40], [40, 30, 40]]
    assert levels == [40, 30, 40, 30]


def test_without_memray_the_peak_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "memray":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    found = measure_cpu_memory(make_step(lambda: torch.zeros(1)))
    assert found.peak_memory_bytes is None
    assert found.output_bytes == 2


@pytest.fixture
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)


@pytest.mark.usefixtures("no_collection")
def test_an_accelerators_peak_is_counted_from_what_was_there() -> None:
    device = SimulatedDevice(allocated=7000)

    def work() -> Tensor:
        device.step()
        if device.peak_allocated is not None:
            device.peak_allocated, device.peak_reserved = 12_000, 20_000
        return torch.zeros(1)

    found = measure_accelerator_memory(make_step(work), device)
    assert (found.peak_memory_bytes, found.peak_reserved_bytes) == (5000, 20_000)
    assert device.log == ["step", "step", "synchronize", "empty_cache", "reset_peak", "step", "synchronize"]


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    ("device", "execution", "reserved"),
    [
        (SimulatedDevice(allocated=None), "eager", None),
        (SimulatedDevice(allocated=7000), "cudagraph", 7000),
    ],
    ids=["no-counts", "cudagraph"],
)
def test_an_accelerators_peak_can_be_unknown(
    device: SimulatedDevice, execution: str, reserved: int | None
) -> None:
    step = make_step(lambda: torch.zeros(1), make_case(device="cuda", execution=execution))
    found = measure_accelerator_memory(step, device)
    assert found.peak_memory_bytes is None
    assert found.peak_reserved_bytes == reserved


@linux_only
@pytest.mark.parametrize(
    "case_id",
    [
        "transposed-k4-s2-c16x32-160x160",
        "nearest_conv-k3-s2-c64x16-128x128",
        "transposed-k4-s2-c32x32-192x192-train",
        "nearest_conv-k3-s2-c32x16-144x144-train",
    ],
)
def test_heap_and_resident_peak_agree(case_id: str) -> None:
    peak = measure_cpu_memory(prepare_step(Case.from_id(case_id), 0)).peak_memory_bytes
    assert peak is not None
    assert peak > 32 * MIB
    assert measure_resident_peak(case_id) == pytest.approx(peak, rel=0.10)


def test_a_resident_peak_needs_a_case_on_the_cpu() -> None:
    with pytest.raises(UsageError, match="case id: 'nonsense'"):
        measure_resident_peak("nonsense")
    with pytest.raises(UnsupportedError, match="runs on cuda"):
        measure_resident_peak(make_case(device="cuda").case_id)


def test_a_resident_peak_needs_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UnsupportedError, match="which darwin has not"):
        measure_resident_peak(make_case().case_id)


def answer_with(
    monkeypatch: pytest.MonkeyPatch, returncode: int = 0, stdout: str = "", stderr: str = ""
) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        runs.append({"command": command, **options})
        if returncode is None:
            raise subprocess.TimeoutExpired(command, options["timeout"])
        return subprocess.CompletedProcess(command, returncode, stdout, stderr)

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(subprocess, "run", run)
    return runs


def test_the_fresh_process_gives_freed_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # as in a process that is timed
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=2:glibc.malloc.mmap_threshold=4294967296")
    runs = answer_with(monkeypatch, stdout='{"resident_peak_bytes": 4096}')
    case_id = make_case().case_id
    assert measure_resident_peak(case_id, seed=3, timeout_s=7) == 4096
    assert runs[0]["command"][-3:] == ["deconvbench.measure.memory", case_id, "3"]
    assert runs[0]["timeout"] == 7
    assert runs[0]["env"]["MALLOC_MMAP_THRESHOLD_"] == runs[0]["env"]["MALLOC_TRIM_THRESHOLD_"] == "65536"
    assert runs[0]["env"]["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=2"


@pytest.mark.parametrize(
    ("returncode", "stdout", "stderr", "error", "message"),
    [
        (1, "", "Traceback\nLookupError: gone\n", DeconvbenchError, "no resident peak: LookupError: gone$"),
        (-9, "", "", DeconvbenchError, "no resident peak: exit code -9$"),
        (None, "", "", DeconvbenchError, "no resident peak within 300 s$"),
        (0, '{"unsupported": "cannot be reset"}', "", UnsupportedError, "^cannot be reset$"),
    ],
    ids=["raises", "killed", "hangs", "unsupported"],
)
def test_a_fresh_process_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch,
    returncode: int,
    stdout: str,
    stderr: str,
    error: type[DeconvbenchError],
    message: str,
) -> None:
    answer_with(monkeypatch, returncode, stdout, stderr)
    with pytest.raises(error, match=message):
        measure_resident_peak(make_case().case_id)


@pytest.fixture
def own_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t   900 kB\nVmRSS:\t   300 kB\n")
    monkeypatch.setattr(memory, "_STATUS", status)
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "clear_refs")
    return tmp_path


@pytest.mark.usefixtures("no_collection")
def test_the_peak_is_reset_before_the_step(own_proc: Path) -> None:
    resets: list[str | None] = []
    clear_refs = own_proc / "clear_refs"

    def work() -> Tensor:
        resets.append(clear_refs.read_text() if clear_refs.exists() else None)
        return torch.zeros(1)

    assert read_resident_peak(make_step(work)) == 600 * 1024
    assert resets == [None, None, "5"]


@pytest.mark.usefixtures("no_collection")
def test_a_system_that_does_not_tell_is_unsupported(own_proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = make_step(lambda: torch.zeros(1))
    (own_proc / "status").write_text("Name:\tpython\n")
    with pytest.raises(UnsupportedError, match="status has no VmRSS"):
        read_resident_peak(step)
    monkeypatch.setattr(memory, "_CLEAR_REFS", own_proc / "missing" / "clear_refs")
    with pytest.raises(UnsupportedError, match="cannot be reset"):
        read_resident_peak(step)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("arguments", [[], ["4"]], ids=["no-seed", "seed"])
def test_the_module_prints_json(
    own_proc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    seeds: list[int] = []

    def prepare(case: Case, seed: int) -> PreparedStep:
        seeds.append(seed)
        return make_step(lambda: torch.zeros(1), case)

    monkeypatch.setattr(memory, "prepare_step", prepare)
    case_id = make_case().case_id
    main([case_id, *arguments])
    assert json.loads(capsys.readouterr().out) == {"case_id": case_id, "resident_peak_bytes": 600 * 1024}
    assert seeds == [int(*arguments)]
    monkeypatch.setattr(memory, "_CLEAR_REFS", own_proc / "missing" / "clear_refs")
    main([case_id, *arguments])
    answer = json.loads(capsys.readouterr().out)
    assert answer["case_id"] == case_id
    assert "cannot be reset" in answer["unsupported"]


@pytest.mark.cuda
@pytest.mark.parametrize("step", ["forward", "train"])
def test_a_real_device_shows_at_least_the_output(step: str) -> None:
    from deconvbench.measure.accelerator import TorchAccelerator

    case = make_case(device="cuda", step=step, height=64, width=64)
    found = measure_accelerator_memory(prepare_step(case, 0), TorchAccelerator("cuda"))
    assert found.peak_memory_bytes is not None
    assert found.peak_memory_bytes >= found.output_bytes + found.gradient_bytes
    assert found.peak_reserved_bytes is not None
    assert found.peak_reserved_bytes >= found.peak_memory_bytes
