import json

import pytest

from deconvbench.analysis.selftest import MARGINS, judge_selftest
from deconvbench.analysis.selftest_rules import RULES
from deconvbench.report.selftest import format_selftest, list_rows, to_dict
from tests.made_pairs import draw_pairs


@pytest.mark.parametrize("two_speeds", [0.0, 0.3])
def test_the_result_is_strict_json_and_a_table(two_speeds: float) -> None:
    result = judge_selftest(draw_pairs(replicates=24, spread=0.01, two_speeds=two_speeds), 0.1)
    document = json.loads(json.dumps(to_dict(result), allow_nan=False))
    assert document["rows"] == list_rows(result)
    assert len(document["rows"]) == len(RULES) * len(MARGINS)
    assert list(document["rows"][0]["power"]) == ["3%", "5%", "10%", "15%"]
    assert document["slowed"]["share"] == 0.1
    assert list(document["slowed"]["verdicts"]) == ["2%", "5%"]
    assert len(document["slot_bias"]) == 3
    assert len(document["two_speeds"]) == (two_speeds > 0)

    table, after = format_selftest(result).split("\n\n")
    lines = table.splitlines()
    assert len(lines) == 2 + len(document["rows"])
    assert len({len(line) for line in lines}) == 1
    assert {line.count("|") for line in lines} == {9}
    assert "6 cases of identical code, 24 replicates" in after
    assert "second block of a round over first 1.000 (" in after or "over first 0.99" in after
    assert ("no case has processes of two speeds" in after) == (two_speeds == 0)
    assert ("% of the processes slower by 3" in after) == (two_speeds > 0)
    assert "Really slowed by 10% in a busy loop, 6 cases, paired rule: at 2% " in after


def test_one_replicate_of_a_bias_has_no_interval() -> None:
    records = [r for r in draw_pairs(replicates=3) if r.pair == "head"]
    controls = [r for r in draw_pairs(replicates=3) if r.pair == "control"]
    whole = judge_selftest([*records, *controls], 0.1)
    one = to_dict(whole) | {}
    assert all(None not in ends.values() for ends in one["slot_bias"].values())
