"""Which pairs of processes are timed in one replicate: every case, and beside some of them BASE against itself.

Draws and lists; measures nothing (`pairing` does).
"""

import random
from collections.abc import Sequence

from deconvbench.records.case import Case
from deconvbench.records.pairs import PairRecord

# of each pair its two processes
SIDES = {"head": ("base", "head"), "control": ("base", "control")}


def list_pair_jobs(
    cases: Sequence[Case], control: Sequence[Case], *, seed: int, replicate: int
) -> list[PairRecord]:
    """List one replicate: every case, in a random order, and beside those of the control BASE against itself.

    Parameters
    ----------
    cases : sequence of Case
        Each is measured once.
    control : sequence of Case
        Those that are measured with two processes of BASE, also if they are not among `cases` any more.
    seed : int
        Of weights, inputs and orders.
    replicate : int
        From 0.

    Returns
    -------
    list of PairRecord
        Not filled in yet. The control of a case stands next to it, before or behind.
    """
    shuffler = random.Random(f"pairs-{seed}-{replicate}")
    wanted = {"head": {case.case_id for case in cases}, "control": {case.case_id for case in control}}
    order = list({case.case_id: case for case in (*cases, *control)}.values())
    shuffler.shuffle(order)
    jobs = []
    for case in order:
        pairs = [pair for pair in SIDES if case.case_id in wanted[pair]]
        shuffler.shuffle(pairs)
        jobs += [
            PairRecord(
                case=case, replicate=replicate, pair=pair, seed=seed, status="error", message="not measured"
            )
            for pair in pairs
        ]
    return jobs


def draw_control(cases: Sequence[Case], share: float, fewest: int, seed: int) -> list[Case]:
    """Choose the cases in which BASE is measured against itself too.

    Parameters
    ----------
    cases : sequence of Case
        All that are compared.
    share : float
        Part of them, from 0 to 1.
    fewest : int
        At least so many, where there are.
    seed : int
        Of the choice.
    """
    count = min(len(cases), max(fewest, round(share * len(cases))))
    chosen = set(random.Random(f"control-{seed}").sample(range(len(cases)), count))
    return [case for index, case in enumerate(cases) if index in chosen]
