"""Trained networks as evidence: the same layers in the same network, seed by seed, and what is said of several.

Reads the results of training experiments and trains nothing. Claims are put to each network (task, norm, recipe)
of which the layers, or the variants, that they compare were trained alike; its evidence carries its name in front.
The network that stands for its task decides; another counts where it decides too, and otherwise says nothing.
Segmentation and style transfer are left out.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

from deconvbench.records.case import format_layer
from deconvbench.records.effects import Effect
from deconvbench.records.layers import NamedLayer
from deconvbench.records.schema import CURVE_DTYPES, IMAGE_DTYPES, RUN_KEYS, TRAINED_DTYPES
from deconvbench.records.training_tasks import SMALLER_TASKS
from deconvbench.records.variants import STANDARD
from deconvbench.studies.claims.claim import Context, Evidence, Finding, Verdict
from deconvbench.studies.claims.judging import Judge, Part, answer, make_effect, read_interval, write_number
from deconvbench.studies.claims.panel import Ended, Panel, Row
from deconvbench.tables.frames import list_rows
from deconvbench.tables.trained import FEWEST_STEPS
from deconvbench.tables.trained_networks import Network

Describe = Callable[[Panel], Evidence]
_Key = tuple[NamedLayer, str, int]

TRANSPOSED: NamedLayer = ("transposed", 3)
TRANSPOSED_DIVISIBLE: NamedLayer = ("transposed", 4)
SMOOTHED: NamedLayer = ("transposed_smoothed", 3)
NEAREST: NamedLayer = ("nearest_conv", 3)
BILINEAR: NamedLayer = ("bilinear_conv", 3)
SUBPIXEL: NamedLayer = ("subpixel", 3)
ICNR: NamedLayer = ("subpixel_icnr", 3)
# the article's stride
SCALE_FACTOR = 2
# one seed tells nothing of the next
MIN_SEEDS = 2
# runs are compared only where all of these are equal
_EQUAL = ("steps", "width", "residual_blocks", "crop_size", "batch", "learning_rate", "autocast")
# what is not finite where a network diverged
_SCORED = ("checkerboard_levels", "detection_levels", "target_checkerboard_levels", "psnr_db")
# an image without one of these was not scored
_SCORED_BY_IMAGE = ("checkerboard_levels", "psnr_db")
_TUNED = "_tuned"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What evidence says of one network.

    Parameters
    ----------
    network : Network
        Which; of the standard variant.
    seeds, steps : int
        How many seeds, and the fewest steps among them.
    images : int
        How many test images were drawn beside the seeds; 0 where seeds alone were.
    is_main : bool
        Whether it stands for its task in this evidence.
    evidence : mapping
        Numbers by name, without the network's.
    """

    network: Network
    seeds: int
    steps: int
    images: int = 0
    is_main: bool = True
    evidence: Evidence = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The network with what is said of it rests on: ``reconstruction (12 seeds, 1500 steps)``."""
        return f"{self.network.title} ({self.seeds} seeds, {_count_steps(self.steps)})"

    def name_effect(self, name: str, title: str, unit: str = "") -> Effect:
        """Lay out a number of the network for the claims table.

        Parameters
        ----------
        name : str
            Of the evidence, which has it.
        title, unit : str
            What it is.
        """
        return make_effect(f"{self.network.title}, {title}", unit, read_interval(self.evidence, name))


def gather_networks(
    context: Context,
    layers: Sequence[NamedLayer],
    describe: Describe,
    *,
    variants: Sequence[str] | None = None,
    task: str | None = None,
    column: str | None = None,
    prefix: str = "",
) -> dict[str, float | None]:
    """Gather evidence from every network in which all of some layers were trained.

    Parameters
    ----------
    context : Context
        Its training results are read; the level of intervals is its own.
    layers : sequence of (str, int or None)
        Upsampler and kernel of each.
    describe : callable
        Is given the runs of all seeds for which all layers were trained alike and none diverged.
    variants : sequence of str, optional
        Variant of each layer's network; all standard by default.
    task : str, optional
        Only networks of this task.
    column : str, optional
        A column of the results that every run must have; seeds that lack it are left out.
    prefix : str
        In front of each name, behind that of the network, for evidence that stands beside what a verdict rests on:
        its count of seeds is then ``<network>_<prefix>seed_count``.

    Returns
    -------
    dict
        What `describe` says, each name behind that of its network, with ``<network>_seeds``, ``<network>_images``
        (0 where seeds alone were drawn) and ``<network>_steps``; empty where there is no such network.
    """
    evidence: dict[str, float | None] = {}
    for network, runs in _sort_networks(context).items():
        seeds = _align(runs, list(zip(layers, variants or [STANDARD] * len(layers), strict=True)), column)
        if not seeds or task not in (None, network.task):
            continue
        panel = Panel(seeds=seeds, confidence=context.confidence)
        found = dict(describe(panel))
        if prefix:
            found["seed_count"] = len(seeds)
        else:
            steps = min(run.row["steps"] for seed in seeds for run in seed)
            found |= {"seeds": len(seeds), "images": max(panel.drawn, default=0), "steps": steps}
        evidence |= {f"{name_network(network)}_{prefix}{key}": value for key, value in found.items()}
    return evidence


def name_network(network: Network) -> str:
    """Name a network as evidence does: ``super_resolution_none_tuned``.

    Parameters
    ----------
    network : Network
        Of the standard variant.
    """
    recipe = "" if network.recipe == "plain" else f"_{network.recipe}"
    return f"{network.task}_{network.norm}{recipe}".replace("-", "_")


def _parse_network(name: str) -> Network:
    """Undo `name_network`; a norm is one word."""
    task, _, norm = name.removesuffix(_TUNED).rpartition("_")
    return Network(task=task.replace("_", "-"), norm=norm, recipe="tuned" if name.endswith(_TUNED) else "plain")


def _sort_networks(context: Context) -> dict[Network, dict[_Key, Ended]]:
    """Sort runs of the article's stride by network, then by layer, variant and seed."""
    if "networks" in context.memory:
        known: dict[Network, dict[_Key, Ended]] = context.memory["networks"]
        return known
    trained = context.trained
    curves: dict[Any, dict[int, Row]] = {}
    for row in list_rows(trained.curves, "curves", CURVE_DTYPES):
        curves.setdefault(_name_run(row), {})[row["step"]] = row  # of two rows the last counts
    images: dict[Any, dict[int, dict[str, Row]]] = {}
    for row in list_rows(trained.images, "images", IMAGE_DTYPES):
        scored = images.setdefault(_name_run(row), {}).setdefault(row["step"], {})
        scored.pop(row["image"], None)
        if all(_is_finite(row[name]) for name in _SCORED_BY_IMAGE):
            scored[row["image"]] = row
    networks: dict[Network, dict[_Key, Ended]] = {}
    for row in list_rows(trained.results, "results", TRAINED_DTYPES):
        if row["task"] in SMALLER_TASKS:
            continue  # a few seeds, and of style transfer no target that a residual could be taken from
        if row["scale_factor"] == SCALE_FACTOR and all(map(_is_finite, (row[name] for name in _SCORED))):
            name = _name_run(row)
            curve = [logged for _, logged in sorted(curves.get(name, {}).items())]
            network = Network(task=row["task"], norm=row["norm"], recipe=row["recipe"])
            key = (row["upsampler"], row["kernel_size"]), row["variant"], row["seed"]
            networks.setdefault(network, {})[key] = Ended(row=row, curve=curve, images=images.get(name, {}))
    ranked = {network: networks[network] for network in sorted(networks, key=lambda network: network.rank)}
    context.memory["networks"] = ranked
    return ranked


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _name_run(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in RUN_KEYS)


