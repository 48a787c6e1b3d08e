"""A history for people: as text for a terminal, as Markdown, and as a page with an interactive chart.

What changed comes first, with the commits between which it did; cases without a change are counted. What a change
is was decided in `analysis.history`.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from deconvbench.analysis.change_points import LEAST_POINTS
from deconvbench.analysis.history import History, measure_untested, select_untested
from deconvbench.plots.gallery import encode_figures
from deconvbench.plots.history import choose_series, draw_history
from deconvbench.report.comparison import (
    align_columns,
    draw_markdown_table,
    draw_unchanged,
    find_common_reasons,
    list_notes,
    list_rows,
    order_differences,
    split_reason,
)
from deconvbench.report.embedding import CHART_LIBRARY, embed_json, embed_picture, gather_parts
from deconvbench.report.templates import load_template
from deconvbench.system.texts import escape_markdown, tidy_line, write_code
from deconvbench.units import format_seconds

_HEADINGS = ("verdict", "case", "metric", "after/before", "interval", "commits", "reason")
_TIMED = ("slower", "faster", "same", "inconclusive")
# of the chart's data: beyond them a page gets slow
MOST_POINTS = 40_000


def count_changes(found: History) -> str:
    """Count the cases, and the changes of each kind.

    Parameters
    ----------
    found : History
        From `deconvbench.analysis.history.find_history`.
    """
    timed = found.changes["metric"] == "latency_s"
    counts = Counter(found.changes.loc[timed, "verdict"])
    others = Counter(found.changes.loc[~timed, "verdict"])
    cases = _count_cases(found)
    text = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _TIMED)
    changed = ", ".join(f"{others[verdict]} {verdict}" for verdict in ("larger", "smaller") if others[verdict])
    return (
        f"{cases} case{'s' * (cases != 1)} over {len(found.commits)} commits: {text}; memory, MACs and artifacts: "
        f"{changed or 'no difference'}"
    )


def _count_cases(found: History) -> int:
    return len(found.points.drop_duplicates(["case_id", "machine_id"]))


def list_cells(found: History) -> list[tuple[str, ...]]:
    """Write what changed as cells, one for each heading; with several machines the reason begins with its name.

    Cases with too few commits are counted in a note, and not listed one by one.

    Parameters
    ----------
    found : History
        From `deconvbench.analysis.history.find_history`.
    """
    common, names_machine = find_common_reasons(found.changes), _has_machines(found)
    return [
        (
            row["verdict"],
            tidy_line(row["case_id"]),
            tidy_line(row["metric"]),
            "–" if row["ratio"] is None else f"{row['ratio']:.3f}",
            "–" if row["low"] is None or row["high"] is None else f"{row['low']:.3f} to {row['high']:.3f}",
            _write_range(row),
            tidy_line("; ".join([*[row["machine_id"]] * names_machine, *split_reason(row["reason"], common)])),
        )
        for row in list_rows(_select_shown(found))
    ]


def _select_shown(found: History) -> pd.DataFrame:
    return order_differences(found.changes.drop(select_untested(found.changes).index))


def _write_range(row: Mapping[Any, Any]) -> str:
    if not row["first_after"]:
        return "–"
    count = row["commits"]
    return tidy_line(f"{row['last_before']}..{row['first_after']}") + (f" ({count} commits)" if count > 1 else "")


def _has_machines(found: History) -> bool:
    return len(found.changes["machine_id"].unique()) > 1


def _list_facts(found: History) -> list[str]:
    return [*map(tidy_line, found.notes), *list_notes(found.changes), *_note_untested(found)]


def _note_untested(found: History) -> list[str]:
    """Say how many cases have too few commits, and how far apart their first and last are."""
    count, cases = len(select_untested(found.changes)), _count_cases(found)
    if not count:
        return []
    lacking = "does not have" if count == 1 else "do not have"
    which = "no case has" if count == cases else f"{count} of {cases} cases {lacking}"
    notes = [
        f"change points need {LEAST_POINTS} commits or more, which {which} so far; to compare two commits, use"
        " deconvbench compare"
    ]
    if len(ratios := measure_untested(found).sort_values(kind="stable")):
        ends = [f"{ratios.iloc[at]:.3f} ({tidy_line(str(ratios.index[at][0]))})" for at in (0, -1)]
        spread = (
            f": {ends[0]}" if len(ratios) == 1 else f": median {ratios.median():.3f}, from {' to '.join(ends)}"
        )
        notes.append(f"last commit over first, not tested{spread}")
    return notes


def format_history(found: History) -> str:
    """Lay a history out for a terminal.

    Parameters
    ----------
    found : History
        From `deconvbench.analysis.history.find_history`.
    """
    cells = list_cells(found)
    table = [*align_columns([_HEADINGS, *cells]), ""] if cells else []
    return "\n".join([*table, *_list_facts(found), count_changes(found)])


def format_history_markdown(found: History, title: str) -> str:
    """Lay a history out as Markdown.

    Parameters
    ----------
    found : History
        From `deconvbench.analysis.history.find_history`.
    title : str
        What was looked at.

    Returns
    -------
    str
        What changed as a table; one line where nothing did, and no table where there are too few commits.
    """
    cells = list_cells(found)
    if not cells and select_untested(found.changes).empty:
        return draw_unchanged(title, count_changes(found), _list_facts(found))
    words = [
        (
            f"**{verdict}**", write_code(case), metric, ratio, interval,
            _mark_range(commits), escape_markdown(reason),
        )
        for verdict, case, metric, ratio, interval, commits, reason in cells
    ]  # fmt: skip
    parts = [
        f"### {escape_markdown(tidy_line(title))}",
        count_changes(found),
        *map(escape_markdown, _list_facts(found)),
    ]
    if words:
        parts.append(draw_markdown_table(_HEADINGS, words, "---|---|---|---:|---|---|---"))
    return "\n\n".join(parts) + "\n"


def _mark_range(text: str) -> str:
    """Write the range itself as code."""
    commits, blank, count = text.partition(" ")
    return text if text == "–" else f"{write_code(commits)}{blank}{count}"


def render_history(found: History, title: str) -> str:
    """Lay a history out as one self-contained page with an interactive chart.

    Parameters
    ----------
    found : History
        From `deconvbench.analysis.history.find_history`.
    title : str
        What was looked at.

    Returns
    -------
    str
        HTML that opens from disk and fetches nothing.
    """
    timed = found.changes.loc[found.changes["metric"] == "latency_s", "verdict"]
    counts = Counter(timed)
    shown = _select_shown(found)
    chart = describe_history(found)
    keys = {(series["case"], series["machine"]): index for index, series in enumerate(chart["series"])}
    rows = list(
        zip(
            list_cells(found),
            [keys.get(key) for key in zip(shown["case_id"], shown["machine_id"], strict=True)],
            strict=True,
        )
    )
    scripts = ("page.js", "history.js")
    return load_template("history.html.j2").render(
        parts=gather_parts(("page.css",), (*CHART_LIBRARY, *scripts)),
        title=title,
        counts=[(verdict, counts[verdict]) for verdict in _TIMED],
        summary=count_changes(found),
        notes=_list_facts(found),
        headings=_HEADINGS,
        rows=rows,
        is_tested=select_untested(found.changes).empty,
        options=[(str(index), series["name"]) for index, series in enumerate(chart["series"])],
        last=len(found.commits) - 1,
        left_out=chart["leftOut"],
        image=embed_picture(encode_figures({"history": draw_history(found)})["history"]),
        alt=f"Cost of each case over {len(found.commits)} commits. {count_changes(found)}",
        data=embed_json(chart, "history-data"),
    )


def describe_history(found: History) -> dict[str, Any]:
    """Lay out the chart's data: what each number means was decided before, so the script only draws.

    Parameters
    ----------
    found : History
        From `deconvbench.analysis.history.find_history`.

    Returns
    -------
    dict
        ``commits``, ``series`` (name, a sentence, points and changes of each case, those that changed first) and
        ``leftOut``, how many cases do not fit.
    """
    has_machines = _has_machines(found)
    groups = dict(iter(found.points.groupby(["case_id", "machine_id"], sort=False)))
    changes = dict(iter(found.changes.groupby(["case_id", "machine_id"], sort=False)))
    places = {commit: place for place, commit in enumerate(found.commits)}
    series: list[dict[str, Any]] = []
    room = MOST_POINTS
    ordered = choose_series(found, len(groups))
    for key in ordered:
        points = groups[key]
        room -= len(points)
        if series and room < 0:
            break
        named = changes[key]
        named = named[(named["metric"] == "latency_s") & named["verdict"].isin(["slower", "faster"])]
        named = named[named["ratio"].notna()]
        case, machine = key
        series.append(
            {
                "case": case,
                "machine": machine,
                "name": tidy_line(f"{case}, {machine}" if has_machines else case),
                "title": _describe_series(case, named),
                "unit": "ratio to the baseline" if points["metric"].iloc[0] == "ratio" else "latency",
                "points": [_list_point(row) for row in points.to_dict("records")],
                "changes": [
                    {
                        "from": places[row["last_before"]],
                        "to": places[row["first_after"]],
                        "verdict": row["verdict"],
                        "text": f"{row['verdict']}: {row['ratio']:.3f} times, {_write_range(row)}",
                    }
                    for row in named.to_dict("records")
                ],
            }
        )
    return {"commits": list(found.commits), "series": series, "leftOut": len(ordered) - len(series)}


def _describe_series(case: str, changes: pd.DataFrame) -> str:
    """Say what a case's panel finds, in one sentence."""
    name = tidy_line(case, 80)
    if changes.empty:
        return f"{name} did not change"
    parts = [f"{row['ratio']:.3g} times in {_write_range(row)}" for row in changes.to_dict("records")]
    return f"{name} changed to {', then to '.join(parts)}"


def _list_point(row: dict[Any, Any]) -> list[Any]:
    """List position, relative cost, the ends of its interval, level and a text."""
    value, low, high, relative = (float(row[name]) for name in ("value", "low", "high", "relative"))
    scale = relative / value
    write = format_seconds if row["metric"] == "latency_s" else lambda number: f"{number:.4g} times"
    known = math.isfinite(low) and math.isfinite(high)
    text = write(value) + (f" (95 %: {write(low)} to {write(high)})" if known else "")
    ends = [low * scale, high * scale] if known else [None, None]
    return [int(row["position"]), relative, *ends, float(row["level"]), text]
