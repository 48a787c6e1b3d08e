"""What the artifact metrics are called on axes and in tables, and in which unit.

Definitions and formulas are where the metrics are measured; this holds only what a reader sees.
"""

from dataclasses import dataclass

import pandas as pd

from deconvbench.columns import ZERO_BELOW
from deconvbench.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricLabel:
    """How a metric is written.

    Parameters
    ----------
    title : str
        In a few plain words.
    unit : str
        ``ratio`` or ``dB``.
    meaning : str
        One sentence for captions: what a high value does to an image.
    """

    title: str
    unit: str
    meaning: str

    @property
    def heading(self) -> str:
        """The title with a capital first letter."""
        return self.title[0].upper() + self.title[1:]

    @property
    def axis(self) -> str:
        """Label of an axis, with the unit."""
        return f"{self.title} ({self.unit})"


METRIC_LABELS = {
    "phase_ripple": MetricLabel(
        title="phase ripple",
        unit="ratio",
        meaning="how much of a constant input comes out as a checkerboard; 0 is best",
    ),
    "noise_gain_cv": MetricLabel(
        title="noise gain CV",
        unit="ratio",
        meaning="how unevenly the output pixels vary, which uneven overlap does at random weights; 0 is best",
    ),
    "overlap_cv": MetricLabel(
        title="overlap CV",
        unit="ratio",
        meaning="how unevenly the kernel visits the output pixels, whatever its weights; 0 is best",
    ),
    "image_rejection_db": MetricLabel(
        title="image rejection",
        unit="dB",
        meaning="power of the copies of the spectrum that upsampling leaves: blocky, jagged edges; low is best",
    ),
    "border_error": MetricLabel(
        title="border error",
        unit="ratio",
        meaning="how far the border of a constant image is from its inside; 0 is best",
    ),
    "numerical_error": MetricLabel(
        title="numerical error",
        unit="ratio",
        meaning="distance from the same layer in float64; 0 is best",
    ),
}


def get_metric_label(metric: str) -> MetricLabel:
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


def format_metric(value: float | None, metric: str) -> str:
    """Write a value of a metric, short enough for a cell of a table or a map.

    Parameters
    ----------
    value : float or None
        None and NaN are written as a dash.
    metric : str
        Name of the column.
    """
    if value is None or pd.isna(value):
        return "–"
    if get_metric_label(metric).unit == "dB":
        # adding zero turns -0.0 into 0.0
        return f"{round(value, 1) + 0.0:.1f}"
    if abs(value) < ZERO_BELOW:
        return "0"
    return f"{value:.3f}" if abs(value) >= 1e-3 else f"{value:.0e}"
