"""Claims 9, 10, 11 and 16: what the remedies do at initialisation, and in trained networks.

At initialisation layers are measured here, in a few seconds; trained networks are read from the results of
training experiments. A remedy can work on the one and not on the other, and then its claim holds in part.
"""

from collections.abc import Sequence
from statistics import fmean

from deconvbench.measure.quality import measure_quality
from deconvbench.records.layers import NamedLayer
from deconvbench.records.metrics import ARTIFACT_ZERO_BELOW
from deconvbench.studies.claims.claim import Context, Evidence, Finding
from deconvbench.studies.claims.judging import (
    combine,
    leave_undecided,
    negate,
    put_interval,
    read_interval,
    read_number,
    write_number,
)
from deconvbench.studies.claims.networks import (
    ICNR,
    NEAREST,
    SCALE_FACTOR,
    SMOOTHED,
    SUBPIXEL,
    TRANSPOSED,
    TRANSPOSED_DIVISIBLE,
    Ended,
    describe_missing,
    gather_networks,
    tell_few_steps,
    view_networks,
)

# a remedy that helps takes away at least a quarter; "quite effective" at least half
REDUCED, EFFECTIVE = 0.75, 0.5
# phase ripple: less is not a visible checkerboard
NOTABLE_RIPPLE = 0.05
# images at a hundredth of the amplitude: 2.5 of 255 levels
CLEAN_IMAGES_DB = -40.0
# border error, and residual at the border over that inside
CLEAN_BORDER, EVEN_RESIDUAL = 0.05, 1.25
_SEEDS, _CHANNELS = 4, 8
KERNEL_SIZES = range(2, 9)
SCALES = (2, 3, 4)
_RUN = "run: deconvbench claims"


def _measure_layer(layer: NamedLayer, metric: str, scale_factor: int = SCALE_FACTOR) -> list[float]:
    """Measure an artifact of a layer as it is initialised, for each seed."""
    found = [
        measure_quality(*layer, scale_factor, seed, channels=_CHANNELS).metrics[metric] for seed in range(_SEEDS)
    ]
    return [value for value in found if value is not None]


def _divide(over: Sequence[float], under: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(over, under, strict=True)]


def measure_smoothing(context: Context) -> Evidence:
    """Measure what a 9×9 layer of stride 1 behind a transposed convolution does, fresh and trained.

    The reconstruction network ends in such a layer whatever its upsamplers are; the one for super-resolution does
    not.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        At initialisation, `transposed_smoothed` over `transposed`, k3 each: phase ripple and noise gain CV. Per
        network: the checkerboard of both in 8-bit levels, the ratio, and the excess of the smoothed one.
    """
    ratios = {
        f"init_{metric}_ratio": _divide(_measure_layer(SMOOTHED, metric), _measure_layer(TRANSPOSED, metric))
        for metric in ("phase_ripple", "noise_gain_cv")
    }
    evidence: dict[str, float | None] = {}
    for name, values in ratios.items():
        evidence |= put_interval(name, values)
    return evidence | gather_networks(context.trained, [SMOOTHED, TRANSPOSED], _describe_remedy)


def _describe_remedy(seeds: Sequence[tuple[Ended, ...]]) -> Evidence:
    """Compare a remedied layer (first) with the plain one, where the latter has a checkerboard to speak of."""
    ratios = []
    for remedied, plain in seeds:
        above = plain.find_excess()
        if above is not None and above > 0:
            ratios.append(remedied.row["checkerboard_levels"] / plain.row["checkerboard_levels"])
    return {
        **put_interval("remedied_checkerboard_levels", [r.row["checkerboard_levels"] for r, _ in seeds]),
        **put_interval("plain_checkerboard_levels", [plain.row["checkerboard_levels"] for _, plain in seeds]),
        **put_interval("remedied_excess_levels", [remedied.find_excess() for remedied, _ in seeds]),
        **put_interval("remedied_over_plain_ratio", ratios),
        **_gather_effective_ripple("remedied", [remedied for remedied, _ in seeds]),
        **_gather_effective_ripple("plain", [plain for _, plain in seeds]),
    }


