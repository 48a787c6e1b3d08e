import math
from itertools import combinations_with_replacement, pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from deconvbench.resampling import (
    RESAMPLES,
    TAIL_RESAMPLES,
    Resampled,
    count_resamples,
    resample_mean,
    root_signed,
    square_signed,
    step_down,
)


def make_table(
    seeds: int = 12, images: int = 12, by_seed: float = 1.0, by_image: float = 1.0, rest: float = 1.0
) -> NDArray[np.float64]:
    """Seeds × images with effects of both, and of their pairs."""
    rng = np.random.default_rng(3)
    return (
        by_seed * rng.standard_normal((seeds, 1))
        + by_image * rng.standard_normal((1, images))
        + rest * rng.standard_normal((seeds, images))
    )


def test_the_mean_and_its_resamples() -> None:
    table = make_table()
    found = resample_mean(table)
    assert found.value == pytest.approx(table.mean())
    assert found.draws.shape == (RESAMPLES,)
    assert found.draws.mean() == pytest.approx(table.mean(), abs=0.02)
    assert found.seeds == 12


def test_a_resample_takes_each_pair_as_often_as_its_seed_times_its_image() -> None:
    """A slow twin: means of tables that were put together row by row and column by column."""
    table = make_table(4, 3)
    rows = resample_mean(np.eye(4)[:, :1] * 0 + np.arange(4)[:, None] * np.ones((1, 3)))
    # which seeds were drawn is read from tables that have 1 for one seed, or for one image, alone
    by_seed = np.stack([resample_mean(np.outer(row, np.ones(3))).draws * 4 for row in np.eye(4)], axis=1)
    by_image = np.stack([resample_mean(np.outer(np.ones(4), row)).draws * 3 for row in np.eye(3)], axis=1)
    assert np.allclose(by_seed.sum(1), 4)
    assert np.allclose(by_image.sum(1), 3)
    assert np.allclose(rows.draws, by_seed @ np.arange(4) / 4)
    for number in range(50):
        chosen_seeds = np.repeat(np.arange(4), by_seed[number].round().astype(int))
        chosen_images = np.repeat(np.arange(3), by_image[number].round().astype(int))
        expected = table[np.ix_(chosen_seeds, chosen_images)].mean()
        assert resample_mean(table).draws[number] == pytest.approx(expected)


def test_the_same_values_have_the_same_interval_and_pairs_cancel() -> None:
    table = make_table()
    first, again = resample_mean(table), resample_mean(table.copy())
    assert first.find_interval() == again.find_interval()
    # what both have in common does not widen their difference
    low, high = (resample_mean(table + 0.5) - first).find_interval()
    assert (low, high) == pytest.approx((0.5, 0.5))
    assert (resample_mean(2 * table + 9) / resample_mean(table + 4.5)).find_interval() == pytest.approx((2, 2))


def test_seeds_alone_are_drawn_where_there_are_no_images_and_pair_with_tables_that_have_them() -> None:
    values = np.random.default_rng(0).standard_normal(12)
    alone, repeated = resample_mean(values), resample_mean(np.outer(values, np.ones(5)))
    assert np.allclose(alone.draws, repeated.draws)


@pytest.mark.parametrize("seeds", [6, 12, 30])
def test_seeds_alone_have_nearly_students_interval(seeds: int) -> None:
    """Moved outward for few seeds, percentiles of normal values are about those of Student's t."""
    values = stats.norm.ppf((np.arange(seeds) + 0.5) / seeds)
    low, high = resample_mean(values).find_interval()
    half = stats.t.ppf(0.975, seeds - 1) * values.std(ddof=1) / math.sqrt(seeds)
    assert high == pytest.approx(half, rel=0.1)
    assert low == pytest.approx(-half, rel=0.1)


def test_images_widen_the_interval() -> None:
    def find_width(by_image: float) -> float:
        low, high = resample_mean(make_table(12, 12, 1.0, by_image, 0.1)).find_interval()
        return high - low

    assert find_width(4.0) > 2 * find_width(0.0)


@pytest.mark.slow
def test_intervals_cover_what_they_say() -> None:
    """Crossed effects, 12 seeds × 12 images: 95 % intervals miss the truth in about 5 % of experiments."""
    rng = np.random.default_rng(5)
    missed, tries = 0, 300
    for _ in range(tries):
        table = rng.standard_normal((12, 1)) + 0.7 * rng.standard_normal((1, 12)) + rng.standard_normal((12, 12))
        low, high = resample_mean(table).find_interval()
        missed += not low <= 0 <= high
    assert missed / tries <= 0.08


def test_few_seeds_have_no_interval() -> None:
    def has_interval(seeds: int, level: float) -> bool:
        return not math.isnan(resample_mean(make_table(seeds), level).find_interval(level)[0])

    assert [has_interval(seeds, 0.95) for seeds in (1, 2, 3, 5, 6)] == [False, False, False, False, True]
    # 9 claims together: 1 − 0.05 / 9
    assert [has_interval(seeds, 1 - 0.05 / 9) for seeds in (6, 8, 9, 12)] == [False, False, True, True]


def test_intervals_of_higher_levels_hold_those_of_lower_ones() -> None:
    found = resample_mean(make_table(), 1 - 0.05 / 9)
    ends = [found.find_interval(level) for level in (0.5, 0.9, 0.95, 0.99, 1 - 0.05 / 9)]
    assert all(wide[0] <= narrow[0] and narrow[1] <= wide[1] for narrow, wide in pairwise(ends))


