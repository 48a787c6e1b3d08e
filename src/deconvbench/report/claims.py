"""The article's claims on the pages: what holds of each, and where the figure that shows it is.

Lays out the claims table that ``deconvbench claims`` wrote. Knows no HTML: escaping is the template's task.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

from deconvbench.errors import RunFolderError
from deconvbench.plots.article import CAPTIONS
from deconvbench.records.decoding import DecodingError, build, parse_json
from deconvbench.records.documents import Versioned
from deconvbench.records.effects import Effect, describe_experiment
from deconvbench.records.record import SCHEMA_VERSION

# each verdict has a mark of its own shape beside its colour
MARKS: Mapping[str, str] = {"supported": "✓", "partly": "◐", "refuted": "✗", "undecided": "?"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRow:
    """One claim with what was found of it.

    Parameters
    ----------
    id : int
        Its number.
    claim : str
        The statement.
    source : str
        Where it stands.
    verdict : str
        A key of `MARKS`.
    sentence : str
        What was found, in one sentence.
    figure : str or None
        Name of the figure that shows it.
    holds : str
        Which parts of it hold and which do not; empty in files of earlier versions, as what follows.
    effects : tuple of Effect
        The numbers that decided.
    size : str
        How large the experiment was.
    confidence : float
        Level of the intervals.
    """

    IGNORES_UNKNOWN: ClassVar[bool] = True  # the evidence, which is not shown

    id: int
    claim: str
    source: str
    verdict: str
    sentence: str
    figure: str | None
    holds: str = ""
    effects: tuple[Effect, ...] = ()
    size: str = ""
    confidence: float = 0.95


class _Claims(TypedDict):
    """``claims.json``, as far as the report shows it."""

    schema_version: int
    rows: list[ClaimRow]


def parse_claims(content: bytes, source: str) -> tuple[ClaimRow, ...]:
    """Read the claims table.

    Parameters
    ----------
    content : bytes
        Of ``claims.json``.
    source : str
        What the file is called, for the message.

    Returns
    -------
    tuple of ClaimRow
        In the order of the file.

    Raises
    ------
    RunFolderError
        If it is not a claims file, or has a newer schema.
    """
    try:
        document = parse_json(content)
        version = build(Versioned, document).get("schema_version", SCHEMA_VERSION)
        rows = tuple(build(_Claims, document)["rows"]) if version <= SCHEMA_VERSION else ()
    except DecodingError as error:
        raise RunFolderError(
            f"claims: {source!r}: {error}, so it is not a claims file; create it with: deconvbench claims"
        ) from error
    if version > SCHEMA_VERSION:
        raise RunFolderError(f"claims: {source!r} has schema {version}; this version reads up to {SCHEMA_VERSION}")
    for row in rows:
        if row.verdict not in MARKS:
            raise RunFolderError(f"claims: {source!r}: {row.verdict!r} is not one of {', '.join(MARKS)}")
    return rows


def name_anchor(figure: str) -> str:
    """Name the place of a figure on the page.

    Parameters
    ----------
    figure : str
        The figure's name.
    """
    return f"figure-{figure}"


def view_claims(
    claims: Sequence[ClaimRow], headings: Mapping[str, str], addresses: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Lay the claims table out for a page.

    Parameters
    ----------
    claims : sequence of ClaimRow
        From `parse_claims`.
    headings : mapping of str to str
        What each figure is called.
    addresses : mapping of str to str
        Where each figure that was drawn is shown.

    Returns
    -------
    list of dict
        ``id, claim, source, verdict, mark, sentence, holds, size``, its numbers in words as ``effects``, and the
        figure's heading as ``figure`` (None for a claim
        without one) with the ``address`` that leads to it (None where it is not drawn).
    """
    rows = []
    for row in claims:
        name = row.figure
        heading = None if name is None else headings.get(name, name.replace("_", " "))
        known = {field: getattr(row, field) for field in ("id", "claim", "source", "verdict", "sentence", "holds")}
        known["effects"] = [str(effect) for effect in row.effects]
        known["size"] = describe_experiment(row.size, row.effects, row.confidence)
        address = addresses.get(name or "")
        rows.append({**known, "mark": MARKS[row.verdict], "figure": heading, "address": address})
    return rows


def count_verdicts(claims: Sequence[ClaimRow]) -> str:
    """Count the verdicts in words.

    Parameters
    ----------
    claims : sequence of ClaimRow
        From `parse_claims`.
    """
    counts = Counter(row.verdict for row in claims)
    named = ", ".join(f"{counts[verdict]} {verdict}" for verdict in MARKS if counts[verdict])
    return f"{len(claims)} claim{'' if len(claims) == 1 else 's'}: {named or 'none'}"


def list_undrawn(drawn: Collection[str]) -> list[str]:
    """List the article's figures that are not on the page: they show trained networks, and there are none.

    Parameters
    ----------
    drawn : collection of str
        Names of the figures that are.

    Returns
    -------
    list of str
        Their titles.
    """
    return [caption.title for name, caption in CAPTIONS.items() if name not in drawn]
