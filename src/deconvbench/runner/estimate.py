"""How much a plan measures, and about how long that takes, before anything was measured.

Estimates from the amount of work in each layer; a measurement is more accurate.
"""

import math
from collections.abc import Sequence

from deconvbench.grid.grid import Grid
from deconvbench.measure.capacity import explain_size
from deconvbench.records.case import CASE_DEFAULTS, Case
from deconvbench.records.record import AnyRecord, Record, SpeedupRecord
from deconvbench.runner.plan import Plan, find_baselines, guess_case_seconds, list_speedups
from deconvbench.units import format_duration

# What a core of today gives a plain convolution, what another layer takes beside it, and how often each is called
# in rounds, and in warm-up, checks and memory pass: good enough to choose between a coffee and a lunch.
_MACS_PER_S = 35e9
_ALTERNATIVE_SHARE = 0.42
_ROUNDS, _FEWEST_ROUNDS, _OVERTIME = 15, 10, 10
_CALLS_BESIDE = 5
# short layers are called in blocks, the large matrix product takes its turns, and the layers are built
_FIXED_S = 1.2
# of one layer: its artifacts at one seed, or its rounding error
_UNTIMED_S = 0.1


def guess_job_seconds(grid: Grid, job: AnyRecord) -> float:
    """Guess how long one job takes, before any was measured.

    Parameters
    ----------
    grid : Grid
        What it is a part of.
    job : record
        Of any kind.

    Returns
    -------
    float
        Seconds, above 0.
    """
    if isinstance(job, SpeedupRecord):
        return guess_speedup_seconds(grid, [job])
    return _guess_measured_seconds(grid, job.case) if isinstance(job, Record) else _UNTIMED_S


def _guess_measured_seconds(grid: Grid, case: Case) -> float:
    """Guess the seconds of one case in one replicate: its share of the rounds, or more where calls are long."""
    usual_s = guess_case_seconds(grid)
    # what accelerators take is not known here, and what does not fit into memory is not called
    if case.device != CASE_DEFAULTS["device"] or explain_size(case) is not None:
        return usual_s
    return max(usual_s, usual_s - grid.time_cap_s + (_FEWEST_ROUNDS + _CALLS_BESIDE) * _guess_call_seconds(case))


def _guess_call_seconds(case: Case) -> float:
    """Guess the seconds of one call, from the work of a plain convolution of these sizes."""
    macs = math.prod((*case.output_shape, case.in_channels, (case.kernel_size or 1) ** 2))
    # forward and backward take three times what forward takes
    return macs * (3 if case.step == "train" else 1) / (case.threads * _MACS_PER_S)


def guess_speedup_seconds(grid: Grid, jobs: Sequence[AnyRecord]) -> float:
    """Guess how long layers whose timing is interleaved take, before any were.

    Parameters
    ----------
    grid : Grid
        Its `time_cap_s` bounds the sampling of short layers; long ones take as many rounds as it takes.
    jobs : sequence of record
        Those that are speed-ups count.

    Returns
    -------
    float
        Seconds for all of them.
    """
    seconds = 0.0
    for job in jobs:
        if isinstance(job, SpeedupRecord):
            round_s = _guess_call_seconds(job.case) * (1 + _ALTERNATIVE_SHARE * len((*job.twins, *job.rivals)))
            rounds_s = min(_ROUNDS * round_s, max(_OVERTIME * grid.time_cap_s, _FEWEST_ROUNDS * round_s))
            seconds += max(grid.time_cap_s, rounds_s) + _CALLS_BESIDE * round_s + _FIXED_S
    return seconds


def describe_extent(plan: Plan) -> str:
    """Say in a line how much a plan measures, and about how long that takes.

    Parameters
    ----------
    plan : Plan
        What would be measured.
    """
    replicates = plan.grid.replicates
    jobs = list_speedups(plan, 0)
    # with the baselines that are timed along and not among the cases
    timed = {*plan.cases, *find_baselines(plan).values()}
    timed_s = math.fsum(_guess_measured_seconds(plan.grid, case) for case in timed)
    seconds = replicates * (timed_s + guess_speedup_seconds(plan.grid, jobs))
    turns = f" and {len(jobs)} settings with interleaved timing" if jobs else ""
    line = f"{len(plan.cases)} cases{turns} × {replicates} replicates, about {format_duration(seconds)}"
    large = [case for case in (*plan.cases, *plan.settings) if explain_size(case) is not None]
    if large:
        line += f"; {len(large)} too large for this machine, such as {large[0].case_id}: {explain_size(large[0])}"
    return line
