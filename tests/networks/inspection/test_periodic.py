"""The part of a map that repeats."""

import math

import pytest
import torch

from deconvbench.networks.inspection.periodic import average_parts, project, read_periodic


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


def test_the_pattern_is_kept_without_its_mean() -> None:
    tile = make_pattern(4, 4, 2)
    part = read_periodic(tile.repeat(1, 1, 16, 16) + 3.0, 4, 2)
    assert part is not None
    assert part.pattern is not None
    assert part.pattern.shape == (1, 1, 2, 4, 4)
    # wherever its first pixel is
    shifts = [tile.roll((down, right), (2, 3)) for down in range(4) for right in range(4)]
    assert min(float((part.pattern[0] - one).abs().max()) for one in shifts) < 1e-12
    assert float(part.take_waves(2).abs().square().sum()) / 2 == pytest.approx(part.power[2])
    assert average_parts([part, part]).pattern is None


def test_parts_side_by_side_keep_their_own_patterns() -> None:
    left, right = make_pattern(2, 48, 2), -make_pattern(2, 48, 2)
    part = read_periodic(torch.cat([left, right], -1), 2, 2, parts=2)
    assert part is not None
    assert part.pattern is not None
    torch.testing.assert_close(part.pattern[0], -part.pattern[1])


def test_the_share_of_one_pattern_in_another_is_signed_and_of_one_scale() -> None:
    small, large = make_pattern(2, 64, 2), make_pattern(4, 64, 2)
    parts = [
        read_periodic(one, 4, 2) for one in (small + large, 0.25 * (small + large), -small - large, 0 * small)
    ]
    whole, quarter, opposed, nothing = (part for part in parts if part is not None)
    assert project(whole, whole, 2) == pytest.approx(1.0)
    assert project(quarter, whole, 4) == pytest.approx(0.25)
    assert project(opposed, whole, 2) == pytest.approx(-1.0)
    assert project(nothing, whole, 2) == 0.0
    assert project(whole, nothing, 2) == 0.0
