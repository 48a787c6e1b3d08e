import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.analysis.intervals import RatioInterval, judge_interval, moderate_variances, ratio_intervals

replicates = st.lists(st.floats(1e-6, 10), min_size=3, max_size=6)
cells = st.lists(st.tuples(replicates, replicates), min_size=1, max_size=6)
margins = st.floats(0, 0.9)
INVERSE = {"faster": "slower", "slower": "faster", "same": "same", "inconclusive": "inconclusive"}
TINY = 1e-9


class TestIntervals:
    @settings(deadline=None, max_examples=60)
    @given(cells, margins)
    def test_swapped_sides_invert_ratio_and_verdict(
        self, found: list[tuple[list[float], list[float]]], margin: float
    ) -> None:
        base, new = [pair[0] for pair in found], [pair[1] for pair in found]
        for one, two in zip(ratio_intervals(base, new), ratio_intervals(new, base), strict=True):
            assert one.ratio * two.ratio == pytest.approx(1)
            if one.low > 0 and one.high < math.inf:
                assert one.low * two.high == pytest.approx(1, rel=1e-6)
            edges = (1 + margin, 1 / (1 + margin))
            # at the very edge of the margin rounding decides
            if all(abs(end / edge - 1) > TINY for end in (one.low, one.high) for edge in edges):
                assert judge_interval(two, margin) == INVERSE[judge_interval(one, margin)]

    @settings(deadline=None, max_examples=60)
    @given(cells, st.floats(1e-6, 1e6))
    def test_another_unit_changes_nothing(
        self, found: list[tuple[list[float], list[float]]], factor: float
    ) -> None:
        base, new = [pair[0] for pair in found], [pair[1] for pair in found]
        slow_base, slow_new = ([[v * factor for v in case] for case in side] for side in (base, new))
        scaled = ratio_intervals(slow_base, slow_new)
        for one, two in zip(ratio_intervals(base, new), scaled, strict=True):
            assert math.log(one.ratio) == pytest.approx(math.log(two.ratio), abs=1e-6)
            assert two.low <= two.ratio <= two.high
            if 1e-100 < one.low < one.high < 1e100:
                # logarithms near 14 carry 16 digits; the variance prior may lose half of them
                assert math.log(one.high / one.low) == pytest.approx(
                    math.log(two.high / two.low), abs=1e-5, rel=1e-3
                )

    def test_no_case_has_no_interval(self) -> None:
        assert ratio_intervals([], []) == []

    def test_equal_replicates_leave_a_point(self) -> None:
        assert ratio_intervals([[2.0] * 3], [[2.0] * 3]) == [RatioInterval(ratio=1.0, low=1.0, high=1.0)]

    def test_one_case_has_students_interval(self) -> None:
        base, new = np.array([1.0, 1.1, 0.95]), np.array([1.2, 1.3, 1.25])
        (found,) = ratio_intervals([base.tolist()], [new.tolist()], 0.9)
        a, b = np.log(base), np.log(new)
        pooled = (2 * a.var(ddof=1) + 2 * b.var(ddof=1)) / 4
        half = 2.131847 * math.sqrt(pooled * (1 / 3 + 1 / 3))  # t(0.95; 4)
        assert math.log(found.low) == pytest.approx(b.mean() - a.mean() - half, rel=1e-6)
        assert math.log(found.high) == pytest.approx(b.mean() - a.mean() + half, rel=1e-6)

    def test_no_replicate_is_left_out(self) -> None:
        base = [1.0, 1.1, 1.05, 7.0, 90.0]
        (found,) = ratio_intervals([base], [[1.0] * 5], 0.9)
        logs = np.log(base)
        half = 1.859548 * math.sqrt(logs.var(ddof=1) / 2 * (1 / 5 + 1 / 5))  # t(0.95; 8)
        assert math.log(found.ratio) == pytest.approx(-logs.mean(), rel=1e-6)
        assert math.log(found.high) == pytest.approx(-logs.mean() + half, rel=1e-6)

    @pytest.mark.parametrize("share", [1 / 6, 1.0], ids=["a sixth of the cases", "all cases"])
    def test_two_speeds_of_processes_raise_few_false_alarms(self, share: float) -> None:
        rng = np.random.default_rng(11)
        alarmed = 0
        for _ in range(60):
            logs = 0.02 * rng.standard_normal((2, 60, 5))
            slow = rng.random((2, 60, 5)) < 0.3
            slow[:, round(share * 60) :] = False
            base, new = np.exp(logs + math.log(1.2) * slow)
            found = ratio_intervals(base.tolist(), new.tolist())
            alarmed += any(judge_interval(interval, 0.05) in ("slower", "faster") for interval in found)
        # the fastest three of five alarm in about a sixth where all cases have two speeds
        assert alarmed <= 5

    def test_what_no_float_holds_is_infinite(self) -> None:
        (found,) = ratio_intervals([[1e-300, 1e300]], [[1e-300, 1e300]], 0.999999)
        assert (found.low, found.high) == (0.0, math.inf)
        assert judge_interval(found, 0.05) == "inconclusive"

    def test_more_cases_widen_the_interval_of_each(self) -> None:
        one, many = ([[1.0, 1.02, 0.99]] * count for count in (2, 60))
        assert ratio_intervals(many, many)[0].high > ratio_intervals(one, one)[0].high > 1


