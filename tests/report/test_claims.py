"""The claims table as the report shows it."""

import json
from typing import Any

import pytest

from deconvbench.errors import RunFolderError
from deconvbench.plots.article import CAPTIONS
from deconvbench.report.claims import (
    MARKS,
    ClaimRow,
    count_verdicts,
    list_undrawn,
    parse_claims,
    view_claims,
)

ROW: dict[str, Any] = {
    "id": 3,
    "claim": "Every deconvolution can be a convolution.",
    "source": "article (A), Figure 3",
    "verdict": "partly",
    "evidence": {"largest_difference": 1e-16},
    "sentence": "With zeros between, yes.",
    "figure": "figure_3",
}
EFFECT: dict[str, Any] = {"name": "k4 less k3", "unit": "levels", "value": -0.123456, "low": -0.5, "high": 0.25}


def encode(*rows: Any, **changes: Any) -> bytes:
    return json.dumps({"schema_version": 1, "kind": "claims", "rows": rows, **changes}).encode()


def make_row(**changes: Any) -> ClaimRow:
    return ClaimRow(**{name: value for name, value in {**ROW, **changes}.items() if name != "evidence"})


def test_the_claims_table_is_read_in_its_order() -> None:
    rows = parse_claims(encode({**ROW, "id": 18, "figure": None}, ROW), "claims.json")
    assert rows == (make_row(id=18, figure=None), make_row())
    assert parse_claims(encode(), "claims.json") == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is not a claims file; create it with: deconvbench claims$", id="empty"),
        pytest.param(b"\xff", "is not a claims file", id="binary"),
        pytest.param(b"[]", "is not a claims file", id="a list"),
        pytest.param(b"{}", "is not a claims file", id="no rows"),
        pytest.param(encode(3), "is not a claims file", id="a number for a row"),
        pytest.param(encode({"id": 1}), "is not a claims file", id="half a row"),
        pytest.param(encode(schema_version="1"), "is not a claims file", id="a version in words"),
        pytest.param(encode(schema_version=2), "has schema 2; this version reads up to 1$", id="newer"),
        pytest.param(
            encode({**ROW, "verdict": "true"}),
            "'true' is not one of supported, partly, refuted, undecided$",
            id="another verdict",
        ),
    ],
)
def test_what_is_not_a_claims_table_is_named(content: bytes, problem: str) -> None:
    with pytest.raises(RunFolderError, match=f"^claims: 'mine.json'.*{problem}"):
        parse_claims(content, "mine.json")


def test_each_verdict_has_a_mark_of_its_own() -> None:
    assert len({*MARKS.values()}) == len(MARKS) == 4


def test_a_row_leads_to_its_figure() -> None:
    (row,) = view_claims([make_row()], {"figure_3": "Figure 3"}, {"figure_3": "b.html#figure-figure_3"})
    assert row == {
        "id": 3, "claim": ROW["claim"], "source": ROW["source"], "verdict": "partly", "sentence": ROW["sentence"],
        "holds": "", "size": "", "effects": [],
        "mark": "◐", "figure": "Figure 3", "address": "b.html#figure-figure_3",
    }  # fmt: skip


def test_a_row_has_its_numbers_and_the_size_of_its_experiment() -> None:
    more = {"holds": "Holds: all.", "effects": [EFFECT], "size": "12 seeds", "confidence": 0.99}
    (row,) = view_claims(parse_claims(encode({**ROW, **more}), "claims.json"), {}, {})
    assert row["effects"] == ["k4 less k3: -0.123 (-0.5 to 0.25) levels"]
    assert (row["holds"], row["size"]) == ("Holds: all.", "12 seeds; intervals of 99.0%")


@pytest.mark.parametrize(
    ("figure", "drawn", "heading", "address"),
    [
        pytest.param(None, {"figure_3": "#a"}, None, None, id="none"),
        pytest.param("figure_3", {"latency": "#costs"}, "Figure 3", None, id="not drawn"),
        pytest.param("my_own", {"my_own": "#b"}, "my own", "#b", id="unknown"),
        pytest.param("latency", {"latency": "#costs"}, "Latency", "#costs", id="of the report"),
    ],
)
def test_links_lead_to_what_is_drawn(
    figure: str | None, drawn: Any, heading: str | None, address: str | None
) -> None:
    headings = {"figure_3": "Figure 3", "latency": "Latency"}
    (row,) = view_claims([make_row(figure=figure)], headings, drawn)
    assert (row["figure"], row["address"]) == (heading, address)


def test_verdicts_are_counted() -> None:
    rows = [make_row(verdict=verdict) for verdict in ("refuted", "partly", "refuted")]
    assert count_verdicts(rows) == "3 claims: 1 partly, 2 refuted"
    assert count_verdicts(rows[:1]) == "1 claim: 1 refuted"
    assert count_verdicts([]) == "0 claims: none"


def test_what_is_not_drawn_is_listed_by_title() -> None:
    assert list_undrawn(CAPTIONS) == []
    assert list_undrawn({*CAPTIONS} - {"figure_7"}) == [CAPTIONS["figure_7"].title]
