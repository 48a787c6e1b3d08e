import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from deconvbench.errors import SurroundingsError
from deconvbench.studies.claims import CLAIMS, ClaimResult, Verdict
from deconvbench.studies.claims.output import (
    WIDTH,
    count_verdicts,
    describe_size,
    format_markdown,
    format_text,
    lay_out_claims,
    list_rows,
    print_claims,
    write_claims,
)
from tests.studies.claims.made_evidence import FLIPS


def make_results(flip: int = 0) -> list[ClaimResult]:
    """The claims table as one kind of evidence or another makes it."""
    results = []
    for claim in CLAIMS:
        evidence = FLIPS[claim.id][flip][1]
        results.append(ClaimResult(claim=claim, evidence=evidence, finding=claim.judge(evidence)))
    return results


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("flip", [0, 1, -1], ids=["first", "second", "missing"])
def test_text_fits_the_width_and_loses_no_word(flip: int) -> None:
    results = make_results(flip)
    text = format_text(results)
    assert max(map(len, text.splitlines())) <= WIDTH
    words = " ".join(text.split())
    blocks = text.split("\n\n")
    # headings, a block for each claim, the counts
    assert len(blocks) == len(results) + 2
    for result, block in zip(results, blocks[1:], strict=False):
        assert block.startswith(f"{result.claim.id} ")
        numbers, holds = (
            "".join(" ".join(line[start:end] for line in block.splitlines()).split())
            for start, end in ((37, 65), (67, None))
        )
        # a hyphen at the end of a line is one within a word
        assert holds == "".join(result.finding.holds.split())
        assert numbers == "".join("".join([*map(str, result.finding.effects), describe_size(result)]).split())
        assert f"  {result.finding.verdict} " in block
    assert words.endswith(count_verdicts(results))


def test_verdicts_are_counted() -> None:
    results = make_results()
    counts = {verdict: sum(result.finding.verdict is verdict for result in results) for verdict in Verdict}
    assert sum(counts.values()) == 18
    for verdict, count in counts.items():
        assert f"{count} {verdict}" in count_verdicts(results)


@pytest.mark.parametrize("columns", [72, 100, 200])
def test_a_table_fits_a_terminal_and_is_never_wider_than_text(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    print_claims(make_results(), stream)
    shown = stream.getvalue()
    assert "\x1b[" in shown
    plain = Console(file=io.StringIO(), width=min(columns, WIDTH))
    plain.print(lay_out_claims(make_results()))
    assert isinstance(plain.file, io.StringIO)
    lines = plain.file.getvalue().splitlines()
    assert max(map(len, lines)) <= min(columns, WIDTH)
    assert sum(line.split()[:1] == ["18"] for line in lines) >= 1


def test_elsewhere_text_is_plain() -> None:
    stream = io.StringIO()
    print_claims(make_results(), stream)
    assert stream.getvalue() == format_text(make_results()) + "\n"


def test_rows_are_plain_and_the_file_names_the_figures(tmp_path: Path) -> None:
    results = make_results()
    rows = list_rows(results)
    assert len(rows) == 18
    assert list(rows[0]) == [
        "id",
        "claim",
        "source",
        "verdict",
        "evidence",
        "sentence",
        "holds",
        "effects",
        "size",
        "confidence",
    ]
    path = tmp_path / "claims.json"
    write_claims(results, path)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["kind"] == "claims"
    assert document["schema_version"] == 1
    assert [{**row, "figure": claim.figure} for row, claim in zip(rows, CLAIMS, strict=True)] == document["rows"]
    # for people too
    assert "Cᵀ" in path.read_text(encoding="utf-8")


def test_the_size_names_the_level_that_a_family_has_widened_intervals_to() -> None:
    trained, exact = make_results()[7], make_results()[4]
    assert describe_size(trained) == "12 seeds × 12 images, 1500 steps; intervals of 95.0%"
    assert describe_size(exact) == "exact count, k3 s2"
    assert describe_size(make_results(-1)[7]) == ""


def test_a_page_shows_the_columns_too() -> None:
    lines = format_markdown(list_rows(make_results())).splitlines()
    assert len(lines) == 2 + 18
    assert {line.replace("\\|", "").count("|") for line in lines} == {7}
    assert "reconstruction, last over first: 0.9 (0.89 to 0.91)" in lines[9]
    assert "| 12 seeds × 12 images, 1500 steps; intervals of 95.0% |" in lines[9]
    # a table of an earlier version has verdicts alone
    earlier = [{name: row[name] for name in ("id", "claim", "verdict")} for row in list_rows(make_results())]
    assert format_markdown(earlier).splitlines()[2].endswith("| supported |  |  |  |")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(SurroundingsError, match="cannot write to .*claims.json"):
        write_claims(make_results(), tmp_path / "none" / "claims.json")
    assert list(tmp_path.iterdir()) == []
