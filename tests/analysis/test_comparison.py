import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.analysis.comparison import COMPARISON_COLUMNS, VERDICTS, compare, find_noise_floor, make_row
from deconvbench.analysis.comparison_input import Side, make_side
from deconvbench.analysis.intervals import RatioInterval, judge_interval
from deconvbench.errors import UsageError
from deconvbench.records.record import Latency, Memory, Record
from deconvbench.tables.table import build_table
from tests.builders import make_case, make_record

CASE = "nearest_conv-k3-s2-c4x2-8x8"
OTHER = "subpixel-k3-s2-c4x2-8x8"
STEADY = (1.0, 1.01, 0.99)


def make(latencies: dict[str, Sequence[float]] | None = None, **changes: Any) -> Side:
    values: dict[str, Any] = {
        "name": "a run",
        "latencies_s": {CASE: STEADY} if latencies is None else latencies,
        "failures": {},
        "metrics": {},
        "machine_ids": frozenset(["here"]),
        "torch_versions": frozenset(["2.13.0"]),
        "code_versions": frozenset(["0.1.0"]),
    }
    return Side(**{**values, **changes})


def pick(comparison: pd.DataFrame, case: str = CASE, metric: str = "latency_s") -> dict[str, Any]:
    rows = comparison[(comparison["case_id"] == case) & (comparison["metric"] == metric)]
    assert len(rows) == 1
    return {str(name): value for name, value in rows.iloc[0].items()}


replicates = st.lists(st.floats(1e-6, 10), min_size=3, max_size=6)


