"""Claims 10, 11 and 16: what a divisible kernel, resizing and ICNR do at initialisation, and in trained networks.

Layers at initialisation are measured by `initial`; trained networks are read from the results of training
experiments, paired by seed and image. A remedy can work on the one and not on the other, and then its claim holds
in part.
"""

from deconvbench.records.effects import Effect, Interval
from deconvbench.records.metrics import ARTIFACT_ZERO_BELOW
from deconvbench.studies.claims import initial
from deconvbench.studies.claims.claim import Context, Evidence, Finding
from deconvbench.studies.claims.judging import (
    Part,
    conclude,
    leave_undecided,
    list_effects,
    negate,
    read_interval,
    read_number,
    write_number,
)
from deconvbench.studies.claims.networks import (
    ICNR,
    NEAREST,
    SUBPIXEL,
    TRANSPOSED,
    TRANSPOSED_DIVISIBLE,
    View,
    count_votes,
    describe_missing,
    describe_presence,
    gather_networks,
    tell_few_steps,
    view_networks,
)
from deconvbench.studies.claims.panel import HALF_LEVEL, Panel, Row, divide, subtract

# at initialisation a remedy that helps takes away at least a quarter
REDUCED = 0.75
# phase ripple: less is not a visible checkerboard
NOTABLE_RIPPLE = 0.05
# images at a hundredth of the amplitude: 2.5 of 255 levels
CLEAN_IMAGES_DB = -40.0
# border error, and residual at the border over that inside
CLEAN_BORDER, EVEN_RESIDUAL = 0.05, 1.25
_RUN = "run: deconvbench claims"


def _put_ripple(panel: Panel, name: str, place: int) -> Evidence:
    """Lay out the largest of each network's upsamplers; nothing in results from before it was measured."""
    found = panel.estimate_mean(seed[place].find_effective_ripple() for seed in panel.seeds)
    return panel.put(f"{name}_effective_ripple", found)


def _tell_ripple(evidence: Evidence, first: str, second: str) -> str:
    """Compare what the trained weights of two layers make of their mean input, where that was measured."""
    names = [f"{name}_effective_ripple" for name in (first, second)]
    if any(evidence.get(name) is None for name in names):
        return ""
    one, other = (read_interval(evidence, name) for name in names)
    return f", where the upsamplers' effective ripple is {one} instead of {other}"


def measure_divisibility(context: Context) -> Evidence:
    """Measure what a kernel that the stride divides does, fresh and trained.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        At initialisation as `initial.measure_divisibility`. Per network, `transposed` k4 and k3 paired: the
        checkerboard of both in 8-bit levels, k4 less k3, the ratio where k3 has one, and the excess of k4.
    """
    layers = [TRANSPOSED_DIVISIBLE, TRANSPOSED]
    return dict(initial.measure_divisibility()) | gather_networks(context, layers, _describe_divisibility)


def _describe_divisibility(panel: Panel) -> Evidence:
    remedied, plain = panel.find_levels(0), panel.find_levels(1)
    return {
        **panel.put_presence("remedied"),
        **panel.put_presence("plain", 1),
        **panel.put("remedied_less_plain_levels", subtract(remedied, plain)),
        **panel.put("remedied_over_plain_ratio", divide(remedied, plain)),
        **_put_ripple(panel, "remedied", 0),
        **_put_ripple(panel, "plain", 1),
    }


