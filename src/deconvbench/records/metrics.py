"""The metrics of quality, one declaration each: group, name on axes and in tables, unit, and which way is better.

Definitions and formulas are where the metrics are measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deconvbench.errors import UsageError

Group = Literal["artifact", "numerical", "trained"]
# artifacts are computed in float64 from sums of weights: below this they are zero but for rounding, and one zero
# is no better than another
ARTIFACT_ZERO_BELOW = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What is known of a metric, whatever its values.

    Parameters
    ----------
    title : str
        In a few plain words.
    unit : str
        ``ratio``, ``dB`` or ``8-bit levels``.
    meaning : str
        One sentence for captions: what a high value does to an image.
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
    position : int
        Columns of tables are ordered by it, then as declared.
    """

    title: str
    unit: str
    meaning: str
    decimals: int = 3
    group: Group = "artifact"
    best: Literal["low", "high"] = "low"
    is_signed: bool = False
    is_checkerboard: bool = False
    is_later: bool = False
    position: int = 1

    @property
    def heading(self) -> str:
        """The title with a capital first letter."""
        return self.title[0].upper() + self.title[1:]

    @property
    def axis(self) -> str:
        """Label of an axis, with the unit."""
        return f"{self.title} ({self.unit})"


METRIC_LABELS = {
    "phase_ripple": Metric(
        title="phase ripple",
        unit="ratio",
        meaning="how much of a constant input comes out as a checkerboard; 0 is best",
    ),
    "noise_gain_cv": Metric(
        title="noise gain CV",
        unit="ratio",
        meaning="how unevenly the output pixels vary, which uneven overlap does at random weights; 0 is best",
    ),
    "overlap_cv": Metric(
        title="overlap CV",
        unit="ratio",
        meaning="how unevenly the kernel visits the output pixels, whatever its weights; 0 is best",
        position=0,
    ),
    "image_rejection_db": Metric(
        title="image rejection",
        unit="dB",
        meaning="power of the copies of the spectrum that upsampling leaves: blocky, jagged edges; low is best",
        decimals=1,
        is_signed=True,
    ),
    "border_error": Metric(
        title="border error",
        unit="ratio",
        meaning="how far the border of a constant image is from its inside; 0 is best",
    ),
    "flat_field_ripple": Metric(
        title="flat-field ripple",
        unit="ratio",
        meaning="the checkerboard that random constant colours come out with, over the output's RMS; it needs no "
        "linearity, so content-aware layers have it too; 0 is best",
        is_later=True,
    ),
    "checkerboard": Metric(
        title="checkerboard",
        unit="ratio",
        meaning="amplitude of what repeats with the scale in the answer to a natural input, above what lies "
        "beside it in the spectrum, over the output's RMS; 0 is best, below 0 there is none",
        is_signed=True,
        is_checkerboard=True,
        is_later=True,
    ),
    "numerical_error": Metric(
        title="numerical error",
        unit="ratio",
        meaning="distance from the same layer in float64; 0 is best",
        group="numerical",
    ),
    "trained_checkerboard_levels": Metric(
        title="checkerboard after training",
        unit="8-bit levels",
        meaning="amplitude of the checkerboard in what a trained network gets wrong on test images (output less "
        "target, of 255 levels), above what lies beside it in the spectrum; 0 is best, below 0 there is none",
        decimals=2,
        group="trained",
        is_signed=True,
        is_checkerboard=True,
    ),
    "trained_psnr_db": Metric(
        title="PSNR after training",
        unit="dB",
        meaning="how near a trained network comes to test images; high is best",
        decimals=2,
        group="trained",
        best="high",
        is_signed=True,
    ),
    "trained_ssim": Metric(
        title="SSIM after training",
        unit="ratio",
        meaning="how much of the structure of test images a trained network keeps; 1 is best",
        group="trained",
        best="high",
        is_signed=True,
    ),
}


def get_metric_label(metric: str) -> Metric:
    """Look up how a metric is written.

    Parameters
    ----------
    metric : str
        Name of the column.

    Raises
    ------
    UsageError
        If it is no metric; the message lists them.
    """
    if metric not in METRIC_LABELS:
        raise UsageError(f"metric: {metric!r} is not one of {', '.join(METRIC_LABELS)}")
    return METRIC_LABELS[metric]


def get_best(metric: str) -> Literal["low", "high"]:
    """Say which way is better.

    Parameters
    ----------
    metric : str
        Name of the column.

    Raises
    ------
    UsageError
        As `get_metric_label`.
    """
    return get_metric_label(metric).best


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
    unknown = [metric for metric in metrics if metric not in METRIC_LABELS]
    if unknown or not metrics:
        found = repr(unknown[0]) if unknown else "an empty list"
        raise UsageError(f"{option}: {found} is not one of {', '.join(METRIC_LABELS)}")
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
    label = get_metric_label(metric)
    if label.unit == "dB":
        return False
    return value == 0 or (label.group == "artifact" and abs(value) < ARTIFACT_ZERO_BELOW)


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
    label = get_metric_label(metric)
    if label.unit != "ratio":
        # adding zero turns -0.0 into 0.0
        return f"{round(value, label.decimals) + 0.0:.{label.decimals}f}"
    if is_zero(value, metric):
        return "0"
    return f"{value:.{label.decimals}f}" if abs(value) >= 1e-3 else f"{value:.0e}"
