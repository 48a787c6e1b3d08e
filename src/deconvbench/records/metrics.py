"""The metrics of quality, one declaration each: group, name on axes and in tables, unit, and which way is better.

Definitions and formulas are where the metrics are measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deconvbench.errors import UsageError, quote, suggest

Group = Literal["artifact", "numerical", "trained"]
Probe = Literal["layer", "taps", "constant", "flat fields", "features"]
# artifacts are computed in float64 from sums of weights: below this they are zero but for rounding, and one zero
# is not better than another
ARTIFACT_ZERO_BELOW = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What is known of a metric, whatever its values.

    Parameters
    ----------
    name : str
        Its column in every table.
    title : str
        In a few plain words.
    unit : str
        ``ratio``, ``dB`` or ``8-bit levels``.
    meaning : str
        One sentence for captions: what a high value does to an image.
    heading_of_tradeoff, how_to_read : str
        Of the figure that sets latency against it; what this one tells.
    decimals : int
        Digits behind the point; ratios below 0.001 are written as powers of ten instead.
    group : {"artifact", "numerical", "trained"}
        Artifacts do not depend on the device; what a trained network makes of images is ``trained``.
    best : {"low", "high"}
        Which way is better.
    is_signed : bool
        Whether the interval of a mean over seeds may reach below 0.
    is_checkerboard : bool
        Best at 0, though it may be negative: below 0 there is only less of the grid's frequencies than of their
        neighbours, which no eye sees.
    is_later : bool
        Not in tables of versions before it; its values are null there.
    zero_below : float
        Values nearer to 0 are zero but for rounding, and one zero is not better than another.
    tolerance : (float, float) or None
        Relative difference, and absolute difference in the metric's unit, below which two runs have the same
        value; None for what a comparison leaves out.
    probe : str or None
        Of an artifact: what its function is given, besides the scale (`deconvbench.measure.quality`).
    function : str or None
        Of an artifact: ``module:function`` in `deconvbench.measure.artifacts`, or in any package if the module has
        a dot in it.
    heat_map : int or None
        Place among the panels of the figure over kernel size and stride; None for no panel.
    """

    name: str
    title: str
    unit: str
    meaning: str
    heading_of_tradeoff: str
    how_to_read: str
    decimals: int = 3
    group: Group = "artifact"
    best: Literal["low", "high"] = "low"
    is_signed: bool = False
    is_checkerboard: bool = False
    is_later: bool = False
    zero_below: float = 0.0
    tolerance: tuple[float, float] | None = None
    probe: Probe | None = None
    function: str | None = None
    heat_map: int | None = None

    @property
    def heading(self) -> str:
        """The title with a capital first letter."""
        return self.title[0].upper() + self.title[1:]

    @property
    def axis(self) -> str:
        """Label of an axis, with the unit."""
        return f"{self.title} ({self.unit})"


