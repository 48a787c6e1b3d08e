import builtins
import math
from typing import Any

import numpy as np
import pytest

from deconvbench.analysis.change_points import (
    LEAST_POINTS,
    LEAST_SEGMENT,
    clip_outliers,
    find_change_points,
    measure_noise,
)
from deconvbench.errors import UsageError
from deconvbench.statistics import Floats

MARGIN = math.log1p(0.05)


def draw(count: int, spread: float = 0.02, seed: int = 0) -> Floats:
    return np.asarray(np.random.default_rng(seed).normal(0, spread, count))


def step_up(values: Floats, at: int, size: float) -> Floats:
    return np.asarray(values + size * (np.arange(len(values)) >= at))


@pytest.mark.parametrize("size", [0.1, -0.1])
@pytest.mark.parametrize("at", [8, 60, 112])
def test_a_step_is_found_where_it_is(at: int, size: float) -> None:
    (found,) = find_change_points(step_up(draw(120), at, size), margin=MARGIN)
    assert abs(found.position - at) <= 1
    assert found.last_before < at <= found.first_after
    assert found.step == pytest.approx(size, abs=0.03)
    assert found.low < size < found.high


def test_a_clear_step_lies_between_two_neighbours() -> None:
    (found,) = find_change_points(step_up(draw(40, 0.001), 20, 0.1), margin=MARGIN)
    assert (found.last_before, found.position, found.first_after) == (19, 20, 20)


def test_the_less_clear_a_step_is_the_longer_is_its_range() -> None:
    lengths = []
    for spread in (0.005, 0.05, 0.09):
        ranges = [
            found.first_after - found.last_before
            for seed in range(10)
            for found in find_change_points(step_up(draw(200, spread, seed), 100, 0.1), margin=MARGIN)
        ]
        lengths.append(float(np.mean(ranges)))
    assert lengths == sorted(lengths)
    assert lengths[0] == 1
    assert lengths[-1] > 5


def test_up_and_down_again_are_two() -> None:
    values = step_up(step_up(draw(90), 30, 0.2), 60, -0.2)
    found = find_change_points(values, margin=MARGIN)
    assert [point.position for point in found] == [30, 60]
    assert found[0].step == pytest.approx(0.2, abs=0.02)
    assert found[1].step == pytest.approx(-0.2, abs=0.02)


def test_nothing_is_found_in_noise() -> None:
    assert sum(len(find_change_points(draw(200, 0.1, seed), margin=0.0)) for seed in range(40)) <= 4


def test_a_step_below_the_margin_is_left_out_and_its_neighbours_joined() -> None:
    values = step_up(step_up(draw(120, 0.002), 40, 0.02), 80, 0.2)
    (found,) = find_change_points(values, margin=MARGIN)
    assert found.position == 80
    # from the mean of both levels before it
    assert found.step == pytest.approx(0.21, abs=0.005)
    assert len(find_change_points(values, margin=0.01)) == 2


def test_single_outliers_are_not_changes() -> None:
    values = draw(100)
    values[[0, 13, 14, 50, 99]] += 0.7
    assert find_change_points(values, margin=MARGIN) == []


def test_what_wanders_is_noise() -> None:
    slow = 0.05 * np.sin(np.arange(200) / 6)
    assert len(find_change_points(draw(200) + slow, margin=0.0)) == 0
    # as much noise, but white: nothing wanders, so the step beside it is seen
    white = draw(200, 0.035, 1)
    assert len(find_change_points(step_up(white, 100, 0.1), margin=0.0)) == 1


def test_equal_values_have_no_changes_and_two_levels_one() -> None:
    assert find_change_points([1.0] * 20, margin=0.0) == []
    (found,) = find_change_points([1.0] * 10 + [2.0] * 10, margin=MARGIN)
    assert found.position == 10
    assert found.step == pytest.approx(1.0)


def test_too_few_points_tell_nothing() -> None:
    assert find_change_points([0.0] * 3 + [9.0] * 2, margin=MARGIN) == []
    assert len(find_change_points([0.0] * LEAST_SEGMENT + [9.0] * LEAST_SEGMENT, margin=MARGIN)) == 1
    assert LEAST_POINTS == 2 * LEAST_SEGMENT


def test_the_more_series_the_surer_a_change_must_be() -> None:
    values = step_up(draw(30, 0.04, 2), 15, 0.1)
    counts = [len(find_change_points(values, margin=MARGIN, series=series)) for series in (1, 10**9)]
    assert counts == [1, 0]
    narrow, wide = (
        find_change_points(step_up(draw(60), 30, 0.5), margin=MARGIN, series=series)[0] for series in (1, 100)
    )
    assert narrow.high - narrow.low < wide.high - wide.low


def test_outliers_are_drawn_in_and_steps_are_not() -> None:
    values = step_up(draw(40), 20, 1.0)
    disturbed = values.copy()
    disturbed[7] += 0.9
    clipped = clip_outliers(disturbed)
    assert clipped[7] < 0.15
    np.testing.assert_allclose(clipped[20:], values[20:], atol=0.03)


def test_the_noise_is_that_of_a_point_and_hardly_moved_by_a_step() -> None:
    white = draw(400, 0.02)
    assert measure_noise(white)[0] == pytest.approx(0.02**2, rel=0.5)
    assert measure_noise(step_up(white, 200, 0.1))[0] < 1.6 * measure_noise(white)[0]
    walk = np.cumsum(draw(400, 0.02, 1))
    assert measure_noise(walk)[0] > 10 * 0.02**2


def test_without_ruptures_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **settings: Any) -> Any:
        if name.startswith("ruptures"):
            raise ImportError(name)
        return real(name, *arguments, **settings)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UsageError, match=r"needs the package ruptures: pip install 'deconvbench\[history\]'"):
        find_change_points(draw(10), margin=MARGIN)
