"""A table of texts that reads well on a terminal and is Markdown as well."""

from collections.abc import Sequence


def align_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a Markdown table that a terminal shows as well: columns of one width.

    Parameters
    ----------
    rows : sequence of sequence of str
        The head first; as many cells in each.

    Returns
    -------
    list of str
        Lines. The first column is words, to the left, the others are numbers, to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        [word.rjust(width) if index else word.ljust(width) for index, (word, width) in enumerate(cells)]
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    rule = ["-" * (width - 1) + ":" if index else "-" * width for index, width in enumerate(widths)]
    return ["| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])]