# in the order of the columns
_DECLARED = (
    Metric(
        name="overlap_cv",
        title="overlap CV",
        unit="ratio",
        meaning="how unevenly the kernel visits the output pixels, whatever its weights; 0 is best",
        heading_of_tradeoff="Cost against uneven overlap",
        how_to_read=(
            "The geometry alone: how unevenly the kernel visits the output pixels, whatever its weights are."
        ),
        zero_below=ARTIFACT_ZERO_BELOW,
        tolerance=(1e-6, ARTIFACT_ZERO_BELOW),
        probe="layer",
        function="overlap:overlap_cv",
        heat_map=0,
    ),
    Metric(
        name="phase_ripple",
        title="phase ripple",
        unit="ratio",
        meaning="how much of a constant input comes out as a checkerboard; 0 is best",
        heading_of_tradeoff="Cost against the checkerboard of a constant input",
        how_to_read=(
            "Points on the lowest line have no ripple at all but for rounding; training can bring one to a "
            "layer that starts without."
        ),
        zero_below=ARTIFACT_ZERO_BELOW,
        tolerance=(1e-6, ARTIFACT_ZERO_BELOW),
        probe="taps",
        function="ripple:phase_ripple",
        heat_map=2,
    ),
    Metric(
        name="noise_gain_cv",
        title="noise gain CV",
        unit="ratio",
        meaning="variation of the output variance across phases, at random weights; 0 is best",
        heading_of_tradeoff="Cost against the checkerboard in the variance",
        how_to_read=(
            "The other face of the checkerboard: how unevenly the pixels of the output vary. The article's "
            "rule, a kernel divisible by the stride, is aimed at this one."
        ),
        zero_below=ARTIFACT_ZERO_BELOW,
        tolerance=(1e-6, ARTIFACT_ZERO_BELOW),
        probe="taps",
        function="noise:noise_gain_cv",
        heat_map=1,
    ),
    Metric(
        name="image_rejection_db",
        title="image rejection",
        unit="dB",
        meaning="power of the copies of the spectrum that upsampling leaves: blocky, jagged edges; low is best",
        heading_of_tradeoff="Cost against blocks and jagged edges",
        how_to_read=(
            "What no checkerboard score can see: how much of a smooth wave comes back as spectral images, "
            "which show as blocks and steps. A layer without ripple that repeats pixels last, such as "
            "conv_nearest, is cheap and blocky."
        ),
        decimals=1,
        is_signed=True,
        tolerance=(1e-6, ARTIFACT_ZERO_BELOW),
        probe="taps",
        function="imaging:image_rejection_db",
    ),
    Metric(
        name="border_error",
        title="border error",
        unit="ratio",
        meaning="how far the border of a constant image is from its inside; 0 is best",
        heading_of_tradeoff="Cost against the frame that padding draws",
        how_to_read="How far the outermost pixels of a constant image are from its inside.",
        zero_below=ARTIFACT_ZERO_BELOW,
        tolerance=(1e-6, ARTIFACT_ZERO_BELOW),
        probe="constant",
        function="border:border_error",
    ),
    Metric(
        name="flat_field_ripple",
        title="flat-field ripple",
        unit="ratio",
        meaning=(
            "the checkerboard that random constant colours come out with, over the output's RMS; it needs "
            "no linearity, so content-aware layers have it too; 0 is best"
        ),
        heading_of_tradeoff="Cost against the ripple of a flat field",
        how_to_read=(
            "As the phase ripple, an amplitude in place of a power, and measured on the output itself, so "
            "layers that are not linear have it too."
        ),
        is_later=True,
        zero_below=ARTIFACT_ZERO_BELOW,
        tolerance=(1e-6, ARTIFACT_ZERO_BELOW),
        probe="flat fields",
        function="flat_field:flat_field_ripple",
    ),
    Metric(
        name="checkerboard",
        title="checkerboard",
        unit="ratio",
        meaning=(
            "amplitude of the grid-periodic component of the output for a natural input, minus the local spectral "
            "background, over the output's RMS; 0 is best, below 0 there is none"
        ),
        heading_of_tradeoff="Cost against the checkerboard of a natural input",
        how_to_read=(
            "The one score that every layer has, content-aware ones too: what is left at the grid's "
            "frequencies in the answer to an input like a feature map, once the content beside them is "
            "taken off. Around the line at 0 there is nothing to be seen; a value below it is no better "
            "than 0."
        ),
        is_signed=True,
        is_checkerboard=True,
        is_later=True,
        zero_below=ARTIFACT_ZERO_BELOW,
        tolerance=(1e-6, ARTIFACT_ZERO_BELOW),
        probe="features",
        function="spectrum:checkerboard",
    ),
    Metric(
        name="numerical_error",
        title="numerical error",
        unit="ratio",
        meaning="distance from the same layer in float64; 0 is best",
        heading_of_tradeoff="Cost against rounding",
        how_to_read=(
            "Distance from the same weights in float64, at the precision that was timed; it depends on no seed."
        ),
        group="numerical",
        tolerance=(0.5, 0.0),
    ),
    Metric(
        name="trained_checkerboard_levels",
        title="checkerboard after training",
        unit="8-bit levels",
        meaning=(
            "amplitude of the grid-periodic component of a trained network's error on test images (output minus "
            "target, in 8-bit levels), minus the local spectral background; 0 is best, below 0 there is none"
        ),
        heading_of_tradeoff="Cost against the checkerboard after training",
        how_to_read=(
            "The checkerboard in what trained networks get wrong on test images, in levels of 255. Around "
            "the line at 0 there is nothing to be seen; a value below it is no better than 0."
        ),
        decimals=2,
        group="trained",
        is_signed=True,
        is_checkerboard=True,
    ),
    Metric(
        name="trained_psnr_db",
        title="PSNR after training",
        unit="dB",
        meaning="how near a trained network comes to test images; high is best",
        heading_of_tradeoff="Cost against PSNR after training",
        how_to_read=(
            "How near trained networks come to test images. It counts blur and noise as much as a checkerboard."
        ),
        decimals=2,
        group="trained",
        best="high",
        is_signed=True,
    ),
    Metric(
        name="trained_ssim",
        title="SSIM after training",
        unit="ratio",
        meaning="how much of the structure of test images a trained network keeps; 1 is best",
        heading_of_tradeoff="Cost against SSIM after training",
        how_to_read="How much of the structure of test images trained networks keep.",
        group="trained",
        best="high",
        is_signed=True,
    ),
)
METRICS = {metric.name: metric for metric in _DECLARED}