def _gather_effective_ripple(name: str, runs: Sequence[Ended]) -> Evidence:
    """Lay out the largest of each network's upsamplers; nothing in results from before it was measured."""
    return put_interval(f"{name}_effective_ripple", [run.find_effective_ripple() for run in runs])


def _tell_effective_ripple(evidence: Evidence, first: str, second: str) -> str:
    """Compare what the trained weights of two layers make of their mean input, where that was measured."""
    names = [f"{name}_effective_ripple" for name in (first, second)]
    if any(evidence.get(name) is None for name in names):
        return ""
    one, other = (read_interval(evidence, name) for name in names)
    return f", where the upsamplers' effective ripple is {one} instead of {other}"


@tell_few_steps
def judge_smoothing(evidence: Evidence) -> Finding:
    """Ask whether the article is right that smoothing is not enough.

    It is at initialisation where the ripple does not fall by a quarter, and in a network where the checkerboard is
    still detected. Odena's "quite effective" is told beside it: at least half of the amplitude gone.

    Parameters
    ----------
    evidence : mapping
        From `measure_smoothing`.
    """
    if any(evidence.get(f"init_{metric}_ratio") is None for metric in ("phase_ripple", "noise_gain_cv")):
        return leave_undecided(_RUN)
    ripple, noise = (
        read_interval(evidence, f"init_{metric}_ratio") for metric in ("phase_ripple", "noise_gain_cv")
    )
    parts: list[bool | None] = [ripple.is_above(REDUCED)]
    told = []
    for view in view_networks(evidence):
        smoothed, plain, excess = (
            read_interval(view.evidence, f"{name}_levels")
            for name in ("remedied_checkerboard", "plain_checkerboard", "remedied_excess")
        )
        parts.append(excess.is_above(0))
        text = f"{view.title} {smoothed} levels instead of {plain}, {_describe_leftover(parts[-1])}"
        if view.evidence.get("remedied_over_plain_ratio") is not None:
            ratio = read_interval(view.evidence, "remedied_over_plain_ratio")
            is_weak = ratio.is_above(EFFECTIVE)
            odena = {True: "does not hold", False: "holds", None: "stays open"}[is_weak]
            text += f" ({ratio} of it: Odena's “quite effective” {odena})"
        told.append(text + _tell_effective_ripple(view.evidence, "remedied", "plain"))
    if not told:
        parts.append(None)
        told.append(describe_missing(evidence, [SMOOTHED, TRANSPOSED]))
    sentence = (
        f"At random weights a 9×9 layer behind a deconvolution leaves {ripple} of the ripple of a constant input "
        f"and {noise} of the noise gain's unevenness; trained: {'; '.join(told)}."
    )
    return Finding(verdict=combine(parts), sentence=sentence)


def _describe_leftover(is_there: bool | None) -> str:
    return {True: "still detected", False: "no longer detected", None: "at the limit of detection"}[is_there]


def measure_divisibility(context: Context) -> Evidence:
    """Measure what a kernel that the stride divides does, fresh and trained.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        At initialisation, over kernels 2 to 8 and strides 2 to 4 of `transposed`: the mean of the noise gain CV,
        and of the phase ripple over its expectation 1 − 1/s², of kernels that the stride divides, of the others,
        and the ratio. Per network: the checkerboard of k4 and k3 in 8-bit levels, the ratio, and the excess of k4.
    """
    pairs = [(k, s) for s in SCALES for k in KERNEL_SIZES if k >= s]
    evidence: dict[str, float | None] = {}
    for metric in ("noise_gain_cv", "phase_ripple"):
        means: dict[bool, list[float]] = {}
        for is_divisible in (True, False):
            by_layer = [
                [value / ((1 - 1 / s**2) if metric == "phase_ripple" else 1) for value in values]
                for k, s in pairs
                if (k % s == 0) == is_divisible and (values := _measure_layer((TRANSPOSED[0], k), metric, s))
            ]
            means[is_divisible] = [fmean(seed) for seed in zip(*by_layer, strict=True)]
        evidence |= put_interval(f"init_{metric}_divisible", means[True])
        evidence |= put_interval(f"init_{metric}_other", means[False])
        evidence |= put_interval(f"init_{metric}_ratio", _divide(means[True], means[False]))
    layers = [TRANSPOSED_DIVISIBLE, TRANSPOSED]
    return evidence | gather_networks(context.trained, layers, _describe_remedy)


