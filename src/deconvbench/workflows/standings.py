"""The answer of a run as a few lines of text, for a terminal; needs no torch, as a report does not."""

from pathlib import Path

from deconvbench.analysis.standings import Standing, Standings, list_standings
from deconvbench.records.metrics import format_metric
from deconvbench.tables.files import read_tables

_HEADINGS = ("layer", "ratio", "95 %", "ripple", "verdict")
# of a failure: its reason is in the report
_MOST_CHARACTERS = 60


def describe_standings(folder: Path) -> str:
    """Say in a few lines where each layer of a run stands.

    Parameters
    ----------
    folder : Path
        The run folder.

    Returns
    -------
    str
        See `format_standings`; empty where fewer than two layers can be set side by side.

    Raises
    ------
    RunFolderError
        If the folder holds no run.
    """
    standings = list_standings(read_tables(folder).summary)
    return "" if standings is None else format_standings(standings)


def format_standings(standings: Standings) -> str:
    """Write where each layer stands as aligned columns.

    Parameters
    ----------
    standings : Standings
        From `list_standings`.

    Returns
    -------
    str
        A line that says what the numbers are, the headings, and a line a layer.
    """
    lines = [_HEADINGS, *(_list_cells(row) for row in standings.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    text = [
        f"{standings.setting}; ratio: latency over that of {standings.baseline}, with its 95 % interval; ripple of"
        " a constant input: 0 is best; frontier: nothing is both faster and cleaner"
    ]
    for layer, *numbers, verdict in lines:
        aligned = (number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True))
        cells = (layer.ljust(widths[0]), *aligned, verdict)
        text.append("  ".join(cells).rstrip())
    if standings.left_out:
        text.append(f"and {standings.left_out} more, all in the report")
    return "\n".join(text)


def _list_cells(row: Standing) -> tuple[str, ...]:
    verdict = row.verdict if len(row.verdict) <= _MOST_CHARACTERS else f"{row.verdict[: _MOST_CHARACTERS - 1]}…"
    ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
    ripple = "–" if row.ripple is None else format_metric(row.ripple, "phase_ripple")
    has_interval = row.ratio_low is not None and row.ratio_high is not None
    interval = f"{row.ratio_low:.2f} to {row.ratio_high:.2f}" if has_interval else ""
    return row.layer, ratio, interval, ripple if row.is_linear else f"flat {ripple}", verdict