def get_metric(metric: str) -> Metric:
    """Look up how a metric is written.

    Parameters
    ----------
    metric : str
        Name of the column.

    Raises
    ------
    UsageError
        If it is not a metric; the message lists them.
    """
    if metric not in METRICS:
        raise UsageError(f"metric: {quote(metric)} is not one of {', '.join(METRICS)}{suggest(metric, METRICS)}")
    return METRICS[metric]


def get_best(metric: str) -> Literal["low", "high"]:
    """Say which way is better.

    Parameters
    ----------
    metric : str
        Name of the column.

    Raises
    ------
    UsageError
        As `get_metric`.
    """
    return get_metric(metric).best


def check_metrics(metrics: Sequence[str], option: str = "--quality") -> tuple[str, ...]:
    """Check a choice of metrics for the axis of a figure.

    Parameters
    ----------
    metrics : sequence of str
        Names of columns, at least one.
    option : str
        What the user typed them behind, for the message.

    Returns
    -------
    tuple of str
        Each once, in the order given.

    Raises
    ------
    UsageError
        If there is none, or one is no metric; the message lists them.
    """
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown or not metrics:
        found = quote(unknown[0]) if unknown else "an empty list"
        hint = suggest(unknown[0], METRICS) if unknown else ""
        raise UsageError(f"{option}: {found} is not one of {', '.join(METRICS)}{hint}")
    return tuple(dict.fromkeys(metrics))


def is_zero(value: float, metric: str) -> bool:
    """Say whether a value is zero but for rounding.

    Parameters
    ----------
    value : float
        Not NaN.
    metric : str
        Name of the column: decibels are never zero, and a numerical error is rounding itself, so only 0 is.
    """
    label = get_metric(metric)
    if label.unit == "dB":
        return False
    return value == 0 or abs(value) < label.zero_below


def format_metric(value: float | None, metric: str) -> str:
    """Write a value of a metric, short enough for a cell of a table or a map.

    Parameters
    ----------
    value : float or None
        None and NaN are written as a dash.
    metric : str
        Name of the column.
    """
    if value is None or not hasattr(value, "__float__") or math.isnan(value):
        return "–"
    label = get_metric(metric)
    if label.unit != "ratio":
        # adding zero turns -0.0 into 0.0
        return f"{round(value, label.decimals) + 0.0:.{label.decimals}f}"
    if is_zero(value, metric):
        return "0"
    return f"{value:.{label.decimals}f}" if abs(value) >= 1e-3 else f"{value:.0e}"
