"""What the measures need of an accelerator, and torch's accelerators behind it.

The measures speak to the `Accelerator` protocol only, so that a simulated queue can stand in for a device in
tests. `TorchAccelerator` goes through `torch.accelerator` and `torch.Event`, which every backend of torch serves,
and asks `torch.cuda` for nothing but the size of the L2 cache. Importing this
module queries no device.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from deconvbench.errors import UsageError

E = TypeVar("E", bound="Event")

# A multiple of the L2 cache, so that no line of it survives whatever its replacement policy, and no less than
# takes a device longer to write than a host to launch (67 MB at 1 TB/s: 67 us against about 5 us).
_FLUSH_PER_L2 = 4
_MIN_FLUSH_BYTES = 64 * 2**20
# where the size of the cache is not told; triton.testing.do_bench writes as much
_DEFAULT_FLUSH_BYTES = 256 * 2**20


class Event(Protocol):
    """A point in a device's queue whose time can be read once the device has passed it."""

    def record(self) -> None:
        """Put the point at the end of the queue."""


class Accelerator(Protocol[E]):
    """What a measure asks of a device with a queue and an allocator of its own."""

    def make_event(self) -> E:
        """Return a new event that can tell the time."""

    def elapsed_s(self, start: E, end: E) -> float:
        """Seconds on the device's clock between two events that it has passed."""

    def flush_l2(self) -> None:
        """Put work into the queue that leaves nothing of earlier work in the L2 cache."""

    def synchronize(self) -> None:
        """Wait until the queue is empty."""

    def empty_cache(self) -> None:
        """Give back all memory that nothing lives in, this object's own included."""

    def reset_peak(self) -> None:
        """Let both peaks start again from what is held now."""

    def allocated_bytes(self) -> int | None:
        """Bytes in live tensors; None where the backend does not count."""

    def peak_allocated_bytes(self) -> int | None:
        """Largest number of bytes in live tensors since `reset_peak`; None where the backend does not count."""

    def peak_reserved_bytes(self) -> int | None:
        """Largest number of bytes that the allocator held since `reset_peak`; None as above."""


class TorchEvent:
    """A `torch.Event` bound to one stream.

    Parameters
    ----------
    stream : torch.Stream
        Named because an event without one goes to the current device, which need not be ours.
    """

    __slots__ = ("_stream", "torch_event")

    def __init__(self, stream: torch.Stream) -> None:
        self._stream = stream
        self.torch_event = torch.Event(stream.device, enable_timing=True)

    def record(self) -> None:
        """Put the point at the end of the stream's queue."""
        self.torch_event.record(self._stream)


class TorchAccelerator:
    """A device that torch knows, seen as an `Accelerator`.

    Parameters
    ----------
    device : str
        Such as ``cuda`` or ``cuda:1``.

    Raises
    ------
    UsageError
        If it is the CPU or not on this machine.
    """

    def __init__(self, device: str) -> None:
        check_device(device)
        kind, _, index = device.partition(":")
        if kind == "cpu":
            raise UsageError(f"device: {device!r} is not an accelerator")
        self._device = torch.device(kind, int(index) if index else torch.accelerator.current_device_index())
        self._flush_buffer: Tensor | None = None
        # torch 2.9 to 2.13: the allocator of mps is none that torch.accelerator could ask
        self._counts_memory = kind != "mps"

    def make_event(self) -> TorchEvent:
        """Return a new event on the device's current stream."""
        return TorchEvent(torch.accelerator.current_stream(self._device))

    def elapsed_s(self, start: TorchEvent, end: TorchEvent) -> float:
        """Seconds between two events that the device has passed; resolved to about half a microsecond on CUDA.

        Parameters
        ----------
        start, end : TorchEvent
            Recorded in this order.
        """
        return start.torch_event.elapsed_time(end.torch_event) * 1e-3

    def flush_l2(self) -> None:
        """Queue a write of several times the size of the L2 cache; the first call allocates its buffer."""
        if self._flush_buffer is None:
            size = _choose_flush_bytes(self._device)
            self._flush_buffer = torch.empty(size, dtype=torch.int8, device=self._device)
        self._flush_buffer.zero_()

    def synchronize(self) -> None:
        """Wait until all streams of the device are empty."""
        torch.accelerator.synchronize(self._device)

    def empty_cache(self) -> None:
        """Give back the flush buffer and whatever the allocator caches."""
        self._flush_buffer = None
        # not torch.accelerator.empty_cache: that one does not know mps
        torch.get_device_module(self._device).empty_cache()

    def reset_peak(self) -> None:
        """Let both peaks start again from what is held now."""
        if self._counts_memory:
            torch.accelerator.reset_peak_memory_stats(self._device)

    def allocated_bytes(self) -> int | None:
        """Bytes in live tensors; None on mps."""
        return torch.accelerator.memory_allocated(self._device) if self._counts_memory else None

    def peak_allocated_bytes(self) -> int | None:
        """Largest number of bytes in live tensors since `reset_peak`; None on mps."""
        return torch.accelerator.max_memory_allocated(self._device) if self._counts_memory else None

    def peak_reserved_bytes(self) -> int | None:
        """Largest number of bytes that the allocator held since `reset_peak`; None on mps."""
        return torch.accelerator.max_memory_reserved(self._device) if self._counts_memory else None


