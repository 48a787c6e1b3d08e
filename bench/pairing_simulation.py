"""How often the rules of comparisons are wrong, and what they find: ``python -m bench.pairing_simulation``.

Draws log ratios of process pairs from models of noise, lets `analysis.pairing.judge_pairs` judge them and prints a
Markdown table: false alarms of identical code, and how often a slowdown is found. With ``--unpaired`` it draws the
replicates of two runs, which `analysis.intervals.ratio_intervals` judges. Nothing is measured, so the numbers
depend on the seed and not on the machine.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deconvbench.analysis.intervals import judge_interval, ratio_intervals
from deconvbench.analysis.pairing import PairedPlan, judge_pairs
from deconvbench.statistics import Floats

# of a replicate's log ratio between pinned and settled processes
SPREAD = 0.02
_SLOW_SHARE = 0.3
_NOISY_SPREAD = 0.10
CASES = (1, 16, 60)
# margin, and the slowdown to be found at it
MARGINS = ((0.02, 0.05), (0.05, 0.10))

# (generator, cases, replicates) -> log ratios of identical code, shape (cases, replicates)
Noise = Callable[[np.random.Generator, int, int], Floats]


def draw_normal(rng: np.random.Generator, cases: int, count: int) -> Floats:
    """Draw from a normal distribution, standard deviation 2 %."""
    return np.asarray(SPREAD * rng.standard_normal((cases, count)))


def draw_student(rng: np.random.Generator, cases: int, count: int) -> Floats:
    """Draw from Student's t with 3 degrees of freedom, standard deviation 2 %."""
    return np.asarray(SPREAD / math.sqrt(3) * rng.standard_t(3, (cases, count)))


def draw_lognormal(rng: np.random.Generator, cases: int, count: int) -> Floats:
    """Slow each process by a lognormal share of its own, standard deviation of the ratio 2 %."""
    sides = rng.lognormal(0.0, 1.0, (2, cases, count))
    return np.asarray(SPREAD / math.sqrt(2 * math.e * (math.e - 1)) * (sides[1] - sides[0]))


def _make_two_speeds(step: float, sides: int = 2, share: float = 1.0) -> Noise:
    """Make some processes slower by a step: of one side or both, in a share of the cases."""

    def draw(rng: np.random.Generator, cases: int, count: int) -> Floats:
        slow = rng.random((2, cases, count)) < _SLOW_SHARE
        slow[:, max(round(share * cases), 1) :] = False
        return np.asarray(
            draw_normal(rng, cases, count) + math.log1p(step) * (slow[0] - 1.0 * slow[1] * (sides > 1))
        )

    return draw


def draw_common(rng: np.random.Generator, cases: int, count: int) -> Floats:
    """Add to normal noise as much again that all cases of a replicate share."""
    return draw_normal(rng, cases, count) + SPREAD * rng.standard_normal(count)


def draw_drift(rng: np.random.Generator, cases: int, count: int) -> Floats:
    """Add a drift within each replicate: a slope over the cases in the order in which they are timed."""
    places = rng.permuted(np.tile(np.linspace(-1, 1, cases), (count, 1)), axis=1).T
    return draw_common(rng, cases, count) + SPREAD * places * rng.standard_normal(count)


def draw_unequal(rng: np.random.Generator, cases: int, count: int) -> Floats:
    """Draw normal noise with a standard deviation of its own for each case, lognormal about 2 %."""
    return rng.lognormal(0.0, 0.5, (cases, 1)) * draw_normal(rng, cases, count)


def draw_one_noisy(rng: np.random.Generator, cases: int, count: int) -> Floats:
    """Draw normal noise, of one case with a standard deviation of 10 %."""
    noise = draw_normal(rng, cases, count)
    noise[0] *= _NOISY_SPREAD / SPREAD
    return noise


