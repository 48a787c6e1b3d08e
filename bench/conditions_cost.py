"""What conditions do to each layer: ``python -m bench.conditions_cost [--preset NAME] [--replicates N]``.

Measures a preset under both policies, interleaved replicate by replicate, each time in fresh processes, and prints
a Markdown table: for each layer the latency under `settled` as a share of that under `system`, in its median case
and in the one that gains most. Both runs stay in the folder that it names. It needs a quiet machine: only the
intervals tell noise from gain.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from deconvbench.errors import DeconvbenchError
from deconvbench.progress import JobObserver, show_progress
from deconvbench.records.case import Case
from deconvbench.records.conditions import POLICIES, describe_conditions
from deconvbench.records.record import AnyRecord, Record
from deconvbench.runner.engine import PlannedRun, run_tasks
from deconvbench.runner.folder import open_folder
from deconvbench.runner.plan import Plan
from deconvbench.runner.worker import WorkerOptions
from deconvbench.statistics import mean_interval
from deconvbench.workflows.run import finish_folder, make_run_folder, read_environment
from deconvbench.workflows.selection import Selection, make_plan

_MIB = 2**20
_BYTES = {"float64": 8, "float32": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseGain:
    """How one case fares.

    Parameters
    ----------
    case : Case
        Which.
    ratio, low, high : float
        Latency under `settled` over that under `system`, with its 95 % interval over replicates; the ends are NaN
        for a single one.
    """

    case: Case
    ratio: float
    low: float
    high: float


def compare_policies(settled: Sequence[AnyRecord], system: Sequence[AnyRecord]) -> list[CaseGain]:
    """Divide the latencies of each case replicate by replicate.

    Parameters
    ----------
    settled, system : sequence of record
        Of two runs of one plan; cases that were not measured in both are left out.

    Returns
    -------
    list of CaseGain
        In the order in which `settled` has the cases.
    """
    latencies = [_collect_latencies(records) for records in (settled, system)]
    gains = []
    for case, of_settled in latencies[0].items():
        of_system = latencies[1].get(case, {})
        logs = [math.log(of_settled[r] / of_system[r]) for r in sorted(of_settled.keys() & of_system.keys())]
        if logs:
            ratio, low, high = (math.exp(value) for value in mean_interval(logs))
            gains.append(CaseGain(case=case, ratio=ratio, low=low, high=high))
    return gains


def _collect_latencies(records: Sequence[AnyRecord]) -> dict[Case, dict[int, float]]:
    found: dict[Case, dict[int, float]] = {}
    for record in records:
        if isinstance(record, Record) and record.status == "ok" and record.latency is not None:
            found.setdefault(record.case, {})[record.replicate] = median(record.latency.samples_s)
    return found


def format_gains(gains: Sequence[CaseGain]) -> str:
    """Lay out the gains as a Markdown table, a row for each layer and step, those that gain most first.

    Parameters
    ----------
    gains : sequence of CaseGain
        From `compare_policies`.
    """
    layers: dict[tuple[str, str], list[CaseGain]] = {}
    for gain in gains:
        layers.setdefault((gain.case.layer_name, gain.case.step), []).append(gain)
    lines = [
        "| layer | step | cases | settled / system, median case | case that gains most | which | its output |",
        "|---|---|---|---|---|---|---|",
    ]
    for (layer, step), found in sorted(layers.items(), key=lambda entry: min(gain.ratio for gain in entry[1])):
        best = min(found, key=lambda gain: gain.ratio)
        interval = "" if math.isnan(best.low) else f" ({best.low:.2f} to {best.high:.2f})"
        case = best.case
        lines.append(
            f"| `{layer}` | {step} | {len(found)} | {median(gain.ratio for gain in found):.2f} |"
            f" {best.ratio:.2f}{interval} | {case.in_channels}→{case.out_channels} at {case.height}×{case.width} |"
            f" {_count_output_bytes(case) / _MIB:.3g} MiB |"
        )
    return "\n".join(lines)


def _count_output_bytes(case: Case) -> int:
    return math.prod(case.output_shape) * _BYTES.get(case.dtype, 2)


def describe_runs(records: Mapping[str, Sequence[AnyRecord]]) -> str:
    """Say under which conditions each run was timed, and how many of its timings were disturbed.

    Parameters
    ----------
    records : mapping of str to sequence of record
        By policy.
    """
    lines = []
    for policy, every in records.items():
        timed = [record for record in every if isinstance(record, Record) and record.latency is not None]
        texts = dict.fromkeys(describe_conditions(record.conditions) for record in timed)
        noisy = sum(record.noisy for record in timed)
        lines.append(f"{policy}: {', '.join(texts) or 'nothing timed'}; {noisy} of {len(timed)} timings noisy")
    return "\n".join(lines)


def measure_policies(
    plan: Plan, folder: Path, observer: JobObserver = lambda _: None
) -> dict[str, tuple[AnyRecord, ...]]:
    """Measure a plan under both policies, A B, B A, each replicate in a fresh process.

    Parameters
    ----------
    plan : Plan
        What to measure; its own policy does not count.
    folder : Path
        Gets a run folder for each policy.
    observer : callable
        Receives each job done.

    Returns
    -------
    dict of str to tuple of record
        By policy.
    """
    environment = read_environment()
    tasks = []
    for policy in POLICIES:
        of_policy = replace(plan, conditions=policy)
        open_folder(of_policy, folder / policy, environment)
        options = WorkerOptions(measures_memory=False)
        tasks.append(PlannedRun(plan=of_policy, folder=folder / policy, options=options))
    outcomes = run_tasks(tasks, observer=observer, finish=finish_folder)
    return {policy: outcome.records for policy, outcome in zip(POLICIES, outcomes, strict=True)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--set", action="append", default=[], metavar="AXIS=V,V", dest="settings")
    parser.add_argument("-k", default="", metavar="EXPR", dest="keyword")
    parser.add_argument("--replicates", type=int, default=6)
    parser.add_argument("--out", type=Path, help="folder of both runs [results/runs/<time>-<preset>]")
    chosen = parser.parse_args(arguments)
    try:
        selection = Selection(
            preset=chosen.preset,
            settings=tuple(chosen.settings),
            keyword=chosen.keyword,
            replicates=chosen.replicates,
        )
        plan = make_plan(selection, ["python", "-m", "bench.conditions_cost", *(arguments or sys.argv[1:])])
        # artifacts do not depend on conditions
        plan = replace(plan, grid=replace(plan.grid, quality_seeds=1))
        folder = make_run_folder(plan) if chosen.out is None else chosen.out
        with show_progress(sys.stderr) as observer:
            records = measure_policies(plan, folder, observer)
    except DeconvbenchError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    print(format_gains(compare_policies(*(records[policy] for policy in POLICIES))))
    print(describe_runs(records), file=sys.stderr)
    print(f"runs: {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
