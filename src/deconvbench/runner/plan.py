"""The plan of a run: which jobs there are, and its description in the run folder.

Everything that decides what is measured stands in the plan, and the plan stands in ``run.json``, so a run
that was interrupted continues as it began.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypedDict

from deconvbench.arguments import LARGEST_SEED, check_whole
from deconvbench.errors import UsageError
from deconvbench.grid.grid import Grid
from deconvbench.records.case import Case, name_group, name_layer, parse_layer
from deconvbench.records.record import (
    AnyRecord,
    NumericsRecord,
    QualityRecord,
    Record,
    SpeedupRecord,
)
from deconvbench.runner.conditions import choose_policy

# what the others replace, or are made of: the transposed convolution with a kernel of 3
DEFAULT_BASELINE = ("transposed", 3)
# a month and more
_MAX_MEASUREMENTS = 2_000_000


class _NotMeasured(TypedDict):
    status: str
    message: str


# what a job says of itself until it is filled in
_NOT_MEASURED: _NotMeasured = {"status": "error", "message": "not measured"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is to measure; all of it is written into ``run.json`` and read back on resume.

    Parameters
    ----------
    grid : Grid
        Where the cases come from, with the settings of each.
    cases : tuple of Case
        The cases that were selected.
    settings : tuple of Case
        The settings, each the case of its baseline, in which the timing of the grid's layers is interleaved.
    seed : int
        Of the orders, the weights and the inputs.
    upsamplers : tuple of str
        ``pkg.mod:factory`` of further upsamplers.
    upsampler_digests : tuple of str
        Of the source of each; none where they were not recorded.
    baseline : tuple of str and int or None, optional
        Upsampler and kernel size of the layer that all are compared with; None leaves that to `find_baselines`.
    command : tuple of str
        What the user typed, for the report.
    keyword : str
        The ``-k`` by which cases were selected; it filters the layers whose artifacts alone are measured too.
    precision : float or None
        Measure further replicates of the cases whose interval is wider than ± this share of the latency.
    conditions : str
        The policy under which all is timed, one of `POLICIES`.

    Raises
    ------
    UsageError
        If it would take more than two million measurements, or seed or policy is not one.
    """

    grid: Grid
    cases: tuple[Case, ...]
    seed: int
    upsamplers: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    precision: float | None = None
    settings: tuple[Case, ...] = ()
    upsampler_digests: tuple[str, ...] = ()
    baseline: tuple[str, int | None] | None = None
    keyword: str = ""
    conditions: str = "system"

    def __post_init__(self) -> None:
        check_whole("seed", self.seed, 0, LARGEST_SEED)
        choose_policy(self.conditions, "conditions")
        grid, cases = self.grid, len(self.cases) + len(self.settings)
        layers = len({(case.upsampler, case.kernel_size, case.scale_factor) for case in self.cases})
        if grid.quality_axes:
            layers += math.prod(map(len, grid.quality_axes.values()))
        total = cases * grid.replicates + layers * grid.quality_seeds
        if total > _MAX_MEASUREMENTS:
            raise UsageError(
                f"{grid.source}: {total:,} measurements ({cases:,} cases × {grid.replicates:,} replicates and"
                f" {layers:,} layers × {grid.quality_seeds:,} seeds) are too many; at most"
                f" {_MAX_MEASUREMENTS:,} are allowed"
            )

    def to_dict(self) -> dict[str, Any]:
        """Everything about the plan as plain data."""
        return {
            "grid": self.grid.to_dict(),
            "case_ids": [case.case_id for case in self.cases],
            "seed": self.seed,
            "upsamplers": list(self.upsamplers),
            "upsampler_digests": list(self.upsampler_digests),
            "command": list(self.command),
            "precision": self.precision,
            "keyword": self.keyword,
            "setting_ids": [case.case_id for case in self.settings],
            "baseline": None if self.baseline is None else name_layer(*self.baseline),
            "conditions": self.conditions,
        }

    @classmethod
    def from_dict(cls, info: Mapping[str, Any]) -> Self:
        """Rebuild a plan from ``run.json``."""
        return cls(
            grid=Grid.from_record(info["grid"]),
            cases=tuple(Case.from_id(case_id) for case_id in info["case_ids"]),
            seed=info["seed"],
            upsamplers=tuple(info["upsamplers"]),
            command=tuple(info["command"]),
            precision=info["precision"],
            upsampler_digests=tuple(info.get("upsampler_digests", ())),
            keyword=info.get("keyword", ""),
            # runs of versions before speed-ups have none
            settings=tuple(Case.from_id(case_id) for case_id in info.get("setting_ids", ())),
            # nor have those of versions before ratios a baseline of their own
            baseline=parse_layer(info["baseline"], "baseline") if info.get("baseline") else None,
            # those of versions before policies were timed as the system would have it
            conditions=info.get("conditions") or "system",
        )


