"""Shares of time and memory of each site, and what `fuse` would gain: medians of a few runs."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from deconvbench.errors import describe_failure
from deconvbench.measure.artifacts.periodic import find_device
from deconvbench.networks.fusion.observation import copy_input, observe, split_input
from deconvbench.networks.fusion.rewriting import fuse
from deconvbench.networks.inspection.running import Stopwatch
from deconvbench.networks.inspection.shrinking import crop_example
from deconvbench.networks.inspection.sites import TracedSite
from deconvbench.records.sites import RESIZE_CONVOLUTION, SiteReport

_RUNS = 3


def take_shares(watches: Sequence[Stopwatch], traced: TracedSite) -> tuple[float, float]:
    """Take the shares of time and memory that a site has.

    Parameters
    ----------
    watches : sequence of Stopwatch
        Of a few runs.
    traced : TracedSite
        The site.

    Returns
    -------
    time_share, memory_share : float
        Medians over the runs.
    """
    times, sizes = zip(*(watch.find_shares(traced) for watch in watches), strict=True)
    return statistics.median(times), statistics.median(sizes)


def find_fusible(
    model: nn.Module,
    example: Any,
    reports: list[SiteReport],
    say: Callable[[str], None],
    *,
    factor: int,
    measures_speedup: bool,
) -> tuple[list[SiteReport], str]:
    """Mark the resize-convolutions that `fuse` has a faster form for.

    Parameters
    ----------
    model : nn.Module
        The network.
    example : Any
        Its arguments.
    reports : list of SiteReport
        Of its sites.
    say : callable
        Is given a line if there is something to look for.
    factor : int
        By how much smaller the model was run, too; 1: it was not.
    measures_speedup : bool
        Whether to time what `fuse` would gain.

    Returns
    -------
    reports : list of SiteReport
        The same, with marks.
    problem : str
        Why that could not be found out; empty otherwise.
    """
    nearest = [report for report in reports if report.site.operation.startswith("interpolate(mode=nearest")]
    if not any(report.site.kind == RESIZE_CONVOLUTION for report in nearest):
        return reports, ""
    say("looking for what can be fused")
    try:
        cropped = None if factor == 1 else crop_example(example, factor)
        seen, _ = observe(model, example if cropped is None else cropped)
        speedup = measure_fuse_speedup(model, example) if measures_speedup else None
    except Exception as error:  # noqa: BLE001 -- code of the user's may raise anything
        return reports, f"what fuse would gain: {describe_failure(error)}"
    paths = {path for fusion in seen.fusions for path, _ in fusion.upsampled}
    marked = [
        replace(report, is_fusible=True, fuse_speedup=speedup)
        if report in nearest and report.site.path in paths
        else report
        for report in reports
    ]
    return marked, ""


def measure_fuse_speedup(model: nn.Module, example: Any) -> float | None:
    """Measure how many times as fast the fused network is, interleaved; None if there is nothing to fuse."""
    report = fuse(model, example)
    if not report.changed:
        return None
    synchronise = choose_synchronise(model)
    args, kwargs = split_input(copy_input(example))
    seconds: dict[nn.Module, list[float]] = {model: [], report.model: []}
    for round_number in range(2 * _RUNS + 1):
        for network, found in seconds.items():
            start = time.perf_counter()
            with torch.no_grad():
                network(*args, **kwargs)
            synchronise()
            if round_number:
                found.append(time.perf_counter() - start)
    before, after = (statistics.median(found) for found in seconds.values())
    return before / after


def choose_synchronise(model: nn.Module) -> Callable[[], None]:
    """Choose what waits for the device of a model."""
    device = find_device(model)
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return _do_nothing


def _do_nothing() -> None:
    pass
