"""Where a run's numbers come from: machine, code, conditions, what went wrong, and how to do it again."""

import shlex
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from deconvbench.analysis.results import RunResults
from deconvbench.records.finishing import STATUSES
from deconvbench.records.run_folder import list_hardware
from deconvbench.system.texts import tidy_line
from deconvbench.units import format_duration

# of what strangers named, in a heading
_LONGEST_NAME = 80


def name_run(run_info: Mapping[str, Any]) -> str:
    """Name a run for the tab of a browser: its grid, machine and date.

    Parameters
    ----------
    run_info : mapping
        Contents of ``run.json``; every key may be missing.
    """
    grid, environment = (get_mapping(run_info, key) for key in ("grid", "environment"))
    hardware = list_hardware(environment)
    date = _write_time(run_info.get("created_at"))[:10]
    name = str(grid.get("name") or "a run")
    words = [f"{name} on {hardware[0]}" if hardware else name, date]
    return ", ".join(tidy_line(word, _LONGEST_NAME) for word in words if word)


def describe_origin(run_info: Mapping[str, Any], results: RunResults) -> str:
    """Say in one line what was measured where and when.

    Parameters
    ----------
    run_info : mapping
        As for `name_run`.
    results : RunResults
        Of the run.
    """
    environment = get_mapping(run_info, "environment")
    torch = environment.get("torch_version")
    words = [
        *list_hardware(environment),
        f"torch {torch}" if torch else "",
        _write_time(run_info.get("created_at")),
        count_statuses(results.summary),
    ]
    return " · ".join(tidy_line(str(word), _LONGEST_NAME) for word in words if word)


def list_facts(run_info: Mapping[str, Any], results: RunResults) -> list[tuple[str, str]]:
    """List what a reader of numbers asks first, as names and texts.

    Parameters
    ----------
    run_info, results
        As for `describe_origin`.
    """
    environment, grid = (get_mapping(run_info, key) for key in ("environment", "grid"))
    share = run_info.get("measuring_share")
    pairs = [
        ("Machine", ", ".join(list_hardware(environment))),
        ("Measured", _write_time(run_info.get("created_at"))),
        ("Took", _write_span(run_info)),
        ("torch", environment.get("torch_version")),
        ("Code", environment.get("code_version")),
        ("Conditions", _describe_conditions(run_info, results.table)),
        ("Grid", grid.get("name")),
        ("Cases", count_statuses(results.summary)),
        ("Replicates", grid.get("replicates")),
        ("Time spent measuring", f"{share:.0%}" if isinstance(share, int | float) else None),
    ]
    return [(name, str(value)) for name, value in pairs if value is not None and value != ""]


def count_statuses(summary: pd.DataFrame) -> str:
    """Count the cases by how they ended.

    Parameters
    ----------
    summary : DataFrame
        One row per case; may be empty.
    """
    if summary.empty:
        return "none finished"
    counts = Counter(summary["status"])
    named = [f"{counts[status]} {status}" for status in STATUSES[1:] if counts[status]]
    return f"{counts['ok']} of {len(summary)} cases ok" + (f" ({', '.join(named)})" if named else "")


def _describe_conditions(run_info: Mapping[str, Any], table: pd.DataFrame) -> Any:
    """Say under which conditions was timed, the most usual first; what was asked for where nothing is recorded."""
    counts = Counter(table["conditions"].dropna())
    if len(counts) > 1:
        return ", ".join(f"{text} ({count} of {counts.total()} timings)" for text, count in counts.most_common())
    return next(iter(counts), run_info.get("conditions"))


def describe_state(run_info: Mapping[str, Any], summary: pd.DataFrame) -> list[str]:
    """Say what a reader must know before believing anything.

    Parameters
    ----------
    run_info : mapping
        As for `name_run`.
    summary : DataFrame
        One row per case.
    """
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


def list_commands(run_info: Mapping[str, Any]) -> list[str]:
    """List the commands that make the run again: the code's version, torch's, and the run with its seed.

    Parameters
    ----------
    run_info : mapping
        As for `name_run`.

    Returns
    -------
    list of str
        Lines for a shell; empty where the command was not recorded.
    """
    command, seed = run_info.get("command"), run_info.get("seed")
    if isinstance(command, list | tuple) and command:
        words = list(map(str, command))
        if seed is not None and "run" in words[:2] and not any(word.startswith("--seed") for word in words):
            words += ["--seed", str(seed)]
        text = shlex.join(words)
    elif isinstance(command, str) and command:
        text = command
    else:
        return []
    environment = get_mapping(run_info, "environment")
    commit = str(environment.get("code_version") or "").partition("+g")[2].partition(".")[0]
    torch = environment.get("torch_version")
    lines = [f"git checkout {shlex.quote(commit)} && python3 -m pip install ."] if commit else []
    lines += [f"python3 -m pip install {shlex.quote(f'torch=={torch}')}"] if torch else []
    return [*lines, text, "deconvbench report"]


def get_mapping(run_info: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Take a part of ``run.json``; an empty one where there is none, or something else.

    Parameters
    ----------
    run_info : mapping
        As for `name_run`.
    key : str
        Of the part.
    """
    value = run_info.get(key)
    return value if isinstance(value, Mapping) else {}


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
