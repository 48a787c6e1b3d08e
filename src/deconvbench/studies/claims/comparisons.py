"""Claims 15 and 18: nearest against bilinear resizing, and where in an image the checkerboard is worst.

Both are read from the results of training experiments: two layers in the same network, paired by seed and image.
"""

from collections.abc import Sequence

from deconvbench.records.effects import Interval
from deconvbench.studies.claims.claim import Context, Evidence, Finding, Verdict
from deconvbench.studies.claims.judging import Part, conclude, leave_undecided, read_interval, write_number
from deconvbench.studies.claims.networks import (
    BILINEAR,
    NEAREST,
    TRANSPOSED,
    View,
    count_votes,
    describe_missing,
    gather_networks,
    tell_few_steps,
    view_networks,
)
from deconvbench.studies.claims.panel import HALF_LEVEL, Panel, subtract

# differences in PSNR that do not count, in dB; of checkerboards it is half a level. Both were fixed before the
# results were looked at: .2 dB is 2.3 % of the squared error's root, less than seeds differ by, and what papers on
# super-resolution begin to speak of
SAME_PSNR_DB, SAME_LEVELS = 0.2, HALF_LEVEL
# rank correlations: from here on clear
CLEAR_CORRELATION = 0.2
_CORRELATION = "grid_colour_correlation"


def measure_interpolations(context: Context) -> Evidence:
    """Compare networks trained with nearest and with bilinear resize-convolution, seed by seed.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        Per network: PSNR of both in dB and checkerboard of both in 8-bit levels; nearest less bilinear: PSNR,
        SSIM, and checkerboard.
    """
    return gather_networks(context, [NEAREST, BILINEAR], _describe_interpolations)


def _describe_interpolations(panel: Panel) -> Evidence:
    psnr = [panel.find_psnr(place) for place in (0, 1)]
    levels = [panel.find_levels(place) for place in (0, 1)]
    ssim = [panel.find_column(place, "ssim") for place in (0, 1)]
    return {
        **panel.put("nearest_psnr_db", psnr[0]),
        **panel.put("bilinear_psnr_db", psnr[1]),
        **panel.put("nearest_checkerboard_levels", levels[0]),
        **panel.put("bilinear_checkerboard_levels", levels[1]),
        **panel.put("nearest_less_bilinear_psnr_db", subtract(*psnr)),
        **panel.put("nearest_less_bilinear_ssim", subtract(*ssim)),
        **panel.put("nearest_less_bilinear_checkerboard_levels", subtract(*levels)),
    }


@tell_few_steps
def judge_interpolations(evidence: Evidence) -> Finding:
    """Ask of each network whether nearest gains in fidelity or in checkerboard without losing in the other.

    A gain or a loss is a difference that lies beyond the margin (.2 dB, half a level); where nearest is at most
    that much better in both, it does not work better.

    Parameters
    ----------
    evidence : mapping
        From `measure_interpolations`.
    """
    votes: list[tuple[View, str, Part]] = []
    told, effects = [], []
    for view in view_networks(evidence):
        names = ("nearest_less_bilinear_psnr_db", "nearest_less_bilinear_checkerboard_levels")
        if any(view.evidence.get(name) is None for name in names):
            continue
        psnr, levels = (read_interval(view.evidence, name) for name in names)
        gains = ((psnr, SAME_PSNR_DB), (_turn(levels), SAME_LEVELS))
        votes.append((view, "gains without losing", _weigh(gains)))
        effects += [
            view.name_effect(names[0], "nearest less bilinear", "dB"),
            view.name_effect(names[1], "nearest less bilinear", "levels"),
        ]
        told.append(
            f"{view.title} {_tell_difference(psnr, SAME_PSNR_DB)} dB of PSNR and "
            f"{_tell_difference(levels, SAME_LEVELS)} levels of checkerboard"
        )
    if not told:
        return leave_undecided(describe_missing(evidence, [NEAREST, BILINEAR]))
    sentence = (
        f"Trained with nearest instead of bilinear interpolation (margins {SAME_PSNR_DB:g} dB and {SAME_LEVELS:g} "
        f"levels): {'; '.join(told)}."
    )
    return conclude(count_votes(votes), sentence, effects=effects)


