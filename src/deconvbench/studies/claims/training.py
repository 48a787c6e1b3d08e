"""Claims 7, 8 and 14: the checkerboard before training, after it, and behind two layers instead of one.

Everything is read from the results of training experiments, seed by seed; only the overlap of stacks is geometry.
A checkerboard counts as present where it exceeds the detection level and what the targets have.
"""

import itertools

import numpy as np

from deconvbench import theory
from deconvbench.records.effects import Effect
from deconvbench.records.variants import STANDARD
from deconvbench.resampling import Resampled
from deconvbench.studies.claims.claim import Context, Evidence, Finding, Verdict
from deconvbench.studies.claims.judging import (
    Part,
    combine,
    conclude,
    leave_undecided,
    negate,
    read_interval,
    read_number,
    write_number,
)
from deconvbench.studies.claims.networks import (
    TRANSPOSED,
    View,
    count_votes,
    describe_missing,
    describe_presence,
    describe_size,
    gather_networks,
    tell_few_steps,
    view_networks,
)
from deconvbench.studies.claims.panel import HALF_LEVEL, Panel, divide, subtract

# "largely unaffected": what is left of an amplitude, and what it may grow to
KEPT, GROWN = 0.5, 2.0
# each further layer of a stack adds at least this share to the unevenness
COMPOUNDS = 1.05
# variants whose upsamplers' first weights are so many times as large
GAINS = {"gain-0.5": 0.5, STANDARD: 1.0, "gain-2": 2.0}
# untrained, and after the first iteration
_FIRST_STEPS = (0, 1)


def measure_first_steps(context: Context) -> Evidence:
    """Look for the checkerboard of deconvolutions before training and after its first step.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        Per network, at steps 0 and 1, for `transposed` k3: the amplitude in 8-bit levels, its excess and its floor
        (`Panel.put_presence`).
    """
    found = gather_networks(context, [TRANSPOSED], _describe_first_steps)
    # it rests on the first steps, however long the networks were trained
    return {name: 1 if name.endswith("_steps") else value for name, value in found.items()}


def _describe_first_steps(panel: Panel) -> Evidence:
    evidence: dict[str, float | None] = {}
    for step in _FIRST_STEPS:
        evidence |= panel.put_presence(f"step{step}", step=step)
    return evidence


def judge_first_steps(evidence: Evidence) -> Finding:
    """Ask whether the checkerboard is there untrained and after the first step.

    Parameters
    ----------
    evidence : mapping
        From `measure_first_steps`.
    """
    votes: list[tuple[View, str, Part]] = []
    told, effects = [], []
    for view in view_networks(evidence):
        for step in _FIRST_STEPS:
            if view.evidence.get(f"step{step}_excess_levels") is None:
                continue
            is_there = read_interval(view.evidence, f"step{step}_excess_levels").is_above(0)
            votes.append((view, f"detected at step {step}", is_there))
            levels = read_interval(view.evidence, f"step{step}_checkerboard_levels")
            effects.append(view.name_effect(f"step{step}_checkerboard_levels", f"step {step}", "levels"))
            there = describe_presence(view, f"step{step}")
            told.append(f"{view.network.title} ({view.seeds} seeds) step {step}: {levels} levels, {there}")
    if not told:
        return leave_undecided(describe_missing(evidence, [TRANSPOSED], "their first two steps"))
    sentence = f"Checkerboard of transposed k3 at the very start of training: {'; '.join(told)}."
    return conclude(count_votes(votes), sentence, effects=effects, size=describe_size(evidence))


def measure_change(context: Context) -> Evidence:
    """Compare the checkerboard of deconvolutions after the first logged step with that at the end of training.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        Per network, for `transposed` k3: amplitudes at both ends, in 8-bit levels; the ratio of the last to the
        first, where the first was detected; the excess of the last. Beside them, where variants with half and
        twice the first weights were trained too (`GAINS`), the same for the seeds that all three have, each with
        95 % by itself, and the exponent with which the ratio follows the first amplitude: −1 where what is left
        does not depend on how it began, 0 where training takes away the same share.
    """
    beside = gather_networks(
        context, [TRANSPOSED] * len(GAINS), _describe_gains, variants=list(GAINS), prefix="gains_"
    )
    return gather_networks(context, [TRANSPOSED], _describe_change) | beside