class TestModeration:
    def test_an_odd_case_keeps_its_own_variance_and_freedom(self) -> None:
        rng = np.random.default_rng(5)
        dof = np.full(40, 9.0)
        own = rng.chisquare(9, 40) / 9
        own[3] = 60.0
        variances, freedoms = moderate_variances(own, dof)
        assert (variances[3], freedoms[3]) == (60.0, 9.0)
        assert freedoms[4] > 9
        assert np.delete(variances, 3).std() < np.delete(own, 3).std()

    def test_one_case_is_not_moderated(self) -> None:
        variances, freedoms = moderate_variances([2.0], np.array([4.0]))
        assert (variances.tolist(), freedoms.tolist()) == ([2.0], [4.0])


class TestJudging:
    @pytest.mark.parametrize(
        ("low", "high", "verdict"),
        [
            (1.051, 1.2, "slower"),
            (1.05, 1.2, "inconclusive"),
            (0.8, 0.952, "faster"),
            (0.8, 1 / 1.05, "inconclusive"),
            (1 / 1.05, 1.05, "same"),
            (0.99, 1.01, "same"),
            (0.99, 1.06, "inconclusive"),
            (0.9, 1.2, "inconclusive"),
        ],
    )
    def test_the_interval_decides(self, low: float, high: float, verdict: str) -> None:
        assert judge_interval(RatioInterval(ratio=1, low=low, high=high), 0.05) == verdict

    @settings(deadline=None)
    @given(st.floats(0.1, 10), st.floats(1, 3), margins, margins)
    def test_a_wider_margin_never_finds_more(self, centre: float, width: float, one: float, two: float) -> None:
        interval = RatioInterval(ratio=centre, low=centre / width, high=centre * width)
        narrow, wide = (judge_interval(interval, margin) for margin in sorted((one, two)))
        if narrow == "same":
            assert wide == "same"
        if wide in ("slower", "faster"):
            assert narrow == wide
        if narrow in ("slower", "faster"):
            assert wide in (narrow, "inconclusive", "same")


def simulate(
    rng: np.random.Generator, dof: float, count: int, cases: int = 60
) -> tuple[list[list[float]], list[list[float]]]:
    """Draw replicates of identical code, log-normal, each case with a noise of its own near 1 %."""
    sigma = 0.01 * np.sqrt(dof / rng.chisquare(dof, cases))
    level = rng.uniform(-12, -3, cases)
    logs = level[:, None] + sigma[:, None] * rng.standard_normal((cases, 2 * count))
    return np.exp(logs[:, :count]).tolist(), np.exp(logs[:, count:]).tolist()


@pytest.mark.parametrize("count", [3, 5], ids="{} replicates".format)
@pytest.mark.parametrize("dof", [4.0, 20.0], ids="prior of {:g}".format)
def test_false_alarms_are_as_rare_as_promised(dof: float, count: int) -> None:
    rng = np.random.default_rng(20240601)
    comparisons = 300
    alarmed = 0
    for _ in range(comparisons):
        verdicts = {judge_interval(interval, 0.0) for interval in ratio_intervals(*simulate(rng, dof, count))}
        alarmed += bool(verdicts & {"slower", "faster"})
    # nominal: 5 % of the comparisons, of which 300 show 15 ± 3.8; three sigmas above
    assert alarmed <= 26
    # a rule that never speaks would pass the first line
    assert alarmed > 0


def test_ten_per_cent_are_found_through_one_per_cent_of_noise() -> None:
    rng = np.random.default_rng(7)
    found = []
    for _ in range(30):
        base, new = (np.exp(0.01 * rng.standard_normal((60, 5))) for _ in range(2))
        found += [judge_interval(i, 0.05) for i in ratio_intervals(base.tolist(), (1.1 * new).tolist())]
    assert found.count("slower") / len(found) > 0.95
    assert "faster" not in found
