"""Claims 7, 8, 14, 15 and 18: what training does to checkerboards, and which networks train to have them.

Everything is read from the results of training experiments, seed by seed; only the overlap of stacks is geometry.
A checkerboard counts as present where it exceeds the detection level, what the targets have, and half a level.
"""

import itertools
import math
from collections.abc import Sequence

from deconvbench import theory
from deconvbench.studies.claims.claim import Context, Evidence, Finding, Verdict
from deconvbench.studies.claims.judging import (
    combine,
    leave_undecided,
    put_interval,
    read_interval,
    read_number,
    write_number,
)
from deconvbench.studies.claims.networks import (
    BILINEAR,
    NEAREST,
    TRANSPOSED,
    Ended,
    describe_missing,
    gather_networks,
    tell_few_steps,
    view_networks,
)

# "largely unaffected": what is left of an amplitude, and what it may grow to
KEPT, GROWN = 0.5, 2.0
# each further layer of a stack adds at least this share to the unevenness
COMPOUNDS = 1.05
# differences in PSNR and in checkerboard that do not count, in dB and 8-bit levels
SAME_PSNR_DB, SAME_LEVELS = 0.1, 0.1
# rank correlations: from here on clear
CLEAR_CORRELATION = 0.2
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
        Per network, at steps 0 and 1, for `transposed` k3: the amplitude in 8-bit levels and its excess
        (`Ended.find_excess`).
    """
    found = gather_networks(context.trained, [TRANSPOSED], _describe_first_steps)
    # it rests on the first steps, however long the networks were trained
    return {name: 1 if name.endswith("_steps") else value for name, value in found.items()}


def _describe_first_steps(seeds: Sequence[tuple[Ended, ...]]) -> Evidence:
    evidence: dict[str, float | None] = {}
    for step in _FIRST_STEPS:
        rows = [(run, row) for (run,) in seeds for row in run.curve if row["step"] == step]
        evidence |= put_interval(
            f"step{step}_checkerboard_levels", [row["checkerboard_levels"] for _, row in rows]
        )
        evidence |= put_interval(f"step{step}_excess_levels", [run.find_excess(row) for run, row in rows])
    return evidence


def judge_first_steps(evidence: Evidence) -> Finding:
    """Ask whether the checkerboard is there untrained and after the first step.

    Parameters
    ----------
    evidence : mapping
        From `measure_first_steps`.
    """
    parts: list[bool | None] = []
    told = []
    for view in view_networks(evidence):
        for step in _FIRST_STEPS:
            name = f"step{step}_excess_levels"
            if view.evidence.get(name) is None:
                continue
            parts.append(read_interval(view.evidence, name).is_above(0))
            levels = read_interval(view.evidence, f"step{step}_checkerboard_levels")
            told.append(
                f"{view.kind} ({view.seeds} seeds) step {step}: {levels} levels, {_describe_presence(parts[-1])}"
            )
    if not told:
        return leave_undecided(describe_missing(evidence, [TRANSPOSED], "their first two steps"))
    sentence = f"Checkerboard of transposed k3 at the very start of training: {'; '.join(told)}."
    return Finding(verdict=combine(parts), sentence=sentence)


def _describe_presence(is_there: bool | None) -> str:
    return {True: "detected", False: "not detected", None: "at the limit of detection"}[is_there]


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
        first, over seeds whose first was detected; and the excess of the last (`Ended.find_excess`).
    """
    return gather_networks(context.trained, [TRANSPOSED], _describe_change)


def _describe_change(seeds: Sequence[tuple[Ended, ...]]) -> Evidence:
    first, last, ratios, excess = [], [], [], []
    for (run,) in seeds:
        early = [row for row in run.curve if 0 < row["step"] < run.row["steps"]]
        above = run.find_excess(early[0]) if early else None
        if above is not None and above > 0:
            first.append(early[0]["checkerboard_levels"])
            last.append(run.row["checkerboard_levels"])
            ratios.append(last[-1] / first[-1])
            excess.append(run.find_excess())
    return {
        **put_interval("first_checkerboard_levels", first),
        **put_interval("last_checkerboard_levels", last),
        **put_interval("last_over_first_ratio", ratios),
        **put_interval("last_excess_levels", excess),
    }


