"""The goals of the project, measured here and now: what is aimed at, what this machine gives.

Times and rates depend on the machine, so no test asserts them; this prints each with its limit and the machine
and always succeeds. ``nox -s goals`` runs it on a quiet machine.
"""

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median

import torch
from torch.utils.benchmark import Timer

from bench.audit_speed import make_networks, measure_cost
from bench.goal import Goal
from bench.run_goals import read_measuring_share, read_quick, read_selftest
from bench.scale_goals import time_loading, time_merge, time_overhead, time_report
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.memory import measure_cpu_memory, measure_resident_peak
from deconvbench.measure.rounds import divide_rounds, take_rounds
from deconvbench.measure.speedup import measure_speedup
from deconvbench.measure.step import PreparedStep, prepare_step
from deconvbench.records.case import Case
from deconvbench.records.record import SpeedupRecord
from deconvbench.runner.environment import collect_environment
from deconvbench.studies.claims import CLAIMS, read_context
from deconvbench.studies.training.command import list_runs
from deconvbench.studies.training.workflow import estimate_seconds
from deconvbench.units import format_duration

TIMED_CASES = (
    "transposed-k3-s2-c64x32-16x16",
    "transposed-k4-s2-c64x32-32x32",
    "transposed_smoothed-k3-s2-c32x16-32x32",
    "zero_insert-k3-s2-c64x32-32x32",
    "nearest_conv-k3-s2-c64x32-16x16",
    "nearest_conv-k3-s2-c64x32-64x64",
    "bilinear_conv-k3-s2-c64x32-32x32",
    "conv_nearest-k3-s2-c64x32-64x64",
    "subpixel-k3-s2-c64x32-32x32",
    "nearest_conv-k3-s2-c64x32-32x32-train",
)
LARGE_CASES = (
    "transposed-k4-s2-c64x32-256x256",
    "nearest_conv-k3-s2-c64x32-256x256",
    "subpixel-k3-s2-c64x32-256x256",
    "transposed-k3-s2-c64x32-256x256-train",
)


# channels and side of the input, as in the preset `fast`
SPEEDUP_SHAPES = ((64, 16), (64, 64), (128, 32), (256, 16), (256, 32), (512, 16), (512, 32))
# memory format, threads, step, and how many times faster than the plain form is aimed at
SPEEDUP_GOALS = (
    ("contiguous", 1, "forward", 3.0),
    ("channels_last", 1, "forward", 3.5),
    ("contiguous", 2, "forward", 2.6),
    ("channels_last", 2, "forward", 2.6),
    ("contiguous", 1, "train", 1.8),
)
# claims that need neither training nor timing
CHEAP_CLAIMS = (1, 2, 3, 4, 5, 6, 13, 17)
_CLAIMS_LIMIT_S, _BUDGET_LIMIT_S, _AUDIT_LIMIT_S = 10.0, 1800.0, 30.0


def time_help(repeats: int = 7) -> Goal:
    """Time ``deconvbench --help`` from start to end; the median of several.

    Parameters
    ----------
    repeats : int
        How often.
    """
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "deconvbench", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return Goal(name="--help answers", measured=f"{median(times):.2f} s", limit="0.3 s", met=median(times) < 0.3)


def compare_with_timer(case_ids: tuple[str, ...] = TIMED_CASES, rounds: int = 5) -> Goal:
    """Compare our latency with `torch.utils.benchmark.Timer` on the same step, interleaved in this process.

    Parameters
    ----------
    case_ids : tuple of str
        What is timed.
    rounds : int
        How often the two take turns.
    """
    ratios = []
    for case_id in case_ids:
        case = Case.from_id(case_id)
        torch.set_num_threads(case.threads)
        ratios.append(_interleave(prepare_step(case, 0), rounds, case.threads))
    middle, worst = median(ratios), max(ratios, key=lambda ratio: abs(ratio - 1))
    return Goal(
        name=f"latency over torch's Timer, median of {len(ratios)} cases",
        measured=f"{middle:.3f} (worst {worst:.3f})",
        limit="within 3 %",
        met=abs(middle - 1) < 0.03,
    )


def _interleave(step: PreparedStep, rounds: int, threads: int) -> float:
    policy = LatencyPolicy(time_cap_s=0.5)
    timer = Timer("step()", globals={"step": step.run}, num_threads=threads)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(median(take_rounds({"step": step.run}, "step", policy).samples_s["step"]))
        theirs.append(timer.blocked_autorange(min_run_time=0.3).median)
    return median(ours) / median(theirs)


def compare_with_resident_peak(case_ids: tuple[str, ...] = LARGE_CASES) -> Iterator[Goal]:
    """Compare our peak memory with the kernel's own VmHWM in a fresh process, on large steps.

    Parameters
    ----------
    case_ids : tuple of str
        Steps above 32 MiB.
    """
    for case_id in case_ids:
        case = Case.from_id(case_id)
        torch.set_num_threads(case.threads)
        peak = measure_cpu_memory(prepare_step(case, 0)).peak_memory_bytes
        resident = measure_resident_peak(case_id)
        if peak is None:
            continue
        yield Goal(
            name=f"peak memory over VmHWM, {case_id}",
            measured=f"{peak / resident:.3f} ({peak / 2**20:.0f} MiB)",
            limit="within 10 %",
            met=abs(peak / resident - 1) < 0.1,
        )


