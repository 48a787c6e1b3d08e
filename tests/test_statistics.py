import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats

from deconvbench.statistics import mean_interval, median_interval, pareto_front, relative_half_width, spread

latencies = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=40)


def median_interval_reference(samples: list[float], level: float) -> tuple[float, float]:
    """Try every pair of order statistics that is as far from one end as from the other, from the inside."""
    ordered, count = sorted(samples), len(samples)
    for k in range(count // 2, 0, -1):
        inside = sum(math.comb(count, j) for j in range(k, count - k + 1)) / 2**count
        if inside >= level:
            return ordered[k - 1], ordered[count - k]
    return ordered[0], ordered[-1]


@settings(deadline=None, max_examples=200)
@given(latencies, st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99]))
def test_median_interval_agrees_with_the_obvious_search(samples: list[float], level: float) -> None:
    median, low, high = median_interval(samples, level)
    assert (low, high) == median_interval_reference(samples, level)
    assert median == np.median(samples)
    assert low <= median <= high


@pytest.mark.parametrize(
    ("count", "k"), [(1, 1), (5, 1), (6, 1), (8, 1), (9, 2), (10, 2), (20, 6), (30, 10), (50, 18), (70, 27)]
)
def test_median_interval_uses_the_published_order_statistics(count: int, k: int) -> None:
    # Le Boudec 2010, table of appendix A: at 95 %, n = 10 uses x(2) and x(9), n = 30 uses x(10) and x(21), ...
    samples = np.arange(1, count + 1)[::-1]
    assert median_interval(samples) == ((count + 1) / 2, k, count + 1 - k)


def test_median_interval_covers_as_often_as_it_says() -> None:
    # exact: each sample is above or below the median with probability 1/2, so all patterns are equally likely
    count = 9
    _, low, high = median_interval(range(count))
    misses = sum(sum(above) > high or sum(above) <= low for above in product((0, 1), repeat=count))
    assert 1 - misses / 2**count == pytest.approx(0.9609375)


def test_a_higher_level_never_narrows_the_interval() -> None:
    samples = np.random.default_rng(3).lognormal(size=40)
    widths = [np.subtract(*median_interval(samples, level)[:0:-1]) for level in (0.5, 0.8, 0.95, 0.999999999999)]
    assert widths == sorted(widths)
    assert widths[-1] == np.ptp(samples)


def test_one_stall_does_not_move_median_interval_or_spread() -> None:
    samples = np.linspace(1.0, 1.02, 30)
    stalled = np.append(samples[:-1], 50.0)
    assert median_interval(stalled) == median_interval(samples)
    assert spread(stalled) == pytest.approx(spread(samples))


@settings(deadline=None, max_examples=50)
@given(latencies, st.floats(0.1, 100))
def test_relative_numbers_have_no_unit(samples: list[float], factor: float) -> None:
    scaled = [factor * sample for sample in samples]
    assert relative_half_width(scaled) == pytest.approx(relative_half_width(samples), rel=1e-6, abs=1e-9)
    assert spread(scaled) == pytest.approx(spread(samples), rel=1e-6, abs=1e-9)


def test_relative_half_width_is_the_longer_side() -> None:
    samples = [1.0, 1.9, 2.0, 2.0, 2.6]
    assert relative_half_width(samples) == pytest.approx(0.5)
    assert relative_half_width([2.0]) == 0
    assert relative_half_width([0.0, 0.0]) == 0
    assert relative_half_width([-1.0, 0.0, 1.0]) == math.inf


def test_spread_of_a_normal_is_its_coefficient_of_variation() -> None:
    samples = stats.norm(10, 0.5).ppf((np.arange(10001) + 0.5) / 10001)
    assert spread(samples) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(("samples", "expected"), [([3.0], 0.0), ([0.0, 0.0], 0.0), ([-1.0, 0.0, 1.0], math.inf)])