def _find_first_step(panel: Panel) -> int | None:
    """Find the first step behind the untrained network that every run logged."""
    logged = [
        {row["step"] for row in run.curve if 0 < row["step"] < run.row["steps"]}
        for seed in panel.seeds
        for run in seed
    ]
    return min(set.intersection(*logged), default=None)


def _describe_change(panel: Panel) -> Evidence:
    step = _find_first_step(panel)
    excess = None if step is None else panel.find_excess(step=step)
    if excess is None or excess.value <= 0:
        return {}
    first, last = panel.find_levels(step=step), panel.find_levels()
    return {
        **panel.put("first_checkerboard_levels", first),
        **panel.put_presence("last"),
        **panel.put("last_over_first_ratio", divide(last, first)),
    }


def _describe_gains(panel: Panel) -> Evidence:
    step = _find_first_step(panel)
    if step is None:
        return {}
    evidence: dict[str, float | None] = {}
    ratios, firsts = {}, {}
    for place, gain in enumerate(GAINS.values()):
        first, last = panel.find_levels(place, step), panel.find_levels(place)
        ratios[gain], firsts[gain] = divide(last, first), first
        for name, found in (("first_levels", first), ("last_levels", last), ("ratio", ratios[gain])):
            evidence |= panel.put(f"{gain:g}_{name}", found, 0.95)
    # of a power law between both ends; with two upsamplers the first amplitude follows the square of the gain
    share, start = (divide(found[2.0], found[0.5]) for found in (ratios, firsts))
    exponent = None if share is None or start is None else divide(share.apply(np.log), start.apply(np.log))
    return evidence | panel.put("exponent", exponent, 0.95)


@tell_few_steps
def judge_change(evidence: Evidence) -> Finding:
    """Ask whether at least half of the amplitude is left at the end, and at most twice.

    Where less is left the claim holds in part if the checkerboard can still be detected.

    Parameters
    ----------
    evidence : mapping
        From `measure_change`.
    """
    votes: list[tuple[View, str, Part]] = []
    verdicts: list[tuple[View, str, Part]] = []
    told, effects = [], []
    for view in view_networks(evidence):
        if view.evidence.get("last_over_first_ratio") is None:
            continue
        first, last, ratio, excess = (
            read_interval(view.evidence, name)
            for name in (
                "first_checkerboard_levels",
                "last_checkerboard_levels",
                "last_over_first_ratio",
                "last_excess_levels",
            )
        )
        is_kept, is_grown, is_left = ratio.is_above(KEPT), ratio.is_above(GROWN), excess.is_above(0)
        verdict = Verdict.UNDECIDED
        if is_kept is False and is_left is not None:
            verdict = Verdict.PARTLY if is_left else Verdict.REFUTED
        elif is_grown:
            verdict = Verdict.REFUTED
        elif is_kept and is_grown is False:
            verdict = Verdict.SUPPORTED
        votes.append((view, f"at least {KEPT:g} of the first amplitude is left", is_kept))
        if is_kept is not False:
            votes.append((view, f"at most {GROWN:g} times the first amplitude", negate(is_grown)))
        votes.append((view, "what is left can be detected", is_left))
        verdicts.append((view, "", verdict))
        effects.append(view.name_effect("last_over_first_ratio", "last over first"))
        told.append(
            f"{view.title} from {first} to {last} levels, {ratio} times as much, and "
            f"{describe_presence(view, 'last')} at the end{_tell_gains(view)}"
        )
    if not told:
        lacking = "a checkerboard at their first logged step"
        return leave_undecided(describe_missing(evidence, [TRANSPOSED], lacking))
    sentence = f"Checkerboard of transposed k3 from the first step to the last: {'; '.join(told)}."
    verdict = combine(part for _, part in count_votes(verdicts))
    return conclude(count_votes(votes), sentence, effects=effects, verdict=verdict)


def _tell_gains(view: View) -> str:
    """Say how what is left follows from how it began, where that was tried."""
    if view.evidence.get("gains_exponent") is None:
        return ""
    ends = [
        " to ".join(
            write_number(read_number(view.evidence, f"gains_{gain:g}_{end}_levels")) for end in ("first", "last")
        )
        for gain in (0.5, 2.0)
    ]
    text = f"first weights half as large give {ends[0]} levels, twice as large {ends[1]}"
    return f" ({text}; {describe_exponent(view)})"


