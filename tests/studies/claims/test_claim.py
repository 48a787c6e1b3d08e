import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deconvbench.errors import UsageError
from deconvbench.records.effects import Effect
from deconvbench.studies.claims import Claim, ClaimResult, Finding, Verdict
from deconvbench.studies.claims.claim import tidy_evidence


def make_claim(**changes: Any) -> Claim:
    finding = Finding(verdict=Verdict.PARTLY, sentence="In 3 cases.")
    values: dict[str, Any] = {
        "id": 3,
        "text": "It is so.",
        "source": "article (A), Figure 9",
        "figure": None,
        "measure": lambda context: {"count": 3},
        "judge": lambda evidence: finding,
    }
    return Claim(**{**values, **changes})


def test_a_result_is_a_plain_row() -> None:
    claim = make_claim(figure="figure_4")
    finding = replace(claim.judge({}), effects=(Effect(name="cases", unit="", value=3),), size="exact")
    result = ClaimResult(claim=claim, evidence={"count": 3}, finding=finding, confidence=0.99)
    assert result.to_dict() == {
        "id": 3,
        "claim": "It is so.",
        "source": "article (A), Figure 9",
        "verdict": "partly",
        "evidence": {"count": 3},
        "sentence": "In 3 cases.",
        "holds": "",
        "effects": [{"name": "cases", "unit": "", "value": 3, "low": None, "high": None}],
        "size": "exact",
        "confidence": 0.99,
        "figure": "figure_4",
    }
    assert type(result.to_dict()["verdict"]) is str


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 0}, "id: 0 is below 1"),
        ({"text": " "}, "text: is empty; claim 3 needs one"),
        ({"source": ""}, "source: is empty"),
    ],
)
def test_a_claim_has_a_number_a_text_and_a_source(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_claim(**changes)


def test_evidence_becomes_plain_finite_numbers() -> None:
    measured: dict[str, Any] = {
        "count": np.int64(3),
        "share": np.float32(0.5),
        "whole": 2.0,
        "nan": math.nan,
        "infinite": -math.inf,
        "missing": None,
    }
    tidy = tidy_evidence(measured)
    assert tidy == {"count": 3, "share": 0.5, "whole": 2.0, "nan": None, "infinite": None, "missing": None}
    assert [type(value) for value in tidy.values()][:3] == [int, float, float]