def _align(
    runs: Mapping[_Key, Ended], members: Sequence[tuple[NamedLayer, str]], column: str | None
) -> tuple[tuple[Ended, ...], ...]:
    """List, seed by seed, the runs of all members that were trained and scored alike, in the commonest way.

    Of seeds that were trained alike, those count that share their test images with most: others would change the
    estimate, or leave it without images.
    """
    ways: dict[tuple[Any, ...], list[tuple[Ended, ...]]] = {}
    for seed in sorted({seed for *_, seed in runs}):
        found = tuple(runs[layer, variant, seed] for layer, variant in members if (layer, variant, seed) in runs)
        alike = {tuple(run.row[name] for name in _EQUAL) for run in found}
        is_told = column is None or all(_is_finite(run.row.get(column)) for run in found)
        if len(found) == len(members) and len(alike) == 1 and is_told:
            ways.setdefault(alike.pop(), []).append(found)
    trained = max(ways.values(), key=len, default=[])
    scored: dict[tuple[frozenset[str], ...], list[tuple[Ended, ...]]] = {}
    for found in trained:
        scored.setdefault(tuple(run.scored_images for run in found), []).append(found)
    # of as many seeds, those of more images
    return tuple(max(scored.items(), key=lambda item: (len(item[1]), sum(map(len, item[0]))))[1]) if scored else ()


