"""The scores of pictures for people, as words or a table, and for programs, as plain data and CSV."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deconvbench.analysis.picture_verdicts import (
    CHECKERBOARD,
    PictureScore,
    explain_enlargement,
    explain_verdict,
)
from deconvbench.records.decoding import make_strict
from deconvbench.report.aligned_table import align_table
from deconvbench.system.notebook import write_html
from deconvbench.system.texts import guard_formula, tidy_line

_NOT_TOLD = (
    "an upsampling layer's, or of content or a sensor that repeats with whole pixels (screen, fence, mosaic): the"
    " spectrum cannot tell which"
)
_HEADINGS = ("picture", "size", "period", "levels", "detection", "block edges", "verdict")
_CSV_COLUMNS = (
    "name",
    "width",
    "height",
    "format",
    "verdict",
    "period",
    "amplitude_levels",
    "detection_level",
    "by_scale",
    "block_period",
    "block_edge_levels",
    "strength",
    "one_way",
    "exact_period",
    "enlargement",
    "enlarged_by",
    "explanation",
    "notes",
    "left_out",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A file that was not scored.

    Parameters
    ----------
    name : str
        As that of a picture.
    reason : str
        In one line.
    details : str
        Python's traceback of an error that was not foreseen; empty for all others.
    """

    name: str
    reason: str
    details: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of some pictures; ``print`` shows them.

    Parameters
    ----------
    pictures : tuple of PictureScore
        In the order in which they were given, those of a folder by name.
    left_out : tuple of LeftOut
        Files that were not scored, and why.
    period : int or None
        That was asked for; None where it was looked for.
    region : (int, int, int, int) or None
        Part of each picture that was scored: left, top, width and height in pixels.
    reference : str
        File whose difference was scored; empty where there is none.
    """

    pictures: tuple[PictureScore, ...]
    left_out: tuple[LeftOut, ...] = ()
    period: int | None = None
    region: tuple[int, int, int, int] | None = None
    reference: str = ""

    def __str__(self) -> str:
        return format_scores(self)

    def _repr_html_(self) -> str:
        found = sum(one.is_grid for one in self.pictures)
        title = f"{_count(len(self.pictures), 'picture')}, {found or 'none'} with a grid"
        notes = [f"{one.name}: {explain_verdict(one)}" for one in self.pictures if one.is_periodic]
        return write_html(title, _HEADINGS, map(_list_cells, self.pictures), [*notes, *list_left_out(self)])


def format_scores(scores: Scores) -> str:
    """Write scores as text: one picture in words, several as a table.

    Parameters
    ----------
    scores : Scores
        Any.
    """
    if len(scores.pictures) == 1:
        lines = _describe_picture(scores.pictures[0])
    else:
        lines = align_table([_HEADINGS, *(_list_cells(one) for one in scores.pictures)]) if scores.pictures else []
        lines += [""] if lines else []
        lines += [f"{tidy_line(one.name)}: {text}" for one in scores.pictures for text in _list_findings(one)]
        found = sum(one.is_grid for one in scores.pictures)
        lines.append(f"{_count(len(scores.pictures), 'picture')}, {found or 'none'} with a grid")
        lines += _group_notes(scores.pictures)
    if scores.reference:
        lines.append(f"scored: the difference from {tidy_line(scores.reference)}")
    if scores.region is not None:
        left, top, width, height = scores.region
        lines.append(f"scored: {width}×{height} pixels from column {left} and row {top}")
    return "\n".join([*lines, *list_left_out(scores)])


def list_left_out(scores: Scores) -> list[str]:
    """List the files that were not scored, a line for each with the reason.

    Parameters
    ----------
    scores : Scores
        Any.
    """
    return [f"left out: {tidy_line(one.name)}: {tidy_line(one.reason)}" for one in scores.left_out]


def _describe_picture(score: PictureScore) -> list[str]:
    lines = [f"{tidy_line(score.name)}: {explain_verdict(score)}"]
    if score.verdict == CHECKERBOARD:
        lines.append(f"  {_NOT_TOLD}")
    if score.is_periodic and not math.isnan(score.detection_level):
        lines.append(f"  detection level: {score.detection_level:.2g} levels")
    if score.enlargement is not None:
        lines.append(f"  {explain_enlargement(score)}")
    if score.blocks is not None:
        lines.append(f"  {_describe_blocks(score)}")
    return [*lines, *(f"  note: {tidy_line(note)}" for note in score.notes)]


def _list_findings(score: PictureScore) -> list[str]:
    """List what is said of a picture below the table."""
    found = [explain_verdict(score)] if score.is_periodic else []
    return found + [text for text in [explain_enlargement(score)] if text]


def _describe_blocks(score: PictureScore) -> str:
    blocks = score.blocks
    if blocks is None:
        return ""
    whose = "JPEG's, tiles, or an enlargement's" if blocks.period in (8, 16) else "tiles, or enlarged pixels"
    return (
        f"block edges: steps of {blocks.amplitude:.2g} levels at blocks of {blocks.period} pixels, of random sign:"
        f" {whose}, no checkerboard"
    )


def _list_cells(score: PictureScore) -> tuple[str, ...]:
    blocks = score.blocks
    return (
        tidy_line(score.name, 60),
        f"{score.width}×{score.height}",
        "–" if score.period is None else str(score.period),
        _write(max(score.amplitude, 0.0) if score.is_periodic else float("nan")),
        _write(score.detection_level),
        "–" if blocks is None else f"{blocks.amplitude:.2g} (period {blocks.period})",
        score.verdict,
    )


def _write(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _group_notes(pictures: tuple[PictureScore, ...]) -> list[str]:
    """Each note once, with the pictures that it is about."""
    groups: dict[str, list[str]] = {}
    for one in pictures:
        for note in one.notes:
            groups.setdefault(note, []).append(one.name)
    return [
        f"note: {tidy_line(note)}: {tidy_line(names[0]) if len(names) == 1 else _count(len(names), 'picture')}"
        for note, names in groups.items()
    ]


def list_rows(scores: Scores) -> list[dict[str, Any]]:
    """List scores as plain data: a row for each picture, then for each file left out.

    Parameters
    ----------
    scores : Scores
        Any.

    Returns
    -------
    list of dict
        The fields of `PictureScore` with ``verdict``, ``explanation`` and ``left_out``, which is empty for
        pictures that were scored; a file left out has its name and the reason in ``left_out``.
    """
    rows = [_make_row(one) for one in scores.pictures]
    return [*rows, *({"name": one.name, "left_out": one.reason} for one in scores.left_out)]


def _make_row(score: PictureScore) -> dict[str, Any]:
    fields = asdict(score)
    fields["by_scale"] = {str(scale): share for scale, share in score.by_scale.items()}
    fields["fainter"] = {str(scale): share for scale, share in score.fainter.items()}
    fields["notes"] = list(score.notes)
    row: dict[str, Any] = make_strict(
        {
            **fields,
            "exact_period": score.exact_period,
            "verdict": score.verdict,
            "explanation": explain_verdict(score),
            "left_out": "",
        }
    )
    return row


def describe_scores(scores: Scores) -> dict[str, Any]:
    """List what was asked for, as plain data.

    Parameters
    ----------
    scores : Scores
        Any.
    """
    return {
        "period": "auto" if scores.period is None else scores.period,
        "region": None if scores.region is None else list(scores.region),
        "reference": scores.reference or None,
        "unit": "8-bit levels",
    }


def format_csv(scores: Scores) -> str:
    """Write scores as CSV, a line for each picture and for each file left out.

    Parameters
    ----------
    scores : Scores
        Any.

    Returns
    -------
    str
        Texts that a spreadsheet would take for a formula begin with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in list_rows(scores):
        writer.writerow({name: _write_cell(value) for name, value in _flatten(row).items()})
    return text.getvalue()


def _flatten(row: Mapping[str, Any]) -> dict[str, Any]:
    blocks = row.get("blocks") or {}
    flat = {
        **row,
        "amplitude_levels": row.get("amplitude"),
        "by_scale": json.dumps(row["by_scale"]) if row.get("by_scale") else None,
        "block_period": blocks.get("period"),
        "block_edge_levels": blocks.get("amplitude"),
        "notes": "; ".join(row.get("notes", ())),
    }
    return {name: flat.get(name) for name in _CSV_COLUMNS}


def _write_cell(value: Any) -> Any:
    return guard_formula(tidy_line(value)) if isinstance(value, str) else value
