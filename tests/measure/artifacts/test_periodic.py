"""The interior: which pixels are kept, that phases stay what they are, and what counts as periodic."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.periodic import (
    average_phases,
    find_device,
    is_periodic,
    measure_aperiodicity,
    split_interior,
)


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


def test_the_share_that_does_not_repeat_is_measured() -> None:
    generator = torch.Generator().manual_seed(0)
    tile = torch.randn(2, 3, 3, 3, dtype=torch.float64, generator=generator)
    maps = tile.repeat(1, 1, 20, 20)
    assert measure_aperiodicity(split_interior(maps, 3, 0)) == 0
    assert measure_aperiodicity(split_interior(torch.zeros(1, 1, 6, 6), 3, 0)) == 0
    noise = torch.randn(maps.shape, dtype=torch.float64, generator=generator)
    level = float(maps.square().mean().sqrt())
    for share in (1e-6, 1e-3, 0.1):
        found = measure_aperiodicity(split_interior(maps + share * level * noise, 3, 0))
        assert found == pytest.approx(share / math.sqrt(1 + share**2), rel=0.03)
    # all of a pattern that has another period
    board = torch.tensor([1.0, -1.0]).repeat(30)
    assert measure_aperiodicity(split_interior(board.expand(1, 1, 60, 60), 3, 0)) == pytest.approx(1)


@settings(deadline=None, max_examples=30)
@given(period=st.integers(1, 5), down=st.floats(-3, 3), right=st.floats(-3, 3), seed=st.integers(0, 99))
def test_means_of_the_phases_are_free_of_a_slope(period: int, down: float, right: float, seed: int) -> None:
    tile = torch.randn(2, 3, period, period, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    maps = tile.repeat(1, 1, 5, 4)
    expected = tile - tile[..., :1, :1]
    assert torch.allclose(average_phases(split_interior(maps, period, 0)), expected, rtol=0, atol=1e-14)
    rows, columns = torch.arange(5 * period).double()[:, None], torch.arange(4 * period).double()
    sloping = split_interior(maps + down * rows + right * columns, period, 0)
    assert torch.allclose(average_phases(sloping), expected, rtol=0, atol=1e-11)


def test_module_without_tensors_is_on_the_cpu() -> None:
    assert find_device(nn.ReLU()) == torch.device("cpu")
    assert find_device(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert find_device(nn.BatchNorm2d(1, affine=False, device="meta")) == torch.device("meta")