@tell_few_steps
def judge_divisibility(evidence: Evidence) -> Finding:
    """Ask whether noise gain and ripple fall by a quarter at least, and whether the trained checkerboard falls.

    The latter does where it is certain that k4 has less than k3 by more than half a level; it does not where it is
    certain that less than half a level is gained.

    Parameters
    ----------
    evidence : mapping
        From `measure_divisibility`.
    """
    names = [f"init_noise_gain_cv_{part}" for part in ("divisible", "other", "ratio")]
    names.append("init_phase_ripple_ratio")
    if any(evidence.get(name) is None for name in names):
        return leave_undecided(_RUN)
    noise, noise_other, noise_ratio, ripple_ratio = (read_interval(evidence, name) for name in names)
    votes: list[tuple[View, str, Part]] = []
    told, effects = [], []
    for view in view_networks(evidence):
        if view.evidence.get("remedied_less_plain_levels") is None:
            continue
        even, uneven, less = (
            read_interval(view.evidence, name)
            for name in ("remedied_checkerboard_levels", "plain_checkerboard_levels", "remedied_less_plain_levels")
        )
        votes.append((view, "a smaller checkerboard", is_reduced(less)))
        effects.append(view.name_effect("remedied_less_plain_levels", "k4 less k3", "levels"))
        text = (
            f"{view.title} {even} levels with k4, {uneven} with k3, a difference of {less}, "
            f"{_tell_reduction(less)}"
        )
        told.append(text + _tell_ripple(view.evidence, "remedied", "plain"))
    effects += list_effects(
        evidence,
        {
            "init_noise_gain_cv_ratio": ("random weights, noise gain CV, k4 over k3", ""),
            "init_phase_ripple_ratio": ("random weights, ripple", ""),
        },
    )
    if not told:
        told.append(describe_missing(evidence, [TRANSPOSED_DIVISIBLE, TRANSPOSED]))
    sentence = (
        f"At random weights kernels that the stride divides have {noise_ratio} times the unevenness of the noise "
        f"gain ({noise.value:.2g} instead of {noise_other.value:.2g}) and {ripple_ratio} times the ripple of a "
        f"constant input; trained: {'; '.join(told)}."
    )
    parts = [
        ("noise gain of random weights evened out", negate(noise_ratio.is_above(REDUCED))),
        ("ripple of random weights reduced", negate(ripple_ratio.is_above(REDUCED))),
        *count_votes(votes),
    ]
    return conclude(parts, sentence, effects=effects, size=initial.SIZE)


def is_reduced(less: Interval) -> bool | None:
    """Say whether a difference in levels is a reduction that counts.

    Parameters
    ----------
    less : Interval
        A remedied layer's checkerboard less that of the plain one.

    Returns
    -------
    bool or None
        True where the whole interval is a reduction by more than half a level; False where all of it is a smaller
        one, or none; None where it straddles half a level, or there is no interval.
    """
    if less.low is None or less.high is None:
        return None
    if less.high < -HALF_LEVEL:
        return True
    return False if less.low > -HALF_LEVEL else None


def _tell_reduction(less: Interval) -> str:
    if less.low is None:
        return "with too few seeds to say more"
    reduced = is_reduced(less)
    if reduced is None:
        return f"which leaves open whether it is one (anything beyond {write_number(-less.low)} is excluded)"
    return "a reduction" if reduced else f"so it takes away less than {write_number(HALF_LEVEL)} levels, if any"


def measure_resizing(context: Context) -> Evidence:
    """Measure every artifact of a nearest resize-convolution, fresh and trained.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        At initialisation: largest phase ripple; image rejection in dB; border error. Per network: the checkerboard
        in 8-bit levels, what the targets have, the excess and the floor; what `transposed` k3 has, and how much
        less this is; and the residual at the border over that inside, of both.
    """
    return dict(initial.measure_resizing()) | gather_networks(context, [NEAREST, TRANSPOSED], _describe_resizing)


def _compare_border(row: Row) -> float | None:
    border, inside = row["border_residual_levels"], row["interior_residual_levels"]
    return border / inside if border is not None and inside else None