@tell_few_steps
def judge_change(evidence: Evidence) -> Finding:
    """Ask whether at least half of the amplitude is left at the end, and at most twice.

    Where less is left the claim holds in part if the checkerboard can still be detected.

    Parameters
    ----------
    evidence : mapping
        From `measure_change`.
    """
    verdicts, told = [], []
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
        verdicts.append(verdict)
        told.append(
            f"{view.title} from {first} to {last} levels, {ratio} times as much, and "
            f"{_describe_presence(is_left)} at the end"
        )
    if not told:
        lacking = "a checkerboard at their first logged step"
        return leave_undecided(describe_missing(evidence, [TRANSPOSED], lacking))
    sentence = f"Checkerboard of transposed k3 from the first step to the last: {'; '.join(told)}."
    return Finding(verdict=combine(verdicts), sentence=sentence)


def measure_stacks(context: Context) -> Evidence:
    """Compute the overlap of stacks, and split the checkerboard of trained networks by the layer it comes from.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        Overlap CV behind one, two and three layers k3 s2. Per network with two upsamplers, `transposed` k3, in
        8-bit levels: the part of the checkerboard that the last one or an earlier one can have made (period 2),
        the part that only the earlier one can have made (period 4), and by how much the latter stands out.
    """
    layer = TRANSPOSED[1] or 0, 2
    evidence: dict[str, float | None] = {
        f"stack_of_{depth}_overlap_cv": theory.stacked_overlap_cv([layer] * depth) for depth in (1, 2, 3)
    }
    return evidence | gather_networks(context.trained, [TRANSPOSED], _describe_scales)


def _describe_scales(seeds: Sequence[tuple[Ended, ...]]) -> Evidence:
    evidence: dict[str, float | None] = {}
    for scale, name in ((1, "last_layer"), (2, "earlier_layer")):
        values = [run.row[f"checkerboard_scale{scale}_levels"] for (run,) in seeds]
        evidence |= put_interval(f"{name}_checkerboard_levels", values)
    excess = [
        run.row["checkerboard_scale2_levels"] - floor
        for (run,) in seeds
        if run.row["checkerboard_scale2_levels"] is not None and (floor := run.find_floor()) is not None
    ]
    return evidence | put_interval("earlier_layer_excess_levels", excess)


@tell_few_steps
def judge_stacks(evidence: Evidence) -> Finding:
    """Ask whether overlap grows with depth, and whether an earlier layer's own checkerboard is left in the output.

    Parameters
    ----------
    evidence : mapping
        From `measure_stacks`.
    """
    names = [f"stack_of_{depth}_overlap_cv" for depth in (1, 2, 3)]
    if any(evidence.get(name) is None for name in names):
        return leave_undecided("run: deconvbench claims")
    overlaps = [read_number(evidence, name) for name in names]
    parts: list[bool | None] = [
        all(deeper >= COMPOUNDS * overlap for overlap, deeper in itertools.pairwise(overlaps))
    ]
    told = []
    for view in view_networks(evidence):
        if view.evidence.get("earlier_layer_excess_levels") is None:
            continue
        parts.append(read_interval(view.evidence, "earlier_layer_excess_levels").is_above(0))
        last, earlier = (
            read_interval(view.evidence, f"{name}_checkerboard_levels") for name in ("last_layer", "earlier_layer")
        )
        told.append(
            f"{view.title} {last} levels at period 2 and {earlier} at period 4, which only the earlier layer can "
            f"make: {_describe_presence(parts[-1])}"
        )
    if not told:
        parts.append(None)
        told.append(describe_missing(evidence, [TRANSPOSED]))
    overlap = ", ".join(write_number(value) for value in overlaps)
    sentence = f"Overlap CV of one, two and three layers k3 s2: {overlap}; trained: {'; '.join(told)}."
    return Finding(verdict=combine(parts), sentence=sentence)


def measure_interpolations(context: Context) -> Evidence:
    """Compare networks trained with nearest and with bilinear resize-convolution, seed by seed.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        Per network, nearest less bilinear: PSNR in dB, SSIM, and checkerboard in 8-bit levels, that below 0
        counting as 0.
    """
    return gather_networks(context.trained, [NEAREST, BILINEAR], _describe_interpolations)


