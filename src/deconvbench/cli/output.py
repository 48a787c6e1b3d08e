"""What commands print: one JSON object, or a comparison."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconvbench.records.record import SCHEMA_VERSION

if TYPE_CHECKING:
    import pandas as pd


def print_rows(kind: str, rows: list[dict[str, Any]]) -> None:
    """Print the one object that every ``--json`` prints.

    Parameters
    ----------
    kind : str
        The command's name.
    rows : list of dict
        Plain data.
    """
    print(json.dumps({"schema_version": SCHEMA_VERSION, "kind": kind, "rows": rows}, allow_nan=False))


def show_comparison(
    comparison: "pd.DataFrame",
    title: str,
    *,
    as_json: bool = False,
    page: Path | None = None,
    markdown: Path | None = None,
) -> int:
    """Print a comparison and write the requested files.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`.
    title : str
        What was compared.
    as_json : bool
        Print rows instead of a table.
    page, markdown : Path or None
        Files to write.

    Returns
    -------
    int
        1 if a case is slower, else 0.
    """
    from deconvbench.records.run_folder import write_whole
    from deconvbench.report.comparison import format_markdown, format_text, list_rows, render_page

    if as_json:
        print_rows("compare", list_rows(comparison))
    else:
        print(format_text(comparison))
    if page is not None:
        write_whole(page, render_page(comparison, title).encode())
    if markdown is not None:
        write_whole(markdown, format_markdown(comparison, title).encode())
    return int((comparison["verdict"] == "slower").any())
