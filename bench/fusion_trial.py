"""A trial of `fuse` on networks that people have: ``python -m bench.fusion_trial [NAME...] [--threads N...]``.

Fuses each network, says what was changed and what was left, and times original and fused network alternately;
the last table has speed-up, share of upsampling, peak memory and errors. The networks are from diffusers,
transformers, monai and segmentation-models-pytorch, which must be installed beside this package; output and
gradients are compared by `fuse` itself, and anything wrong ends the trial. ``deconvbench native`` comes before.
"""

import argparse
import csv
import io
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from bench.fusion_decoders import TABLE
from bench.fusion_networks import NETWORKS, TrialNetwork
from bench.fusion_share import measure_share
from bench.fusion_table import format_table
from deconvbench.errors import DeconvbenchError, UnsupportedError, UsageError
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.memory import measure_heap_peak
from deconvbench.measure.rounds import divide_rounds, take_rounds
from deconvbench.networks.fusion.report import FuseReport
from deconvbench.networks.fusion.rewriting import fuse
from deconvbench.statistics import median_interval
from deconvbench.system.writing import write_whole
from deconvbench.units import format_seconds

_EVERY: Mapping[str, TrialNetwork] = {**NETWORKS, **TABLE}
_TIME_CAP_S = 6.0
# five give the median no interval of 95 %
_LEAST_ROUNDS = 6
# small enough that the weights, which both networks share, stay as they are to a few digits
_LEARNING_RATE = 1e-6
FILE = "networks.csv"
COLUMNS = (
    *("network", "title", "step", "shape", "threads", "fused", "left", "share", "plain_s", "fused_s"),
    *("speedup", "speedup_low", "speedup_high", "rounds", "peak_memory_bytes_before", "peak_memory_bytes_after"),
    *("max_relative_error", "max_relative_gradient_error", "torch", "date"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a trial of one network gave.

    Parameters
    ----------
    report : FuseReport
        Of `fuse`.
    samples_s : dict of int to dict
        By number of threads: seconds per call, one for each round, of ``plain`` and ``fused``.
    share : float
        Of the plain network's time, in upsampling and the convolutions that `fuse` joins with it, and in
        transposed convolutions; with the first number of threads.
    peak_memory_bytes_before, peak_memory_bytes_after : int or None
        Of a step of either; None where memray is not installed.
    """

    report: FuseReport
    samples_s: dict[int, dict[str, tuple[float, ...]]]
    share: float
    peak_memory_bytes_before: int | None
    peak_memory_bytes_after: int | None


def make_step(model: nn.Module, inputs: tuple[Any, ...], *, is_trained: bool) -> Callable[[], object]:
    """Make what is timed: a call without gradients, or a training step.

    Parameters
    ----------
    model : nn.Module
        The network.
    inputs : tuple of Tensor
        Of it.
    is_trained : bool
        Whether it is a training step: a call, the mean square of the output, its gradients, and one step of Adam.
    """
    if not is_trained:
        return torch.no_grad()(partial(model, *inputs))
    optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)

    def step() -> None:
        optimizer.zero_grad()
        output = model(*inputs)
        loss = functional.mse_loss(output, torch.zeros_like(output))
        loss.backward()  # type: ignore[no-untyped-call] # torch has no types here
        optimizer.step()

    return step


def try_network(network: TrialNetwork, policy: LatencyPolicy, threads: Sequence[int]) -> Trial:
    """Fuse a network and time it in float32.

    Parameters
    ----------
    network : TrialNetwork
        The network.
    policy : LatencyPolicy
        As for `take_rounds`, for each number of threads.
    threads : sequence of int
        Of one operation; the last of them stays set.

    Raises
    ------
    UnsupportedError
        If the package that it is from is not installed.
    FusionError
        If the fused network is not equal to the original.
    """
    torch.set_num_threads(threads[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, inputs = network.build().eval(), network.make_input()
    report = fuse(model, inputs, verify_gradients=network.is_small)
    models = {"plain": model, "fused": report.model}
    for one in models.values():
        one.train(network.is_trained)
    steps = {name: make_step(one, inputs, is_trained=network.is_trained) for name, one in models.items()}
    samples_s, share = {}, 0.0
    for count in threads:
        torch.set_num_threads(count)
        samples_s[count] = take_rounds(steps, "plain", policy).samples_s
        if count == threads[0]:
            # as warm as it is timed
            share = measure_share(steps["plain"], list(_find_weights(model, report)))
    before, after = (measure_heap_peak(steps[name]) for name in models)
    return Trial(
        report=report,
        samples_s=samples_s,
        share=share,
        peak_memory_bytes_before=before,
        peak_memory_bytes_after=after,
    )


def _find_weights(model: nn.Module, report: FuseReport) -> Iterable[torch.Tensor]:
    """Find the weights of the convolutions that were fused."""
    for change in report.changed:
        weight = getattr(model.get_submodule(change.path), "weight", None)
        if isinstance(weight, torch.Tensor):
            yield weight


def list_rows(name: str, network: TrialNetwork, trial: Trial) -> list[dict[str, Any]]:
    """Write a trial as rows of a table, one for each number of threads.

    Parameters
    ----------
    name : str
        Of the network.
    network : TrialNetwork
        The network.
    trial : Trial
        What it gave.
    """
    report = trial.report
    common = {
        "network": name,
        "title": network.title or name,
        "step": "train" if network.is_trained else "forward",
        "shape": "x".join(map(str, network.shape)),
        "fused": len(report.changed),
        "left": len(report.left),
        "share": trial.share,
        "peak_memory_bytes_before": trial.peak_memory_bytes_before,
        "peak_memory_bytes_after": trial.peak_memory_bytes_after,
        "max_relative_error": report.max_relative_error,
        "max_relative_gradient_error": report.max_relative_gradient_error,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    rows = []
    for count, samples_s in trial.samples_s.items():
        middle, low, high = median_interval(divide_rounds(samples_s, "plain", "fused"))
        own = {"threads": count, "speedup": middle, "speedup_low": low, "speedup_high": high}
        times = {f"{kind}_s": median(samples_s[kind]) for kind in ("plain", "fused")}
        rows.append({**common, **own, **times, "rounds": len(samples_s["plain"])})
    return rows


def _encode(rows: Sequence[Mapping[str, Any]]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def _try_or_explain(network: TrialNetwork, policy: LatencyPolicy, threads: Sequence[int]) -> Trial | str:
    """Try a network, or say that its package is missing, which is no end of the others."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return try_network(network, policy, threads)
    except UnsupportedError as missing:
        return f"left out: {' '.join(str(missing).split())}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of this process by default.

    Returns
    -------
    int
        The exit code.
    """
    parser = argparse.ArgumentParser("python -m bench.fusion_trial", description=f"{__doc__}".split(":")[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(_EVERY)}; by default {', '.join(TABLE)}"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of one operation")
    parser.add_argument(
        "--seconds", type=float, default=_TIME_CAP_S, help="of timing for each network and number of threads"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table alone")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"write {FILE} there")
    given = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    try:
        policy = LatencyPolicy(time_cap_s=given.seconds, min_samples=_LEAST_ROUNDS)
        for name in given.names:
            if name not in _EVERY:
                raise UsageError(f"NAME: {name} is not one of {', '.join(_EVERY)}")
        if min(given.threads) < 1:
            raise UsageError(f"--threads: {min(given.threads)} is not a number of at least 1")
        for name in given.names or TABLE:
            started = time.monotonic()
            found = _try_or_explain(_EVERY[name], policy, given.threads)
            if isinstance(found, str):
                print(f"{name}: {found}", file=sys.stderr, flush=True)
                continue
            rows += list_rows(name, _EVERY[name], found)
            if not given.markdown:
                plain = " and ".join(format_seconds(row["plain_s"]) for row in rows[-len(given.threads) :])
                print(
                    f"{name}: {found.report}\n  as it was: {plain}; took {time.monotonic() - started:.0f} s",
                    flush=True,
                )
            if given.out is not None:
                write_whole(given.out / FILE, _encode(rows), parents=True)
    except DeconvbenchError as error:
        print(f"deconvbench: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    if not rows:
        return 1
    print(format_table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
