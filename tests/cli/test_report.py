"""Two saved runs compared from the command line."""

import json
import os
import stat
from pathlib import Path

import pytest

from deconvbench.__main__ import main
from tests.json_schemas import check_output


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
    answer = check_output(capsys.readouterr().out)
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
    assert main(["compare", "base.json", "slow.json", "--html", "none/c.html"]) == 2
    assert "--html: 'none/c.html' cannot be written: there is no folder 'none'" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_every_difference_of_the_environments_stands_in_the_head(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(Path("base.json").read_text())
    for name, release in (("one.json", "5.15.0"), ("two.json", "6.1.0")):
        machine = {**document["machine_info"], "release": release, "python_version": f"3.1{release[0]}.0"}
        Path(name).write_text(json.dumps({**document, "machine_info": machine}))
    assert main(["compare", "one.json", "two.json", "--html", "c.html", "--markdown", "c.md"]) == 0
    note = "environments differ: release 5.15.0 against 6.1.0; Python 3.15.0 against 3.16.0"
    assert note in capsys.readouterr().out
    assert note in Path("c.html").read_text()
    assert note in Path("c.md").read_text().replace("\\", "")
    assert main(["compare", "one.json", "one.json"]) == 0
    assert "environments differ" not in capsys.readouterr().out


OPTIONS = ["--html", "--markdown"]


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.usefixtures("here", "capsys")
def test_a_comparison_replaces_its_own_file_and_no_other(option: str) -> None:
    name = "mine"
    words = ["compare", "base.json", "base.json", option, name]
    Path(name).write_text("my own")
    assert main(words) == 2
    assert Path(name).read_text() == "my own"
    assert main([*words, "--force"]) == 0
    written = Path(name).read_text()
    assert written != "my own"
    assert main(words) == 0
    assert Path(name).read_text() == written


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.usefixtures("here")
def test_a_device_or_a_pipe_is_not_replaced(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe")
    words = ["compare", "base.json", "base.json", option]
    assert main([*words, "pipe"]) == 2
    assert f"{option}: 'pipe' cannot be written: it is a pipe, not a file" in capsys.readouterr().err
    assert main([*words, "/dev/null"]) == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode)


@pytest.mark.usefixtures("here")
def test_a_comparison_into_standard_output_comes_after_what_was_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "base.json", "base.json", "--markdown", "/dev/stdout"]) == 0
    out = capfd.readouterr().out
    assert out.index("1 case: 0 slower") < out.index("**base.json against base.json**: nothing changed")


@pytest.mark.parametrize("name", ["base.json", "notes.html"])
def test_a_report_does_not_replace_what_others_wrote(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "notes.html").write_text("<!DOCTYPE html><title>mine</title>")
    before = (here / name).read_text()
    assert main(["report", "folder", "--out", name]) == 2
    assert f"--out: '{name}' was not written by this command" in capsys.readouterr().err
    assert (here / name).read_text() == before
