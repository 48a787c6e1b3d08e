"""The part of a map that repeats."""

import math

import pytest
import torch

from deconvbench.networks.inspection.periodic import read_periodic


def make_pattern(period: int, side: int, dims: int) -> torch.Tensor:
    torch.manual_seed(period)
    tile = torch.randn(1, 2, *(period for _ in range(dims)), dtype=torch.float64)
    axes = tuple(range(2, 2 + dims))
    tile = tile - tile.mean(axes, keepdim=True)
    return tile.repeat(1, 1, *(side // period for _ in range(dims)))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("period", [2, 3, 4])
def test_power_is_that_of_what_repeats_whatever_the_slope(dims: int, period: int) -> None:
    side = 24 if dims == 3 else 48
    pattern = make_pattern(period, side, dims)
    slope = sum(
        torch.arange(side, dtype=torch.float64).reshape([side if one == axis else 1 for one in range(dims)])
        for axis in range(dims)
    )
    part = read_periodic(pattern + 0.3 * slope + 5, period, dims)
    assert part is not None
    assert part.total == pytest.approx(float(pattern.square().mean()), rel=1e-9)
    assert part.periodicity_error < 1e-9
    assert part.scatter < 1e-18


def test_scales_are_told_apart() -> None:
    small, large = make_pattern(2, 64, 2), make_pattern(4, 64, 2)
    means = torch.nn.functional.unfold(large[0][:, None], 2, stride=2)
    assert means.numel()
    part = read_periodic(3 * small, 4, 2)
    assert part is not None
    assert part.power[4] < 1e-20 < part.power[2]
    both = read_periodic(large, 4, 2)
    assert both is not None
    assert both.power[4] > 0
    assert both.power[2] > 0


def test_noise_is_known_as_such() -> None:
    torch.manual_seed(0)
    part = read_periodic(torch.randn(4, 3, 64, 64), 2, 2)
    assert part is not None
    assert part.periodicity_error > 5
    assert max(part.power.values()) < 4 * part.scatter


def test_halves_have_their_own_colours() -> None:
    pattern = make_pattern(2, 64, 2)
    pattern[..., 32:] *= 2
    part = read_periodic(pattern + torch.where(torch.arange(64) < 32, 0.0, 9.0), 2, 2, parts=2)
    whole = float(pattern.square().mean())
    assert part is not None
    assert part.total == pytest.approx(whole, rel=1e-9)


def test_nothing_repeats_in_a_constant() -> None:
    part = read_periodic(torch.full((1, 1, 32, 32), 0.1), 2, 2)
    assert part is not None
    assert part.total == 0
    assert part.periodicity_error == 0


def test_too_small_a_map_is_none_and_a_short_axis_is_averaged() -> None:
    assert read_periodic(torch.rand(1, 1, 8, 8), 8, 2) is None
    part = read_periodic(make_pattern(2, 32, 1)[:, :, None].expand(-1, -1, 2, -1), 2, 2)
    assert part is not None
    assert math.isclose(part.total, float(make_pattern(2, 32, 1).square().mean()), rel_tol=1e-9)
