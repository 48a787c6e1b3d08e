"""Two saved runs compared from the command line."""

import json
from pathlib import Path

import pytest

from deconvbench.__main__ import main


@pytest.mark.parametrize(
    ("line", "code", "verdict"),
    [
        ("base.json slow.json", 1, "slower"),
        ("slow.json base.json", 0, "faster"),
        ("base.json base.json", 0, "same"),
        ("base.json slow.json --margin 60%", 0, "same"),
    ],
)
@pytest.mark.usefixtures("here")
def test_compare_exits_1_where_something_is_slower(
    line: str, code: int, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *line.split()]) == code
    out, err = capsys.readouterr()
    assert f"1 case: {'1' if verdict == 'slower' else '0'} slower" in out
    assert f"1 {verdict}" in out
    assert err == ""


@pytest.mark.usefixtures("here")
def test_compare_as_json_is_one_strict_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "base.json", "slow.json", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (answer["schema_version"], answer["kind"]) == (1, "compare")
    latency, ripple = answer["rows"]
    assert list(latency) == ["case_id", "metric", "ratio", "low", "high", "verdict", "reason"]
    assert (latency["metric"], latency["verdict"], latency["ratio"]) == ("latency_s", "slower", pytest.approx(1.5))
    assert (ripple["verdict"], ripple["ratio"], ripple["low"], ripple["high"]) == ("same", None, None, None)


@pytest.mark.usefixtures("here")
def test_compare_writes_a_page_and_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "base.json", "slow.json", "--html", "c.html", "--markdown", "c.md"]) == 1
    assert Path("c.html").read_text().startswith("<!DOCTYPE html>")
    assert Path("c.md").read_text().startswith("### slow.json against base.json\n")
    assert "1 slower" in capsys.readouterr().out
    assert main(["compare", "base.json", "slow.json", "--html", "none/c.html"]) == 3
    assert "deconvbench: cannot write to none/c.html" in capsys.readouterr().err