def _choose_flush_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return _DEFAULT_FLUSH_BYTES
    l2_bytes = int(torch.cuda.get_device_properties(device).L2_cache_size)
    return max(_FLUSH_PER_L2 * l2_bytes, _MIN_FLUSH_BYTES)


def list_devices() -> tuple[str, ...]:
    """List the devices of this machine that torch can use: ``cpu``, then ``cuda:0`` and so on."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return ("cpu",)
    return ("cpu", *(f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count())))


def check_device(device: str) -> None:
    """Check that a device is on this machine.

    Parameters
    ----------
    device : str
        Such as ``cpu``, ``cuda`` or ``cuda:1``.

    Raises
    ------
    UsageError
        Naming the device and those that exist.
    """
    present = list_devices()
    if device not in present and device not in {name.partition(":")[0] for name in present}:
        raise UsageError(f"device: {device!r} is not on this machine; torch can use {', '.join(present)}")


def describe_accelerator() -> dict[str, Any] | None:
    """Record the accelerators of this machine and the flags that change their numbers.

    Returns
    -------
    dict or None
        ``type``, ``devices`` (one dict each: name, memory and cache in bytes, clocks in hertz, power in watts,
        driver), and for CUDA the versions and precision flags. Clocks and driver come from `pynvml` and are None
        where it is not installed or does not tell. None on a machine without an accelerator.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return None
    count = torch.accelerator.device_count()
    if accelerator.type != "cuda":
        return {"type": accelerator.type, "devices": [{"name": accelerator.type} for _ in range(count)]}
    return {
        "type": "cuda",
        "devices": [_describe_cuda_device(index) for index in range(count)],
        "cuda_version": torch.version.cuda or torch.version.hip,
        "flags": _read_cuda_flags(),
    }


def _read_cuda_flags() -> dict[str, Any]:
    # fp32_precision, not allow_tf32: torch refuses to read the old name once the new one was set
    cudnn = torch.backends.cudnn
    return {
        "matmul_fp32_precision": torch.backends.cuda.matmul.fp32_precision,
        "cudnn_conv_fp32_precision": cudnn.conv.fp32_precision,  # type: ignore[attr-defined] # set at run time
        "cudnn_enabled": cudnn.enabled,
        "cudnn_benchmark": cudnn.benchmark,
        "cudnn_deterministic": cudnn.deterministic,
        "cudnn_version": cudnn.version(),  # type: ignore[no-untyped-call] # torch has no types here
    }


def _describe_cuda_device(index: int) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(index)
    return {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "l2_bytes": properties.L2_cache_size,
        **_ask_nvml(str(properties.uuid)),
    }


def _ask_nvml(uuid: str) -> Mapping[str, Any]:
    """Driver, clocks and power limit of one NVIDIA device; None for each that the driver does not tell."""
    facts: dict[str, Any] = dict.fromkeys(("driver", "sm_clock_hz", "max_sm_clock_hz", "memory_clock_hz"))
    facts["power_limit_w"] = None
    try:
        import pynvml  # noqa: PLC0415 -- an extra: absent on most machines

        pynvml.nvmlInit()
    except ImportError:
        return facts
    except pynvml.NVMLError:
        return facts  # no NVIDIA driver, on ROCm for example
    try:

        def ask(function: Callable[..., Any], *arguments: Any) -> Any:
            try:
                return function(*arguments)
            except pynvml.NVMLError:
                return None  # what a driver does not tell, or not to this user

        # torch writes the id without NVML's prefix, which tells a whole device from a part of one
        name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        facts["driver"] = ask(pynvml.nvmlSystemGetDriverVersion)
        handle = ask(pynvml.nvmlDeviceGetHandleByUUID, name)
        if handle is not None:
            for fact, function, clock in (
                ("sm_clock_hz", pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
                ("max_sm_clock_hz", pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_SM),
                ("memory_clock_hz", pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM),
            ):
                megahertz = ask(function, handle, clock)
                facts[fact] = None if megahertz is None else megahertz * 1_000_000
            milliwatts = ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
            facts["power_limit_w"] = None if milliwatts is None else milliwatts / 1000
    finally:
        pynvml.nvmlShutdown()
    return facts