def describe_exponent(view: View) -> str:
    """Say how the share that training leaves follows the first amplitude.

    Parameters
    ----------
    view : View
        Has ``gains_exponent``.
    """
    exponent, seeds = read_interval(view.evidence, "gains_exponent"), view.evidence.get("gains_seed_count")
    size = "" if seeds is None else f", {int(seeds)} seeds"
    return (
        f"the share goes as the first amplitude to the power {exponent}, where −1 means that what is left does "
        f"not depend on how it began{size}"
    )


def measure_stacks(context: Context) -> Evidence:
    """Compute the overlap of stacks, and compare two trained layers with what a single one can leave.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        Overlap CV behind one, two and three layers k3 s2. Per network with two upsamplers, `transposed` k3, in
        8-bit levels: the whole checkerboard; its part of period 2, which is all that the last layer by itself can
        make, and an earlier one shares in; the part of period 4, which only the earlier layer can make; and by how
        much the whole exceeds the larger of both, seed by seed.
    """
    layer = TRANSPOSED[1] or 0, 2
    evidence: dict[str, float | None] = {
        f"stack_of_{depth}_overlap_cv": theory.stacked_overlap_cv([layer] * depth) for depth in (1, 2, 3)
    }
    return evidence | gather_networks(context, [TRANSPOSED], _describe_scales, column="checkerboard_scale2_levels")


def _describe_scales(panel: Panel) -> Evidence:
    last, earlier = (panel.find_part(0, f"checkerboard_scale{scale}_levels") for scale in (1, 2))
    # of runs and not of images, as its parts are
    whole = panel.find_part(0, "checkerboard_levels")
    return {
        **panel.put("both_layers_checkerboard_levels", whole),
        **panel.put("last_layer_checkerboard_levels", last),
        **panel.put("earlier_layer_checkerboard_levels", earlier),
        **panel.put("both_less_larger_part_levels", subtract(subtract(whole, last), _find_rest(earlier, last))),
    }


def _find_rest(part: Resampled | None, other: Resampled | None) -> Resampled | None:
    """By how much a part is larger than the other, 0 where it is not."""
    difference = subtract(part, other)
    return None if difference is None else difference.apply(lambda value: np.maximum(value, 0.0))


@tell_few_steps
def judge_stacks(evidence: Evidence) -> Finding:
    """Ask whether overlap grows with depth, and whether two layers leave clearly more than one.

    In trained networks it must be more by half a level than the stronger of their grids: one that is merely there
    does not compound.

    Parameters
    ----------
    evidence : mapping
        From `measure_stacks`.
    """
    names = [f"stack_of_{depth}_overlap_cv" for depth in (1, 2, 3)]
    if any(evidence.get(name) is None for name in names):
        return leave_undecided("run: deconvbench claims")
    overlaps = [read_number(evidence, name) for name in names]
    grows = all(deeper >= COMPOUNDS * overlap for overlap, deeper in itertools.pairwise(overlaps))
    votes: list[tuple[View, str, Part]] = []
    told: list[str] = []
    effects: list[Effect] = []
    for view in view_networks(evidence):
        if view.evidence.get("both_less_larger_part_levels") is None:
            continue
        more = read_interval(view.evidence, "both_less_larger_part_levels")
        title = f"two trained layers leave {HALF_LEVEL:g} levels more than the stronger of their grids"
        votes.append((view, title, more.is_above(HALF_LEVEL)))
        both, last, earlier = (
            read_interval(view.evidence, f"{name}_checkerboard_levels")
            for name in ("both_layers", "last_layer", "earlier_layer")
        )
        effects.append(view.name_effect("both_less_larger_part_levels", "both less the stronger", "levels"))
        told.append(
            f"{view.title} {both} levels: {last} of period 2, which is all that the last layer alone can make, "
            f"and {earlier} of period 4, which only the earlier one can; both together {more} more than the "
            "stronger"
        )
    effects.append(Effect(name="overlap CV, two layers over one", unit="", value=overlaps[1] / overlaps[0]))
    if not told:
        told.append(describe_missing(evidence, [TRANSPOSED], "two upsamplers"))
    parts = [("overlap grows with each layer of a stack", grows), *count_votes(votes)]
    overlap = ", ".join(write_number(value) for value in overlaps)
    sentence = f"Overlap CV of one, two and three layers k3 s2: {overlap}; trained: {'; '.join(told)}."
    return conclude(parts, sentence, effects=effects)
