"""Runs of one project over many commits: where the cost of each case changed, and between which commits.

Each machine is looked at by itself. Latencies are taken as ratios to the baseline of their run where every run has
one. What most cases share besides (the machine's drift, the baseline's own noise) is taken out where that makes
the series quieter, and looked at as a series of its own. Commits come in their order: it is not found here.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from deconvbench.analysis.change_points import LEAST_POINTS, ChangePoint, find_change_points, measure_noise
from deconvbench.analysis.commit_series import (
    LATENCY,
    LEAST_SHARING,
    Series,
    find_common_mode,
    measure_halves,
    take_latencies,
    take_series,
)
from deconvbench.analysis.comparison import COMPARISON_COLUMNS, Row, join_reasons, judge_values, make_row
from deconvbench.analysis.comparison_input import Side
from deconvbench.analysis.intervals import DEFAULT_LEVEL, DEFAULT_MARGIN, check_thresholds
from deconvbench.errors import UsageError

HISTORY_COLUMNS = (*COMPARISON_COLUMNS, "machine_id", "last_before", "first_after", "commits")
POINT_COLUMNS = (
    *("case_id", "machine_id", "commit", "position", "metric", "value", "low", "high", "relative", "level"),
)
# stands for a case where what most of them share is judged
MOST_CASES = "(most cases)"
# share of the noise that series may keep without the common mode: it is nine tenths where nothing is shared, half
# where as much is shared as not
_QUIETER = 2 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCommit:
    """What was measured of one commit.

    Parameters
    ----------
    commit : str
        Its name.
    sides : sequence of Side
        One for each run.
    """

    commit: str
    sides: Sequence[Side]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is found over many commits.

    Parameters
    ----------
    changes : DataFrame
        Columns `HISTORY_COLUMNS`: a row for each change of a case, and one for each case without any. The change
        lies after ``last_before``, and in ``first_after`` at the latest, with a probability of 95 %; ``commits``
        is how many commits that makes.
    points : DataFrame
        Columns `POINT_COLUMNS`: a row for each case and commit. ``value`` is the geometric mean over replicates, a
        ratio to the baseline or seconds, with a 95 % interval where there are two replicates. ``relative`` is
        without what most cases share, over the level at the beginning; ``level`` is that of its segment, likewise.
    commits : tuple of str
        In their order.
    notes : tuple of str
        What a reader must know beside the rows.
    """

    changes: pd.DataFrame
    points: pd.DataFrame
    commits: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_history(
    measured: Sequence[MeasuredCommit], margin: float = DEFAULT_MARGIN, level: float = DEFAULT_LEVEL
) -> History:
    """Find where cases became slower or faster over many commits.

    Parameters
    ----------
    measured : sequence of MeasuredCommit
        In the order of commits; each commit once.
    margin : float
        Changes up to this share do not count, 0 and up, below 1.
    level : float
        Probability that nothing is found in any case of a machine where nothing changes.

    Raises
    ------
    UsageError
        If there are fewer than two commits, a run is of several machines, or margin or level is off.
    """
    check_thresholds(margin, level)
    if len(measured) < 2:
        raise UsageError(
            f"history: {len(measured)} commit{'s' * (len(measured) != 1)} given; a history has two or more"
        )
    commits = tuple(entry.commit for entry in measured)
    rows: list[Row] = []
    points: list[Row] = []
    notes: list[str] = []
    for machine, sides in _split_machines(measured).items():
        finder = _Finder(machine, commits, sides, margin, level)
        rows += finder.find()
        points += finder.points
        notes += finder.notes
    if not rows:
        raise UsageError("history: no case was measured in any of the runs")
    return History(
        changes=pd.DataFrame(rows, columns=list(HISTORY_COLUMNS)),
        points=pd.DataFrame(points, columns=list(POINT_COLUMNS)),
        commits=commits,
        notes=tuple(dict.fromkeys(notes)),
    )


def _split_machines(measured: Sequence[MeasuredCommit]) -> dict[str, list[list[Side]]]:
    """Split what was measured by machine, accelerator and conditions: for each the sides at each commit."""
    keys: dict[tuple[str, ...], None] = {}
    for side in (side for entry in measured for side in entry.sides):
        if len(side.machine_ids) > 1:
            raise UsageError(
                f"{side.name} was measured on several machines ({', '.join(sorted(side.machine_ids))}); give the "
                "run of each machine"
            )
        keys[_name_place(side)] = None
    # a machine's name is enough where it has one accelerator and one kind of conditions
    known = [key[0] for key in keys]
    names = {key: key[0] if known.count(key[0]) == 1 else ", ".join(filter(None, key)) for key in keys}
    return {
        names[key]: [[side for side in entry.sides if _name_place(side) == key] for entry in measured]
        for key in keys
    }


def _name_place(side: Side) -> tuple[str, ...]:
    machine = next(iter(side.machine_ids), "unknown machine")
    return machine, ", ".join(side.accelerators), " and ".join(sorted(side.conditions))