def list_jobs(plan: Plan) -> list[list[AnyRecord]]:
    """List everything that a plan measures, in batches that each want a fresh process.

    First the artifacts of every layer and its rounding error, then the cases and after them the speed-ups, once
    per replicate, each time in a new random order.

    Parameters
    ----------
    plan : Plan
        What to measure.

    Returns
    -------
    list of list of record
        Not filled in yet.
    """
    quality: list[AnyRecord] = [
        QualityRecord(
            upsampler=name,
            kernel_size=kernel_size,
            scale_factor=scale_factor,
            seed=seed,
            channels=plan.grid.quality_channels,
            **_NOT_MEASURED,
        )
        for name, kernel_size, scale_factor in plan.grid.list_layers(plan.cases, plan.keyword)
        for seed in range(plan.grid.quality_seeds)
    ]
    numerics: dict[tuple[Any, ...], AnyRecord] = {}
    for case in plan.cases:
        record = NumericsRecord(
            upsampler=case.upsampler,
            kernel_size=case.kernel_size,
            scale_factor=case.scale_factor,
            in_channels=case.in_channels,
            out_channels=case.out_channels,
            dtype=case.dtype,
            device=case.device,
            **_NOT_MEASURED,
        )
        numerics[record.key] = record
    replicates = (
        [*list_replicate(plan, number), *list_speedups(plan, number)] for number in range(plan.grid.replicates)
    )
    return [[*quality, *numerics.values()], *replicates]


def list_speedups(plan: Plan, replicate: int) -> list[AnyRecord]:
    """List one pass over the settings in which the timing of layers is interleaved, in a random order.

    Parameters
    ----------
    plan : Plan
        What to measure.
    replicate : int
        From 0.

    Returns
    -------
    list of SpeedupRecord
        Not filled in yet.
    """
    speedup = plan.grid.speedup
    if speedup is None:
        return []
    jobs = [
        SpeedupRecord(
            case=setting,
            twins=speedup.list_equivalents(setting),
            rivals=speedup.list_alternatives(setting),
            is_frozen=weights == "frozen",
            replicate=replicate,
            seed=plan.seed,
            **_NOT_MEASURED,
        )
        for setting in plan.settings
        for weights in speedup.weights
        # a layer that trains has no weight that could be kept
        if setting.step == "forward" or weights == "live"
    ]
    random.Random(f"speedups-{plan.seed}-{replicate}").shuffle(jobs)
    return [*jobs]


def list_replicate(plan: Plan, replicate: int, cases: Sequence[Case] | None = None) -> list[AnyRecord]:
    """List one pass over cases, in a random order that follows from seed and replicate.

    Parameters
    ----------
    plan : Plan
        Says what each case is compared with.
    replicate : int
        From 0.
    cases : sequence of Case, optional
        Some of the plan's; by default all.

    Returns
    -------
    list of Record
        Not filled in yet. The cases of a group, which are measured together, are neighbours, the baseline first.
    """
    shuffler = random.Random(f"{plan.seed}-{replicate}")
    baselines = find_baselines(plan)
    groups: dict[str, list[Case]] = {}
    for case in plan.cases if cases is None else cases:
        groups.setdefault(name_group(case), []).append(case)
    order: list[tuple[Case, str]] = []
    for name in shuffler.sample([*groups], len(groups)):
        members, baseline = groups[name], baselines[name]
        shuffler.shuffle(members)
        members.sort(key=lambda case: case != baseline)
        order += ((case, baseline.case_id) for case in members)
    return [
        Record(
            case=case,
            replicate=replicate,
            process_index=0,
            seed=plan.seed,
            order=position,
            started_at="",
            baseline_id=baseline_id,
            **_NOT_MEASURED,
        )
        for position, (case, baseline_id) in enumerate(order)
    ]


def find_baselines(plan: Plan) -> dict[str, Case]:
    """Find what the cases of each group are compared with.

    Parameters
    ----------
    plan : Plan
        Its `baseline`, where it names a layer, is that of every group, among the plan's cases or not; otherwise it
        is `DEFAULT_BASELINE` where the group has it, and else the first of its cases.

    Returns
    -------
    dict of str to Case
        By the name of the group (`records.case.name_group`).
    """
    wanted = DEFAULT_BASELINE if plan.baseline is None else plan.baseline
    found: dict[str, Case] = {}
    for case in plan.cases:
        name = name_group(case)
        asked = replace(case, upsampler=wanted[0], kernel_size=wanted[1])
        if plan.baseline is not None or case == asked:
            found[name] = asked
        else:
            found.setdefault(name, case)
    return found


def guess_case_seconds(grid: Grid) -> float:
    """Guess how long one case takes in one replicate, before any was measured.

    Parameters
    ----------
    grid : Grid
        Its `time_cap_s` is the case's share of the rounds; building, warm-up and the memory pass come on top.
    """
    return grid.time_cap_s + 0.25
