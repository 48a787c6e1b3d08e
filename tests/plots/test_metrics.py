"""How metrics are written."""

import math

import pytest

from deconvbench.errors import UsageError
from deconvbench.plots.metrics import METRIC_LABELS, format_metric, get_metric_label


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.75, "phase_ripple", "0.750"),
        (3e-32, "phase_ripple", "0"),
        (-1e-12, "noise_gain_cv", "0"),
        (1.3e-7, "numerical_error", "1e-07"),
        (-16.04, "image_rejection_db", "-16.0"),
        (-0.04, "image_rejection_db", "0.0"),
        (None, "phase_ripple", "–"),
        (math.nan, "image_rejection_db", "–"),
    ],
)
def test_values_are_short(value: float | None, metric: str, text: str) -> None:
    assert format_metric(value, metric) == text


@pytest.mark.parametrize("metric", METRIC_LABELS)
def test_every_axis_has_a_unit(metric: str) -> None:
    label = get_metric_label(metric)
    assert label.axis.endswith(f"({label.unit})")
    assert label.heading[0].isupper()


def test_an_unknown_metric_is_named_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"metric: 'beauty' is not one of phase_ripple, noise_gain_cv"):
        get_metric_label("beauty")
