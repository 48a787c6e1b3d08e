"""How the work is cut: within what is allowed, complete, and among no more workers than there are."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.upsamplers.fast.native.cutting import cut_work
from deconvbench.upsamplers.fast.native.plans import Plan


@dataclass(frozen=True)
class Counted:
    """Sizes like those of the library."""

    block_channels: int = 32

    def count_block_values(self, plan: int, in_channels: int) -> int:
        return 25 * in_channels * self.block_channels

    def count_band_values(self, plan: int, in_channels: int, width: int, rows: int) -> int:
        return 8 * width * in_channels + rows * ((width + 1) // 2) * (16 * in_channels + 25 * self.block_channels)


PLAN = Plan(index=0, kernel_size=3, scale_factor=2, padding=1, is_resize=True, products=25)
USUAL = {
    "batch": 1,
    "in_channels": 64,
    "out_channels": 64,
    "height": 64,
    "width": 64,
    "threads": 1,
    "is_prepared": True,
    "room_values": 10**9,
}


@given(
    work=st.fixed_dictionaries(
        {
            "batch": st.integers(1, 5),
            "in_channels": st.integers(1, 600),
            "out_channels": st.integers(1, 600),
            "height": st.integers(1, 200),
            "width": st.integers(1, 200),
            "threads": st.integers(1, 70),
            "is_prepared": st.booleans(),
            "room_values": st.integers(-(10**3), 10**8),
        }
    )
)
@settings(deadline=None, max_examples=200)
def test_cuts_are_possible_and_honest(work: dict[str, Any]) -> None:
    sizes = Counted()
    cut = cut_work(sizes, PLAN, **work)
    blocks = -(-work["out_channels"] // sizes.block_channels)
    rows = work["batch"] * ((work["height"] + 1) // 2)
    assert 1 <= cut.splits <= blocks
    assert 1 <= cut.groups <= rows
    assert cut.splits * cut.groups <= work["threads"]
    assert 1 <= cut.rows <= rows
    assert 1 <= cut.blocks <= blocks
    values = sizes.count_band_values(PLAN.index, work["in_channels"], work["width"], cut.rows)
    if not work["is_prepared"]:
        values += cut.blocks * sizes.count_block_values(PLAN.index, work["in_channels"])
    assert cut.values == values
    assert cut.fits == (cut.splits * cut.groups * values <= work["room_values"])


def test_kept_weights_of_a_worker_are_all_there() -> None:
    cut = cut_work(Counted(), PLAN, **{**USUAL, "out_channels": 512, "threads": 4})
    assert cut.splits * cut.groups == 4
    assert cut.blocks * cut.splits == 16


@pytest.mark.parametrize(
    ("out_channels", "expected"), [(32, (1, 2)), (512, (2, 1))], ids=["rows", "output channels"]
)
def test_threads_share_what_saves_transforming_weights(out_channels: int, expected: tuple[int, int]) -> None:
    work = {**USUAL, "in_channels": 512, "height": 16, "width": 16, "threads": 2, "is_prepared": False}
    cut = cut_work(Counted(), PLAN, **{**work, "out_channels": out_channels})
    assert (cut.splits, cut.groups) == expected


def test_little_memory_means_small_bands_and_few_workers() -> None:
    work = {**USUAL, "threads": 4, "height": 16, "width": 16}
    plenty = cut_work(Counted(), PLAN, **work)
    little = cut_work(Counted(), PLAN, **{**work, "room_values": plenty.values})
    assert plenty.splits * plenty.groups == 4
    assert little.fits
    assert little.splits * little.groups < 4
    nothing = cut_work(Counted(), PLAN, **{**work, "room_values": 0})
    assert not nothing.fits
    assert (nothing.splits, nothing.groups) == (1, 1)
    assert nothing.values <= little.values < 4 * plenty.values
