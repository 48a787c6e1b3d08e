"""The claims table for readers and machines: terminal table, text for a pipe, JSON for scripts and the report."""

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from deconvbench.records.effects import Effect, describe_experiment
from deconvbench.records.record import SCHEMA_VERSION
from deconvbench.studies.claims.claim import ClaimResult, Verdict
from deconvbench.system.texts import print_text
from deconvbench.system.writing import write_whole

if TYPE_CHECKING:
    from rich.table import Table


# of everything that is printed, whatever the terminal's width
WIDTH = 100
_HEADINGS = ("id", "claim", "verdict", "effect (interval), experiment", "what holds and what does not")
_WIDTHS = (2, 20, 9, 28, 33)
_GAP = "  "
_COLOURS = {
    Verdict.SUPPORTED: "green",
    Verdict.PARTLY: "yellow",
    Verdict.REFUTED: "red",
    Verdict.UNDECIDED: "dim",
}


def list_rows(results: Sequence[ClaimResult]) -> list[dict[str, Any]]:
    """List the claims table as plain rows, as ``--json`` prints them.

    Parameters
    ----------
    results : sequence of ClaimResult
        From `evaluate_claims`.

    Returns
    -------
    list of dict
        ``id, claim, source, verdict, evidence, sentence, holds, effects, size, confidence`` each.
    """
    return [{name: value for name, value in row.to_dict().items() if name != "figure"} for row in results]


def write_claims(results: Sequence[ClaimResult], path: Path) -> None:
    """Write the claims table with the figure of each claim, for the report; whole or not at all.

    Parameters
    ----------
    results : sequence of ClaimResult
        From `evaluate_claims`.
    path : Path
        The file; what is there is replaced.

    Raises
    ------
    SurroundingsError
        If it cannot be written.
    """
    rows = [result.to_dict() for result in results]
    document = {"schema_version": SCHEMA_VERSION, "kind": "claims", "rows": rows}
    write_whole(path, f"{json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)}\n".encode())


def count_verdicts(results: Sequence[ClaimResult]) -> str:
    """Count the verdicts in words.

    Parameters
    ----------
    results : sequence of ClaimResult
        From `evaluate_claims`.
    """
    counts = Counter(result.finding.verdict for result in results)
    return f"{len(results)} claims: {', '.join(f'{counts[verdict]} {verdict}' for verdict in Verdict)}"


def print_claims(results: Sequence[ClaimResult], stream: TextIO) -> None:
    """Print the claims table: coloured on a terminal, plain text elsewhere.

    Parameters
    ----------
    results : sequence of ClaimResult
        From `evaluate_claims`.
    stream : text stream
        Usually standard output.
    """
    if not stream.isatty():
        print_text(format_text(results), stream)
        return
    from rich.console import Console  # noqa: PLC0415 -- only where there is a terminal

    console = Console(file=stream)
    console.width = min(console.width, WIDTH)
    console.print(lay_out_claims(results))


def _list_cells(result: ClaimResult) -> tuple[str, ...]:
    claim, finding = result.claim, result.finding
    numbers = [str(effect) for effect in finding.effects]
    return (
        str(claim.id),
        claim.text,
        str(finding.verdict),
        "\n".join([*numbers, describe_size(result)]),
        finding.holds,
    )


def describe_size(result: ClaimResult) -> str:
    """Say how large the experiment was, and the level of its intervals, which a family of claims widens.

    Parameters
    ----------
    result : ClaimResult
        A claim with what was found of it.
    """
    return describe_experiment(result.finding.size, result.finding.effects, result.confidence)


def format_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay the claims table out in Markdown, for a page.

    Parameters
    ----------
    rows : sequence of mapping
        Of ``claims.json``, or from `list_rows`; those of earlier versions have verdicts alone.
    """
    lines = [
        "| | claim | verdict | effect (interval) | experiment | what holds and what does not |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        effects = [Effect(**each) for each in row.get("effects", ())]
        size = describe_experiment(row.get("size", ""), effects, row.get("confidence", 0.0))
        cells = (
            row["id"],
            row["claim"],
            row["verdict"],
            "<br>".join(map(str, effects)),
            size,
            row.get("holds", ""),
        )
        lines.append(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def format_text(results: Sequence[ClaimResult]) -> str:
    """Lay the claims table out as columns of at most `WIDTH` characters, for a pipe or a file.

    Parameters
    ----------
    results : sequence of ClaimResult
        From `evaluate_claims`.
    """
    rows = [_HEADINGS, *(_list_cells(result) for result in results)]
    return "\n\n".join([*(_wrap(row) for row in rows), count_verdicts(results)])


def _wrap(cells: Sequence[str]) -> str:
    columns = [
        [line for paragraph in cell.split("\n") for line in textwrap.wrap(paragraph, width)]
        for cell, width in zip(cells, _WIDTHS, strict=True)
    ]
    lines = []
    for number in range(max(len(column) for column in columns)):
        words = (
            (column[number] if number < len(column) else "").ljust(width)
            for column, width in zip(columns, _WIDTHS, strict=True)
        )
        lines.append(_GAP.join(words).rstrip())
    return "\n".join(lines)


def lay_out_claims(results: Sequence[ClaimResult]) -> "Table":
    """Make a table that rich fits into a terminal.

    Parameters
    ----------
    results : sequence of ClaimResult
        From `evaluate_claims`.

    Returns
    -------
    Table
        At most `WIDTH` characters wide; narrower where the terminal is.
    """
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 -- only where there is a terminal
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(
        box=SIMPLE_HEAD, show_lines=False, padding=(0, 1, 1, 0), pad_edge=False, caption=count_verdicts(results)
    )
    for heading, width in zip(_HEADINGS, _WIDTHS, strict=True):
        table.add_column(heading, max_width=width, no_wrap=heading in ("id", "verdict"))
    for result in results:
        number, text, verdict, *rest = _list_cells(result)
        colour = _COLOURS[result.finding.verdict]
        # a Text is taken as it is: brackets in sentences are not markup
        table.add_row(Text(number), Text(text), Text(verdict, style=colour), *map(Text, rest))
    return table
