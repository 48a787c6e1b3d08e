import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from deconvbench.analysis.commit_series import (
    LATENCY,
    LEAST_SHARING,
    RATIO,
    Series,
    find_common_mode,
    measure_halves,
    take_latencies,
    take_series,
)
from deconvbench.analysis.comparison_input import Side
from deconvbench.statistics import Floats

BASE = "transposed-k3-s2-c4x2-8x8"


def make_side(latencies: Mapping[str, Sequence[float]], *, baseline: str = "", **changes: Any) -> Side:
    ratios = {case: [value / 2 for value in values] for case, values in latencies.items() if baseline}
    settings: dict[str, Any] = {
        "name": "run", "failures": {}, "metrics": {}, "machine_ids": frozenset(["here"]), "ratios": ratios,
        "baselines": dict.fromkeys(ratios, baseline), **changes,
    }  # fmt: skip
    return Side(latencies_s=latencies, **settings)


def make_series(values: Sequence[float] | Floats, positions: Sequence[int] | None = None) -> Series:
    places = range(len(values)) if positions is None else positions
    return Series(
        case_id="a", metric=LATENCY, baseline="", positions=np.array(places),
        logs=[np.array([value]) for value in values], means=np.array(values), common=np.zeros(len(values)),
    )  # fmt: skip


def test_ratios_are_taken_where_every_commit_has_them_to_one_baseline() -> None:
    timed = make_side({"a": [2.0, 4.0]}, baseline=BASE)
    series = take_series("a", [[timed], [], [timed]])
    assert (series.metric, series.baseline, [*series.positions]) == (RATIO, BASE, [0, 2])
    np.testing.assert_allclose(np.exp(series.logs[0]), [1.0, 2.0])


@pytest.mark.parametrize("other", [make_side({"a": [2.0]}), make_side({"a": [2.0]}, baseline="another")])
def test_else_latencies_are(other: Side) -> None:
    series = take_series("a", [[make_side({"a": [2.0]}, baseline=BASE)], [other]])
    assert (series.metric, series.baseline) == (LATENCY, "")
    np.testing.assert_allclose(np.exp(series.quiet), [2.0, 2.0])


def test_replicates_of_two_runs_of_a_commit_are_pooled() -> None:
    series = take_latencies("a", [[make_side({"a": [1.0]}), make_side({"a": [4.0]}), make_side({})]])
    assert [len(logs) for logs in series.logs] == [2]
    assert math.exp(series.quiet[0]) == pytest.approx(2.0)


def test_what_most_share_is_found_though_some_change_and_some_are_missing() -> None:
    drift = np.array([0.0, 0.1, 0.3, 0.1, 0.0, 0.2])
    sharing = [make_series(level + drift) for level in (1.0, 2.0, 5.0)]
    sharing.append(make_series(drift + 0.5 * (np.arange(6) > 2)))
    # came later, and says nothing of what was before
    sharing += [make_series(7 + drift[3:], [3, 4, 5])]
    sharing += [make_series(9 + drift), make_series(drift)]
    common = find_common_mode(sharing, 6)
    assert common is not None
    np.testing.assert_allclose(common - common[0], drift, atol=1e-12)


def test_between_commits_of_too_few_cases_the_neighbours_tell() -> None:
    sharing = [make_series([0.0, 1.0], [0, 2]) for _ in range(LEAST_SHARING)] + [make_series([5.0], [1])]
    common = find_common_mode(sharing, 4)
    assert common is not None
    np.testing.assert_allclose(common - common[0], [0.0, 0.5, 1.0, 1.0])


def test_few_cases_have_no_common_mode() -> None:
    assert find_common_mode([make_series([0.0, 1.0])] * (LEAST_SHARING - 1), 2) is None
    assert find_common_mode([], 2) is None


def test_a_single_replicate_has_no_interval() -> None:
    halves = measure_halves([np.array([0.0]), np.array([0.0, 0.02]), np.array([0.0, 0.01, 0.02])])
    assert math.isnan(halves[0])
    assert halves[1] > halves[2] > 0
    assert all(map(math.isnan, measure_halves([np.array([1.0])])))
