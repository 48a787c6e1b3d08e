"""Shares of time and memory of each site, and what `fuse` would gain.

Medians of a few runs. Shares are of one run with every call timed, so that both have the same overhead.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from deconvbench.measure.artifacts.periodic import find_device
from deconvbench.networks.fusion.observation import copy_input, split_input
from deconvbench.networks.fusion.rewriting import fuse
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.sites import TracedSite

_RUNS = 3


def measure_shares(
    model: nn.Module, runner: Runner, example: Any, sites: Sequence[TracedSite]
) -> tuple[dict[int, float], dict[int, float]]:
    """Measure what share of time and memory each site has.

    Parameters
    ----------
    model : nn.Module
        For its device.
    runner : Runner
        Runs it.
    example : Any
        Its arguments.
    sites : sequence of TracedSite
        Which.

    Returns
    -------
    time_share, memory_share : dict of int to float
        By the site's number.
    """
    synchronise = _choose_synchronise(model)
    shares: dict[int, list[float]] = {traced.site.number: [] for traced in sites}
    memory: dict[int, float] = {}
    for _ in range(_RUNS):
        watch = runner.time(sites, synchronise)
        start = time.perf_counter()
        runner.run(example, watch)
        synchronise()
        seconds = time.perf_counter() - start
        for number, own in watch.seconds.items():
            shares[number].append(own / seconds)
            memory[number] = watch.bytes_made[number] / max(1, watch.bytes_made[0])
    return {number: statistics.median(found) for number, found in shares.items()}, memory


def measure_fuse_speedup(model: nn.Module, example: Any) -> float | None:
    """Measure how many times as fast the fused network is, interleaved; None if there is nothing to fuse."""
    report = fuse(model, example)
    if not report.changed:
        return None
    synchronise = _choose_synchronise(model)
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


def _choose_synchronise(model: nn.Module) -> Callable[[], None]:
    device = find_device(model)
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return _do_nothing


def _do_nothing() -> None:
    pass
