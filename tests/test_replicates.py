import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats

from deconvbench.replicates import pool_cases, pool_replicates, shrink_variances


def test_pooling_is_students_t_on_logarithms() -> None:
    medians = [1.00, 1.02, 0.97, 1.01]
    pooled = pool_replicates(medians, 0.9)
    logs = np.log(medians)
    low, high = np.exp(stats.t.interval(0.9, 3, loc=logs.mean(), scale=stats.sem(logs)))
    assert (pooled.value, pooled.low, pooled.high) == pytest.approx((1.005, low, high))
    assert pooled.replicates == 4


def test_a_single_replicate_has_no_interval() -> None:
    for pooled in (pool_replicates([2.0]), pool_replicates([2.0], variance=0.01, dof=5)):
        assert (pooled.value, pooled.replicates) == (2.0, 1)
        assert math.isnan(pooled.low)
        assert math.isnan(pooled.high)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=8), st.floats(0.1, 100))
def test_pooling_knows_neither_order_nor_unit(medians: list[float], factor: float) -> None:
    pooled = pool_replicates(medians)
    assert pooled.low <= pooled.value <= pooled.high
    again = pool_replicates([factor * value for value in reversed(medians)])
    assert again.value == pytest.approx(factor * pooled.value)
    # far ends agree less closely than their exponents do
    assert math.log(again.low / pooled.low) == pytest.approx(math.log(factor), abs=1e-5)
    assert math.log(again.high / pooled.high) == pytest.approx(math.log(factor), abs=1e-5)


def test_the_interval_holds_the_median_even_when_a_given_variance_is_small() -> None:
    pooled = pool_replicates([1.0, 1.0, 2.0], variance=1e-6, dof=50)
    assert pooled.low == pooled.value == 1.0
    assert pooled.high == pytest.approx(2 ** (1 / 3), rel=2e-3)


def test_a_wild_interval_ends_at_zero_and_infinity_instead_of_failing() -> None:
    pooled = pool_replicates([1e-6, 1e6], level=0.999999)
    assert (pooled.low, pooled.high) == (0.0, math.inf)


