"""The page itself: one HTML text that holds everything, opens from disk and fetches nothing.

Puts together what findings, tables and figures say; measures and decides nothing.
"""

import base64
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from deconvbench.analysis.results import RunResults
from deconvbench.plots.article import CAPTIONS
from deconvbench.plots.gallery import TRADEOFF_METRICS
from deconvbench.records.finishing import STATUSES
from deconvbench.records.metrics import METRICS
from deconvbench.records.run_folder import list_hardware
from deconvbench.records.schema import TRAINED_COLUMNS
from deconvbench.report.claims import (
    HEADLINE,
    ClaimRow,
    count_verdicts,
    list_undrawn,
    name_anchor,
    view_claims,
)
from deconvbench.report.findings import describe_findings
from deconvbench.report.speedups import describe_speedups, list_failures, view_choices, view_costs, view_means
from deconvbench.report.tables import flatten_environment, view_failures, view_noisy, view_quality, view_summary
from deconvbench.report.templates import load_template
from deconvbench.units import format_duration

# where a PNG says of what kind its colours are
_COLOUR_TYPE = 25
# (name of the figure, heading, how to read it, what to say where there is none)
_Entry = tuple[str, str, str, str]
_LATENCY: _Entry = (
    "latency",
    "What it costs",
    "Each line is a layer; lower is faster. Both axes are logarithmic, so a parallel line above another is "
    "slower by a fixed factor. Bars are 95 % intervals over replicates, hollow markers are cases that "
    "were disturbed, crosses at the upper edge are cases that failed. Lines of one colour are one "
    "upsampler; the dashes are the kernel size.",
    "No case has a latency, so there is no cost to draw.",
)
_HEADLINE: _Entry = (
    HEADLINE,
    "Cost against what trained networks make of images",
    "Left is faster. In the upper panel down is cleaner, and 0 means no checkerboard; in the lower one up is "
    "nearer to the target. The ringed points on the dashed lines are the frontiers: nothing else is both faster "
    "and better. Bars are 95 % intervals over seeds, hollow markers are latencies that were disturbed. The exact "
    "fast forms of nearest_conv compute the same function of the same weights, so they have its values after "
    "training.",
    "No layer of this run was trained, so the figure of latency against the checkerboard and the PSNR after "
    "training is left out. Train with: deconvbench train, then write this report again.",
)
_UNKNOWN_ORIGIN = (
    "What is known after training was in the tables of this run; where it comes from was not recorded."
)
_HOW_TO_READ = (
    "Left is faster, down is cleaner. The ringed points on the dashed line are the frontier: nothing else is "
    "both faster and cleaner. A bar is the 95 % interval over seeds of the weights; where there is none to be "
    "seen, it is shorter than the marker. Weights are fresh: training can change all of this."
)
_HOW_TO_READ_TRAINED = (
    "Left is faster, {direction} is better. The ringed points on the dashed line are the frontier: nothing else "
    "is both faster and better. A bar is the 95 % interval over seeds, which draw weights and crops."
)
_OTHERS: tuple[_Entry, ...] = (
    (
        "memory",
        "Where the memory goes",
        "One bar a layer, the leanest on top. The number is the peak of a step above what was there before it; "
        "the hidden workspace is what the peak holds besides the output (and, for train, the gradients). "
        "Parameters were there before and are drawn behind it for comparison.",
        "No case has a memory peak, so there is no memory to draw.",
    ),
    (
        "artifact_maps",
        "Kernel size and stride",
        "One number for each kernel and stride, averaged over seeds; pale is clean. Outlined cells follow the "
        "article's advice: the stride divides the kernel, so each output pixel is visited equally often. Compare "
        "their mean with that of the others, above each map: the noise gain, in the middle, says what the advice "
        "does to the variance of the output, the phase ripple, on the right, what it does to a constant input. "
        "Hatched cells cannot be built or were not measured.",
        "No artifacts were measured over several kernels, so there is no map to draw.",
    ),
    (
        "overlap_maps",
        "Why kernel 3 with stride 2 is uneven",
        "How often a kernel visits each output cell, as in the article's Figures 4 and 6: geometry, not a "
        "measurement. Even inside is good; the borders always have fewer visits.",
        "The overlap maps were not drawn.",
    ),
)


