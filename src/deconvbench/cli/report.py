"""Commands that read measured runs: the report, and the comparison of two runs."""

import os
from pathlib import Path
from typing import Annotated

import typer

from deconvbench.cli.options import (
    FailOnOption,
    ForceOption,
    FormatOption,
    JsonOption,
    ResultsOption,
    parse_fail_on,
    parse_path,
)
from deconvbench.cli.output import OWN_PAGE, check_comparison_files, show_comparison, show_standings
from deconvbench.errors import UsageError
from deconvbench.system.texts import print_text
from deconvbench.system.writing import check_target


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", parser=parse_path, help="Run folders [default: the newest]."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            parser=parse_path,
            help="Output file [default: RUN/report.html; for several runs overlay.html in the last].",
        ),
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(
            "--quality", metavar="METRIC,METRIC", help="Metrics to plot against latency, one figure each."
        ),
    ] = None,
    figures: Annotated[
        str,
        typer.Option("--figures", metavar="FORMAT,FORMAT", help="Formats of the figure files: png, pdf, svg."),
    ] = "png",
    results: ResultsOption = None,
    kind: FormatOption = None,
    force: ForceOption = False,
) -> None:
    """Write tables, figures and one self-contained HTML file; its path is the last line on standard output.

    Several runs, of machines or commits, get their own reports and a page that sets them side by side. With
    --format, what a dashboard reads of one run is printed, and nothing is written.
    """
    if kind is not None:
        _print_for_dashboard(runs, kind, *(["--out"] if out is not None else []))
        return
    from deconvbench.plots.gallery import TRADEOFF_METRICS
    from deconvbench.records.run_folder import find_newest_run
    from deconvbench.report import write_report
    from deconvbench.report.output import name_article
    from deconvbench.report.overlay import write_overlay
    from deconvbench.tables.trained import find_trained

    folders = runs or [find_newest_run(Path("results"))]
    for path in () if out is None else (out, name_article(out)):
        if path is not None and os.path.lexists(path):
            check_target(path, "--out", OWN_PAGE, force=force)
    metrics = TRADEOFF_METRICS if quality is None else tuple(word.strip() for word in quality.split(","))
    kinds = tuple(word.strip() for word in figures.split(","))
    trained = find_trained(results)
    # before all else, which would be in vain where they cannot be set side by side
    overlay = write_overlay(folders, out) if len(folders) > 1 else None
    for folder in folders:
        own = out if len(folders) == 1 else None
        page = write_report(folder, own, metrics=metrics, trained=trained, figures=kinds)
        show_standings(folder)
        print_text(page)
    if overlay is not None:
        print_text(overlay)


def _print_for_dashboard(runs: list[Path] | None, kind: str, *others: str) -> None:
    from deconvbench.records.run_folder import find_newest_run
    from deconvbench.report.dashboards import check_format, format_measurements, list_run
    from deconvbench.tables.files import read_tables

    check_format(kind, *others)
    folders = runs or [find_newest_run(Path("results"))]
    if len(folders) > 1:
        raise UsageError(f"--format: {len(folders)} runs given; a dashboard takes one at a time")
    print(format_measurements(list_run(read_tables(folders[0]).summary), kind))


def compare(
    base: Annotated[
        Path,
        typer.Argument(
            metavar="BASE",
            parser=parse_path,
            help="The run to compare with: a run folder or a pytest-benchmark file.",
        ),
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", parser=parse_path, help="The new run.")],
    margin: Annotated[
        str, typer.Option("--margin", metavar="SHARE", help="Largest relative change to ignore.")
    ] = "5%",
    as_json: JsonOption = False,
    kind: FormatOption = None,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", parser=parse_path, help="Write an HTML page.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", parser=parse_path, help="Write a summary as Markdown."),
    ] = None,
    fail_on: FailOnOption = None,
    force: ForceOption = False,
) -> int:
    """Compare two runs case by case (faster, slower, same, inconclusive); exit 1 if any case is slower."""
    from deconvbench.analysis.comparison import compare as compare_runs
    from deconvbench.analysis.comparison_input import read_side
    from deconvbench.analysis.environments import describe_differences
    from deconvbench.report.dashboards import check_format
    from deconvbench.units import parse_margin

    failing = parse_fail_on(fail_on)
    check_format(kind, *(["--json"] if as_json else []))
    check_comparison_files(page, markdown, force=force)
    share = parse_margin(margin)
    sides = read_side(base), read_side(new)
    notes = describe_differences(*(side.environment for side in sides))
    return show_comparison(
        compare_runs(*sides, share),
        f"{new} against {base}",
        as_json=as_json,
        kind=kind,
        page=page,
        markdown=markdown,
        notes=notes,
        fail_on=failing,
    )
