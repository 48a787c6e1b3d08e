"""The goals of the project, measured here and now: what is aimed at, what this machine gives.

Times and rates depend on the machine, so no test asserts them; this prints each with its limit and the machine
and always succeeds. ``nox -s goals`` runs it on a quiet machine.
"""

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

import pandas as pd
import torch
from torch.utils.benchmark import Timer

from bench.audit_speed import make_networks, measure_cost
from bench.made_journal import write_run
from bench.merge_speed import measure_merges
from bench.overhead import Overhead, make_plan, measure_locally, measure_through_dask
from deconvbench.errors import UsageError
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.memory import measure_cpu_memory, measure_resident_peak
from deconvbench.measure.rounds import divide_rounds, take_rounds
from deconvbench.measure.speedup import measure_speedup
from deconvbench.measure.step import PreparedStep, prepare_step
from deconvbench.records.case import Case
from deconvbench.records.record import SpeedupRecord
from deconvbench.records.run_folder import find_newest_run, read_run_info
from deconvbench.report import write_report
from deconvbench.runner.environment import collect_environment
from deconvbench.studies.claims import CLAIMS, read_context
from deconvbench.studies.training.command import list_runs
from deconvbench.studies.training.workflow import estimate_seconds
from deconvbench.tables.files import load
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
# by margin: the slowdown that a selftest is to find in nine of ten cases
_SELFTEST_GOALS = {0.02: "5%", 0.05: "10%"}
_SELFTEST_LIMIT_S = 600.0
_CLAIMS_LIMIT_S, _BUDGET_LIMIT_S, _AUDIT_LIMIT_S, _LOADING_LIMIT_S = 10.0, 1800.0, 30.0, 5.0
_REPORT_LIMIT_S, _PAGE_LIMIT_BYTES = 30.0, 20e6
_MERGE_LIMIT_S = 10.0
# a case, without the disk's own time; and what the client may grow by while thousands are measured
_LOCAL_LIMIT_S, _DASK_LIMIT_S, _GROWTH_LIMIT_BYTES = 5e-3, 20e-3, 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One goal and how this machine meets it.

    Parameters
    ----------
    name : str
        What is aimed at.
    measured, limit : str
        With their units.
    met : bool
        Whether it was met.
    """

    name: str
    measured: str
    limit: str
    met: bool


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


def time_loading(records: int = 100_000, repeats: int = 3) -> Iterator[Goal]:
    """Time how long the table of a long journal takes to load, without tables beside it; the median of several.

    Parameters
    ----------
    records : int
        Records of cases in the journal; that it is compared with has a tenth of them.
    repeats : int
        How often each.
    """
    taken = {}
    with tempfile.TemporaryDirectory() as scratch:
        for count in (records // 10, records):
            folder = write_run(Path(scratch) / str(count), count)
            times = []
            for _ in range(repeats):
                started = time.perf_counter()
                load(folder)
                times.append(time.perf_counter() - started)
            taken[count] = median(times)
    longest = taken[records]
    yield Goal(
        name=f"journal of {records:,} records loads in",
        measured=f"{longest:.1f} s",
        limit=f"{_LOADING_LIMIT_S:.0f} s",
        met=longest < _LOADING_LIMIT_S,
    )
    growth = longest / taken[records // 10]
    yield Goal(
        name=f"over a journal of {records // 10:,}",
        measured=f"{growth:.1f} times as long",
        limit="13",
        met=growth <= 13,
    )


def time_report(records: int = 100_000) -> Iterator[Goal]:
    """Time how long the report of a long journal takes, tables and figures included, and how large its page is.

    Parameters
    ----------
    records : int
        Records of cases in the journal.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_run(Path(scratch) / "run", records)
        started = time.perf_counter()
        page = write_report(folder)
        taken = time.perf_counter() - started
        size = page.stat().st_size
    yield Goal(
        name=f"journal of {records:,} records is reported in",
        measured=f"{taken:.1f} s",
        limit=f"{_REPORT_LIMIT_S:.0f} s",
        met=taken < _REPORT_LIMIT_S,
    )
    yield Goal(
        name=f"page of {records:,} records has",
        measured=f"{size / 1e6:.1f} MB",
        limit=f"{_PAGE_LIMIT_BYTES / 1e6:.0f} MB",
        met=size < _PAGE_LIMIT_BYTES,
    )


def time_merge(machines: int = 50, records: int = 2_000) -> Iterator[Goal]:
    """Time how long runs of many machines take to become one, tables included, and how the time grows.

    Parameters
    ----------
    machines : int
        Runs, each of a machine of its own.
    records : int
        Records of cases in each.
    """
    taken = measure_merges(machines, records)
    (fewer, first), last = next(iter(taken.items())), taken[machines]
    yield Goal(
        name=f"runs of {machines} machines × {records:,} records are merged in",
        measured=f"{last:.1f} s",
        limit=f"{_MERGE_LIMIT_S:.0f} s",
        met=last < _MERGE_LIMIT_S,
    )
    limit = 1.3 * machines / fewer
    yield Goal(
        name=f"over those of {fewer}",
        measured=f"{last / first:.1f} times as long",
        limit=f"{limit:.1f}",
        met=last / first <= limit,
    )


