"""A comparison for people: as text for a terminal, Markdown for a pull request, HTML for a browser.

Rows that say `same` are counted, and in the page folded away; what got worse stands on top. No torch.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from deconvbench.analysis.comparison import find_noise_floor
from deconvbench.report.embedding import gather_parts
from deconvbench.report.templates import load_template
from deconvbench.system.texts import escape_markdown, tidy_line, write_code

_SHOWN_FIRST = ("slower", "larger", "faster", "smaller", "inconclusive")
# of latency; memory and artifacts are larger or smaller
_LATENCY_VERDICTS = ("slower", "faster", "same", "inconclusive")
# a hosting site refuses comments above 65536 characters; a row has about 150
_MARKDOWN_ROWS = 200
# of what else is to be known, in the one line that says that nothing changed
_MARKDOWN_NOTES = 500
_HEADINGS = ("verdict", "case", "metric", "NEW/BASE", "interval", "reason")
# the page's axis of ratios reaches at least and at most this far
_LEAST_REACH, _MOST_REACH = 1.1, 2.0

Cells = tuple[str, str, str, str, str, str]


def count_verdicts(comparison: pd.DataFrame) -> str:
    """Count the verdicts on latency, then the differences in everything else.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`.
    """
    timed = comparison["metric"] == "latency_s"
    latency = Counter(comparison.loc[timed, "verdict"])
    other = Counter(comparison.loc[~timed, "verdict"])
    cases = int(timed.sum())
    text = ", ".join(f"{latency[verdict]} {verdict}" for verdict in _LATENCY_VERDICTS)
    changed = ", ".join(f"{other[verdict]} {verdict}" for verdict in ("larger", "smaller") if other[verdict])
    return (
        f"{cases} case{'s' * (cases != 1)}: {text}; memory, MACs and artifacts: "
        f"{changed or ('no difference' if len(other) else 'not compared')}"
    )


def describe_noise(comparison: pd.DataFrame) -> str:
    """Say how small a change of latency this comparison could have seen; empty without intervals.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`.
    """
    floor = find_noise_floor(comparison)
    if floor is None:
        return ""
    return (
        f"noise floor: intervals reach {floor.median:.1%} to either side in the middle case, {floor.most:.1%} in "
        "nine tenths; smaller changes are not seen"
    )


def _list_facts(comparison: pd.DataFrame, notes: Sequence[str]) -> list[str]:
    """List what is to be known beside the verdicts, a line each."""
    noise = describe_noise(comparison)
    return [*map(tidy_line, notes), *list_notes(comparison), *([noise] if noise else [])]


def list_notes(comparison: pd.DataFrame) -> list[str]:
    """List what a reader must know: reasons that hold throughout, and those of rows that are not listed.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`.
    """
    common = find_common_reasons(comparison)
    notes = [f"throughout: {reason}" for reason in common]
    same = comparison[comparison["verdict"] == "same"]
    cases: dict[str, list[str]] = {}
    for case, reason in zip(same["case_id"], same["reason"], strict=True):
        for part in split_reason(reason, common):
            cases.setdefault(part, []).append(case)
    for reason, names in cases.items():
        notes.append(f"{names[0] if len(names) == 1 else f'{len(names)} rows'} called same: {reason}")
    return [tidy_line(note) for note in notes]


def split_reason(reason: str, without: Collection[str] = ()) -> list[str]:
    """Split a row's reason into its parts.

    Parameters
    ----------
    reason : str
        As in a comparison.
    without : collection of str
        Parts to leave out.
    """
    return [part for part in reason.split("; ") if part and part not in without]


def find_common_reasons(comparison: pd.DataFrame) -> list[str]:
    """Find the reasons that every row gives in which both sides have a number.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`, or the changes of a history.
    """
    measured = comparison.loc[comparison["ratio"].notna(), "reason"].map(split_reason)
    if len(measured) < 2:
        return []
    first, *others = measured
    return [part for part in first if all(part in other for other in others)]


def order_differences(comparison: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows that do not say `same`: what got worse, what got better, what is inconclusive.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`.

    Returns
    -------
    DataFrame
        Within each verdict the largest difference first. What has no ratio, because a side failed, comes before
        it, but after it where the verdict is inconclusive.
    """
    differing = comparison[comparison["verdict"] != "same"]
    rank = differing["verdict"].map(_SHOWN_FIRST.index)
    size = [_measure_difference(*pair) for pair in zip(differing["ratio"], differing["verdict"], strict=True)]
    ordered = differing.assign(_rank=rank, _size=size).sort_values(
        ["_rank", "_size"], ascending=[True, False], kind="stable"
    )
    return ordered[list(comparison.columns)]


def _measure_difference(ratio: float, verdict: str) -> float:
    if math.isnan(ratio):
        return 0.0 if verdict == "inconclusive" else math.inf
    return abs(math.log(ratio)) if ratio > 0 else math.inf


def _list_cells(comparison: pd.DataFrame) -> list[Cells]:
    """List what differs."""
    return _write_cells(order_differences(comparison), find_common_reasons(comparison))


def _write_cells(rows: pd.DataFrame, common: Collection[str]) -> list[Cells]:
    return [
        (
            row["verdict"],
            tidy_line(row["case_id"]),
            tidy_line(row["metric"]),
            "–" if row["ratio"] is None else f"{row['ratio']:.3f}",
            "–" if row["low"] is None or row["high"] is None else f"{row['low']:.3f} to {row['high']:.3f}",
            # a failure's message may go over several lines
            tidy_line("; ".join(split_reason(row["reason"], common))),
        )
        for row in list_rows(rows)
    ]


