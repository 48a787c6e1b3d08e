"""Pairs of processes that were never started: their records, drawn."""

import numpy as np

from deconvbench.records.pairs import PairRecord
from tests.builders import make_case


def draw_pairs(
    cases: int = 6,
    replicates: int = 10,
    *,
    spread: float = 0.02,
    slowdown: float = 0.1,
    first_block: float = 0.0,
    two_speeds: float = 0.0,
    seed: int = 1,
) -> list[PairRecord]:
    """Draw records of a selftest: controls of all cases, and every case slowed in truth.

    Parameters
    ----------
    cases, replicates : int
        Numbers.
    spread : float
        Standard deviation of a replicate's log ratio.
    slowdown : float
        Of `head`.
    first_block : float
        Share by which the first block of a round takes longer.
    two_speeds : float
        Share by which three of ten processes of the first case are slower.
    seed : int
        Of the draws.
    """
    rng = np.random.default_rng(seed)
    rounds = 8
    records = []
    for replicate in range(replicates):
        for index in range(cases):
            case = make_case(height=8 + index, width=8 + index)
            for pair in ("control", "head"):
                sides = 1e-3 * np.exp(0.002 * rng.standard_normal((2, rounds)))
                sides[1] *= np.exp(spread * rng.standard_normal()) * (1 + slowdown * (pair == "head"))
                if index == 0:
                    sides *= np.where(rng.random((2, 1)) < 0.3, 1 + two_speeds, 1.0)
                first = int(rng.integers(2))
                for number in range(rounds):
                    sides[(first + number) % 2, number] *= 1 + first_block
                records.append(
                    PairRecord(
                        case=case, replicate=replicate, pair=pair, seed=0, status="ok",
                        first_side=("base", "head")[first], base_samples_s=tuple(sides[0].tolist()),
                        head_samples_s=tuple(sides[1].tolist()), calls_per_sample=4,
                    )
                )  # fmt: skip
    return records