NOISES: Mapping[str, Noise] = {
    "normal": draw_normal,
    "Student t, 3 dof": draw_student,
    "lognormal": draw_lognormal,
    "two speeds, +20 %": _make_two_speeds(0.20),
    "two speeds, +43 %": _make_two_speeds(0.43),
    "two speeds in a sixth of the cases, +20 %": _make_two_speeds(0.20, share=1 / 6),
    "two speeds in a sixth of the cases, +43 %": _make_two_speeds(0.43, share=1 / 6),
    "two speeds of one side, +20 %": _make_two_speeds(0.20, 1),
    "two speeds of one side, +43 %": _make_two_speeds(0.43, 1),
    "common mode": draw_common,
    "common mode and drift": draw_drift,
    "unequal spreads": draw_unequal,
    "one noisy case": draw_one_noisy,
}


def _make_process(spread: float, step: float = 0.0, share: float = 0.0) -> Noise:
    """Make the logarithms of single processes: normal, and in a share of the cases some slower by a step."""

    def draw(rng: np.random.Generator, cases: int, count: int) -> Floats:
        slow = rng.random((cases, count)) < _SLOW_SHARE
        slow[round(share * cases) :] = False
        return np.asarray(spread * rng.standard_normal((cases, count)) + math.log1p(step) * slow)

    return draw


def draw_disturbed(rng: np.random.Generator, cases: int, count: int) -> Floats:
    """Slow each process by a lognormal share of its own, standard deviation 3 %."""
    return np.asarray(0.03 / math.sqrt(math.e * (math.e - 1)) * rng.lognormal(0.0, 1.0, (cases, count)))