@tell_few_steps
def judge_divisibility(evidence: Evidence) -> Finding:
    """Ask whether noise gain, ripple and the trained checkerboard fall by a quarter at least.

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
    parts = [negate(noise_ratio.is_above(REDUCED)), negate(ripple_ratio.is_above(REDUCED))]
    told = []
    for view in view_networks(evidence):
        even, uneven = (
            read_interval(view.evidence, f"{name}_checkerboard_levels") for name in ("remedied", "plain")
        )
        if view.evidence.get("remedied_over_plain_ratio") is None:
            parts.append(None)
            told.append(f"{view.title} k3 has no checkerboard to reduce ({uneven} levels, k4 {even})")
            continue
        ratio = read_interval(view.evidence, "remedied_over_plain_ratio")
        parts.append(negate(ratio.is_above(REDUCED)))
        text = f"{view.title} {even} levels with k4, {uneven} with k3, {ratio} of it"
        told.append(text + _tell_effective_ripple(view.evidence, "remedied", "plain"))
    if not told:
        parts.append(None)
        told.append(describe_missing(evidence, [TRANSPOSED_DIVISIBLE, TRANSPOSED]))
    sentence = (
        f"At random weights kernels that the stride divides have {noise_ratio} times the unevenness of the noise "
        f"gain ({noise.value:.2g} instead of {noise_other.value:.2g}) and {ripple_ratio} times the ripple of a "
        f"constant input; trained: {'; '.join(told)}."
    )
    return Finding(verdict=combine(parts), sentence=sentence)


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
        in 8-bit levels, what the targets have, the excess; and the residual at the border over that inside, here
        and with `transposed` k3.
    """
    evidence: dict[str, float | None] = {"init_largest_phase_ripple": max(_measure_layer(NEAREST, "phase_ripple"))}
    for metric in ("image_rejection_db", "border_error"):
        evidence |= put_interval(f"init_{metric}", _measure_layer(NEAREST, metric))
    return evidence | gather_networks(context.trained, [NEAREST, TRANSPOSED], _describe_resizing)


