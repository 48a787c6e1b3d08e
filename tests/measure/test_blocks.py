import gc

import pytest

from deconvbench.measure.blocks import find_block_length, pause_collector, spare_collector, time_block, warm_up


class Host:
    """A clock that moves when it is read and when its step runs."""

    def __init__(self, step_ns: int, reading_ns: int = 0) -> None:
        self.now_ns = 0
        self.calls = 0
        self._step_ns, self._reading_ns = step_ns, reading_ns

    def clock(self) -> int:
        self.now_ns += self._reading_ns
        return self.now_ns

    def step(self) -> None:
        self.calls += 1
        self.now_ns += self._step_ns


def test_a_block_is_all_its_calls() -> None:
    host = Host(1000)
    assert time_block(host.step, 7, host.clock) == pytest.approx(7e-6)
    assert host.calls == 7


@pytest.mark.parametrize(("reading_ns", "expected"), [(0, 1e-3), (5000, 5e-3)], ids=["fast", "slow"])
def test_a_clock_that_is_slow_to_read_needs_longer_blocks(reading_ns: int, expected: float) -> None:
    assert find_block_length(1e-3, Host(0, reading_ns).clock) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(
    ("step_ns", "warmup_s", "calls", "total"),
    [(1_000_000, 0.0, 2, 3), (1_000_000, 0.01, 2, 11), (5_000_000, 0.0, 1, 1)],
    ids=["until long enough", "until warm", "long at once"],
)
def test_warm_up_doubles_a_block_until_it_is_long_enough(
    step_ns: int, warmup_s: float, calls: int, total: int
) -> None:
    host = Host(step_ns)
    assert warm_up(host.step, warmup_s, 2e-3, host.clock) == calls
    assert host.calls == total


def test_the_collector_is_as_it_was_also_after_a_failure() -> None:
    assert gc.isenabled()
    seen = []

    def fail() -> None:
        with pause_collector():
            seen.append(gc.isenabled())
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert seen == [False]
    assert gc.isenabled()
    gc.disable()
    with pause_collector():
        pass
    assert not gc.isenabled()
    gc.enable()


def test_what_is_spared_is_collected_again_afterwards() -> None:
    before = gc.get_freeze_count()
    with spare_collector():
        assert gc.get_freeze_count() > before
    assert gc.get_freeze_count() == 0