class _Finder:
    """Finds the changes on one machine."""

    def __init__(
        self, machine: str, commits: tuple[str, ...], sides: Sequence[Sequence[Side]], margin: float, level: float
    ) -> None:
        self._machine, self._commits, self._sides = machine, commits, sides
        self._margin, self._level = margin, level
        self.points: list[Row] = []
        self.notes: list[str] = []

    def find(self) -> list[Row]:
        """List the rows, those of what most cases share first."""
        cases = list(dict.fromkeys(case for sides in self._sides for side in sides for case in side.latencies_s))
        groups: dict[str, list[Series]] = {}
        for case in cases:
            series = take_series(case, self._sides)
            groups.setdefault(series.baseline, []).append(series)
        every = [take_latencies(case, self._sides) for case in cases]
        shared: list[Series] = []
        taken: list[Series] = []
        for baseline, members in groups.items():
            found, common = self._take_out_common(members, members if baseline else every)
            taken += found
            if common is not None and len(members) >= LEAST_SHARING:
                shared.append(common)
        count = len(taken) + len(shared)
        rows = [row for series in shared for row in self._judge_shared(series, count)]
        found_in = {series.case_id: self._search(series, count) for series in taken}
        for series in sorted(taken, key=lambda series: cases.index(series.case_id)):
            rows += self._judge(series, found_in)
            self.points += self._list_points(series, found_in[series.case_id])
        return [*rows, *self._judge_untimed(cases), *self._name_failures(cases)]

    def _take_out_common(
        self, members: Sequence[Series], sharing: Sequence[Series]
    ) -> tuple[list[Series], Series | None]:
        """Take out what most cases share, where the series are quieter without it; return it too."""
        common = find_common_mode(sharing, len(self._commits))
        if common is None:
            return [*members], None
        without = [replace(series, common=common[series.positions]) for series in members]
        pairs = [
            (measure_noise(one.quiet)[0], measure_noise(other.quiet)[0])
            for one, other in zip(members, without, strict=True)
            if len(one.positions) >= LEAST_POINTS
        ]
        if not pairs or np.median([after / before for before, after in pairs]) > _QUIETER:
            return [*members], None
        what = f"ratios to {members[0].baseline}" if members[0].baseline else "latencies"
        self.notes.append(f"{self._machine}: what most {what} share is taken out, and judged by itself")
        known = np.flatnonzero(np.isfinite(common))
        shared = replace(
            members[0], case_id=MOST_CASES, positions=known, logs=np.split(common[known], len(known)),
            means=common[known], common=np.zeros(len(known)),
        )  # fmt: skip
        return without, shared

    def _search(self, series: Series, count: int) -> list[ChangePoint]:
        return find_change_points(series.quiet, margin=math.log1p(self._margin), level=self._level, series=count)

    def _judge(self, series: Series, found_in: Mapping[str, Sequence[ChangePoint]]) -> list[Row]:
        found = found_in[series.case_id]
        if len(series.positions) < LEAST_POINTS:
            reason = f"{len(series.positions)} commits; a change is searched for in {LEAST_POINTS} or more"
            return [self._write_row(make_row(series.case_id, LATENCY, math.nan, "inconclusive", reason))]
        reason = f"by the ratio to {series.baseline}" if series.baseline else ""
        if not found:
            return [self._write_row(make_row(series.case_id, LATENCY, math.nan, "same", reason))]
        return [
            self._write_change(series, point, join_reasons(self._compare_with_others(point, found_in), reason))
            for point in found
        ]

    def _judge_shared(self, series: Series, count: int) -> list[Row]:
        what = f"what most ratios to {series.baseline} share" if series.baseline else "what most cases share"
        causes = (
            "the baseline, or code of all of them" if series.baseline else "the machine, or code of all of them"
        )
        rows = []
        for point in self._search(series, count):
            row = self._write_change(series, point, "")
            reason = f"{what} became {row['verdict']}: {causes}; to decide, compare the two commits in pairs"
            rows.append(row | {"verdict": "inconclusive", "reason": join_reasons(reason, row["reason"])})
        return rows

    def _compare_with_others(self, point: ChangePoint, found_in: Mapping[str, Sequence[ChangePoint]]) -> str:
        """Say that most cases change so at the same place, where they do: one cause is to be looked for."""
        alike = sum(
            any(
                other.step * point.step > 0
                and other.last_before < point.first_after
                and point.last_before < other.first_after
                for other in found
            )
            for found in found_in.values()
        )
        if alike < LEAST_SHARING or 2 * alike <= len(found_in):
            return ""
        return f"as {alike} of {len(found_in)} cases there: look for one cause"

    def _write_change(self, series: Series, point: ChangePoint, reason: str) -> Row:
        before, after = (int(series.positions[place]) for place in (point.last_before, point.first_after))
        verdict = "slower" if point.step > 0 else "faster"
        reason = join_reasons(self._compare_torch(before, after), reason)
        row = make_row(series.case_id, LATENCY, math.exp(point.step), verdict, reason)
        return self._write_row(row, before, after) | {"low": math.exp(point.low), "high": math.exp(point.high)}

    def _compare_torch(self, before: int, after: int) -> str:
        versions = [
            ", ".join(sorted({version for side in self._sides[place] for version in side.torch_versions}))
            for place in (before, after)
        ]
        return f"torch {versions[0]} before, {versions[1]} after" if all(versions) and len({*versions}) > 1 else ""

    def _write_row(self, row: Row, before: int | None = None, after: int | None = None) -> Row:
        names = ["" if place is None else self._commits[place] for place in (before, after)]
        count = 0 if before is None or after is None else after - before
        return row | {
            "machine_id": self._machine, "last_before": names[0], "first_after": names[1], "commits": count,
        }  # fmt: skip

    def _judge_untimed(self, cases: Sequence[str]) -> list[Row]:
        """List the commits at which memory, multiply-accumulates or artifacts changed."""
        rows = []
        for case in cases:
            known: Mapping[str, float | None] | None = None
            last = 0
            for place, sides in enumerate(self._sides):
                metrics = next((side.metrics[case] for side in sides if case in side.metrics), None)
                if metrics is None:
                    continue
                if known is not None:
                    changed = [row for row in judge_values(case, known, metrics) if row["verdict"] != "same"]
                    rows += [self._write_row(row, last, place) for row in changed]
                # what one commit lacks is compared with the last that has it
                known = {**(known or {}), **{name: value for name, value in metrics.items() if value is not None}}
                last = place
        return rows

    def _name_failures(self, cases: Sequence[str]) -> list[Row]:
        """List the cases that worked once, and do not at the last commit that tried them."""
        rows = []
        for case in cases:
            tried = [
                (place, case in side.latencies_s, side.failures.get(case, ""))
                for place, sides in enumerate(self._sides)
                for side in sides
                if case in side.latencies_s or case in side.failures
            ]
            place, works, failure = tried[-1]
            if works:
                continue
            good = max(before for before, worked, _ in tried if worked)
            first = min(after for after, worked, _ in tried if not worked and after >= good)
            row = make_row(case, LATENCY, math.nan, "slower", f"worked before; {failure}")
            rows.append(self._write_row(row, good, first if first > good else place))
        return rows

    def _list_points(self, series: Series, found: Sequence[ChangePoint]) -> list[Row]:
        """List the points of a case, each with the level of its segment."""
        values = series.quiet
        bounds = [0, *(point.position for point in found), len(values)]
        levels = np.concatenate(
            [np.full(end - start, np.median(values[start:end])) for start, end in pairwise(bounds)]
        )
        halves = measure_halves(series.logs)
        return [
            {
                "case_id": series.case_id,
                "machine_id": self._machine,
                "commit": self._commits[place],
                "position": int(place),
                "metric": series.metric,
                "value": math.exp(mean),
                "low": math.exp(mean - half),
                "high": math.exp(mean + half),
                "relative": math.exp(value - levels[0]),
                "level": math.exp(step - levels[0]),
            }
            for place, mean, half, value, step in zip(
                series.positions, series.means, halves, values, levels, strict=True
            )
        ]


