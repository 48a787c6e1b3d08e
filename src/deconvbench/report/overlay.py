"""The page of several runs, side by side: machines or commits, one answer first, then the figure and the table.

Reads run folders and writes one HTML file; what is said of the runs is computed by `analysis.overlay`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deconvbench.analysis.environments import list_differences, list_facts
from deconvbench.analysis.overlay import Agreement, Spread, list_spreads, measure_agreement, overlay_runs
from deconvbench.errors import UsageError
from deconvbench.plots.gallery import encode_figures
from deconvbench.plots.overlay import draw_overlay
from deconvbench.records.run_folder import REPORT_NAME, list_hardware, read_run_info
from deconvbench.report.embedding import embed_picture, gather_parts
from deconvbench.report.templates import load_template
from deconvbench.system.paths import check_path, make_absolute
from deconvbench.system.texts import tidy_line
from deconvbench.system.writing import write_whole
from deconvbench.tables.files import read_tables

OVERLAY_NAME = "overlay.html"
# of the table: beyond them the page gets slow
_MOST_ROWS = 3000
_MOST_SENTENCES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a page says of a run beside its numbers.

    Parameters
    ----------
    name : str
        Of its folder.
    hardware, code, software, created : str
        The machine, the version of this package, torch and Python, and when it began; empty where not recorded.
    facts : mapping of str to str
        All of its environment (`list_facts`).
    """

    name: str
    hardware: str = ""
    code: str = ""
    software: str = ""
    created: str = ""
    facts: Mapping[str, str]


def write_overlay(run_dirs: Sequence[Path], out: Path | None = None) -> Path:
    """Write a page that sets runs side by side.

    Parameters
    ----------
    run_dirs : sequence of Path
        At least two run folders; the first is the one that environments are compared with.
    out : Path, optional
        The HTML file; ``overlay.html`` in the last of the folders by default.

    Returns
    -------
    Path
        The HTML file.

    Raises
    ------
    UsageError
        If there are fewer than two runs, one is given twice, no two of them share a measured case, or `out` is
        the report of one of them.
    RunFolderError
        If a folder holds no run.
    SurroundingsError
        If the file cannot be written.
    """
    folders = [make_absolute(check_path(folder, "report")) for folder in run_dirs]
    for index, folder in enumerate(folders):
        if folder.resolve() in {other.resolve() for other in folders[:index]}:
            raise UsageError(f"report: {str(run_dirs[index])!r} is given twice")
    target = folders[-1] / OVERLAY_NAME if out is None else check_path(out, "--out")
    if target.resolve() in {(folder / REPORT_NAME).resolve() for folder in folders}:
        raise UsageError(f"--out: {str(target)!r} is the report of one of the runs; name another file")
    names = _name_runs(folders)
    runs = [_describe_run(name, read_run_info(folder)) for name, folder in zip(names, folders, strict=True)]
    overlaid = overlay_runs(
        {name: read_tables(folder).summary for name, folder in zip(names, folders, strict=True)}
    )
    write_whole(target, render_overlay(overlaid, runs).encode(), parents=True)
    return target


def _name_runs(folders: Sequence[Path]) -> list[str]:
    """Name runs by their folders, with as many parents as it takes to tell them apart."""
    depths = range(1, max(len(folder.parts) for folder in folders) + 1)
    for depth in depths:
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            return [tidy_line(name) for name in names]
    raise UsageError("report: the runs have the same path")


def _describe_run(name: str, run_info: Mapping[str, Any]) -> RunFacts:
    environment = run_info.get("environment")
    known = environment if isinstance(environment, Mapping) else {}
    versions = [(word, known.get(key)) for word, key in (("torch", "torch_version"), ("Python", "python_version"))]
    return RunFacts(
        name=name,
        hardware=tidy_line(", ".join(list_hardware(known))),
        code=tidy_line(str(known.get("code_version") or "")),
        software=tidy_line(", ".join(f"{word} {version}" for word, version in versions if version)),
        created=tidy_line(str(run_info.get("created_at") or "")),
        facts=list_facts(known),
    )