@pytest.mark.parametrize(
    ("medians", "extra", "problem"),
    [
        ([], {}, "medians: shape"),
        ([1.0, 0.0], {}, r"medians: 0\.0 is not above 0"),
        ([1.0, -2.0], {}, r"medians: -2\.0 is not above 0"),
        ([1.0, math.nan], {}, "medians: nan is not finite"),
        ([1.0, 2.0], {"variance": 0.1}, r"variance and dof: 0\.1 and None; give both or none"),
        ([1.0, 2.0], {"dof": 3.0}, "give both or none"),
    ],
    ids=["none", "zero", "negative", "nan", "variance-alone", "dof-alone"],
)
def test_what_cannot_be_pooled_is_refused(medians: list[float], extra: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        pool_replicates(medians, **extra)


# shrinkage


def draw_variances(
    cells: int, dof: int, prior_dof: float, prior_variance: float
) -> tuple[NDArray[np.float64], ...]:
    """Draw true and sample variances as the model has them."""
    rng = np.random.default_rng(11)
    true = prior_variance * prior_dof / rng.chisquare(prior_dof, cells)
    return true, true * rng.chisquare(dof, cells) / dof


@pytest.mark.parametrize(("prior_dof", "prior_variance"), [(4.0, 1e-4), (10.0, 3.0)])
def test_the_prior_is_found_again(prior_dof: float, prior_variance: float) -> None:
    _, sample = draw_variances(20000, 2, prior_dof, prior_variance)
    shrunk = shrink_variances(sample, np.full(20000, 2))
    assert shrunk.prior_dof == pytest.approx(prior_dof, rel=0.1)
    assert shrunk.prior_variance == pytest.approx(prior_variance, rel=0.03)
    expected = (shrunk.prior_dof * shrunk.prior_variance + 2 * sample) / (shrunk.prior_dof + 2)
    np.testing.assert_allclose(shrunk.variances, expected)
    np.testing.assert_allclose(shrunk.dof, shrunk.prior_dof + 2)


def test_shrinking_makes_intervals_of_three_replicates_stable_and_keeps_their_level() -> None:
    cells, replicates = 2000, 3
    true, _ = draw_variances(cells, replicates - 1, 6.0, 1e-4)
    logs = np.random.default_rng(12).normal(0, np.sqrt(true)[:, None], (cells, replicates))
    shrunk = shrink_variances(logs.var(axis=1, ddof=1), np.full(cells, replicates - 1))
    alone = [pool_replicates(np.exp(row)) for row in logs]
    together = [
        pool_replicates(np.exp(row), variance=variance, dof=dof)
        for row, variance, dof in zip(logs, shrunk.variances, shrunk.dof, strict=True)
    ]
    covered = np.mean([pooled.low <= 1 <= pooled.high for pooled in together])
    assert 0.935 <= covered <= 0.97
    widths = [np.array([pooled.high - pooled.low for pooled in pools]) for pools in (alone, together)]
    assert widths[1].mean() < 0.6 * widths[0].mean()
    assert widths[1].std() < 0.4 * widths[0].std()


def test_cells_that_differ_no_more_than_chance_share_one_variance() -> None:
    variances, dof = [1.0, 1.1, 0.9, 1.0], [2, 2, 2, 4]
    shrunk = shrink_variances(variances, dof)
    assert shrunk.prior_dof == math.inf
    assert shrunk.prior_variance == pytest.approx(np.average(variances, weights=dof))
    np.testing.assert_allclose(shrunk.variances, shrunk.prior_variance)
    # but no cell knows more than all cells together
    np.testing.assert_array_equal(shrunk.dof, [10, 10, 10, 10])


def test_a_cell_without_a_variance_gets_the_usual_one() -> None:
    _, sample = draw_variances(50, 2, 4.0, 1.0)
    with_gap = shrink_variances([*sample, math.nan, 7.0], [*[2] * 50, 0, 0])
    without = shrink_variances(sample, [2] * 50)
    np.testing.assert_allclose(with_gap.variances[:50], without.variances)
    np.testing.assert_allclose(with_gap.variances[50:], without.prior_variance)
    np.testing.assert_allclose(with_gap.dof[50:], without.prior_dof)


def test_variances_of_zero_do_not_drag_the_prior_to_nothing() -> None:
    _, sample = draw_variances(200, 2, 4.0, 1.0)
    some_zero = sample.copy()
    some_zero[:5] = 0
    shrunk = shrink_variances(some_zero, np.full(200, 2))
    assert shrunk.prior_variance > 0.3 * shrink_variances(sample, np.full(200, 2)).prior_variance
    assert (shrunk.variances > 0).all()


@pytest.mark.parametrize(
    ("variances", "dof"),
    [([], []), ([2.0], [3]), ([2.0, math.nan], [3, 0]), ([0.0, 0.0], [2, 2])],
    ids=["no-cell", "one-cell", "one-known", "all-zero"],
)
def test_too_few_cells_leave_everything_as_it_is(variances: list[float], dof: list[float]) -> None:
    shrunk = shrink_variances(variances, dof)
    np.testing.assert_array_equal(shrunk.variances, variances)
    np.testing.assert_array_equal(shrunk.dof, dof)
    assert shrunk.prior_dof == 0
    assert math.isnan(shrunk.prior_variance)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.floats(1e-12, 1e3), st.integers(1, 9)), min_size=2, max_size=12))