class TestCompare:
    def test_a_slower_case_is_found_with_its_numbers(self) -> None:
        comparison = compare(make(), make({CASE: [1.5 * v for v in STEADY]}))
        assert tuple(comparison.columns) == COMPARISON_COLUMNS
        row = pick(comparison)
        assert (row["verdict"], row["reason"]) == ("slower", "")
        assert row["low"] < row["ratio"] < row["high"]
        assert row["ratio"] == pytest.approx(1.5)

    @settings(deadline=None, max_examples=40)
    @given(replicates, replicates, st.floats(0, 0.5))
    def test_verdicts_follow_from_the_numbers_beside_them(
        self, one: list[float], two: list[float], margin: float
    ) -> None:
        row = pick(compare(make({CASE: one}), make({CASE: two}), margin))
        interval = RatioInterval(ratio=row["ratio"], low=row["low"], high=row["high"])
        assert row["verdict"] == judge_interval(interval, margin)
        assert row["verdict"] in VERDICTS
        assert (row["reason"] != "") == (row["verdict"] == "inconclusive")

    def test_inconclusive_says_why(self) -> None:
        row = pick(compare(make({CASE: [1, 2, 3]}), make({CASE: [1, 2, 3]}), 0.025))
        assert (row["verdict"], row["reason"]) == ("inconclusive", "the interval reaches beyond ±2.5%")

    def test_what_no_longer_works_is_slower(self) -> None:
        new = make({OTHER: STEADY}, failures={CASE: "oom: no memory"})
        row = pick(compare(make({CASE: STEADY, OTHER: STEADY}), new))
        assert (row["verdict"], row["reason"]) == ("slower", "ok in BASE, oom: no memory in NEW")
        assert math.isnan(row["ratio"])
        assert math.isnan(row["low"])

    def test_a_run_in_which_nothing_works_any_more_is_slower(self) -> None:
        comparison = compare(make(), make({}, failures={CASE: "crashed: SIGSEGV"}))
        assert pick(comparison)["verdict"] == "slower"

    @pytest.mark.parametrize(
        ("base", "new", "reason"),
        [
            ({"latencies": {CASE: STEADY, OTHER: STEADY}}, {}, "ok in BASE, absent in NEW"),
            ({}, {"latencies": {CASE: STEADY, OTHER: STEADY}}, "absent in BASE, ok in NEW"),
            (
                {"failures": {OTHER: "oom: no"}},
                {"latencies": {CASE: STEADY, OTHER: STEADY}},
                "oom: no in BASE, ok in NEW",
            ),
            ({"failures": {OTHER: "oom: no"}}, {}, "oom: no in BASE, absent in NEW"),
            (
                {"failures": {OTHER: "oom: no"}},
                {"failures": {OTHER: "error: x"}},
                "oom: no in BASE, error: x in NEW",
            ),
        ],
        ids=["gone", "added", "mended", "left out", "broken in both"],
    )
    def test_what_one_side_lacks_is_inconclusive(
        self, base: dict[str, Any], new: dict[str, Any], reason: str
    ) -> None:
        row = pick(compare(make(**base), make(**new)), OTHER)
        assert (row["verdict"], row["reason"]) == ("inconclusive", reason)

    def test_what_cannot_be_built_has_no_row(self) -> None:
        failures = {OTHER: "unsupported: k < s"}
        comparison = compare(make(failures=failures), make(failures=failures))
        assert OTHER not in set(comparison["case_id"])

    def test_too_few_replicates_of_one_case_leave_the_others_compared(self) -> None:
        base = make({CASE: STEADY, OTHER: STEADY})
        new = make({CASE: STEADY, OTHER: STEADY[:2]}, failures={OTHER: "timeout: 60 s"})
        comparison = compare(base, new)
        assert pick(comparison)["verdict"] == "same"
        row = pick(comparison, OTHER)
        assert row["verdict"] == "inconclusive"
        assert (
            row["reason"]
            == "fewer than 3 replicates: 3 in BASE and 2 in NEW; some replicates in NEW timeout: 60 s"
        )

    def test_failed_replicates_of_a_measured_case_are_told(self) -> None:
        row = pick(compare(make(), make(failures={CASE: "crashed: SIGBUS"})))
        assert (row["verdict"], row["reason"]) == ("same", "some replicates in NEW crashed: SIGBUS")

    def test_devices_do_not_share_their_noise(self) -> None:
        noisy = [1.0, 2.0, 0.5]
        quiet = {CASE.replace("8x8", f"{size}x8"): STEADY for size in range(8, 20)}
        alone = pick(compare(make(dict(quiet)), make(dict(quiet))))
        cuda = {f"{CASE}-cuda": noisy}
        beside = pick(
            compare(
                make({**quiet, **cuda}, accelerators=("H100",)), make({**quiet, **cuda}, accelerators=("H100",))
            )
        )
        # the thirteenth case costs a little level and nothing else
        assert beside["high"] == pytest.approx(alone["high"], rel=1e-3)
        assert beside["high"] > alone["high"]

    @pytest.mark.parametrize("swap", [False, True], ids=["larger", "smaller"])
    def test_what_is_not_timed_has_tolerances_of_its_own(self, swap: bool) -> None:
        one = {"peak_memory_bytes": 2.0**20, "macs": 1000.0, "phase_ripple": 0.0, "image_rejection_db": -40.0}
        two = {"peak_memory_bytes": 2.0**21, "macs": 1001.0, "phase_ripple": 0.1, "image_rejection_db": -20.0}
        base, new = make(metrics={CASE: one}), make(metrics={CASE: two})
        comparison = compare(new, base) if swap else compare(base, new)
        word = "smaller" if swap else "larger"
        memory = pick(comparison, metric="peak_memory_bytes")
        assert (memory["verdict"], memory["ratio"]) == (word, 0.5 if swap else 2)
        assert memory["reason"] == ("was 2 MiB, is 1 MiB" if swap else "was 1 MiB, is 2 MiB")
        assert pick(comparison, metric="macs")["verdict"] == word
        assert pick(comparison, metric="macs")["reason"].startswith("was 1,00")
        assert pick(comparison, metric="phase_ripple")["verdict"] == word
        decibels = pick(comparison, metric="image_rejection_db")
        assert decibels["verdict"] == word
        assert math.isnan(decibels["ratio"])

    def test_what_is_within_tolerance_or_unknown_is_no_difference(self) -> None:
        one = {
            "peak_memory_bytes": 1e6,
            "macs": 5.0,
            "phase_ripple": 1e-12,
            "numerical_error": 1e-7,
            "border_error": None,
        }
        two = {
            "peak_memory_bytes": 1.009e6,
            "macs": 5.0,
            "phase_ripple": 0.0,
            "numerical_error": 1.9e-7,
            "border_error": 1.0,
        }
        for before, after in ((one, two), (two, one)):
            comparison = compare(make(metrics={CASE: before}), make(metrics={CASE: after}))
            assert set(comparison["verdict"]) == {"same"}
            assert "border_error" not in set(comparison["metric"])


