"""From a run folder to its report: reads tables, description and claims, writes figures and the page.

The only module of the report that touches files.
"""

from collections.abc import Sequence
from pathlib import Path

from deconvbench.analysis.results import derive_results
from deconvbench.errors import RunFolderError, SurroundingsError, explain_os_error
from deconvbench.plots.article import draw_article_figures
from deconvbench.plots.gallery import TRADEOFF_METRICS, draw_all, encode_figures, save_figures
from deconvbench.reading import read_file
from deconvbench.records.metrics import check_metrics
from deconvbench.records.run_folder import CLAIMS_NAME, JOURNAL_NAME, read_run_info, write_whole
from deconvbench.report.claims import ClaimRow, parse_claims
from deconvbench.report.page import render_report
from deconvbench.tables.files import read_tables, write_tables
from deconvbench.tables.trained import Trained, describe_trained, find_target_level

FIGURES_NAME = "figures"
REPORT_NAME = "report.html"


def write_report(
    run_dir: Path,
    out: Path | None = None,
    *,
    metrics: Sequence[str] = TRADEOFF_METRICS,
    trained: Trained | None = None,
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

    Returns
    -------
    Path
        The HTML file.

    Raises
    ------
    UsageError
        If a metric is unknown; nothing is written then.
    RunFolderError
        If `run_dir` holds no run, or its ``claims.json`` is not a claims file.
    SurroundingsError
        If a file cannot be written.
    """
    chosen = check_metrics(metrics)
    run_info = read_run_info(run_dir)
    # an interrupted run has no tables yet; one whose journal was left behind has nothing else
    get_tables = write_tables if (run_dir / JOURNAL_NAME).exists() else read_tables
    results = derive_results(get_tables(run_dir, trained))
    claims = _read_claims(run_dir / CLAIMS_NAME)
    found = trained or Trained()
    figures = draw_all(results, metrics=chosen, target_level=find_target_level(found))
    pictures = encode_figures({**figures, **draw_article_figures(found)})
    save_figures(pictures, run_dir / FIGURES_NAME)
    target = out or run_dir / REPORT_NAME
    page = render_report(
        results, run_info, pictures, metrics=chosen, claims=claims, origin=describe_trained(found)
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SurroundingsError(f"cannot write to {target}: {explain_os_error(error)}") from error
    write_whole(target, page.encode())
    return target


def _read_claims(path: Path) -> tuple[ClaimRow, ...] | None:
    """Read the claims table; None where there is none."""
    try:
        content = read_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunFolderError(f"claims: cannot read {str(path)!r}: {explain_os_error(error)}") from error
    return parse_claims(content, str(path))
