"""From a run folder to its report: reads tables, description and claims, writes figures and the page.

The only module of the report that touches files.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from deconvbench.analysis.machines import MachineComparison, compare_machines, lay_out_machines
from deconvbench.analysis.results import derive_results
from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.errors import RunFolderError, UsageError, explain_os_error, quote, suggest
from deconvbench.plots.article import draw_article_figures
from deconvbench.plots.gallery import FIGURE_FORMATS, TRADEOFF_METRICS, draw_all, encode_figures, encode_for_paper
from deconvbench.plots.overlay import draw_overlay
from deconvbench.plots.trained_tradeoff import draw_trained_tradeoff
from deconvbench.records.metrics import check_metrics
from deconvbench.records.run_folder import CLAIMS_NAME, JOURNAL_NAME, REPORT_NAME, read_run_info
from deconvbench.report.article_page import render_article
from deconvbench.report.claims import ClaimRow, parse_claims
from deconvbench.report.page import SECTIONS, render_report
from deconvbench.report.provenance import describe_origin, name_run
from deconvbench.system.paths import check_path, make_absolute
from deconvbench.system.reading import read_file
from deconvbench.system.writing import write_files, write_whole
from deconvbench.tables.files import Tables, build_tables, encode_tables, read_tables
from deconvbench.tables.frames import encode_csv
from deconvbench.tables.trained import (
    Trained,
    describe_trained,
    fill_qualities,
    find_target_level,
    load_shipped,
)
from deconvbench.tables.trained_networks import find_network

FIGURES_NAME = "figures"
# of runs of several machines: each case on each of them
MACHINES_NAME = "machines.csv"
_SECOND_TASK = "super-resolution"


def write_report(
    run_dir: Path,
    out: Path | None = None,
    *,
    metrics: Sequence[str] = TRADEOFF_METRICS,
    trained: Trained | None = None,
    figures: Sequence[str] = ("png",),
) -> Path:
    """Draw the figures of a run and write its report.

    Parameters
    ----------
    run_dir : Path
        The run folder; its figures go to ``figures/`` within it.
    out : Path, optional
        The HTML file; ``report.html`` in the run folder by default.
    metrics : sequence of str
        What to set against latency, a figure each: any of `deconvbench.analysis.tradeoff.QUALITY_COLUMNS`.
    trained : Trained, optional
        What training found (`deconvbench.tables.trained.find_trained`): it joins the quality table, and the
        article's figures show it. Without it, the report does without.
    figures : sequence of str
        In which of `deconvbench.plots.gallery.FIGURE_FORMATS` to write the figures; the page itself holds PNG.

    Returns
    -------
    Path
        The HTML file.

    Raises
    ------
    UsageError
        If a metric or a format is unknown; nothing is written then.
    RunFolderError
        If `run_dir` holds no run, or its ``claims.json`` is not a claims file.
    SurroundingsError
        If a file cannot be written.
    """
    chosen = check_metrics(metrics)
    for kind in figures or ("",):
        if kind not in FIGURE_FORMATS:
            hint = suggest(kind, FIGURE_FORMATS)
            raise UsageError(f"--figures: {quote(kind)} is not one of {', '.join(FIGURE_FORMATS)}{hint}")
    folder = make_absolute(check_path(run_dir, "report"))
    target = None if out is None else check_path(out, "--out")
    run_info = read_run_info(run_dir)
    files: dict[str, bytes] = {}
    # an interrupted run has no tables yet; one whose journal was left behind has nothing else
    if (folder / JOURNAL_NAME).exists():
        tables = build_tables(run_dir, trained)
        files |= encode_tables(tables)
    else:
        tables = read_tables(run_dir, trained)
    results = derive_results(tables)
    machines = compare_machines(tables.table, run_info)
    claims = _read_claims(run_dir / CLAIMS_NAME)
    found = trained or Trained()
    network = find_network(found.results)
    drawn = draw_all(
        results,
        metrics=chosen,
        target_level=find_target_level(found),
        network="" if network is None else network.title,
    )
    drawn |= _draw_second_task(tables, results.summary, found) | draw_article_figures(found)
    if machines is not None:
        files[MACHINES_NAME] = encode_csv(lay_out_machines(machines))
        drawn |= _draw_machines(machines)
    pictures = encode_figures(drawn)
    for kind in dict.fromkeys(figures):
        encoded = pictures if kind == "png" else encode_for_paper(drawn, kind)
        files |= {f"{FIGURES_NAME}/{name}.{kind}": picture for name, picture in encoded.items()}
    own = name_article(target or folder / REPORT_NAME)
    page = render_report(
        results,
        run_info,
        pictures,
        metrics=chosen,
        claims=claims,
        origin=describe_trained(found),
        trained=found,
        # what ships is not read again to stand beside itself
        shipped=None if found.folder is None and not found.is_empty else load_shipped(),
        article_address=own.name if own else "",
        has_files=target is None,
        machines=machines,
    )
    pages = {target or folder / REPORT_NAME: page}
    if own is not None:
        pages[own] = render_article(
            pictures,
            claims,
            title=name_run(run_info),
            meta=describe_origin(run_info, results),
            report_address=(target or folder / REPORT_NAME).name,
            sections=SECTIONS,
        )
    if target is None:
        files |= {path.name: text.encode() for path, text in pages.items()}
    write_files(folder, files)
    if target is not None:
        for path, text in pages.items():
            write_whole(path, text.encode(), parents=True)
    return target or run_dir / REPORT_NAME


def _draw_second_task(tables: Tables, summary: pd.DataFrame, trained: Trained) -> dict[str, Figure]:
    """Draw the headline figure of the task that is not the article's; nothing where it was not trained."""
    network = find_network(trained.results, _SECOND_TASK)
    if network is None:
        return {}
    quality = fill_qualities(tables.quality, tables.table, trained, network)
    level = find_target_level(trained, network)
    try:
        figure = draw_trained_tradeoff(summary, quality, target_level=level, network=network.title)
    except EmptyFigureError:
        return {}
    return {"trained_tradeoff_super_resolution": figure}


def _draw_machines(machines: MachineComparison) -> dict[str, Figure]:
    return {"machines": draw_overlay(machines.overlaid, machines.names)} if machines.shares_cases else {}


def name_article(page: Path) -> Path | None:
    """Name the page of the article's figures, beside the report: ``report-article.html`` for ``report.html``.

    Parameters
    ----------
    page : Path
        The report.

    Returns
    -------
    Path or None
        None where the report is a device or the standard output, which have nothing beside them.
    """
    # what is open already has names in folders of the system, where nothing else can be written
    parts = page.absolute().parent.resolve().parts
    if (page.exists() and not page.is_file()) or parts[1:2] in (("dev",), ("proc",)):
        return None
    return page.with_name(f"{page.stem}-article{page.suffix or '.html'}")


def _read_claims(path: Path) -> tuple[ClaimRow, ...] | None:
    """Read the claims table; None where there is none."""
    try:
        content = read_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunFolderError(f"claims: cannot read {str(path)!r}: {explain_os_error(error)}") from error
    return parse_claims(content, str(path))