def test_spread_at_its_limits(samples: list[float], expected: float) -> None:
    assert spread(samples) == expected


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        ([], r"samples: shape \(0,\) is not one row"),
        ([[1.0]], r"samples: shape \(1, 1\) is not one row"),
        ([1.0, math.nan], "samples: nan is not finite"),
        ([math.inf], "samples: inf is not finite"),
    ],
    ids=["none", "matrix", "nan", "inf"],
)
def test_samples_that_are_none_are_refused(samples: list[float], problem: str) -> None:
    for function in (median_interval, mean_interval, relative_half_width, spread):
        with pytest.raises(ValueError, match=problem):
            function(samples)


@pytest.mark.parametrize("level", [0, 1, -0.5, 95, math.nan], ids=str)
def test_a_level_is_between_0_and_1(level: float) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        median_interval([1.0], level)
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        mean_interval([1.0, 2.0], level)


# intervals of means


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12), st.sampled_from([0.5, 0.95, 0.99]))
def test_mean_interval_is_students_t(samples: list[float], level: float) -> None:
    assume(np.std(samples) > 1e-6)
    mean, low, high = mean_interval(samples, level)
    expected = stats.t.interval(level, len(samples) - 1, np.mean(samples), stats.sem(samples))
    assert mean == pytest.approx(np.mean(samples), abs=1e-9)
    assert (low, high) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_mean_interval_covers_as_often_as_it_says() -> None:
    draws = np.random.default_rng(3).normal(2.0, 0.3, size=(2000, 8))
    intervals = [mean_interval(row)[1:] for row in draws]
    assert np.mean([low <= 2.0 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.015)


def test_equal_samples_have_an_interval_of_no_width() -> None:
    # 0.1 three times sums to more than 0.3
    assert mean_interval([0.1] * 3) == (0.1, 0.1, 0.1)


def test_one_sample_has_a_mean_and_no_interval() -> None:
    mean, low, high = mean_interval([0.25])
    assert mean == 0.25
    assert math.isnan(low)
    assert math.isnan(high)


def pareto_front_reference(cost: NDArray[np.float64], quality: NDArray[np.float64]) -> list[bool]:
    """Ask every point about every other."""

    def beats(i: int, j: int) -> bool:
        at_least = cost[i] <= cost[j] and quality[i] <= quality[j]
        return bool(at_least and (cost[i] < cost[j] or quality[i] < quality[j]))

    indices = range(len(cost))
    known = [not (math.isnan(cost[i]) or math.isnan(quality[i])) for i in indices]
    return [known[i] and not any(beats(j, i) for j in indices if known[j]) for i in indices]


# few different values, so that ties happen
_COORDINATES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 3.5, -1.0, math.inf, -math.inf, math.nan])


@settings(deadline=None, max_examples=300)
@given(hnp.arrays(np.float64, st.tuples(st.just(2), st.integers(0, 12)), elements=_COORDINATES))
def test_pareto_front_agrees_with_asking_every_pair(points: NDArray[np.float64]) -> None:
    assert pareto_front(*points).tolist() == pareto_front_reference(*points)


@settings(deadline=None, max_examples=100)
@given(hnp.arrays(np.float64, st.tuples(st.just(2), st.integers(1, 12)), elements=_COORDINATES))
def test_some_known_point_is_on_the_front(points: NDArray[np.float64]) -> None:
    assume(not np.isnan(points).any(axis=0).all())
    assert pareto_front(*points).any()


def test_pareto_front_by_hand() -> None:
    cost = [1.0, 2.0, 3.0, 1.0, 2.0, 4.0, math.nan]
    quality = [5.0, 3.0, 3.0, 5.0, math.nan, 0.0, -9.0]
    assert pareto_front(cost, quality).tolist() == [True, True, False, True, False, True, False]


@pytest.mark.parametrize(("cost", "quality"), [([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]])], ids=["lengths", "matrix"])
def test_pareto_front_wants_one_length(cost: list[float], quality: list[float]) -> None:
    with pytest.raises(ValueError, match="are not one length"):
        pareto_front(cost, quality)
