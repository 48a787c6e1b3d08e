"""What remedies cost, where there are tables and where there are none."""

from dataclasses import replace
from typing import Any

import pytest

from deconvbench.analysis.remedy_costs import RemedyCost
from deconvbench.errors import UsageError
from deconvbench.records.audit import Audit
from deconvbench.workflows import remedies
from deconvbench.workflows.remedies import find_remedy_costs
from tests.records.test_audit_text import AUDIT, find

FOUND = replace(AUDIT, findings=(find("DB001"),))


def test_costs_are_looked_up_for_findings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def look_up(audit: Audit, *_: object, device: str) -> tuple[RemedyCost, ...]:
        asked.append((audit, device))
        return ()

    monkeypatch.setattr(remedies, "list_remedy_costs", look_up)
    assert find_remedy_costs(FOUND, device="cuda") == ()
    assert asked == [(FOUND, "cuda")]
    assert find_remedy_costs(AUDIT) == ()
    assert len(asked) == 1


def test_an_audit_does_not_fail_for_what_a_run_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(question: object) -> None:
        raise UsageError("run: cannot be read")

    monkeypatch.setattr(remedies, "read_source", refuse)
    assert find_remedy_costs(FOUND) == ()
