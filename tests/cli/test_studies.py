"""Commands of the studies."""

from pathlib import Path
from typing import Any

import pytest

from deconvbench.__main__ import main
from deconvbench.progress import PartDone, PartObserver
from deconvbench.studies import validation
from deconvbench.studies.validation.workflow import Validation
from tests.json_schemas import check_output
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
    answer = check_output(capsys.readouterr().out)
    assert answer["kind"] == "selftest"
    assert {row["false_alarms"] for row in answer["rows"]} == {0}


def test_validate_prints_its_tables_and_last_the_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def measure(out_dir: Path, *, observer: PartObserver, **options: Any) -> Validation:
        asked.update(options, out_dir=out_dir)
        observer(PartDone(done=1, total=2, title="read a.png", note="left out: b.txt: not an image"))
        return Validation(page=out_dir / "README.md", summary="| a table |\n\n31 of 32 lines met.")

    monkeypatch.setattr(validation, "validate", measure)
    monkeypatch.chdir(tmp_path)
    assert main(["validate", "--images", "mine", "--seeds", "3", "--out", "found"]) == 0
    assert asked == {"out_dir": Path("found"), "images": Path("mine"), "seeds": 3, "force": False}
    out, err = capsys.readouterr()
    assert out.splitlines() == ["| a table |", "", "31 of 32 lines met.", str(Path("found", "README.md"))]
    assert "left out: b.txt: not an image\n" in err