def render_overlay(overlaid: pd.DataFrame, runs: Sequence[RunFacts]) -> str:
    """Lay runs out side by side as one self-contained HTML page.

    Parameters
    ----------
    overlaid : DataFrame
        From `deconvbench.analysis.overlay.overlay_runs`.
    runs : sequence of RunFacts
        In the order in which they are shown.

    Returns
    -------
    str
        HTML that opens from disk and fetches nothing.
    """
    names = [run.name for run in runs]
    agreements = measure_agreement(overlaid, names)
    changes = list_changes(list_spreads(overlaid))
    picture = encode_figures({"overlay": draw_overlay(overlaid, names)})["overlay"]
    rows = _list_rows(overlaid, names)
    return load_template("overlay.html.j2").render(
        parts=gather_parts(),
        title=" and ".join(names) if len(names) < 4 else f"{len(names)} runs",
        sentences=[*map(describe_agreement, agreements), *changes] or [_NOTHING],
        runs=runs,
        differences=[(run.name, list_differences(runs[0].facts, run.facts)) for run in runs[1:]],
        first=runs[0].name,
        image=embed_picture(picture),
        alt=f"Ratios to the baseline of each layer in {', '.join(names)}. {' '.join(changes)}",
        names=names,
        rows=rows[:_MOST_ROWS],
        left_out=max(len(rows) - _MOST_ROWS, 0),
    )


_NOTHING = "The runs share too few cases to say whether they order the layers alike."


def describe_agreement(agreement: Agreement) -> str:
    """Say in one sentence how far two runs order the layers alike.

    Parameters
    ----------
    agreement : Agreement
        From `deconvbench.analysis.overlay.measure_agreement`.
    """
    first, second = agreement.runs
    if math.isnan(agreement.correlation):
        return f"{first} and {second}: all ratios of one of them are equal, so there is no order to compare."
    return (
        f"{first} and {second} order the layers with a rank correlation of {agreement.correlation:.2f} (95 % "
        f"interval {agreement.low:.2f} to {agreement.high:.2f}, {agreement.cases} cases; 1 is the same order); in "
        f"the middle case the ratio to the baseline differs by a factor of {agreement.typical_change:.2f}."
    )


def list_changes(spreads: Sequence[Spread], thing: str = "runs") -> list[str]:
    """Name the cases whose intervals are farthest apart.

    Parameters
    ----------
    spreads : sequence of Spread
        From `deconvbench.analysis.overlay.list_spreads`.
    thing : str
        What is compared, in the plural.
    """
    apart = [spread for spread in spreads if spread.is_apart]
    kept = [
        f"{spread.case_id} costs {spread.high:.2f} of its baseline in {spread.high_run}, {spread.low:.2f} in"
        f" {spread.low_run}."
        for spread in apart[:_MOST_SENTENCES]
    ]
    rest = len(apart) - len(kept)
    if rest:
        kept.append(f"In {rest} more case{'s' * (rest != 1)} the intervals of two {thing} do not meet.")
    if not spreads:
        kept.append(f"No case has an interval of its ratio in two {thing}, so single differences may be noise.")
    elif not apart:
        kept.append(f"In none of {len(spreads)} cases with intervals in two {thing} do these lie apart.")
    return kept


def _list_rows(overlaid: pd.DataFrame, names: Sequence[str]) -> list[tuple[str, list[str], str]]:
    """List the cases that two runs or more have: id, a cell for each run, largest over smallest ratio."""
    cells: dict[str, dict[str, str]] = {}
    ratios: dict[str, list[float]] = {}
    columns = ("case_id", "run", "latency_s", "ratio", "ratio_low", "ratio_high", "noisy")
    for case, run, latency, ratio, low, high, noisy in overlaid[list(columns)].itertuples(index=False):
        interval = "" if pd.isna(low) or pd.isna(high) or low == high else f" ({low:.3f} to {high:.3f})"
        marked = ", noisy" if noisy else ""
        cells.setdefault(case, {})[run] = f"{ratio:.3f}{interval}, {latency * 1e3:.4g} ms{marked}"
        ratios.setdefault(case, []).append(float(ratio))
    shared = [case for case, found in cells.items() if len(found) > 1]
    shared.sort(key=lambda case: -max(ratios[case]) / min(ratios[case]))
    return [
        (case, [cells[case].get(name, "–") for name in names], f"{max(ratios[case]) / min(ratios[case]):.3f}")
        for case in shared
    ]
