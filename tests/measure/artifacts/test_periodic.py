"""The interior: which pixels are kept, that phases stay what they are, and what counts as periodic."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.periodic import find_device, is_periodic, split_interior


@settings(deadline=None, max_examples=60)
@given(
    period=st.integers(1, 5),
    height=st.integers(2, 30),
    width=st.integers(2, 30),
    margin=st.none() | st.integers(0, 9),
)
def test_blocks_are_whole_periods_away_from_the_rim(
    period: int, height: int, width: int, margin: int | None
) -> None:
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    maps = (1000 * rows + columns).expand(2, 3, -1, -1)
    kept = []
    for side in (height, width):
        out = side // 4 if margin is None else margin
        # blocks that start at a multiple of the period and stay off the margin
        kept.append([n for n in range(0, side, period) if n >= out and n + period <= side - out])
    if min(map(len, kept)) < 2:
        with pytest.raises(UsageError, match=rf"margin: .* leave less than two periods of {period}"):
            split_interior(maps, period, margin)
        return
    blocks = split_interior(maps, period, margin)
    assert blocks.shape == (2, 3, len(kept[0]), len(kept[1]), period, period)
    for a, top in enumerate(kept[0]):
        for b, left in enumerate(kept[1]):
            expected = maps[:, :, top : top + period, left : left + period]
            assert torch.equal(blocks[:, :, a, b], expected)


def test_only_what_repeats_is_periodic() -> None:
    tile = torch.randn(2, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    maps = tile.repeat(1, 1, 5, 4)
    assert is_periodic(split_interior(maps, 3, 0))
    assert is_periodic(split_interior(torch.zeros(1, 1, 6, 6), 3, 0))
    assert is_periodic(split_interior(maps * (1 + 1e-15 * torch.arange(12)), 3, 0))
    assert not is_periodic(split_interior(maps * (1 + 1e-6 * torch.arange(12)), 3, 0))
    assert not is_periodic(split_interior(maps, 2, 0))
    maps[1, 2, 7, 7] += 1
    assert not is_periodic(split_interior(maps, 3, 0))
    assert not is_periodic(split_interior(torch.full((1, 1, 6, 6), torch.nan), 3, 0))


def test_module_without_tensors_is_on_the_cpu() -> None:
    assert find_device(nn.ReLU()) == torch.device("cpu")
    assert find_device(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert find_device(nn.BatchNorm2d(1, affine=False, device="meta")) == torch.device("meta")
