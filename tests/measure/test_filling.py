"""How many flushes hide the host's launch, on a device made of integers."""

import pytest

from deconvbench.measure.filling import count_flushes, time_synchronized
from tests.measure.simulated_device import SimulatedDevice


def launch_behind(device: SimulatedDevice, flushes: int) -> int:
    """Nanoseconds that the device would stand idle before the step if so many flushes were queued before it."""
    device.synchronize()
    for _ in range(flushes):
        device.flush_l2()
    start = device.busy_until_ns
    device.make_event().record()
    device.step()
    return max(0, device.now_ns - start)


@pytest.mark.parametrize(
    ("step_launch_ns", "flush_ns"), [(20_000, 80_000), (200_000, 80_000), (400_000, 80_000), (20_000, 6_000)]
)
def test_so_many_flushes_keep_the_device_busy_until_the_step_is_queued(step_launch_ns: int, flush_ns: int) -> None:
    device = SimulatedDevice(step_launch_ns=step_launch_ns, flush_ns=flush_ns)
    flushes, suffice = count_flushes(device.step, device, device.clock)
    assert suffice
    assert 1 <= flushes <= 40
    assert launch_behind(device, flushes) == 0
    # half of them would not be enough, unless one is the least there can be
    assert flushes == 1 or launch_behind(device, (flushes - 1) // 2) > 0


def test_a_host_that_is_too_slow_for_any_number_is_told() -> None:
    slow = SimulatedDevice(step_launch_ns=10_000_000)
    assert count_flushes(slow.step, slow, slow.clock) == (40, False)
    # flushes that take longer to launch than to run never get ahead
    lagging = SimulatedDevice(flush_launch_ns=9_000, flush_ns=5_000)
    assert count_flushes(lagging.step, lagging, lagging.clock) == (40, False)


def test_a_synchronized_call_takes_as_long_as_launch_and_device_do() -> None:
    device = SimulatedDevice(step_launch_ns=20_000, step_ns=50_000, kernels=1)
    assert time_synchronized(device.step, device, device.clock) == pytest.approx(70e-6)