def select_failing(
    changes: pd.DataFrame, fail_on: Iterable[str], since: Sequence[str] | None = None
) -> pd.DataFrame:
    """Select the rows that make a command fail.

    Parameters
    ----------
    changes : DataFrame
        Of a `History`.
    fail_on : iterable of str
        Verdicts.
    since : sequence of str, optional
        Commits at which a change must have been seen first; all by default.
    """
    failing = changes[changes["verdict"].isin([*fail_on])]
    return failing if since is None else failing[failing["first_after"].isin([*since])]


def select_untested(changes: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of cases that have too few commits for a change to be searched for.

    Parameters
    ----------
    changes : DataFrame
        Of a `History`.
    """
    # what is found among most cases is inconclusive too, but lies between two commits
    is_open = (changes["verdict"] == "inconclusive") & (changes["first_after"] == "")
    return changes[is_open & (changes["metric"] == LATENCY)]


def measure_untested(history: History) -> pd.Series:
    """Measure cases with too few commits all the same: the last commit over the first, by case and machine.

    Parameters
    ----------
    history : History
        From `find_history`.
    """
    keys = ["case_id", "machine_id"]
    points = history.points.merge(select_untested(history.changes)[keys], on=keys)
    values = points.sort_values("position", kind="stable").groupby(keys, sort=False)["value"]
    return (values.last() / values.first())[values.size() > 1]


def list_latest(history: History) -> list[dict[str, Any]]:
    """List the newest point of each case as plain rows.

    Parameters
    ----------
    history : History
        From `find_history`.
    """
    latest = (
        history.points.sort_values("position", kind="stable")
        .groupby(["case_id", "machine_id"], sort=False)
        .tail(1)
    )
    return [{str(name): value for name, value in row.items()} for row in latest.to_dict("records")]
