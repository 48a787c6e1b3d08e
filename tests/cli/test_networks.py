"""The command that audits a network: what it makes of an audit; the audits themselves are in tests/workflows."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deconvbench.__main__ import main
from deconvbench.records.audit_request import AuditRequest
from deconvbench.workflows import auditing
from deconvbench.workflows.auditing import TargetAudit
from tests.json_schemas import check_output
from tests.records.test_audit_text import AUDIT, REPORT, SITE


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[AuditRequest, dict[str, Any]]]:
    """What the command asked for; it is answered with an audit that was made up."""
    calls: list[tuple[AuditRequest, dict[str, Any]]] = []

    def audit_target(request: AuditRequest, **options: Any) -> TargetAudit:
        calls.append((request, options))
        judgement = request.target.partition(":")[2].replace("_", " ")
        return TargetAudit(audit=replace(AUDIT, judgement=judgement), target=request.target, inputs=("1x3x8x8",))

    monkeypatch.setattr(auditing, "audit_target", audit_target)
    monkeypatch.chdir(tmp_path)
    return calls


@pytest.mark.parametrize(
    ("judgement", "fail_on", "code"),
    [
        ("clean", "at-risk", 0),
        ("at_risk", "at-risk", 1),
        ("checkerboards", "at-risk", 1),
        ("at_risk", "checkerboards", 0),
        ("checkerboards", "checkerboards", 1),
        ("checkerboards", None, 0),
    ],
)
def test_the_exit_code_is_that_of_the_judgement(
    asked: list[Any], judgement: str, fail_on: str | None, code: int
) -> None:
    assert main(["audit", f"m:{judgement}", *(["--fail-on", fail_on] if fail_on else [])]) == code


def test_options_reach_the_request(asked: list[tuple[AuditRequest, dict[str, Any]]], tmp_path: Path) -> None:
    words = "audit m:clean --input a=1x3 --input b=2 --state-dict w.pt --image i.png --image j.png --range -1 1"
    words += " --device cuda --dtype float16 --threads 2 --measure-fuse --ignore DB001,DB003 --ignore DB009"
    words += " --timeout 5 --max-memory 2GiB"
    assert main(words.split()) == 0
    ((request, options),) = asked
    assert request == AuditRequest(
        target="m:clean",
        folder=str(tmp_path),
        state_dict="w.pt",
        inputs=request.inputs,
        images=("i.png", "j.png"),
        output_range=(-1.0, 1.0),
        device="cuda",
        dtype="float16",
        threads=2,
        measure_fuse=True,
        ignore=("DB001", "DB003", "DB009"),
    )
    assert [str(one) for one in request.inputs] == ["a=1x3", "b=2"]
    assert options["timeout_s"] == 5.0
    assert options["max_memory_bytes"] == 2**31


def test_the_command_line_wins_over_the_file(
    asked: list[tuple[AuditRequest, dict[str, Any]]], tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.deconvbench.audit]\ntarget = 'm:at_risk'\nfail-on = 'at-risk'\ntimeout = 9\nmeasure-fuse = true\n"
    )
    assert main(["audit"]) == 1
    assert main(["audit", "--fail-on", "checkerboards", "--timeout", "7"]) == 0
    assert [options["timeout_s"] for _, options in asked] == [9.0, 7.0]
    assert all(request.measure_fuse for request, _ in asked)


def test_what_is_not_finite_is_null_in_json(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert math.isnan(REPORT.time_share) is False
    assert main(["audit", "m:clean", "--json"]) == 0
    data = check_output(capsys.readouterr().out)
    assert data["audit"]["sites"][0]["real_levels"] is None
    assert data["inputs"] == ["1x3x8x8"]


def test_a_cell_of_csv_is_no_formula(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = replace(REPORT, site=replace(SITE, path="=1+1"))
    made = TargetAudit(audit=replace(AUDIT, sites=(report,)), target="m:clean", inputs=())
    monkeypatch.setattr(auditing, "audit_target", lambda *_, **__: made)
    assert main(["audit", "m:clean", "--csv", "a.csv"]) == 0
    with (tmp_path / "a.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["path"] == "'=1+1"
    assert row["real_levels"] == ""


def test_an_interrupted_audit_says_that_nothing_is_kept(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> TargetAudit:
        raise KeyboardInterrupt

    monkeypatch.setattr(auditing, "audit_target", interrupt)
    assert main(["audit", "m:clean"]) == 130
    assert capsys.readouterr().err == "deconvbench: interrupted; nothing of the audit is kept\n"
