"""How often `deconvbench history` finds a planted change, and how often it finds one where there is none.

Nothing is measured: series of commits are drawn from models of noise, so the numbers are the same everywhere.
``python -m bench.history_simulation [--seeds N]`` prints the table of docs/history.md.
"""

import argparse
import math
from dataclasses import dataclass

import numpy as np
from scipy import signal

from deconvbench.analysis.comparison_input import Side
from deconvbench.analysis.history import MeasuredCommit, find_history
from deconvbench.statistics import Floats

COMMITS, CASES, REPLICATES = 200, 10, 5
PLANTED = 0.10
_NEAR = 3
# of a run, by which every latency of it is off
_RUN_SD = 0.03
_WANDER_SD, _WANDER_KEPT = 0.02, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """A model of what disturbs a machine on which every commit is measured once.

    Parameters
    ----------
    name : str
        In the table.
    process_sd : float
        Of the logarithm of a process's latency.
    common : bool
        Whether all cases of a run share a drift of the machine: a slow wander, a swing, a jitter of each run.
    outliers : float
        Share of the runs of a case that something disturbed, by 20 % to 100 %.
    slow_share, slow_step : float
        Share of the processes that come at a second speed, and by how much slower it is.
    own_wander_sd : float
        Step of a wander that each case has to itself.
    """

    name: str
    process_sd: float = 0.03
    common: bool = False
    outliers: float = 0.0
    slow_share: float = 0.0
    slow_step: float = 0.2
    own_wander_sd: float = 0.0


MODELS = (
    Noise(name="normal, 3 %"),
    Noise(name="drift that all cases share", common=True),
    Noise(name="outliers in 3 % of the runs", outliers=0.03),
    Noise(name="two speeds, +20 % in 30 % of the processes", slow_share=0.3),
    Noise(name="wander of each case", own_wander_sd=0.01),
    Noise(name="drift, outliers and two speeds together", common=True, outliers=0.03, slow_share=0.3),
)
REALISTIC = MODELS[-1]


def draw_latencies(
    noise: Noise, seed: int, *, cases: int = CASES, commits: int = COMMITS, replicates: int = REPLICATES
) -> Floats:
    """Draw the latencies of a history in which nothing changes.

    Parameters
    ----------
    noise : Noise
        The model.
    seed : int
        Of the random numbers.
    cases, commits, replicates : int
        Extent.

    Returns
    -------
    ndarray, shape (cases, commits, replicates)
        Logarithms of seconds. The first case is the baseline.
    """
    generator = np.random.default_rng(seed)
    shape = (cases, commits, replicates)
    values = generator.normal(0, noise.process_sd, shape) + np.log(generator.uniform(1e-3, 1e-2, (cases, 1, 1)))
    values += np.log1p(noise.slow_step) * (generator.random(shape) < noise.slow_share)
    disturbed = generator.random(shape[:2]) < noise.outliers
    values += (disturbed * np.log1p(generator.uniform(0.2, 1.0, shape[:2])))[..., None]
    if noise.common:
        wander = _draw_wander(generator, 1, commits, _WANDER_SD)[0]
        swing = 0.03 * np.sin(2 * np.pi * np.arange(commits) / generator.uniform(15, 60))
        values += (wander + swing + generator.normal(0, _RUN_SD, commits))[:, None]
    if noise.own_wander_sd:
        values += _draw_wander(generator, cases, commits, noise.own_wander_sd)[..., None]
    return values