def list_rows(comparison: pd.DataFrame) -> list[dict[str, Any]]:
    """List a comparison as plain rows; what is missing, or beyond what JSON can say, as None.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`.
    """
    return [
        {
            str(name): None if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)) else value
            for name, value in row.items()
        }
        for row in comparison.to_dict("records")
    ]


def format_text(comparison: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """Lay a comparison out for a terminal.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`.
    notes : sequence of str
        What a reader must know beside the verdicts.
    """
    cells = _list_cells(comparison)
    table = align_columns([_HEADINGS, *cells]) if cells else []
    lines = [*_list_facts(comparison, notes), count_verdicts(comparison)]
    return "\n".join([*table, *([""] if cells else []), *lines])


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay rows out for a terminal, with columns of one width.

    Parameters
    ----------
    rows : sequence of sequence of str
        The head first; as many cells in each.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def format_markdown(comparison: pd.DataFrame, title: str, notes: Sequence[str] = ()) -> str:
    """Lay a comparison out for a pull request.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`.
    title : str
        What was compared.
    notes : sequence of str
        What a reader must know beside the verdicts.

    Returns
    -------
    str
        What differs as a table; inconclusive rows are folded away below it. One line where nothing changed.
    """
    cells = _list_cells(comparison)
    if not cells:
        return draw_unchanged(title, count_verdicts(comparison), _list_facts(comparison, notes))
    sure = [row for row in cells if row[0] != "inconclusive"]
    unsure = [row for row in cells if row[0] == "inconclusive"]
    lines = [escape_markdown(note) for note in _list_facts(comparison, notes)]
    parts = [f"### {escape_markdown(title)}", count_verdicts(comparison), *lines]
    if sure:
        parts.append(_draw_markdown(sure))
    if unsure:
        parts += [f"<details><summary>{len(unsure)} inconclusive</summary>", _draw_markdown(unsure), "</details>"]
    return "\n\n".join(parts) + "\n"


def draw_unchanged(title: str, counts: str, notes: Sequence[str]) -> str:
    """Say in one line of Markdown that nothing changed, and what must be known of that.

    Parameters
    ----------
    title, counts : str
        What was compared, and how many verdicts there are of each kind.
    notes : sequence of str
        What a reader must know beside them.
    """
    facts = "; ".join(notes)
    if len(facts) > _MARKDOWN_NOTES:
        facts = f"{facts[:_MARKDOWN_NOTES].rstrip()} …"
    words = [escape_markdown(tidy_line(title)), f"nothing changed: {counts}"]
    return f"**{words[0]}**: {words[1]}{f'. {escape_markdown(facts)}' if facts else ''}\n"


def _draw_markdown(cells: list[Cells]) -> str:
    words = [
        (f"**{verdict}**", write_code(case), metric, ratio, interval, escape_markdown(reason))
        for verdict, case, metric, ratio, interval, reason in cells
    ]
    return draw_markdown_table(_HEADINGS, words, "---|---|---|---:|---|---")


def draw_markdown_table(headings: Sequence[str], cells: Sequence[Sequence[str]], rule: str) -> str:
    """Write a Markdown table, as many rows of it as a comment may have.

    Parameters
    ----------
    headings : sequence of str
        Of the columns.
    cells : sequence of sequence of str
        Rows of Markdown.
    rule : str
        The line below the head, without its ends.
    """
    lines = ["| " + " | ".join(headings) + " |", f"|{rule}|"]
    lines += ["| " + " | ".join(row) + " |" for row in cells[:_MARKDOWN_ROWS]]
    left = len(cells) - _MARKDOWN_ROWS
    return "\n".join([*lines, *(["", f"and {left} more"] if left > 0 else [])])


def render_page(comparison: pd.DataFrame, title: str, notes: Sequence[str] = ()) -> str:
    """Lay a comparison out as one self-contained HTML page.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`.
    title : str
        What was compared.
    notes : sequence of str
        What a reader must know beside the verdicts.

    Returns
    -------
    str
        HTML that opens from disk and fetches nothing; what is the same is folded away.
    """
    rows = list_rows(order_differences(comparison))
    ends = [abs(math.log(row[end])) for row in rows if row["low"] and row["high"] for end in ("low", "high")]
    reach = min(max([*ends, math.log(_LEAST_REACH)]), math.log(_MOST_REACH))
    timed = Counter(comparison.loc[comparison["metric"] == "latency_s", "verdict"])
    return load_template("verdicts.html.j2").render(
        parts=gather_parts(("page.css", "comparison.css")),
        title=title,
        counts=[(verdict, timed[verdict]) for verdict in _LATENCY_VERDICTS],
        summary=count_verdicts(comparison),
        environment=[tidy_line(note) for note in notes],
        notes=[*list_notes(comparison), *filter(None, [describe_noise(comparison)])],
        headings=_HEADINGS,
        reach=math.exp(reach),
        rows=[(cells, _place(row, reach)) for cells, row in zip(_list_cells(comparison), rows, strict=True)],
        unchanged=_write_cells(comparison[comparison["verdict"] == "same"], find_common_reasons(comparison)),
    )


def _place(row: dict[str, Any], reach: float) -> tuple[float, float, float] | None:
    """Find where the interval lies on an axis from -100 to 100, logarithmic, 0 where nothing changed."""
    if not (row["low"] and row["high"]):
        return None
    low, ratio, high = (
        round(100 * min(max(math.log(row[name]) / reach, -1), 1), 1) for name in ("low", "ratio", "high")
    )
    return low, ratio, high
