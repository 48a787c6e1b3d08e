"""What the remedies of claims 9, 10, 11 and 16 do at initialisation: layers measured as they are, in seconds.

Every result depends on nothing but the code, so each is measured once a process; who gets one copies it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from statistics import fmean

from deconvbench.measure.quality import measure_quality
from deconvbench.records.layers import NamedLayer
from deconvbench.studies.claims.judging import put_interval
from deconvbench.studies.claims.networks import ICNR, NEAREST, SCALE_FACTOR, SMOOTHED, SUBPIXEL, TRANSPOSED

KERNEL_SIZES = range(2, 9)
SCALES = (2, 3, 4)
_SEEDS, _CHANNELS = 4, 8
# for the claims table
SIZE = f"{_SEEDS} seeds at random weights"

Found = Mapping[str, float | None]


def _measure_layer(layer: NamedLayer, metric: str, scale_factor: int = SCALE_FACTOR) -> list[float]:
    """Measure an artifact of a layer as it is initialised, for each seed."""
    found = [
        measure_quality(*layer, scale_factor, seed, channels=_CHANNELS).metrics[metric] for seed in range(_SEEDS)
    ]
    return [value for value in found if value is not None]


def _divide(over: Sequence[float], under: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(over, under, strict=True)]


@cache
def measure_smoothing() -> Found:
    """Measure a 9×9 layer of stride 1 behind a transposed convolution k3, over the latter alone.

    Returns
    -------
    mapping
        ``init_phase_ripple_ratio`` and ``init_noise_gain_cv_ratio`` with their intervals.
    """
    evidence: dict[str, float | None] = {}
    for metric in ("phase_ripple", "noise_gain_cv"):
        ratios = _divide(_measure_layer(SMOOTHED, metric), _measure_layer(TRANSPOSED, metric))
        evidence |= put_interval(f"init_{metric}_ratio", ratios)
    return evidence


@cache
def measure_divisibility() -> Found:
    """Measure transposed convolutions of kernels 2 to 8 and strides 2 to 4.

    Returns
    -------
    mapping
        The mean of the noise gain CV, and of the phase ripple over its expectation 1 − 1/s², of kernels that the
        stride divides, of the others, and the ratio, each with its interval.
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
    return evidence


@cache
def measure_resizing() -> Found:
    """Measure a nearest resize-convolution k3.

    Returns
    -------
    mapping
        Largest phase ripple; image rejection in dB and border error with their intervals.
    """
    evidence: dict[str, float | None] = {"init_largest_phase_ripple": max(_measure_layer(NEAREST, "phase_ripple"))}
    for metric in ("image_rejection_db", "border_error"):
        evidence |= put_interval(f"init_{metric}", _measure_layer(NEAREST, metric))
    return evidence


@cache
def measure_subpixel() -> Found:
    """Measure sub-pixel convolution k3 with and without ICNR.

    Returns
    -------
    mapping
        Phase ripple of `subpixel` and of `transposed` with their intervals, and the largest of `subpixel_icnr`.
    """
    evidence: dict[str, float | None] = {
        **put_interval("init_subpixel_phase_ripple", _measure_layer(SUBPIXEL, "phase_ripple")),
        **put_interval("init_transposed_phase_ripple", _measure_layer(TRANSPOSED, "phase_ripple")),
        "init_icnr_largest_phase_ripple": max(_measure_layer(ICNR, "phase_ripple")),
    }
    return evidence