def _describe_resizing(panel: Panel) -> Evidence:
    nearest, transposed = panel.find_levels(0), panel.find_levels(1)
    target = panel.find_column(0, "target_checkerboard_levels")
    return {
        **panel.put_presence("nearest"),
        **panel.put("transposed_checkerboard_levels", transposed),
        **panel.put("nearest_less_transposed_levels", subtract(nearest, transposed)),
        **panel.put("target_checkerboard_levels", target),
        **panel.put(
            "nearest_border_over_interior_ratio",
            panel.estimate_mean(_compare_border(seed[0].row) for seed in panel.seeds),
        ),
        **panel.put(
            "transposed_border_over_interior_ratio",
            panel.estimate_mean(_compare_border(seed[1].row) for seed in panel.seeds),
        ),
        **_put_ripple(panel, "nearest", 0),
        **_put_ripple(panel, "transposed", 1),
    }


@tell_few_steps
def judge_resizing(evidence: Evidence) -> Finding:
    """Ask whether ripple, images, borders and trained checkerboard are all clean.

    Parameters
    ----------
    evidence : mapping
        From `measure_resizing`.
    """
    names = ("init_largest_phase_ripple", "init_image_rejection_db", "init_border_error")
    if any(evidence.get(name) is None for name in names):
        return leave_undecided(_RUN)
    ripple = read_number(evidence, names[0])
    images, border = (read_interval(evidence, name) for name in names[1:])
    votes: list[tuple[View, str, Part]] = []
    told, effects = [], []
    for view in view_networks(evidence):
        needed = [
            f"{name}_levels"
            for name in (
                "nearest_checkerboard",
                "transposed_checkerboard",
                "target_checkerboard",
                "nearest_excess",
            )
        ]
        if any(view.evidence.get(name) is None for name in needed):
            continue
        levels, other, target, excess = (read_interval(view.evidence, name) for name in needed)
        floor = view.evidence.get("nearest_floor_levels")
        below = "no checkerboard" if floor is None else f"checkerboard below {write_number(floor)} levels"
        votes.append((view, below, negate(excess.is_above(0))))
        effects.append(view.name_effect("nearest_checkerboard_levels", "checkerboard", "levels"))
        text = (
            f"{view.title} {levels} levels of checkerboard, {describe_presence(view, 'nearest')} ({other} with "
            f"transposed k3, targets {write_number(target.value)})"
        )
        if view.evidence.get("nearest_border_over_interior_ratio") is not None:
            ratio = read_interval(view.evidence, "nearest_border_over_interior_ratio")
            votes.append((view, "border like the inside", negate(ratio.is_above(EVEN_RESIDUAL))))
            text += f", and at the border {ratio} times the residual inside"
        told.append(text + _tell_ripple(view.evidence, "nearest", "transposed"))
    effects += list_effects(
        evidence,
        {
            "init_image_rejection_db": ("random weights, images", "dB"),
            "init_border_error": ("random weights, border error", ""),
        },
    )
    if not told:
        told.append(describe_missing(evidence, [NEAREST, TRANSPOSED]))
    parts = [
        ("no ripple of a constant input", ripple <= ARTIFACT_ZERO_BELOW),
        (f"images below {CLEAN_IMAGES_DB:g} dB at random weights", negate(images.is_above(CLEAN_IMAGES_DB))),
        ("a clean border at random weights", negate(border.is_above(CLEAN_BORDER))),
        *count_votes(votes),
    ]
    amount = "no" if ripple <= ARTIFACT_ZERO_BELOW else write_number(ripple)
    sentence = (
        f"At random weights a nearest resize-convolution has {amount} ripple of a constant input, images at "
        f"{images} dB, and a border that is off by {border} of the level; trained: {'; '.join(told)}."
    )
    return conclude(parts, sentence, effects=effects, size=initial.SIZE)


def measure_subpixel(context: Context) -> Evidence:
    """Measure the checkerboard of sub-pixel convolution with and without ICNR, fresh and trained.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        At initialisation: phase ripple of `subpixel`, of `transposed`, and the largest of `subpixel_icnr`. Per
        network: checkerboard, excess and floor of both in 8-bit levels, ICNR's less the plain one's; and the
        ripple of plain colours with ICNR at the first step and at the end.
    """
    return dict(initial.measure_subpixel()) | gather_networks(context, [SUBPIXEL, ICNR], _describe_subpixel)


