"""Commands of the studies."""

import json
from pathlib import Path

import pytest

from deconvbench.__main__ import main


@pytest.mark.usefixtures("here")
def test_selftest_prints_what_each_rule_did(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deconvbench.analysis.selftest import judge_selftest
    from deconvbench.workflows import selftest as workflow

    run = {"case": [[1.0, 1.01], [1.02, 1.0], [0.99, 1.0]]}

    def measure_nothing(
        selection: object, slowdown: float, out: object, observer: object, force: bool
    ) -> tuple[object, Path]:
        return judge_selftest((run, run), (run, run), run, slowdown), Path("there")

    monkeypatch.setattr(workflow, "run_selftest", measure_nothing)
    assert main(["selftest"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("| runs     | rule ")
    assert "Really slowed by 10%" in out
    assert "runs and result: there" in err
    assert main(["selftest", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert answer["kind"] == "selftest"
    assert {row["false_alarms"] for row in answer["rows"]} == {0}
