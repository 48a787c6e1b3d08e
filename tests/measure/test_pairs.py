"""One side of a pair: the same numbers on both sides, and blocks when they are asked for."""

import gc
from pathlib import Path

import pytest
import torch

from deconvbench.errors import UnsupportedError
from deconvbench.measure.noise import BlockWatch, Source
from deconvbench.measure.pairs import PairedStep
from tests.builders import make_case


class Clock:
    """A clock on which each reading comes a millisecond after the one before."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1_000_000
        return self.now


@pytest.mark.parametrize("step", ["forward", "train"])
def test_two_sides_with_one_seed_give_the_same(step: str, tmp_path: Path) -> None:
    case = make_case(step=step)
    one, two, other = PairedStep(case, 3), PairedStep(case, 3), PairedStep(case, 4)
    assert one.digest() == two.digest() != other.digest()
    one.write_outputs(tmp_path / "outputs.pt")
    assert two.find_difference(tmp_path / "outputs.pt") == 0
    assert 0.01 < other.find_difference(tmp_path / "outputs.pt") <= 2
    for side in (one, two, other):
        side.close()


def test_training_compares_the_gradients_too() -> None:
    forward, train = (PairedStep(make_case(step=step), 3) for step in ("forward", "train"))
    assert len(forward._outputs) == 1
    # of output and input, and of weight and bias
    assert len(train._outputs) == 4
    for side in (forward, train):
        side.close()


def test_other_dtypes_are_digested() -> None:
    one, two = (PairedStep(make_case(dtype="bfloat16"), seed) for seed in (1, 2))
    assert one.digest() != two.digest()
    one.close()
    two.close()


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    PairedStep(make_case(step="train"), 3).close()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_block_is_the_mean_over_its_calls() -> None:
    side = PairedStep(make_case(), 3, clock=Clock())
    # two readings a block, a millisecond apart
    seconds, _ = side.time_block(4)
    assert seconds == pytest.approx(0.25e-3)
    side.close()


def test_a_block_says_what_took_time_from_it() -> None:
    side = PairedStep(make_case(), 3, clock=Clock())
    side._watch = BlockWatch(sources=[Source(what="stolen by the test", read=iter([0.0, 5e-4]).__next__)])
    assert side.time_block(1)[1] == "50% of the block stolen by the test"
    side.close()


def test_warm_up_finds_a_block_that_is_long_enough() -> None:
    side = PairedStep(make_case(), 3)
    calls = side.warm_up(0.0, 1e-3)
    assert calls >= 1
    assert calls & (calls - 1) == 0
    side.close()


def test_garbage_waits_until_the_case_is_dropped() -> None:
    side = PairedStep(make_case(), 3)
    assert not gc.isenabled()
    side.close()
    assert gc.isenabled()


def test_a_slowdown_reaches_the_blocks() -> None:
    clock = Clock()
    side = PairedStep(make_case(), 3, slowdown=0.5, clock=clock)
    calls = []
    timed = side._call

    def note() -> torch.Tensor:
        calls.append(1)
        return timed()

    side._call = note  # what is timed is what was slowed
    side.time_block(3)
    # one before them that is not timed
    assert calls == [1, 1, 1, 1]
    side.close()
    slowed = PairedStep(make_case(), 3, slowdown=0.5)
    # the clock is read as on the other side, and nothing added
    alike = PairedStep(make_case(), 3, slowdown=0.0)
    plain = PairedStep(make_case(), 3)
    assert slowed._call.__qualname__.startswith("slow_down")
    assert alike._call.__qualname__.startswith("slow_down")
    assert "slow_down" not in plain._call.__qualname__
    for side in (slowed, alike, plain):
        side.close()


def test_what_cannot_be_built_is_said() -> None:
    with pytest.raises(UnsupportedError):
        PairedStep(make_case(upsampler="transposed", kernel_size=1), 3)
