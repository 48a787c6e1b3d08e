"""A trial of `fuse` on networks that people have: ``python -m bench.fusion_trial [NAME...] [--threads N]``.

Fuses each network, says what was changed and what was left, and times original and fused network alternately. The
networks are from diffusers and segmentation-models-pytorch, which must be installed beside this package
(`trial_networks`); output and gradients are compared by `fuse` itself, and anything wrong ends the trial.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch

from bench.fusion_networks import NETWORKS, TrialNetwork
from deconvbench.errors import DeconvbenchError, UsageError
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.rounds import divide_rounds, take_rounds
from deconvbench.networks.fusion.report import FuseReport
from deconvbench.networks.fusion.rewriting import fuse
from deconvbench.statistics import median_interval
from deconvbench.units import format_seconds

_TIME_CAP_S = 30.0
_TITLES = ("network", "changed", "left", "output off by", "gradients off by", "as it was", "fused", "frozen too")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a trial of one network gave.

    Parameters
    ----------
    report : FuseReport
        Of `fuse`.
    samples_s : dict of str to tuple of float
        Seconds per call, one for each round: ``plain``, ``fused`` and ``frozen`` (with kept weights).
    """

    report: FuseReport
    samples_s: dict[str, tuple[float, ...]]


def try_network(network: TrialNetwork, policy: LatencyPolicy) -> Trial:
    """Fuse a network and time it, forward and in float32.

    Parameters
    ----------
    network : TrialNetwork
        The network.
    policy : LatencyPolicy
        As for `take_rounds`.

    Raises
    ------
    UnsupportedError
        If the package that it is from is not installed.
    FusionError
        If the fused network is not equal to the original.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = network.build().eval(), torch.randn(network.shape)
    report = fuse(model, x, verify_gradients=network.is_small)
    models = {"plain": model, "fused": report.model, "frozen": fuse(model, x, cache_weights=True).model}
    steps: dict[str, Callable[[], object]] = {name: partial(chosen, x) for name, chosen in models.items()}
    with torch.no_grad():
        return Trial(report=report, samples_s=take_rounds(steps, "plain", policy).samples_s)


def format_trials(trials: Mapping[str, Trial]) -> str:
    """Write trials as a table in Markdown: how many times faster, with an interval of 95 % for the median.

    Parameters
    ----------
    trials : mapping of str to Trial
        By name.
    """
    rows = [_TITLES, ("---",) * len(_TITLES)]
    for name, trial in trials.items():
        report = trial.report
        errors = [report.max_relative_error, report.max_relative_gradient_error]
        row = [name, str(len(report.changed)), str(len(report.left))]
        row += ["–" if error is None else f"{error:.1e}" for error in errors]
        row.append(format_seconds(median(trial.samples_s["plain"])))
        for rival in ("fused", "frozen"):
            middle, low, high = median_interval(divide_rounds(trial.samples_s, "plain", rival))
            row.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
        rows.append(tuple(row))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


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
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)}; all by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of one operation")
    parser.add_argument("--seconds", type=float, default=_TIME_CAP_S, help="of timing for each network")
    given = parser.parse_args(arguments)
    trials: dict[str, Trial] = {}
    try:
        policy = LatencyPolicy(time_cap_s=given.seconds)
        for name in given.names:
            if name not in NETWORKS:
                raise UsageError(f"NAME: {name} is not one of {', '.join(NETWORKS)}")
        torch.set_num_threads(given.threads)
        for name in given.names or NETWORKS:
            trials[name] = try_network(NETWORKS[name], policy)
            print(f"{name}: {trials[name].report}", flush=True)
    except DeconvbenchError as error:
        print(f"deconvbench: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    print(f"\n{given.threads} thread(s), {time.strftime('%Y-%m-%d')}\n\n{format_trials(trials)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
