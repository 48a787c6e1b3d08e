"""What commands print: one JSON object, where layers stand, or a comparison."""

import json
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from deconvbench.records.record import SCHEMA_VERSION
from deconvbench.system.texts import print_text
from deconvbench.system.writing import check_target, write_whole

if TYPE_CHECKING:
    import pandas as pd

# how files begin that commands of this package wrote
OWN_PAGE = re.compile(rb"\s*<!DOCTYPE html>.*?<title>deconvbench: ", re.DOTALL)
OWN_SUMMARY = re.compile(
    rb"### [^\n]*\n\n[0-9]+ cases?: [0-9]+ slower|\\*\\*[^\n]*: nothing changed: [0-9]+ cases?: [0-9]+ slower"
)
OWN_HISTORY = re.compile(rb"### History of |\*\*History of ")
OWN_RECOMMENDATION = re.compile(rb"### deconvbench recommend: ")
OWN_PICTURE_SCORES = re.compile(rb"name,width,height,format,verdict,")
OWN_AUDIT = re.compile(rb"### deconvbench audit")
OWN_AUDIT_PAGE = re.compile(rb"\s*<!DOCTYPE html>.*?<title>deconvbench: audit of ", re.DOTALL)
OWN_AUDIT_ROWS = re.compile(rb"target,")
# with the text that `plots.score_map` puts first into its files
OWN_PNG = re.compile(rb"\x89PNG\r\n.{,200}deconvbench score", re.DOTALL)
OWN_CLAIMS = re.compile(rb'\{\s*"schema_version": [0-9]+,\s*"kind": "claims"')


def print_rows(kind: str, rows: list[dict[str, Any]], facts: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Print the one object that every ``--json`` prints.

    Parameters
    ----------
    kind : str
        The command's name.
    rows : list of dict
        Plain data.
    facts : mapping
        Plain data that is not about a row: further keys of the object.
    """
    print(json.dumps({"schema_version": SCHEMA_VERSION, "kind": kind, "rows": rows, **facts}, allow_nan=False))


def show_standings(folder: Path) -> None:
    """Print where each layer of a run stands, and its speed-ups, on standard error; nothing where there are none.

    Parameters
    ----------
    folder : Path
        The run folder.

    Raises
    ------
    RunFolderError
        If the folder holds no run.
    """
    from deconvbench.analysis.speedups import average_speedups
    from deconvbench.report.speedups import format_means
    from deconvbench.tables.files import read_tables
    from deconvbench.workflows.standings import describe_standings

    if text := describe_standings(folder):
        print_text(f"\n{text}\n", sys.stderr)
    if text := format_means(average_speedups(read_tables(folder).speedups)):
        print_text(f"\n{text}\n", sys.stderr)


def check_comparison_files(page: Path | None = None, markdown: Path | None = None, *, force: bool = False) -> None:
    """Refuse files that `show_comparison` could not write, or that hold the work of others, before comparing.

    Parameters
    ----------
    page, markdown : Path or None
        Files to write.
    force : bool
        Replace files whatever they hold.

    Raises
    ------
    UsageError, SurroundingsError
        As `check_target`.
    """
    for path, option, own in ((page, "--html", OWN_PAGE), (markdown, "--markdown", OWN_SUMMARY)):
        if path is not None:
            check_target(path, option, own, force=force)


def show_comparison(
    comparison: "pd.DataFrame",
    title: str,
    *,
    command: str = "compare",
    as_json: bool = False,
    kind: str | None = None,
    page: Path | None = None,
    markdown: Path | None = None,
    notes: Sequence[str] = (),
    fail_on: Collection[str] = ("slower",),
) -> int:
    """Print a comparison and write the requested files.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`.
    title : str
        What was compared.
    command : str
        Its name, for the JSON object.
    as_json : bool
        Print rows instead of a table.
    kind : str or None
        Print the ratios in this format of a dashboard instead.
    page, markdown : Path or None
        Files to write.
    notes : sequence of str
        What a reader must know beside the verdicts.
    fail_on : collection of str
        Verdicts on latency that make the exit code 1.

    Returns
    -------
    int
        1 if a case has one of these verdicts, else 0.
    """
    from deconvbench.report.comparison import format_markdown, format_text, list_rows, render_page
    from deconvbench.report.dashboards import format_measurements, list_comparison

    if kind is not None:
        print(format_measurements(list_comparison(comparison), kind))
    elif as_json:
        print_rows(command, list_rows(comparison))
    else:
        print_text(format_text(comparison, notes))
    if page is not None:
        write_whole(page, render_page(comparison, title, notes).encode())
    if markdown is not None:
        write_whole(markdown, format_markdown(comparison, title, notes).encode())
    return int(comparison["verdict"].isin(fail_on).any())
