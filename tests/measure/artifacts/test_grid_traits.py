"""What the lines of a grid tell of its origin: grids, stripes, and screens of no whole period."""

import numpy as np
import pytest

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.grid_traits import examine_grid
from tests.measure.artifacts.content import draw_one_over_f, normalise, repeat_tile


@pytest.mark.parametrize("period", [2, 3, 4, 8, 16], ids="P{}".format)
def test_a_grid_keeps_its_period_and_lies_both_ways(period: int) -> None:
    tile = normalise(np.random.default_rng(period).standard_normal((period, period)))
    found = examine_grid(draw_one_over_f(1) + 0.1 * repeat_tile(tile, (256, 256)), period)
    assert abs(found.stretch) < 0.005
    assert found.one_way < 0.97


@pytest.mark.parametrize(("exact", "near"), [(4.1, 4), (5.7, 6), (8.2, 8)])
def test_a_screen_shows_its_true_period(exact: float, near: int) -> None:
    rows, columns = np.indices((256, 256))
    screen = np.cos(2 * np.pi * rows / exact) * np.cos(2 * np.pi * columns / exact)
    found = examine_grid(draw_one_over_f(2) + 0.2 * screen, near)
    assert abs(found.stretch) > max(3 * found.stretch_error, 0.005)
    assert near * (1 + found.stretch) == pytest.approx(exact, rel=0.02)


def test_a_change_of_sign_from_region_to_region_is_no_stretch() -> None:
    tile = normalise(np.random.default_rng(0).standard_normal((4, 4)))
    signs = np.kron(np.random.default_rng(1).choice([-1, 1], (2, 2)), np.ones((128, 128)))
    found = examine_grid(draw_one_over_f(1) + 0.2 * signs * repeat_tile(tile, (256, 256)), 4)
    assert abs(found.stretch) < 0.005


@pytest.mark.parametrize(("axis", "direction"), [(0, "downward"), (1, "to the right")])
def test_stripes_repeat_one_way(axis: int, direction: str) -> None:
    stripes = np.sign(np.cos(2 * np.pi * (np.indices((256, 256))[axis] + 0.25) / 4))
    found = examine_grid(draw_one_over_f(1) + 0.2 * stripes, 4)
    assert found.one_way > 0.97
    assert found.direction == direction


def test_an_image_without_anything_has_no_traits() -> None:
    found = examine_grid(np.full((128, 128), 7.0), 2)
    assert (found.one_way, found.stretch, found.stretch_error) == (0.0, 0.0, np.inf)


def test_an_image_of_one_patch_has_a_period_that_nothing_is_known_of() -> None:
    tile = np.random.default_rng(0).standard_normal((16, 16))
    found = examine_grid(repeat_tile(tile, (128, 128)), 16)
    assert (found.stretch, found.stretch_error) == (0.0, np.inf)
    assert found.one_way < 0.97


def test_what_is_too_small_is_refused() -> None:
    with pytest.raises(UsageError, match="too few for period 8"):
        examine_grid(np.zeros((64, 64)), 8)
