import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deconvbench.errors import UsageError
from deconvbench.measure import accelerator as accelerator_module
from deconvbench.measure.accelerator import (
    TorchAccelerator,
    check_device,
    describe_accelerator,
    list_devices,
)

MIB = 2**20


def pretend_devices(monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int = 0) -> None:
    device = None if kind is None else torch.device(kind)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: device)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("kind", "count", "devices"),
    [
        (None, 0, ("cpu",)),
        ("cuda", 2, ("cpu", "cuda:0", "cuda:1")),
        ("mps", 1, ("cpu", "mps:0")),
    ],
    ids=["none", "two-gpus", "mps"],
)
def test_devices_are_listed(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int, devices: tuple[str, ...]
) -> None:
    pretend_devices(monkeypatch, kind, count)
    assert list_devices() == devices


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_a_device_that_is_there_passes(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    pretend_devices(monkeypatch, "cuda", 2)
    check_device(device)


@pytest.mark.parametrize("device", ["cuda:2", "xpu", "mps", "cpu:0"])
def test_a_device_that_is_absent_is_named_with_those_that_exist(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    pretend_devices(monkeypatch, "cuda", 2)
    expected = f"device: '{device}' is not on this machine; torch can use cpu, cuda:0, cuda:1"
    with pytest.raises(UsageError, match=f"^{expected}$"):
        check_device(device)


def test_a_machine_without_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_devices(monkeypatch, None)
    assert describe_accelerator() is None
    with pytest.raises(UsageError, match="device: 'cuda' is not on this machine; torch can use cpu$"):
        TorchAccelerator("cuda")


def test_the_cpu_is_no_accelerator() -> None:
    with pytest.raises(UsageError, match="device: 'cpu' is not an accelerator"):
        TorchAccelerator("cpu")


class FakeTorchEvent:
    def __init__(self, device: torch.device, *, enable_timing: bool) -> None:
        assert enable_timing
        self.device = device
        self.recorded_on: object = None

    def record(self, stream: object) -> None:
        self.recorded_on = stream

    def elapsed_time(self, end: "FakeTorchEvent") -> float:
        assert self.recorded_on is end.recorded_on is not None
        return 2.5


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """Put recorders in place of what torch would do on a device; `meta` stands in for its memory."""
    made: list[tuple[str, object]] = []

    def recorder(name: str, result: object = None) -> Callable[..., object]:
        def record(*arguments: object) -> object:
            made.append((name, arguments[0] if arguments else None))
            return result

        return record

    pretend_devices(monkeypatch, "meta", 3)
    stream = SimpleNamespace(device=torch.device("meta", 2))
    for name, result in (
        ("current_stream", stream),
        ("current_device_index", 1),
        ("synchronize", None),
        ("reset_peak_memory_stats", None),
        ("memory_allocated", 10),
        ("max_memory_allocated", 30),
        ("max_memory_reserved", 50),
    ):
        monkeypatch.setattr(torch.accelerator, name, recorder(name, result))
    backend = SimpleNamespace(empty_cache=recorder("empty_cache"))
    monkeypatch.setattr(torch, "get_device_module", lambda device: backend)
    monkeypatch.setattr(torch, "Event", FakeTorchEvent)
    return made


def test_everything_is_asked_of_the_named_device(calls: list[tuple[str, object]]) -> None:
    device = torch.device("meta", 2)
    accelerator = TorchAccelerator("meta:2")
    accelerator.synchronize()
    accelerator.reset_peak()
    assert accelerator.allocated_bytes() == 10
    assert accelerator.peak_allocated_bytes() == 30
    assert accelerator.peak_reserved_bytes() == 50
    start, end = accelerator.make_event(), accelerator.make_event()
    start.record()
    end.record()
    assert accelerator.elapsed_s(start, end) == pytest.approx(2.5e-3)
    assert calls == [
        ("synchronize", device),
        ("reset_peak_memory_stats", device),
        ("memory_allocated", device),
        ("max_memory_allocated", device),
        ("max_memory_reserved", device),
        ("current_stream", device),
        ("current_stream", device),
    ]


def test_a_device_without_number_is_the_current_one(calls: list[tuple[str, object]]) -> None:
    TorchAccelerator("meta").synchronize()
    assert calls == [("current_device_index", None), ("synchronize", torch.device("meta", 1))]


def test_the_flush_buffer_is_made_once_and_given_back(
    calls: list[tuple[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def make(size: int, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        sizes.append((size, device))
        return torch.zeros(1)

    accelerator = TorchAccelerator("meta:2")
    monkeypatch.setattr(torch, "empty", make)
    accelerator.flush_l2()
    accelerator.flush_l2()
    assert sizes == [(256 * MIB, torch.device("meta", 2))]
    accelerator.empty_cache()
    assert calls == [("empty_cache", None)]
    accelerator.flush_l2()
    assert len(sizes) == 2


@pytest.mark.parametrize(("l2_bytes", "flush_bytes"), [(4 * MIB, 64 * MIB), (50 * MIB, 200 * MIB)])
def test_a_flush_is_several_times_the_cache(
    monkeypatch: pytest.MonkeyPatch, l2_bytes: int, flush_bytes: int
) -> None:
    properties = SimpleNamespace(L2_cache_size=l2_bytes)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert accelerator_module._choose_flush_bytes(torch.device("cuda", 0)) == flush_bytes


def test_mps_does_not_count_memory(calls: list[tuple[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_devices(monkeypatch, "mps", 1)
    accelerator = TorchAccelerator("mps:0")
    accelerator.reset_peak()
    assert accelerator.allocated_bytes() is None
    assert accelerator.peak_allocated_bytes() is None
    assert accelerator.peak_reserved_bytes() is None
    assert calls == []


class FakeNVMLError(Exception):
    pass


class FakeNVML(SimpleNamespace):
    """As much of pynvml as is asked, with functions that fail by name."""

    NVMLError = FakeNVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2

    def __init__(self, *failing: str) -> None:
        super().__init__(failing=failing, asked=[], open=0)

    def _answer(self, name: str, answer: Any) -> Any:
        if name in self.failing:
            raise FakeNVMLError
        return answer

    def nvmlInit(self) -> None:  # noqa: N802 -- NVML's own name
        self._answer("init", None)
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802 -- NVML's own name
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> Any:  # noqa: N802 -- NVML's own name
        return self._answer("driver", "570.1")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any:  # noqa: N802 -- NVML's own name
        self.asked.append(uuid)
        return self._answer("handle", "handle")

    def nvmlDeviceGetClockInfo(self, handle: Any, clock: int) -> Any:  # noqa: N802 -- NVML's own name
        return self._answer("clock", {1: 1980, 2: 2619}[clock])

    def nvmlDeviceGetMaxClockInfo(self, handle: Any, clock: int) -> Any:  # noqa: N802 -- NVML's own name
        return self._answer("max", 2000)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Any) -> Any:  # noqa: N802 -- NVML's own name
        return self._answer("power", 700_000)


ALL_FACTS = {
    "driver": "570.1",
    "sm_clock_hz": 1_980_000_000,
    "max_sm_clock_hz": 2_000_000_000,
    "memory_clock_hz": 2_619_000_000,
    "power_limit_w": 700.0,
}
NO_FACTS = dict.fromkeys(ALL_FACTS)


@pytest.mark.parametrize(
    ("nvml", "facts"),
    [
        (FakeNVML(), ALL_FACTS),
        (None, NO_FACTS),
        (FakeNVML("init"), NO_FACTS),
        (FakeNVML("handle"), {**NO_FACTS, "driver": "570.1"}),
        (FakeNVML("clock", "power"), {**NO_FACTS, "driver": "570.1", "max_sm_clock_hz": 2_000_000_000}),
        (FakeNVML("max"), {**ALL_FACTS, "max_sm_clock_hz": None}),
    ],
    ids=["all", "not-installed", "no-driver", "no-such-device", "no-clocks", "no-maximum"],
)
def test_what_the_driver_does_not_tell_is_none(
    monkeypatch: pytest.MonkeyPatch, nvml: FakeNVML | None, facts: dict[str, object]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert accelerator_module._ask_nvml("ab-cd") == facts
    assert nvml is None or nvml.open == 0


@pytest.mark.parametrize(
    ("uuid", "asked"), [("ab-cd", "GPU-ab-cd"), ("GPU-ab-cd", "GPU-ab-cd"), ("MIG-ab-cd", "MIG-ab-cd")]
)
def test_the_driver_is_asked_by_id(monkeypatch: pytest.MonkeyPatch, uuid: str, asked: str) -> None:
    nvml = FakeNVML()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    accelerator_module._ask_nvml(uuid)
    assert nvml.asked == [asked]


def test_a_cuda_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_devices(monkeypatch, "cuda", 2)
    properties = SimpleNamespace(
        name="GPU", major=9, minor=0, multi_processor_count=132, total_memory=80, L2_cache_size=50, uuid="u"
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNVML())
    found = describe_accelerator()
    assert found is not None
    assert found["type"] == "cuda"
    assert len(found["devices"]) == 2
    assert found["devices"][0] == {
        "name": "GPU",
        "capability": "9.0",
        "multiprocessors": 132,
        "memory_bytes": 80,
        "l2_bytes": 50,
        **ALL_FACTS,
    }
    assert found["flags"]["cudnn_conv_fp32_precision"] == "tf32"
    assert found["flags"]["cudnn_benchmark"] is False


def test_other_accelerators_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_devices(monkeypatch, "xpu", 1)
    assert describe_accelerator() == {"type": "xpu", "devices": [{"name": "xpu"}]}


@pytest.mark.cuda
def test_a_real_device_counts_and_tells_time() -> None:
    accelerator = TorchAccelerator("cuda")
    accelerator.empty_cache()
    accelerator.reset_peak()
    before = accelerator.allocated_bytes()
    start, end = accelerator.make_event(), accelerator.make_event()
    start.record()
    accelerator.flush_l2()
    end.record()
    accelerator.synchronize()
    assert accelerator.elapsed_s(start, end) > 0
    peak = accelerator.peak_allocated_bytes()
    assert before is not None
    assert peak is not None
    assert peak - before >= accelerator_module._MIN_FLUSH_BYTES
    accelerator.empty_cache()
    assert accelerator.allocated_bytes() == before
    description = describe_accelerator()
    assert description is not None
    assert description["devices"][0]["l2_bytes"] > 0
