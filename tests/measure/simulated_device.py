"""A device with a queue, an allocator and a clock, all made of integers."""

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class SimulatedDevice:
    """A host that launches kernels into a queue which the device drains in order.

    The host's clock `now_ns` moves when the host does something; the device is busy until `busy_until_ns`.
    """

    step_launch_ns: int = 20_000
    step_ns: int = 50_000
    kernels: int = 4
    flush_launch_ns: int = 4_000
    flush_ns: int = 80_000
    record_launch_ns: int = 1_000
    now_ns: int = 0
    busy_until_ns: int = 0
    log: list[str] = field(default_factory=list)
    allocated: int | None = 1000
    peak_allocated: int | None = 0
    peak_reserved: int | None = 0

    def clock(self) -> int:
        return self.now_ns

    def step(self) -> None:
        self.log.append("step")
        for _ in range(self.kernels):
            self._launch(self.step_launch_ns // self.kernels, self.step_ns // self.kernels)

    def make_event(self) -> "SimulatedEvent":
        return SimulatedEvent(self)

    def elapsed_s(self, start: "SimulatedEvent", end: "SimulatedEvent") -> float:
        assert end.passed_ns <= self.now_ns, "an event was read that the device has not passed"
        return (end.passed_ns - start.passed_ns) * 1e-9

    def flush_l2(self) -> None:
        self.log.append("flush")
        self._launch(self.flush_launch_ns, self.flush_ns)

    def synchronize(self) -> None:
        self.log.append("synchronize")
        self.now_ns = max(self.now_ns, self.busy_until_ns)

    def empty_cache(self) -> None:
        self.log.append("empty_cache")

    def reset_peak(self) -> None:
        self.log.append("reset_peak")
        self.peak_allocated = self.peak_reserved = self.allocated

    def allocated_bytes(self) -> int | None:
        return self.allocated

    def peak_allocated_bytes(self) -> int | None:
        return self.peak_allocated

    def peak_reserved_bytes(self) -> int | None:
        return self.peak_reserved

    def _launch(self, host_ns: int, device_ns: int) -> None:
        self.now_ns += host_ns
        self.busy_until_ns = max(self.now_ns, self.busy_until_ns) + device_ns


class SimulatedEvent:
    def __init__(self, device: SimulatedDevice) -> None:
        self._device = device
        self.passed_ns = -1

    def record(self) -> None:
        self._device.log.append("record")
        self._device._launch(self._device.record_launch_ns, 0)
        self.passed_ns = self._device.busy_until_ns