def _describe_resizing(seeds: Sequence[tuple[Ended, ...]]) -> Evidence:
    def compare_border(runs: Sequence[Ended]) -> list[float | None]:
        pairs = [(run.row["border_residual_levels"], run.row["interior_residual_levels"]) for run in runs]
        return [border / inside if border is not None and inside else None for border, inside in pairs]

    nearest, transposed = ([pair[number] for pair in seeds] for number in (0, 1))
    return {
        **put_interval("nearest_checkerboard_levels", [run.row["checkerboard_levels"] for run in nearest]),
        **put_interval("transposed_checkerboard_levels", [run.row["checkerboard_levels"] for run in transposed]),
        **put_interval("target_checkerboard_levels", [run.row["target_checkerboard_levels"] for run in nearest]),
        **put_interval("nearest_excess_levels", [run.find_excess() for run in nearest]),
        **put_interval("nearest_border_over_interior_ratio", compare_border(nearest)),
        **put_interval("transposed_border_over_interior_ratio", compare_border(transposed)),
        **_gather_effective_ripple("nearest", nearest),
        **_gather_effective_ripple("transposed", transposed),
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
    parts = [
        ripple <= ARTIFACT_ZERO_BELOW,
        negate(images.is_above(CLEAN_IMAGES_DB)),
        negate(border.is_above(CLEAN_BORDER)),
    ]
    told = []
    for view in view_networks(evidence):
        levels, other, target, excess = (
            read_interval(view.evidence, f"{name}_levels")
            for name in (
                "nearest_checkerboard",
                "transposed_checkerboard",
                "target_checkerboard",
                "nearest_excess",
            )
        )
        is_there = excess.is_above(0)
        parts.append(negate(is_there))
        text = f"{view.title} {levels} levels of checkerboard ({other} with transposed k3, targets {target})"
        if view.evidence.get("nearest_border_over_interior_ratio") is not None:
            ratio = read_interval(view.evidence, "nearest_border_over_interior_ratio")
            parts.append(negate(ratio.is_above(EVEN_RESIDUAL)))
            text += f", and at the border {ratio} times the residual inside"
        told.append(text + _tell_effective_ripple(view.evidence, "nearest", "transposed"))
    if not told:
        told.append(describe_missing(evidence, [NEAREST, TRANSPOSED]))
        parts.append(None)
    amount = "no" if ripple <= ARTIFACT_ZERO_BELOW else write_number(ripple)
    sentence = (
        f"A nearest resize-convolution has {amount} ripple of a "
        f"constant input, images at {images} dB, and a border that is off by {border} of the level; trained: "
        f"{'; '.join(told)}."
    )
    return Finding(verdict=combine(parts), sentence=sentence)


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
        network: checkerboard and excess of both in 8-bit levels, and the ripple of plain colours with ICNR at the
        first step and at the end.
    """
    evidence: dict[str, float | None] = {
        **put_interval("init_subpixel_phase_ripple", _measure_layer(SUBPIXEL, "phase_ripple")),
        **put_interval("init_transposed_phase_ripple", _measure_layer(TRANSPOSED, "phase_ripple")),
        "init_icnr_largest_phase_ripple": max(_measure_layer(ICNR, "phase_ripple")),
    }
    return evidence | gather_networks(context.trained, [SUBPIXEL, ICNR], _describe_subpixel)


def _describe_subpixel(seeds: Sequence[tuple[Ended, ...]]) -> Evidence:
    evidence: dict[str, float | None] = {}
    for number, name in enumerate(("subpixel", "icnr")):
        runs = [pair[number] for pair in seeds]
        evidence |= put_interval(f"{name}_checkerboard_levels", [run.row["checkerboard_levels"] for run in runs])
        evidence |= put_interval(f"{name}_excess_levels", [run.find_excess() for run in runs])
        evidence |= _gather_effective_ripple(name, runs)
    first = [row["flat_field_ripple_levels"] for _, icnr in seeds for row in icnr.curve if row["step"] == 0]
    evidence |= put_interval("icnr_step0_flat_field_ripple_levels", first)
    last = [icnr.row["flat_field_ripple_levels"] for _, icnr in seeds]
    return evidence | put_interval("icnr_last_flat_field_ripple_levels", last)


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
    parts = [plain.is_above(NOTABLE_RIPPLE), icnr <= ARTIFACT_ZERO_BELOW]
    told = []
    for view in view_networks(evidence):
        found = {name: read_interval(view.evidence, f"{name}_excess_levels") for name in ("subpixel", "icnr")}
        parts += [found["subpixel"].is_above(0), negate(found["icnr"].is_above(0))]
        levels = [read_interval(view.evidence, f"{name}_checkerboard_levels") for name in found]
        text = f"{view.title} {levels[0]} levels without and {levels[1]} with ICNR"
        ripples = [f"icnr_{when}_flat_field_ripple_levels" for when in ("step0", "last")]
        if all(view.evidence.get(name) is not None for name in ripples):
            start, end = (read_interval(view.evidence, name) for name in ripples)
            text += f", whose ripple of plain colours goes from {start} to {end} levels"
        told.append(text + _tell_effective_ripple(view.evidence, "icnr", "subpixel"))
    if not told:
        parts.append(None)
        told.append(describe_missing(evidence, [SUBPIXEL, ICNR]))
    sentence = (
        f"At initialisation the ripple of sub-pixel convolution is {plain}, that of transposed {transposed}, and "
        f"with ICNR {'0' if icnr <= ARTIFACT_ZERO_BELOW else write_number(icnr)}; trained: {'; '.join(told)}."
    )
    return Finding(verdict=combine(parts), sentence=sentence)
