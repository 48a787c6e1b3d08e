"""The plan of a run: which jobs there are, and its description in the run folder.

Everything that decides what is measured stands in the plan, and the plan stands in ``run.json``, so a run
that was cut off goes on as it began. Measures nothing itself.
"""

import errno
import math
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Self, TypedDict

import numpy as np

from deconvbench.errors import RunFolderError, SurroundingsError, explain_os_error
from deconvbench.grid.grid import Grid
from deconvbench.records.case import Case
from deconvbench.records.record import (
    AnyRecord,
    NumericsRecord,
    QualityRecord,
    Record,
    SpeedupRecord,
    decode_journal,
)
from deconvbench.records.run_folder import JOURNAL_NAME, RUN_NAME, hold_folder, read_run_info, write_run_info
from deconvbench.runner.environment import name_differences
from deconvbench.statistics import pool_replicates, shrink_variances


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
    command : tuple of str
        What the user typed, for the report.
    precision : float or None
        Measure further replicates of the cases whose interval is wider than ± this share of the latency.
    """

    grid: Grid
    cases: tuple[Case, ...]
    seed: int
    upsamplers: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    precision: float | None = None
    settings: tuple[Case, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything about the plan as plain data."""
        return {
            "grid": self.grid.to_dict(),
            "case_ids": [case.case_id for case in self.cases],
            "seed": self.seed,
            "upsamplers": list(self.upsamplers),
            "command": list(self.command),
            "precision": self.precision,
            "setting_ids": [case.case_id for case in self.settings],
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
            # runs of versions before speed-ups have none
            settings=tuple(Case.from_id(case_id) for case_id in info.get("setting_ids", ())),
        )


