import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from bench.history_simulation import make_commits, name_cases
from deconvbench.analysis.comparison_input import Side
from deconvbench.analysis.history import (
    HISTORY_COLUMNS,
    MOST_CASES,
    POINT_COLUMNS,
    History,
    MeasuredCommit,
    find_history,
    list_latest,
    measure_untested,
    select_failing,
    select_untested,
)
from deconvbench.errors import UsageError
from deconvbench.statistics import Floats
from tests.analysis.test_commit_series import make_side

COMMITS = 30
CASES = name_cases(8)


def draw(cases: int = 8, commits: int = COMMITS, spread: float = 0.01, seed: int = 0) -> Floats:
    return np.asarray(np.random.default_rng(seed).normal(-7, spread, (cases, commits, 3)))


def trace(logs: Floats, *, with_ratios: bool = False, **settings: Any) -> History:
    return find_history(make_commits(logs, with_ratios=with_ratios), **settings)


def list_named(found: History) -> list[tuple[str, str, str, str]]:
    """What is said of those that are not the same."""
    rows = found.changes[found.changes["verdict"] != "same"]
    columns = ["case_id", "verdict", "last_before", "first_after"]
    return [tuple(row) for row in rows[columns].to_numpy().tolist()]


def make_history(*latencies: Mapping[str, Sequence[float]], **changes: Any) -> list[MeasuredCommit]:
    return [
        MeasuredCommit(commit=f"c{place}", sides=[make_side(found, **changes)])
        for place, found in enumerate(latencies)
    ]


@pytest.mark.parametrize("with_ratios", [True, False])
def test_a_change_is_named_with_its_commits_and_size(with_ratios: bool) -> None:
    logs = draw()
    logs[3, 12:] += math.log(1.2)
    found = trace(logs, with_ratios=with_ratios)
    assert list(found.changes) == [*HISTORY_COLUMNS]
    assert list_named(found) == [(CASES[3], "slower", "11", "12")]
    row = found.changes.set_index("case_id").loc[CASES[3]]
    assert row["low"] < 1.2 < row["high"]
    assert row["ratio"] == pytest.approx(1.2, abs=0.02)
    assert (row["metric"], row["machine_id"], row["commits"]) == ("latency_s", "simulated", 1)
    assert (f"by the ratio to {CASES[0]}" in row["reason"]) == with_ratios


def test_a_drift_of_the_machine_is_taken_out_and_said() -> None:
    drift = 0.2 * np.sin(np.arange(COMMITS) / 4)[:, None]
    logs = draw() + drift
    logs[3, 12:] += math.log(0.8)
    found = trace(logs)
    assert list_named(found) == [(CASES[3], "faster", "11", "12")]
    assert found.notes == ("simulated: what most latencies share is taken out, and judged by itself",)
    quiet = found.points[found.points["case_id"] == CASES[1]]["relative"]
    assert quiet.between(0.97, 1.03).all()


def test_without_drift_nothing_is_taken_out() -> None:
    assert trace(draw(spread=0.05)).notes == ()


def test_what_most_share_is_judged_by_itself_and_blames_no_case() -> None:
    logs = draw() + 0.03 * np.random.default_rng(1).standard_normal((1, COMMITS, 1))
    logs[:7, 15:] += math.log(1.3)
    named = trace(logs)
    shared, *others = named.changes[named.changes["verdict"] != "same"].to_dict("records")
    assert (shared["case_id"], shared["verdict"]) == (MOST_CASES, "inconclusive")
    assert "most cases share became slower: the machine, or code of all of them" in shared["reason"]
    assert (shared["last_before"], shared["first_after"]) == ("14", "15")
    # the one that did not change lies lower, seen from the others
    assert [(row["case_id"], row["verdict"]) for row in others] == [(CASES[7], "faster")]


def test_cases_that_change_together_say_so() -> None:
    logs = draw(spread=0.03)
    logs[1:7, 15:] += math.log(1.5)
    # each case scatters by itself, so nothing is taken out, and each is judged by what it costs
    found = trace(logs)
    assert found.notes == ()
    slower = found.changes[found.changes["verdict"] == "slower"]
    assert [*slower["case_id"]] == CASES[1:7]
    assert {*slower["reason"]} == {"as 6 of 8 cases there: look for one cause"}


def test_each_machine_has_a_history_of_its_own() -> None:
    here, there = draw(2), draw(2, seed=1) + 1.0
    there[1, 20:] += 0.3
    commits = [
        MeasuredCommit(commit=one.commit, sides=[one.sides[0], rename(two.sides[0], "there")])
        for one, two in zip(
            make_commits(here, with_ratios=False), make_commits(there, with_ratios=False), strict=True
        )
    ]
    found = find_history(commits)
    assert len(found.changes) == 4
    (row,) = found.changes[found.changes["verdict"] == "slower"].to_dict("records")
    assert (row["machine_id"], row["case_id"]) == ("there", CASES[1])


