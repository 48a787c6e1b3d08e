"""The command that looks at runs over many commits."""

from pathlib import Path
from typing import Annotated

import typer

from deconvbench.cli.options import (
    FailOnOption,
    ForceOption,
    FormatOption,
    JsonOption,
    parse_fail_on,
    parse_path,
)
from deconvbench.cli.output import OWN_HISTORY, OWN_PAGE, print_rows
from deconvbench.system.texts import print_text
from deconvbench.system.writing import check_target, write_whole


def history(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            parser=parse_path,
            help="Run folders, pytest-benchmark files, or folders that hold them.",
        ),
    ],
    margin: Annotated[
        str, typer.Option("--margin", metavar="SHARE", help="Largest relative change to ignore.")
    ] = "5%",
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="COMMIT", help="Fail only on changes first seen at this commit or after it."
        ),
    ] = None,
    repository: Annotated[
        Path,
        typer.Option(
            "--repository", metavar="DIR", parser=parse_path, help="Checkout whose history orders the commits."
        ),
    ] = Path(),
    as_json: JsonOption = False,
    kind: FormatOption = None,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", parser=parse_path, help="Write an HTML page with a chart."),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", parser=parse_path, help="Write a summary as Markdown."),
    ] = None,
    fail_on: FailOnOption = None,
    force: ForceOption = False,
) -> int:
    """Find the commits between which cases became slower or faster; exit 1 if any became slower."""
    from deconvbench.analysis.history import select_failing
    from deconvbench.report.comparison import list_rows
    from deconvbench.report.dashboards import check_format, format_measurements, list_history
    from deconvbench.report.history import format_history, format_history_markdown, render_history
    from deconvbench.units import parse_margin
    from deconvbench.workflows.history import list_commits_since, trace_history

    failing = parse_fail_on(fail_on)
    check_format(kind, *(["--json"] if as_json else []))
    for path, option, own in ((page, "--html", OWN_PAGE), (markdown, "--markdown", OWN_HISTORY)):
        if path is not None:
            check_target(path, option, own, force=force)
    found = trace_history(runs, parse_margin(margin), repository=repository)
    counted = None if since is None else list_commits_since(found, since, repository)
    if kind is not None:
        print(format_measurements(list_history(found), kind))
    elif as_json:
        print_rows("history", list_rows(found.changes), {"commits": [*found.commits], "notes": [*found.notes]})
    else:
        print_text(format_history(found))
    title = f"History of {found.commits[0]} to {found.commits[-1]}"
    if page is not None:
        write_whole(page, render_history(found, title).encode())
    if markdown is not None:
        write_whole(markdown, format_history_markdown(found, title).encode())
    return int(len(select_failing(found.changes, failing, counted)) > 0)
