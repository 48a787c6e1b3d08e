"""Random networks, used in random ways: a fused one cannot be told from what it was."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.fusion_fuzz.comparing import compare
from bench.fusion_fuzz.programs import draw_program
from bench.fusion_fuzz.scenarios import draw_scenario


class HypothesisDraw:
    """Decisions of Hypothesis, which finds the smallest network that fails."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def integer(self, low: int, high: int) -> int:
        return self._data.draw(st.integers(low, high))


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_fused_network_cannot_be_told_from_the_original(data: st.DataObject) -> None:
    draw = HypothesisDraw(data)
    program, scenario = draw_program(draw), draw_scenario(draw)
    found = compare(program, scenario).difference
    assert found is None, f"{found}\n{program.source}\n{scenario}"