# of unpaired runs, which see all of a process and not what two in turns have in common
PROCESSES: Mapping[str, Noise] = {
    "normal, 2 %": _make_process(0.02),
    "normal, 4 %": _make_process(0.04),
    "lognormal, 3 %": draw_disturbed,
    "normal, 2 %; two speeds, +20 %": _make_process(0.02, 0.20, 1.0),
    "normal, 2 %; two speeds, +43 %": _make_process(0.02, 0.43, 1.0),
    "normal, 2 %; two speeds in a sixth of the cases, +20 %": _make_process(0.02, 0.20, 1 / 6),
    "normal, 2 %; two speeds in a sixth of the cases, +43 %": _make_process(0.02, 0.43, 1 / 6),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the rule did with one model of noise.

    Parameters
    ----------
    noise : str
        Name of the model.
    cases : int
        In each comparison.
    margin, slowdown : float
        Differences up to the first should not count; the second was looked for, in a quarter of the cases.
    comparisons : int
        How many were drawn.
    false_alarms : float
        Share of comparisons of identical code in which any case was called slower or faster.
    found : float
        Share of the slowed cases that were called slower.
    replicates : float
        Mean number that the slowed cases took.
    """

    noise: str
    cases: int
    margin: float
    slowdown: float
    comparisons: int
    false_alarms: float
    found: float
    replicates: float


def simulate(
    noise: str,
    cases: int,
    margin: float,
    slowdown: float,
    comparisons: int,
    seed: int,
    plan: PairedPlan | None = None,
) -> Outcome:
    """Draw comparisons of one model of noise and let the rule judge them.

    Parameters
    ----------
    noise : str
        A key of `NOISES`.
    cases : int
        In each comparison; a quarter of them, one at least, is slowed where slowdowns are looked for.
    margin, slowdown : float
        As shares.
    comparisons : int
        How many.
    seed : int
        Of the draws.
    plan : PairedPlan, optional
        Of the rule; its default by default.
    """
    plan = PairedPlan() if plan is None else plan
    rng = np.random.default_rng([seed, list(NOISES).index(noise), cases])
    slowed = np.arange(cases)[-max(cases // 4, 1) :]
    alarms, found, replicates = 0, [], []
    for _ in range(comparisons):
        logs = NOISES[noise](rng, cases, plan.most)
        alarms += any(word in ("slower", "faster") for word, _ in _judge(logs, margin, plan))
        logs[slowed] += math.log1p(slowdown)
        verdicts = _judge(logs, margin, plan)
        found += [verdicts[case][0] == "slower" for case in slowed]
        replicates += [verdicts[case][1] for case in slowed]
    return Outcome(
        noise=noise,
        cases=cases,
        margin=margin,
        slowdown=slowdown,
        comparisons=comparisons,
        false_alarms=alarms / comparisons,
        found=float(np.mean(found)),
        replicates=float(np.mean(replicates)),
    )


def _judge(logs: Floats, margin: float, plan: PairedPlan) -> list[tuple[str, int]]:
    judgement = judge_pairs({str(i): row.tolist() for i, row in enumerate(logs)}, margin=margin, plan=plan)
    return [(found.verdict, found.replicates) for found in judgement.verdicts.values()]


def draw_table(
    comparisons: int, seed: int, cases: Sequence[int] = CASES, noises: Sequence[str] = tuple(NOISES)
) -> Iterator[str]:
    """Simulate every model of noise and lay the outcomes out as Markdown, line by line as they come.

    Parameters
    ----------
    comparisons : int
        For each line.
    seed : int
        Of the draws.
    cases : sequence of int
        Numbers of cases in a comparison.
    noises : sequence of str
        Keys of `NOISES`.
    """
    heads = [f"margin {margin:.0%}: false alarms | finds +{share:.0%} | replicates" for margin, share in MARGINS]
    yield f"| noise | cases | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * (1 + 3 * len(MARGINS))
    for noise in noises:
        for count in cases:
            outcomes = [simulate(noise, count, margin, share, comparisons, seed) for margin, share in MARGINS]
            cells = [
                f"{found.false_alarms:.1%} | {found.found:.0%} | {found.replicates:.1f}" for found in outcomes
            ]
            yield f"| {noise} | {count} | {' | '.join(cells)} |"


def draw_unpaired_table(comparisons: int, seed: int, cases: int = 60) -> Iterator[str]:
    """Simulate the rule for saved runs and lay the outcomes out as Markdown, line by line as they come.

    Parameters
    ----------
    comparisons : int
        For each line.
    seed : int
        Of the draws.
    cases : int
        In each comparison.
    """
    heads = [f"margin {margin:.0%}: false alarms | finds +{share:.0%}" for margin, share in MARGINS]
    yield f"| noise of a process | replicates | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * (1 + 2 * len(MARGINS))
    for number, (name, draw) in enumerate(PROCESSES.items()):
        for count in (5, 10):
            rng = np.random.default_rng([seed, number, count])
            alarms, found = dict.fromkeys(MARGINS, 0), {pair: list[float]() for pair in MARGINS}
            for _ in range(comparisons):
                base, new = (np.exp(draw(rng, cases, count)).tolist() for _ in range(2))
                intervals = ratio_intervals(base, new)
                for margin, share in MARGINS:
                    verdicts = [judge_interval(interval, margin) for interval in intervals]
                    alarms[margin, share] += any(word in ("slower", "faster") for word in verdicts)
                    slow = np.mean([interval.low * (1 + share) > 1 + margin for interval in intervals])
                    found[margin, share].append(float(slow))
            cells = [f"{alarms[pair] / comparisons:.1%} | {np.mean(found[pair]):.0%}" for pair in MARGINS]
            yield f"| {name} | {count} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None, write: Callable[[str], None] = print) -> None:
    """Print the table.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line; ``sys.argv`` by default.
    write : callable
        Takes one line.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.pairing_simulation", description=__doc__)
    parser.add_argument("--comparisons", type=int, default=400, metavar="N", help="of each line [400]")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the draws [1]")
    parser.add_argument("--cases", type=int, nargs="+", default=list(CASES), help="numbers of cases [1 16 60]")
    parser.add_argument("--noise", choices=list(NOISES), nargs="+", default=list(NOISES), help="models of noise")
    parser.add_argument("--unpaired", action="store_true", help="the rule for saved runs, sixty cases")
    options = parser.parse_args(arguments)
    if options.unpaired:
        for line in draw_unpaired_table(options.comparisons, options.seed):
            write(line)
        write("")
        write(f"{options.comparisons} comparisons a line, seed {options.seed}, 60 cases.")
        return
    for line in draw_table(options.comparisons, options.seed, options.cases, options.noise):
        write(line)
    looks = ", ".join(map(str, PairedPlan().looks))
    write("")
    write(f"{options.comparisons} comparisons a line, seed {options.seed}; looks after {looks} replicates.")


if __name__ == "__main__":
    main()
