import pytest

from deconvbench.measure.slowing import slow_down


class Clock:
    """Nanoseconds that pass when something is done, and one with each look."""

    def __init__(self) -> None:
        self.now = 0
        self.looks = 0

    def __call__(self) -> int:
        self.now += 1
        self.looks += 1
        return self.now

    def spend(self, nanoseconds: int) -> None:
        self.now += nanoseconds


@pytest.mark.parametrize("share", [0.03, 0.1, 0.5])
def test_a_call_takes_longer_by_the_share(share: float) -> None:
    clock = Clock()
    calls = []

    def step() -> str:
        calls.append(clock.now)
        clock.spend(10_000)
        return "output"

    slowed = slow_down(step, share, clock)
    assert clock.looks == 0
    for _ in range(3):
        before = clock.now
        assert slowed() == "output"
        assert clock.now - before == pytest.approx(10_000 * (1 + share), abs=3)
    assert len(calls) == 3


def test_each_call_is_slowed_by_what_it_took_itself() -> None:
    clock = Clock()
    durations = iter((1_000, 50_000))
    slowed = slow_down(lambda: clock.spend(next(durations)), 0.2, clock)
    slowed()
    before = clock.now
    slowed()
    assert clock.now - before == pytest.approx(60_000, abs=3)


def test_nothing_is_waited_for_with_a_share_of_zero() -> None:
    clock = Clock()
    slow_down(lambda: clock.spend(1_000), 0.0, clock)()
    assert clock.looks == 3


def test_what_the_step_raises_comes_through() -> None:
    def fail() -> None:
        raise LookupError("no weights")

    with pytest.raises(LookupError, match="no weights"):
        slow_down(fail, 0.1, Clock())()
