"""Claims 5, 6, 13 and 17: how often pixels are visited, and what follows from that and what does not.

Counts are those of torch's own layers with all weights one, beside the closed forms of `theory`. Random weights
are drawn here, because their mean is what matters; everything else is measured on layers as they are.
"""

import itertools
from collections.abc import Iterator
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from deconvbench import theory
from deconvbench.measure.artifacts import gradient_overlap_cv, phase_ripple
from deconvbench.studies.claims.claim import Context, Evidence, Finding
from deconvbench.studies.claims.judging import (
    combine,
    conclude,
    list_effects,
    needs,
    negate,
    put_interval,
    read_interval,
    read_number,
    write_number,
)

# of the overlap and of the ripple: less is not a visible checkerboard, more is far beyond any seed's scatter
NOTABLE = 0.05
# unevenness in two dimensions against the square of that in one
EXACT = 1e-10
KERNEL_SIZES = range(2, 9)
SCALES = (2, 3, 4)
# the article's stride
_SCALE = 2
_FIGURE_4 = {"kernel_size": 3, "stride": _SCALE}
# the article's Figures 4 and 6
_UNEVEN, _EVEN = 3, 4
# of the weights, in their deviations: layers start with none, and the last is nearly all of one sign
_MEANS = (0.0, 0.5, 1.0, 2.0)
_SEEDS, _CHANNELS = 6, 16
_RUN = "run: deconvbench claims"