def view_networks(evidence: Evidence) -> list[View]:
    """Take evidence apart by network, for a rule to judge each.

    Parameters
    ----------
    evidence : mapping
        From `gather_networks`, among others.

    Returns
    -------
    list of View
        The networks of which at least `MIN_SEEDS` seeds were trained, those that stand for their task first.
    """
    views = []
    for key in evidence:
        name = key.removesuffix("_seeds")
        seeds, steps = evidence[key], evidence.get(f"{name}_steps")
        if name == key or seeds is None or steps is None or seeds < MIN_SEEDS:
            continue
        found = {k.removeprefix(f"{name}_"): v for k, v in evidence.items() if k.startswith(f"{name}_")}
        images = int(evidence.get(f"{name}_images") or 0)
        # the name of one network may begin another's
        known = {k: v for k, v in found.items() if name.endswith(_TUNED) or not k.startswith(_TUNED[1:] + "_")}
        views.append(
            View(network=_parse_network(name), seeds=int(seeds), steps=int(steps), images=images, evidence=known)
        )
    views.sort(key=lambda view: view.network.rank)
    first: dict[str, Network] = {}
    for view in views:
        first.setdefault(view.network.task, view.network)
    marked = [replace(view, is_main=first[view.network.task] == view.network) for view in views]
    return sorted(marked, key=lambda view: not view.is_main)


def describe_presence(view: View, name: str) -> str:
    """Say whether a checkerboard is there, and where none was detected, what could have been.

    Parameters
    ----------
    view : View
        Has what `Panel.put_presence` laid out.
    name : str
        As it was given there.
    """
    excess = read_interval(view.evidence, f"{name}_excess_levels")
    if excess.low is None:
        return "with too few seeds to say whether it is there"
    floor = view.evidence.get(f"{name}_floor_levels")
    seen = "" if floor is None else f" (from {write_number(floor)} levels on it would have been)"
    return {True: "detected", False: f"not detected{seen}", None: "not decided whether it is there"}[
        excess.is_above(0)
    ]


def count_votes(votes: Iterable[tuple[View, str, Part]]) -> list[tuple[str, Part]]:
    """List what counts of what was found of each network.

    Parameters
    ----------
    votes : iterable of (View, str, bool, Verdict or None)
        Networks with what is asked of each, if more than the claim itself, and what was found.

    Returns
    -------
    list of (str, Verdict)
        Each with its network's name. That of the networks that stand for their task, and what others decide:
        one that was trained with too few seeds does not keep a claim undecided. Where there
        is none, that nothing is known of trained networks.
    """
    verdicts = [(view, what, part if isinstance(part, Verdict) else answer(part)) for view, what, part in votes]
    counted: list[tuple[str, Part]] = [
        (f"{what} ({view.network.title})" if what else view.network.title, verdict)
        for view, what, verdict in verdicts
        if view.is_main or verdict is not Verdict.UNDECIDED
    ]
    return counted or [("trained networks", None)]


def describe_size(evidence: Evidence) -> str:
    """Say how large the training experiment behind evidence is: ``12 seeds × 12 images, 1500 steps``.

    Parameters
    ----------
    evidence : mapping
        From `gather_networks`; empty where no network tells.
    """
    views = [view for view in view_networks(evidence) if view.is_main]
    if not views:
        return ""
    seeds, images, steps = (
        sorted({value for view in views if (value := getattr(view, name))})
        for name in ("seeds", "images", "steps")
    )
    text = f"{_write_range(seeds)} seeds"
    text += f" × {_write_range(images)} images" if images else ""
    return f"{text}, {_write_range(steps)} step{'s' * (steps != [1])}"


def _write_range(values: Sequence[int]) -> str:
    return f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _count_steps(steps: int) -> str:
    return f"{steps} step{'s' * (steps != 1)}"


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
        return "networks were trained with one seed only, which has no interval; run: deconvbench train --seeds 12"
    names = " and ".join(format_layer(upsampler, kernel, SCALE_FACTOR) for upsampler, kernel in layers)
    return f"no networks with {names} were trained alike; run: deconvbench train"


def tell_few_steps(judge: Judge) -> Judge:
    """Let a rule say how large its experiment is, and its sentence where it rests on few training steps.

    Parameters
    ----------
    judge : callable
        The rule; it judges by `view_networks`.
    """

    @wraps(judge)
    def judge_and_tell(evidence: Evidence) -> Finding:
        finding = judge(evidence)
        finding = replace(finding, size=", ".join(filter(None, (finding.size, describe_size(evidence)))))
        steps = min((view.steps for view in view_networks(evidence) if view.is_main), default=FEWEST_STEPS)
        if steps >= FEWEST_STEPS:
            return finding
        warning = f"; it rests on only {_count_steps(steps)} of training, fewer than {FEWEST_STEPS}."
        return replace(finding, sentence=finding.sentence.removesuffix(".") + warning)

    return judge_and_tell