def _list_figures(metrics: Sequence[str]) -> list[_Entry]:
    """List the figures that a report should have, in the order in which to read them."""
    tradeoffs = []
    introduced: set[str] = set()
    for metric in metrics:
        declared = METRICS[metric]
        how = _HOW_TO_READ
        if declared.group == "trained":
            how = _HOW_TO_READ_TRAINED.format(direction="up" if declared.best == "high" else "down")
        start = "Read as the one before." if how in introduced else how
        introduced = {how}
        title = declared.title
        article = "an" if title[0] in "aeiouS" else "a"
        missing = f"No case has both a latency and {article} {title}, so there is no tradeoff to draw."
        tradeoffs.append(
            (f"tradeoff_{metric}", declared.heading_of_tradeoff, f"{start} {declared.how_to_read}", missing)
        )
    return [_HEADLINE, _LATENCY, *tradeoffs, *_OTHERS]


def render_report(
    results: RunResults,
    run_info: Mapping[str, Any],
    pictures: Mapping[str, bytes],
    *,
    metrics: Sequence[str] = TRADEOFF_METRICS,
    claims: Sequence[ClaimRow] | None = None,
    origin: str = "",
) -> str:
    """Write the whole report as one self-contained HTML page.

    Parameters
    ----------
    results : RunResults
        Of a run; any of its frames may be empty.
    run_info : mapping
        Contents of ``run.json``; every key may be missing.
    pictures : mapping of str to bytes
        From `deconvbench.plots.encode_figures`, the article's (`deconvbench.plots.article`) among them; where one
        is missing, a sentence says why.
    metrics : sequence of str
        Metrics, each known, whose tradeoffs belong into the report.
    claims : sequence of ClaimRow, optional
        What was found of the article's claims (`deconvbench.report.claims.parse_claims`); where they are missing,
        a sentence says how to get them.
    origin : str
        Where trained quality comes from (`deconvbench.tables.trained.describe_trained`).

    Returns
    -------
    str
        HTML with everything embedded: it opens from disk and fetches nothing.
    """
    environment = _as_mapping(run_info.get("environment"))
    grid = _as_mapping(run_info.get("grid"))
    summary = results.summary
    entries = _list_figures(metrics)
    known = {name for name, *_ in entries}
    is_trained = bool(results.quality[list(TRAINED_COLUMNS)].notna().any(axis=None))
    origin = (origin or _UNKNOWN_ORIGIN) if is_trained else ""
    shown = [(n, h, caption, missing, pictures.get(n)) for n, h, caption, missing in entries]
    shown += [
        (name, name.replace("_", " "), "", "", picture)
        for name, picture in pictures.items()
        if name not in {*known, *CAPTIONS, "speedups"}
    ]
    return load_template("template.html.j2").render(
        title=f"deconvbench: {grid.get('name') or 'a run'}",
        facts=_list_facts(run_info, environment, grid, results),
        findings=[*describe_speedups(results), *describe_findings(results)],
        speedups=_show_speedups(results, pictures.get("speedups")),
        state=_describe_state(run_info, summary),
        figures=[
            {
                "anchor": name_anchor(name),
                "heading": heading,
                "caption": f"{caption} {origin}" if name == HEADLINE else caption,
                "missing": missing,
                "image": figure and _embed(figure),
            }
            for name, heading, caption, missing, figure in shown
        ],
        article=_show_article(claims, {name: heading for name, heading, *_ in shown}, pictures),
        origin=origin,
        summary=view_summary(summary) if len(summary) else None,
        quality=view_quality(results.quality_summary) if len(results.quality) else None,
        failures=view_failures([results.table, results.quality]),
        noisy=view_noisy(results.table),
        metrics=[(label.heading, label.unit, label.meaning) for label in METRICS.values()],
        environment=list(flatten_environment(environment)),
        grid=list(flatten_environment(grid)),
        command=_write_command(run_info),
        seed=run_info.get("seed"),
    )


def _show_speedups(results: RunResults, picture: bytes | None) -> Mapping[str, Any] | None:
    """Gather the section on interleaved timing; None for a run without any."""
    if results.speedups.empty:
        return None
    return {
        "image": picture and _embed(picture),
        "means": view_means(results.speedup_means),
        "costs": view_costs(results.speedup_means),
        "choices": view_choices(results.choices),
        "failures": list_failures(results.speedups),
    }