@pytest.mark.parametrize(
    ("seeds", "level", "expected"),
    [
        (12, 0.95, 20_000),
        (12, 0.99, 100_000),
        (9, 1 - 0.05 / 9, 1_500_000),
        (15, 0.9999, 2_000_000),
        (5, 0.95, 20_000),
    ],
    ids=["usual", "higher", "family", "most", "no_interval"],
)
def test_resamples_follow_the_level(seeds: int, level: float, expected: int) -> None:
    assert count_resamples(seeds, level) == expected


@pytest.mark.parametrize("seeds", [9, 12])
def test_ends_of_a_family_rest_on_many_resamples(seeds: int) -> None:
    level = 1 - 0.05 / 9
    found = resample_mean(make_table(seeds), level)
    low, high = found.find_interval(level)
    # nearly 50 of the draws lie beyond each end, so that they are not about the extremes
    assert (found.draws < low).sum() >= TAIL_RESAMPLES - 1
    assert (found.draws > high).sum() >= TAIL_RESAMPLES - 1
    with pytest.raises(ValueError, match=r"level: 0\.99.* needs .* resamples and not 20000"):
        resample_mean(make_table(seeds)).find_interval(level)


def test_ends_of_a_family_are_nearly_those_of_all_resamples_that_there_are() -> None:
    """A slow twin: each of the 24,310 ways to draw nine of nine seeds, by its probability."""
    values, level = make_table(9, 1)[:, 0], 1 - 0.05 / 9
    chosen = np.array(list(combinations_with_replacement(range(9), 9)))
    ways = np.array([math.prod(map(math.factorial, np.bincount(row, minlength=9).tolist())) for row in chosen])
    means, shares = values[chosen].mean(1), math.factorial(9) / ways / 9**9
    order = np.argsort(means)
    tail = stats.norm.cdf(-math.sqrt(9 / 8) * stats.t.ppf((1 + level) / 2, 8))
    expected = means[order][np.searchsorted(np.cumsum(shares[order]), (tail, 1 - tail))]
    assert resample_mean(values, level).find_interval(level) == pytest.approx(
        expected, abs=0.01 * np.ptp(expected)
    )


def test_more_resamples_begin_like_fewer_and_numbers_of_one_level_pair() -> None:
    table = make_table(12, 5)
    few, many = resample_mean(table), resample_mean(table, 0.99)
    assert np.array_equal(many.draws[: few.draws.size], few.draws)
    assert len(np.unique(many.draws)) > 2 * len(few.draws)
    seeds = resample_mean(table.mean(1), 0.99)
    assert np.allclose((many - seeds).draws.mean(), 0, atol=0.01)
    assert (many.images, seeds.images, (many - seeds).images, (seeds - seeds).images) == (5, 0, 5, 0)


def test_a_ratio_to_nothing_has_no_interval() -> None:
    zero = resample_mean(np.zeros((12, 3)))
    ratio = resample_mean(make_table(12, 3)) / zero
    assert math.isnan(ratio.value)
    assert all(math.isnan(end) for end in ratio.find_interval())


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([], "shape"),
        (np.ones((2, 2, 2)), "shape"),
        ([[1.0, math.nan]], "not finite"),
        ([math.inf], "inf is not finite"),
    ],
    ids=["none", "cube", "nan", "inf"],
)
def test_what_cannot_be_averaged_is_named(values: ArrayLike, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        resample_mean(values)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_is_a_probability(level: float) -> None:
    with pytest.raises(ValueError, match="level: .* is not between 0 and 1"):
        resample_mean([1.0, 2.0]).find_interval(level)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_signed_squares_and_roots_undo_each_other(values: list[float]) -> None:
    assert root_signed(square_signed(values)) == pytest.approx(np.array(values), rel=1e-9, abs=1e-12)


def test_powers_are_averaged_and_not_amplitudes() -> None:
    found = resample_mean(square_signed([[3.0, -1.0]])).apply(root_signed)
    assert isinstance(found, Resampled)
    assert found.value == pytest.approx(2.0)
    assert resample_mean(square_signed([[-3.0, 1.0]])).apply(root_signed).value == pytest.approx(-2.0)


def list_holm(errors: dict[str, float], level: float) -> set[str]:
    """Holm's procedure as it is written down: the smallest error against α/n, the next against α/(n − 1), …"""
    decided = set()
    for number, name in enumerate(sorted(errors, key=errors.__getitem__)):
        if errors[name] > (1 - level) / (len(errors) - number):
            break
        decided.add(name)
    return decided


@settings(deadline=None)
@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=9))
def test_stepping_down_is_holms_procedure(errors: list[float]) -> None:
    named = {str(number): error for number, error in enumerate(errors)}
    decided = set()

    def is_decided(name: str, level: float) -> bool:
        holds = named[name] <= 1 - level
        if holds:
            decided.add(name)
        return holds

    levels = step_down(list(named), is_decided)
    assert decided == list_holm(named, 0.95)
    assert all(named[name] <= 1 - levels[name] for name in decided)
    assert all(named[name] > 1 - levels[name] for name in named.keys() - decided)


@pytest.mark.parametrize("order", list(permutations("abc")), ids="".join)
def test_what_is_decided_makes_room_for_the_others(order: tuple[str, ...]) -> None:
    errors = {"a": 0.001, "b": 0.02, "c": 0.2}
    levels = step_down(order, lambda name, level: errors[name] <= 1 - level)
    assert levels == pytest.approx({"a": 1 - 0.05 / 3, "b": 1 - 0.05 / 2, "c": 0.95})
    assert step_down([], lambda *_: True) == {}