class TestRefusals:
    @pytest.mark.parametrize(
        ("base", "new", "message"),
        [
            (
                {"machine_ids": frozenset(["a"])},
                {"machine_ids": frozenset(["b"])},
                "machines differ: a run is from a",
            ),
            ({"machine_ids": frozenset("ab")}, {"machine_ids": frozenset("ab")}, r"several machines \(a, b\)"),
            ({"latencies": {OTHER: STEADY}}, {}, f"no measured case in common; there is, for example, {OTHER} in"),
            (
                {"latencies": {}},
                {},
                "a run holds no cases: a comparison needs measured latencies; a run of artifacts",
            ),
            ({}, {"latencies": {}, "name": "NEW"}, "NEW holds no cases: a comparison needs measured latencies"),
            (
                {"latencies": {}, "failures": {CASE: "crashed: x"}},
                {},
                "no measured case in common.*none that worked in a run and",
            ),
            ({}, {"latencies": {CASE: STEADY[:2]}, "name": "NEW"}, f"NEW: {CASE} has 2 replicates; .* at least 3"),
            (
                {"latencies": {f"{CASE}-cuda": STEADY}, "accelerators": ("A100",)},
                {"latencies": {f"{CASE}-cuda": STEADY}, "accelerators": ("H100",)},
                "accelerators differ: a run is from A100, a run from H100",
            ),
        ],
        ids=[
            "machines",
            "several machines",
            "nothing in common",
            "empty base",
            "empty new",
            "only failures",
            "two replicates",
            "accelerators",
        ],
    )
    def test_what_cannot_be_compared_is_refused(
        self, base: dict[str, Any], new: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(UsageError, match=message):
            compare(make(**base), make(**new))

    @pytest.mark.parametrize("margin", [-0.1, 1.0, math.nan])
    def test_a_margin_is_a_share(self, margin: float) -> None:
        with pytest.raises(UsageError, match="--margin"):
            compare(make(), make(), margin)

    @pytest.mark.parametrize("level", [0.0, 1.0, math.nan])
    def test_a_level_is_a_probability(self, level: float) -> None:
        with pytest.raises(UsageError, match="level"):
            compare(make(), make(), level=level)

    @pytest.mark.parametrize(
        ("changes", "note"),
        [
            ({"torch_versions": frozenset(["2.9.0"])}, "torch 2.13.0 against 2.9.0"),
            ({"torch_versions": frozenset[str]()}, "torch 2.13.0 against unknown"),
            ({"machine_ids": frozenset[str]()}, "machine of NEW not recorded"),
        ],
        ids=["torch", "torch unknown", "machine unknown"],
    )
    def test_what_else_differs_is_said_on_every_row(self, changes: dict[str, Any], note: str) -> None:
        base = make(metrics={CASE: {"macs": 3.0}})
        comparison = compare(base, replace(base, **changes))
        assert set(comparison["metric"]) == {"latency_s", "macs"}
        assert set(comparison["reason"]) == {note}

    def test_other_conditions_are_refused_in_one_line_that_names_both(self) -> None:
        base = make(conditions=frozenset(["settled"]))
        with pytest.raises(UsageError, match="a run was timed under settled, b under system; measure"):
            compare(base, make(name="b", conditions=frozenset(["system"])))

    @pytest.mark.parametrize(
        ("known", "reason"), [(["settled"], "conditions of BASE not recorded"), ([], "")], ids=["one", "neither"]
    )
    def test_unknown_conditions_are_said_where_the_other_side_knows(self, known: list[str], reason: str) -> None:
        assert pick(compare(make(), make(conditions=frozenset(known))))["reason"] == reason

    def test_an_unknown_accelerator_is_said(self) -> None:
        side = make({f"{CASE}-cuda:1": STEADY}, accelerators=("H100",))
        row = pick(compare(side, replace(side, accelerators=())), f"{CASE}-cuda:1")
        assert row["reason"] == "accelerator of NEW not recorded"


def measured(replicate: int, latency_s: float, **changes: Any) -> Record:
    latency = Latency(samples_s=(latency_s,) * 3, calls_per_sample=1, first_call_s=1, stop_reason="precision")
    memory = Memory(
        peak_memory_bytes=1000,
        peak_reserved_bytes=None,
        input_bytes=1,
        output_bytes=1,
        parameter_bytes=1,
        gradient_bytes=0,
    )
    values = {"machine_id": "here", "torch_version": "2.13.0", "latency": latency, "memory": memory, "macs": 7}
    return make_record(replicate=replicate, **{**values, **changes})


def test_tables_are_compared() -> None:
    base = build_table(measured(r, 1e-3 * v) for r, v in enumerate(STEADY))
    new = build_table(measured(r, 2e-3 * v) for r, v in enumerate(STEADY))
    comparison = compare(base, new)
    assert pick(comparison)["ratio"] == pytest.approx(2)
    assert pick(comparison, metric="macs")["verdict"] == "same"


def test_threads_and_dtypes_are_never_mixed() -> None:
    sides = [
        make_side(build_table(measured(r, v, case=make_case(**axes)) for r, v in enumerate(STEADY)), "x")
        for axes in ({}, {"threads": 2}, {"dtype": "float64"})
    ]
    for other in sides[1:]:
        with pytest.raises(UsageError, match="no measured case in common"):
            compare(sides[0], other)


class TestRatiosToABaseline:
    def make(self, drift: float = 1.0, change: float = 1.0, **changes: Any) -> Side:
        latencies: dict[str, Sequence[float]] = {OTHER: [drift * v for v in STEADY]}
        latencies[CASE] = [2 * drift * change * v for v in STEADY]
        ratios = {CASE: [2 * change * v for v in (1.0, 1.001, 0.999)]}
        return make(latencies, **{"ratios": ratios, "baselines": {CASE: OTHER}, **changes})

    def test_a_drift_of_all_cancels_but_shows_in_the_baseline(self) -> None:
        comparison = compare(self.make(), self.make(drift=1.5))
        row = pick(comparison)
        assert (row["verdict"], row["reason"]) == ("same", f"by the ratio to {OTHER}")
        assert row["ratio"] == pytest.approx(1)
        assert pick(comparison, OTHER)["ratio"] == pytest.approx(1.5)
        assert pick(comparison, OTHER)["reason"] == ""

    def test_a_change_of_the_case_shows(self) -> None:
        row = pick(compare(self.make(), self.make(drift=0.7, change=1.2)))
        assert row["verdict"] == "slower"
        assert row["ratio"] == pytest.approx(1.2)

    @pytest.mark.parametrize(
        "changes",
        [
            {"baselines": {CASE: "something else"}},
            {"baselines": {}, "ratios": {}},
            {"ratios": {CASE: [2.0, 2.0]}},
        ],
        ids=["another baseline", "none", "too few replicates"],
    )
    def test_without_a_common_baseline_latencies_are_compared(self, changes: dict[str, Any]) -> None:
        row = pick(compare(self.make(), self.make(drift=1.5, **changes)))
        assert row["reason"] == ""
        assert row["ratio"] == pytest.approx(1.5)


def test_the_noise_floor_is_what_intervals_reach() -> None:
    rows = [make_row(f"c{number}", "latency_s", 1.0, "same", "") for number in range(3)]
    for row, reach in zip(rows, (1.01, 1.02, 1.05), strict=True):
        row |= {"low": 1 / reach, "high": reach}
    rows += [make_row("d", "latency_s", math.nan, "inconclusive", ""), make_row("c0", "macs", 1.0, "same", "")]
    floor = find_noise_floor(pd.DataFrame(rows))
    assert floor is not None
    assert floor.median == pytest.approx(0.02)
    assert 0.02 < floor.most < 0.05
    assert find_noise_floor(pd.DataFrame(rows[3:])) is None