def _show_article(
    claims: Sequence[ClaimRow] | None, headings: Mapping[str, str], pictures: Mapping[str, bytes]
) -> Mapping[str, Any]:
    """Gather the section on the article."""
    titles = {**headings, **{name: caption.title.partition(":")[0] for name, caption in CAPTIONS.items()}}
    return {
        "counts": None if claims is None else count_verdicts(claims),
        "claims": view_claims(claims or (), titles, pictures),
        "figures": [
            {
                "anchor": name_anchor(name),
                "heading": caption.title,
                "claim": caption.claim,
                "caption": caption.text,
                "image": _embed(pictures[name]),
                "is_exact": _has_full_colour(pictures[name]),
            }
            for name, caption in CAPTIONS.items()
            if name in pictures
        ],
        "undrawn": list_undrawn(pictures),
    }


def _has_full_colour(picture: bytes) -> bool:
    """Say whether a PNG has no palette, as figures with photographs have none (`plots.encode_figures`)."""
    return picture[_COLOUR_TYPE : _COLOUR_TYPE + 1] == b"\x02"


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _embed(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")


def _count_statuses(summary: pd.DataFrame) -> str:
    if summary.empty:
        return "none finished"
    counts = Counter(summary["status"])
    named = [f"{counts[status]} {status}" for status in STATUSES[1:] if counts[status]]
    return f"{counts['ok']} of {len(summary)} cases ok" + (f" ({', '.join(named)})" if named else "")


def _list_facts(
    run_info: Mapping[str, Any], environment: Mapping[str, Any], grid: Mapping[str, Any], results: RunResults
) -> list[tuple[str, str]]:
    replicates = grid.get("replicates")
    share = run_info.get("measuring_share")
    pairs = [
        ("Machine", ", ".join(list_hardware(environment))),
        ("Measured", _write_time(run_info.get("created_at"))),
        ("Took", _write_span(run_info)),
        ("torch", environment.get("torch_version")),
        ("Code", environment.get("code_version")),
        ("Conditions", _describe_conditions(run_info, results.table)),
        ("Grid", grid.get("name")),
        ("Cells", _count_statuses(results.summary)),
        ("Replicates", replicates),
        ("Time spent measuring", f"{share:.0%}" if isinstance(share, int | float) else None),
    ]
    return [(name, str(value)) for name, value in pairs if value is not None and value != ""]


def _describe_conditions(run_info: Mapping[str, Any], table: pd.DataFrame) -> Any:
    """Say under which conditions was timed, the most usual first; what was asked for where nothing is recorded."""
    counts = Counter(table["conditions"].dropna())
    if len(counts) > 1:
        return ", ".join(f"{text} ({count} of {counts.total()} timings)" for text, count in counts.most_common())
    return next(iter(counts), run_info.get("conditions"))


def _describe_state(run_info: Mapping[str, Any], summary: pd.DataFrame) -> list[str]:
    """Say what a reader must know before believing anything."""
    notes = []
    if summary.empty:
        notes.append("Nothing was measured: the run has no finished case.")
    elif not (summary["status"] == "ok").any():
        notes.append("Every case failed; the reasons are listed below.")
    if run_info.get("finished_at") is None:
        notes.append("The run did not finish: this page shows what was measured until it stopped.")
    times = len(run_info.get("resumed") or ())
    if times:
        notes.append(f"The run was resumed {times} time{'' if times == 1 else 's'}.")
    return notes


def _parse_time(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _write_time(value: Any) -> str:
    moment = _parse_time(value)
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else str(value or "")


def _write_span(run_info: Mapping[str, Any]) -> str | None:
    start, end = _parse_time(run_info.get("created_at")), _parse_time(run_info.get("finished_at"))
    if start is None or end is None or end < start:
        return None
    return format_duration((end - start).total_seconds())


def _write_command(run_info: Mapping[str, Any]) -> str:
    command = run_info.get("command")
    if isinstance(command, str):
        return command
    return shlex.join(map(str, command)) if isinstance(command, list | tuple) else ""