def test_a_shrunk_variance_lies_between_its_own_and_the_prior(cells: list[tuple[float, int]]) -> None:
    variances, dof = (np.array(column, dtype=float) for column in zip(*cells, strict=True))
    shrunk = shrink_variances(variances, dof)
    ends = np.sort([variances, np.full_like(variances, shrunk.prior_variance)], axis=0)
    assert (shrunk.variances >= ends[0] * (1 - 1e-9)).all()
    assert (shrunk.variances <= ends[1] * (1 + 1e-9)).all()
    assert (shrunk.dof >= dof).all()
    assert (shrunk.dof <= dof.sum()).all()


def test_the_prior_solves_its_moment_equations() -> None:
    # few wildly different cells: the excess is large, the prior weak
    variances, dof = np.array([1e-6, 1.0, 1e6, 1e-9]), np.array([2.0, 3.0, 2.0, 5.0])
    shrunk = shrink_variances(variances, dof)
    # the smallest ones count as 1e-5 of the median
    raised = np.maximum(variances, 1e-5 * np.median(variances))
    logs = np.log(raised) - special.digamma(dof / 2) + np.log(dof / 2)
    excess = logs.var(ddof=1) - special.polygamma(1, dof / 2).mean()
    assert special.polygamma(1, shrunk.prior_dof / 2) == pytest.approx(excess)
    half = shrunk.prior_dof / 2
    assert math.log(shrunk.prior_variance) == pytest.approx(logs.mean() + special.digamma(half) - math.log(half))


@pytest.mark.parametrize("decades", [1e-4, 0.01, 1, 100], ids=str)
def test_the_prior_is_found_however_much_the_cells_differ(decades: float) -> None:
    logs = decades * np.linspace(-1, 1, 101)
    shrunk = shrink_variances(10**logs, np.full(101, 1e5))
    excess = np.log(np.maximum(10**logs, 1e-5)).var(ddof=1) - special.polygamma(1, 5e4)
    expected = math.inf if excess <= 0 else pytest.approx(excess, rel=1e-6)
    assert expected == (math.inf if math.isinf(shrunk.prior_dof) else special.polygamma(1, shrunk.prior_dof / 2))


@pytest.mark.parametrize(
    ("variances", "dof", "problem"),
    [
        ([1.0, 2.0], [1], r"shapes \(2,\) and \(1,\)"),
        ([[1.0]], [[1]], "not one length"),
        ([1.0, -1.0], [1, 1], "a negative number"),
        ([1.0, 1.0], [1, -1], "a negative number"),
        ([1.0, 1.0], [1, math.nan], "a negative number is neither"),
    ],
    ids=["lengths", "matrix", "negative-variance", "negative-dof", "nan-dof"],
)
def test_what_cannot_be_shrunk_is_refused(variances: list[float], dof: list[float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        shrink_variances(variances, dof)


# Pareto fronts


def test_cases_are_pooled_with_variances_of_all() -> None:
    cases = [[1.0, 1.1, 0.9], [], [2.0], [3.0, 3.01]]
    first, second, third, fourth = pool_cases(cases)
    assert second is None
    assert first is not None
    assert third is not None
    assert fourth is not None
    assert [pooled.replicates for pooled in (first, third, fourth)] == [3, 1, 2]
    assert math.isnan(third.low)
    # what varies little alone is drawn towards the others
    alone = pool_replicates([3.0, 3.01])
    shrunk = shrink_variances(
        [float(np.var(np.log([1.0, 1.1, 0.9]), ddof=1)), float(np.var(np.log([3.0, 3.01]), ddof=1))], [2, 1]
    )
    again = pool_replicates([3.0, 3.01], variance=float(shrunk.variances[1]), dof=float(shrunk.dof[1]))
    assert (fourth.low, fourth.high) == pytest.approx((again.low, again.high))
    assert fourth.high != pytest.approx(alone.high)
    assert pool_cases([]) == []


@pytest.mark.parametrize("level", [0, 1, -0.5, 95, math.nan], ids=str)
def test_a_level_is_between_0_and_1(level: float) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        pool_replicates([1.0], level)
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        pool_cases([[1.0]], level)
