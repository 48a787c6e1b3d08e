"""Results as small HTML tables, for notebooks: the one helper behind every ``_repr_html_``."""

import html
from collections.abc import Iterable, Sequence

from deconvbench.system.texts import escape_controls

MOST_ROWS = 20
"""Of a table; the rest are counted."""


def write_html(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[object]], notes: Iterable[str] = ()
) -> str:
    """Write a small table as HTML.

    Parameters
    ----------
    title : str
        Its caption.
    headings : sequence of str
        None for a result without rows.
    rows : iterable of sequence
        As many cells as headings in each; None is written as a dash.
    notes : iterable of str
        Lines below it.

    Returns
    -------
    str
        Whatever the texts hold, they are shown and not obeyed.
    """
    every = list(rows)
    head = "".join(f'<th scope="col">{_escape(text)}</th>' for text in headings)
    lines = ["".join(f"<td>{_escape(cell)}</td>" for cell in row) for row in every[:MOST_ROWS]]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    below = [f"and {len(every) - MOST_ROWS} more rows"] if len(every) > MOST_ROWS else []
    paragraphs = "".join(f"<p>{_escape(note)}</p>" for note in (*below, *notes))
    if not headings or not every:
        return f"<div><p>{_escape(title)}</p>{paragraphs}</div>"
    table = (
        f"<table><caption>{_escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
    return f"<div>{table}{paragraphs}</div>"


def _escape(value: object) -> str:
    return (
        "–"
        if value is None
        else "<br>".join(html.escape(escape_controls(line)) for line in str(value).split("\n"))
    )