def _draw_wander(generator: np.random.Generator, cases: int, commits: int, step: float) -> Floats:
    """Draw an autoregression of order 1."""
    steps = generator.normal(0, step, (cases, commits))
    return np.asarray(signal.lfilter([1], [1, -_WANDER_KEPT], steps, axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was found in one history of `CASES` cases, in one of which a change was planted.

    Parameters
    ----------
    found : bool
        Whether a change in the right direction is named there whose range holds the planted commit, or whose most
        likely place is within three commits of it.
    held : bool
        Whether the range holds it.
    commits : int
        Length of the range, 0 where it was not found.
    false : int
        Changes of any case, and of what most cases share, that were not planted.
    series : int
        Cases that were judged.
    """

    found: bool
    held: bool
    commits: int
    false: int
    series: int


def plant(noise: Noise, seed: int, *, with_ratios: bool, change: float = PLANTED) -> Trial:
    """Plant a change at a random commit, slower or faster, and search for it.

    Parameters
    ----------
    noise : Noise
        The model.
    seed : int
        Of the random numbers.
    with_ratios : bool
        Whether each run has ratios to its baseline; else only latencies.
    change : float
        Share by which one case becomes slower, or 1 / (1 + share) of it; 0 plants nothing.
    """
    logs = draw_latencies(noise, seed)
    generator = np.random.default_rng([seed, 1])
    at = int(generator.integers(COMMITS // 10, COMMITS - COMMITS // 10))
    sign = int(generator.choice([-1, 1]))
    logs[1, at:] += sign * math.log1p(change)
    changes = find_history(make_commits(logs, with_ratios=with_ratios)).changes
    planted = name_cases(CASES)[1]
    verdict = "slower" if sign > 0 else "faster"
    named = changes[changes["verdict"].isin(["slower", "faster"]) | (changes["last_before"] != "")]
    hits = []
    own = named[(named["case_id"] == planted) & (named["verdict"] == verdict)]
    for first, last in zip(own["last_before"], own["first_after"], strict=True):
        before, after = int(first), int(last)
        hits.append((before < at <= after, min(abs(before + 1 - at), abs(after - at)) <= _NEAR, after - before))
    good = [hit for hit in hits if change and (hit[0] or hit[1])]
    return Trial(
        found=bool(good),
        held=any(hit[0] for hit in good),
        commits=good[0][2] if good else 0,
        false=len(named) - min(len(good), 1),
        series=CASES,
    )


def name_cases(count: int) -> list[str]:
    """Name cases that differ in size alone; the first is the baseline."""
    return [f"transposed-k3-s2-c16x16-{8 * (index + 1)}x8" for index in range(count)]


def make_commits(logs: Floats, *, with_ratios: bool) -> list[MeasuredCommit]:
    """Make of latencies what is read from runs.

    Parameters
    ----------
    logs : ndarray, shape (cases, commits, replicates)
        Logarithms of seconds.
    with_ratios : bool
        Whether the ratios to the first case are there.
    """
    cases = name_cases(len(logs))
    commits = []
    for place in range(logs.shape[1]):
        values = np.exp(logs[:, place])
        ratios = {case: values[index] / values[0] for index, case in enumerate(cases) if index and with_ratios}
        side = Side(
            name=str(place),
            latencies_s=dict(zip(cases, values, strict=True)),
            failures={},
            metrics={},
            machine_ids=frozenset(["simulated"]),
            ratios=ratios,
            baselines=dict.fromkeys(ratios, cases[0]),
        )
        commits.append(MeasuredCommit(commit=str(place), sides=[side]))
    return commits


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    seeds = parser.parse_args().seeds
    print(f"| noise | taken | finds ±{PLANTED:.0%} | range holds it | commits in it | false in 10 series |")
    print("|---|---|---:|---:|---:|---:|")
    for noise in MODELS:
        for with_ratios in (True, False):
            trials = [plant(noise, seed, with_ratios=with_ratios) for seed in range(seeds)]
            found = [trial for trial in trials if trial.found]
            false = 10 * sum(trial.false for trial in trials) / sum(trial.series for trial in trials)
            held = sum(trial.held for trial in found) / max(len(found), 1)
            width = float(np.median([trial.commits for trial in found])) if found else math.nan
            taken = "ratios" if with_ratios else "latencies"
            print(
                f"| {noise.name} | {taken} | {len(found) / seeds:.0%} | {held:.0%} | {width:.0f} | {false:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
