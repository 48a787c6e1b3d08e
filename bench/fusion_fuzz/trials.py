"""Trying many networks, each from a seed, in several processes."""

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import cast

import torch

from bench.fusion_fuzz.comparing import Outcome, compare
from bench.fusion_fuzz.draws import SeededDraw
from bench.fusion_fuzz.forcing import force_fast_forms
from bench.fusion_fuzz.programs import draw_program
from bench.fusion_fuzz.scenarios import draw_scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One network.

    Parameters
    ----------
    seed : int
        What it was drawn from.
    outcome : Outcome
        What came of it.
    """

    seed: int
    outcome: Outcome


def try_seed(seed: int) -> Trial:
    """Draw a network and a scenario from a seed, and compare."""
    draw = SeededDraw(seed)
    return Trial(seed=seed, outcome=compare(draw_program(draw), draw_scenario(draw)))


def describe(seed: int) -> str:
    """Print the network and scenario of a seed."""
    draw = SeededDraw(seed)
    program = draw_program(draw)
    return f"{program.source}\n\n{draw_scenario(draw)}"


def _work(seeds: range, answers: Connection) -> None:
    """Try seeds in a process of its own: first the seed, then what came of it."""
    torch.set_num_threads(1)
    force_fast_forms(setattr)
    for seed in seeds:
        answers.send(seed)
        answers.send(try_seed(seed))


def try_all(seeds: range, jobs: int) -> Iterator[Trial]:
    """Try seeds in several processes; one that dies is replaced, and its seed is a difference.

    Parameters
    ----------
    seeds : range
        Which.
    jobs : int
        How many processes.

    Yields
    ------
    Trial
        In the order in which they end.
    """
    context = multiprocessing.get_context("spawn")

    def start(share: range) -> tuple[Connection, range]:
        reader, writer = context.Pipe(duplex=False)
        context.Process(target=_work, args=(share, writer), daemon=True).start()
        writer.close()
        return reader, share

    running = dict(start(seeds[job::jobs]) for job in range(jobs))
    trying: dict[Connection, int] = {}
    while running:
        for reader in cast("list[Connection]", wait(list(running))):
            try:
                said = reader.recv()
            except EOFError:
                share = running.pop(reader)
                if reader in trying:
                    seed = trying.pop(reader)
                    yield Trial(seed=seed, outcome=Outcome(difference="the process died", fused=0, calls=0))
                    rest = share[share.index(seed) + 1 :]
                    running |= [start(rest)] if rest else []
                continue
            if isinstance(said, Trial):
                del trying[reader]
                yield said
            else:
                trying[reader] = said
