"""From a run folder to its report: reads tables and description, writes figures and the page.

The only module of the report that touches files.
"""

from collections.abc import Sequence
from pathlib import Path

from deconvbench.errors import SurroundingsError, explain_os_error
from deconvbench.plots.gallery import TRADEOFF_METRICS, draw_all, encode_figures, save_figures
from deconvbench.plots.metrics import check_metrics
from deconvbench.report.page import render_report
from deconvbench.run_folder import JOURNAL_NAME, read_run_info, write_whole
from deconvbench.table import read_tables, write_tables

FIGURES_NAME = "figures"
REPORT_NAME = "report.html"


def write_report(run_dir: Path, out: Path | None = None, *, metrics: Sequence[str] = TRADEOFF_METRICS) -> Path:
    """Draw the figures of a run and write its report.

    Parameters
    ----------
    run_dir : Path
        The run folder; its figures go to ``figures/`` within it.
    out : Path, optional
        The HTML file; ``report.html`` in the run folder by default.
    metrics : sequence of str
        What to set against latency, a figure each: any of the artifact columns, or ``numerical_error``.

    Returns
    -------
    Path
        The HTML file.

    Raises
    ------
    UsageError
        If a metric is unknown; nothing is written then.
    RunFolderError
        If `run_dir` holds no run.
    SurroundingsError
        If a file cannot be written.
    """
    chosen = check_metrics(metrics)
    run_info = read_run_info(run_dir)
    # a run that was cut off has no tables yet; one whose journal was left behind has nothing else
    tables = write_tables(run_dir) if (run_dir / JOURNAL_NAME).exists() else read_tables(run_dir)
    pictures = encode_figures(draw_all(tables, metrics=chosen))
    save_figures(pictures, run_dir / FIGURES_NAME)
    target = out or run_dir / REPORT_NAME
    page = render_report(tables, run_info, pictures, metrics=chosen)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SurroundingsError(f"cannot write to {target}: {explain_os_error(error)}") from error
    write_whole(target, page.encode())
    return target
