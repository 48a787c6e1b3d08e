"""Trained networks as evidence: the same layers in the same network, seed by seed, and what is said of several.

Reads the results of training experiments and trains nothing. A network is a task with a norm; claims are put to
each network of which at least two seeds were trained, and evidence about it carries its name in front.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

from deconvbench.records.case import format_layer
from deconvbench.records.layers import NamedLayer
from deconvbench.records.schema import CURVE_DTYPES, EFFECTIVE_RIPPLES, RUN_KEYS, TRAINED_DTYPES
from deconvbench.studies.claims.claim import Evidence, Finding
from deconvbench.studies.claims.judging import Judge
from deconvbench.tables.frames import list_rows
from deconvbench.tables.trained import FEWEST_STEPS, MAIN_NORM, MAIN_TASK, Trained

Row = Mapping[str, Any]

TRANSPOSED: NamedLayer = ("transposed", 3)
TRANSPOSED_DIVISIBLE: NamedLayer = ("transposed", 4)
SMOOTHED: NamedLayer = ("transposed_smoothed", 3)
NEAREST: NamedLayer = ("nearest_conv", 3)
BILINEAR: NamedLayer = ("bilinear_conv", 3)
SUBPIXEL: NamedLayer = ("subpixel", 3)
ICNR: NamedLayer = ("subpixel_icnr", 3)
# the article's stride
SCALE_FACTOR = 2
# 8-bit levels: a smaller checkerboard is lost when an image is rounded to whole levels
HALF_LEVEL = 0.5
# one seed tells nothing of the next
MIN_SEEDS = 2
# layers are compared only where all of these are equal
_EQUAL = ("steps", "width", "residual_blocks", "crop_size", "batch", "learning_rate", "autocast")
# what is not finite where a network diverged
_SCORED = ("checkerboard_levels", "detection_levels", "target_checkerboard_levels", "psnr_db")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A training run that has ended.

    Parameters
    ----------
    row : mapping
        `TRAINED_DTYPES`; None where something is missing.
    curve : sequence of mapping
        `CURVE_DTYPES`, in order of steps.
    """

    row: Row
    curve: Sequence[Row]

    def find_excess(self, row: Row | None = None) -> float | None:
        """Find how far a checkerboard stands out: above 0 it is there.

        Parameters
        ----------
        row : mapping, optional
            A row of the curve; the end of the run by default.

        Returns
        -------
        float or None
            In 8-bit levels: amplitude in the residual, less the largest of what could be mistaken for it (the
            detection level), what the targets have themselves, and half a level. None where the network gave no
            finite output.
        """
        amplitude: float | None = (self.row if row is None else row)["checkerboard_levels"]
        floor = self.find_floor(row)
        return None if amplitude is None or floor is None else amplitude - floor

    def find_effective_ripple(self) -> float | None:
        """Find the largest effective ripple of the network's upsamplers; None where none was measured."""
        known = [self.row[name] for name in EFFECTIVE_RIPPLES if self.row[name] is not None]
        return max(known, default=None)

    def find_floor(self, row: Row | None = None) -> float | None:
        """Find the level that a checkerboard has to exceed; see `find_excess`."""
        detection: float | None = (self.row if row is None else row)["detection_levels"]
        if detection is None:
            return None
        target: float = self.row["target_checkerboard_levels"]
        return max(detection, target, HALF_LEVEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What evidence says of one network.

    Parameters
    ----------
    kind : str
        For sentences: ``reconstruction``.
    seeds, steps : int
        How many seeds, and the fewest steps among them.
    evidence : mapping
        Numbers by name, without the network's.
    """

    kind: str
    seeds: int
    steps: int
    evidence: Evidence

    @property
    def title(self) -> str:
        """The network with what is said of it rests on: ``reconstruction (3 seeds, 1500 steps)``."""
        return f"{self.kind} ({self.seeds} seeds, {self.steps} step{'s' * (self.steps != 1)})"


def gather_networks(
    trained: Trained,
    layers: Sequence[NamedLayer],
    describe: Callable[[Sequence[tuple[Ended, ...]]], Evidence],
) -> dict[str, float | None]:
    """Gather evidence from every network in which all of some layers were trained.

    Parameters
    ----------
    trained : Trained
        Results of training experiments.
    layers : sequence of (str, int or None)
        Upsampler and kernel of each.
    describe : callable
        Is given, for each seed, the run of each layer, in the order of `layers`; of seeds for which all were
        trained equally long and wide, and none diverged.

    Returns
    -------
    dict
        What `describe` says, each name behind that of its network, with ``<network>_seeds`` and
        ``<network>_steps``; empty where there is no such network.
    """
    evidence: dict[str, float | None] = {}
    for name, runs in _sort_networks(trained).items():
        seeds = _align(runs, layers)
        if seeds:
            steps = min(run.row["steps"] for seed in seeds for run in seed)
            found = {**describe(seeds), "seeds": len(seeds), "steps": steps}
            evidence |= {f"{name}_{key}": value for key, value in found.items()}
    return evidence


def _sort_networks(trained: Trained) -> dict[str, dict[tuple[NamedLayer, int], Ended]]:
    """Sort runs of the article's stride by network, the article's own first, then by layer and seed."""
    curves: dict[Any, list[Row]] = {}
    for row in list_rows(trained.curves, "curves", CURVE_DTYPES):
        curves.setdefault(_name_run(row), []).append(row)
    networks: dict[tuple[str, str], dict[tuple[NamedLayer, int], Ended]] = {}
    for row in list_rows(trained.results, "results", TRAINED_DTYPES):
        if row["scale_factor"] == SCALE_FACTOR and all(map(_is_finite, (row[name] for name in _SCORED))):
            curve = sorted(curves.get(_name_run(row), []), key=lambda logged: logged["step"])
            layer, network = (row["upsampler"], row["kernel_size"]), (row["task"], row["norm"])
            networks.setdefault(network, {})[layer, row["seed"]] = Ended(row=row, curve=curve)
    order = sorted(networks, key=lambda pair: (pair[0] != MAIN_TASK, pair[1] != MAIN_NORM, pair))
    return {f"{task}_{norm}".replace("-", "_"): networks[task, norm] for task, norm in order}


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _name_run(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in RUN_KEYS)


def _align(runs: Mapping[tuple[NamedLayer, int], Ended], layers: Sequence[NamedLayer]) -> list[tuple[Ended, ...]]:
    aligned = []
    for seed in sorted({seed for _, seed in runs}):
        found = tuple(runs[layer, seed] for layer in layers if (layer, seed) in runs)
        alike = {tuple(run.row[name] for name in _EQUAL) for run in found}
        if len(found) == len(layers) and len(alike) == 1:
            aligned.append(found)
    return aligned


def view_networks(evidence: Evidence) -> list[View]:
    """Take evidence apart by network, for a rule to judge each.

    Parameters
    ----------
    evidence : mapping
        From `gather_networks`, among others.

    Returns
    -------
    list of View
        The networks of which at least `MIN_SEEDS` seeds were trained.
    """
    views = []
    for key in evidence:
        name = key.removesuffix("_seeds")
        seeds, steps = evidence[key], evidence.get(f"{name}_steps")
        if name == key or seeds is None or steps is None or seeds < MIN_SEEDS:
            continue
        known = {k.removeprefix(f"{name}_"): v for k, v in evidence.items() if k.startswith(f"{name}_")}
        task, _, norm = name.rpartition("_")
        kind = task.replace("_", "-")
        if norm != MAIN_NORM:
            kind += " without norm" if norm == "none" else f" with norm {norm}"
        views.append(View(kind=kind, seeds=int(seeds), steps=int(steps), evidence=known))
    return views


def describe_missing(evidence: Evidence, layers: Sequence[NamedLayer], lacking: str = "what is asked for") -> str:
    """Say which trained networks are missing, and what to run.

    Parameters
    ----------
    evidence : mapping
        In which no network tells what the rule needs.
    layers : sequence of (str, int or None)
        What would have to be trained.
    lacking : str
        What else a network may lack that has seeds enough.
    """
    if view_networks(evidence):
        return f"the networks that were trained lack {lacking}; run: deconvbench train"
    if any(name.endswith("_seeds") for name in evidence):
        return "networks were trained with one seed only, which has no interval; run: deconvbench train --seeds 3"
    names = " and ".join(format_layer(upsampler, kernel, SCALE_FACTOR) for upsampler, kernel in layers)
    return f"no networks with {names} were trained alike; run: deconvbench train"


def tell_few_steps(judge: Judge) -> Judge:
    """Let the sentence of a rule say so where it rests on few training steps.

    Parameters
    ----------
    judge : callable
        The rule; it judges by `view_networks`.
    """

    @wraps(judge)
    def judge_and_tell(evidence: Evidence) -> Finding:
        finding = judge(evidence)
        steps = min((view.steps for view in view_networks(evidence)), default=FEWEST_STEPS)
        if steps >= FEWEST_STEPS:
            return finding
        warning = f"; it rests on only {steps} training step{'s' * (steps != 1)}, fewer than {FEWEST_STEPS}."
        return Finding(verdict=finding.verdict, sentence=finding.sentence.removesuffix(".") + warning)

    return judge_and_tell
