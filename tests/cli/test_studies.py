"""Commands of the studies."""

import json
from pathlib import Path

import pytest

from deconvbench.__main__ import main
from tests.made_pairs import draw_pairs


@pytest.mark.usefixtures("here")
def test_selftest_prints_what_each_rule_did(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deconvbench.analysis.selftest import judge_selftest
    from deconvbench.workflows import selftest as workflow

    def measure_nothing(
        selection: object, slowdown: float, out: object, observer: object, force: bool
    ) -> tuple[object, Path]:
        return judge_selftest(draw_pairs(cases=4, replicates=4, spread=0.001), slowdown), Path("there")

    monkeypatch.setattr(workflow, "run_selftest", measure_nothing)
    assert main(["selftest"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("| rule ")
    assert "Really slowed by 10%" in out
    assert "records and result: there" in err
    assert main(["selftest", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert answer["kind"] == "selftest"
    assert {row["false_alarms"] for row in answer["rows"]} == {0}
