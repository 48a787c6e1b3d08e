"""What every ``--json`` prints, and how a comparison ends."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from deconvbench.analysis.comparison import COMPARISON_COLUMNS
from deconvbench.cli.output import print_rows, show_comparison, show_standings
from deconvbench.records.record import SCHEMA_VERSION, Latency
from tests.builders import make_case, make_record
from tests.json_schemas import check_output
from tests.made_speedups import make_settings, make_speedup_records
from tests.tables.made_records import write_run


def make_comparison(*verdicts: str) -> pd.DataFrame:
    rows = [(f"case-{i}", "latency_s", 1.1, 1.0, 1.2, verdict, "") for i, verdict in enumerate(verdicts)]
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))


def test_rows_are_one_strict_object(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows("grid", [{"a": 1, "b": None}])
    assert json.loads(capsys.readouterr().out) == {
        "schema_version": SCHEMA_VERSION,
        "kind": "grid",
        "rows": [{"a": 1, "b": None}],
    }
    print_rows("grid", [], {"limits": {}})
    assert json.loads(capsys.readouterr().out)["limits"] == {}
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_rows("grid", [{"a": math.nan}])


def test_standings_are_a_table_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latency = Latency(samples_s=(1e-3, 1e-3), calls_per_sample=1, first_call_s=1.0, stop_reason="precision")
    slow = replace(latency, samples_s=(2e-3, 2e-3))
    folder = write_run(
        tmp_path,
        [
            make_record(case=make_case(upsampler="transposed"), latency=latency),
            make_record(case=make_case(upsampler="nearest_conv"), latency=slow),
        ],
    )
    show_standings(folder)
    out, err = capsys.readouterr()
    assert out == ""
    head, columns, first, second = err.strip().splitlines()
    assert head.startswith(
        "forward, cpu, input 8×8; ratio: latency over that of transposed k3 s2, with its 95 % interval;"
    )
    assert columns.split() == ["layer", "ratio", "95", "%", "ripple", "verdict"]
    assert first.split()[:4] == ["transposed", "k3", "s2", "1.00"]
    assert second.split()[:4] == ["nearest_conv", "k3", "s2", "2.00"]


def test_speedups_are_tables_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = list(make_settings(((64, 16),), ("contiguous",), (1,)))
    show_standings(write_run(tmp_path, [*make_speedup_records(settings)]))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip().startswith("times faster than the plain form")
    assert [line.split("|")[1].strip() for line in err.splitlines() if "contiguous, 1 thread" in line] == [
        *("forward frozen", "forward live", "train")
    ]


def test_one_layer_stands_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latency = Latency(samples_s=(1e-3,), calls_per_sample=1, first_call_s=1.0, stop_reason="precision")
    show_standings(write_run(tmp_path, [make_record(latency=latency)]))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("verdicts", "code"), [(("same", "slower"), 1), (("faster", "inconclusive"), 0), ((), 0)])
def test_only_slower_cases_make_it_exit_1(
    verdicts: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_comparison(make_comparison(*verdicts), "a against b") == code
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("verdicts", "fail_on", "code"),
    [
        (("same", "inconclusive"), ("inconclusive",), 1),
        (("slower",), ("inconclusive",), 0),
        (("slower",), ("slower", "inconclusive"), 1),
        (("same", "faster"), ("slower", "inconclusive"), 0),
    ],
)
def test_other_verdicts_can_make_it_fail(
    verdicts: tuple[str, ...], fail_on: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_comparison(make_comparison(*verdicts), "a against b", fail_on=fail_on) == code
    assert capsys.readouterr().out


def test_notes_stand_in_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, summary = tmp_path / "c.html", tmp_path / "c.md"
    show_comparison(make_comparison("slower"), "a against b", page=page, markdown=summary, notes=["control: <1%>"])
    assert "control: <1%>" in capsys.readouterr().out
    assert "control: &lt;1%&gt;" in page.read_text(encoding="utf-8")
    assert "control: " in summary.read_text(encoding="utf-8")


def test_page_and_summary_are_written(tmp_path: Path) -> None:
    show_comparison(make_comparison("slower"), "a against b", page=tmp_path / "c.html", markdown=tmp_path / "c.md")
    assert "a against b" in (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "case-0" in (tmp_path / "c.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["compare", "compare-commits"])
def test_a_comparisons_rows_are_of_the_schema_of_its_command(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_comparison(make_comparison("slower", "same"), "a against b", command=command, as_json=True) == 1
    answer = check_output(capsys.readouterr().out)
    assert answer["kind"] == command
    assert [row["verdict"] for row in answer["rows"]] == ["slower", "same"]


def test_a_dashboard_gets_ratios_and_the_exit_code_stays(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_comparison(make_comparison("slower"), "a against b", kind="bencher") == 1
    assert json.loads(capsys.readouterr().out) == {
        "case-0": {"new-over-base": {"value": 1.1, "lower_value": 1.0, "upper_value": 1.2}}
    }