def _turn(interval: Interval) -> Interval:
    ends = (None if end is None else -end for end in (interval.high, interval.low))
    return Interval(value=-interval.value, **dict(zip(("low", "high"), ends, strict=True)))


def _tell_difference(difference: Interval, margin: float) -> str:
    side = difference.find_side(margin)
    if side is None and difference.low is not None and difference.high is not None:
        reach = max(abs(difference.low), abs(difference.high))
        return f"{difference} (undecided: only differences beyond {write_number(reach)} are excluded)"
    return str(difference)


def _weigh(gains: Sequence[tuple[Interval, float]]) -> Verdict:
    """Judge by gains in fidelity and in checkerboard, each with the margin below which it does not count."""
    sides = [gain.find_side(margin) for gain, margin in gains]
    if {1, -1} <= {*sides}:
        return Verdict.PARTLY
    if any(gain.low is None or gain.high is None for gain, _ in gains):
        return Verdict.UNDECIDED
    if 1 in sides and all(gain.low >= -margin for gain, margin in gains if gain.low is not None):
        return Verdict.SUPPORTED
    if all(gain.high <= margin for gain, margin in gains if gain.high is not None):
        return Verdict.REFUTED
    return Verdict.UNDECIDED


_OWN = "transposed_rank_correlation"


def measure_colours(context: Context) -> Evidence:
    """Correlate the local grid of deconvolutions with the distance of the colour from the average.

    What is correlated is a grid's power over the spectrum beside it (``grid_colour_correlation``), and resizing
    networks, which cannot make a grid, say how much of it texture does by itself.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        Per network, over patches of the test images: Spearman's rank correlation for `transposed` k3 and for
        `nearest_conv` k3, and their difference, seed by seed.
    """
    return gather_networks(context, [TRANSPOSED, NEAREST], _describe_colours, column=_CORRELATION)


def _describe_colours(panel: Panel) -> Evidence:
    transposed, nearest = (panel.find_column(place, _CORRELATION) for place in (0, 1))
    return {
        **panel.put("transposed_rank_correlation", transposed),
        **panel.put("nearest_rank_correlation", nearest),
        **panel.put("transposed_less_nearest_rank_correlation", subtract(transposed, nearest)),
    }


@tell_few_steps
def judge_colours(evidence: Evidence) -> Finding:
    """Ask whether the correlation is clear, and clearly above that of a network without a grid.

    A grid that is as strong everywhere hides texture, and by that alone its correlation is above that of a network
    without one; so the correlation itself must be above 0 too. Where it is, but not clearly, the claim holds in
    part.

    Parameters
    ----------
    evidence : mapping
        From `measure_colours`.
    """
    votes: list[tuple[View, str, Part]] = []
    told, effects = [], []
    name = "transposed_less_nearest_rank_correlation"
    for view in view_networks(evidence):
        if view.evidence.get(name) is None:
            continue
        difference, own = read_interval(view.evidence, name), read_interval(view.evidence, _OWN)
        is_there = [found.is_above(0) for found in (own, difference)]
        verdict = Verdict.UNDECIDED
        if own.is_above(CLEAR_CORRELATION) and difference.is_above(CLEAR_CORRELATION):
            verdict = Verdict.SUPPORTED
        elif False in is_there:
            verdict = Verdict.REFUTED
        elif all(is_there):
            verdict = Verdict.PARTLY
        votes.append((view, f"grids follow the colour's distance, by {CLEAR_CORRELATION:g} or more", verdict))
        effects.append(view.name_effect(_OWN, "correlation"))
        effects.append(view.name_effect(name, "less that of nearest"))
        both = [read_interval(view.evidence, f"{layer}_rank_correlation") for layer in ("transposed", "nearest")]
        told.append(
            f"{view.title} {both[0]} with transposed k3, {both[1]} with nearest_conv k3, {difference} apart"
        )
    if not told:
        return leave_undecided(
            "no networks with transposed k3 s2 and nearest_conv k3 s2 were trained alike and scored for how their "
            "grid follows the colour; run: deconvbench train"
        )
    sentence = (
        "Rank correlation of a patch's grid, over its local spectrum, with the distance of its colour from the "
        f"average: {'; '.join(told)}."
    )
    return conclude(count_votes(votes), sentence, effects=effects)
