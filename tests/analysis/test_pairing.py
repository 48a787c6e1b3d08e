import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deconvbench.analysis.pairing import (
    PairedPlan,
    judge_control,
    judge_pairs,
    list_undecided,
)
from deconvbench.errors import UsageError

ONE_LOOK = PairedPlan(first=5, further=1, most=5)
logarithms = st.lists(st.floats(-1, 1), max_size=32)
sets_of_logs = st.dictionaries(st.sampled_from("abcdefgh"), logarithms, max_size=8)


def draw(
    sigma: float, shift: float = 0.0, cases: int = 60, count: int = 30, seed: int = 1
) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    return {f"case {i}": (shift + sigma * rng.standard_normal(count)).tolist() for i in range(cases)}


class TestPlan:
    def test_looks_end_at_the_last_replicate(self) -> None:
        assert PairedPlan().looks == (10, 15, 20, 25, 30)
        assert PairedPlan(first=4, further=3, most=9).looks == (4, 7, 9)
        assert PairedPlan(first=6, further=3, most=6).looks == (6,)

    @pytest.mark.parametrize(
        ("first", "further", "most", "word"), [(1, 1, 5, "first"), (5, 0, 9, "further"), (5, 1, 4, "most")]
    )
    def test_what_is_no_plan_is_refused(self, first: int, further: int, most: int, word: str) -> None:
        with pytest.raises(UsageError, match=f"plan of replicates: {word} is"):
            PairedPlan(first=first, further=further, most=most)