def time_overhead(cases: int = 10_000) -> Iterator[Goal]:
    """Time what each case costs around its measurement, on this machine and through Dask with three workers.

    Parameters
    ----------
    cases : int
        A multiple of a hundred, at most ten thousand.
    """
    plan = make_plan(cases)
    ways = (
        ("on this machine", measure_locally, _LOCAL_LIMIT_S),
        ("through Dask", measure_through_dask, _DASK_LIMIT_S),
    )
    for name, measure, limit_s in ways:
        with tempfile.TemporaryDirectory() as scratch:
            found: Overhead = measure(plan, Path(scratch))
        fsync_s = found.fsync_s / cases
        yield Goal(
            name=f"{cases:,} cases of a measure that does nothing, {name}, journal included, fsync apart",
            measured=f"{found.case_s * 1e3:.2f} ms a case (fsync: {fsync_s * 1e3:.2f} ms)",
            limit=f"{limit_s * 1e3:.0f} ms",
            met=found.case_s < limit_s,
        )
    growth = found.growth_bytes
    yield Goal(
        name=f"client of a cluster grows from the second tenth of {cases:,} cases to the last by",
        measured=f"{growth / 2**20:.1f} MiB (has {found.resident_bytes[-1] / 2**20:.0f})",
        limit=f"{_GROWTH_LIMIT_BYTES / 2**20:.0f} MiB",
        met=growth <= _GROWTH_LIMIT_BYTES,
    )


def read_measuring_share(results: Path = Path("results")) -> Iterator[Goal]:
    """Read from the newest run which share of its time went into measuring.

    Parameters
    ----------
    results : Path
        The folder that holds ``runs``.
    """
    try:
        folder = find_newest_run(results)
    except UsageError:
        return  # nothing was run yet, so there is nothing to tell
    share = read_run_info(folder).get("measuring_share")
    if share is not None:
        yield Goal(
            name=f"share of measuring in {folder.name}", measured=f"{share:.0%}", limit="80 %", met=share >= 0.8
        )


def read_quick(results: Path = Path("results")) -> Iterator[Goal]:
    """Read from the newest runs of `quick` how well ratios are known, how noisy they are, how two agree.

    Parameters
    ----------
    results : Path
        The folder that holds ``runs``.
    """
    folders = sorted(path.parent for path in (results / "runs").glob("*-quick*/summary.csv"))
    if not folders:
        return  # nothing was run yet, so there is nothing to tell
    ratios = [_read_ratios(folder) for folder in folders[-2:]]
    newest = ratios[-1]
    widths = (newest["ratio_high"] - newest["ratio_low"]) / 2 / newest["ratio"]
    yield from _judge_shares(f"half-width of the ratios in {folders[-1].name}", widths, (0.02, 0.05))
    noisy = float(newest["noisy"].mean())
    yield Goal(name=f"noisy cases in {folders[-1].name}", measured=f"{noisy:.0%}", limit="10 %", met=noisy <= 0.1)
    if len(ratios) > 1:
        apart = (newest["ratio"] / ratios[0]["ratio"]).dropna().map(math.log).abs()
        yield from _judge_shares(
            f"ratios in {folders[-2].name} and {folders[-1].name} apart by", apart, (0.03, 0.08)
        )


def _read_ratios(folder: Path) -> pd.DataFrame:
    """Read what was compared with a baseline, by case."""
    summary = pd.read_csv(folder / "summary.csv")
    is_compared = summary["ratio"].notna() & (summary["baseline_id"] != summary["case_id"])
    return summary[is_compared].set_index("case_id")


def _judge_shares(name: str, shares: "pd.Series[float]", limits: tuple[float, float]) -> Iterator[Goal]:
    """Judge the median and nine tenths of some shares."""
    for word, quantile, limit in zip(("median", "nine tenths"), (0.5, 0.9), limits, strict=True):
        found = float(shares.quantile(quantile))
        yield Goal(name=f"{name}, {word}", measured=f"{found:.1%}", limit=f"{limit:.0%}", met=found <= limit)


def read_selftest(results: Path = Path("results")) -> Iterator[Goal]:
    """Read from the newest ``deconvbench selftest`` how often the rule for pairs was wrong, and what it found.

    Parameters
    ----------
    results : Path
        The folder that holds ``runs``.
    """
    found = sorted((results / "runs").glob("*/selftest.json"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        return  # nothing was run yet, so there is nothing to tell
    document = json.loads(found[-1].read_text(encoding="utf-8"))
    for row in document["rows"]:
        slowdown = _SELFTEST_GOALS.get(row["margin"])
        if row["rule"] != "paired" or slowdown is None:
            continue
        alarms, power = row["false_alarms"], row["power"][slowdown]
        where = f"margin {row['margin']:.0%}, {row['comparisons']} cases"
        yield Goal(
            name=f"selftest, false alarms, {where}", measured=f"{alarms:.1%}", limit="1 %", met=alarms <= 0.01
        )
        name = f"selftest, {slowdown} slowdowns found, {where}"
        yield Goal(name=name, measured=f"{power:.0%}", limit="90 %", met=power >= 0.9)
    if (taken := document.get("total_s")) is not None:
        limit = format_duration(_SELFTEST_LIMIT_S)
        yield Goal(
            name="selftest takes", measured=format_duration(taken), limit=limit, met=taken <= _SELFTEST_LIMIT_S
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
