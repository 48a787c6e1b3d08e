import json
import math
from typing import Any

import numpy as np
import pytest

from deconvbench.analysis.selftest import (
    MARGINS,
    RULES,
    SLOWDOWNS,
    Run,
    collect_run,
    find_narrow,
    format_selftest,
    judge_rules,
    judge_selftest,
    list_rows,
    scale_run,
    to_dict,
)
from deconvbench.errors import UsageError
from deconvbench.records.record import Latency
from tests.builders import make_record


def make_run(seed: int, noise: float = 0.01, cases: int = 40, replicates: int = 5, drift: float = 0.03) -> Run:
    """Draw what a machine measures: replicates differ by `drift`, samples within one by `noise`."""
    rng = np.random.default_rng(seed)
    return {
        f"case-{i}": [
            (1e-3 * np.exp(drift * rng.standard_normal() + noise * np.abs(rng.standard_normal(12)))).tolist()
            for _ in range(replicates)
        ]
        for i in range(cases)
    }


def test_identical_runs_raise_no_alarm_with_any_rule() -> None:
    run = make_run(1)
    results = list(judge_rules([(run, run), (run, run)]))
    assert [(r.rule, r.margin) for r in results] == [(rule, margin) for rule in RULES for margin in MARGINS]
    for result in results:
        assert (result.comparisons, result.false_alarms) == (80, 0)
        assert set(result.power) == set(result.narrow_power) == set(SLOWDOWNS)


def test_noise_between_processes_fools_thresholds_and_ranks_but_not_us() -> None:
    runs = [make_run(seed) for seed in range(4)]
    results = {(r.rule, r.margin): r for r in judge_rules([(runs[0], runs[1]), (runs[2], runs[3])])}
    assert results["ours", 0.0].false_alarms <= 0.025
    assert results["ours", 0.05].false_alarms == 0
    for rule in ("pytest-benchmark min", "pytest-benchmark mean", "Mann-Whitney"):
        assert results[rule, 0.0].false_alarms > 0.3
        assert results[rule, 0.02].false_alarms > 0.05


def test_fifteen_per_cent_are_found_by_every_rule() -> None:
    pairs = [(make_run(1, drift=0.01), make_run(2, drift=0.01))]
    for result in judge_rules(pairs):
        assert result.power[0.15] > 0.95
        assert result.power[0.15] >= result.power[0.03]


def test_our_power_grows_with_the_slowdown() -> None:
    results = {(r.rule, r.margin): r for r in judge_rules([(make_run(1), make_run(2))])}
    powers = [results["ours", 0.02].power[share] for share in SLOWDOWNS]
    assert powers == sorted(powers)


def test_faster_is_an_alarm_too() -> None:
    run = make_run(1, drift=0.001, noise=0.001)
    for result in judge_rules([(scale_run(run, 0.2), run)]):
        assert result.false_alarms == 1


def test_without_narrow_cells_their_power_is_unknown() -> None:
    wild = make_run(1, drift=0.5)
    assert not any(find_narrow(wild, wild))
    assert all(math.isnan(v) for r in judge_rules([(wild, wild)]) for v in r.narrow_power.values())


def test_scaling_makes_slower_by_the_share() -> None:
    scaled = scale_run({"a": [[1.0, 2.0], [3.0]]}, 0.1)
    assert list(scaled) == ["a"]
    assert [list(samples) for samples in scaled["a"]] == [pytest.approx([1.1, 2.2]), pytest.approx([3.3])]


def latency(*samples: float) -> Latency:
    return Latency(samples_s=samples, calls_per_sample=1, first_call_s=1, stop_reason="precision")


def test_only_what_is_ok_is_collected() -> None:
    records = [
        make_record(replicate=0, latency=latency(1.0, 2.0)),
        make_record(replicate=1, latency=latency(3.0)),
        make_record(replicate=2, status="crashed", latency=latency(4.0)),
        make_record(replicate=3),
    ]
    assert collect_run(records) == {"nearest_conv-k3-s2-c4x2-8x8": [(1.0, 2.0), (3.0,)]}


def make_result(**settings: Any) -> Any:
    a, b, c, d, e = (make_run(seed, cases=20, **settings) for seed in range(5))
    return judge_selftest((a, b), (c, d), scale_run(e, 0.12), 0.12)


def test_five_runs_are_judged_in_pairs() -> None:
    result = make_result(drift=0.005)
    assert {r.comparisons for r in result.adjacent} == {40}
    assert {r.comparisons for r in result.separate} == {80}
    assert result.slowed_verdicts == {"slower": 20}
    assert result.slowed_ratio == pytest.approx(1.12, abs=0.01)
    assert 0.9 < result.narrow_share <= 1


def test_cases_that_a_run_lacks_are_left_out() -> None:
    a, b, c, d, e = (dict(make_run(seed, cases=6)) for seed in range(5))
    del c["case-1"]
    e["case-2"] = e["case-2"][:2]
    result = judge_selftest((a, b), (c, d), e, 0.1)
    assert {r.comparisons for r in result.adjacent} == {8}
    with pytest.raises(UsageError, match="no case is ok in 3 replicates of all five runs"):
        judge_selftest((a, b), (c, d), {}, 0.1)


@pytest.mark.parametrize("drift", [0.005, 0.5], ids=["narrow", "wild"])
def test_the_result_is_strict_json_and_a_table(drift: float) -> None:
    result = make_result(drift=drift)
    document = json.loads(json.dumps(to_dict(result), allow_nan=False))
    assert document["rows"] == list_rows(result)
    assert len(document["rows"]) == 2 * len(RULES) * len(MARGINS)
    assert list(document["rows"][0]["power"]) == ["3%", "5%", "10%", "15%"]
    assert (document["rows"][0]["narrow_power"]["10%"] is None) == (drift == 0.5)
    assert document["slowed"]["share"] == 0.12
    assert sum(document["slowed"]["verdicts"].values()) == 20

    table, after = format_selftest(result).split("\n\n")
    lines = table.splitlines()
    assert len(lines) == 2 + len(document["rows"])
    assert len({len(line) for line in lines}) == 1
    assert {line.count("|") for line in lines} == {11}
    assert "nan" not in table
    assert "Really slowed by 12% in a busy loop, our rule at 5%: " in after