def _describe_subpixel(panel: Panel) -> Evidence:
    evidence: dict[str, float | None] = {}
    for place, name in enumerate(("subpixel", "icnr")):
        evidence |= {**panel.put_presence(name, place), **_put_ripple(panel, name, place)}
    evidence |= panel.put("icnr_less_subpixel_levels", subtract(panel.find_levels(1), panel.find_levels(0)))
    for when, step in (("step0", 0), ("last", None)):
        ripples = [
            None if (scores := icnr.find_scores(step)) is None else scores["flat_field_ripple_levels"]
            for _, icnr in panel.seeds
        ]
        evidence |= panel.put(f"icnr_{when}_flat_field_ripple_levels", panel.estimate_mean(ripples))
    return evidence


@tell_few_steps
def judge_subpixel(evidence: Evidence) -> Finding:
    """Ask whether plain sub-pixel convolution has the problem and ICNR does not, fresh and trained.

    Parameters
    ----------
    evidence : mapping
        From `measure_subpixel`.
    """
    names = ("init_subpixel_phase_ripple", "init_transposed_phase_ripple", "init_icnr_largest_phase_ripple")
    if any(evidence.get(name) is None for name in names):
        return leave_undecided(_RUN)
    plain, transposed = (read_interval(evidence, name) for name in names[:2])
    icnr = read_number(evidence, names[2])
    votes: list[tuple[View, str, Part]] = []
    told = []
    effects: list[Effect] = []
    for view in view_networks(evidence):
        needed = ("subpixel_excess_levels", "icnr_excess_levels", "icnr_less_subpixel_levels")
        if any(view.evidence.get(name) is None for name in needed):
            continue
        has_problem, has_still = (read_interval(view.evidence, name).is_above(0) for name in needed[:2])
        votes += [
            (view, "a checkerboard without ICNR", has_problem),
            (view, "none detected with ICNR", negate(has_still)),
        ]
        less = read_interval(view.evidence, needed[2])
        effects += [
            view.name_effect(needed[2], "ICNR less plain", "levels"),
            view.name_effect("icnr_checkerboard_levels", "left with ICNR", "levels"),
        ]
        levels = [read_interval(view.evidence, f"{name}_checkerboard_levels") for name in ("subpixel", "icnr")]
        text = (
            f"{view.title} {levels[0]} levels without ICNR, {describe_presence(view, 'subpixel')}, and "
            f"{levels[1]} with it, {describe_presence(view, 'icnr')}, a difference of {less}"
        )
        ripples = [f"icnr_{when}_flat_field_ripple_levels" for when in ("step0", "last")]
        if all(view.evidence.get(name) is not None for name in ripples):
            start, end = (read_interval(view.evidence, name) for name in ripples)
            text += f", while its ripple of plain colours goes from {_write_ripple(start)} to {end} levels"
        told.append(text + _tell_ripple(view.evidence, "icnr", "subpixel"))
    effects += list_effects(evidence, {names[0]: ("random weights, ripple without ICNR", "")})
    if not told:
        told.append(describe_missing(evidence, [SUBPIXEL, ICNR]))
    parts = [
        ("ripple at initialisation", plain.is_above(NOTABLE_RIPPLE)),
        ("none with ICNR at initialisation", icnr <= ARTIFACT_ZERO_BELOW),
        *count_votes(votes),
    ]
    sentence = (
        f"At initialisation the ripple of sub-pixel convolution is {plain}, that of transposed {transposed}, and "
        f"with ICNR {'exactly 0' if icnr <= ARTIFACT_ZERO_BELOW else write_number(icnr)}; trained: "
        f"{'; '.join(told)}."
    )
    return conclude(parts, sentence, effects=effects, size=initial.SIZE)


def _write_ripple(ripple: Interval) -> str:
    """Write a ripple; one that is rounding is none."""
    return "0" if ripple.value <= ARTIFACT_ZERO_BELOW else str(ripple)