def _describe_interpolations(seeds: Sequence[tuple[Ended, ...]]) -> Evidence:
    def compare(column: str, least: float = -math.inf) -> list[float | None]:
        pairs = [(nearest.row[column], bilinear.row[column]) for nearest, bilinear in seeds]
        return [None if None in pair else max(pair[0], least) - max(pair[1], least) for pair in pairs]

    return {
        **put_interval("nearest_psnr_db", [nearest.row["psnr_db"] for nearest, _ in seeds]),
        **put_interval("bilinear_psnr_db", [bilinear.row["psnr_db"] for _, bilinear in seeds]),
        **put_interval("nearest_less_bilinear_psnr_db", compare("psnr_db")),
        **put_interval("nearest_less_bilinear_ssim", compare("ssim")),
        **put_interval("nearest_less_bilinear_checkerboard_levels", compare("checkerboard_levels", least=0.0)),
    }


@tell_few_steps
def judge_interpolations(evidence: Evidence) -> Finding:
    """Ask of each network whether nearest gains in fidelity or in checkerboard without losing in the other.

    Parameters
    ----------
    evidence : mapping
        From `measure_interpolations`.
    """
    verdicts, told = [], []
    for view in view_networks(evidence):
        psnr = read_interval(view.evidence, "nearest_less_bilinear_psnr_db")
        levels = read_interval(view.evidence, "nearest_less_bilinear_checkerboard_levels")
        verdicts.append(_weigh(psnr.find_side(SAME_PSNR_DB), levels.find_side(SAME_LEVELS)))
        told.append(f"{view.title} {psnr} dB of PSNR and {levels} levels of checkerboard")
    if not told:
        return leave_undecided(describe_missing(evidence, [NEAREST, BILINEAR]))
    sentence = f"Trained with nearest instead of bilinear interpolation: {'; '.join(told)}."
    return Finding(verdict=combine(verdicts), sentence=sentence)


def _weigh(psnr: int | None, levels: int | None) -> Verdict:
    """Judge by the sides on which both differences lie; less checkerboard is better."""
    gains = {psnr, None if levels is None else -levels}
    if {1, -1} <= gains:
        return Verdict.PARTLY
    if None in gains:
        return Verdict.UNDECIDED
    return Verdict.SUPPORTED if 1 in gains else Verdict.REFUTED


def measure_colours(context: Context) -> Evidence:
    """Correlate the local checkerboard of deconvolutions with the distance of the colour from the average.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        Per network, for `transposed` k3: Spearman's rank correlation over patches of the test images.
    """
    return gather_networks(context.trained, [TRANSPOSED], _describe_colours)


def _describe_colours(seeds: Sequence[tuple[Ended, ...]]) -> Evidence:
    return put_interval("rank_correlation", [run.row["colour_distance_correlation"] for (run,) in seeds])


@tell_few_steps
def judge_colours(evidence: Evidence) -> Finding:
    """Ask whether the correlation is clear; one that is certain but weak supports the claim in part.

    Parameters
    ----------
    evidence : mapping
        From `measure_colours`.
    """
    verdicts, told = [], []
    for view in view_networks(evidence):
        if view.evidence.get("rank_correlation") is None:
            continue
        correlation = read_interval(view.evidence, "rank_correlation")
        is_clear, is_there = correlation.is_above(CLEAR_CORRELATION), correlation.is_above(0)
        verdict = Verdict.UNDECIDED
        if is_clear:
            verdict = Verdict.SUPPORTED
        elif is_there is False:
            verdict = Verdict.REFUTED
        elif is_there and is_clear is False:
            verdict = Verdict.PARTLY
        verdicts.append(verdict)
        told.append(f"{view.title} {correlation}")
    if not told:
        return leave_undecided(describe_missing(evidence, [TRANSPOSED]))
    sentence = (
        "Rank correlation of a patch's checkerboard with the distance of its colour from the average, transposed "
        f"k3: {'; '.join(told)}."
    )
    return Finding(verdict=combine(verdicts), sentence=sentence)