def compare_with_plain(
    shapes: tuple[tuple[int, int], ...] = SPEEDUP_SHAPES, time_cap_s: float = 0.3
) -> Iterator[Goal]:
    """Time the fast resize-convolution, the plain one and the k3 deconvolution alternately, at several shapes.

    Parameters
    ----------
    shapes : tuple of (int, int)
        Input channels, of which half come out, and side of the input.
    time_cap_s : float
        Of the rounds at each shape; there are 15 at least.
    """
    policy = LatencyPolicy(time_cap_s=time_cap_s, warmup_s=0.05)
    for memory_format, threads, step, limit in SPEEDUP_GOALS:
        torch.set_num_threads(threads)
        ratios: dict[str, list[float]] = {"nearest_conv_fast": [], "transposed": []}
        for channels, side in shapes:
            setting = Case(
                upsampler="nearest_conv",
                kernel_size=3,
                scale_factor=2,
                in_channels=channels,
                out_channels=channels // 2,
                height=side,
                width=side,
                memory_format=memory_format,
                threads=threads,
                step=step,
            )
            ids = {name: replace(setting, upsampler=name).case_id for name in ratios}
            job = SpeedupRecord(
                case=setting,
                twins=(ids["nearest_conv_fast"],),
                rivals=(ids["transposed"],),
                is_frozen=step == "forward",
                replicate=0,
                seed=0,
                status="error",
            )
            for measured in measure_speedup(job, policy, measures_memory=False):
                samples_s = measured.samples_s
            for name, case_id in ids.items():
                ratios[name].append(median(divide_rounds(samples_s, setting.case_id, case_id)))
        ours, theirs = (math.exp(fmean(map(math.log, found))) for found in ratios.values())
        weights = ", frozen" if step == "forward" else ""
        yield Goal(
            name=f"nearest_conv_fast over nearest_conv, {step}{weights}, {memory_format}, threads: {threads}",
            measured=f"{ours:.2f} times faster (transposed k3: {theirs:.2f})",
            limit=f"{limit}",
            met=ours >= limit,
        )


def time_claims(ids: tuple[int, ...] = CHEAP_CLAIMS) -> Goal:
    """Time how long claims that need no training take to be judged, together.

    Parameters
    ----------
    ids : tuple of int
        Their numbers.
    """
    context = read_context(None, None)
    started = time.perf_counter()
    for claim in CLAIMS:
        if claim.id in ids:
            claim.judge(claim.measure(context))
    taken = time.perf_counter() - started
    name = f"claims {', '.join(map(str, ids))} together"
    return Goal(
        name=name, measured=f"{taken:.1f} s", limit=f"{_CLAIMS_LIMIT_S:.0f} s", met=taken < _CLAIMS_LIMIT_S
    )


def time_audits(*, is_small: bool = False) -> Iterator[Goal]:
    """Time audits of networks of twenty million parameters at 256×256 on two threads.

    Parameters
    ----------
    is_small : bool
        Of their small versions, for tests.
    """
    torch.set_num_threads(2)
    for name, (network, example) in make_networks(is_small=is_small).items():
        cost = measure_cost(network, example)
        size = f"{cost.parameters / 1e6:.1f} million parameters"
        yield Goal(
            name=f"audit of the {name}, {size}, 256×256, two threads",
            measured=f"{cost.audit_s:.1f} s, {cost.forwards:.1f} forwards of {cost.forward_s:.2f} s",
            limit=f"{_AUDIT_LIMIT_S:.0f} s",
            met=cost.audit_s < _AUDIT_LIMIT_S,
        )


def estimate_budget(steps: int = 5) -> Goal:
    """Estimate from a few steps of each network how long the default budget of training takes on two cores.

    Parameters
    ----------
    steps : int
        Steps to time of each; scoring between steps is left out.
    """
    runs = list_runs()
    first = [run for run in runs if run.seed == 0]
    seconds = sum(estimate_seconds(run, None, Path("unused"), steps) for run in first) * len(runs) / len(first) / 2
    return Goal(
        name=f"default budget of training ({len(runs)} runs, two cores, without scoring)",
        measured=format_duration(seconds),
        limit=format_duration(_BUDGET_LIMIT_S),
        met=seconds < _BUDGET_LIMIT_S,
    )


def list_goals() -> Iterator[Goal]:
    """Measure all goals, one after another."""
    yield time_help()
    yield compare_with_timer()
    yield from compare_with_resident_peak()
    yield from compare_with_plain()
    yield time_claims()
    yield from time_audits()
    yield estimate_budget()
    yield from time_loading()
    yield from time_report()
    yield from time_merge()
    yield from time_overhead()
    yield from read_measuring_share()
    yield from read_quick()
    yield from read_selftest()


def print_goals(goals: Iterator[Goal], write: Callable[[str], None] = print) -> None:
    """Print goals as they are measured, after the machine.

    Parameters
    ----------
    goals : iterator of Goal
        What to print.
    write : callable
        Takes one line.
    """
    environment = collect_environment()
    write(f"{environment['cpu']}, {environment['usable_cores']} cores, torch {environment['torch_version']}")
    for goal in goals:
        write(f"{'met    ' if goal.met else 'missed '} {goal.name}: {goal.measured} (goal: {goal.limit})")


if __name__ == "__main__":
    print_goals(list_goals())