def _count_visits(kernel_size: int, stride: int) -> NDArray[np.int64]:
    """Visits of each phase of an interior output pixel, by torch's transposed convolution of ones; (s, s)."""
    # the first and last k/s input pixels lack neighbours
    reach = -(-kernel_size // stride)
    ones = torch.ones(1, 1, 2 * reach + 1, 2 * reach + 1, dtype=torch.float64)
    kernel = torch.ones(1, 1, kernel_size, kernel_size, dtype=torch.float64)
    visits = functional.conv_transpose2d(ones, kernel, stride=stride)
    inside = slice(reach * stride, (reach + 1) * stride)
    return visits[0, 0, inside, inside].round().to(torch.int64).numpy()


def measure_visits(context: Context) -> Evidence:
    """Count how often the layer of the article's Figure 4 visits an output pixel away from the border.

    Parameters
    ----------
    context : Context
        Not read.

    Returns
    -------
    dict
        Fewest and most visits, and the share of pixels with each number from one to four.
    """
    del context
    visits = _count_visits(**_FIGURE_4)
    shares = {f"visited_{count}_times_share": float(np.mean(visits == count)) for count in range(1, 5)}
    return {"least_visits": int(visits.min()), "most_visits": int(visits.max()), **shares}


_VISIT_SHARES = tuple(f"visited_{count}_times_share" for count in range(1, 5))


@needs(("least_visits", "most_visits", *_VISIT_SHARES), _RUN)
def judge_visits(evidence: Evidence) -> Finding:
    """Ask whether the fewest visits are one, and the most four.

    Parameters
    ----------
    evidence : mapping
        From `measure_visits`.
    """
    least, most = read_number(evidence, "least_visits"), read_number(evidence, "most_visits")
    shares = [f"{read_number(evidence, name):.0%} {count}×" for count, name in enumerate(_VISIT_SHARES, 1)]
    sentence = (
        f"Away from the border a 3×3 kernel with stride 2 visits pixels {least:.0f} to {most:.0f} times: "
        f"{', '.join(shares)}."
    )
    return conclude(
        [("some cells once", least == 1), ("some four times", most == 4)],
        sentence,
        effects=list_effects(
            evidence, {"least_visits": ("fewest visits", ""), "most_visits": ("most visits", "")}
        ),
        size="exact count, k3 s2",
    )


def measure_ripple(context: Context) -> Evidence:
    """Measure the ripple of a constant input for kernels and means of the weights, to set against the overlap.

    Parameters
    ----------
    context : Context
        Not read.

    Returns
    -------
    dict
        At stride 2: `overlap_cv` of each kernel, and `phase_ripple` of each at each mean of normal weights, in
        their deviations. With intervals over seeds: kernel 4, which overlaps evenly, at zero mean; kernel 3, which
        does not, at zero mean; both at the largest mean, and by how much 3 exceeds 4 there. And the largest
        distance from 1 − 1/s² at zero mean over all kernels and strides.
    """
    del context
    evidence: dict[str, float | None] = {"seeds": _SEEDS}
    for kernel_size in KERNEL_SIZES:
        evidence[f"k{kernel_size}_overlap_cv"] = theory.overlap_cv(kernel_size, _SCALE)
        for mean in _MEANS:
            ripples = _draw_ripples(kernel_size, _SCALE, mean)
            evidence[f"k{kernel_size}_mean_{mean:g}_phase_ripple"] = fmean(ripples)
    largest = _MEANS[-1]
    uneven, even = (_draw_ripples(kernel_size, _SCALE, largest) for kernel_size in (_UNEVEN, _EVEN))
    evidence |= put_interval("even_overlap_zero_mean_phase_ripple", _draw_ripples(_EVEN, _SCALE, 0))
    evidence |= put_interval("uneven_overlap_zero_mean_phase_ripple", _draw_ripples(_UNEVEN, _SCALE, 0))
    evidence |= put_interval("even_overlap_positive_mean_phase_ripple", even)
    evidence |= put_interval("uneven_overlap_positive_mean_phase_ripple", uneven)
    evidence |= put_interval(
        "overlap_positive_mean_phase_ripple_difference", [u - e for u, e in zip(uneven, even, strict=True)]
    )
    distances = [
        abs(fmean(_draw_ripples(k, s, 0)) - (1 - 1 / s**2))
        for s, k in itertools.product(SCALES, KERNEL_SIZES)
        if k >= s
    ]
    return {**evidence, "largest_distance_from_1_minus_1_over_s2": max(distances)}


def _draw_ripples(kernel_size: int, scale_factor: int, mean: float) -> list[float]:
    """Ripple of a transposed convolution with normal weights of deviation 1, for each seed."""
    ripples = []
    for seed in range(_SEEDS):
        source = torch.Generator().manual_seed(1000 * seed + 10 * kernel_size + scale_factor)
        shape = (_CHANNELS, _CHANNELS, kernel_size, kernel_size)
        weights = torch.randn(shape, dtype=torch.float64, generator=source) + mean
        rest = -kernel_size % scale_factor
        ripples.append(phase_ripple(functional.pad(weights, (0, rest, 0, rest)), scale_factor))
    return ripples


_RIPPLES = (
    "even_overlap_zero_mean_phase_ripple",
    "uneven_overlap_zero_mean_phase_ripple",
    "even_overlap_positive_mean_phase_ripple",
    "uneven_overlap_positive_mean_phase_ripple",
    "overlap_positive_mean_phase_ripple_difference",
)


@needs((*_RIPPLES, "largest_distance_from_1_minus_1_over_s2"), _RUN)
def judge_ripple(evidence: Evidence) -> Finding:
    """Ask whether uneven overlap adds to the checkerboard, and whether there is none without it.

    Parameters
    ----------
    evidence : mapping
        From `measure_ripple`.
    """
    even_zero, uneven_zero, even, uneven, difference = (read_interval(evidence, name) for name in _RIPPLES)
    adds, stays = difference.is_above(NOTABLE), even_zero.is_above(NOTABLE)
    # where overlap adds nothing it is not a reason at all, whatever else there is
    parts: list[tuple[str, bool | None]] = [("uneven overlap adds to the ripple", adds)]
    if adds:
        parts.append(("no ripple without it", negate(stays)))
    distance = write_number(read_number(evidence, "largest_distance_from_1_minus_1_over_s2"))
    effect = {True: "raises", False: "does not raise", None: "may raise"}[adds]
    rest = {
        True: "there is a ripple without it",
        False: "there is none without it",
        None: "it may be all there is",
    }
    sentence = (
        f"Uneven overlap {effect} the ripple of a constant input where weights have a positive mean (k3 {uneven}, "
        f"k4 {even}); where their mean is zero {rest[stays]}: k4, which overlaps evenly, has {even_zero} and k3 "
        f"{uneven_zero}, every kernel within {distance} of 1 − 1/s²."
    )
    return conclude(
        parts,
        sentence,
        effects=list_effects(
            evidence,
            {
                "overlap_positive_mean_phase_ripple_difference": ("ripple, k3 less k4, positive mean", ""),
                "even_overlap_zero_mean_phase_ripple": ("ripple without uneven overlap", ""),
            },
        ),
        size=f"{_SEEDS} seeds of {_CHANNELS} × {_CHANNELS} kernels, untrained",
    )


def measure_dimensions(context: Context) -> Evidence:
    """Compare the counts in two dimensions with products of those in one, and likewise their unevenness.

    Parameters
    ----------
    context : Context
        Not read.

    Returns
    -------
    dict
        Over `combinations` of kernel and stride: in how many the counts are such products; for those that are
        uneven, the largest distance of 1 + CV², which the mean of the squared counts over their squared mean is,
        from the square of the one-dimensional one, and that of the coefficient of variation itself; and the latter
        in both dimensions, with the ratio of most to fewest visits, for the article's k3 s2.
    """
    del context
    pairs = [(k, s) for k, s in itertools.product(KERNEL_SIZES, SCALES) if k >= s]
    squared = 0
    for kernel_size, stride in pairs:
        line = theory.phase_counts(kernel_size, stride)
        squared += np.array_equal(_count_visits(kernel_size, stride), np.multiply.outer(line, line))
    distances = [abs(theory.overlap_cv(k, s) - theory.overlap_cv(k, s, 1) ** 2) for k, s in pairs if k % s]
    powers = [abs(_find_power(k, s, 2) - _find_power(k, s, 1) ** 2) for k, s in pairs]
    line, square = theory.phase_counts(**_FIGURE_4), _count_visits(**_FIGURE_4)
    return {
        "combinations": len(pairs),
        "squared_counts": squared,
        "most_over_least_visits_1d_ratio": float(line.max() / line.min()),
        "most_over_least_visits_2d_ratio": float(square.max() / square.min()),
        "overlap_cv_1d": theory.overlap_cv(**_FIGURE_4, dims=1),
        "overlap_cv_2d": theory.overlap_cv(**_FIGURE_4),
        "overlap_cv_largest_distance_from_square": max(distances),
        "one_plus_cv2_largest_distance_from_square": max(powers),
    }


def _find_power(kernel_size: int, stride: int, dims: int) -> float:
    """1 + CV² of the counts: the mean of their squares over the square of their mean."""
    return 1 + theory.overlap_cv(kernel_size, stride, dims) ** 2


@needs(
    (
        "combinations",
        "squared_counts",
        "most_over_least_visits_1d_ratio",
        "most_over_least_visits_2d_ratio",
        "overlap_cv_1d",
        "overlap_cv_2d",
        "overlap_cv_largest_distance_from_square",
        "one_plus_cv2_largest_distance_from_square",
    ),
    _RUN,
)
def judge_dimensions(evidence: Evidence) -> Finding:
    """Ask whether the counts are squared, and whether 1 + CV² is, which measures how uneven they are.

    The coefficient of variation by itself is not, which is told: it is the root of what is left of a square.

    Parameters
    ----------
    evidence : mapping
        From `measure_dimensions`.
    """
    squared, total = read_number(evidence, "squared_counts"), read_number(evidence, "combinations")
    line, square = read_number(evidence, "overlap_cv_1d"), read_number(evidence, "overlap_cv_2d")
    is_squared = read_number(evidence, "overlap_cv_largest_distance_from_square") <= EXACT
    is_power = read_number(evidence, "one_plus_cv2_largest_distance_from_square") <= EXACT
    ratios = [read_number(evidence, f"most_over_least_visits_{dims}d_ratio") for dims in (1, 2)]
    sentence = (
        f"Counts in two dimensions are products of those in one in {squared:.0f} of {total:.0f} combinations (k3 "
        f"s2: most over least {ratios[0]:.0f}, then {ratios[1]:.0f}), and 1 + CV² "
        f"{'is' if is_power else 'is not'} "
        f"squared ({write_number(1 + line**2)}, then {write_number(1 + square**2)}); the coefficient of variation "
        f"itself {'is' if is_squared else 'is not'}: {write_number(line)} becomes {write_number(square)}, and "
        f"{write_number(line)}² is {write_number(line**2)}."
    )
    return conclude(
        [("counts are squared", squared == total), ("1 + CV² is squared", is_power)],
        sentence,
        effects=list_effects(
            evidence,
            {
                "most_over_least_visits_2d_ratio": ("most over least visits, k3 s2", ""),
                "one_plus_cv2_largest_distance_from_square": ("distance of 1 + CV² from the square", ""),
            },
        ),
        size=f"{total:.0f} combinations, exact",
    )


# what networks use, and for contrast what they could use instead
_STRIDED = {
    "conv_k3_s2": (3, 1),
    "conv_k7_s2": (7, 3),
    "conv_k4_s2": (4, 1),
}
_NOISE_SEEDS = 4


def measure_gradients(context: Context) -> Evidence:
    """Measure how unevenly the backward pass visits the input of strided convolutions and of pooling.

    Parameters
    ----------
    context : Context
        Not read.

    Returns
    -------
    dict
        Coefficient of variation over the phases (`gradient_overlap_cv`); for max-pooling, which depends on its
        input, with an interval over inputs of noise, and the share of pixels that get no gradient at all.
    """
    del context
    channels = 2
    layers: dict[str, nn.Module] = {
        name: nn.Conv2d(channels, channels, kernel_size, 2, padding)
        for name, (kernel_size, padding) in _STRIDED.items()
    }
    layers |= {"average_pool_k2_s2": nn.AvgPool2d(2), "average_pool_k3_s2": nn.AvgPool2d(3, 2, 1)}
    evidence: dict[str, float | None] = {
        f"{name}_gradient_cv": gradient_overlap_cv(layer, channels, 2) for name, layer in layers.items()
    }
    pools = {"max_pool_k2_s2": nn.MaxPool2d(2), "max_pool_k3_s2": nn.MaxPool2d(3, 2, 1)}
    for name, pool in pools.items():
        values = [
            gradient_overlap_cv(pool, channels, 2, generator=torch.Generator().manual_seed(seed))
            for seed in range(_NOISE_SEEDS)
        ]
        evidence |= put_interval(f"{name}_gradient_cv", values)
        evidence[f"{name}_no_gradient_share"] = fmean(_count_holes(pool))
    return evidence


def _count_holes(pool: nn.Module) -> Iterator[float]:
    for seed in range(_NOISE_SEEDS):
        noise = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(pool(noise).sum(), noise)
        yield float((gradient == 0).double().mean())


@needs(
    (
        *(f"{name}_gradient_cv" for name in _STRIDED),
        "average_pool_k3_s2_gradient_cv",
        "max_pool_k2_s2_gradient_cv",
        "max_pool_k3_s2_gradient_cv",
        "max_pool_k2_s2_no_gradient_share",
    ),
    _RUN,
)
def judge_gradients(evidence: Evidence) -> Finding:
    """Ask whether the strided convolutions and the pooling that networks use visit their inputs unevenly.

    That is a 3×3 and a 7×7 convolution of stride 2, and a max-pooling of 2×2. A convolution whose kernel the
    stride divides, and windows that overlap, are told for contrast.

    Parameters
    ----------
    evidence : mapping
        From `measure_gradients`.
    """
    small, large, even = (read_number(evidence, f"{name}_gradient_cv") for name in _STRIDED)
    pool = read_interval(evidence, "max_pool_k2_s2_gradient_cv")
    wide = read_interval(evidence, "max_pool_k3_s2_gradient_cv")
    holes = read_number(evidence, "max_pool_k2_s2_no_gradient_share")
    conv = combine((small > NOTABLE, large > NOTABLE))
    sentence = (
        f"Gradients of a strided convolution vary over the phases by {write_number(small)} (k3 s2) and "
        f"{write_number(large)} (k7 s2), and by {write_number(even)} where the stride divides the kernel (k4 s2); "
        f"those of 2×2 max-pooling by {pool}, with {holes:.0%} of the pixels getting none, irregularly, and those "
        f"of 3×3 windows, which overlap, by {wide}."
    )
    return conclude(
        [("strided convolutions", conv), ("pooling", pool.is_above(NOTABLE))],
        sentence,
        effects=list_effects(
            evidence,
            {
                "conv_k3_s2_gradient_cv": ("gradient CV, convolution k3 s2", ""),
                "max_pool_k2_s2_gradient_cv": ("2×2 max-pooling", ""),
            },
        ),
        size=f"{_NOISE_SEEDS} inputs of noise",
    )