def test_too_few_commits_are_measured_and_not_judged() -> None:
    few = make_history({"a": [1.0, 1.0], "b": [3.0]}, {"a": [4.0], "c": [1.0]}, {"a": [2.0], "b": [1.5]})
    found = find_history(few)
    assert [*select_untested(found.changes)["case_id"]] == ["a", "b", "c"]
    ratios = measure_untested(found)
    assert ratios.droplevel(1).to_dict() == pytest.approx({"a": 2.0, "b": 0.5})
    # one that is judged is not among them, nor one that fails now
    whole = trace(draw(2))
    assert select_untested(whole.changes).empty
    assert measure_untested(whole).empty


def rename(side: Side, machine: str) -> Side:
    return make_side(side.latencies_s, machine_ids=frozenset([machine]))


def test_conditions_and_accelerators_part_machines_too() -> None:
    settled = make_side({"a": [1.0]}, conditions=frozenset(["settled"]))
    fast = make_side({"a": [1.0]}, conditions=frozenset(["system"]), accelerators=("H100",))
    found = find_history([MeasuredCommit(commit=name, sides=[settled, fast]) for name in "pq"])
    assert [*found.changes["machine_id"]] == ["here, settled", "here, H100, system"]


def test_few_commits_are_inconclusive() -> None:
    found = find_history(make_history(*[{"a": [1.0, 1.1]}] * 5))
    (row,) = found.changes.to_dict("records")
    assert (row["verdict"], row["reason"]) == (
        "inconclusive", "5 commits; a change is searched for in 6 or more",
    )  # fmt: skip
    assert math.isnan(row["ratio"])


def test_memory_changes_from_one_commit_to_the_next() -> None:
    commits = make_history(*[{"a": [1.0]}] * 4)
    for commit, peak in zip(commits, (10e6, None, 10.01e6, 12e6), strict=True):
        object.__setattr__(commit.sides[0], "metrics", {"a": {"peak_memory_bytes": peak}})
    rows = find_history(commits).changes.to_dict("records")
    (row,) = [row for row in rows if row["metric"] == "peak_memory_bytes"]
    assert (row["verdict"], row["last_before"], row["first_after"]) == ("larger", "c2", "c3")


def test_a_case_that_no_longer_works_is_slower() -> None:
    works, fails = {"a": [1.0], "b": [1.0]}, {"b": [1.0]}
    commits = make_history(works, works, fails, fails)
    for commit in commits[2:]:
        object.__setattr__(commit.sides[0], "failures", {"a": "crashed: SIGSEGV"})
    rows = [row for row in find_history(commits).changes.to_dict("records") if row["verdict"] == "slower"]
    assert [(row["case_id"], row["last_before"], row["first_after"]) for row in rows] == [("a", "c1", "c2")]
    assert rows[0]["reason"] == "worked before; crashed: SIGSEGV"


def test_another_torch_in_the_range_is_named() -> None:
    logs = draw(2)
    logs[1, 12:] += 0.3
    commits = make_commits(logs, with_ratios=False)
    for place, commit in enumerate(commits):
        version = frozenset(["2.12.0" if place < 12 else "2.13.0"])
        object.__setattr__(commit.sides[0], "torch_versions", version)
    (row,) = [row for row in find_history(commits).changes.to_dict("records") if row["verdict"] == "slower"]
    assert row["reason"] == "torch 2.12.0 before, 2.13.0 after"


def test_points_have_value_interval_and_level() -> None:
    logs = draw(1)
    logs[0, 15:] += math.log(1.5)
    points = trace(logs).points
    assert list(points) == [*POINT_COLUMNS]
    assert [*points["position"]] == [*range(COMMITS)]
    assert (points["low"] < points["value"]).all()
    assert (points["value"] < points["high"]).all()
    np.testing.assert_allclose(points["value"], np.exp(logs[0].mean(axis=1)))
    assert set(points["level"].round(1)) == {1.0, 1.5}


@pytest.mark.parametrize(
    ("commits", "message"),
    [
        ([], "0 commits given"),
        (make_history({"a": [1.0]}), "1 commit given"),
        (make_history({}, {}), "no case was measured"),
        (make_history({"a": [1.0]}, {}, machine_ids=frozenset("pq")), r"on several machines \(p, q\)"),
    ],
)
def test_what_is_no_history_is_refused(commits: list[MeasuredCommit], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_history(commits)


def test_a_margin_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="--margin"):
        trace(draw(1), margin=1.5)


def test_only_what_is_seen_since_a_commit_fails() -> None:
    logs = draw(2)
    logs[1, 10:] += 0.3
    found = trace(logs)
    assert len(select_failing(found.changes, ("slower",))) == 1
    assert len(select_failing(found.changes, ("faster",))) == 0
    assert len(select_failing(found.changes, ("slower",), found.commits[10:])) == 1
    assert len(select_failing(found.changes, ("slower",), found.commits[11:])) == 0


def test_the_newest_point_of_each_case_is_listed() -> None:
    logs = draw(2)
    latest = list_latest(trace(logs))
    assert [(row["case_id"], row["commit"]) for row in latest] == [(case, str(COMMITS - 1)) for case in CASES[:2]]