def format_now() -> str:
    """Write the present moment in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


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
        for name, kernel_size, scale_factor in plan.grid.list_layers(plan.cases)
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
        [*list_replicate(plan.cases, plan.seed, number), *list_speedups(plan, number)]
        for number in range(plan.grid.replicates)
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
            twins=speedup.list_twins(setting),
            rivals=speedup.list_rivals(setting),
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


def list_replicate(cases: Sequence[Case], seed: int, replicate: int) -> list[AnyRecord]:
    """List one pass over cases, in a random order that follows from seed and replicate.

    Parameters
    ----------
    cases : sequence of Case
        Each is measured once.
    seed : int
        The plan's.
    replicate : int
        From 0.

    Returns
    -------
    list of Record
        Not filled in yet.
    """
    order = list(cases)
    random.Random(f"{seed}-{replicate}").shuffle(order)
    return [
        Record(
            case=case,
            replicate=replicate,
            process_index=0,
            seed=seed,
            order=position,
            started_at="",
            **_NOT_MEASURED,
        )
        for position, case in enumerate(order)
    ]


def list_imprecise(plan: Plan, records: Sequence[AnyRecord]) -> list[Case]:
    """List the cases whose interval is wider than the plan wants.

    Parameters
    ----------
    plan : Plan
        With a precision.
    records : sequence of record
        What was measured so far.

    Returns
    -------
    list of Case
        Those that are `ok` in at least two processes and whose interval over them (`statistics.pool_replicates`,
        variances drawn towards those of all cases) reaches further than the precision from the median.
    """
    samples: dict[str, dict[tuple[int, int], float]] = {case.case_id: {} for case in plan.cases}
    for record in records:
        if isinstance(record, Record) and record.status == "ok" and record.latency is not None:
            process = (record.replicate, record.process_index)
            samples.get(record.case.case_id, {})[process] = median(record.latency.samples_s)
    medians = [list(samples[case.case_id].values()) for case in plan.cases]
    variances = [float(np.var(np.log(m), ddof=1)) if len(m) > 1 else math.nan for m in medians]
    shrunk = shrink_variances(variances, [max(len(m) - 1, 0) for m in medians])
    wide = []
    for case, values, variance, dof in zip(plan.cases, medians, shrunk.variances, shrunk.dof, strict=True):
        if len(values) < 2 or plan.precision is None:
            continue
        pooled = pool_replicates(values, variance=float(variance), dof=float(dof))
        if max(pooled.high - pooled.value, pooled.value - pooled.low) > plan.precision * pooled.value:
            wide.append(case)
    return wide


def guess_case_seconds(grid: Grid) -> float:
    """Guess how long one case takes in one replicate, before any was measured.

    Parameters
    ----------
    grid : Grid
        Its `time_cap_s` bounds the sampling; building, warm-up and the memory pass come on top.
    """
    return grid.time_cap_s + 0.5


def open_folder(plan: Plan, folder: Path, environment: Mapping[str, Any]) -> None:
    """Make a run folder and describe in it what will be measured, and where.

    Parameters
    ----------
    plan : Plan
        What will be measured.
    folder : Path
        Must not hold a run yet.
    environment : mapping
        From `collect_environment`.

    Raises
    ------
    RunFolderError
        If the folder holds a run already, is a file, or may not be written.
    SurroundingsError
        If the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise RunFolderError(f"--out: {str(folder)!r} is a file, not a folder") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise SurroundingsError(f"cannot write to {folder}: {explain_os_error(error)}") from error
        raise RunFolderError(f"--out: cannot make {str(folder)!r}: {explain_os_error(error)}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RunFolderError(f"--out: {str(folder)!r} cannot be written: permission denied")
    if (folder / JOURNAL_NAME).exists() or (folder / RUN_NAME).exists():
        raise RunFolderError(
            f"--out: {str(folder)!r} holds a run already; continue it with --resume or name another"
        )
    info: dict[str, Any] = {
        "created_at": format_now(),
        "finished_at": None,
        "measuring_share": None,
        "resumed": [],
    }
    write_run_info(folder, {**info, **plan.to_dict(), "environment": dict(environment)})


def reopen_folder(folder: Path, environment: Mapping[str, Any], *, anyway: bool = False) -> Plan:
    """Take grid, cases and seed of an interrupted run from its folder.

    Parameters
    ----------
    folder : Path
        The run folder.
    environment : mapping
        From `collect_environment`, now.
    anyway : bool
        Go on although machine or software changed; the change is recorded in ``run.json``.

    Raises
    ------
    RunFolderError
        If the folder holds no run that this version can read, or machine or software changed and `anyway` is
        false.
    SurroundingsError
        If another run holds the folder, or it cannot be written.
    """
    info = read_run_info(folder)
    try:
        plan = Plan.from_dict(info)
        differences = name_differences(info["environment"], environment)
        resumptions = list(info["resumed"])
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(f"--resume: {folder / RUN_NAME} does not describe a run: {error!r}") from error
    if differences and not anyway:
        raise RunFolderError(
            f"--resume: {folder} was measured on another machine or version ({'; '.join(differences)});"
            " pass --resume-anyway to continue"
        )
    with hold_folder(folder):  # nothing is written into a folder that another run holds
        _check_journal(folder / JOURNAL_NAME)
        resumed = [*resumptions, {"at": format_now(), "differences": differences}]
        write_run_info(folder, {**info, "resumed": resumed})
    return plan


def _check_journal(path: Path) -> None:
    """Refuse a journal that this version cannot go on with, before anything in its folder is changed."""
    try:
        decode_journal(path.read_bytes(), str(path))
    except FileNotFoundError:
        return  # cut off before the first record
    except OSError as error:
        raise SurroundingsError(f"cannot read {path}: {explain_os_error(error)}") from error


def close_folder(folder: Path, measuring_share: float | None) -> None:
    """Note in ``run.json`` that everything was measured, and the share of time it took.

    Parameters
    ----------
    folder : Path
        The run folder.
    measuring_share : float or None
        Share of the wall time after start-up that went into latency and memory passes; None keeps the earlier.
    """
    info = {**read_run_info(folder), "finished_at": format_now()}
    if measuring_share is not None:
        info["measuring_share"] = measuring_share
    write_run_info(folder, info)