class TestJudgePairs:
    def test_one_case_and_one_look_have_students_interval(self) -> None:
        logs = [0.01, 0.03, -0.02, 0.00, 0.05]
        judgement = judge_pairs({"a": logs}, margin=0.05, level=0.9, plan=ONE_LOOK)
        found = judgement.verdicts["a"]
        low, high = stats.t.interval(0.9, 4, loc=np.mean(logs), scale=stats.sem(logs))
        assert [found.low, found.high] == pytest.approx([math.exp(low), math.exp(high)])
        assert found.ratio == pytest.approx(math.exp(np.mean(logs)))
        # one case is all that is common
        assert judgement.common_low == pytest.approx(found.low)
        assert judgement.common_high == pytest.approx(found.high)

    @pytest.mark.parametrize(
        ("shift", "verdict"), [(0.1, "slower"), (-0.1, "faster"), (0.0, "same"), (math.log(1.05), "inconclusive")]
    )
    def test_every_verdict_is_given(self, shift: float, verdict: str) -> None:
        judgement = judge_pairs({"a": [shift - 0.01, shift + 0.01] * 15}, margin=0.05)
        assert judgement.verdicts["a"].verdict == verdict
        assert list_undecided(judgement) == (["a"] if verdict == "inconclusive" else [])

    def test_a_verdict_once_given_stays(self) -> None:
        early = draw(0.02, 0.1, cases=4, count=10)
        late = {case: [*logs, *[-0.5] * 20] for case, logs in early.items()}
        first, last = (judge_pairs(logs, margin=0.05) for logs in (early, late))
        assert [replace(found, reason="") for found in first.verdicts.values()] == list(last.verdicts.values())
        assert {found.verdict for found in last.verdicts.values()} == {"slower"}

    @pytest.mark.parametrize("sign", [1, -1])
    def test_a_second_speed_of_some_processes_is_not_a_slower_layer(self, sign: int) -> None:
        logs = [0.3, 0.31, 0.0, 0.01, 0.3, 0.0, 0.31, 0.0, 0.3, 0.0] * 3
        judgement = judge_pairs({"a": [sign * value for value in logs]}, margin=0.02)
        found = judgement.verdicts["a"]
        word = "slower" if sign > 0 else "faster"
        assert max(found.low, 1 / found.high) > 1.02
        assert (found.verdict, found.reason) == ("inconclusive", f"{word} in 15 of 30 pairs only: two speeds")
        assert found.replicates_needed is not None
        assert found.replicates_needed > 30

    def test_too_few_pairs_cannot_exclude_a_second_speed(self) -> None:
        logs = {str(index): [0.3, 0.301, 0.302, 0.299] for index in range(60)}
        plan = PairedPlan(first=4, most=4)
        found = judge_pairs(logs, margin=0.02, plan=plan).verdicts["0"]
        reason = "slower in all 4 pairs, too few to tell from a second speed of some processes"
        assert (found.verdict, found.reason, found.replicates_needed) == ("inconclusive", reason, 8)

    def test_a_majority_of_slow_processes_is(self) -> None:
        found = judge_pairs({"a": [0.3, 0.31, 0.3, 0.0, 0.29] * 6}, margin=0.02).verdicts["a"]
        assert (found.verdict, found.reason) == ("slower", "")

    def test_the_noise_of_an_odd_case_is_its_own(self) -> None:
        logs = draw(0.01, cases=30, count=10)
        logs["odd"] = [0.2 * (-1) ** index + 0.1 for index in range(10)]
        found = judge_pairs(logs, margin=0.05, level=0.9, plan=PairedPlan(first=10, most=10)).verdicts["odd"]
        tail = (1 - 0.9 ** (1 / 31)) / 2
        half = -stats.t.ppf(tail, 9) * stats.sem(logs["odd"])
        assert math.log(found.high) == pytest.approx(0.1 + half)

    def test_an_undecided_case_is_looked_at_again(self) -> None:
        logs = draw(0.02, 0.05, cases=6)
        counts = [judge_pairs(logs, margin=0.02).verdicts[case].replicates for case in logs]
        assert set(counts) <= set(PairedPlan().looks)
        assert len(set(counts)) > 1

    def test_before_the_first_look_nothing_is_decided(self) -> None:
        found = judge_pairs({"a": [0.5, 0.5001] * 4}, margin=0.05).verdicts["a"]
        assert (found.verdict, found.replicates) == ("inconclusive", 8)
        assert found.reason == "8 of the 10 replicates of the first look"
        assert found.low < found.ratio < found.high

    def test_what_the_plan_leaves_out_changes_nothing(self) -> None:
        logs = draw(0.03, 0.05, cases=3, count=30)
        longer = {case: [*found, 9.0] for case, found in logs.items()}
        short, long = (judge_pairs(found, margin=0.05).verdicts for found in (logs, longer))
        assert short == long

    @pytest.mark.parametrize("count", [0, 1])
    def test_a_case_without_two_replicates_has_no_interval(self, count: int) -> None:
        judgement = judge_pairs({"a": [0.3] * count, "b": [0.1, 0.2]}, margin=0.05)
        found = judgement.verdicts["a"]
        assert (found.verdict, found.replicates, found.replicates_needed) == ("inconclusive", count, None)
        assert math.isnan(found.low)

    def test_what_no_float_holds_is_infinite(self) -> None:
        judgement = judge_pairs({"a": [-700.0, 700.0], "b": [-700.0, 700.0]}, margin=0.05)
        assert (judgement.common_low, judgement.common_high) == (0.0, math.inf)
        assert list_undecided(judgement) == ["a", "b"]

    def test_no_case_has_no_verdict(self) -> None:
        judgement = judge_pairs({}, margin=0.05)
        assert judgement.verdicts == {}
        assert math.isnan(judgement.common_ratio)

    def test_more_cases_and_more_looks_widen_the_interval(self) -> None:
        def width(cases: int, most: int) -> float:
            logs = {str(index): [0.0, 0.01] * 5 for index in range(cases)}
            found = judge_pairs(logs, margin=0.0, plan=PairedPlan(first=10, most=most)).verdicts["0"]
            return found.high / found.low

        assert width(1, 10) < width(1, 30) < width(60, 30)

    @settings(deadline=None, max_examples=60)
    @given(sets_of_logs, st.sampled_from([0.0, 0.02, 0.05]))
    def test_swapped_sides_invert_everything(self, logs: dict[str, list[float]], margin: float) -> None:
        swapped = {case: [-value for value in found] for case, found in logs.items()}
        one, two = (judge_pairs(found, margin=margin) for found in (logs, swapped))
        inverse = {"slower": "faster", "faster": "slower", "same": "same", "inconclusive": "inconclusive"}
        for case in logs:
            there, back = one.verdicts[case], two.verdicts[case]
            if there.replicates == back.replicates >= 2 and 0 < there.low < there.high < math.inf:
                assert there.ratio * back.ratio == pytest.approx(1)
                assert math.log(there.low) == pytest.approx(-math.log(back.high), rel=1e-6, abs=1e-9)
                edges = [abs(abs(math.log(end)) - math.log1p(margin)) for end in (there.low, there.high)]
                if min(edges) > 1e-9:
                    assert back.verdict == inverse[there.verdict]

    @settings(deadline=None, max_examples=60)
    @given(sets_of_logs)
    def test_the_ratio_lies_within_its_interval(self, logs: dict[str, list[float]]) -> None:
        for found in judge_pairs(logs, margin=0.05).verdicts.values():
            if found.replicates >= 2:
                assert found.low <= found.ratio <= found.high

    @pytest.mark.parametrize(
        ("margin", "level", "word"), [(-0.1, 0.95, "--margin"), (1.0, 0.95, "--margin"), (0.05, 1.0, "level")]
    )
    def test_bad_thresholds_are_refused(self, margin: float, level: float, word: str) -> None:
        with pytest.raises(UsageError, match=word):
            judge_pairs({"a": [0.0] * 10}, margin=margin, level=level)

    def test_what_is_not_finite_is_refused(self) -> None:
        with pytest.raises(ValueError, match="a holds what is not finite"):
            judge_pairs({"a": [0.0, math.inf]}, margin=0.05)


