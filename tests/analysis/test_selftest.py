import math
from dataclasses import replace

import pytest

from deconvbench.analysis.selftest import (
    MARGINS,
    SLOWDOWNS,
    collect_runs,
    find_biases,
    judge_rules,
    judge_selftest,
)
from deconvbench.analysis.selftest_rules import RULES
from deconvbench.errors import UsageError
from tests.made_pairs import draw_pairs


def test_only_what_is_ok_and_of_the_pair_is_collected() -> None:
    records = draw_pairs(cases=3, replicates=4)
    lost = [
        replace(record, status="crashed") if index == 0 or record.case.height == 9 else record
        for index, record in enumerate(records)
    ]
    base, head = collect_runs(lost, "control")
    assert list(base) == list(head) == ["nearest_conv-k3-s2-c4x2-10x10", "nearest_conv-k3-s2-c4x2-8x8"]
    assert [len(replicates) for replicates in base.values()] == [4, 3]
    assert base != head


def test_every_rule_judges_every_margin() -> None:
    results = list(judge_rules(*collect_runs(draw_pairs(cases=20), "control")))
    assert [(r.rule, r.margin) for r in results] == [(rule, margin) for rule in RULES for margin in MARGINS]
    for result in results:
        assert result.comparisons == 20
        assert list(result.power) == list(SLOWDOWNS)
        assert result.power[0.15] >= result.power[0.03]
    paired = {result.margin: result for result in results if result.rule == "paired"}
    assert {result.false_alarms for result in paired.values()} == {0}
    assert paired[0.05].power[0.15] == 1


def test_a_selftest_is_judged() -> None:
    result = judge_selftest(draw_pairs(cases=12, replicates=12, slowdown=0.1), 0.1)
    assert (result.cases, result.replicates) == (12, 12)
    assert all(0.006 < spread < 0.04 for spread in result.spreads.values())
    assert result.slowed.cases == 12
    assert result.slowed.ratio == pytest.approx(1.1, abs=0.01)
    assert {sum(counts.values()) for counts in result.slowed.verdicts.values()} == {12}
    assert result.slowed.verdicts[0.02]["slower"] > 10
    assert result.two_speeds == {}


@pytest.mark.parametrize("pair", ["control", "head"])
def test_without_either_pair_there_is_no_result(pair: str) -> None:
    records = [record for record in draw_pairs(cases=2, replicates=4) if record.pair == pair]
    with pytest.raises(UsageError, match="no case is ok in 3 replicates"):
        judge_selftest(records, 0.1)


def test_a_slow_first_block_is_found_and_favours_neither_process() -> None:
    biases = find_biases(draw_pairs(cases=8, spread=0.001, first_block=0.03))
    block = biases["second block of a round over first"]
    assert block.high < 1
    assert block.ratio == pytest.approx(1 / 1.03, abs=0.002)
    for name in ("second process over first", "asked second over asked first"):
        assert biases[name].ratio == pytest.approx(1, abs=0.002)


def test_records_that_do_not_say_who_was_first_tell_of_the_processes_alone() -> None:
    records = [replace(record, first_side="") for record in draw_pairs(replicates=1)]
    biases = find_biases(records)
    assert list(biases) == ["second process over first"]
    assert math.isnan(biases["second process over first"].low)


def test_processes_of_two_speeds_are_named() -> None:
    result = judge_selftest(draw_pairs(replicates=24, spread=0.01, two_speeds=0.3), 0.1)
    assert list(result.two_speeds) == ["nearest_conv-k3-s2-c4x2-8x8"]
    found = result.two_speeds["nearest_conv-k3-s2-c4x2-8x8"]
    assert found.step == pytest.approx(0.3, abs=0.02)
    assert 0.1 < found.slow_share < 0.5