class TestReplicatesNeeded:
    def test_so_many_decide_in_four_of_five(self) -> None:
        sigma, shift = 0.1, math.log(1.1)
        logs = [shift + sigma * z for z in (-1.5, -1, -0.5, -0.25, 0, 0, 0.25, 0.5, 1, 1.5)]
        found = judge_pairs({"a": logs}, margin=0.05, plan=PairedPlan(first=10, most=10)).verdicts["a"]
        assert found.verdict == "inconclusive"
        needed = found.replicates_needed
        assert needed is not None
        spread, plan = float(np.std(logs, ddof=1)), PairedPlan(first=needed, most=needed)
        rng = np.random.default_rng(3)
        verdicts = [
            judge_pairs({"a": (shift + spread * rng.standard_normal(needed)).tolist()}, margin=0.05, plan=plan)
            for _ in range(400)
        ]
        decided = sum(not list_undecided(judgement) for judgement in verdicts)
        assert 0.74 < decided / 400 < 0.87

    @pytest.mark.parametrize("shift", [math.log(1.05), math.log(1.0501)])
    def test_what_lies_at_the_margin_is_never_decided(self, shift: float) -> None:
        found = judge_pairs({"a": [shift - 0.05, shift + 0.05] * 5}, margin=0.05).verdicts["a"]
        assert (found.verdict, found.replicates_needed) == ("inconclusive", None)


class TestCommonRatio:
    def test_a_slowdown_of_all_is_common_and_each_is_slower(self) -> None:
        judgement = judge_pairs(draw(0.01, math.log(1.1), count=15), margin=0.05)
        assert judgement.common_low < 1.1 < judgement.common_high
        assert judgement.common_low > 1.09
        assert {found.verdict for found in judgement.verdicts.values()} == {"slower"}
        reasons = {found.reason for found in judgement.verdicts.values()}
        assert reasons == {f"as most cases are ({judgement.common_ratio:.3f})"}

    def test_what_is_slower_than_all_others_is_not_excused_by_them(self) -> None:
        logs = {**draw(0.01, math.log(1.1), count=15), "odd": [0.4, 0.41, 0.42] * 5}
        found = judge_pairs(logs, margin=0.05).verdicts["odd"]
        assert (found.verdict, found.reason) == ("slower", "")

    def test_a_few_slow_cases_do_not_move_it(self) -> None:
        logs = draw(0.01)
        for case in list(logs)[:20]:
            logs[case] = [value + 0.5 for value in logs[case]]
        assert judge_pairs(logs, margin=0.05).common_ratio == pytest.approx(1, abs=0.01)

    def test_replicates_of_a_few_undecided_cases_do_not_count(self) -> None:
        logs = {**{str(i): [0.0, 0.01] * 5 for i in range(5)}, "open": [*[0.0, 0.01] * 5, *[9.0] * 5]}
        assert judge_pairs(logs, margin=0.05).common_high < 1.02


class TestJudgeControl:
    def test_quiet_control_tells_the_noise_floor(self) -> None:
        control = draw(0.02, cases=8, count=10)
        found = judge_control(control, margin=0.05)
        assert not found.is_void
        assert found.noise_floor == pytest.approx(math.expm1(max(abs(np.mean(v)) for v in control.values())))
        assert 0.012 < found.spread < 0.028

    @pytest.mark.parametrize(("shift", "word"), [(0.2, "slower"), (-0.2, "faster")])
    def test_a_control_that_differs_voids(self, shift: float, word: str) -> None:
        control: dict[str, Sequence[float]] = {**draw(0.02, cases=7, count=10), "odd": [shift, shift + 0.01] * 5}
        found = judge_control(control, margin=0.05)
        assert found.is_void
        assert found.reasons == (f"the control calls identical code {word}: odd {math.exp(shift + 0.005):.3f}",)

    def test_a_common_shift_voids_before_any_case_is_decided(self) -> None:
        found = judge_control(draw(0.03, 0.055, cases=40, count=10), margin=0.02)
        assert any("all of identical code" in reason for reason in found.reasons)

    def test_nothing_measured_is_not_void(self) -> None:
        found = judge_control({"a": []}, margin=0.05)
        assert not found.is_void
        assert math.isnan(found.noise_floor)
        assert math.isnan(found.spread)
